#!/usr/bin/env python3
"""How soon a version that turns bad has no traffic any more. Run by rollouts.sh.

A closed loop of rows is answered by a model of a directory; each round puts a new version beside the stable one, waits
until its rollout has come to the state in question, and only then sends rows that it cannot answer. What is taken is the
time from the first bad answer of the new version to the last request that was sent to it, which is no shorter than that
from the answer that decides; and the bad answers that clients got.

Invariant: rows of the calm traffic have a feature 0 below what any version fails at.
"""

import http.client
import json
import math
import os
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import common
import numpy as np
import onnx
from gateway import Failure, Gateway

sys.path.insert(0, str(common.ROOT / "tests" / "python"))
import rollout_models  # noqa: E402

MODEL = "score"
LIMIT_SECONDS = 0.25
PATIENCE_SECONDS = 60.0
# Feature 0 of calm and of rough rows is uniform up to this.
CALM, ROUGH = 0.7, 1.0
FAULTY = 0.2
# Good answers of the new version before the bad ones.
GOOD_BEFORE = 20
FAULTS = {"NaN": {"not_a_number": FAULTY}, "errors": {"rate": FAULTY}}
SETTINGS = """[repository]
poll_interval = "200ms"
bake = "1s"
[models.{model}]
engine = "onnxruntime"
rollout = {{ steps = [10, 50], min_time = "{min_time}", max_time = "10m", min_samples = 200, bake = "5m" }}
"""


@dataclass
class Reply:
    """One answer: when its request left and when it came, the version, and whether it was bad."""

    sent: float
    came: float
    version: int
    is_bad: bool


class Traffic:
    """Senders in closed loops, on threads of this process."""

    def __init__(self, gateway, senders):
        self.gateway, self.most, self.ended = gateway, CALM, False
        self.replies = [[] for _ in range(senders)]
        self.failure = None
        self.threads = [threading.Thread(target=self.send, args=(number,)) for number in range(senders)]
        for thread in self.threads:
            thread.start()

    def send(self, number):
        random = np.random.default_rng(number)
        connection = http.client.HTTPConnection(self.gateway.http, timeout=30)
        try:
            while not self.ended:
                row = [random.uniform(0, self.most), *random.normal(size=rollout_models.FEATURES - 1)]
                self.replies[number].append(self.ask(connection, row))
        except (OSError, http.client.HTTPException, ValueError, TypeError) as error:
            self.failure = f"a request ended with {error!r}"
        finally:
            connection.close()

    @staticmethod
    def ask(connection, row):
        tensor = {"name": "features", "shape": [1, len(row)], "datatype": "FP32", "data": [float(x) for x in row]}
        sent = time.time()
        connection.request("POST", f"/v2/models/{MODEL}/infer", json.dumps({"inputs": [tensor]}))
        answer = connection.getresponse()
        text = answer.read()
        version = int(answer.headers["tidegate-model-version"])
        is_bad = answer.status != 200
        if not is_bad:
            value = json.loads(text)["outputs"][0]["data"][0]
            is_bad = value is None or (isinstance(value, str) or not math.isfinite(value))
        return Reply(sent, time.time(), version, is_bad)

    def of_version(self, version):
        return [reply for replies in self.replies for reply in list(replies) if reply.version == version]

    def end(self):
        self.ended = True
        for thread in self.threads:
            thread.join()


class Repository:
    """A directory of versions of the one model; each has bytes of its own."""

    def __init__(self, folder):
        self.folder, self.version = folder / MODEL, 0
        self.folder.mkdir(parents=True)
        self.add()

    def add(self, **changes):
        self.version += 1
        made = self.folder.parent / "making"
        made.mkdir()
        onnx.save(rollout_models.make(note=f"version {self.version}", **changes), made / "model.onnx")
        os.rename(made, self.folder / str(self.version))
        return self.version


def run(options):
    scratch = Path(options.scratch)
    rows, faults = [], []
    for state in ("canary", "paused", "baking", "full disk"):
        for fault, changes in FAULTS.items():
            name = f"{state.replace(' ', '-')}-{fault.lower()}"
            common.say(f"{options.rounds} rounds: {fault}, {state}")
            rows.append({"state": state, "fault": fault, **case(options, scratch / name, name, state, changes)})
    write(options, rows)
    return faults


