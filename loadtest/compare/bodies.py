"""Bodies of varied rows in every form that a server asks for, and what must be answered.

Rows are the model's held-out ones, one after the other, round and round; each number is sent as it stands in the file.
"""

import csv
import json

# How many bodies of so many rows.
COUNTS = {1: 1000, 64: 200}


def oip(rows):
    """Open Inference Protocol, values in one list."""
    data = ",".join(value for row in rows for value in row)
    shape = f"[{len(rows)},{len(rows[0])}]"
    return f'{{"inputs":[{{"name":"features","shape":{shape},"datatype":"FP32","data":[{data}]}}]}}'


def features(rows):
    """A list of rows below a name."""
    return f'{{"features":{nested(rows)}}}'


def mlflow(rows):
    """A named tensor, as MLflow's scoring protocol has it."""
    return f'{{"inputs":{{"features":{nested(rows)}}}}}'


def nested(rows):
    return "[" + ",".join(f"[{','.join(row)}]" for row in rows) + "]"


FORMS = {"oip": oip, "features": features, "mlflow": mlflow}


def read_rows(path):
    with open(path, newline="") as lines:
        return list(csv.reader(lines))[1:]


def write(folder, held_out, expected, batches, forms):
    """Writes `<form>-<batch>.ndjson` and `expected-<batch>.ndjson`: for each body the probabilities of its rows."""
    rows, answers = read_rows(held_out), read_rows(expected)
    if len(rows) != len(answers):
        raise ValueError(f"{len(rows)} rows in {held_out}, {len(answers)} in {expected}")
    for batch in batches:
        picks = [
            [(body * batch + i) % len(rows) for i in range(batch)] for body in range(COUNTS.get(batch, COUNTS[64]))
        ]
        # The first column of the expected answers is the label.
        right = [json.dumps([float(value) for row in pick for value in answers[row][1:]]) for pick in picks]
        write_lines(folder / f"expected-{batch}.ndjson", right)
        # What is always answered by the server that only knows one answer: that of the first body.
        write_lines(folder / f"fixed-{batch}.ndjson", [right[0]] * len(picks))
        for form in forms:
            lines = (FORMS[form]([rows[row] for row in pick]) for pick in picks)
            write_lines(folder / f"{form}-{batch}.ndjson", lines)


def write_lines(path, lines):
    path.write_text("".join(f"{line}\n" for line in lines))
