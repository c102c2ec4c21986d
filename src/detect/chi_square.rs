//! Chi-square tests on counters, and the test on two proportions.
//!
//! Two chi-square tests go by one name. Evidently's takes the reference as the truth and asks whether the window fits it,
//! which rejects by itself once the window is about as large as the reference; the other asks whether both are draws from
//! one distribution. Both are here, because the first is what people compare with and the second is right.
//!
//! Invariant: statistics are finite and not negative, p-values within 0 and 1.

use super::distances::rows;
use super::special::{chi_square_p_value, normal_sf};

/// A statistic and how likely one as large is without drift.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TestResult {
    /// The statistic; the largest finite number where the formula divides by zero, of a two-sided test its size.
    pub statistic: f64,
    /// Probability of a statistic at least as large if nothing has changed.
    pub p_value: f64,
}

/// Goodness of fit of a window to a reference that is taken as exact: Σ (o − e)² / e with e = reference share × live
/// rows, over the categories that either side has; one degree of freedom fewer than those. A live value where the
/// reference has none makes p zero. None if either side is empty.
///
/// Source: Evidently's `chisquare`, which is SciPy's on these numbers.
#[must_use]
pub fn chi_square_fit(reference: &[u64], live: &[u64]) -> Option<TestResult> {
    let scale = rows(live) as f64 / rows(reference) as f64;
    test(reference, live, |reference, live| {
        let expected = reference * scale;
        (live - expected).powi(2) / expected
    })
}

/// Whether reference and window are draws from one distribution: Pearson's test on the table of two rows, without
/// Yates' correction, over the categories that either side has. None if either side is empty.
///
/// Source: SciPy's `chi2_contingency(…, correction=False)`.
#[must_use]
pub fn chi_square_two_sample(reference: &[u64], live: &[u64]) -> Option<TestResult> {
    let (n, m) = (rows(reference) as f64, rows(live) as f64);
    let ratio = (m / n).sqrt();
    // Both rows of the table at once: their terms of a category differ by the factor n / m alone.
    test(reference, live, |reference, live| {
        let difference = reference * ratio - live / ratio;
        difference * (difference / (reference + live))
    })
}

/// Whether two proportions, hits of rows, differ: the statistic with the pooled variance, two-sided. Equal where there is
/// no variance. None if either side is empty.
///
/// Source: Evidently's `z`.
#[must_use]
pub fn two_proportions(reference: (u64, u64), live: (u64, u64)) -> Option<TestResult> {
    if reference.1 == 0 || live.1 == 0 {
        return None;
    }
    let (n, m) = (reference.1 as f64, live.1 as f64);
    let share = |(hits, rows): (u64, u64)| hits.min(rows) as f64 / rows as f64;
    let (p, q) = (share(reference), share(live));
    let pooled = (p * n + q * m) / (n + m);
    let error = (pooled * (1.0 - pooled) * (1.0 / n + 1.0 / m)).sqrt();
    let statistic = if error > 0.0 { (p - q).abs() / error } else { 0.0 };
    Some(TestResult { statistic, p_value: (2.0 * normal_sf(statistic)).min(1.0) })
}

fn test(reference: &[u64], live: &[u64], term: impl Fn(f64, f64) -> f64) -> Option<TestResult> {
    if rows(reference) == 0 || rows(live) == 0 {
        return None;
    }
    let used = reference.iter().zip(live).filter(|(reference, live)| **reference > 0 || **live > 0);
    let (statistic, categories) = used.fold((0.0, 0_u64), |(sum, categories), (&reference, &live)| {
        (sum + term(reference as f64, live as f64), categories + 1)
    });
    // Infinite for a value that the reference does not have.
    let statistic = if statistic.is_finite() { statistic.max(0.0) } else { f64::MAX };
    Some(TestResult { statistic, p_value: chi_square_p_value(statistic, categories.saturating_sub(1)) })
}
