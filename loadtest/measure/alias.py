#!/usr/bin/env python3
"""How long an alias move takes, from the file that says it to the first answer of the new version. Run by alias.sh.

The source is a directory with `aliases.json` and a manifest in each version, so that nobody else's processor time is
measured. The model has a matrix of ten megabytes; every version has a number and bytes of its own, so that each move
is a fetch, a proof, a load and a warm-up of ten megabytes. Requests come in an open loop all the while, one every few
milliseconds, and the first that the new version answers ends a move; each answer is compared with what is computed
here.

First moves that a signed delivery (Standard Webhooks) follows, while the gateway would look by itself every hour.
Then, at a gateway that looks often, moves at random moments of its interval with no delivery at all.

Invariant: a move begins before the file is replaced, and the new version was whole in its place before that.
"""

import base64
import hashlib
import hmac
import http.client
import json
import os
import random
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import bodies
import common
import numpy as np
import onnx
import versions
from gateway import Failure, Gateway
from onnx import TensorProto, helper, numpy_helper

MODEL, SENDER, KEY = "large", "load", b"a key of the load test"
FEATURES, HIDDEN, BODIES, SEED = 128, 20_000, 50, 7
OPSET, IR_VERSION = 17, 8
# Single precision, over sums of so many products; even and odd versions are one apart.
TOLERANCE = 1e-3
CONNECTIONS, LOAD_SECONDS, SETTLE_SECONDS = 4, 60.0, 1.0
# Versions that stay in the store.
KEPT = 2
LIMIT_SECONDS = 1.0
SETTINGS = """[repository]
bake = "1s"
[registry.objects]
poll_interval = "{interval}"
[registry.cache]
max_bytes = "200MiB"
[registry.hooks.{sender}]
kind = "standard"
secret = {{ file = "{secret}" }}
[models.{model}]
engine = "{engine}"
source = "{source}"
"""


@dataclass
class Move:
    """An alias move, seconds since 1970: begun, acknowledged, and what the log says of the new version."""

    version: int
    begun: float
    acknowledged: float | None
    fetched: float
    loaded: float


class Store:
    """A directory of versions of one model, and the one alias."""

    def __init__(self, options, folder):
        self.options, self.folder, self.version = options, folder, 0
        folder.mkdir(parents=True)
        draw = np.random.default_rng(SEED)
        self.first = (draw.standard_normal((FEATURES, HIDDEN)) / np.sqrt(FEATURES)).astype(np.float32)
        self.second = (draw.standard_normal((HIDDEN, 1)) / np.sqrt(HIDDEN)).astype(np.float32)
        self.rows = draw.standard_normal((BODIES, FEATURES)).round(4)
        # So that a weight can differ from version to version without a difference in any answer.
        self.rows[:, 0] = 0.0

    def add(self):
        """Makes the next version and puts it in its place, whole; bytes of its graph."""
        self.version += 1
        made = self.folder.parent / f"making-{self.folder.name}"
        made.mkdir()
        self.first[0, 0] = self.version
        constants = {"a": self.first, "b": self.second, "c": np.array([self.version % 2], dtype=np.float32)}
        nodes = [
            helper.make_node("MatMul", ["x", "a"], ["ax"]),
            helper.make_node("Relu", ["ax"], ["h"]),
            helper.make_node("MatMul", ["h", "b"], ["bh"]),
            helper.make_node("Add", ["bh", "c"], ["y"]),
        ]
        tensor, number = helper.make_tensor_value_info, TensorProto.FLOAT
        graph = helper.make_graph(
            nodes, MODEL, [tensor("x", number, ["N", FEATURES])], [tensor("y", number, ["N", 1])],
            [numpy_helper.from_array(value, name) for name, value in constants.items()],
        )  # fmt: skip
        opset = [helper.make_opsetid("", OPSET)]
        onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION), made / "model.onnx")
        size = (made / "model.onnx").stat().st_size
        versions.write_manifest(self.options, made)
        os.rename(made, self.folder / str(self.version))
        if self.version > KEPT:
            shutil.rmtree(self.folder / str(self.version - KEPT))
        return size

    def move(self):
        """Has the alias name the newest version; when that began."""
        text, new = json.dumps({"champion": self.version}), self.folder.parent / f"aliases-{self.folder.name}"
        new.write_text(text)
        begun = time.time()
        os.replace(new, self.folder / "aliases.json")
        return begun

    def write_bodies(self, folder):
        """Bodies, and what even and odd versions must answer."""
        folder.mkdir()
        sums = np.maximum(self.rows.astype(np.float32).astype(np.float64) @ self.first, 0.0) @ self.second
        files = []
        for parity, name in enumerate(("even", "odd")):
            files.append(folder / name)
            bodies.write_lines(files[-1].with_suffix(".expected"), (json.dumps([value + parity]) for (value,) in sums))
            texts = (bodies.oip([[f"{value:.4f}" for value in row]]) for row in self.rows)
            bodies.write_lines(files[-1].with_suffix(".ndjson"), (text.replace("features", "x") for text in texts))
        return files


