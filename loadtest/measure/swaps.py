#!/usr/bin/env python3
"""A thousand version swaps under open-loop load: wrong answers, latency around swaps, memory, cost. Run by swaps.sh.

Two trained models take turns under rising version numbers, each with a manifest, renamed into a repository that is
watched. Swaps come in rounds: some at a fast pace, two seconds for these to settle, a quiet stretch, and one swap that
is measured. Its window opens with the new version's first answer, as the load saw it. The time from the rename until
then is looked at apart: a version is loaded then, and that must not be felt either. What went out of service is
unloaded a second after a swap, so within its window.

While the load runs, this process sleeps, renames directories that lie ready, and reads the end of the log: it shares
the load's processor. What a request costs is the processor time of all of the gateway's threads in the quiet
stretches.

Invariant: every answer was held against what the version that it names must say, and what is pooled as quiet is two
seconds after one swap and ends before the next.
"""

import os
import time
from dataclasses import dataclass, field
from pathlib import Path

import common
import held_out
import numpy as np
import versions
from gateway import Failure, Gateway

MODEL, CONNECTIONS, BODIES = "churn", 16, 1000
SETTINGS = "[repository]\npoll_interval = '100ms'\nbake = '1s'\n"
# After a swap, in which it may be felt; then it may not.
WINDOW_SECONDS = 2.0
# From the end of what counts as quiet to the rename, and from the window's end to the next round.
GUARD_SECONDS = 0.1
WARM_UP_SECONDS, MEMORY_SECONDS, LOAD_SECONDS = 5.0, 3.0, 60.0
# Directories of earlier versions that stay.
KEPT = 8
# Rounds at either end between which the cost of a request is compared.
ENDS = 10
# Swaps after which memory is first looked at.
EARLY = 10
LIMITS = {"p99_ratio": 1.2, "loading_p99_ratio": 1.2, "memory_ratio": 1.1, "cost_ratio": 1.05}


@dataclass
class Round:
    """A measured swap: its version; when its directory was renamed and what was quiet before it, seconds since 1970;
    the gateway's processor time in the quiet; memory after it."""

    version: int
    renamed: float
    quiet: tuple[float, float]
    processor_seconds: float
    memory_kb: int


@dataclass
class Course:
    """What was seen while the load ran. Memory is by the number of swaps that were made."""

    rounds: list[Round] = field(default_factory=list)
    memory_kb: dict[int, int] = field(default_factory=dict)
    peak_kb: int = 0


def run(options):
    if not 1 <= options.measured <= options.swaps or options.swaps < 2:
        raise Failure(f"of at least two swaps one to all can be measured, not {options.measured} of {options.swaps}")
    files, told = expectations(options)
    models, staging = (Path(options.scratch) / name for name in ("models", "staging"))
    versions.stage(options, staging, MODEL, options.swaps + 1)
    (models / MODEL).mkdir(parents=True)
    os.rename(staging / "1", models / MODEL / "1")
    gateway = Gateway(options, "gateway", models, SETTINGS)
    try:
        engine = gateway.version(MODEL)["engine"]
        closed, busy = measure_peak(options, gateway, files)
        peak = closed["requests_per_second"]
        rate = peak * options.share
        common.say(f"peak {peak:,.0f}/s with the gateway {busy:.0%} busy; {options.swaps} swaps at {rate:,.0f}/s")
        settings = {"pointer": held_out.POINTER, "connections": CONNECTIONS, "rate": rate}
        with versions.Load(options, gateway, MODEL, files, spin=True, every=0.1, **settings) as load:
            time.sleep(WARM_UP_SECONDS)
            course = swap_all(options, gateway, load, (staging, models / MODEL))
            report = load.finish()
    finally:
        gateway.stop()
    found = {"engine": engine, "peak": peak, "busy_at_peak": busy, "peak_p50_ms": closed["p50_ms"], "rate": rate}
    found |= {"bodies": BODIES, "bodies_that_tell_apart": told}
    faults = faults_of(options, report)
    if all(str(measured.version) in report["versions"] for measured in course.rounds):
        found |= result_of(course, report, load.timeline)
        write(options, found, report)
    return faults


