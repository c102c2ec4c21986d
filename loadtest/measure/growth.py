#!/usr/bin/env python3
"""How costs grow: with models loaded, with features, with connections, with connections that are idle. Run by growth.sh.

Every cell is loaded once a round, as fast as its connections go, in another order each round; gateways that are not being
loaded are stopped (SIGSTOP). What a request costs is the processor time of the thread that serves, from the kernel's
account in nanoseconds; throughput and the time of all threads stand beside it. Ratios are between runs of one round.

Invariant: every answer was compared with what was computed elsewhere, and every model has a reference profile.
"""

import random
import shutil
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import common
import held_out
import idle
from gateway import Gateway
from linear_models import Linear

MODEL, VERSION, CONNECTIONS = "breast-cancer", 1, 16
LOADED, FEATURES, BATCHES, OPEN = (1, 10, 100), (10, 30, 100, 500), (1, 64), (1, 4, 16, 64, 256)
BODIES = {1: 300, 64: 50}
WARM_UP = 0.2
SEED = 5
PATIENT = "[server]\nidle_timeout = '1h'\n"


@dataclass
class Cell:
    """What is measured at one point of a row."""

    row: str
    size: int
    gateway: Gateway
    model: str
    files: Path
    batch: int = 1
    connections: int = CONNECTIONS
    pointer: str = held_out.POINTER


def run(options):
    idle.need_descriptors(options.idle + 1000)
    gateways, open_sockets = [], []
    try:
        cells = copies_of_a_model(options, gateways) + widths(options, gateways)
        cells += idle_besides(options, gateways, open_sockets)
        for gateway in gateways:
            gateway.pause()
        runs = measure(options, cells)
    finally:
        for made, _ in open_sockets:
            made.close()
        for gateway in gateways:
            gateway.stop()
    write(options, cells, runs)


def copies_of_a_model(options, gateways):
    """Rows of models and of connections."""
    files, cells = held_out.write(options.scratch, MODEL, VERSION, 1, BODIES[1]), []
    for count in LOADED:
        models = Path(options.scratch) / f"copies-{count}"
        for number in range(count):
            shutil.copytree(common.ROOT / "models" / MODEL / str(VERSION), models / f"m{number:03}" / str(VERSION))
        common.say(f"a gateway with {count} models")
        gateways.append(Gateway(options, f"models-{count}", models))
        cells.append(Cell("models loaded", count, gateways[-1], "m000", files))
    return cells + [Cell("connections", many, gateways[0], "m000", files, connections=many) for many in OPEN]


def engines(options):
    return ("tract", "onnxruntime") if options.engine_flags else ("tract",)


def widths(options, gateways):
    """A row of widths for each engine and batch."""
    models, settings, wide = Path(options.scratch) / "widths", "", []
    for features in FEATURES:
        common.say(f"models of {features} features")
        linear = Linear(features)
        for engine in engines(options):
            name = f"linear-{features}-{engine}"
            if engine == engines(options)[0]:
                linear.write(models / name / "1", options.gateway)
            else:
                shutil.copytree(models / f"linear-{features}-{engines(options)[0]}", models / name)
            settings += f"[models.{name}]\nengine = '{engine}'\n"
        for batch in BATCHES:
            files = linear.write_bodies(Path(options.scratch) / f"linear-{features}-{batch}", batch, BODIES[batch])
            wide += [
                (f"features, {engine}, batch {batch}", features, batch, engine, files) for engine in engines(options)
            ]
    gateways.append(Gateway(options, "widths", models, settings))
    return [
        Cell(row, features, gateways[-1], f"linear-{features}-{engine}", files, batch, pointer="/outputs/0/data")
        for row, features, batch, engine, files in sorted(wide, key=lambda cell: cell[:2])
    ]


def idle_besides(options, gateways, open_sockets):
    """A gateway without idle connections and one with many."""
    files, cells = Path(options.scratch) / f"{MODEL}-1", []
    for count in (0, options.idle):
        models = Path(options.scratch) / f"copies-{LOADED[0]}"
        gateways.append(Gateway(options, f"idle-{count}", models, PATIENT))
        common.say(f"a gateway with {count} idle connections")
        open_sockets += idle.open_many(gateways[-1].http, count)
        cells.append(Cell("idle connections besides", count, gateways[-1], "m000", files))
    return cells


def measure(options, cells):
    draw, runs = random.Random(SEED), []
    for number in range(options.rounds):
        common.say(f"round {number + 1} of {options.rounds}: {len(cells)} cells of {options.seconds:g} s")
        for cell in draw.sample(cells, len(cells)):
            cell.gateway.resume()
            load(options, cell, WARM_UP)
            runs.append({"row": cell.row, "size": cell.size, "round": number + 1, **measure_one(options, cell)})
            cell.gateway.pause()
    return runs


