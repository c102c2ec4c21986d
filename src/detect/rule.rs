//! Which difference is drift: the choices, and what each says of a column's counters.
//!
//! Thresholds that people know can be chosen beside our own. They are not corrected for anything, because whoever
//! chooses them wants them as they are.
//!
//! Invariant: what a rule finds depends on the counters alone, and statistics, p-values and thresholds are finite.

use super::distances::rows;
use super::{Distances, chi_square_two_sample, evidently, expected_psi, group_counts, ks_p_value};
use crate::sketch::{Live, Reference};
use serde::{Deserialize, Serialize};

/// When a column has drifted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// PSI minus its expectation without drift is above a threshold.
    Excess {
        /// The threshold: 0.1 where nothing else is said.
        threshold: f64,
        /// Rows needed for a verdict: 200 where nothing else is said.
        min_samples: u64,
    },
    /// PSI is above 0.2 and a test rejects at 5 %: Kolmogorov and Smirnov's, or the two-sample chi-square test for
    /// columns without an order or without finite values.
    Classic {
        /// Rows needed for a verdict.
        min_samples: u64,
    },
    /// The test and the threshold that Evidently 0.7 chooses for the column.
    Evidently {
        /// Rows needed for a verdict; Evidently itself needs one.
        min_samples: u64,
    },
}

/// A test that decides on a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Test {
    /// PSI minus its expectation without drift.
    ExcessPsi,
    /// PSI, and the p-value of Kolmogorov and Smirnov's test.
    PsiAndKs,
    /// PSI, and the p-value of the two-sample chi-square test.
    PsiAndChiSquare,
    /// The p-value of Kolmogorov and Smirnov's test.
    Ks,
    /// The p-value of the chi-square test of fit.
    ChiSquare,
    /// The p-value of the test on two proportions.
    Proportions,
    /// The Wasserstein distance over σ.
    Wasserstein,
    /// The Jensen-Shannon distance over distinct values.
    JensenShannon,
}

/// What a test found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The test.
    pub test: Test,
    /// Its statistic: a distance, or what the p-value is of.
    pub statistic: f64,
    /// The p-value, of tests that have one.
    pub p_value: Option<f64>,
    /// What the statistic was compared with, or for tests that decide by it alone the p-value.
    pub threshold: f64,
    /// Whether that is drift.
    pub drifted: bool,
}

/// PSI above which the classic rule may find drift.
const CLASSIC_PSI: f64 = 0.2;
/// Level of the tests in the rules that people know.
pub(super) const LEVEL: f64 = 0.05;

impl Default for Rule {
    fn default() -> Self {
        Self::Excess { threshold: 0.1, min_samples: 200 }
    }
}

impl Rule {
    /// Rows needed for a verdict.
    #[must_use]
    pub fn min_samples(&self) -> u64 {
        match *self {
            Self::Excess { min_samples, .. } | Self::Classic { min_samples } | Self::Evidently { min_samples } => {
                min_samples
            }
        }
    }

    /// What the rule finds between the counters of both sides and their distances; none if it cannot be computed.
    pub(super) fn find(&self, reference: &Reference, live: &Live<'_>, distances: &Distances) -> Option<Outcome> {
        match *self {
            Self::Excess { threshold, .. } => {
                let statistic = excess_psi(reference, live, distances)?;
                let drifted = statistic > threshold;
                Some(Outcome { test: Test::ExcessPsi, statistic, p_value: None, threshold, drifted })
            }
            Self::Classic { .. } => classic(reference, live, distances),
            Self::Evidently { .. } => evidently::find(reference, live, distances),
        }
    }
}

/// PSI minus its expectation without drift; may be negative.
pub(super) fn excess_psi(reference: &Reference, live: &Live<'_>, distances: &Distances) -> Option<f64> {
    let (expected, found) = groups(reference, live);
    let used = expected.iter().zip(&found).filter(|(expected, found)| **expected > 0 || **found > 0).count();
    Some(distances.psi - expected_psi(used, rows(live.counts), rows(&reference.counts))?)
}

fn classic(reference: &Reference, live: &Live<'_>, distances: &Distances) -> Option<Outcome> {
    let finite = |counts: &[u64]| reference.ordered.clone().and_then(|slots| counts.get(slots)).map_or(0, rows);
    let (test, p_value) = if let Some(ks) = distances.ks {
        (Test::PsiAndKs, ks_p_value(ks, finite(&reference.counts), finite(live.counts))?)
    } else {
        let (expected, found) = groups(reference, live);
        (Test::PsiAndChiSquare, chi_square_two_sample(&expected, &found)?.p_value)
    };
    let drifted = distances.psi > CLASSIC_PSI && p_value < LEVEL;
    Some(Outcome { test, statistic: distances.psi, p_value: Some(p_value), threshold: CLASSIC_PSI, drifted })
}

fn groups(reference: &Reference, live: &Live<'_>) -> (Vec<u64>, Vec<u64>) {
    let sum = |counts: &[u64]| group_counts(counts, &reference.groups, reference.group_count);
    (sum(&reference.counts), sum(live.counts))
}
