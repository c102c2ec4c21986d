"""How soon any rule can find that 3 % instead of 1 % are missing, if it pages at most 0.1 times a month of 100 rows a second.

    target/loadtest-python/bin/python loadtest/measure/least_rows.py     (needs numpy and scipy)

With both rates known to the last digit, CUSUM has the least worst-case mean delay of all rules with as many rows between
false alarms (Lorden 1971, Moustakides 1986). Its statistic is a Markov chain, followed here on a grid of GRID nats: the
threshold that gives the rows between false alarms, then rows until an alarm after a quiet time that was long enough for
the chain to be stationary. A real rule knows neither rate and shares its pages among columns, so it needs more.
"""

import numpy
import scipy.sparse
import scipy.sparse.linalg

USUAL, CHANGED = 0.01, 0.03
MONTH_ROWS = 100 * 86_400 * 30
GRID = 0.004
# Rows until the chain is stationary; it forgets where it was within a few hundred.
QUIET_ROWS = 6_000


def steps(states, rate):
    """The chain below its threshold: a row of probabilities for each state; what leaves it is an alarm."""
    places, entries = numpy.arange(states), []
    missing, there = numpy.log(CHANGED / USUAL), numpy.log((1 - CHANGED) / (1 - USUAL))
    for nats, probability in ((missing, rate), (there, 1 - rate)):
        to = numpy.maximum(places * GRID + nats, 0) / GRID
        lower = numpy.floor(to).astype(int)
        for column, share in ((lower, 1 - (to - lower)), (lower + 1, to - lower)):
            kept = (column < states) & (share > 0)
            entries.append((places[kept], column[kept], probability * share[kept]))
    rows, columns, values = (numpy.concatenate(parts) for parts in zip(*entries, strict=True))
    return scipy.sparse.csr_matrix((values, (rows, columns)), (states, states))


def rows_between_false_alarms(threshold):
    states = int(threshold / GRID)
    left = scipy.sparse.identity(states, format="csc") - steps(states, USUAL).tocsc()
    return scipy.sparse.linalg.spsolve(left, numpy.ones(states))[0]


def threshold_for(rows):
    low, high = 5.0, 30.0
    for _ in range(25):
        middle = (low + high) / 2
        low, high = (middle, high) if rows_between_false_alarms(middle) < rows else (low, middle)
    return high


def delay(threshold):
    """Median and mean of the rows from the change to the alarm."""
    states = int(threshold / GRID)
    usual, changed = steps(states, USUAL), steps(states, CHANGED)
    chance = numpy.eye(1, states)[0]
    for _ in range(QUIET_ROWS):
        chance = chance @ usual
        chance /= chance.sum()
    rows, mean, median = 0, 0.0, None
    while chance.sum() > 1e-4:
        mean += chance.sum()
        chance, rows = chance @ changed, rows + 1
        if median is None and chance.sum() <= 0.5:
            median = rows
    return median, mean


def main():
    for what, share in (("all pages for this column", 1), ("a tenth of them, as with ten columns", 10)):
        threshold = threshold_for(10 * MONTH_ROWS * share)
        median, mean = delay(threshold)
        print(f"{what}: threshold {threshold:.2f} nats, median {median} rows, mean {mean:.0f}")


if __name__ == "__main__":
    main()
