"""The reply that decided: the first one after which the gateway's judge, had it looked then, would have found what it found.

A decision's journal entry has what the guards had read: answers and bad ones of both versions, cut into segments, and when.
The client knows when each reply came. With the replies that came after one of them taken out of the counts, the last ones
first, what is left is what a look right after that reply would have read. Whether it would have failed says the gateway
itself, of such entries as of any other: `tidegate rollout explain --from`.

Replies count here when they have come, and the gateway counted them a moment before. So at most some are taken to be after
the look that were in it; fewer are then taken out than came after a reply, and it seems to decide too early, never too late.

Invariant: no later than the last bad reply before the look that decided.
"""

import copy
import json
import subprocess
from pathlib import Path

from gateway import Failure

GUARDS = "guards"
# Requests without a routing key are the first group.
NO_KEY = 0
TIMEOUT_SECONDS = 120


def decision_of(explanation):
    """The entry with which the rollout was found to be worse."""
    failed = [
        entry
        for entry in explanation["entries"]
        if entry["entry"]["kind"] == "decision" and entry["entry"]["says"]["judgement"]["verdict"] == "fail"
    ]
    if len(failed) != 1:
        raise Failure(f"{len(failed)} decisions against the version: {json.dumps(explanation['entries'][-1])[:400]}")
    return failed[0]


def deciding_reply(options, explanation, replies, version):
    """The reply, of all `replies` in any order. Each has `came` (seconds since 1970), `version`, and `fault`: nothing, or the
    guards' count that it is in. Where not the guards decided it is the first bad one, which is no later."""
    decision = decision_of(explanation)
    ordered = sorted(replies, key=lambda reply: reply.came)
    bad = [reply for reply in ordered if reply.version == version and reply.fault]
    if decision["entry"]["says"]["subject"] != GUARDS:
        return bad[0]
    looks = looks_after_each(decision, ordered, version)
    # None came before the look, by our clock: the gateway had counted one that was on its way.
    if not looks:
        return bad[0]
    found = verdicts(options, explanation, decision, [segments for _, segments in looks])
    failed = [reply for (reply, _), verdict in zip(looks, found) if verdict == "fail"]
    return failed[-1] if failed else looks[0][0]


def looks_after_each(decision, ordered, version):
    """What a look after each bad reply would have read, the last reply first."""
    looked_at, segments = decision["at"] / 1e3, copy.deepcopy(decision["entry"]["says"]["guards"])
    # Those at the present share: what was counted before is not to be told from the client's record.
    present = [segment for segment in segments if segment["weight"] == segments[-1]["weight"]]
    looks = []
    for reply in reversed([reply for reply in ordered if reply.came <= looked_at]):
        arm = "canary" if reply.version == version else "stable"
        if arm == "canary" and reply.fault:
            looks.append((reply, copy.deepcopy(segments)))
        if not take_out(present, arm, reply.fault):
            break
    return looks


def take_out(segments, arm, fault):
    """Takes a reply out of the last segment that has one like it; whether there is one."""
    for segment in reversed(segments):
        tally = segment[arm][NO_KEY]
        good = tally["answers"] - tally["errors"] - tally["non_finite"]
        if tally[fault] if fault else good > 0:
            tally["answers"] -= 1
            if fault:
                tally[fault] -= 1
            return True
    return False


def verdicts(options, explanation, decision, looks):
    """What the judge finds in each look."""
    armed = [entry for entry in explanation["entries"] if entry["entry"]["kind"] == "armed"]
    asked = armed + [with_guards(decision, segments) for segments in looks]
    kept = Path(options.scratch) / "explanation.json"
    kept.write_text(json.dumps({"rollout": explanation["rollout"], "entries": asked}))
    command = [options.gateway, "rollout", "explain", "--json", "--from", str(kept)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
    # It ends with 1 where a judgement is not the one that was written down, as most here.
    if ended.returncode not in (0, 1) or not ended.stdout:
        raise Failure(f"the judge ended with {ended.returncode}: {ended.stderr[-300:]}")
    entries = json.loads(ended.stdout)["entries"][len(armed) :]
    return [(entry.get("judged") or entry["entry"]["says"]["judgement"])["verdict"] for entry in entries]


def with_guards(decision, segments):
    """The decision with other counts of the guards; the others are not looked at."""
    says = {**decision["entry"]["says"], "guards": segments, "counts": []}
    return {**decision, "entry": {**decision["entry"], "says": says}}
