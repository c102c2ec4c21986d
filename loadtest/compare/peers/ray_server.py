"""Ray Serve: one replica behind one proxy, on a cluster of its own with one processor; access log off."""

import os
import signal

import ray
from ray import serve
from starlette.requests import Request

import shared_model as model


@serve.deployment(num_replicas=1, max_ongoing_requests=64, logging_config={"enable_access_log": False})
class BreastCancer:
    def __init__(self):
        self.session = model.open_session()

    async def __call__(self, request: Request):
        body = await request.json()
        labels, probabilities = model.infer(self.session, model.float_rows(body["features"]))
        return {"label": labels.tolist(), "probabilities": probabilities.tolist()}


if __name__ == "__main__":
    ray.init(
        address="local",
        num_cpus=1,
        include_dashboard=False,
        object_store_memory=100 << 20,
        _node_ip_address="127.0.0.1",
        _temp_dir=os.environ["COMPARE_SHORT_SCRATCH"],
        logging_level="ERROR",
    )
    serve.start(
        http_options={"host": "127.0.0.1", "port": int(os.environ["COMPARE_PORT"])},
        logging_config={"enable_access_log": False},
    )
    serve.run(BreastCancer.bind())
    signal.pause()
