//! The first Wasserstein distance from binned counters, and how far off it can be.
//!
//! W1 is the area between the two cumulative distributions F and G. Between inner edges both are taken as straight lines.
//! In the outermost bins, which are wide, and beyond the edges, where there is no width, that would be a guess; there the
//! values are taken to lie at their mean, which the sums give. The area under each distribution is then exact, and the
//! area between them too wherever they do not cross.
//!
//! # The error bound
//! Within a bin from a to b of width w both distributions are known at the ends and rise in between, somehow. F − G lies
//! everywhere between `F(a) − G(b)` and `F(b) − G(a)`, and reaches either when all values of one side lie at one end and
//! all of the other side at the other end. So the area between them is at most w times the larger size of the two, and at
//! least w times the gap that they leave around zero. Where the means are known too, the area is at least the difference
//! of the areas under F and G, is equal to it if F − G cannot change its sign, and is at most that of the steps at the
//! means plus, by the triangle inequality, the mass of each side times its mean absolute deviation, of which
//! 2 (m − a)(b − m) / w is the most that a mean m allows. The reported error is the sum over all bins of how far the
//! estimate is from the farther of those limits, plus the rounding of the sums. It is a bound for the worst placement
//! of values; values that are spread through their bins err by a tenth of it and less.
//!
//! Invariant: distance and error are at least 0 and finite; the distance is 0 for the same counters and sums on both sides.

use super::distances::{cumulative, rows};
use crate::sketch::{FixedPoint, SUMS};

/// Farthest that a value counts in the sums, in standard deviations; see [`FixedPoint`].
const FARTHEST: f64 = 1_048_576.0;
/// What the rounding of values to fixed point can move both sides by together: 2^-20 standard deviations.
const ROUNDING: f64 = 1.0 / 1_048_576.0;

/// Counters of finite values in the order of the values: below the first edge, each bin, above the last edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binned<'a> {
    /// One more than there are edges.
    pub counts: &'a [u64],
    /// Fixed-point sums of the values below, in the first bin, in the last bin and above, if they were kept.
    pub sums: Option<[i64; SUMS]>,
}

/// A distance and its error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Transport {
    /// First Wasserstein distance, in the unit of the edges.
    pub distance: f64,
    /// The distance of the values themselves is within this of it. None if there are values beyond the edges of which
    /// there is no sum, or sums so large that a value in them may have been clamped to 2^20 standard deviations.
    pub error: Option<f64>,
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

    /// Whether the values beyond the edges are where the sums say.
    fn tails_are_known(&self) -> bool {
        let last = self.counts.len() - 1;
        [(0, 0), (3, last)].into_iter().all(|(sum, interval)| {
            self.counts[interval] == 0
                || self.sums.is_some_and(|sums| FixedPoint::deviations(sums[sum]).abs() < FARTHEST)
        })
    }
}

/// One bin: its width, and both cumulative distributions at its ends.
#[derive(Clone, Copy)]
struct Bin {
    width: f64,
    start: (f64, f64),
    end: (f64, f64),
}

/// An area with what bounds the true one.
struct Area {
    estimate: f64,
    error: f64,
}

