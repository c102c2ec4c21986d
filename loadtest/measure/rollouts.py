#!/usr/bin/env python3
"""How soon a version that turns bad has no traffic any more. Run by rollouts.sh.

A closed loop of rows is answered by a model of a directory; each round puts a new version beside the stable one, waits
until its rollout has come to the state in question, and only then sends rows that it cannot answer. What is taken is the
time to the last request that was sent to the version: from the reply that decided ([`deciding`](deciding.py)), and from its
first bad answer, which is before that one; and the bad answers that clients got.

The limit is of the guards, and they alone decide: differences that the steps would find are tolerated.

A version is promoting for a round of the task that drives rollouts, some 50 ms. There all rows are bad, from the moment on
that the order to promote is answered; rounds in which the guards decided later are not counted, and are made again.

Invariant: rows of the calm traffic have a feature 0 below what any version fails at; a round counts only if it was decided
in the state that it is of.
"""

import http.client
import json
import math
import os
import shutil
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import common
import numpy as np
import onnx
from deciding import GUARDS, deciding_reply, decision_of
from gateway import Failure, Gateway
from rollout_orders import Rollouts

sys.path.insert(0, str(common.ROOT / "tests" / "python"))
import rollout_models  # noqa: E402

MODEL = "score"
LIMIT_SECONDS = 0.25
PATIENCE_SECONDS = 60.0
# Feature 0 of calm and of rough rows is uniform between these; of the worst ones the new version can answer none.
CALM, ROUGH, WORST = (0.0, 0.7), (0.0, 1.0), (0.81, 1.0)
# What else is loaded, where something is to be: it is watched like any model.
OTHER, OTHER_VERSION = "breast-cancer", 1
FAULTY = 0.2
# Good answers of the new version before the bad ones. What it has all traffic for is compared with what stable did before,
# and that is to be enough for a verdict within the moment that promoting takes.
GOOD_BEFORE, GOOD_BEFORE_PROMOTING = 20, 200
# Rounds that may be made for each that is wanted.
MOST_TRIES = 10
STATES = ("canary", "paused", "promoting", "baking", "full disk")
FAULTS = {"NaN": {"not_a_number": FAULTY}, "errors": {"rate": FAULTY}}
# What steps compare is borne, so that nothing but a guard decides.
SETTINGS = """[repository]
poll_interval = "200ms"
bake = "1s"
[models.{model}]
engine = "onnxruntime"
[models.{model}.rollout]
steps = [10, 50]
min_time = "{min_time}"
max_time = "10m"
min_samples = 200
bake = "5m"
tolerances = {{ errors = 1, refusals = 1, quality = 1, predictions = 10, latency_ratio = 100 }}
"""


@dataclass
class Reply:
    """One answer: when its request left and when it came, the version, and what guards count it as if it is bad."""

    sent: float
    came: float
    version: int
    fault: str | None


class Traffic:
    """Senders in closed loops, on threads of this process."""

    def __init__(self, gateway, senders):
        self.gateway, self.range, self.ended = gateway, CALM, False
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
                row = [random.uniform(*self.range), *random.normal(size=rollout_models.FEATURES - 1)]
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
        fault = "errors" if answer.status != 200 else None
        if not fault:
            value = json.loads(text)["outputs"][0]["data"][0]
            is_number = not isinstance(value, str) and value is not None and math.isfinite(value)
            fault = None if is_number else "non_finite"
        return Reply(sent, time.time(), version, fault)

    def all(self):
        return [reply for replies in self.replies for reply in list(replies)]

    def of_version(self, version):
        return [reply for reply in self.all() if reply.version == version]

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
    rows = []
    states = options.states.split(",")
    if unknown := set(states) - set(STATES):
        raise Failure(f"unknown states {unknown}, known: {', '.join(STATES)}")
    for state in states:
        for fault, changes in FAULTS.items():
            name = f"{state.replace(' ', '-')}-{fault.lower()}"
            common.say(f"{options.rounds} rounds: {fault}, {state}")
            rows.append({"state": state, "fault": fault, **case(options, scratch / name, name, state, changes)})
    write(options, rows)


def case(options, folder, name, state, changes):
    """All rounds of one fault in one state, at a gateway of its own."""
    folder.mkdir()
    repository, disk = Repository(folder / "models"), None
    for number in range(options.besides):
        version = Path("models") / OTHER / str(OTHER_VERSION)
        shutil.copytree(common.ROOT / version, folder / "models" / f"other{number:04}" / "1")
    # Elsewhere it is not to go on by itself.
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
        rounds, missed = all_rounds(options, gateway, traffic, repository, (state, disk, changes))
    finally:
        traffic.end()
        gateway.stop()
    if traffic.failure:
        raise Failure(traffic.failure)
    times = {since: [found[since] for found in rounds] for since in ("deciding", "first")}
    return {
        "seconds": {since: {**common.spread(taken), "all": taken} for since, taken in times.items()},
        "bad_answers": {
            since: common.spread([found["bad"][since] for found in rounds]) for since in ("until_deciding", "all")
        },
        "decided_by_guards": sum(found["subject"] == GUARDS for found in rounds),
        "rounds": len(rounds),
        "missed": missed,
        "limit_seconds": LIMIT_SECONDS,
        "held": max(times["deciding"]) <= LIMIT_SECONDS,
    }


