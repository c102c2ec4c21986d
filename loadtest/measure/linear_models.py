"""Linear models of any width, with reference profiles, bodies, and what must be answered.

A matrix product and an addition, so that what grows with the width is the gateway's part more than the engine's.

Invariant: expected answers are computed here in double precision, from the numbers as they are sent.
"""

import subprocess

import bodies
import numpy as np
import onnx
from gateway import Failure
from onnx import TensorProto, helper, numpy_helper

SEED, PROFILE_ROWS = 11, 2000
OPSET, IR_VERSION = 17, 8


class Linear:
    """A model of so many features."""

    def __init__(self, features):
        self.features = features
        self.random = np.random.default_rng(SEED + features)
        self.weights = (self.random.standard_normal(features) / np.sqrt(features)).astype(np.float32)

    def write(self, directory, gateway):
        """Writes model and profile into the directory of a version."""
        directory.mkdir(parents=True)
        tensor = helper.make_tensor_value_info
        constants = [
            numpy_helper.from_array(self.weights.reshape(-1, 1), "w"),
            numpy_helper.from_array(np.array([0.5], dtype=np.float32), "b"),
        ]
        graph = helper.make_graph(
            [helper.make_node("MatMul", ["features", "w"], ["p"]), helper.make_node("Add", ["p", "b"], ["y"])],
            "linear",
            [tensor("features", TensorProto.FLOAT, ["N", self.features])],
            [tensor("y", TensorProto.FLOAT, ["N", 1])],
            constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        onnx.save(model, directory / "model.onnx")
        rows = directory.parent / "rows.csv"
        names = [f"x{index}" for index in range(self.features)]
        bodies.write_lines(rows, [",".join(names), *(",".join(row) for row in self.rows(PROFILE_ROWS))])
        command = [gateway, "profile", "--model", str(directory), "--data", str(rows)]
        done = subprocess.run(command, capture_output=True, check=False, text=True, timeout=120)
        if done.returncode:
            raise Failure(f"no profile of {self.features} features: {done.stderr.strip()[-300:]}")
        rows.unlink()

    def rows(self, count):
        """Rows as text, four decimals."""
        return [[f"{value:.4f}" for value in row] for row in self.random.standard_normal((count, self.features))]

    def write_bodies(self, files, batch, count):
        """Bodies and expected answers; `files` is where, without the ending."""
        picks = [self.rows(batch) for _ in range(count)]
        weights = self.weights.astype(np.float64)
        right = [(np.array(pick, dtype=np.float32).astype(np.float64) @ weights + 0.5).tolist() for pick in picks]
        bodies.write_lines(files.with_suffix(".ndjson"), map(bodies.oip, picks))
        bodies.write_lines(files.with_suffix(".expected"), map(str, right))
        return files
