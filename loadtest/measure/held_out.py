"""Bodies of a shipped model's held-out rows, and the probabilities that must be answered."""

import json
import shutil
from pathlib import Path

import bodies
from common import ROOT

POINTER = "/outputs/1/data"


def write(folder, model, version, batch, count):
    """Writes `count` bodies of `batch` rows, rows round and round; answers where, without the ending."""
    rows = bodies.read_rows(ROOT / "models" / model / "heldout.csv")
    # The first column is the label.
    answers = [row[1:] for row in bodies.read_rows(ROOT / "models" / model / str(version) / "expected.csv")]
    picks = [[(body * batch + place) % len(rows) for place in range(batch)] for body in range(count)]
    right = [json.dumps([float(value) for row in pick for value in answers[row]]) for pick in picks]
    files = Path(folder) / f"{model}-{batch}"
    bodies.write_lines(files.with_suffix(".ndjson"), (bodies.oip([rows[row] for row in pick]) for pick in picks))
    bodies.write_lines(files.with_suffix(".expected"), right)
    return files


def repository(folder, model, version):
    """A repository of that version alone."""
    models = Path(folder) / "models"
    shutil.copytree(ROOT / "models" / model / str(version), models / model / str(version))
    return models
