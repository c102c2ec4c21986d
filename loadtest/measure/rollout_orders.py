"""A model's rollouts under measurement: ordered, looked at, waited for.

Invariant: an order that was not carried out is a failure.
"""

import http.client
import json
import time

from gateway import Failure

WAIT_SECONDS, LOOK_SECONDS = 60.0, 0.02
ENDED = ("done", "rolled_back", "failed", "superseded")


class Rollouts:
    """Those of one model at one gateway."""

    def __init__(self, gateway, model):
        self.gateway, self.model = gateway, model

    def send(self, method, path, body=None):
        """Status and text of an answer of the admin port."""
        connection = http.client.HTTPConnection(self.gateway.admin, timeout=30)
        try:
            connection.request(method, path, body and json.dumps(body))
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def order(self, order, body=None):
        status, text = self.send("POST", f"/api/v1/rollouts/{self.model}/{order}", body)
        if status not in (200, 202):
            raise Failure(f"{order} was answered with {status}: {text[:300]}")

    def split(self, weights):
        """Sets a split by hand, once no rollout owns the weights any more."""
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            status, text = self.send("PUT", f"/api/v1/models/{self.model}/split", {"weights": weights})
            if status == 200:
                return
            if status != 409 or time.monotonic() > deadline:
                raise Failure(f"the split was answered with {status}: {text[:300]}")
            time.sleep(LOOK_SECONDS)

    def view(self):
        status, text = self.gateway.ask("GET", f"/api/v1/rollouts/{self.model}")
        return json.loads(text) if status == 200 else None

    def explanation(self):
        """The journal of the rollout that has ended, once its end is written down."""
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            found = self.gateway.admin_json("GET", f"/api/v1/rollouts/{self.model}/explain")
            if any(entry["entry"]["kind"] == "ended" for entry in found["entries"]):
                return found
            time.sleep(LOOK_SECONDS)
        raise Failure(f"the end is not written down: {json.dumps(found['entries'][-1])[:300]}")

    def is_running(self):
        view = self.view()
        return view is not None and view["phase"]["name"] not in ENDED

    def wait_until(self, phases):
        deadline, view = time.monotonic() + WAIT_SECONDS, None
        while time.monotonic() < deadline:
            view = self.view()
            if view and view["phase"]["name"] in phases:
                return view
            time.sleep(LOOK_SECONDS)
        raise Failure(f"the rollout did not come to {' or '.join(phases)}: {json.dumps(view)[:300]}")
