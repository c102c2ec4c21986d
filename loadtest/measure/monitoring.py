#!/usr/bin/env python3
"""What monitoring costs: switched on and off in one process over many paired blocks, and counted in instructions. Run by
monitoring.sh.

One load runs throughout, as fast as 16 connections go. Before each block the gateway takes in its settings again, with
`monitoring` as the block wants it: nothing is loaded anew, no connection ends. Two blocks, one with and one without, are a
pair, in random order; the next pair has the other order, so that neither a trend nor what a block leaves behind favours
one side. A block's requests come from the load's own counts over time, its processor time from the kernel's account of
the thread that serves.

Judging, a look a second on another thread, goes on in both.

Invariant: the gateway has counted the values of about half of all rows, so it really was on and off.
"""

import bisect
import random
import statistics
import subprocess
import time

import callgrind
import common
import held_out
from gateway import Failure, Gateway

MODEL, VERSION = "breast-cancer", 1
# A network that the embedded engine runs, too.
TRACT_MODEL, TRACT_VERSION = "churn", 2
BODIES = {1: 500, 64: 100}
WARM_UP, SETTLE, EVERY = 1.0, 0.05, 0.02
# Requests that are counted under callgrind: each body twice, so that both settings answer the same.
COUNTED = {1: 1000, 64: 200}
SEED = 4
LIMIT = 0.98


def settings(model, is_on):
    return f"[models.{model}]\nmonitoring = {str(is_on).lower()}\n"


def run(options):
    blocks, faults = {}, []
    for batch in BODIES:
        folder = f"{options.scratch}/blocks-{batch}"
        models = held_out.repository(folder, MODEL, VERSION)
        gateway = Gateway(options, f"toggled-{batch}", models, settings(MODEL, True))
        try:
            blocks[batch] = measure_blocks(options, gateway, batch)
        finally:
            gateway.stop()
    pairs = {batch: pairs_of(found) for batch, found in blocks.items()}
    instructions, refused = count_instructions(options) if options.callgrind else ([], [])
    write(options, pairs, instructions, refused)
    return faults


def measure_blocks(options, gateway, batch):
    """All blocks in the order of time."""
    files = held_out.write(options.scratch, MODEL, VERSION, batch, BODIES[batch])
    # A reload takes some milliseconds.
    seconds = WARM_UP + 2 * options.pairs * (options.block + 2 * SETTLE) + 1
    common.say(f"batch {batch}: {options.pairs} pairs of blocks of {options.block:g} s, {seconds:.0f} s")
    command = common.load_command(
        options, gateway, MODEL, files, pointer=held_out.POINTER, connections=16, seconds=seconds, every=EVERY
    )
    load = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        time.sleep(WARM_UP)
        marked = [mark_block(gateway, is_on, options.block) for is_on in order(options.pairs)]
        ended = time.time()
    finally:
        report = common.report_of(load, seconds)
    check_switched(gateway, report["requests"] * batch)
    if ended > report["counts"][-1][0]:
        raise Failure("the load ended before the blocks did")
    return [counted(block, report["counts"]) for block in marked]


def order(pairs):
    """Whether each block is one with monitoring: on off off on, or off on on off, pair of pairs by pair of pairs."""
    draw, blocks = random.Random(SEED), []
    for _ in range((pairs + 1) // 2):
        first = draw.random() < 0.5
        blocks += [first, not first, not first, first]
    return blocks[: 2 * pairs]


def mark_block(gateway, is_on, seconds):
    gateway.reload(settings(MODEL, is_on))
    time.sleep(SETTLE)
    began = (time.time(), gateway.worker_seconds(), gateway.process_seconds())
    time.sleep(seconds)
    return is_on, began, (time.time(), gateway.worker_seconds(), gateway.process_seconds())


def counted(block, counts):
    """A block with its requests."""
    is_on, (start, worker_before, before), (end, worker_after, after) = block
    requests = requests_by(counts, end) - requests_by(counts, start)
    return {
        "monitoring": is_on,
        "requests": requests,
        "requests_per_second": requests / (end - start),
        "worker_us": (worker_after - worker_before) / requests * 1e6,
        "process_us": (after - before) / requests * 1e6,
    }


def requests_by(counts, moment):
    """Requests answered by a moment, between two entries in proportion."""
    after = bisect.bisect([at for at, _ in counts], moment)
    (earlier, before), (later, by_then) = counts[after - 1], counts[after]
    return before + (by_then - before) * (moment - earlier) / (later - earlier)


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


def pairs_of(blocks):
    """The blocks two by two, with monitoring first."""
    twos = zip(blocks[::2], blocks[1::2])
    return [(a, b) if a["monitoring"] else (b, a) for a, b in twos]


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


def summary_of(pairs):
    """What the pairs of one batch say."""

    def interval(of):
        return common.median_interval([of(on, off) for on, off in pairs])

    return {
        "requests_on_over_off": interval(lambda on, off: on["requests_per_second"] / off["requests_per_second"]),
        "worker_off_over_on": interval(lambda on, off: off["worker_us"] / on["worker_us"]),
        "process_off_over_on": interval(lambda on, off: off["process_us"] / on["process_us"]),
        "worker_us_more": interval(lambda on, off: on["worker_us"] - off["worker_us"]),
        "requests_per_second_on": statistics.median(on["requests_per_second"] for on, _ in pairs),
        "worker_us_on": statistics.median(on["worker_us"] for on, _ in pairs),
        "worker_us_off": statistics.median(off["worker_us"] for _, off in pairs),
    }


def write(options, pairs, instructions, refused):
    summary = {batch: summary_of(found) for batch, found in pairs.items()}
    about = f"{MODEL}, 30 features, 16 connections, {common.engine_text(options)}"
    how = f"{options.pairs} pairs of blocks of {options.block:g} s in one process"
    lines = [f"{about}; {how}. Median of the pairs (95 % interval, sign test); reach: at least {LIMIT}.", ""]
    head = ["batch", "requests/s, on ÷ off", "serving thread's time a request, off ÷ on", "all threads' time, off ÷ on"]
    head += ["serving thread, on", "more by monitoring, µs", "requests/s, on"]
    lines += common.table(head, [row(batch, found) for batch, found in summary.items()])
    if options.callgrind:
        lines += ["", f"Instructions a request on the serving thread, {callgrind.version()}:", ""]
        head = ["engine", "model", "batch", "monitoring on", "off", "more (lowest–highest)", "off ÷ on"]
        lines += common.table(head, [instruction_row(found) for found in instructions])
        lines += [line for reason in refused for line in ("", f"Not counted: {reason}.")]
    held = {batch: found["requests_on_over_off"]["median"] >= LIMIT for batch, found in summary.items()}
    result = {"limit": LIMIT, "held": held, "summary": summary, "instructions": instructions, "not_counted": refused}
    common.write(options, {**result, "pairs": pairs}, lines)


def row(batch, found):
    def ratio(what):
        return f"{found[what]['median']:.4f} ({found[what]['low']:.4f}–{found[what]['high']:.4f})"

    more = found["worker_us_more"]
    return [
        str(batch), ratio("requests_on_over_off"), ratio("worker_off_over_on"), ratio("process_off_over_on"),
        f"{found['worker_us_on']:.2f} µs", f"{more['median']:.3f} ({more['low']:.3f}–{more['high']:.3f})",
        f"{found['requests_per_second_on']:,.0f}",
    ]  # fmt: skip


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
