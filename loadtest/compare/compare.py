#!/usr/bin/env python3
"""The comparison: every server on one processor, the load on another, round by round. Run by compare.sh.

In each round every server is loaded for the same time, starting with another server each time; whatever is not being
loaded is stopped (SIGSTOP), so that its housekeeping is not counted against the one that is. Ratios are taken between
runs of one round, and their spread is over the rounds.

Invariant: no server is left out silently. One that could not be installed or started, or gave a wrong answer, is named
in the results with the reason, and the whole then ends with status 1.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import bodies
import chart
import report
from servers import Failure, Plan, Server, last_lines

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
MODEL = "breast-cancer"
WARM_UP_SECONDS = 0.5
OIP = {"body": "oip", "path": f"/v2/models/{MODEL}/infer", "pointer": "/outputs/1/data"}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("gateway", "reference", "load", "library", "environments", "scratch", "out", "name"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--about", required=True, type=json.loads, help="machine and date, a JSON object")
    parser.add_argument("--server-cpus", required=True)
    parser.add_argument("--load-cpus", required=True)
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--connections", type=int, required=True)
    parser.add_argument("--batches", required=True, type=lambda text: [int(part) for part in text.split(",")])
    parser.add_argument("--peers", required=True, type=lambda text: [part for part in text.split(",") if part])
    return parser.parse_args()


def read_peers(chosen):
    """The chosen peers, in the order of peers.toml."""
    peers = tomllib.loads((HERE / "peers.toml").read_text())
    unknown = set(chosen) - set(peers)
    if unknown:
        sys.exit(f"error: no such peer: {', '.join(sorted(unknown))}; there are {', '.join(peers)}")
    return [Plan(key=key, **entry) for key, entry in peers.items() if key in chosen]


def gateway_plan():
    listen = ["--http", "127.0.0.1:{port}", "--admin", "127.0.0.1:{port2}", "--state", "{scratch}/state"]
    engine = ["--workers", "1", "--onnxruntime", "{library}", "--log-level", "warn"]
    command = ["{gateway}", "serve", "--models", "{models}", *listen, *engine]
    return Plan(key=report.GATEWAY, name="tidegate, monitoring on", command=command, **OIP)


def full_plan():
    command = ["{reference}", "full", "127.0.0.1:{port}", "{model}", "{library}"]
    return Plan(key=report.REFERENCE, name="hyper + serde_json + ONNX Runtime, nothing else", command=command, **OIP)


def bare_plan(batch, answer):
    command = ["{reference}", "bare", "127.0.0.1:{port}", str(answer)]
    name = "bare hyper, same request and answer size"
    return Plan(key=f"bare-{batch}", row="bare", name=name, command=command, batches=[batch], **OIP)


class Comparison:
    """What is running, and what was found."""

    def __init__(self, options):
        self.options = options
        self.folder = Path(options.scratch)
        # Kept, for whoever asks why a server did not start.
        self.logs = Path(options.environments) / "logs"
        self.logs.mkdir(parents=True, exist_ok=True)
        self.servers, self.failures, self.runs, self.facts = [], [], [], {}

    def start(self, plan, **places):
        """Starts a server, takes down what it costs at rest, and pauses it; None if it could not be started."""
        body = self.body_file(plan, self.options.batches[0] if not plan.batches else plan.batches[0])
        places = {"model": self.folder / "models" / MODEL / "1" / "model.onnx", **places}
        report.say(f"starting {plan.key}")
        try:
            server = Server(plan, places, self.options.server_cpus, self.folder, self.logs, first_line(body))
        except Failure as failure:
            self.fail(plan, f"could not be started: {failure}")
            return None
        self.servers.append(server)
        if plan.row not in self.facts:
            self.facts[plan.row] = {"start_seconds": server.start_seconds, "memory_mb": server.memory_mb()}
        server.pause()
        return server

    def fail(self, plan, reason):
        report.say(f"FAILED: {plan.key}: {reason}")
        self.failures.append({"server": plan.row, "name": plan.name, "reason": reason})

    def body_file(self, plan, batch):
        return self.folder / f"{plan.body}-{batch}.ndjson"

    def start_own(self):
        """The references and the gateway."""
        options = self.options
        full = self.start(full_plan(), reference=options.reference, library=options.library)
        if not full:
            sys.exit("error: without the reference there is nothing to compare with")
        for batch in options.batches:
            full.resume()
            answer = self.folder / f"answer-{batch}.json"
            answer.write_bytes(full.ask(first_line(self.body_file(full.plan, batch)))[1])
            full.pause()
            self.start(bare_plan(batch, answer), reference=options.reference)
        self.start(gateway_plan(), gateway=options.gateway, models=self.folder / "models", library=options.library)

    def start_peer(self, plan):
        environment = Path(self.options.environments) / plan.key
        if not (environment / "installed").exists():
            reason = last_lines(environment.with_suffix(".log")) or "no environment"
            self.fail(plan, f"could not be installed: {reason}")
            return
        if self.start(plan, bin=environment / "bin", python_library=sysconfig.get_config_var("LIBDIR") or ""):
            self.facts[plan.row]["versions"] = package_versions(environment / "bin" / "python", plan.packages)

    def measure(self):
        """All rounds. A server that fails takes no further part."""
        for round_number in range(self.options.rounds):
            report.say(f"round {round_number + 1} of {self.options.rounds}")
            for batch in self.options.batches:
                those = [server for server in self.servers if batch in (server.plan.batches or [batch])]
                turn = round_number % len(those)
                for server in those[turn:] + those[:turn]:
                    self.measure_one(server, batch, round_number)

    def measure_one(self, server, batch, round_number):
        if server not in self.servers:
            return
        server.resume()
        try:
            self.load(server, batch, WARM_UP_SECONDS)
            result = self.load(server, batch, self.options.seconds)
        except Failure as failure:
            self.fail(server.plan, f"batch {batch}, round {round_number + 1}: {failure}")
            self.servers.remove(server)
            server.stop()
            return
        server.pause()
        self.runs.append({"server": server.plan.row, "batch": batch, "round": round_number + 1, **result})

    def load(self, server, batch, seconds):
        """One run of the load generator, its report; anything but right answers is a failure."""
        plan = server.plan
        expected = "fixed" if plan.row == "bare" else "expected"
        settings = {
            "address": f"127.0.0.1:{server.port}", "path": plan.path, "pointer": plan.pointer, "seconds": seconds,
            "bodies": str(self.body_file(plan, batch)), "expected": str(self.folder / f"{expected}-{batch}.ndjson"),
            "connections": self.options.connections,
        }  # fmt: skip
        command = ["taskset", "-c", self.options.load_cpus, self.options.load, json.dumps(settings)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30)
        except subprocess.TimeoutExpired:
            raise Failure("answers stayed out for 30 s") from None
        if done.returncode:
            raise Failure(f"the load ended with {done.returncode}: {done.stderr.strip()[-300:]}")
        result = json.loads(done.stdout)
        if result["failed"] or not result["requests"]:
            counts = f"{result['failed']} of {result['failed'] + result['requests']} requests failed"
            raise Failure(f"{counts}: {(result['first_failure'] or 'none was answered')[:400]}")
        return result

    def stop(self):
        for server in self.servers:
            server.ask_to_stop()
        for server in self.servers:
            server.stop()


def first_line(path):
    with open(path, "rb") as lines:
        return lines.readline().rstrip(b"\n")


def package_versions(python, packages):
    code = "import importlib.metadata as m, json, sys; print(json.dumps({p: m.version(p) for p in sys.argv[1:]}))"
    done = subprocess.run([python, "-c", code, *packages], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def own_versions(library):
    locked = tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]
    crates = {package["name"]: package["version"] for package in locked}
    python = ".".join(str(part) for part in sys.version_info[:3])
    crates = {name: crates[name] for name in ("hyper", "tokio", "serde_json", "ort", "hdrhistogram")}
    return {"onnxruntime_library": Path(library).name, "python": python, **crates}


def main():
    options = parse_arguments()
    peers = read_peers(options.peers)
    # Ends as an exception does, so that servers are ended on the way.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    comparison = Comparison(options)
    model = ROOT / "models" / MODEL
    shutil.copytree(model / "1", comparison.folder / "models" / MODEL / "1")
    forms = {"oip", *(plan.body for plan in peers)}
    bodies.write(comparison.folder, model / "heldout.csv", model / "1" / "expected.csv", options.batches, forms)
    try:
        comparison.start_own()
        for plan in peers:
            comparison.start_peer(plan)
        comparison.measure()
    finally:
        comparison.stop()
    write_results(comparison, peers)
    sys.exit(1 if comparison.failures else 0)


def write_results(comparison, peers):
    options = comparison.options
    settings = {name: getattr(options, name) for name in ("rounds", "seconds", "connections", "batches")}
    names = {server.row: server.name for server in [bare_plan(0, ""), full_plan(), gateway_plan(), *peers]}
    about = {**options.about, **settings, "load_average_after": os.getloadavg()[0]}
    versions = own_versions(options.library)
    result = report.Result(about, versions, names, comparison.facts, comparison.runs, comparison.failures)
    out = Path(options.out)
    (out / f"{options.name}.json").write_text(report.as_json(result))
    (out / f"{options.name}.md").write_text(report.as_markdown(result, f"{options.name}.svg"))
    (out / f"{options.name}.svg").write_text(chart.draw(result))
    print(report.as_markdown(result, None))


if __name__ == "__main__":
    main()
