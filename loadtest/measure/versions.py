"""Versions that are swapped under measurement: made ready beforehand, watched in the gateway's log, loaded meanwhile.

Invariant: what is written here is whole before it can be seen where the gateway looks.
"""

import json
import os
import re
import shutil
import subprocess
import time
from datetime import datetime

import common
from gateway import Failure

FILES = ("model.onnx", "profile.json")
# By how much two models' answers differ at least in a body that tells them apart: ten times what the load lets pass.
APART = 1e-3
LOOK_SECONDS = 0.02
# The longest that a load with a timeline runs; it is ended by a file.
LONGEST_SECONDS = 4200.0
LINE = re.compile(r"^(\S+Z)\s+\w+ (version fetched|version loaded and warm) .*\bversion=(\d+)\b")


def write_manifest(options, directory):
    done = subprocess.run(
        [options.gateway, "manifest", str(directory)], capture_output=True, check=False, text=True, timeout=60
    )
    if done.returncode:
        raise Failure(f"no manifest of {directory.name}: {done.stderr.strip()[-300:]}")


def stage(options, staging, model, count):
    """Directories 1 to `count`, odd ones the trained version 1 and even ones version 2; links, which cost nothing."""
    for trained in (1, 2):
        made = staging / f"trained-{trained}"
        made.mkdir(parents=True)
        for name in FILES:
            shutil.copy2(common.ROOT / "models" / model / str(trained) / name, made / name)
        write_manifest(options, made)
    for version in range(1, count + 1):
        directory = staging / str(version)
        directory.mkdir()
        for file in (staging / f"trained-{1 if version % 2 else 2}").iterdir():
            os.link(file, directory / file.name)


def told_apart(even, odd):
    """In how many bodies an answer of the other model shows; in the others both models say the same."""
    answers = zip(*(map(json.loads, path.with_suffix(".expected").read_text().splitlines()) for path in (even, odd)))
    told = sum(max(abs(a - b) for a, b in zip(*pair)) >= APART for pair in answers)
    if not told:
        raise Failure("no body tells the two models apart")
    return told


class Log:
    """What a gateway's log says of versions: moments, seconds since 1970."""

    def __init__(self, gateway):
        self.gateway, self.place = gateway, 0
        self.fetched, self.loaded = {}, {}

    def read(self):
        with open(self.gateway.log, "rb") as log:
            log.seek(self.place)
            whole, end, _ = log.read().rpartition(b"\n")
        self.place += len(whole) + len(end)
        for line in whole.decode(errors="replace").splitlines():
            if found := LINE.match(line):
                moments = self.fetched if found[2] == "version fetched" else self.loaded
                moments[int(found[3])] = datetime.fromisoformat(found[1]).timestamp()

    def wait_until_loaded(self, version, seconds):
        deadline = time.monotonic() + seconds
        while version not in self.loaded:
            if time.monotonic() > deadline or self.gateway.process.poll() is not None:
                words = self.gateway.last_words()
                raise Failure(f"version {version} was not loaded within {seconds:g} s: {words}")
            time.sleep(LOOK_SECONDS)
            self.read()


class Load:
    """The checking load in an open loop until it is told to end. `files` are of even versions and of odd ones."""

    def __init__(self, options, gateway, model, files, **settings):
        even, odd = files
        self.until, self.timeline = (gateway.folder / name for name in ("until", "timeline"))
        command = common.load_command(
            options, gateway, model, odd, expected_even=f"{even}.expected", seconds=LONGEST_SECONDS,
            until=str(self.until), timeline=str(self.timeline), **settings,
        )  # fmt: skip
        # It is told to stop when this process is gone, whatever ended it.
        command = ["setpriv", "--pdeathsig", "KILL", *command]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()

    def check(self):
        if self.process.poll() is not None:
            common.outcome_of(self.process, 0)
            raise Failure("the load ended before it was told to")

    def finish(self):
        """Ends it; its report, whatever that is."""
        self.until.touch()
        return common.outcome_of(self.process, 0)


def faults_of(report):
    """What must not have been answered, or have stayed unanswered."""
    faults = []
    if report["failed"] or not report["requests"]:
        kinds = f"{report['mixed']} of two versions at once, {report['older']} of one that had been replaced"
        first = (report["first_failure"] or "none was answered")[:400]
        asked = report["failed"] + report["requests"]
        faults.append(f"{report['failed']} of {asked} requests failed ({kinds}): {first}")
    return faults
