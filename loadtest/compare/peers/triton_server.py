"""Triton out of the `nvidia-pytriton` wheel, without pytriton's own layer: its server and its Python backend.

The layer binds a function of another process and passes tensors on to it; without it answers came 2.4 times as fast, so
this is the one to compare with, and `pytriton_server.py` is what the wheel's own documentation shows. Like the layer,
this puts the wheel's server and the part for this version of Python into one folder, and starts it there.
"""

import os
import shutil
import sys
from pathlib import Path

import shared_model as model
from pytriton.utils.distribution import get_libs_path, get_root_module_path, get_stub_path

CONFIG = """
backend: "python"
max_batch_size: 0
input [{ name: "features" data_type: TYPE_FP32 dims: [ -1, 30 ] }]
output [
  { name: "label" data_type: TYPE_INT64 dims: [ -1 ] },
  { name: "probabilities" data_type: TYPE_FP32 dims: [ -1, 2 ] }
]
instance_group [{ kind: KIND_CPU count: 1 }]
"""


def main():
    scratch = Path(os.environ["COMPARE_SCRATCH"])
    server = scratch / "tritonserver"
    leave_out = shutil.ignore_patterns("python_backend_stubs")
    shutil.copytree(get_root_module_path() / "tritonserver", server, ignore=leave_out)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    shutil.copy(get_stub_path(version), server / "backends" / "python")
    folder = scratch / "models" / model.NAME
    (folder / model.VERSION).mkdir(parents=True)
    (folder / "config.pbtxt").write_text(CONFIG)
    peers = Path(__file__).parent
    shutil.copy(peers / "triton_model.py", folder / model.VERSION / "model.py")
    shutil.copy(peers / "shared_model.py", folder / model.VERSION)
    os.environ["LD_LIBRARY_PATH"] = f"{os.environ['LD_LIBRARY_PATH']}:{get_libs_path()}"
    options = {
        "model-repository": folder.parent,
        "backend-directory": server / "backends",
        "http-address": "127.0.0.1",
        "http-port": os.environ["COMPARE_PORT"],
        "allow-grpc": "false",
        "metrics-port": os.environ["COMPARE_PORT_2"],
        "metrics-address": "127.0.0.1",
    }
    program = str(server / "bin" / "tritonserver")
    os.execv(program, [program, *(f"--{name}={value}" for name, value in options.items())])


if __name__ == "__main__":
    main()
