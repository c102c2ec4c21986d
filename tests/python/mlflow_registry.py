"""Fills an MLflow server through MLflow's own client, and moves its aliases.

    python mlflow_registry.py URL log MODEL.onnx NAME
    python mlflow_registry.py URL alias NAME ALIAS VERSION

`log` registers two versions of NAME: the model as it is, and the same with a table of 4,096 floats as a second, constant
output, which is over the 1,024 bytes from which MLflow keeps tensors in a file of their own. The aliases champion and
challenger point to the first and the second; the second has tags. Its last line is what it made, as JSON.
"""

import json
import os
import sys

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["GIT_PYTHON_REFRESH"] = "quiet"

import mlflow
import numpy as np
import onnx
from mlflow import MlflowClient
from mlflow.models import infer_signature
from onnx import TensorProto, helper, numpy_helper


def with_table(model):
    """The same model with a large constant as another output."""
    table = np.arange(4096, dtype=np.float32).reshape(64, 64)
    model.graph.initializer.append(numpy_helper.from_array(table, "table"))
    model.graph.node.append(helper.make_node("Identity", ["table"], ["table_out"]))
    model.graph.output.append(helper.make_tensor_value_info("table_out", TensorProto.FLOAT, [64, 64]))
    return model


def log(path, name):
    client = MlflowClient()
    made = []
    for changed in (lambda model: model, with_table):
        model = changed(onnx.load(path))
        columns = model.graph.input[0].type.tensor_type.shape.dim[1].dim_value
        example = np.zeros((2, columns), dtype=np.float32)
        with mlflow.start_run() as run:
            mlflow.onnx.log_model(
                model,
                name="model",
                registered_model_name=name,
                signature=infer_signature({model.graph.input[0].name: example}),
                input_example={model.graph.input[0].name: example},
                pip_requirements=["onnx"],
            )
        version = max(client.search_model_versions(f"name = '{name}'"), key=lambda version: int(version.version))
        uri = client.get_model_version_download_uri(name, version.version)
        made.append({"version": int(version.version), "run_id": run.info.run_id, "source": version.source, "uri": uri})
    client.set_registered_model_alias(name, "champion", made[0]["version"])
    client.set_registered_model_alias(name, "challenger", made[1]["version"])
    client.set_model_version_tag(name, made[1]["version"], "mlflow.source.git.commit", "0123abc")
    client.set_model_version_tag(name, made[1]["version"], "approved by", "Ada, \"Grace\"")
    print(json.dumps(made))


if __name__ == "__main__":
    mlflow.set_tracking_uri(sys.argv[1])
    if sys.argv[2] == "log":
        log(*sys.argv[3:])
    else:
        MlflowClient().set_registered_model_alias(*sys.argv[3:])
