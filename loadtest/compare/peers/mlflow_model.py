"""Saves the model in MLflow's ONNX flavour, for `mlflow models serve`: with a signature and one thread.

    python mlflow_model.py DIRECTORY
"""

import os
import shutil
import sys

import mlflow.onnx
import numpy as np
import onnx
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

directory = sys.argv[1]
shutil.rmtree(directory, ignore_errors=True)
signature = ModelSignature(
    inputs=Schema([TensorSpec(np.dtype(np.float32), (-1, 30), "features")]),
    outputs=Schema(
        [
            TensorSpec(np.dtype(np.int64), (-1,), "label"),
            TensorSpec(np.dtype(np.float32), (-1, 2), "probabilities"),
        ]
    ),
)
mlflow.onnx.save_model(
    onnx.load(os.environ["COMPARE_MODEL"]),
    directory,
    signature=signature,
    pip_requirements=["onnxruntime"],
    onnx_session_options={"intra_op_num_threads": 1, "inter_op_num_threads": 1},
)
