"""Blocks of time with something and without it, in one process under one load: what it costs.

One load runs throughout, as fast as its connections go. Before each block the gateway is switched to what the block wants.
Two blocks, one with it and one without, are a pair; the order is drawn for every other pair, and the next pair has the other
one, so that neither a trend nor what a block leaves behind favours one side. A block's requests come from the load's own
counts over time, its processor time from the kernel's account of the threads that serve.

Invariant: a pair has a block of each kind, and its sides are neighbours in time.
"""

import bisect
import random
import statistics
import subprocess
import time
from pathlib import Path

import common
from gateway import Failure

WARM_UP, SETTLE, EVERY = 1.0, 0.05, 0.02
# How long switching may take, beside the blocks themselves.
SWITCHING_SECONDS = 5.0


def order(pairs, seed):
    """Whether each block is one with it: on off off on, or off on on off, pair of pairs by pair of pairs."""
    draw, blocks = random.Random(seed), []
    for _ in range((pairs + 1) // 2):
        first = draw.random() < 0.5
        blocks += [first, not first, not first, first]
    return blocks[: 2 * pairs]


def pairs_of(blocks):
    """The blocks two by two, with it first."""
    twos = zip(blocks[::2], blocks[1::2])
    return [(a, b) if a["on"] else (b, a) for a, b in twos]


def measure(options, gateway, load, switch, seed):
    """All blocks in the order of time, and the load's report. `load` is its model, files and settings; `switch` has the
    gateway do what a block wants, and answers when it does."""
    model, files, settings = load
    ended = Path(f"{options.scratch}/ended-{gateway.folder.name}")
    longest = WARM_UP + 2 * options.pairs * (options.block + SETTLE + SWITCHING_SECONDS)
    command = common.load_command(
        options, gateway, model, files, seconds=longest, every=EVERY, until=str(ended), **settings
    )
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        time.sleep(WARM_UP)
        marked = [mark(gateway, switch, is_on, options.block) for is_on in order(options.pairs, seed)]
        last = time.time()
        # The load's last count is to be after the last block.
        time.sleep(SETTLE)
    finally:
        ended.touch()
        report = common.report_of(process, longest)
    if last > report["counts"][-1][0]:
        raise Failure("the load ended before the blocks did")
    return [counted(block, report["counts"]) for block in marked], report


def mark(gateway, switch, is_on, seconds):
    switch(is_on)
    time.sleep(SETTLE)
    began = clocks(gateway)
    time.sleep(seconds)
    return is_on, began, clocks(gateway)


def clocks(gateway):
    return time.time(), gateway.worker_seconds(), gateway.process_seconds()


def counted(block, counts):
    """A block with its requests."""
    is_on, (start, worker_before, before), (end, worker_after, after) = block
    requests = requests_by(counts, end) - requests_by(counts, start)
    return {
        "on": is_on,
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


def summary_of(pairs):
    """What the pairs say."""

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


def head(what):
    """The columns of `row`."""
    return [
        "requests/s, on ÷ off", "serving thread's time a request, off ÷ on", "all threads' time, off ÷ on",
        "serving thread, on", f"more by {what}, µs", "requests/s, on",
    ]  # fmt: skip


def row(found):
    """A summary as cells of a table."""

    def ratio(what):
        return f"{found[what]['median']:.4f} ({found[what]['low']:.4f}–{found[what]['high']:.4f})"

    more = found["worker_us_more"]
    return [
        ratio("requests_on_over_off"), ratio("worker_off_over_on"), ratio("process_off_over_on"),
        f"{found['worker_us_on']:.2f} µs", f"{more['median']:.3f} ({more['low']:.3f}–{more['high']:.3f})",
        f"{found['requests_per_second_on']:,.0f}",
    ]  # fmt: skip


def neighbours(pairs, name):
    """Ratios of blocks without it, each to the one of the pair before: how far those are apart that differ in nothing."""
    offs = [off[name] for _, off in pairs]
    return [after / before for before, after in zip(offs[::2], offs[1::2])] or [1.0]