def expectations(options):
    """Bodies, with what even and odd versions must answer. All held-out rows, since some alone would be drift."""
    files = []
    for name, trained in (("even", 2), ("odd", 1)):
        folder = Path(options.scratch) / name
        folder.mkdir()
        files.append(held_out.write(folder, MODEL, trained, 1, BODIES))
    return files, versions.told_apart(*files)


def measure_peak(options, gateway, files):
    """The load's report of a closed loop, and how much of its processor the gateway took meanwhile."""
    for seconds in (WARM_UP_SECONDS / 5, options.peak_seconds):
        before, started = gateway.process_seconds(), time.monotonic()
        report = common.load(
            options, gateway, MODEL, files[1], expected_even=f"{files[0]}.expected", pointer=held_out.POINTER,
            connections=CONNECTIONS, seconds=seconds,
        )  # fmt: skip
        busy = (gateway.process_seconds() - before) / (time.monotonic() - started)
    return report, busy


class Swapper:
    """Renames versions into place, one after the other."""

    def __init__(self, options, gateway, places):
        self.options, self.gateway = options, gateway
        self.staging, self.served = places
        self.log, self.course, self.version = versions.Log(gateway), Course(), 1

    def swap(self):
        """Puts the next version in place and waits until it is loaded; when it was put there."""
        self.version += 1
        renamed = time.time()
        os.rename(self.staging / str(self.version), self.served / str(self.version))
        self.log.wait_until_loaded(self.version, LOAD_SECONDS)
        if self.version > KEPT:
            gone = self.version - KEPT
            os.rename(self.served / str(gone), self.staging / f"gone-{gone}")
        return renamed

    def swap_fast(self):
        began = time.monotonic()
        self.swap()
        time.sleep(max(0.0, began + self.options.fast_gap - time.monotonic()))
        self.look_at_memory()

    def swap_measured(self):
        time.sleep(WINDOW_SECONDS)
        before = processor_seconds(self.gateway)
        began = time.time()
        time.sleep(self.options.quiet)
        ended = time.time()
        taken = processor_seconds(self.gateway) - before
        time.sleep(GUARD_SECONDS)
        renamed = self.swap()
        time.sleep(WINDOW_SECONDS + GUARD_SECONDS)
        self.course.rounds.append(Round(self.version, renamed, (began, ended), taken, self.gateway.memory_kb()))
        self.look_at_memory()

    def look_at_memory(self):
        swaps = self.version - 1
        early = min(EARLY, self.options.swaps // 2)
        if swaps in (early, self.options.swaps):
            # What was replaced is given back by then.
            time.sleep(MEMORY_SECONDS)
            self.course.memory_kb[swaps] = self.gateway.memory_kb()
        if swaps == early:
            self.gateway.forget_peak()


def swap_all(options, gateway, load, places):
    swapper = Swapper(options, gateway, places)
    for number in range(options.measured):
        # As many in each round, and the remainder in the first ones.
        swaps = options.swaps // options.measured + (number < options.swaps % options.measured)
        for _ in range(swaps - 1):
            swapper.swap_fast()
        swapper.swap_measured()
        load.check()
        if number % 10 == 9:
            common.say(f"{swapper.version - 1} swaps")
    swapper.course.peak_kb = gateway.memory_kb("VmHWM")
    return swapper.course


def processor_seconds(gateway):
    """Of the threads that there are, to the nanosecond; none begins or ends in the quiet."""
    return gateway.worker_seconds() + gateway.other_seconds()


class Timeline:
    """When each right answer's request left and how long it took, in the order of leaving. Whole numbers as they were
    written, since there are tens of millions."""

    def __init__(self, path):
        pairs = np.fromfile(path, dtype="<u4").reshape(-1, 2)
        order = np.argsort(pairs[:, 0], kind="stable")
        self.left, self.took = pairs[order, 0], pairs[order, 1]

    def between(self, start, end):
        """Milliseconds, of requests that left between two moments, seconds from the load's start."""
        bounds = np.array([start * 1e6, end * 1e6]).astype(self.left.dtype)
        first, last = np.searchsorted(self.left, bounds)
        return self.took[first:last] / 1e4


def result_of(course, report, timeline):
    """Latencies of windows, quiet and loading, pooled and swap by swap; memory; cost."""
    timeline = Timeline(timeline)
    parts, costs = {"quiet": [], "loading": [], "after": []}, []
    moments, answered = zip(*report["counts"])
    for measured in course.rounds:
        seen = report["versions"][str(measured.version)]
        # The load's clock against the wall's, at this swap: these may part by milliseconds in a quarter of an hour.
        offset = seen["unix"] - seen["at"]
        began, ended = (moment - offset for moment in measured.quiet)
        parts["quiet"].append(timeline.between(began, ended))
        parts["loading"].append(timeline.between(measured.renamed - offset, seen["at"]))
        parts["after"].append(timeline.between(seen["at"], seen["at"] + WINDOW_SECONDS))
        first, last = np.interp(measured.quiet, moments, answered)
        costs.append(measured.processor_seconds / max(last - first, 1) * 1e6)
    latency = {part: quantiles(np.concatenate(pieces)) for part, pieces in parts.items()}
    halves = [np.array_split(piece, 2) for piece in parts["quiet"]]
    ends = min(ENDS, max(len(costs) // 2, 1))
    first, last = float(np.mean(costs[:ends])), float(np.mean(costs[-ends:]))
    early, late = min(course.memory_kb), max(course.memory_kb)
    loading = [report["versions"][str(one.version)]["unix"] - one.renamed for one in course.rounds]
    return {
        "latency_ms": latency,
        "p99_ratio": latency["after"]["p99"] / latency["quiet"]["p99"],
        "loading_p99_ratio": latency["loading"]["p99"] / latency["quiet"]["p99"],
        "p99_ratio_by_swap": spread(ratio(*pair) for pair in zip(parts["after"], parts["quiet"])),
        # The same of nothing: what the machine does by itself.
        "p99_ratio_of_quiet_halves": spread(ratio(later, earlier) for earlier, later in halves),
        "loading_seconds": spread(loading),
        "memory_mb": {str(swaps): kb / 1024 for swaps, kb in course.memory_kb.items()},
        "memory_peak_mb": course.peak_kb / 1024,
        "memory_ratio": course.memory_kb[late] / course.memory_kb[early],
        "memory_mb_by_round": [measured.memory_kb / 1024 for measured in course.rounds],
        "cost_us": {"first": first, "last": last, "rounds": ends},
        "cost_ratio": last / first,
    }


def quantiles(took):
    if not len(took):
        raise Failure("no request that was answered rightly left in the quiet, during a load or after a swap")
    values = {f"p{mark:g}".replace(".", ""): float(np.percentile(took, mark)) for mark in (50, 99, 99.9)}
    return {"requests": len(took), **values, "max": float(took.max())}


def ratio(took, base):
    return np.percentile(took, 99) / np.percentile(base, 99) if len(took) and len(base) else np.nan


def spread(values):
    values = np.array([value for value in values if np.isfinite(value)])
    return {f"p{mark}": float(np.percentile(values, mark)) for mark in (5, 50, 95)} | {"max": float(values.max())}


def faults_of(options, report):
    faults = versions.faults_of(report)
    absent = options.swaps + 1 - len(report["versions"])
    if absent:
        faults.append(f"{absent} of {options.swaps + 1} versions answered nothing")
    return faults


def write(options, found, report):
    held = {what: found[what] <= limit for what, limit in LIMITS.items()}
    # In the closed loop as many requests are under way as there are connections. Where they take longer at less than
    # the peak, they wait for each other: the machine does not carry what it did, and all are late, swap or not.
    carried = found["latency_ms"]["quiet"]["p50"] <= found["peak_p50_ms"]
    if not carried:
        held |= {"p99_ratio": None, "loading_p99_ratio": None}
    kept = {name: value for name, value in report.items() if name not in ("versions", "counts")}
    about = f"{MODEL}, {found['engine']}, {common.engine_text(options)}"
    lines = [
        f"{about}; {options.swaps} swaps, {options.measured} of them measured, at {found['rate']:,.0f} requests/s in "
        f"an open loop, {options.share:.0%} of the peak of {found['peak']:,.0f}/s (gateway "
        f"{found['busy_at_peak']:.0%} busy); {report['seconds']:.0f} s. An answer of the wrong model shows in "
        f"{found['bodies_that_tell_apart']:,} of {found['bodies']:,} bodies.",
        "",
        *common.table(["", "found", "wanted", "kept"], figures(options, found, report, held)),
        "",
        *common.table(
            ["requests that left", "requests", "p50 ms", "p99 ms", "p99.9 ms", "max ms"],
            [latency_row(title, found["latency_ms"][part]) for part, title in PARTS.items()],
        ),
        "",
        *([] if carried else [OVERLOADED, ""]),
        f"p99 of the {WINDOW_SECONDS:g} s over that of the quiet before, swap by swap: "
        f"{spread_text(found['p99_ratio_by_swap'])}; of the second half of each quiet stretch over its first: "
        f"{spread_text(found['p99_ratio_of_quiet_halves'])} (median, 5 % to 95 %). From the rename to the first "
        f"answer: {spread_text(found['loading_seconds'])} s. Most memory after the first swaps: "
        f"{found['memory_peak_mb']:.0f} MB.",
    ]
    common.write(options, {"limits": LIMITS, "held": held, "carried": carried, "load": kept, **found}, lines)


OVERLOADED = (
    "**The load was not carried**: half of the quiet requests took longer than at the peak, so that ratios of latency say "
    "nothing. Something else had the processors; to be measured again, or with a smaller SHARE."
)
VERDICTS = {True: "yes", False: "**no**", None: "not told"}
PARTS = {"quiet": "in the quiet", "loading": "while the version was loaded", "after": "in the 2 s after the swap"}


def figures(options, found, report, held):
    def row(title, reached, what):
        return [title, reached, f"≤ {LIMITS[what]:g}", VERDICTS[held[what]]]

    def none(title, count):
        return [title, f"{count:,}", "0", VERDICTS[not count]]

    latency, cost = found["latency_ms"], found["cost_us"]
    (early, before), (late, after) = sorted(found["memory_mb"].items(), key=lambda entry: int(entry[0]))
    return [
        ["answers, all checked", f"{report['requests']:,}", "", ""],
        none("failed", report["failed"]),
        none("of two versions at once", report["mixed"]),
        none("of a version that had been replaced", report["older"]),
        row("p99 after a swap over that of the quiet", against(found["p99_ratio"], latency, "after"), "p99_ratio"),
        row(
            "p99 while a version is loaded over that of the quiet",
            against(found["loading_p99_ratio"], latency, "loading"), "loading_p99_ratio",
        ),
        row(
            f"resident memory after {late} swaps over that after {early}",
            f"{found['memory_ratio']:.3f} ({after:.1f} over {before:.1f} MB)", "memory_ratio",
        ),
        row(
            f"processor time of a request, last {cost['rounds']} quiet stretches over first",
            f"{found['cost_ratio']:.3f} ({cost['last']:.2f} over {cost['first']:.2f} µs)", "cost_ratio",
        ),
    ]  # fmt: skip


def against(value, latency, part):
    return f"{value:.3f} ({latency[part]['p99']:.3f} over {latency['quiet']['p99']:.3f} ms)"


def latency_row(title, entry):
    return [title, f"{entry['requests']:,}", *(f"{entry[what]:.3f}" for what in ("p50", "p99", "p999", "max"))]


def spread_text(found):
    return f"{found['p50']:.3f} ({found['p5']:.3f}–{found['p95']:.3f})"


if __name__ == "__main__":
    options = common.parse_arguments(
        __doc__, swaps=1000, measured=100, fast_gap=0.4, quiet=1.5, peak_seconds=5.0, share=0.8
    )  # fmt: skip
    common.main(run, options)
