#!/usr/bin/env python3
"""How long a request is in tidegate's own code, by phase. Run by own.sh.

The gateway times every request itself, in nanoseconds, in bins of a sixteenth of a value; quantiles of each phase are in
`GET /api/v1/models/{model}`. `own` is from the whole body to the answer without queue and engine. Each run has a gateway
of its own, so that what it shows is that run's, the first requests included.

Invariant: the gateway has timed as many requests as the load has checked.
"""

import common
import held_out
from gateway import Failure, Gateway

MODEL, VERSION = "breast-cancer", 1
PHASES = ("receive", "decode", "queue", "compute", "encode", "write", "total", "own")
BODIES = {1: 500, 64: 100}
# Microseconds, of requests of one row.
LIMITS = {"p50": 6.0, "p99": 20.0}


def run(options):
    models = held_out.repository(options.scratch, MODEL, VERSION)
    files = {batch: held_out.write(options.scratch, MODEL, VERSION, batch, count) for batch, count in BODIES.items()}
    cases = [
        (f"batch 1, {options.rate}/s", 1, options.rate),
        ("batch 1, as fast as 16 connections go", 1, None),
        (f"batch 64, {options.rate // 5}/s", 64, options.rate // 5),
    ]
    runs, engine = [], None
    for number in range(options.rounds):
        for name, batch, rate in cases:
            common.say(f"round {number + 1} of {options.rounds}: {name}")
            gateway = Gateway(options, f"{number}-{len(runs)}", models)
            try:
                report = common.load(
                    options, gateway, MODEL, files[batch], pointer=held_out.POINTER, connections=16, rate=rate,
                    seconds=options.seconds,
                )  # fmt: skip
                shown = gateway.version(MODEL)
            finally:
                gateway.stop()
            engine, timed = shown["engine"], shown["phases"]["own"]["requests"]
            if timed != report["requests"]:
                raise Failure(f"{name}: {report['requests']} requests were answered and {timed} timed")
            runs.append({"case": name, "round": number + 1, "load": report, "phases": shown["phases"]})
    write(options, [name for name, *_ in cases], runs, engine)


def microseconds(runs, case, phase, what):
    """Median over the rounds; none if the phase was never reached."""
    found = [run["phases"][phase][f"{what}_seconds"] for run in runs if run["case"] == case]
    found = [seconds * 1e6 for seconds in found if seconds is not None]
    return common.spread(found) if found else None


def write(options, cases, runs, engine):
    summary, lines = (
        {},
        [
            f"{MODEL}, 30 features, {engine}, {common.engine_text(options)}; {options.rounds} rounds of {options.seconds:g} s a case."
        ],
    )
    for case in cases:
        summary[case] = {
            phase: {what: microseconds(runs, case, phase, what) for what in ("mean", "p50", "p99", "p999")}
            for phase in PHASES
        }
        lines += ["", f"{case}, microseconds, medians of the rounds (lowest–highest):", ""]
        reached = [(phase, found) for phase, found in summary[case].items() if found["p50"]]
        rows = [[phase, *(text(found[what]) for what in ("mean", "p50", "p99", "p999"))] for phase, found in reached]
        lines += common.table(["phase", "mean", "p50", "p99", "p99.9"], rows)
    own = summary[cases[0]]["own"]
    held = {what: own[what]["median"] <= limit for what, limit in LIMITS.items()}
    verdicts = (
        f"{what} {own[what]['median']:.1f} µs, {'within' if held[what] else 'beyond'} {limit:g}"
        for what, limit in LIMITS.items()
    )
    lines += ["", f"`own` is `total` without `queue` and `compute`. {cases[0]}: {'; '.join(verdicts)}."]
    common.write(
        options, {"engine": engine, "limits_us": LIMITS, "held": held, "summary": summary, "runs": runs}, lines
    )


def text(found):
    return f"{found['median']:.2f} ({found['lowest']:.2f}–{found['highest']:.2f})"


if __name__ == "__main__":
    options = common.parse_arguments(__doc__, rounds=3, seconds=8.0, rate=5000)
    common.main(run, options)