def deliver(gateway, number):
    """Sends a signed event and waits until it is acknowledged; when that was."""
    body = json.dumps({"type": "model.alias", "data": {"name": MODEL}})
    identity, moment = f"move-{number}", str(int(time.time()))
    signature = hmac.new(KEY, f"{identity}.{moment}.{body}".encode(), hashlib.sha256).digest()
    headers = {
        "content-type": "application/json", "webhook-id": identity, "webhook-timestamp": moment,
        "webhook-signature": f"v1,{base64.b64encode(signature).decode()}",
    }  # fmt: skip
    connection = http.client.HTTPConnection(gateway.admin, timeout=30)
    try:
        connection.request("POST", f"/hooks/{SENDER}", body, headers)
        answer = connection.getresponse()
        text = answer.read().decode()
    finally:
        connection.close()
    if answer.status != 202:
        raise Failure(f"a delivery was answered with {answer.status}: {text[:300]}")
    return time.time()


def run(options):
    secret = Path(options.scratch) / "secret"
    secret.write_text("whsec_" + base64.b64encode(KEY).decode())
    (Path(options.scratch) / "none").mkdir()
    engines = ("tract", "onnxruntime") if options.engine_flags else ("tract",)
    results, faults = [], []
    for engine in engines:
        for case, interval, count in (
            ("delivered", "1h", options.moves),
            ("dropped", f"{options.poll:g}s", options.dropped),
        ):
            common.say(f"{engine}: {count} moves, deliveries {case}, the gateway looks every {interval}")
            found, wrong = moves_of(options, secret, engine, case, interval, count)
            results.append({"engine": engine, "case": case, "interval": interval, **found})
            faults += [f"{engine}, {case}: {fault}" for fault in wrong]
    write(options, results)
    return faults


def moves_of(options, secret, engine, case, interval, count):
    """All moves of one case at a gateway of its own; how long they took, and what was answered wrongly."""
    name = f"{engine}-{case}"
    store = Store(options, Path(options.scratch) / "stores" / name)
    files = store.write_bodies(Path(options.scratch) / f"bodies-{name}")
    size = store.add()
    store.move()
    settings = SETTINGS.format(
        interval=interval, sender=SENDER, secret=secret, model=MODEL, engine=engine, source=store.folder
    )
    gateway = Gateway(options, name, Path(options.scratch) / "none", settings)
    try:
        log = versions.Log(gateway)
        log.wait_until_loaded(store.version, LOAD_SECONDS)
        time.sleep(SETTLE_SECONDS)
        told = {"tolerance": TOLERANCE, "connections": CONNECTIONS, "rate": float(options.rate)}
        with versions.Load(options, gateway, MODEL, files, pointer="/outputs/0/data", **told) as load:
            draw, moves = random.Random(SEED), []
            for _ in range(count):
                moves.append(one_move(options, gateway, store, log, case, draw))
                load.check()
            time.sleep(SETTLE_SECONDS)
            report = load.finish()
    finally:
        gateway.stop()
        shutil.rmtree(store.folder)
    wrong = versions.faults_of(report)
    unseen = [str(move.version) for move in moves if str(move.version) not in report["versions"]]
    if unseen:
        return {}, [*wrong, f"versions {', '.join(unseen)} answered nothing"]
    return result_of(moves, report, size), wrong


