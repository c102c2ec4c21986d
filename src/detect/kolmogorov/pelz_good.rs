//! The expansion of Pelz and Good in powers of 1/√n, in its form for small statistics.
//!
//! Source: Pelz & Good, "Approximating the Lower Tail-areas of the Kolmogorov-Smirnov One-sample Statistic" (1976), as
//! written in Simard & L'Ecuyer (2011), section 2.5: sums over the odd numbers, of which four or five matter here.
//!
//! Invariant: none of its own; the caller sees to it that √n·d is between 0.2 and 1.5.

use std::f64::consts::{PI, TAU};

/// Terms of the sums: the first that is left out is below 1e-30 for √n·d up to 1.5.
const TERMS: u32 = 10;

/// Probability that the statistic of `n` values is at most `d`.
pub(super) fn cdf(d: f64, n: u64) -> f64 {
    let z = (n as f64).sqrt() * d;
    let (z2, pi2) = (z * z, PI * PI);
    let (z4, pi4) = (z2 * z2, pi2 * pi2);
    let (z6, pi6) = (z4 * z2, pi4 * pi2);
    let mut sums = [0.0; 4];
    for k in 0..TERMS {
        let odd = f64::from(2 * k + 1);
        let (m2, m4) = (odd * odd, odd.powi(4));
        let weight = (-m2 * pi2 / (8.0 * z2)).exp();
        let terms = [
            1.0,
            pi2 / 4.0 * m2 - z2,
            6.0 * z6 + 2.0 * z4 + pi2 / 4.0 * (2.0 * z4 - 5.0 * z2) * m2 + pi4 / 16.0 * (1.0 - 2.0 * z2) * m4,
            pi6 / 64.0 * (5.0 - 30.0 * z2) * m2 * m4
                + pi4 / 16.0 * (212.0 * z4 - 60.0 * z2) * m4
                + pi2 / 4.0 * (135.0 * z4 - 96.0 * z6) * m2
                - 30.0 * z6
                - 90.0 * z4 * z4,
        ];
        sums.iter_mut().zip(terms).for_each(|(sum, term)| *sum += weight * term);
    }
    let (mut even2, mut even3) = (0.0, 0.0);
    for k in 1..=TERMS {
        let k2 = f64::from(k * k);
        let weight = k2 * (-pi2 * k2 / (2.0 * z2)).exp();
        even2 += weight;
        even3 += weight * (3.0 * z2 - pi2 * k2);
    }
    let root = TAU.sqrt();
    let orders = [
        root / z * sums[0],
        root / (6.0 * z4) * sums[1],
        root / (72.0 * z6 * z) * sums[2] - pi2 * root / (36.0 * z2 * z) * even2,
        root / (6480.0 * z6 * z4) * sums[3] + pi2 * root / (216.0 * z6) * even3,
    ];
    let step = 1.0 / (n as f64).sqrt();
    orders.iter().rev().fold(0.0, |sum, order| sum * step + order)
}
