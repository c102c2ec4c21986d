"""Triton as the documentation of the `nvidia-pytriton` wheel shows it: the model bound as a function.

Dynamic batching is on, with no delay, as the wheel does unless told otherwise.
"""

import os

import numpy as np
from pytriton.decorators import batch
from pytriton.model_config import ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

import shared_model as model

session = model.open_session()


@batch
def infer(features):
    labels, probabilities = model.infer(session, features)
    return {"label": labels.reshape(-1, 1), "probabilities": probabilities}


if __name__ == "__main__":
    config = TritonConfig(
        http_address="127.0.0.1",
        http_port=int(os.environ["COMPARE_PORT"]),
        allow_grpc=False,
        metrics_address="127.0.0.1",
        metrics_port=int(os.environ["COMPARE_PORT_2"]),
        log_verbose=0,
    )
    with Triton(config=config, workspace=os.path.join(os.environ["COMPARE_SCRATCH"], "workspace")) as triton:
        triton.bind(
            model_name=model.NAME,
            infer_func=infer,
            inputs=[Tensor(name="features", dtype=np.float32, shape=(30,))],
            outputs=[
                Tensor(name="label", dtype=np.int64, shape=(1,)),
                Tensor(name="probabilities", dtype=np.float32, shape=(2,)),
            ],
            config=ModelConfig(max_batch_size=1024),
        )
        triton.serve()