def case(options, folder, name, state, changes):
    """All rounds of one fault in one state, at a gateway of its own."""
    folder.mkdir()
    repository, disk = Repository(folder / "models"), None
    # While paused and in the canary it is not to go on by itself.
    min_time = "1s" if state == "baking" else "5m"
    if state == "full disk":
        disk = Path(options.scratch) / "gateways" / name / "state"
        mount = f'mkdir -p "{disk}" && mount -t tmpfs -o size=4m none "{disk}" && exec "$@"'
        options.wrapper = ["unshare", "-m", "sh", "-c", mount, "sh"]
    try:
        gateway = Gateway(options, name, folder / "models", SETTINGS.format(model=MODEL, min_time=min_time))
    finally:
        options.wrapper = []
    traffic = Traffic(gateway, options.senders)
    try:
        rounds = [one_round(gateway, traffic, repository, (state, disk), changes) for _ in range(options.rounds)]
    finally:
        traffic.end()
        gateway.stop()
    if traffic.failure:
        raise Failure(traffic.failure)
    seconds = [taken for taken, _ in rounds]
    return {
        "seconds": {**common.spread(seconds), "all": seconds},
        "bad_answers": common.spread([bad for _, bad in rounds]),
        "limit_seconds": LIMIT_SECONDS,
        "held": max(seconds) <= LIMIT_SECONDS,
    }


def one_round(gateway, traffic, repository, state, changes):
    """From a new version to its end: seconds from its first bad answer to its last request, and its bad answers."""
    (state, disk), version = state, repository.add(**changes)
    wanted = "baking" if state == "baking" else "canary"
    wait(gateway, traffic, version, lambda rollout: rollout["phase"]["name"] == wanted, f"is {wanted}")
    if state == "paused":
        gateway.admin_json("POST", f"/api/v1/rollouts/{MODEL}/pause")
    filler = None
    if disk:
        # Seen from here the disk is below the process.
        filler = Path(f"/proc/{gateway.pid}/root{disk}/filler")
        fill(filler)
    wait(gateway, traffic, version, lambda _: len(traffic.of_version(version)) >= GOOD_BEFORE, "has answered well")
    traffic.most = ROUGH
    ended = ("rolled_back", "aborting") if disk else ("rolled_back",)
    wait(gateway, traffic, version, lambda rollout: rollout["phase"]["name"] in ended, "is rolled back")
    time.sleep(0.5)
    traffic.most = CALM
    if filler:
        filler.unlink()
        wait(gateway, traffic, version, lambda rollout: rollout["phase"]["name"] == "rolled_back", "is written down")
    replies = traffic.of_version(version)
    bad = [reply for reply in replies if reply.is_bad]
    if not bad:
        raise Failure(f"{state}: no bad answers")
    return max(reply.sent for reply in replies) - min(reply.came for reply in bad), len(bad)


def fill(path):
    """Writes until the disk is full."""
    with open(path, "wb", buffering=0) as file:
        for size in (1 << 16, 1 << 9, 1):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue


def wait(gateway, traffic, version, is_so, what):
    """Waits until the rollout of a version is so."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    rollout = None
    while time.monotonic() < deadline:
        if traffic.failure:
            raise Failure(traffic.failure)
        status, text = gateway.ask("GET", f"/api/v1/rollouts/{MODEL}")
        rollout = json.loads(text) if status == 200 else None
        if rollout and rollout["target"] == version and is_so(rollout):
            return
        time.sleep(0.02)
    raise Failure(f"not within {PATIENCE_SECONDS:g} s: version {version} {what}; {str(rollout)[:600]}")


def write(options, rows):
    lines = [
        f"{MODEL}, {common.engine_text(options)}; {options.rounds} rounds of each, {options.senders} senders in a closed "
        "loop; every fifth row is one that the new version cannot answer. From the first bad answer of the new version to "
        "the last request that was sent to it, milliseconds.",
        "",
        *common.table(
            ["state", "fault", "median ms", "largest ms", "wanted", "kept", "bad answers, median"],
            [row(result) for result in rows],
        ),
    ]
    common.write(options, {"cases": rows}, lines)


def row(result):
    return [
        result["state"], result["fault"], f"{result['seconds']['median'] * 1e3:.0f}",
        f"{result['seconds']['highest'] * 1e3:.0f}", f"≤ {result['limit_seconds'] * 1e3:.0f}",
        "yes" if result["held"] else "**no**", f"{result['bad_answers']['median']:g}",
    ]  # fmt: skip


if __name__ == "__main__":
    options = common.parse_arguments(__doc__, rounds=5, senders=2)
    common.main(run, options)
