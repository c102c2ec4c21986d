"""Talks to a gateway with Triton's own HTTP client and compares its answers with scikit-learn's.

    python triton_client.py HOST:PORT HELDOUT.csv EXPECTED.csv
"""

import sys

import numpy as np
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

address, held_out, expected = sys.argv[1:]
rows = np.loadtxt(held_out, delimiter=",", skiprows=1, dtype=np.float32)
wanted = np.loadtxt(expected, delimiter=",", skiprows=1)
client = triton.InferenceServerClient(address)

assert client.is_server_live() and client.is_server_ready()
assert client.is_model_ready("churn") and client.is_model_ready("churn", "1")
assert not client.is_model_ready("absent")
assert client.get_server_metadata()["name"] == "tidegate"
metadata = client.get_model_metadata("churn")
assert metadata["inputs"] == [{"name": "features", "datatype": "FP32", "shape": [-1, 10]}], metadata

features = triton.InferInput("features", list(rows.shape), "FP32")
features.set_data_from_numpy(rows, binary_data=False)
names = [output["name"] for output in metadata["outputs"]]
outputs = [triton.InferRequestedOutput(name, binary_data=False) for name in names]
for version in ("", "1"):
    answer = client.infer("churn", [features], model_version=version, outputs=outputs, request_id="mine")
    response = answer.get_response()
    assert response["id"] == "mine" and response["model_version"] == "1", response
    assert np.array_equal(answer.as_numpy("label"), wanted[:, 0].astype(np.int64))
    assert np.abs(answer.as_numpy("probabilities") - wanted[:, 1:]).max() < 1e-4

try:
    client.infer("absent", [features], outputs=outputs)
except InferenceServerException as error:
    assert "unknown model" in error.message(), error
else:
    sys.exit("a model that does not exist answered")
print("all as expected")
