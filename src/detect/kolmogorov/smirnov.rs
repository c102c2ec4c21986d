//! The one-sided law of Smirnov, which is half of Kolmogorov's in the tail.
//!
//! Source: Birnbaum & Tingey (1951): the sum over j of d / (d + j/n) times the probability of j of n at d + j/n. All
//! terms are positive, and binomial probabilities come from Loader, "Fast and Accurate Computation of Binomial
//! Probabilities" (2000), so that the far tail keeps its relative precision. From a few hundred values on the terms are a
//! smooth bell of j that vanishes at both ends, for which a sum over every h-th of them, times h, is the sum over all to
//! more digits than a float has: the time does not grow with n.
//!
//! Invariant: none of its own; the caller sees to it that d is within 0 and 1 and, from 256 values on, n·d² is at
//! least 2.2.

use crate::detect::special::{deviance, stirling_error};

/// Terms that are summed at most.
const TERMS: u64 = 256;
/// n·d² at which the law is below the smallest normal number.
const VANISHED: f64 = 370.0;

/// Probability that the one-sided statistic of `n` values is at least `d`.
pub(super) fn one_sided_sf(d: f64, n: u64) -> f64 {
    let rows = n as f64;
    if rows * d * d >= VANISHED {
        return 0.0;
    }
    let highest = rows * (1.0 - d);
    let stride = if n <= TERMS { 1.0 } else { rows / TERMS as f64 };
    let law = Binomial { rows, error: stirling_error(rows) };
    let mut sum = (rows * (-d).ln_1p()).exp();
    for step in 1..=n.min(TERMS) {
        let successes = step as f64 * stride;
        if successes > highest {
            break;
        }
        let chance = d + successes / rows;
        sum += d / chance * law.probability(successes, chance);
    }
    sum * stride
}

struct Binomial {
    rows: f64,
    error: f64,
}

impl Binomial {
    fn probability(&self, successes: f64, chance: f64) -> f64 {
        let failures = self.rows - successes;
        if failures <= 0.0 || chance >= 1.0 {
            return if failures <= 0.0 { chance.min(1.0).powf(self.rows) } else { 0.0 };
        }
        let exponent = self.error
            - stirling_error(successes)
            - stirling_error(failures)
            - deviance(successes, self.rows * chance)
            - deviance(failures, self.rows * (1.0 - chance));
        (self.rows / (std::f64::consts::TAU * successes * failures)).sqrt() * exponent.exp()
    }
}
