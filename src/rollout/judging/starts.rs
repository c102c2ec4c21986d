//! Evidence since several starts at once.
//!
//! Evidence over all of a rollout is blind to what begins late: ten thousand good answers at 1 % outweigh the bad ones
//! that come when half of the traffic does, for every alternative but the smallest. So evidence is a mean over starts,
//! each with a weight that is fixed in advance and that together are at most 1: where every start's evidence is a test
//! martingale, 1 until it starts, the mean is one as well.
//!
//! Invariant: the weights of all starts that a rollout can ever have add up to at most 1.

use std::f64::consts::{LN_2, LOG2_E};

/// What evidence is at least called, ln: below it nothing differs any more, and the journal has no infinities.
pub(super) const LOWEST: f64 = -100.0;

/// ln of the weight of the start with a share, by the share's place from 0: a half, a quarter, and so on.
pub(super) fn ln_weight_of_share(place: usize) -> f64 {
    -((place + 1) as f64) * LN_2
}

/// ln of the weight of a start after so many answers of the canary.
///
/// a(n) − a(n + 1) for a(n) = 1 / (1 + log₂(n + 1)), which over all n is 1: a half for the start at 0, then falling
/// little faster than 1/n, so that a start after a million answers costs some 20 of the logarithm of the evidence.
pub(super) fn ln_weight_after(answers: u64) -> f64 {
    let answers = answers as f64;
    let level = |count: f64| 1.0 + count.ln() * LOG2_E;
    let step = (1.0 / (answers + 1.0)).ln_1p() * LOG2_E;
    step.ln() - level(answers + 1.0).ln() - level(answers + 2.0).ln()
}

/// ln Σ exp of the terms, at least [`LOWEST`].
pub(super) fn ln_sum(terms: &[f64]) -> f64 {
    let largest = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if !largest.is_finite() {
        return LOWEST;
    }
    (largest + terms.iter().map(|term| (term - largest).exp()).sum::<f64>().ln()).max(LOWEST)
}

/// ln of the mean evidence since each of the starts, which are places in `rows`, and the place of the start that
/// contributes most.
pub(super) fn since<T>(starts: &[usize], rows: &[T], ln_evidence: impl Fn(&[T]) -> f64) -> (f64, usize) {
    let terms: Vec<f64> = starts
        .iter()
        .enumerate()
        .map(|(place, &start)| ln_weight_of_share(place) + rows.get(start..).map_or(f64::NEG_INFINITY, &ln_evidence))
        .collect();
    (ln_sum(&terms), largest(&terms))
}

/// Where the largest term is; 0 of none.
pub(super) fn largest(terms: &[f64]) -> usize {
    let mut best = 0;
    for (place, term) in terms.iter().enumerate() {
        if *term > terms[best] {
            best = place;
        }
    }
    best
}
