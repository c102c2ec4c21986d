#!/usr/bin/env python3
"""What monitoring costs: switched on and off in one process over many paired blocks, and counted in instructions. Run by
monitoring.sh.

Before each block the gateway takes in its settings again, with `monitoring` as the block wants it: nothing is loaded anew,
no connection ends. How blocks are paired is in [`blocks`](blocks.py).

Judging, a look a second on another thread, goes on in both.

Invariant: the gateway has counted the values of about half of all rows, so it really was on and off.
"""

import statistics
import time

import blocks
import callgrind
import common
import held_out
from gateway import Failure, Gateway

MODEL, VERSION = "breast-cancer", 1
# A network that the embedded engine runs, too.
TRACT_MODEL, TRACT_VERSION = "churn", 2
BODIES = {1: 500, 64: 100}
# Requests that are counted under callgrind: each body twice, so that both settings answer the same.
COUNTED = {1: 1000, 64: 200}
SEED = 4
LIMIT = 0.98


def settings(model, is_on):
    return f"[models.{model}]\nmonitoring = {str(is_on).lower()}\n"


def run(options):
    pairs = {}
    for batch in BODIES:
        folder = f"{options.scratch}/blocks-{batch}"
        models = held_out.repository(folder, MODEL, VERSION)
        gateway = Gateway(options, f"toggled-{batch}", models, settings(MODEL, True))
        try:
            pairs[batch] = blocks.pairs_of(measure_blocks(options, gateway, batch))
        finally:
            gateway.stop()
    instructions, refused = count_instructions(options) if options.callgrind else ([], [])
    write(options, pairs, instructions, refused)


def measure_blocks(options, gateway, batch):
    """All blocks in the order of time."""
    files = held_out.write(options.scratch, MODEL, VERSION, batch, BODIES[batch])
    common.say(f"batch {batch}: {options.pairs} pairs of blocks of {options.block:g} s")
    load = (MODEL, files, {"pointer": held_out.POINTER, "connections": 16})
    found, report = blocks.measure(
        options, gateway, load, lambda is_on: gateway.reload(settings(MODEL, is_on)), SEED
    )
    check_switched(gateway, report["requests"] * batch)
    return found


def check_switched(gateway, rows):
    """The judge's window is longer than the run, so what it has seen is all that was counted."""
    deadline, share = time.monotonic() + 10, 0.0
    while time.monotonic() < deadline:
        (version,) = gateway.admin_json("GET", f"/api/v1/models/{MODEL}/drift")["versions"]
        share = version["samples"] / rows
        if 0.35 < share < 0.65:
            return
        time.sleep(0.5)
    raise Failure(f"the values of {share:.0%} of the rows were counted: monitoring was not switched")


def count_instructions(options):
    """Instructions of a request with and without monitoring; and what could not be counted, with the reason."""
    found, refused = [], []
    cases = [("tract", TRACT_MODEL, TRACT_VERSION)]
    if options.engine_flags:
        cases.append(("onnxruntime", MODEL, VERSION))
    for engine, model, version in cases:
        common.say(f"callgrind: {engine}, {model}")
        models = held_out.repository(f"{options.scratch}/callgrind-{engine}", model, version)
        try:
            found += count_engine(options, engine, model, (models, version))
        except Failure as failure:
            refused.append(f"{engine}, {model}: {failure}")
    return found, refused


def count_engine(options, engine, model, where):
    models, version = where
    chosen = {name: f"{settings(model, name == 'on')}engine = '{engine}'\n" for name in ("on", "off")}
    counting, found = callgrind.Counting(options, engine, models, chosen["on"]), []
    try:
        for batch, requests in COUNTED.items():
            files = held_out.write(options.scratch, model, version, batch, BODIES[batch])
            load = {"files": files, "pointer": held_out.POINTER, "requests": requests}
            found.append(
                {"engine": engine, "model": model, "batch": batch, **counting.per_request(model, chosen, load)}
            )
    finally:
        counting.stop()
    return found


def write(options, pairs, instructions, refused):
    summary = {batch: blocks.summary_of(found) for batch, found in pairs.items()}
    about = f"{MODEL}, 30 features, 16 connections, {common.engine_text(options)}"
    how = f"{options.pairs} pairs of blocks of {options.block:g} s in one process"
    lines = [f"{about}; {how}. Median of the pairs (95 % interval, sign test); reach: at least {LIMIT}.", ""]
    rows = [[str(batch), *blocks.row(found)] for batch, found in summary.items()]
    lines += common.table(["batch", *blocks.head("monitoring")], rows)
    if options.callgrind:
        lines += ["", f"Instructions a request on the serving thread, {callgrind.version()}:", ""]
        head = ["engine", "model", "batch", "monitoring on", "off", "more (lowest–highest)", "off ÷ on"]
        lines += common.table(head, [instruction_row(found) for found in instructions])
        lines += [line for reason in refused for line in ("", f"Not counted: {reason}.")]
    held = {batch: found["requests_on_over_off"]["median"] >= LIMIT for batch, found in summary.items()}
    result = {"limit": LIMIT, "held": held, "summary": summary, "instructions": instructions, "not_counted": refused}
    common.write(options, {**result, "pairs": pairs}, lines)


def instruction_row(found):
    on, off = statistics.median(found["on"]), statistics.median(found["off"])
    more = common.spread([with_it - without for with_it, without in zip(found["on"], found["off"])])
    return [
        found["engine"], found["model"], str(found["batch"]), f"{on:,.0f}", f"{off:,.0f}",
        f"{more['median']:,.0f} ({more['lowest']:,.0f}–{more['highest']:,.0f})", f"{off / on:.4f}",
    ]  # fmt: skip


if __name__ == "__main__":
    options = common.parse_arguments(__doc__, pairs=60, block=0.5, callgrind=1)
    common.main(run, options)
