//! Verdicts on columns and versions.
//!
//! A fixed threshold on PSI is blind to the number of rows: with few of them chance alone exceeds it. What is judged
//! unless another [`Rule`] is chosen is therefore PSI minus its expectation without drift. "Not enough data" is an answer
//! of its own, and neither a pass nor a fail: columns without one are left out of a version's count, and a version of
//! which fewer than half of the columns could be judged has no verdict either.
//!
//! Invariant: a verdict depends on the counters and the rule alone.

use super::distances::rows;
use super::rule::excess_psi;
use super::{Distances, Outcome, Rule};
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
    /// What the rule's test found, whatever the verdict, if it can be computed.
    pub outcome: Option<Outcome>,
}

/// What a version's verdict needs to know of one of its features.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeatureVerdict {
    /// The feature's own verdict.
    pub verdict: Verdict,
    /// Whether its drift alone is drift of the version.
    pub critical: bool,
}

/// Judges the counters of a column. A reference without rows is no reference, and counters of another layout than the
/// reference's are not enough data.
#[must_use]
pub fn judge_column(reference: Option<&Reference>, live: &Live<'_>, rule: &Rule) -> ColumnVerdict {
    let samples = rows(live.counts);
    let mut answer =
        ColumnVerdict { verdict: Verdict::NoReference, samples, distances: None, excess: None, outcome: None };
    let Some(reference) = reference.filter(|reference| rows(&reference.counts) > 0) else { return answer };
    answer.distances = Distances::between(reference, live);
    if let Some(distances) = &answer.distances {
        answer.excess = excess_psi(reference, live, distances);
        answer.outcome = rule.find(reference, live, distances);
    }
    answer.verdict = match answer.outcome {
        Some(outcome) if samples >= rule.min_samples() => {
            if outcome.drifted {
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

/// Judges a version as Evidently judges a data set: by all columns, features and outputs alike. Drift when at least half
/// of those with a reference drift; without any reference there is none, and if fewer than half have enough data there
/// is not enough.
#[must_use]
pub fn judge_version_by_share(columns: &[Verdict]) -> Verdict {
    let count = |verdict: Verdict| columns.iter().filter(|column| **column == verdict).count();
    let (drifted, judged) = (count(Verdict::Drift), count(Verdict::Drift) + count(Verdict::Ok));
    let referenced = judged + count(Verdict::NotEnoughData);
    if referenced == 0 {
        Verdict::NoReference
    } else if drifted * 2 >= referenced {
        Verdict::Drift
    } else if judged * 2 < referenced {
        Verdict::NotEnoughData
    } else {
        Verdict::Ok
    }
}
