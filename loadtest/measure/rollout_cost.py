#!/usr/bin/env python3
"""What a rollout costs those who are served: throughput and processor time while a trial counts, and without one. Run by
rollout_cost.sh.

Two versions of the same bytes; what is compared is a canary, or an A/B test, with a split of the same share that is set by
hand, so that in both blocks of a pair as many requests go to either version and the trial alone differs. Beside them the
whole of a canary: the stable version alone, against the canary. With routing keys each body comes with one of its own, so
that a block has first requests of keys and further ones. How blocks are paired is in [`blocks`](blocks.py).

Guards are read every 50 ms and steps judged every 250 ms on other threads: these are in the time of all threads.

Invariant: a rollout begins and ends by our orders alone, and has counted answers of both versions by then.
"""

import json
import os
import shutil
import time
from dataclasses import dataclass

import blocks
import common
import held_out
from gateway import Failure, Gateway
from rollout_orders import ENDED, LOOK_SECONDS, WAIT_SECONDS, Rollouts

MODEL, VERSION, SEED = "breast-cancer", 1, 23
CONNECTIONS = 16
# Bodies, and where there are keys as many of these: more than a block's requests touch once.
BODIES = 5000
# A canary stays where it is. Bounds of latency would be those of a machine that is shared.
SETTINGS = """[repository]
bake = "24h"
poll_interval = "100ms"
[models.{model}.rollout]
write_back = false
guards = {{ latency = "10s" }}
steps = [{share}]
min_time = "24h"
max_time = "48h"
"""


@dataclass(frozen=True)
class Case:
    """A rollout, and what it is compared with."""

    name: str
    # Percent of the new version.
    share: int
    is_test: bool = False
    has_keys: bool = False
    # Against a split of that share that is set by hand; otherwise against the stable version alone.
    is_split: bool = True


CASES = (
    Case("canary of 10 %, against a split", 10),
    Case("canary of 10 %, against a split, routing keys", 10, has_keys=True),
    Case("test at 50 %, against a split", 50, is_test=True),
    Case("canary of 10 %, against stable alone", 10, is_split=False),
)


class Switch(Rollouts):
    """Begins and ends what a case measures, at a gateway."""

    def __init__(self, gateway, case):
        super().__init__(gateway, MODEL)
        self.case = case

    def turn(self, is_on):
        is_running = self.is_running()
        if is_running:
            self.check_counted()
        if is_on == is_running:
            return
        if is_on:
            test = {"test": {"weight": self.case.share, "question": "errors"}} if self.case.is_test else {}
            self.order("start", {"version": VERSION + 1, **test})
            self.wait_until(("testing" if self.case.is_test else "canary",))
        else:
            self.end()
        self.wait_for_share()

    def end(self):
        self.order("abort")
        self.wait_until(ENDED)
        if self.case.is_split:
            self.split({str(VERSION): 100 - self.case.share, str(VERSION + 1): self.case.share})

    def wait_for_share(self):
        """Until the share is live that there is to be."""
        wanted = self.case.share if self.case.is_split or self.is_running() else 0
        deadline = time.monotonic() + WAIT_SECONDS
        while self.share() != wanted:
            if time.monotonic() > deadline:
                raise Failure(f"the new version has a share of {self.share()} %, not of {wanted} %")
            time.sleep(LOOK_SECONDS)

    def share(self):
        versions = self.gateway.admin_json("GET", f"/api/v1/models/{MODEL}")["versions"]
        (found,) = (version for version in versions if version["version"] == str(VERSION + 1))
        return found.get("weight") or 0

    def check_counted(self):
        """The rollout that was on until now goes on, and has counted both versions' answers."""
        view = self.view()
        if view["phase"]["name"] not in ("canary", "testing"):
            raise Failure(f"the rollout is {view['phase']['name']} by itself: {view['reason']}")
        (errors,) = (found for found in view["guards"]["metrics"] if found["metric"] == "guard/errors")
        if not errors["canary"] or not errors["stable"]:
            raise Failure(f"nothing was counted: {json.dumps(errors)}")


def run(options):
    found = {}
    for number, case in enumerate(CASES):
        common.say(f"{case.name}: {options.pairs} pairs of blocks of {options.block:g} s")
        found[case.name] = blocks.pairs_of(measure_case(options, f"case-{number}", case))
    write(options, found)


def measure_case(options, name, case):
    folder = f"{options.scratch}/{name}"
    models = held_out.repository(folder, MODEL, VERSION)
    staged = f"{folder}/staged"
    shutil.copytree(models / MODEL / str(VERSION), staged)
    gateway = Gateway(options, name, models, SETTINGS.format(model=MODEL, share=case.share))
    try:
        # Only what comes later is rolled out: the first version of a model serves at once.
        os.rename(staged, models / MODEL / str(VERSION + 1))
        switch = Switch(gateway, case)
        switch.wait_until(("canary",))
        switch.end()
        found, _ = blocks.measure(options, gateway, load(options, folder, case), switch.turn, SEED)
        switch.turn(False)
        return found
    finally:
        gateway.stop()


def load(options, folder, case):
    """Model, files and settings of the load."""
    files = held_out.write(folder, MODEL, VERSION, 1, BODIES)
    settings = {"pointer": held_out.POINTER, "connections": CONNECTIONS}
    if case.has_keys:
        keys = files.with_suffix(".headers")
        lines = (json.dumps({"tidegate-routing-key": f"user-{number}"}) for number in range(BODIES))
        keys.write_text("\n".join(lines) + "\n")
        settings["headers_of"] = str(keys)
    return MODEL, files, settings


def write(options, found):
    summary = {name: blocks.summary_of(pairs) for name, pairs in found.items()}
    noise = {
        name: common.median_interval(blocks.neighbours(pairs, "worker_us")) for name, pairs in found.items()
    }
    lines = [
        f"{MODEL}, 30 features, one row, {CONNECTIONS} connections, {common.engine_text(options)}; {options.pairs} pairs of "
        f"blocks of {options.block:g} s in one process, {BODIES:,} bodies, with keys as many of these. Medians of the pairs "
        "(95 % interval, sign test); *noise* is the serving thread's time of neighbouring blocks without a rollout, by ratio.",
        "",
        *common.table(
            ["rollout", *blocks.head("the rollout"), "noise"],
            [[name, *blocks.row(summary[name]), ratio(noise[name])] for name in found],
        ),
    ]
    common.write(options, {"summary": summary, "noise": noise, "pairs": found}, lines)


def ratio(found):
    return f"{found['median']:.4f} ({found['low']:.4f}–{found['high']:.4f})"


if __name__ == "__main__":
    options = common.parse_arguments(__doc__, pairs=40, block=0.5)
    common.main(run, options)
