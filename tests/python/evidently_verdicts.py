"""What Evidently itself says of data sets: the verdicts that the preset of its name is compared with.

    python evidently_verdicts.py CASES.json

Each case is a column: a kind (number, code, string), and the values of both sides as text. Columns of the same lengths
are put in one data set, which is how Evidently works; the answer for each is its method, score and threshold, and
whether that is drift.
"""

import json
import os
import sys
import warnings

os.environ["DO_NOT_TRACK"] = "1"
warnings.filterwarnings("ignore")

import pandas as pd  # noqa: E402
from evidently import DataDefinition, Dataset, Report  # noqa: E402
from evidently.legacy.tests.base_test import TestStatus  # noqa: E402
from evidently.presets import DataDriftPreset  # noqa: E402


def series(case, side):
    return case[side] if case["kind"] == "string" else [float(text) for text in case[side]]


def verdicts(cases):
    """Verdicts on cases of the same lengths, by the name of the column."""
    numbers = [case["name"] for case in cases if case["kind"] == "number"]
    others = [case["name"] for case in cases if case["kind"] != "number"]
    definition = DataDefinition(numerical_columns=numbers, categorical_columns=others)
    live, reference = (
        Dataset.from_pandas(pd.DataFrame({case["name"]: series(case, side) for case in cases}), definition)
        for side in ("live", "reference")
    )
    answer = Report([DataDriftPreset()], include_tests=True).run(live, reference).dict()
    statuses = {test["name"].removeprefix("Value Drift for column "): test["status"] for test in answer["tests"]}
    answers = {}
    for metric in answer["metrics"][1:]:
        name, config = metric["config"]["column"], metric["config"]
        answers[name] = {
            "method": config["method"],
            "threshold": config["threshold"],
            "score": float(metric["value"]),
            "drift": statuses[name] == TestStatus.FAIL,
        }
    return answers


def main(cases):
    by_lengths = {}
    for case in cases:
        by_lengths.setdefault((len(case["reference"]), len(case["live"])), []).append(case)
    answers = {}
    for alike in by_lengths.values():
        answers.update(verdicts(alike))
    json.dump([answers[case["name"]] for case in cases], sys.stdout)


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as file:
        main(json.load(file))
