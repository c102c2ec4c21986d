//! What was counted of a new version and, in the same moments, of the stable one: plain numbers that can be written down,
//! so that a decision can be repeated from them alone.
//!
//! Invariant: tallies only grow while their trial lasts; the lists of two arms of one segment have the same lengths.

use super::hours::HourReference;
use crate::sketch::KEY_GROUPS;
use serde::{Deserialize, Serialize};

/// Groups that guards count by: one of requests without a routing key, then those of keys.
pub const GUARD_GROUPS: usize = 1 + KEY_GROUPS;

/// Events of both arms whose arm was drawn with one probability: the unit of evidence.
///
/// An event is a request without a routing key, or the first request of a key at this step; requests that name their
/// version are none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrialSegment {
    /// Probability that an event was the canary's, known before it was drawn.
    pub weight: f64,
    /// Whether events are first requests of keys.
    pub keyed: bool,
    /// The new version.
    pub canary: ArmTally,
    /// The stable one.
    pub stable: ArmTally,
}

/// What was counted of one arm's events.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArmTally {
    /// Events, however they ended; those that whoever sent them gave up are in no other count.
    pub events: u64,
    /// Of these, failures of ours (5xx), panics among them.
    pub errors: u64,
    /// Of these, refused by the version as not fitting it.
    pub refusals: u64,
    /// Of those answered with predictions, the ones with a value that is missing, infinite, out of the reference's range or
    /// of an unseen category.
    pub defects: u64,
    /// Durations of what was answered with predictions, failed, was not there in time or was turned away, by cell between the
    /// plan's latency edges; the canary's are discounted before they are counted.
    pub latency: Vec<u64>,
    /// Of one row of each answer, by column of the outputs and cell of the plan.
    pub outputs: Vec<Vec<u64>>,
    /// Of the same rows, by column, sums of what is a number; empty where nothing was added up, as by earlier releases.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<ValueSums>,
}

/// Sums of a column's values in an arm, of those that are numbers: finite, and below the largest of single precision,
/// which is where overflow saturates. Each counts by its deviation from [`OutputCells::origin`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValueSums {
    /// How many there are.
    pub count: u64,
    /// Sum of their deviations.
    pub sum: f64,
    /// Sum of the squares of these.
    pub squares: f64,
    /// Sum of the cubes of these.
    pub cubes: f64,
}

impl ValueSums {
    /// Adds others of the same column.
    pub fn merge(&mut self, more: &Self) {
        self.count = self.count.saturating_add(more.count);
        self.sum += more.sum;
        self.squares += more.squares;
        self.cubes += more.cubes;
    }
}

/// What guards read: all requests of an arm but pinned ones, by group of routing keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuardTally {
    /// Answers: predictions, failures of ours, and those that were not there in time, if that was beyond the guard's limit.
    pub answers: u64,
    /// Failures of ours (5xx).
    pub errors: u64,
    /// Of the answers, calls that panicked, and predictions of another shape than the model declares.
    pub broken: u64,
    /// Predictions with a NaN or an infinity.
    pub non_finite: u64,
    /// Answers beyond the guard's limit of latency.
    pub slow: u64,
}

/// Guards of both arms at one share, by group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuardSegment {
    /// The canary's share of the traffic; 1 after promotion.
    pub weight: f64,
    /// The new version, by group.
    pub canary: [GuardTally; GUARD_GROUPS],
    /// The stable one, by group.
    pub stable: [GuardTally; GUARD_GROUPS],
}

/// Everything that was counted at one share.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrialCounts {
    /// Evidence: events without a key, then first requests of keys; those without events are left out.
    pub segments: Vec<TrialSegment>,
    /// All requests.
    pub guards: GuardSegment,
    /// What the stable version is like in the hour of the week in which this was counted, where hours were kept apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hour: Option<HourReference>,
}

/// On which edges a rollout counts: fixed when it begins, from the stable version, and written down with it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrialLayout {
    /// Upper edges of the latency cells, nanoseconds, growing; one cell more than edges.
    pub latency_edges: Vec<u64>,
    /// Share of stable's durations that lay beyond each edge when the rollout began; what is expected, not what is true.
    pub latency_beyond: Vec<f64>,
    /// The canary's durations are divided by this before they are counted.
    pub latency_ratio: f64,
    /// And less this, nanoseconds.
    pub latency_added: u64,
    /// The guard's limit of latency, nanoseconds.
    pub latency_limit: u64,
    /// The columns of the outputs that are compared.
    pub outputs: Vec<OutputCells>,
    /// Share of stable's answers that were failures (5xx) when the rollout began.
    pub expected_errors: f64,
}

/// The cells of one column of the outputs. Members that earlier releases wrote down and nobody reads any more are passed
/// over.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OutputCells {
    /// The column's name.
    pub name: String,
    /// Expected counts by cell, of the stable version's reference or else of its traffic.
    pub expected: Vec<u64>,
    /// How many of the first cells are in the order of their values.
    pub ordered: usize,
    /// Where the column's values lie, if they are numbers: the mean of the reference, or else about the median of what
    /// was counted. Not written down by earlier releases.
    #[serde(default)]
    pub center: Option<f64>,
}

impl OutputCells {
    /// What values are counted from when they are added up, in the column's own unit; none where they are no numbers.
    /// Where no center was written down it is zero.
    #[must_use]
    pub fn origin(&self) -> Option<f64> {
        self.center.or((self.ordered > 0).then_some(0.0))
    }
}
