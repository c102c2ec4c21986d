//! The first Wasserstein distance from binned counters.
//!
//! W1 is the area between the two cumulative distributions. Between inner edges both are taken as straight lines. In
//! the outermost bins, which are wide, and beyond the edges, where there is no width, that would be a guess; there the
//! values are taken to lie at their mean, which the sums give. The area under each distribution is then exact, and the
//! area between them too wherever they do not cross.
//!
//! Invariant: the result is at least 0, finite, and 0 for the same counters and sums on both sides.

use super::distances::{cumulative_differences, rows};
use crate::sketch::{FixedPoint, SUMS};

/// Counters of finite values in the order of the values: below the first edge, each bin, above the last edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binned<'a> {
    /// One more than there are edges.
    pub counts: &'a [u64],
    /// Fixed-point sums of the values below, in the first bin, in the last bin and above, if they were kept.
    pub sums: Option<[i64; SUMS]>,
}

/// Proportions of one side, and the mean of the values in each outer interval.
struct Side<'a> {
    counts: &'a [u64],
    rows: f64,
    sums: Option<[i64; SUMS]>,
}

impl<'a> Side<'a> {
    fn new(binned: Binned<'a>) -> Option<Self> {
        let rows = rows(binned.counts);
        (rows > 0).then_some(Self { counts: binned.counts, rows: rows as f64, sums: binned.sums })
    }

    fn proportion(&self, interval: usize) -> f64 {
        self.counts[interval] as f64 / self.rows
    }

    /// Mean of the values that a sum is of, within bounds; none without sums. An empty interval has any mean.
    fn mean(&self, sum: usize, interval: usize, bounds: (f64, f64)) -> Option<f64> {
        let count = self.counts[interval];
        let mean = FixedPoint::deviations(self.sums?[sum]) / count.max(1) as f64;
        Some(mean.clamp(bounds.0, bounds.1))
    }
}

/// First Wasserstein distance, in the unit of `positions`: the rising edges, one fewer than counters on each side. In a
/// column these are standard deviations of the reference, as the fixed-point sums are. None without edges, if the
/// numbers of counters do not fit, or if either side is empty.
#[must_use]
pub fn wasserstein(positions: &[f64], reference: Binned<'_>, live: Binned<'_>) -> Option<f64> {
    let ([lowest, .., highest], intervals) = (positions, positions.len() + 1) else { return None };
    if reference.counts.len() != intervals || live.counts.len() != intervals {
        return None;
    }
    let (p, q) = (Side::new(reference)?, Side::new(live)?);
    let differences: Vec<f64> = cumulative_differences(reference.counts, live.counts).collect();
    let last = intervals - 2;
    let mut distance = tail(&p, &q, (0, 0), (f64::NEG_INFINITY, *lowest));
    for interval in 1..=last {
        let bounds = (positions[interval - 1], positions[interval]);
        let ends = (differences[interval - 1], differences[interval]);
        let sum = if interval == 1 { Some(1) } else { (interval == last).then_some(2) };
        let at_means = sum.and_then(|sum| {
            let mean = |side: &Side<'_>| side.mean(sum, interval, bounds);
            Some(area_of_steps(ends, bounds, (mean(&p)?, p.proportion(interval)), (mean(&q)?, q.proportion(interval))))
        });
        distance += at_means.unwrap_or_else(|| area_of_lines(ends, bounds.1 - bounds.0));
    }
    distance += tail(&p, &q, (3, last + 1), (*highest, f64::INFINITY));
    distance.is_finite().then_some(distance)
}

/// Area between two straight lines over `width`, from their differences at both ends.
fn area_of_lines((start, end): (f64, f64), width: f64) -> f64 {
    let (from, to) = (start.abs(), end.abs());
    if start * end >= 0.0 {
        f64::midpoint(from, to) * width
    } else {
        (from * from + to * to) / (2.0 * (from + to)) * width
    }
}

/// Area between two steps within bounds, each a place and a height, from the differences at both ends.
fn area_of_steps(ends: (f64, f64), bounds: (f64, f64), p: (f64, f64), q: (f64, f64)) -> f64 {
    let (first, second, rise) = if p.0 <= q.0 { (p.0, q.0, p.1) } else { (q.0, p.0, -q.1) };
    let between = ends.0 + rise;
    ends.0.abs() * (first - bounds.0) + between.abs() * (second - first) + ends.1.abs() * (bounds.1 - second)
}

/// Area between the distributions beyond the outermost edge; a side without sums is taken to lie at the edge.
fn tail(p: &Side<'_>, q: &Side<'_>, place: (usize, usize), bounds: (f64, f64)) -> f64 {
    let (sum, interval) = place;
    let edge = if bounds.0.is_finite() { bounds.0 } else { bounds.1 };
    let reach = |side: &Side<'_>| {
        let mean = side.mean(sum, interval, bounds).unwrap_or(edge);
        side.proportion(interval) * (mean - edge)
    };
    (reach(p) - reach(q)).abs()
}
