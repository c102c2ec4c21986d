//! Verdicts on columns and versions.
//!
//! A fixed threshold on PSI is blind to the number of rows: with few of them chance alone exceeds it. What is judged is
//! therefore PSI minus its expectation without drift. "Not enough data" is an answer of its own, and neither a pass nor
//! a fail: columns without one are left out of a version's count, and a version of which fewer than half of the columns
//! could be judged has no verdict either.
//!
//! Invariant: a verdict depends on the counters and the rule alone.

use super::distances::rows;
use super::{Distances, expected_psi, group_counts};
use crate::sketch::{Live, Reference};
use serde::{Deserialize, Serialize};

/// What a detector answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Enough data, and no more difference than the rule allows.
    Ok,
    /// More difference than the rule allows.
    Drift,
    /// Too few rows to tell.
    NotEnoughData,
    /// Nothing to compare with.
    NoReference,
}

/// When a column has drifted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DriftRule {
    /// PSI in excess of its expectation without drift, above which a column drifts: 0.1.
    pub threshold: f64,
    /// Rows needed for a verdict: 200.
    pub min_samples: u64,
}

/// The verdict on a column, with its evidence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ColumnVerdict {
    /// The verdict.
    pub verdict: Verdict,
    /// Live rows.
    pub samples: u64,
    /// The distances, whatever the verdict, if both sides have rows.
    pub distances: Option<Distances>,
    /// PSI minus its expectation without drift; may be negative.
    pub excess: Option<f64>,
    /// The threshold that the excess was compared with.
    pub threshold: f64,
}

/// What a version's verdict needs to know of one of its features.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeatureVerdict {
    /// The feature's own verdict.
    pub verdict: Verdict,
    /// Whether its drift alone is drift of the version.
    pub critical: bool,
}

impl Default for DriftRule {
    fn default() -> Self {
        Self { threshold: 0.1, min_samples: 200 }
    }
}

/// Judges the counters of a column. A reference without rows is no reference, and counters of another layout than the
/// reference's are not enough data.
#[must_use]
pub fn judge_column(reference: Option<&Reference>, live: &Live<'_>, rule: &DriftRule) -> ColumnVerdict {
    let samples = rows(live.counts);
    let mut answer = ColumnVerdict {
        verdict: Verdict::NoReference,
        samples,
        distances: None,
        excess: None,
        threshold: rule.threshold,
    };
    let Some(reference) = reference.filter(|reference| rows(&reference.counts) > 0) else { return answer };
    answer.distances = Distances::between(reference, live);
    let expected = expected_psi(groups_in_use(reference, live), samples, rows(&reference.counts));
    answer.excess = answer.distances.zip(expected).map(|(distances, expected)| distances.psi - expected);
    answer.verdict = match answer.excess {
        Some(excess) if samples >= rule.min_samples => {
            if excess > rule.threshold {
                Verdict::Drift
            } else {
                Verdict::Ok
            }
        }
        _ => Verdict::NotEnoughData,
    };
    answer
}

/// Judges a version by its input features. In this order: a critical feature that drifts is drift of the version;
/// without any reference there is none; if fewer than half of the features with a reference have enough data there is
/// not enough; drift when at least half of those that have it drift; else ok.
#[must_use]
pub fn judge_version(features: &[FeatureVerdict]) -> Verdict {
    let count = |verdict: Verdict| features.iter().filter(|feature| feature.verdict == verdict).count();
    if features.iter().any(|feature| feature.critical && feature.verdict == Verdict::Drift) {
        return Verdict::Drift;
    }
    let (drifted, judged) = (count(Verdict::Drift), count(Verdict::Drift) + count(Verdict::Ok));
    let referenced = judged + count(Verdict::NotEnoughData);
    if referenced == 0 {
        Verdict::NoReference
    } else if judged == 0 || judged * 2 < referenced {
        Verdict::NotEnoughData
    } else if drifted * 2 >= judged {
        Verdict::Drift
    } else {
        Verdict::Ok
    }
}

/// Coarse groups that either side has rows in.
fn groups_in_use(reference: &Reference, live: &Live<'_>) -> usize {
    let expected = group_counts(&reference.counts, &reference.groups, reference.group_count);
    let found = group_counts(live.counts, &reference.groups, reference.group_count);
    expected.iter().zip(&found).filter(|(expected, found)| **expected > 0 || **found > 0).count()
}
