"""The model as every peer opens it: one ONNX Runtime session with one thread, since each has one processor."""

import os

import numpy as np
import onnxruntime

NAME, VERSION = "breast-cancer", "1"
OUTPUTS = ("label", "probabilities")


def open_session():
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(os.environ["COMPARE_MODEL"], options, providers=["CPUExecutionProvider"])


def infer(session, rows):
    """Labels and probabilities of rows, a float32 array [rows, features]."""
    return session.run(OUTPUTS, {"features": rows})


def float_rows(values):
    return np.asarray(values, dtype=np.float32)
