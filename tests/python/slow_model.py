"""Writes a model that takes long: one matrix, multiplied by the input again and again.

    python slow_model.py MODEL.onnx SIZE TIMES

Takes rows `x` [N, SIZE] and answers their sums `y` [N]: the matrix moves values around and changes no sum.
"""

import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

if __name__ == "__main__":
    path, size, times = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    matrix = np.roll(np.eye(size, dtype=np.float32), 1, axis=1)
    names = ["x"] + [f"x{step}" for step in range(times)]
    nodes = [helper.make_node("MatMul", [before, "w"], [after]) for before, after in zip(names, names[1:])]
    nodes.append(helper.make_node("ReduceSum", [names[-1], "axes"], ["y"], keepdims=0))
    graph = helper.make_graph(
        nodes,
        "slow",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", size])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N"])],
        [numpy_helper.from_array(matrix, "w"), numpy_helper.from_array(np.array([1], dtype=np.int64), "axes")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)
