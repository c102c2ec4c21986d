"""Distances between reference and live values by numpy and SciPy: the answers that the sketches are compared with.

    python distances.py CASES.json

Values arrive as text, binning is done here. Each case has edges (half-open intervals), and the coarse group of every
slot in the order: below, bins, above, missing, negative infinite, positive infinite[, unseen].
"""

import json
import sys

import numpy as np
from scipy.spatial.distance import jensenshannon
from scipy.stats import ks_2samp

FLOOR = 1e-4


def numbers(texts, single):
    values = np.array([float(text) for text in texts], dtype=np.float64)
    return values.astype(np.float32).astype(np.float64) if single else values


def next_up(edges, single):
    if single:
        return np.nextafter(edges.astype(np.float32), np.float32(np.inf)).astype(np.float64)
    return np.nextafter(edges, np.inf)


def slots(values, case, edges):
    """The slot of every value."""
    bins = max(len(edges) - 1, 0)
    slot = np.searchsorted(edges, values, side="right")
    if case["categorical"]:
        # A code has the interval of one number; what lies between codes, below or above is none of them.
        atom = np.zeros(bins + 2, dtype=bool)
        atom[1 : bins + 1] = edges[1:] <= next_up(edges, case["single"])[:-1]
        slot = np.where(atom[slot], slot, bins + 5)
    slot = np.where(np.isnan(values), bins + 2, slot)
    slot = np.where(values == -np.inf, bins + 3, slot)
    return np.where(values == np.inf, bins + 4, slot)


def answer(case):
    edges = np.array([float(text) for text in case["edges"]])
    groups, count = np.array(case["groups"]), case["group_count"]
    sides = [numbers(case[side], case["single"]) for side in ("reference", "live")]
    binned = [slots(values, case, edges) for values in sides]
    p, q = (np.bincount(groups[slot], minlength=count) / len(slot) for slot in binned)
    floored_p, floored_q = np.maximum(p, FLOOR), np.maximum(q, FLOOR)
    result = {
        "psi": float(np.sum((floored_p - floored_q) * np.log(floored_p / floored_q))),
        "js": float(jensenshannon(p, q)),
        "tv": float(np.abs(p - q).sum() / 2),
    }
    if not case["categorical"]:
        finite = [values[np.isfinite(values)] for values in sides]
        result["ks"] = float(ks_2samp(*finite).statistic)
        bins = [np.searchsorted(edges, values, side="right") for values in finite]
        result["largest_bin"] = float(max(np.bincount(slot).max() / len(slot) for slot in bins))
    return result


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as file:
        json.dump([answer(case) for case in json.load(file)], sys.stdout)