def load(options, cell, seconds):
    return common.load(
        options,
        cell.gateway,
        cell.model,
        cell.files,
        pointer=cell.pointer,
        connections=cell.connections,
        seconds=seconds,
    )


def account(gateway):
    return gateway.worker_seconds(), gateway.process_seconds(), gateway.other_seconds(), time.monotonic()


def measure_one(options, cell):
    gateway = cell.gateway
    before = account(gateway)
    report = load(options, cell, options.seconds)
    worker, process, others, took = (later - earlier for later, earlier in zip(account(gateway), before))
    requests = report["requests"]
    return {
        "requests_per_second": report["requests_per_second"],
        "p99_ms": report["p99_ms"],
        "worker_us": worker / requests * 1e6,
        "process_us": process / requests * 1e6,
        # What judges and controls beside the requests.
        "others_ms_per_second": others / took * 1e3,
        "memory_mb": gateway.memory_kb() / 1024,
    }


def summary_of(runs, rows):
    """For each row and size medians, and ratios to the row's first size in the same round."""
    summary = []
    for row, sizes in rows.items():
        found = {(run["size"], run["round"]): run for run in runs if run["row"] == row}
        rounds = sorted({number for _, number in found})
        for size in sizes:
            here = [found[size, number] for number in rounds]
            first = [found[sizes[0], number] for number in rounds]
            medians = {
                name: statistics.median(run[name] for run in here) for name in here[0] if type(here[0][name]) is float
            }
            ratios = {
                f"{name}_over_first": common.spread([run[name] / base[name] for run, base in zip(here, first)])
                for name in ("worker_us", "requests_per_second")
            }
            summary.append({"row": row, "size": size, **medians, **ratios})
    return summary


def lines_of(summary, rows):
    """For each row of widths the straight line."""
    found = []
    for row, sizes in rows.items():
        if row.startswith("features"):
            points = [(size, entry["worker_us"]) for size in sizes for entry in summary if at(entry, row, size)]
            base, slope, residuals = common.straight_line(points)
            found.append({"row": row, "base_us": base, "us_per_feature": slope, "residuals": residuals, "sizes": sizes})
    return found


def at(entry, row, size):
    return (entry["row"], entry["size"]) == (row, size)


def write(options, cells, runs):
    rows = {}
    for cell in cells:
        rows.setdefault(cell.row, []).append(cell.size)
    summary = summary_of(runs, rows)
    fits = lines_of(summary, rows)
    about = f"{MODEL}, 30 features, and linear models for the widths, {common.engine_text(options)}"
    otherwise = f"{CONNECTIONS} connections and one row a request where nothing else is said"
    how = f"{options.rounds} rounds of {options.seconds:g} s a cell, medians; ratios within rounds (lowest–highest)"
    lines = [f"{about}; {otherwise}; {how}."]
    for row in rows:
        lines += ["", *common.table(head(row), [cells_of(entry) for entry in summary if entry["row"] == row])]
    lines += [
        "",
        "Processor time of the serving thread as a straight line of the features (least relative residuals):",
        "",
    ]
    lines += common.table(
        ["", "a request", "a feature and row", "residuals at " + ", ".join(map(str, FEATURES))], map(fit_row, fits)
    )
    common.write(options, {"summary": summary, "lines": fits, "runs": runs}, lines)


def head(row):
    return [
        row, "serving thread, µs a request", "over the first", "requests/s", "over the first", "all threads, µs a request",
        "other threads, ms a second", "p99 ms", "memory MB",
    ]  # fmt: skip


def cells_of(entry):
    def ratio(found):
        return f"{found['median']:.3f} ({found['lowest']:.3f}–{found['highest']:.3f})"

    return [
        f"{entry['size']:,}", f"{entry['worker_us']:.2f}", ratio(entry["worker_us_over_first"]),
        f"{entry['requests_per_second']:,.0f}", ratio(entry["requests_per_second_over_first"]),
        f"{entry['process_us']:.2f}", f"{entry['others_ms_per_second']:.1f}", f"{entry['p99_ms']:.3f}",
        f"{entry['memory_mb']:.0f}",
    ]  # fmt: skip


def fit_row(fit):
    batch = int(fit["row"].rpartition(" ")[2])
    residuals = ", ".join(f"{residual:+.1%}" for residual in fit["residuals"])
    return [fit["row"], f"{fit['base_us']:.2f} µs", f"{fit['us_per_feature'] / batch * 1e3:.1f} ns", residuals]


if __name__ == "__main__":
    options = common.parse_arguments(__doc__, rounds=5, seconds=1.0, idle=10000)
    common.main(run, options)
