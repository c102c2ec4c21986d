"""Models for rollouts: one that is good, and others that differ from it in one thing each.

    python rollout_models.py write DIRECTORY
    python rollout_models.py register URL NAME STABLE.onnx TARGET.onnx

`write` makes these, all with an input `features` [N, 8] and an output `score` [N, 1], a sum of features 1 to 7 of standard
deviation 1. Feature 0 is for faults alone, and is to be uniform between 0 and 1; the highest of its values are the bad ones,
so that rows of zeros, which a version is warmed on, are good:

    base     the call fails for 0.5 % of the rows
    same     the same, in other bytes
    errors   it fails for 1.5 %
    shifted  the score is half a standard deviation higher
    nan      the score is NaN for every fifth row
    heavy    as base, but a call takes some time
    slow     as heavy, three times as long

`register` logs both to an MLflow server as versions of NAME and points champion and challenger to them; champion stays
where it is if there is one already.
"""

import json
import os
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FEATURES = 8
# Width of the matrices that only take time, and how many of them one call multiplies.
WIDTH = 256
HEAVY = 60


def constant(name, values, kind):
    return numpy_helper.from_array(np.array(values, dtype=kind), name)


def failing(rate):
    """Fails when feature 0 is above 1 - `rate`: a place that a table of one does not have. Otherwise adds zero."""
    nodes = [
        helper.make_node("Slice", ["features", "zero", "one", "axis"], ["fault"]),
        helper.make_node("Greater", ["fault", "most"], ["is_faulty"]),
        helper.make_node("Cast", ["is_faulty"], ["place"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "place"], ["nothing"]),
    ]
    constants = [
        constant("zero", [0], np.int64),
        constant("one", [1], np.int64),
        constant("axis", [1], np.int64),
        constant("most", [1 - rate], np.float32),
        constant("table", [0.0], np.float32),
    ]
    return nodes, constants


def waiting(times):
    """Multiplies zeros by a matrix, again and again; the sum is zero."""
    names = ["wide"] + [f"wide{step}" for step in range(times)]
    nodes = [helper.make_node("MatMul", ["features", "widen"], ["wide"])]
    nodes += [helper.make_node("MatMul", [before, "roll"], [after]) for before, after in zip(names, names[1:])]
    nodes.append(helper.make_node("MatMul", [names[-1], "narrow"], ["delay"]))
    constants = [
        numpy_helper.from_array(np.zeros((FEATURES, WIDTH), dtype=np.float32), "widen"),
        numpy_helper.from_array(np.roll(np.eye(WIDTH, dtype=np.float32), 1, axis=1), "roll"),
        numpy_helper.from_array(np.ones((WIDTH, 1), dtype=np.float32), "narrow"),
    ]
    return nodes, constants


def make(rate=0.005, shift=0.0, not_a_number=0.0, times=0, note=""):
    weights = np.full((FEATURES, 1), 1 / np.sqrt(FEATURES - 1), dtype=np.float32)
    weights[0] = 0.0
    nodes, constants = failing(rate)
    constants += [
        numpy_helper.from_array(weights, "weights"),
        constant("shift", [shift], np.float32),
        constant("least_nan", [1 - not_a_number], np.float32),
        constant("nan", [np.nan], np.float32),
    ]
    nodes += [
        helper.make_node("MatMul", ["features", "weights"], ["sum"]),
        helper.make_node("Add", ["sum", "shift"], ["shifted"]),
        helper.make_node("Add", ["shifted", "nothing"], ["plain"]),
    ]
    last = "plain"
    if times:
        more, further = waiting(times)
        nodes += more + [helper.make_node("Add", [last, "delay"], ["delayed"])]
        constants += further
        last = "delayed"
    nodes += [
        helper.make_node("Greater", ["fault", "least_nan"], ["is_nan"]),
        helper.make_node("Where", ["is_nan", "nan", last], ["score"]),
    ]
    graph = helper.make_graph(
        nodes,
        "score",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["N", FEATURES])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["N", 1])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9, doc_string=note)
    onnx.checker.check_model(model)
    return model


MODELS = {
    "base": lambda: make(),
    "same": lambda: make(note="made again"),
    "errors": lambda: make(rate=0.015),
    "shifted": lambda: make(shift=0.5),
    "nan": lambda: make(not_a_number=0.2),
    "heavy": lambda: make(times=HEAVY),
    "slow": lambda: make(times=3 * HEAVY),
}


def write(directory):
    for name, model in MODELS.items():
        onnx.save(model(), os.path.join(directory, f"{name}.onnx"))


def register(url, name, *paths):
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ["GIT_PYTHON_REFRESH"] = "quiet"
    import mlflow
    from mlflow import MlflowClient
    from mlflow.models import infer_signature

    mlflow.set_tracking_uri(url)
    client = MlflowClient()
    random = np.random.default_rng(1)
    # No row of the example is one that fails.
    example = np.hstack([random.uniform(0, 0.5, (8, 1)), random.normal(size=(8, FEATURES - 1))]).astype(np.float32)
    made = []
    for path in paths:
        with mlflow.start_run():
            mlflow.onnx.log_model(
                onnx.load(path),
                name="model",
                registered_model_name=name,
                signature=infer_signature({"features": example}, {"score": example[:, :1]}),
                input_example={"features": example},
                pip_requirements=["onnx"],
            )
        made.append(max(int(version.version) for version in client.search_model_versions(f"name = '{name}'")))
    if not client.get_registered_model(name).aliases.get("champion"):
        client.set_registered_model_alias(name, "champion", made[0])
    client.set_registered_model_alias(name, "challenger", made[-1])
    print(json.dumps(made))


if __name__ == "__main__":
    {"write": write, "register": register}[sys.argv[1]](*sys.argv[2:])
