#!/usr/bin/env python3
"""Ordinary requests while other clients misbehave, by thousands where that matters. Run by clients.sh.

Each case: the load alone, the same load while the clients of bad_clients.py are at it, the load alone again. The load after
one case is that before the next.

What an allocator keeps of memory that was given back is not the gateway's; that it is used again is seen in the end, by
waves of connections that come and go.

Invariant: resident memory is looked at before, while everything is in place, at its peak and afterwards, in every case.
"""

import json
import select
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import common
import held_out
import idle
from gateway import Failure, Gateway

MODEL, VERSION = "breast-cancer", 1
IDLE_SECONDS, BODY_SECONDS, MAX_BODY = 10, 2, 64 << 10
SETTINGS = f"[server]\nidle_timeout = '{IDLE_SECONDS}s'\nbody_timeout = '{BODY_SECONDS}s'\nmax_body = {MAX_BODY}\n"
READY_SECONDS, END_SECONDS = 60, 120
# What may be resident beyond what was before and what clients may hold.
SLACK_MB = 16
# Waves of connections, and what the last two may add together: the first ones find how memory is best divided.
WAVES, MORE_MB = 8, 16
# A gateway notices the end of a connection at once, and forgets it in rounds of a second at most.
CLOSED_SECONDS = 2


@dataclass
class Case:
    """How many clients, and what each may have the gateway hold, KiB."""

    key: str
    title: str
    clients: int
    bound_kb: float
    batch: int = 1


def cases_of(options):
    # A connection has a read buffer of 8 KiB and its task; a body is bounded by max_body and may be held twice while it
    # grows; a connection whose answers are not read holds a request and answers besides.
    body = MAX_BODY / 1024
    return [
        Case("slow_heads", "heads of a byte a second", 200, 32),
        Case("half_bodies", "half of a body", 200, 32 + 2 * body, 64),
        Case("unread_answers", "answers that are not read", 20, 1024, 64),
        Case("too_large", "bodies over the limit, with and without Content-Length", 100, 32 + 2 * body),
        Case("pipelined", "16 requests at once on a connection", 50, 256),
        Case("kept_alive", "a request now and then on a connection that stays", 200, 64),
        Case("idle", "connections that never say anything", options.idle, 16),
        Case("idle_answered", "connections that are idle after a request", options.idle, 32),
    ]


def run(options):
    idle.need_descriptors(options.idle + 1000)
    chosen = [name for name in options.cases.split(",") if name]
    cases = [case for case in cases_of(options) if not chosen or case.key in chosen]
    if len(cases) < len(chosen):
        raise Failure(f"no such case among {options.cases}; there are {[case.key for case in cases_of(options)]}")
    models = held_out.repository(options.scratch, MODEL, VERSION)
    files = {
        batch: held_out.write(options.scratch, MODEL, VERSION, batch, count) for batch, count in ((1, 500), (64, 20))
    }
    gateway, runs, faults = Gateway(options, "gateway", models, SETTINGS), [], []
    try:
        ordinary(options, gateway, files[1])
        before = ordinary(options, gateway, files[1])
        for number in range(options.rounds):
            for case in cases:
                common.say(f"round {number + 1} of {options.rounds}: {case.clients} × {case.title}")
                found = during(options, gateway, case, files)
                after = ordinary(options, gateway, files[1])
                runs.append({"case": case.key, "round": number + 1, "before": before, "after": after, **found})
                faults += faults_of(case, found)
                before = after
        waves = memory_over_waves(options, gateway, files[1])
    finally:
        gateway.stop()
    more = waves[-1] - waves[-3]
    if more > MORE_MB:
        faults.append(f"the last two of {WAVES} waves of {options.idle} connections took {more:.0f} MB more: {waves}")
    write(options, cases, (runs, waves), faults)
    return faults


def ordinary(options, gateway, files):
    return common.load(
        options, gateway, MODEL, files, pointer=held_out.POINTER, connections=16, rate=options.rate,
        seconds=options.seconds,
    )  # fmt: skip


def during(options, gateway, case, files):
    """The load beside the clients of a case, what these report, and memory."""
    memory = {"before_mb": gateway.memory_kb() / 1024}
    gateway.forget_peak()
    bodies = files[case.batch]
    command = [
        sys.executable, str(Path(__file__).with_name("bad_clients.py")), case.key, gateway.http, MODEL,
        f"{bodies}.ndjson", f"{bodies}.expected", str(case.clients), str(IDLE_SECONDS), str(BODY_SECONDS), str(MAX_BODY),
    ]  # fmt: skip
    clients = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        wait_until_ready(clients)
        memory["in_place_mb"] = gateway.memory_kb() / 1024
        load = ordinary(options, gateway, files[1])
        output, _ = clients.communicate(timeout=END_SECONDS)
    except subprocess.TimeoutExpired:
        raise Failure(f"{case.title}: the clients did not end within {END_SECONDS} s") from None
    finally:
        if clients.poll() is None:
            clients.kill()
            clients.wait()
    if clients.returncode:
        raise Failure(f"{case.title}: the clients ended with {clients.returncode}")
    memory["peak_mb"] = gateway.memory_kb("VmHWM") / 1024
    time.sleep(CLOSED_SECONDS)
    memory["after_mb"] = gateway.memory_kb() / 1024
    return {"beside": load, "memory": memory, "clients": json.loads(output.splitlines()[-1])}