/// First Wasserstein distance, in the unit of `positions`: the rising edges, one fewer than counters on each side. In a
/// column these are standard deviations of the reference, as the fixed-point sums are. None without edges, if the
/// numbers of counters do not fit, or if either side is empty.
#[must_use]
pub fn wasserstein(positions: &[f64], reference: Binned<'_>, live: Binned<'_>) -> Option<Transport> {
    let ([lowest, .., highest], intervals) = (positions, positions.len() + 1) else { return None };
    if reference.counts.len() != intervals || live.counts.len() != intervals {
        return None;
    }
    let (p, q) = (Side::new(reference)?, Side::new(live)?);
    let last = intervals - 2;
    let below = tail(&p, &q, (0, 0), (f64::NEG_INFINITY, *lowest));
    let above = tail(&p, &q, (3, last + 1), (*highest, f64::INFINITY));
    let (mut distance, mut error) = (below.estimate + above.estimate, below.error + above.error);
    let mut start = (0.0, 0.0);
    for (interval, end) in cumulative(reference.counts, live.counts).enumerate().take(last + 1) {
        if interval > 0 {
            let bounds = (positions[interval - 1], positions[interval]);
            let bin = Bin { width: bounds.1 - bounds.0, start, end };
            let sum = if interval == 1 { Some(1) } else { (interval == last).then_some(2) };
            let means = sum.and_then(|sum| Some((p.mean(sum, interval, bounds)?, q.mean(sum, interval, bounds)?)));
            let area = match means {
                Some(means) => bin.area_of_steps((means.0 - bounds.0, means.1 - bounds.0)),
                None => bin.area_of_lines(),
            };
            distance += area.estimate;
            error += area.error;
        }
        start = end;
    }
    let known = p.tails_are_known() && q.tails_are_known();
    let error = (known && error.is_finite()).then_some(error + ROUNDING + distance * 1e-12);
    distance.is_finite().then_some(Transport { distance, error })
}

impl Bin {
    /// Between two straight lines.
    fn area_of_lines(self) -> Area {
        let (start, end) = (self.start.0 - self.start.1, self.end.0 - self.end.1);
        let (from, to) = (start.abs(), end.abs());
        let estimate = if start * end >= 0.0 {
            f64::midpoint(from, to) * self.width
        } else {
            (from * from + to * to) / (2.0 * (from + to)) * self.width
        };
        let (least, most) = self.limits();
        Area { estimate, error: (most - estimate).max(estimate - least).max(0.0) }
    }

    /// Between two steps at the means of the values, counted from the bin's start.
    fn area_of_steps(self, (p, q): (f64, f64)) -> Area {
        let mass = (self.end.0 - self.start.0, self.end.1 - self.start.1);
        let (start, end) = (self.start.0 - self.start.1, self.end.0 - self.end.1);
        let (first, second, rise) = if p <= q { (p, q, mass.0) } else { (q, p, -mass.1) };
        let pieces = [start * first, (start + rise) * (second - first), end * (self.width - second)];
        let estimate: f64 = pieces.iter().map(|piece| piece.abs()).sum();
        let (low, high) = (self.start.0 - self.end.1, self.end.0 - self.start.1);
        if low >= 0.0 || high <= 0.0 || self.width <= 0.0 {
            return Area { estimate, error: 0.0 };
        }
        let spread = |mean: f64| 2.0 * mean * (self.width - mean) / self.width;
        let (least, most) = self.limits();
        let least = least.max(pieces.iter().sum::<f64>().abs());
        let most = most.min(estimate + mass.0 * spread(p) + mass.1 * spread(q));
        Area { estimate, error: (most - estimate).max(estimate - least).max(0.0) }
    }

    /// Least and most area that the distributions at the ends allow.
    fn limits(self) -> (f64, f64) {
        let (low, high) = (self.start.0 - self.end.1, self.end.0 - self.start.1);
        (low.max(-high).max(0.0) * self.width, low.abs().max(high.abs()) * self.width)
    }
}

/// Area between the distributions beyond the outermost edge; a side without sums is taken to lie at the edge. Exact if
/// only one side has values there, as a reference has none; else the sides may cross.
fn tail(p: &Side<'_>, q: &Side<'_>, place: (usize, usize), bounds: (f64, f64)) -> Area {
    let (sum, interval) = place;
    let edge = if bounds.0.is_finite() { bounds.0 } else { bounds.1 };
    let reach = |side: &Side<'_>| {
        let mean = side.mean(sum, interval, bounds).unwrap_or(edge);
        side.proportion(interval) * (mean - edge).abs()
    };
    let (p, q) = (reach(p), reach(q));
    Area { estimate: (p - q).abs(), error: 2.0 * p.min(q) }
}
