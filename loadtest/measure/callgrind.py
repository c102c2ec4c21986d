"""Instructions of a request, counted by valgrind's callgrind.

One gateway runs under callgrind; its counts are written out and set to zero before and after each stretch of a known number
of requests. What counts is the thread that serves: others judge by the clock, and everything takes fifty times as long
here. Stretches with and without something take turns, each several times; where they differ among themselves by more than
a little, the figure is no constant and is refused.

Valgrind knows no AVX-512 and tells programs that there is none, so code that chooses at run time takes its AVX2 path.

Invariant: every request that is counted was answered rightly, on the thread that is counted.
"""

import re
import shutil
import subprocess
from pathlib import Path

import common
from gateway import Failure, Gateway

# Calls must stay on the thread that is counted, slow as they are.
SETTINGS = "[execution]\ninline_limit = '1h'\n[server]\nidle_timeout = '1h'\nbody_timeout = '1h'\n"
REPEATS = 3
WARM_UP = 20
# By how much repeated stretches may differ; the embedded engine's own work varies by 0.7 %.
AGREEMENT = 0.02
PATIENCE_SECONDS = 60


def version():
    if not shutil.which("valgrind"):
        raise Failure("valgrind is not installed")
    return subprocess.run(["valgrind", "--version"], capture_output=True, text=True, check=True).stdout.strip()


class Counting:
    """A gateway under callgrind."""

    def __init__(self, options, name, models, settings):
        self.options = options
        self.folder = Path(options.scratch) / f"callgrind-{name}"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.dumps = 0
        options.wrapper = [
            "valgrind", "--quiet", "--tool=callgrind", "--separate-threads=yes",
            f"--callgrind-out-file={self.folder}/out",
        ]  # fmt: skip
        try:
            self.gateway = Gateway(options, name, models, SETTINGS + settings)
        finally:
            options.wrapper = []

    def stop(self):
        self.gateway.stop()

    def per_request(self, model, settings, load):
        """Instructions per request of each stretch, by setting; `load` has where bodies are, the pointer, and how many requests."""
        found = {name: [] for name in settings}
        for _ in range(REPEATS):
            for name, text in settings.items():
                self.gateway.reload(SETTINGS + text)
                self.ask(model, {**load, "requests": WARM_UP})
                self.dump()
                self.ask(model, load)
                found[name].append(self.dump())
        # The same thread throughout: the one that has executed most.
        threads = {thread for dumps in found.values() for dump in dumps for thread in dump}
        serving = max(
            threads, key=lambda thread: sum(dump.get(thread, 0) for dumps in found.values() for dump in dumps)
        )
        counts = {name: [dump.get(serving, 0) / load["requests"] for dump in dumps] for name, dumps in found.items()}
        for name, repeated in counts.items():
            if not max(repeated) <= min(repeated) * (1 + AGREEMENT):
                raise Failure(f"monitoring {name}: {repeated} instructions a request; that is no constant")
        return counts

    def ask(self, model, load):
        report = common.load(
            self.options, self.gateway, model, load["files"], pointer=load["pointer"], connections=1,
            requests=load["requests"], seconds=PATIENCE_SECONDS,
        )  # fmt: skip
        if report["requests"] != load["requests"]:
            made = f"{report['requests']} of {load['requests']} requests"
            raise Failure(f"only {made} could be made in {PATIENCE_SECONDS} s")

    def dump(self):
        """Instructions by thread since the last dump."""
        command = ["callgrind_control", "--dump", str(self.gateway.pid)]
        done = subprocess.run(command, capture_output=True, check=False, text=True, timeout=PATIENCE_SECONDS)
        self.dumps += 1
        found = {}
        for path in self.folder.glob(f"out.{self.dumps}-*"):
            total = re.search(r"^totals: (\d+)", path.read_text(errors="replace"), re.MULTILINE)
            found[path.name.rpartition("-")[2]] = int(total[1]) if total else 0
        if not found:
            raise Failure(f"callgrind wrote no counts: {done.stdout.strip()[-200:]} {done.stderr.strip()[-200:]}")
        return found