def wait_until_ready(clients):
    readable, _, _ = select.select([clients.stdout], [], [], READY_SECONDS)
    line = clients.stdout.readline().strip() if readable else "nothing"
    if line != "ready":
        raise Failure(f"the clients were to be in place within {READY_SECONDS} s and said: {line[:300]}")


def memory_over_waves(options, gateway, files):
    """Resident memory, MB, after each of some waves of connections that ask once and go."""
    common.say(f"{WAVES} waves of {options.idle} connections")
    with open(files.with_suffix(".ndjson"), "rb") as lines:
        body = lines.readline().rstrip()
    request = b"POST /v2/models/%s/infer HTTP/1.1\r\nhost: tidegate\r\ncontent-length: %d\r\n\r\n%s"
    request %= (MODEL.encode(), len(body), body)
    waves = []
    for _ in range(WAVES):
        for one, _ in idle.open_many(gateway.http, options.idle, request):
            one.close()
        time.sleep(CLOSED_SECONDS)
        waves.append(round(gateway.memory_kb() / 1024, 1))
    return waves


def faults_of(case, found):
    """What must not be."""
    memory, clients, faults = found["memory"], found["clients"], []
    if clients["wrong"]:
        faults.append(f"{case.title}: {clients['wrong']} clients were met wrongly: {clients['first_wrong']}")
    if sum(clients["met"].values()) < case.clients:
        faults.append(f"{case.title}: {case.clients} clients, and only {clients['met']} were met")
    bound = memory["before_mb"] + SLACK_MB + case.clients * case.bound_kb / 1024
    if memory["peak_mb"] > bound:
        faults.append(f"{case.title}: {memory['peak_mb']:.0f} MB resident, more than {bound:.0f}")
    return faults


def write(options, cases, measured, faults):
    runs, waves = measured
    summary = [summary_of(case, [run for run in runs if run["case"] == case.key]) for case in cases]
    about = (
        f"{MODEL}, {common.engine_text(options)}; {options.rate} ordinary requests a second (open loop), 16 connections"
    )
    limits = f"idle_timeout {IDLE_SECONDS} s, body_timeout {BODY_SECONDS} s, max_body {MAX_BODY >> 10} KiB"
    how = f"{options.rounds} rounds of {options.seconds:g} s; medians, ratios with lowest–highest"
    lines = [f"{about}; {limits}; {how}. Every ordinary answer was checked; each client's end, too.", ""]
    head = ["beside", "clients", "p50 ms, alone", "beside", "ratio", "p99 ms, alone", "beside", "ratio"]
    lines += common.table(head, [latency_row(entry) for entry in summary])
    lines.append("")
    head = [
        "beside",
        "memory before, MB",
        "in place",
        "peak",
        "after",
        "KiB a client, in place",
        "bound",
        "how they were met",
    ]
    lines += common.table(head, [memory_row(entry) for entry in summary])
    sizes = ", ".join(f"{size:.0f}" for size in waves)
    lines += [
        "",
        f"After each of {WAVES} further waves of {options.idle:,} connections that ask once and go: {sizes} MB.",
    ]
    if faults:
        lines += ["", "Failed:", "", *(f"- {fault}" for fault in faults)]
    common.write(options, {"failures": faults, "summary": summary, "waves_mb": waves, "runs": runs}, lines)


def summary_of(case, runs):
    entry = {"case": case.key, "title": case.title, "clients": case.clients, "bound_kb": case.bound_kb}
    for what in ("p50_ms", "p99_ms"):
        alone = [(run["before"][what] + run["after"][what]) / 2 for run in runs]
        entry[f"{what}_alone"] = statistics.median(alone)
        entry[f"{what}_beside"] = statistics.median(run["beside"][what] for run in runs)
        entry[f"{what}_ratio"] = common.spread([run["beside"][what] / base for run, base in zip(runs, alone)])
    for what in ("before_mb", "in_place_mb", "peak_mb", "after_mb"):
        entry[what] = statistics.median(run["memory"][what] for run in runs)
    # From the first round: later ones find what it left.
    first = runs[0]["memory"]
    entry["kb_per_client"] = (first["in_place_mb"] - first["before_mb"]) * 1024 / case.clients
    entry["met"] = {}
    for run in runs:
        for end, count in run["clients"]["met"].items():
            entry["met"][end] = entry["met"].get(end, 0) + count
    return entry


def latency_row(entry):
    def of(what):
        ratio = entry[f"{what}_ratio"]
        spread = f"{ratio['median']:.2f} ({ratio['lowest']:.2f}–{ratio['highest']:.2f})"
        return [f"{entry[f'{what}_alone']:.3f}", f"{entry[f'{what}_beside']:.3f}", spread]

    return [entry["title"], f"{entry['clients']:,}", *of("p50_ms"), *of("p99_ms")]


def memory_row(entry):
    met = ", ".join(f"{count:,} {end}" for end, count in sorted(entry["met"].items()))
    sizes = [f"{entry[what]:.0f}" for what in ("before_mb", "in_place_mb", "peak_mb", "after_mb")]
    return [entry["title"], *sizes, f"{entry['kb_per_client']:.1f}", f"{entry['bound_kb']:.0f}", met]


if __name__ == "__main__":
    options = common.parse_arguments(__doc__, rounds=2, seconds=3.0, rate=500, idle=10000, cases="")
    common.main(run, options)