def all_rounds(options, gateway, traffic, repository, case):
    """The rounds that were decided in the state, and how many were not."""
    (state, disk, changes), rounds, tries = case, [], 0
    wanted = state if state in ("promoting", "baking") else "canary"
    while len(rounds) < options.rounds and tries < MOST_TRIES * options.rounds:
        tries += 1
        version = repository.add(**changes)
        explanation = one_round(gateway, traffic, version, (state, disk))
        phase = decision_of(explanation)["entry"]["says"]["phase"]["name"]
        if phase == wanted:
            rounds.append(measured(options, traffic, version, explanation))
        elif state != "promoting":
            raise Failure(f"decided while {phase}, not {wanted}")
    if not rounds:
        raise Failure(f"none of {tries} rounds was decided while {wanted}")
    return rounds, tries - len(rounds)


def one_round(gateway, traffic, version, state):
    """From a new version to its end; the explanation of that."""
    (state, disk), rollouts = state, Rollouts(gateway, MODEL)
    wanted = "baking" if state == "baking" else "canary"
    wait(gateway, traffic, version, lambda rollout: rollout["phase"]["name"] == wanted, f"is {wanted}")
    if state == "paused":
        rollouts.order("pause")
    filler = None
    if disk:
        # Seen from here the disk is below the process.
        filler = Path(f"/proc/{gateway.pid}/root{disk}/filler")
        fill(filler)
    good = GOOD_BEFORE_PROMOTING if state == "promoting" else GOOD_BEFORE
    wait(gateway, traffic, version, lambda _: len(traffic.of_version(version)) >= good, "has answered well")
    if state == "promoting":
        rollouts.order("promote")
    traffic.range = WORST if state == "promoting" else ROUGH
    ended = ("rolled_back", "aborting") if disk else ("rolled_back",)
    wait(gateway, traffic, version, lambda rollout: rollout["phase"]["name"] in ended, "is rolled back")
    time.sleep(0.5)
    traffic.range = CALM
    if filler:
        filler.unlink()
    return rollouts.explanation()


def measured(options, traffic, version, explanation):
    """Seconds to the last request of the version, and its bad answers."""
    replies = traffic.of_version(version)
    bad = [reply for reply in replies if reply.fault]
    if not bad:
        raise Failure("there were no bad answers")
    last, first = max(reply.sent for reply in replies), min(reply.came for reply in replies if reply.fault)
    # What was answered before the version came says nothing.
    began = min(reply.came for reply in replies)
    deciding = deciding_reply(options, explanation, [reply for reply in traffic.all() if reply.came >= began], version)
    return {
        "deciding": last - deciding.came,
        "first": last - first,
        "bad": {"until_deciding": sum(reply.came <= deciding.came for reply in bad), "all": len(bad)},
        "subject": decision_of(explanation)["entry"]["says"]["subject"],
    }


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
    beside = f" beside {options.besides} other models" if options.besides else ""
    lines = [
        f"{MODEL}{beside}, {common.engine_text(options)}; {options.rounds} rounds of each, {options.senders} senders in a "
        "closed loop; every fifth row is one that the new version cannot answer, while promoting every one. Milliseconds to the last request that was sent to "
        "the new version: from the reply that decided, the first after which the judge would have failed had it looked "
        "then, and from the first bad answer.",
        "",
        *common.table(
            [
                "state", "fault", "from the deciding reply, median", "largest", "wanted", "kept",
                "from the first bad answer, median", "largest", "bad answers up to the deciding one, median",
                "all, median", "decided by guards",
            ],
            [row(result) for result in rows],
        ),
    ]  # fmt: skip
    common.write(options, {"cases": rows}, lines)


def row(result):
    def milliseconds(since):
        return [f"{result['seconds'][since][name] * 1e3:.0f}" for name in ("median", "highest")]

    return [
        result["state"], result["fault"], *milliseconds("deciding"), f"≤ {result['limit_seconds'] * 1e3:.0f}",
        "yes" if result["held"] else "**no**", *milliseconds("first"),
        *(f"{result['bad_answers'][since]['median']:g}" for since in ("until_deciding", "all")),
        f"{result['decided_by_guards']} of {result['rounds']}",
    ]  # fmt: skip


if __name__ == "__main__":
    options = common.parse_arguments(__doc__, rounds=5, senders=2, besides=0, states=",".join(STATES))
    common.main(run, options)
