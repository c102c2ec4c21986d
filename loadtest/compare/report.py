"""From runs to a table: medians, and ratios within rounds with their spread.

Invariant: a ratio is taken between two runs of the same round and batch, never between medians.
"""

import json
import statistics
import sys
from dataclasses import asdict, dataclass

REFERENCE, GATEWAY = "full", "tidegate"


@dataclass
class Result:
    """All that was found, as it is written to JSON."""

    about: dict
    versions: dict
    names: dict
    facts: dict
    runs: list
    failures: list

    def rates(self, server, batch):
        """Requests per second by round."""
        chosen = (run for run in self.runs if run["server"] == server and run["batch"] == batch)
        return {run["round"]: run["requests_per_second"] for run in chosen}

    def median(self, server, batch, what):
        return statistics.median(run[what] for run in self.runs if run["server"] == server and run["batch"] == batch)

    def ratio(self, server, other, batch):
        """Median, lowest and highest of server ÷ other; None where they share no round."""
        ours, theirs = self.rates(server, batch), self.rates(other, batch)
        ratios = [ours[number] / theirs[number] for number in ours if number in theirs]
        if not ratios:
            return None
        return {"median": statistics.median(ratios), "lowest": min(ratios), "highest": max(ratios)}

    def summary(self):
        """A row for each batch and server that has runs, the fastest first."""
        rows = []
        for batch in self.about["batches"]:
            servers = [server for server in self.names if self.rates(server, batch)]
            servers.sort(key=lambda server: -self.median(server, batch, "requests_per_second"))
            for server in servers:
                medians = {
                    what: self.median(server, batch, what) for what in ("requests_per_second", "p50_ms", "p99_ms")
                }
                ratios = {
                    "to_reference": self.ratio(server, REFERENCE, batch),
                    "tidegate_to_it": self.ratio(GATEWAY, server, batch),
                }
                rounds = len(self.rates(server, batch))
                rows.append({"batch": batch, "server": server, "rounds": rounds, **medians, **ratios})
        return rows


def say(text):
    print(text, file=sys.stderr, flush=True)


def as_json(result):
    return json.dumps({"case": "compare", **asdict(result), "summary": result.summary()}, indent=1) + "\n"


def as_markdown(result, picture):
    lines = [settings_line(result.about, result.versions)]
    if picture:
        lines += ["", f"![requests per second]({picture})"]
    summary = result.summary()
    for batch in result.about["batches"]:
        lines += ["", *batch_table(result, batch, [row for row in summary if row["batch"] == batch])]
    lines += ["", *facts_table(result)]
    if result.failures:
        lines += ["", "Failed:", ""]
        lines += [f"- {failure['name']}: {failure['reason']}" for failure in result.failures]
    return "\n".join(lines) + "\n"


def settings_line(about, versions):
    parts = [
        f"{about['gateway']}, {about['date']}; {about['machine']}",
        f"load average before and after: {about['load_average_before']}, {about['load_average_after']:.2f}",
        f"servers on processor {about['server_cpus']}, load on {about['load_cpus']}",
        f"{about['connections']} connections",
        f"{about['rounds']} rounds of {about['seconds']:g} s each",
        "every answer checked",
        ", ".join(f"{name} {version}" for name, version in versions.items()),
    ]
    return "; ".join(parts) + "."


def batch_table(result, batch, rows):
    yield f"Batch {batch}, JSON. Medians of the rounds; ratios within rounds, median (lowest–highest)."
    yield ""
    yield "| server | requests/s | p50 ms | p99 ms | ÷ reference | tidegate ÷ it | rounds |"
    yield "|---|---|---|---|---|---|---|"
    for row in rows:
        values = [f"{row['requests_per_second']:,.0f}", f"{row['p50_ms']:.3f}", f"{row['p99_ms']:.3f}"]
        ratios = [ratio_text(row["to_reference"]), ratio_text(row["tidegate_to_it"])]
        yield f"| {' | '.join([result.names[row['server']], *values, *ratios, str(row['rounds'])])} |"


def ratio_text(ratio):
    return "–" if ratio is None else " ".join(
        [significant(ratio["median"]), f"({significant(ratio['lowest'])}–{significant(ratio['highest'])})"]
    )  # fmt: skip


def significant(value):
    """Three significant digits, no exponent."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 0.1 else f"{value:.4f}"


def facts_table(result):
    yield "At rest, once, after the first answer: memory of all its processes (proportional share)."
    yield ""
    yield "| server | start to first answer s | memory MB | versions |"
    yield "|---|---|---|---|"
    for server, facts in result.facts.items():
        versions = ", ".join(f"{name} {version}" for name, version in facts.get("versions", {}).items())
        cells = [result.names[server], f"{facts['start_seconds']:.2f}", f"{facts['memory_mb']:.0f}", versions]
        yield f"| {' | '.join(cells)} |"
