"""A gateway under measurement: started on free ports of 127.0.0.1, asked, looked at, paused, stopped.

Invariant: a gateway that was started is stopped by its process id, also when this process is killed.
"""

import http.client
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

START_SECONDS = 60
STOP_SECONDS = 30
# What the names of threads begin with that answer requests.
SERVING = ("tidegate-worker", "tidegate-executo")


class Failure(Exception):
    """What did not go as it must, in words."""


class Gateway:
    """A started gateway. `settings` are lines of its configuration, `flags` of its command line."""

    def __init__(self, options, name, models, settings="", flags=()):
        self.folder = Path(options.scratch) / "gateways" / name
        self.folder.mkdir(parents=True)
        self.config = self.folder / "tidegate.toml"
        self.settings = settings
        self.write_config(settings)
        self.log = self.folder / "gateway.log"
        self.http = self.admin = None
        listen = ["--http", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--state", str(self.folder / "state")]
        command = [
            *options.wrapper, options.gateway, "serve", "--config", str(self.config), "--models", str(models), *listen,
            "--workers", "1", "--log-format", "text", "--log-level", "info", *options.engine_flags, *flags,
        ]  # fmt: skip
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                # It is told to stop when this process is gone, whatever ended it.
                ["setpriv", "--pdeathsig", "TERM", "taskset", "-c", options.server_cpus, *command],
                stdin=subprocess.DEVNULL, stderr=log, stdout=log,
            )  # fmt: skip
        try:
            self.wait_until_ready()
        except BaseException:
            self.stop()
            raise

    @property
    def pid(self):
        return self.process.pid

    def write_config(self, text):
        """Replaces the configuration whole; it is read at the next reload."""
        whole = self.config.with_suffix(".new")
        whole.write_text(text)
        os.replace(whole, self.config)

    def wait_until_ready(self):
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise Failure(f"the gateway ended before it was ready: {self.last_words()}")
            found = re.search(r" listening http=([0-9.:]+) admin=([0-9.:]+)", self.log.read_text(errors="replace"))
            if found:
                self.http, self.admin = found[1], found[2]
                if self.ask("GET", "/readyz")[0] == 200 and self.serves_all():
                    return
            time.sleep(0.02)
        raise Failure(f"the gateway was not ready within {START_SECONDS} s: {self.last_words()}")

    def serves_all(self):
        """Whether every model does: the gateway is ready as soon as one is."""
        return all(model["ready"] for model in self.admin_json("GET", "/api/v1/models")["models"])

    def ask(self, method, path):
        """Status and text of an answer of the admin port."""
        connection = http.client.HTTPConnection(self.admin, timeout=30)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def admin_json(self, method, path):
        status, text = self.ask(method, path)
        if status != 200:
            raise Failure(f"{method} {path} was answered with {status}: {text[:300]}")
        return json.loads(text)

    def reload(self, settings):
        """Has the gateway take in other settings."""
        self.write_config(settings)
        self.admin_json("POST", "/api/v1/reload")

    def version(self, model):
        """What the admin API shows of the one version of a model that is loaded."""
        versions = self.admin_json("GET", f"/api/v1/models/{model}")["versions"]
        (loaded,) = (version for version in versions if version["state"] == "loaded")
        return loaded

    def worker_seconds(self):
        """Processor time of the threads that serve, workers and what long calls run on, to the nanosecond."""
        return sum(seconds for name, seconds in self.threads() if name.startswith(SERVING))

    def other_seconds(self):
        """Processor time of the other threads that there are: those that judge and control."""
        return sum(seconds for name, seconds in self.threads() if not name.startswith(SERVING))

    def threads(self):
        """Name and processor time of every thread, seconds."""
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            try:
                # The first number of schedstat is nanoseconds on a processor.
                seconds = int((task / "schedstat").read_text().split()[0]) / 1e9
                yield (task / "comm").read_text().strip(), seconds
            except (FileNotFoundError, ProcessLookupError):
                continue

    def process_seconds(self):
        """Processor time of all threads there were, user and system, to a tick of the system."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_kb(self, what="VmRSS"):
        """Resident memory, or with `VmHWM` the most of it since `forget_peak`."""
        return int(re.search(rf"^{what}:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text(), re.MULTILINE)[1])

    def forget_peak(self):
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def last_words(self):
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return " | ".join(line[:250] for line in lines[-3:]) or "it wrote nothing"

    def stop(self):
        self.resume()
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
