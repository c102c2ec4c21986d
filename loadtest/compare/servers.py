"""Servers of the comparison: started on one processor, paused while others are measured, ended whatever happens.

Invariant: a server that was started is ended by its process ids; `supervise.py` sees to it that none escapes.
"""

import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import supervise

HERE = Path(__file__).resolve().parent
STOP_SECONDS = 30


class Failure(Exception):
    """A server that cannot take part, and why."""


@dataclass
class Plan:
    """How a server is started and asked; see peers.toml."""

    key: str
    name: str
    command: list[str]
    body: str
    path: str
    pointer: str
    prepare: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    start_limit: float = 60
    # The row of the table that its runs belong to, if not one of its own name.
    row: str = ""
    # The batch sizes that it is for; all unless said.
    batches: list[int] | None = None
    packages: list[str] = field(default_factory=list)

    def __post_init__(self):
        self.row = self.row or self.key


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def last_lines(path):
    """What a log ends with, as one line; nothing if there is no log."""
    lines = path.read_text(errors="replace").strip().splitlines() if path.exists() else []
    return " | ".join(line.strip()[:250] for line in lines[-3:])


class Server:
    """A started server."""

    def __init__(self, plan, places, processor, folder, logs, first_body):
        """Starts it and waits for its first answer; `places` fill the braces in its commands."""
        self.plan = plan
        self.scratch = Path(folder) / plan.key
        self.scratch.mkdir(parents=True)
        self.log = Path(logs) / f"{plan.key}.log"
        self.log.unlink(missing_ok=True)
        self.short = tempfile.mkdtemp(prefix="cmp-")
        self.port = free_port()
        self.process = None
        ports = {"port": self.port, "port2": free_port(), "port3": free_port()}
        self.places = {**places, **ports, "scratch": self.scratch, "short": self.short, "peers": HERE / "peers"}
        try:
            if plan.prepare:
                self.prepare()
            with open(self.log, "ab") as log:
                self.process = subprocess.Popen(
                    [sys.executable, HERE / "supervise.py", "taskset", "-c", processor, *self.filled(plan.command)],
                    env=self.environment(), cwd=self.scratch, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                )  # fmt: skip
            started = float(self.process.stdout.readline())
            self.wait_for_answer(started + plan.start_limit, first_body)
            self.start_seconds = time.monotonic() - started
        except BaseException:
            self.stop()
            raise

    def filled(self, texts):
        return [re.sub(r"\{(\w+)\}", lambda name: str(self.places[name[1]]), text) for text in texts]

    def environment(self):
        own = {
            "PYTHONPATH": "{peers}",
            "COMPARE_PORT": "{port}",
            "COMPARE_PORT_2": "{port2}",
            "COMPARE_MODEL": "{model}",
            "COMPARE_SCRATCH": "{scratch}",
            "COMPARE_SHORT_SCRATCH": "{short}",
            "DO_NOT_TRACK": "1",
            **self.plan.environment,
        }
        if "bin" in self.places:
            own["PATH"] = f"{{bin}}{os.pathsep}{os.environ['PATH']}"
        return {**os.environ, **{name: self.filled([value])[0] for name, value in own.items()}}

    def prepare(self):
        with open(self.log, "ab") as log:
            done = subprocess.run(
                self.filled(self.plan.prepare), env=self.environment(), cwd=self.scratch, stdout=log, stderr=log,
                stdin=subprocess.DEVNULL, timeout=300,
            )  # fmt: skip
        if done.returncode:
            raise Failure(f"its preparation failed: {self.last_words()}")

    def wait_for_answer(self, deadline, body):
        last = "nothing listens"
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise Failure(f"it ended while starting: {self.last_words()}")
            try:
                status, answer = self.ask(body)
                if status == 200:
                    return
                last = f"{status} {answer[:300]!r}"
            except (OSError, http.client.HTTPException) as error:
                last = str(error)
            time.sleep(0.01)
        raise Failure(f"no answer within {self.plan.start_limit} s: {last}; {self.last_words()}")

    def ask(self, body):
        """Status and body of the answer to one request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("POST", self.plan.path, body, {"content-type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def last_words(self):
        return last_lines(self.log) or "it wrote nothing"

    def processes(self):
        return supervise.descendants(self.process.pid)

    def pause(self):
        supervise.send(self.processes(), signal.SIGSTOP)

    def resume(self):
        supervise.send(self.processes(), signal.SIGCONT)

    def memory_mb(self):
        """Resident memory of all its processes; what several share is divided between them."""
        total = 0
        for process in self.processes():
            try:
                text = Path(f"/proc/{process}/smaps_rollup").read_text()
            except OSError:
                continue
            total += int(re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)[1])
        return total / 1024

    def ask_to_stop(self):
        """What `supervise.py` waits for; does not wait itself."""
        if self.process:
            self.process.stdin.close()

    def stop(self):
        self.ask_to_stop()
        if self.process:
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                supervise.send([*self.processes(), self.process.pid], signal.SIGKILL)
                self.process.wait()
            self.process.stdout.close()
        shutil.rmtree(self.short, ignore_errors=True)
