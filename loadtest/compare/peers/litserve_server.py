"""LitServe: one API with one worker process and one server process, no batching (which is off unless asked for)."""

import os

import litserve

import shared_model as model


class BreastCancer(litserve.LitAPI):
    def setup(self, device):
        self.session = model.open_session()

    def decode_request(self, request):
        return model.float_rows(request["features"])

    def predict(self, rows):
        return model.infer(self.session, rows)

    def encode_response(self, results):
        labels, probabilities = results
        return {"label": labels.tolist(), "probabilities": probabilities.tolist()}


if __name__ == "__main__":
    server = litserve.LitServer(BreastCancer(), accelerator="cpu", workers_per_device=1)
    server.run(
        host="127.0.0.1",
        port=int(os.environ["COMPARE_PORT"]),
        num_api_servers=1,
        generate_client_file=False,
        log_level="error",
        access_log=False,
    )
