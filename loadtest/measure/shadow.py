#!/usr/bin/env python3
"""What copies of requests cost those who are served: throughput and latency of the stable version while another one
answers copies, cannot keep up with them, or fails at them. Run by shadow.sh.

One model of 30 features, whose version 1 serves. Version 2 is, in a gateway of its own for each case,

- *answering*: as small as version 1,
- *stalled*: so slow that its queue is full from the first moment on,
- *crashing*: a graph that loads and fails at three rows of ten. At more than half of them the phase would end by itself.

A rollout whose shadow phase does not end is started before a block and aborted before another, in one process, so that
version 2 is loaded and warm in both. Two blocks, one with copies and one without, are a pair, in random order. A block is
a closed loop of 16 connections, for the throughput, and then an open loop at a share of the peak, for the latency; each
answer is compared with what version 1 must say.

Invariant: in each block with copies they were what the case says: compared, dropped or failed; and none in the others.
"""

import os
import statistics
import time
from pathlib import Path

import blocks
import common
import linear_models
import numpy as np
import onnx
from gateway import Failure, Gateway
from onnx import TensorProto, helper, numpy_helper
from rollout_orders import ENDED, Rollouts

MODEL, FEATURES, BODIES, SEED = "linear", 30, 500, 17
POINTER = "/outputs/0/data"
# Of the slow version: the side of its matrix, and how often rows are multiplied by it. Some tens of milliseconds.
SIDE, TIMES = 256, 400
OPSET, IR_VERSION = 17, 8
SETTLE, PEAK_SECONDS = 0.2, 3.0
CONNECTIONS = 16
# As much failure as can be let be: the phase is not to end by itself.
SETTINGS = """[repository]
bake = "24h"
poll_interval = "100ms"
[models.{model}]
engine = "{engine}"
[models.{model}.rollout]
write_back = false
guards = {{ errors = {rate}, broken = {rate}, non_finite = {rate} }}
shadow = {{ share = {share}, queue = 256, min_time = "24h", max_time = "48h" }}
"""
HIGHEST_RATE = 0.5


def constant(name, values, kind):
    return numpy_helper.from_array(np.array(values, dtype=kind), name)


