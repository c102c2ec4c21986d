//! The interval of the Wasserstein distance over σ.
//!
//! W1 = ∫ |F − G|. Let S(x) be the integral of the sign of F − G up to x: a reference value x moves W1 by −S(x) over the
//! number of rows, a live value by S(x). The reference's standard deviation, by which everything is divided, is an
//! estimate as well, and moves the quotient by −W (x² − 1) / 2 with x in deviations from the mean. The variance of these
//! influences over the bins of each side, with the spread within bins, is that of the distance. The bias of folding
//! (see [`super::kinked`]) is integrated over the line. It is taken off the lower end alone: where it matters the signs
//! are noise, the variance is too small, and the upper end needs what the bias adds.
//!
//! Within inner bins values are taken as evenly spread; in outermost bins and tails as falling off exponentially from
//! the inner edge, with the mean that the sums give.
//!
//! Invariant: 0 ≤ low ≤ high.

use super::kinked::{edges, folding_bias, rejects_equality};
use super::{Interval, Pair, QUANTILE};
use crate::detect::{Binned, wasserstein as transport};
use crate::sketch::FixedPoint;

/// Of the distance in deviations of the reference. None where the distance is none.
pub(super) fn wasserstein(positions: &[f64], reference: Binned<'_>, live: Binned<'_>) -> Option<Interval> {
    let distance = transport(positions, reference, live)?.distance;
    let pair = Pair::new(reference.counts, live.counts)?;
    let edges = edges(&pair);
    let folded: Vec<f64> = edges.iter().map(|&(p, q)| folding_bias(p - q, pair.variance(p, q).sqrt())).collect();
    let widths = positions.windows(2).map(|ends| ends[1] - ends[0]);
    let bias: f64 = widths.zip(folded.windows(2)).map(|(width, ends)| width * f64::midpoint(ends[0], ends[1])).sum();
    let line = Line::new(positions, &edges);
    let of_reference = line.variance(&pair.p, reference, distance) / pair.reference;
    let of_live = line.variance(&pair.q, live, 0.0) / pair.live;
    let reach = QUANTILE * (of_reference + of_live).sqrt();
    let largest = edges.iter().fold(0.0, |largest: f64, (p, q)| largest.max((p - q).abs()));
    let low = if rejects_equality(&pair, largest) { distance - bias - reach } else { 0.0 };
    Some(Interval::within(low, distance + reach, f64::MAX))
}

/// The sign of F − G along the line, and its integral.
struct Line<'a> {
    positions: &'a [f64],
    /// Mean sign within each interval: below, the bins, above.
    signs: Vec<f64>,
    /// Integral of the sign up to each edge, from the first.
    integrals: Vec<f64>,
}

impl<'a> Line<'a> {
    fn new(positions: &'a [f64], edges: &[(f64, f64)]) -> Self {
        let differences = edges.iter().map(|(p, q)| p - q);
        let ends = std::iter::once(0.0).chain(differences.clone()).zip(differences.chain([0.0]));
        let signs: Vec<f64> = ends.map(|(start, end)| mean_sign(start, end)).collect();
        let mut integral = 0.0;
        let mut integrals = vec![integral];
        for (ends, sign) in positions.windows(2).zip(&signs[1..]) {
            integral += sign * (ends[1] - ends[0]);
            integrals.push(integral);
        }
        Self { positions, signs, integrals }
    }

    /// Variance of one row's influence on the distance, for the side with these proportions and sums. `scaled` is the
    /// distance for the side whose deviation it is divided by, else zero.
    fn variance(&self, shares: &[f64], side: Binned<'_>, scaled: f64) -> f64 {
        let (mut mean, mut square) = (0.0, 0.0);
        for (interval, &share) in shares.iter().enumerate().filter(|(_, share)| **share > 0.0) {
            let (place, spread) = self.place(interval, side);
            let edge = interval.saturating_sub(1).min(self.integrals.len() - 1);
            let moved = self.integrals[edge] + self.signs[interval] * (place - self.positions[edge]);
            // Both influences of a reference value have the same sign.
            let influence = moved + scaled * (place * place - 1.0) / 2.0;
            let slope = self.signs[interval] + scaled * place;
            mean += share * influence;
            square += share * (influence * influence + slope * slope * spread);
        }
        (square - mean * mean).max(0.0)
    }

    /// Where the values of an interval lie on average, and their variance around it.
    fn place(&self, interval: usize, side: Binned<'_>) -> (f64, f64) {
        let last = self.positions.len();
        let bounds = (interval.checked_sub(1).map(|edge| self.positions[edge]), self.positions.get(interval).copied());
        let sum = match interval {
            0 => Some(0),
            1 => Some(1),
            _ if interval + 1 == last => Some(2),
            _ if interval == last => Some(3),
            _ => None,
        };
        let mean =
            sum.and_then(|sum| Some(FixedPoint::deviations(side.sums?[sum]) / side.counts[interval].max(1) as f64));
        match (bounds, mean) {
            ((Some(start), Some(end)), None) => (f64::midpoint(start, end), (end - start).powi(2) / 12.0),
            ((Some(start), Some(end)), Some(mean)) => {
                let mean = mean.clamp(start, end);
                let inner = if interval == 1 { end - mean } else { mean - start };
                (mean, (inner * inner).min((mean - start) * (end - mean)))
            }
            ((start, end), mean) => {
                let edge = start.or(end).unwrap_or(0.0);
                let mean = mean.unwrap_or(edge);
                (mean, (mean - edge).powi(2))
            }
        }
    }
}

/// Mean sign of a straight line between two differences.
fn mean_sign(start: f64, end: f64) -> f64 {
    let size = start.abs() + end.abs();
    // Half the sum over half the size: 1 and −1 where the signs agree, in between where the line crosses zero.
    if size > 0.0 { (start + end) / size } else { 0.0 }
}
