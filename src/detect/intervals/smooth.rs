//! Intervals of distances that are sums of a smooth function of the proportions of each group.
//!
//! Near equality such a distance over its scale (1 for PSI and the chi-square effect, 1/8 for the Jensen-Shannon
//! divergence and for Hellinger's square) is a noncentral chi-square variable over `m` = 1 / (1/n + 1/N), with one degree
//! of freedom less than there are groups; far from it, it is normal with the variance that the delta method gives. One
//! form holds both: Sankaran's (1959), by which √(χ² − (k − 1)/2) is normal around √(λ + (k − 1)/2) with variance 1. In
//! units of the distance, with v the variance per distance (4/m near equality, estimated by the delta method), b the
//! second-order bias and u = 2k / (m² v) − v/8,
//!
//! ```text
//! ends = (√(distance − b + u + v/4) ∓ 2 √v / 2)² − u
//! ```
//!
//! Derivatives are taken where no group is empty, at (count + ½) / (rows + groups / 2).
//!
//! Invariant: 0 ≤ low ≤ high.

use super::{Interval, Pair, QUANTILE};
use crate::detect::distances::FLOOR;

/// A group's part of a distance: its value, both first and both second derivatives.
struct Part {
    value: f64,
    slopes: (f64, f64),
    curves: (f64, f64),
}

/// A distance by its parts, at the proportions and at the smoothed proportions of a group.
struct Shape {
    scale: f64,
    value: fn(f64, f64) -> f64,
    slopes: fn(f64, f64) -> (f64, f64),
    curves: fn(f64, f64) -> (f64, f64),
}

/// Of the population stability index.
pub(super) fn psi(pair: &Pair) -> Interval {
    let shape = Shape {
        scale: 1.0,
        value: |p, q| {
            let (p, q) = (p.max(FLOOR), q.max(FLOOR));
            (p - q) * (p / q).ln()
        },
        slopes: |p, q| {
            let log = (p / q).ln();
            (log + 1.0 - q / p, 1.0 - p / q - log)
        },
        curves: |p, q| ((p + q) / (p * p), (p + q) / (q * q)),
    };
    interval(pair, &shape, f64::MAX)
}

/// Of the Jensen-Shannon divergence, the square of the distance.
pub(super) fn jensen_shannon(pair: &Pair) -> Interval {
    let shape = Shape {
        scale: 0.125,
        value: |p, q| {
            let entropy = |x: f64| if x > 0.0 { x * (2.0 * x / (p + q)).ln() } else { 0.0 };
            f64::midpoint(entropy(p), entropy(q))
        },
        slopes: |p, q| ((2.0 * p / (p + q)).ln() / 2.0, (2.0 * q / (p + q)).ln() / 2.0),
        curves: |p, q| (q / (2.0 * p * (p + q)), p / (2.0 * q * (p + q))),
    };
    interval(pair, &shape, std::f64::consts::LN_2)
}

/// Of the square of the Hellinger distance.
pub(super) fn hellinger(pair: &Pair) -> Interval {
    let shape = Shape {
        scale: 0.125,
        value: |p, q| (p.sqrt() - q.sqrt()).powi(2) / 2.0,
        slopes: |p, q| ((1.0 - (q / p).sqrt()) / 2.0, (1.0 - (p / q).sqrt()) / 2.0),
        curves: |p, q| ((q / p).sqrt() / (4.0 * p), (p / q).sqrt() / (4.0 * q)),
    };
    interval(pair, &shape, 1.0)
}

/// Of the chi-square effect.
pub(super) fn chi_square(pair: &Pair) -> Interval {
    interval(pair, &CHI_SQUARE, f64::MAX)
}

/// The chi-square effect itself.
pub(super) fn chi_square_effect(pair: &Pair) -> f64 {
    pair.used().map(|(p, q)| (CHI_SQUARE.value)(p, q)).sum()
}

const CHI_SQUARE: Shape = Shape {
    scale: 1.0,
    value: |p, q| {
        let p = p.max(FLOOR);
        (q - p).powi(2) / p
    },
    slopes: |p, q| (1.0 - (q / p).powi(2), 2.0 * (q - p) / p),
    curves: |p, q| (2.0 * q * q / p.powi(3), 2.0 / p),
};

fn interval(pair: &Pair, shape: &Shape, most: f64) -> Interval {
    let groups = pair.used().count() as f64;
    let smoothed = |share: f64, rows: f64| (share * rows + 0.5) / (rows + groups / 2.0);
    let (mut distance, mut bias, mut first, mut second) = (0.0, 0.0, Moments::default(), Moments::default());
    for (p, q) in pair.used() {
        let (near_p, near_q) = (smoothed(p, pair.reference), smoothed(q, pair.live));
        let part = Part {
            value: (shape.value)(p, q),
            slopes: (shape.slopes)(near_p, near_q),
            curves: (shape.curves)(near_p, near_q),
        };
        distance += part.value;
        first.add(p, part.slopes.0);
        second.add(q, part.slopes.1);
        let spread = |share: f64, rows: f64| share * (1.0 - share) / rows;
        bias += (part.curves.0 * spread(near_p, pair.reference) + part.curves.1 * spread(near_q, pair.live)) / 2.0;
    }
    let variance = first.variance() / pair.reference + second.variance() / pair.live;
    let unit = shape.scale * pair.noise();
    // Per distance: 4 units near equality, and not to be had from the ratio of two numbers that are nearly zero there.
    let per_distance = if distance > unit / 1000.0 { variance / distance } else { 4.0 * unit };
    let per_distance = per_distance.clamp(unit, 40.0 * unit);
    let offset = 2.0 * (groups - 1.0).max(0.0) * unit * unit / per_distance - per_distance / 8.0;
    let root = (distance - bias + offset + per_distance / 4.0).max(0.0).sqrt();
    let reach = QUANTILE * per_distance.sqrt() / 2.0;
    // Samples that are more alike than chance makes them are no proof of equality.
    let high = ((root + reach).powi(2) - offset).max(reach * reach);
    Interval::within((root - reach).max(0.0).powi(2) - offset, high, most)
}

/// Mean and mean square of slopes under one side's proportions.
#[derive(Default)]
struct Moments {
    mean: f64,
    square: f64,
}

impl Moments {
    fn add(&mut self, share: f64, slope: f64) {
        self.mean += share * slope;
        self.square += share * slope * slope;
    }

    fn variance(&self) -> f64 {
        (self.square - self.mean * self.mean).max(0.0)
    }
}