def save(nodes, constants, directory):
    """A version with the inputs and outputs that linear models have."""
    directory.mkdir(parents=True)
    tensor, number = helper.make_tensor_value_info, TensorProto.FLOAT
    graph = helper.make_graph(
        nodes, MODEL, [tensor("features", number, ["N", FEATURES])], [tensor("y", number, ["N", 1])], constants
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.save(model, directory / "model.onnx")


def answering(directory):
    weights = constant("w", np.full((FEATURES, 1), 0.1), np.float32)
    save([helper.make_node("MatMul", ["features", "w"], ["y"])], [weights], directory)


def stalled(directory):
    names = ["wide", *(f"h{step}" for step in range(TIMES))]
    nodes = [helper.make_node("MatMul", ["features", "a"], ["wide"])]
    nodes += [helper.make_node("MatMul", [before, "m"], [after]) for before, after in zip(names, names[1:])]
    nodes.append(helper.make_node("MatMul", [names[-1], "b"], ["y"]))
    matrix = np.roll(np.eye(SIDE), 1, axis=1)
    wide, narrow = np.full((FEATURES, SIDE), 0.01), np.full((SIDE, 1), 0.01)
    constants = [constant(name, values, np.float32) for name, values in (("m", matrix), ("a", wide), ("b", narrow))]
    save(nodes, constants, directory)


def crashing(directory):
    """Looks up a row of a table that has but one: row 0 where the first feature is at most a half, as in the zeros that a
    version is warmed on, and one that there is not where it is more."""
    nodes = [
        helper.make_node("Gather", ["features", "first"], ["x"], axis=1),
        helper.make_node("Sub", ["x", "half"], ["beyond"]),
        helper.make_node("Relu", ["beyond"], ["excess"]),
        helper.make_node("Ceil", ["excess"], ["whole"]),
        helper.make_node("Cast", ["whole"], ["index"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "index"], ["y"], axis=0),
    ]
    half, table = constant("half", 0.5, np.float32), constant("table", [0.5], np.float32)
    save(nodes, [constant("first", [0], np.int64), half, table], directory)


CASES = {"answering": (answering, "compared"), "stalled": (stalled, "dropped"), "crashing": (crashing, "failed")}


class Copies(Rollouts):
    """Switches copies on and off at a gateway."""

    def __init__(self, gateway, counted):
        super().__init__(gateway, MODEL)
        self.counted = counted

    def switch(self, is_on):
        """Begins or ends copies."""
        is_running = self.is_running()
        if is_on and not is_running:
            self.order("start", {"version": 2})
        elif is_running and not is_on:
            self.order("abort")
        self.wait_until(("shadow",) if is_on else ENDED)
        time.sleep(SETTLE)

    def counts(self):
        shadow = (self.view() or {}).get("shadow") or {}
        return {name: shadow.get(name, 0) for name in ("compared", "failed", "dropped")}


def run(options):
    engine = "onnxruntime" if options.engine_flags else "tract"
    found = {}
    for case, (write_version, counted) in CASES.items():
        common.say(f"{case}: {options.pairs} pairs of blocks of twice {options.block:g} s")
        found[case] = measure_case(options, engine, case, write_version, counted)
    write(options, engine, found)
    return []


def measure_case(options, engine, case, write_version, counted):
    """All pairs of one case, the block with copies first."""
    folder = Path(options.scratch) / case
    models, staged = folder / "models" / MODEL, folder / "staged"
    stable = linear_models.Linear(FEATURES)
    stable.write(models / "1", options.gateway)
    files = stable.write_bodies(folder / "bodies", 1, BODIES)
    write_version(staged)
    settings = SETTINGS.format(model=MODEL, engine=engine, share=options.share, rate=HIGHEST_RATE)
    gateway = Gateway(options, case, folder / "models", settings)
    try:
        # Only what comes later is rolled out: the first version of a model serves at once.
        os.rename(staged, models / "2")
        rollouts = Copies(gateway, counted)
        rollouts.wait_until(("shadow",))
        rollouts.switch(False)
        peak = load(options, gateway, files, PEAK_SECONDS)["requests_per_second"]
        found = [one_block(options, gateway, rollouts, files, is_on, peak) for is_on in blocks.order(options.pairs, SEED)]
    finally:
        gateway.stop()
    return {"peak": peak, "pairs": blocks.pairs_of(found)}


def load(options, gateway, files, seconds, **more):
    return common.load(
        options, gateway, MODEL, files, pointer=POINTER, connections=CONNECTIONS, seconds=seconds, **more
    )


def one_block(options, gateway, rollouts, files, is_on, peak):
    rollouts.switch(is_on)
    before = rollouts.counts()
    worker = gateway.worker_seconds()
    closed = load(options, gateway, files, options.block)
    worker_us = (gateway.worker_seconds() - worker) / closed["requests"] * 1e6
    rate = peak * options.share_of_peak
    opened = load(options, gateway, files, options.block, rate=rate, spin=True)
    # What was counted last is shown with the next look.
    time.sleep(SETTLE)
    after = rollouts.counts()
    copies = {name: after[name] - before[name] for name in after}
    if is_on and not copies[rollouts.counted] or not is_on and any(copies.values()):
        raise Failure(f"copies were switched {'on' if is_on else 'off'}, and these were counted: {copies}")
    return {
        "on": is_on, "counts": copies, "requests_per_second": closed["requests_per_second"], "worker_us": worker_us,
        **{f"{name}_ms": opened[f"{name}_ms"] for name in ("p50", "p99", "p999")},
    }  # fmt: skip


def summary_of(pairs):
    def ratio(what):
        return common.median_interval([on[what] / off[what] for on, off in pairs])

    def median(side, what):
        return statistics.median(pair[side][what] for pair in pairs)

    names = ("requests_per_second", "p50_ms", "p99_ms", "worker_us")
    return {
        "on_over_off": {name: ratio(name) for name in names},
        # How far two neighbours are apart that differ in nothing: those without copies, one after the other.
        "noise": {name: common.median_interval(blocks.neighbours(pairs, name)) for name in names},
        "on": {name: median(0, name) for name in names},
        "off": {name: median(1, name) for name in names},
        "copies": {name: sum(on["counts"][name] for on, _ in pairs) for name in ("compared", "failed", "dropped")},
    }


def is_within(found):
    """Whether the interval of the throughput's and the p99's ratio has 1 in it, or is on its better side."""
    ratios = found["on_over_off"]
    return ratios["requests_per_second"]["high"] >= 1.0 and ratios["p99_ms"]["low"] <= 1.0


def write(options, engine, found):
    summaries = {case: summary_of(result["pairs"]) for case, result in found.items()}
    lines = [
        f"Linear model of {FEATURES} features, one row, {common.engine_text(options)}; {options.share:g} % of requests copied; "
        f"{options.pairs} pairs of blocks in one process, each {options.block:g} s with {CONNECTIONS} connections as fast as they "
        f"go and {options.block:g} s in an open loop at {options.share_of_peak:.0%} of the peak. Medians of pairs (95 % "
        "interval, sign test); *noise* is the same ratio of neighbouring blocks without copies.",
        "",
        *common.table(
            [
                "version 2", "requests/s, on ÷ off", "noise", "p99, on ÷ off", "noise", "p99 ms, on", "off",
                "serving thread's time a request, on ÷ off", "copies compared", "failed", "dropped", "within noise",
            ],
            [row(case, summary) for case, summary in summaries.items()],
        ),
    ]  # fmt: skip
    held = {case: is_within(summary) for case, summary in summaries.items()}
    peaks = {case: result["peak"] for case, result in found.items()}
    pairs = {case: result["pairs"] for case, result in found.items()}
    result = {"engine": engine, "held": held, "peaks": peaks, "summary": summaries, "pairs": pairs}
    common.write(options, result, lines)


def row(case, summary):
    def ratio(part, name):
        of = summary[part][name]
        return f"{of['median']:.3f} ({of['low']:.3f}–{of['high']:.3f})"

    return [
        case, ratio("on_over_off", "requests_per_second"), ratio("noise", "requests_per_second"),
        ratio("on_over_off", "p99_ms"), ratio("noise", "p99_ms"),
        f"{summary['on']['p99_ms']:.3f}", f"{summary['off']['p99_ms']:.3f}", ratio("on_over_off", "worker_us"),
        *(f"{summary['copies'][name]:,}" for name in ("compared", "failed", "dropped")),
        "yes" if is_within(summary) else "**no**",
    ]  # fmt: skip


if __name__ == "__main__":
    options = common.parse_arguments(__doc__, pairs=20, block=2.0, share=100.0, share_of_peak=0.5)
    common.main(run, options)