def one_move(options, gateway, store, log, case, draw):
    store.add()
    # What went out of service is unloaded by then; where nothing tells the gateway, it may be anywhere in its interval.
    time.sleep(SETTLE_SECONDS + (draw.uniform(0, options.poll) if case == "dropped" else 0))
    begun = store.move()
    acknowledged = deliver(gateway, store.version) if case == "delivered" else None
    log.wait_until_loaded(store.version, LOAD_SECONDS)
    return Move(store.version, begun, acknowledged, log.fetched[store.version], log.loaded[store.version])


def result_of(moves, report, size):
    first = [report["versions"][str(move.version)]["unix"] for move in moves]
    took = [answered - move.begun for move, answered in zip(moves, first)]
    phases = {
        "acknowledged": [move.acknowledged - move.begun for move in moves if move.acknowledged],
        "fetched": [move.fetched - move.begun for move in moves],
        "loaded": [move.loaded - move.fetched for move in moves],
        "answered": [answered - move.loaded for move, answered in zip(moves, first)],
    }
    return {
        "bytes": size,
        "moves": len(moves),
        "seconds": {"p50": quantile(took, 50), "p99": quantile(took, 99), "max": max(took)},
        "phases_p50_seconds": {phase: quantile(values, 50) for phase, values in phases.items() if values},
        "all_seconds": took,
        "load": {name: value for name, value in report.items() if name not in ("versions", "counts")},
    }


def quantile(values, mark):
    return float(np.percentile(values, mark))


def write(options, results):
    whole = [result for result in results if "seconds" in result]
    for result in whole:
        result["limit_seconds"], result["reached_seconds"] = limit_of(options, result)
        result["held"] = result["reached_seconds"] <= result["limit_seconds"]
    sizes = {f"{result['bytes'] / 1e6:.1f} MB" for result in whole}
    lines = [
        f"{' '.join(sizes)} of ONNX in a directory with `aliases.json`, {common.engine_text(options)}; {options.rate} "
        f"requests/s in an open loop beside, answers checked; the gateway looks every hour where deliveries come, and "
        f"every {options.poll:g} s where all are dropped.",
        "",
        *common.table(
            ["engine", "deliveries", "moves", "p50 s", "p99 s", "max s", "wanted", "kept", "failed requests"],
            [row(options, result) for result in whole],
        ),
        "",
        "Medians, milliseconds: from the move to the acknowledgement, and to the end of the fetch; from there until "
        "the version is loaded and warm; from there to its first answer.",
        "",
        *common.table(
            ["engine", "deliveries", "acknowledged", "fetched", "then loaded", "then answered"],
            [phase_row(result) for result in whole],
        ),
    ]
    common.write(options, {"poll_seconds": options.poll, "cases": results}, lines)


def limit_of(options, result):
    """What is promised and what came of it."""
    if result["case"] == "delivered":
        return LIMIT_SECONDS, result["seconds"]["p50"]
    return options.poll + LIMIT_SECONDS, result["seconds"]["max"]


def row(options, result):
    what = "p50 ≤" if result["case"] == "delivered" else "max ≤"
    return [
        result["engine"], result["case"], str(result["moves"]),
        *(f"{result['seconds'][mark]:.3f}" for mark in ("p50", "p99", "max")),
        f"{what} {result['limit_seconds']:g} s", "yes" if result["held"] else "**no**",
        f"{result['load']['failed']} of {result['load']['failed'] + result['load']['requests']:,}",
    ]  # fmt: skip


def phase_row(result):
    phases = result["phases_p50_seconds"]
    shown = (phases.get(phase) for phase in ("acknowledged", "fetched", "loaded", "answered"))
    return [result["engine"], result["case"], *("" if value is None else f"{value * 1e3:.1f}" for value in shown)]


if __name__ == "__main__":
    options = common.parse_arguments(__doc__, moves=50, dropped=10, poll=2.0, rate=200)
    common.main(run, options)
