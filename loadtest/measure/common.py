"""What the measured cases share: options, load runs, numbers, results.

Invariant: a case whose `run` raised leaves no process behind and ends with status 1 and the reason.
"""

import argparse
import json
import os
import shlex
import signal
import statistics
import subprocess
import sys
from pathlib import Path

from gateway import Failure

ROOT = Path(__file__).resolve().parent.parent.parent
# How long after its time a load may take to collect the last answers.
PATIENCE_SECONDS = 60


def say(text):
    print(text, file=sys.stderr, flush=True)


def parse_arguments(description, **defaults):
    """Options that all cases have; `defaults` are further numbers."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("gateway", "load", "scratch", "out", "name", "server-cpus", "load-cpus"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--about", required=True, type=json.loads, help="machine and date, a JSON object")
    parser.add_argument("--engine-flags", default=[], type=shlex.split)
    for name, default in defaults.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    options = parser.parse_args()
    # What the gateway is run by, as a profiler.
    options.wrapper = []
    return options


def main(run, options):
    """Runs a case; its failure is its exit."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # This process reads clocks and counters: where the load runs, out of the server's way.
    os.sched_setaffinity(0, processors(options.load_cpus))
    try:
        faults = run(options)
    except Failure as failure:
        faults = [str(failure)]
    for fault in faults or []:
        say(f"error: {fault}")
    sys.exit(1 if faults else 0)


def processors(text):
    """The processors of a list as taskset takes it: 0,2-3."""
    parts = (part.partition("-") for part in text.split(","))
    return {number for first, _, last in parts for number in range(int(first), int(last or first) + 1)}


def load_command(options, gateway, model, files, **settings):
    """The load generator's command line. `files` is where bodies and expected answers are, without the ending."""
    told = {
        "address": gateway.http, "path": f"/v2/models/{model}/infer", "bodies": f"{files}.ndjson",
        "expected": f"{files}.expected", **settings,
    }  # fmt: skip
    return ["taskset", "-c", options.load_cpus, options.load, json.dumps(told)]


def load(options, gateway, model, files, **settings):
    """One run of the load, its report; anything but right answers is a failure."""
    command = load_command(options, gateway, model, files, **settings)
    return report_of(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE), settings["seconds"])


def report_of(process, seconds):
    """Waits for a load that was started and checks what it reports."""
    report = outcome_of(process, seconds)
    if report["failed"] or not report["requests"]:
        counts = f"{report['failed']} of {report['failed'] + report['requests']} requests failed"
        raise Failure(f"{counts}: {(report['first_failure'] or 'none was answered')[:400]}")
    return report


def outcome_of(process, seconds):
    """Waits for a load that was started; what it reports, whatever that is."""
    try:
        output, errors = process.communicate(timeout=seconds + PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        raise Failure(f"answers stayed out for {PATIENCE_SECONDS} s") from None
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    if process.returncode:
        raise Failure(f"the load ended with {process.returncode}: {errors.decode().strip()[-300:]}")
    return json.loads(output)


def spread(values):
    """Median, lowest and highest."""
    return {"median": statistics.median(values), "lowest": min(values), "highest": max(values)}


def median_interval(values, confidence=0.95):
    """Median with an interval that covers the true one whatever the distribution is: order statistics, sign test."""
    ordered, count = sorted(values), len(values)
    # Probability that at most k of `count` fair coins show heads, doubled, may be what is left over.
    below, tail = 0, 0.5**count
    while below < count // 2 and 2 * tail <= 1 - confidence:
        below += 1
        tail += binomial(count, below) * 0.5**count
    # With `below` = 0 no interval of this confidence exists; the range is the widest there is.
    low, high = ordered[max(below - 1, 0)], ordered[count - max(below, 1)]
    return {"median": statistics.median(values), "low": low, "high": high, "pairs": count}


def binomial(count, picked):
    product = 1
    for step in range(picked):
        product = product * (count - step) // (step + 1)
    return product


def straight_line(points):
    """Base and slope of the line through (x, y) with the least relative residuals, and these, y / line - 1."""
    # Weighted by 1 / y²: a fit of the plain distances would be one of the largest x alone.
    weights = [1 / y**2 for _, y in points]
    total = sum(weights)
    mean_x = sum(w * x for w, (x, _) in zip(weights, points)) / total
    mean_y = sum(w * y for w, (_, y) in zip(weights, points)) / total
    spread_x = sum(w * (x - mean_x) ** 2 for w, (x, _) in zip(weights, points))
    slope = sum(w * (x - mean_x) * (y - mean_y) for w, (x, y) in zip(weights, points)) / spread_x
    base = mean_y - slope * mean_x
    return base, slope, [y / (base + slope * x) - 1 for x, y in points]


def engine_text(options):
    """The engine's flags without the folders of this machine."""
    return (
        f"`{' '.join(Path(flag).name for flag in options.engine_flags)}`" if options.engine_flags else "embedded engine"
    )


def about_line(about):
    """The machine and the moment, as the other cases write it."""
    return (
        f"{about['gateway']}, {about['date']}; {about['machine']}; load average before: {about['load_average_before']}; "
        f"server on processors: {about['server_cpus']}; load on processors: {about['load_cpus']}; "
        f"workers: {about['workers']}"
    )


def table(head, rows):
    """Lines of a table in Markdown."""
    return [f"| {' | '.join(head)} |", "|" + "---|" * len(head), *(f"| {' | '.join(row)} |" for row in rows)]


def write(options, result, lines):
    """Writes a result as JSON and as Markdown, and shows the latter."""
    out = Path(options.out)
    (out / f"{options.name}.json").write_text(json.dumps({"case": options.name, **options.about, **result}) + "\n")
    text = "\n".join([f"{about_line(options.about)}.", "", *lines]) + "\n"
    (out / f"{options.name}.md").write_text(text)
    print(text, end="")
