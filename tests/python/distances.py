"""Distances between reference and live values by numpy and SciPy: the answers that the sketches are compared with.

    python distances.py CASES.json
    python distances.py --tails POINTS.json

The second form answers SciPy's tails of laws: of Kolmogorov's statistic for [d, n] in `kstwo`, of chi-square for
[statistic, degrees] in `chi2`, and of the normal law on both sides for numbers in `normal`.

Values arrive as text, binning is done here. Each case has edges (half-open intervals), and the coarse group of every
slot in the order: below, bins, above, missing, negative infinite, positive infinite[, unseen].
"""

import json
import sys

import numpy as np
from scipy.spatial.distance import jensenshannon
from scipy.stats import chi2, chi2_contingency, chisquare, ks_2samp, kstwo, norm, wasserstein_distance

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


def chi_square(p, q):
    """Counts of the categories that either side has; goodness of fit where the reference has all of them."""
    used = (p > 0) | (q > 0)
    p, q = p[used], q[used]
    table = chi2_contingency(np.array([p, q]), correction=False)
    result = {"table": [float(table.statistic), float(table.pvalue)]}
    if (p > 0).all():
        fit = chisquare(q, p * (q.sum() / p.sum()))
        # With one category there is nothing to test, which SciPy answers with NaN.
        result["fit"] = [float(fit.statistic), float(fit.pvalue) if len(p) > 1 else 1.0]
    return result


def snapped(values, edges):
    """Values at the lower edge of their bin; those below all edges stay below."""
    place = np.searchsorted(edges, values, side="right") - 1
    return np.where(place >= 0, edges[np.maximum(place, 0)], values)


def along_the_line(case, sides, edges):
    finite = [values[np.isfinite(values)] for values in sides]
    bins = [np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1) for values in finite]
    atom = np.append(np.insert(edges[1:] <= next_up(edges, case["single"])[:-1], 0, False), False)
    shares = bins[0] / len(finite[0])
    on_edges = ks_2samp(*(snapped(values, edges) for values in finite), method="asymp")
    spread = float(np.std(finite[0]))
    return {
        "ks": float(ks_2samp(*finite).statistic),
        "ks_on_edges": [float(on_edges.statistic), float(on_edges.pvalue)],
        "rows": [len(values) for values in finite],
        "largest_bin": float(np.where(atom, 0, shares).max()),
        "wasserstein": float(wasserstein_distance(*finite)) / spread if spread > 0 else None,
    }


def answer(case):
    edges = np.array([float(text) for text in case["edges"]])
    groups, count = np.array(case["groups"]), case["group_count"]
    sides = [numbers(case[side], case["single"]) for side in ("reference", "live")]
    counts = [np.bincount(groups[slots(values, case, edges)], minlength=count) for values in sides]
    p, q = (of_side / of_side.sum() for of_side in counts)
    floored_p, floored_q = np.maximum(p, FLOOR), np.maximum(q, FLOOR)
    result = {
        "psi": float(np.sum((floored_p - floored_q) * np.log(floored_p / floored_q))),
        "js": float(jensenshannon(p, q)),
        "tv": float(np.abs(p - q).sum() / 2),
        "hellinger": float(np.linalg.norm(np.sqrt(p) - np.sqrt(q)) / np.sqrt(2)),
        "l_infinity": float(np.abs(p - q).max()),
        "chi_square": chi_square(*counts),
    }
    if not case["categorical"]:
        result.update(along_the_line(case, sides, edges))
    return result


def tails(points):
    return {
        "kstwo": [float(kstwo.sf(d, n)) for d, n in points["kstwo"]],
        "chi2": [float(chi2.sf(statistic, degrees)) for statistic, degrees in points["chi2"]],
        "normal": [float(2 * norm.sf(z)) for z in points["normal"]],
    }


if __name__ == "__main__":
    with open(sys.argv[-1], encoding="utf-8") as file:
        questions = json.load(file)
    if sys.argv[1] == "--tails":
        json.dump(tails(questions), sys.stdout)
    else:
        json.dump([answer(case) for case in questions], sys.stdout)
