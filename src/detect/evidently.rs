//! The test that Evidently 0.7 chooses for a column, on counters.
//!
//! It looks at the kind of the column, at the number of rows of the reference and at how many different values both sides
//! have together, missing and infinite values left out on both:
//!
//! | values | reference up to 1,000 rows | above |
//! |---|---|---|
//! | numbers, more than 5 different | Kolmogorov-Smirnov, p ≤ 0.05 | Wasserstein over σ ≥ 0.1 |
//! | numbers, 3 to 5; categories, more than 2 | chi-square of fit, p < 0.05 | Jensen-Shannon distance ≥ 0.1 |
//! | 2 and fewer | two proportions, p < 0.05 | Jensen-Shannon distance ≥ 0.1 |
//!
//! Where it has raw values and we have counters: the Kolmogorov-Smirnov statistic is the binned one, with the asymptotic
//! p-value where SciPy takes an exact one; live values that the reference does not have count as one value for each
//! counter that they are in; and columns whose standard deviation is below 0.001 are measured by it, where Evidently
//! takes 0.001 and so hardly ever finds that they have moved.
//!
//! Source: Evidently 0.7, `calculations/stattests/registry.py` and the tests beside it.
//!
//! Invariant: the choice depends on the counters alone.

use super::distances::rows;
use super::rule::{LEVEL, Outcome, Test};
use super::{Distances, TestResult, chi_square_fit, jensen_shannon, ks_p_value, two_proportions};
use crate::sketch::{Live, Reference, Slots};

/// Rows up to which a reference is small.
const SMALL_REFERENCE: u64 = 1000;
/// Different numbers up to which a column of numbers is compared value by value.
const FEW_NUMBERS: u64 = 5;
/// Distance from which columns of large references have drifted.
const DISTANCE: f64 = 0.1;

/// What Evidently would find; none if either side has no value.
pub(super) fn find(reference: &Reference, live: &Live<'_>, distances: &Distances) -> Option<Outcome> {
    let (expected, found) = (values(reference, &reference.counts), values(reference, live.counts));
    let (reference_rows, live_rows) = (rows(&expected), rows(&found));
    if reference_rows == 0 || live_rows == 0 {
        return None;
    }
    let is_small = reference_rows <= SMALL_REFERENCE;
    let different = different_values(reference, &expected, &found);
    let is_number_line = !reference.categorical && different.is_none_or(|values| values > FEW_NUMBERS);
    match (is_number_line, distances.ks, distances.wasserstein) {
        (true, Some(ks), _) if is_small => {
            let p_value = ks_p_value(ks, reference_rows, live_rows)?;
            Some(by_p_value(Test::Ks, TestResult { statistic: ks, p_value }, p_value <= LEVEL))
        }
        (true, _, Some(wasserstein)) if !is_small => Some(by_distance(Test::Wasserstein, wasserstein)),
        _ if !is_small => Some(by_distance(Test::JensenShannon, jensen_shannon(&expected, &found)?)),
        _ if different.is_some_and(|values| values <= 2) => {
            // Which of two values is counted does not matter to a two-sided test.
            let first = expected.iter().zip(&found).find(|(expected, found)| **expected > 0 || **found > 0);
            let (hits, live_hits) = first.map_or((0, 0), |(expected, found)| (*expected, *found));
            let result = two_proportions((hits, reference_rows), (live_hits, live_rows))?;
            Some(by_p_value(Test::Proportions, result, result.p_value < LEVEL))
        }
        _ => {
            let result = chi_square_fit(&expected, &found)?;
            Some(by_p_value(Test::ChiSquare, result, result.p_value < LEVEL))
        }
    }
}

fn by_p_value(test: Test, result: TestResult, drifted: bool) -> Outcome {
    Outcome { test, statistic: result.statistic, p_value: Some(result.p_value), threshold: LEVEL, drifted }
}

fn by_distance(test: Test, statistic: f64) -> Outcome {
    Outcome { test, statistic, p_value: None, threshold: DISTANCE, drifted: statistic >= DISTANCE }
}

/// The counters of what is neither missing nor infinite.
fn values(reference: &Reference, counts: &[u64]) -> Vec<u64> {
    if let Some(slots) = reference.ordered.clone() {
        return counts.get(slots).unwrap_or_default().to_vec();
    }
    // Without an order there is a counter for unseen values after the special ones.
    let slots = Slots::new(counts.len().saturating_sub(Slots::new(0, true).count()), true);
    let special = [slots.missing(), slots.negative_infinite(), slots.positive_infinite()];
    let kept = counts.iter().enumerate().filter(|(slot, _)| !special.contains(slot));
    kept.map(|(_, count)| *count).collect()
}

/// How many different values there are on both sides; none if there are more than there are counters for.
fn different_values(reference: &Reference, expected: &[u64], found: &[u64]) -> Option<u64> {
    let new = expected.iter().zip(found).filter(|(expected, found)| **expected == 0 && **found > 0).count();
    reference.distinct.map(|distinct| distinct.saturating_add(new as u64))
}
