//! A report as data: what its JSON holds, field by field.
//!
//! Invariant: every number is finite, and none is a value of a feature.

use crate::detect::{LatencyVerdict, Outcome, Verdict};
use crate::profile::{Kind, Source};
use serde::{Deserialize, Serialize};

/// The format that is written.
pub(super) const FORMAT: u32 = 1;

/// Everything that a report says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Version of this format: 1.
    pub format: u32,
    /// The model.
    pub model: String,
    /// When the report was made, RFC 3339.
    pub generated_at: String,
    /// The versions, in the order they were given.
    pub versions: Vec<VersionPart>,
}

/// One version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VersionPart {
    /// The version, as text like everywhere in the API.
    pub version: String,
    /// Its role in the split: `stable`, `canary`, or `none` without a share.
    pub arm: String,
    /// Its share of the traffic that names no version, percent.
    pub weight: f64,
    /// Whether the version as a whole drifts.
    pub verdict: Verdict,
    /// The verdict in words, with the columns it rests on.
    pub summary: String,
    /// What the primary window covers, and then what each of [`ColumnPart::windows`] does.
    pub windows: Vec<WindowPart>,
    /// Rows in the primary window.
    pub samples: u64,
    /// What it is compared with; null without a reference.
    pub reference: Option<ReferencePart>,
    /// How it answers.
    pub answers: Answers,
    /// When the points of [`ColumnPart::drift`] were.
    pub drift: DriftOverTime,
    /// Every feature and output, the one that drifted most first.
    pub columns: Vec<ColumnPart>,
}

/// What a version is compared with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReferencePart {
    /// Rows.
    pub rows: u64,
    /// Where they came from.
    pub source: Source,
    /// When the profile was made, RFC 3339, if it says so.
    pub created: Option<String>,
    /// Whether it was learned from traffic that nobody vouched for.
    pub learned_from_traffic: bool,
}

/// What a window covers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WindowPart {
    /// `5m`, `1h`, `since_deploy`, `decayed`.
    pub name: String,
    /// How long it is, seconds; of a decayed window its half-life. Null since deploy.
    pub seconds: Option<f64>,
    /// By how much more it may cover, seconds; null where that has no meaning.
    pub resolution_seconds: Option<f64>,
}

/// A column over one window; what does not exist is left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// The window's name; `season` for the primary window against the same hour of the week.
    pub window: String,
    /// Values in it.
    pub samples: u64,
    /// The distances by group, if both sides have values.
    #[serde(flatten)]
    pub distances: Option<GroupDistances>,
}

/// Distances by coarse group.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupDistances {
    /// Population stability index, nats.
    pub psi: f64,
    /// PSI minus what is expected of it without drift; may be negative.
    pub psi_excess: f64,
    /// Jensen-Shannon distance, square root, nats.
    pub js: f64,
    /// Total variation.
    pub tv: f64,
}

/// How a version answers, over the latency window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answers {
    /// How long the window is, seconds.
    pub window_seconds: f64,
    /// Whether the 99th percentile is within its limit.
    pub verdict: LatencyVerdict,
    /// Requests that were timed.
    pub requests: u64,
    /// Median, seconds.
    pub p50_seconds: Option<f64>,
    /// 99th percentile, seconds.
    pub p99_seconds: Option<f64>,
    /// Its limit, seconds.
    pub p99_limit_seconds: f64,
    /// Requests beyond that limit.
    pub slow: Rate,
    /// Failures of the server (5xx).
    pub failed: Rate,
    /// Refusals of requests (4xx).
    pub refused: Rate,
    /// Requests for this version, since it was loaded, that do not fit its signature: shape, type, anything else.
    pub unfit: [u64; 3],
}

/// How often something happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    /// How often.
    pub events: u64,
    /// Out of how many.
    pub trials: u64,
    /// The share that is allowed.
    pub allowed: f64,
    /// What raised its alarm, while it is raised.
    pub alarm: Option<Alarm>,
}

/// When the points of the columns' drift were.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DriftOverTime {
    /// Start of the first point, RFC 3339; null without points.
    pub start: Option<String>,
    /// Seconds from one point to the next. A point is the largest value of as much time.
    pub step_seconds: f64,
    /// How many points there are.
    pub points: usize,
}

/// One feature or output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ColumnPart {
    /// Its name.
    pub name: String,
    /// `feature` or `output`.
    pub side: String,
    /// How its values are binned and compared; null without a reference.
    pub kind: Option<Kind>,
    /// Whether its drift alone is drift of the version.
    pub critical: bool,
    /// The verdict.
    pub verdict: Verdict,
    /// What raised its alarm, while it is raised.
    pub alarm: Option<Alarm>,
    /// Weighted evidence now and the threshold that raises the alarm, natural logarithms.
    pub evidence: Option<[f64; 2]>,
    /// What the preset's test found in the primary window, if the preset is one that judges by it.
    pub outcome: Option<Outcome>,
    /// Values in the primary window.
    pub samples: u64,
    /// PSI minus what is expected of it without drift, over the primary window; by it columns are sorted.
    pub psi_excess: Option<f64>,
    /// The distances over the primary window, as far as they exist: `psi`, `js`, `ks`, `wasserstein` (over σ), `tv`,
    /// `l_infinity`, `hellinger`, and `chi_square`, which is the effect: chi-square per row.
    pub distances: Vec<Distance>,
    /// The other windows.
    pub windows: Vec<Measured>,
    /// Reference and live counts by coarse group; empty without a reference.
    pub groups: Vec<Group>,
    /// Values that are no ordinary ones, where either side has any.
    pub defects: Vec<Defect>,
    /// PSI in excess of chance over time, see [`VersionPart::drift`]; null where too little was served.
    pub drift: Vec<Option<f64>>,
}

/// A distance and the 95 % interval of that of the populations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Distance {
    /// Its name.
    pub name: String,
    /// The distance.
    pub value: f64,
    /// Lower end.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
    /// How far binning can have moved the distance, where that is known; of `wasserstein` alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<f64>,
}

/// A coarse group of values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// What is in it, in words without values: `10–20 %`, `value 2`, `category 1`, `missing`.
    pub label: String,
    /// What is in it.
    pub kind: GroupKind,
    /// Rows of the reference.
    pub reference: u64,
    /// Values of the primary window.
    pub live: u64,
}

/// What is in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupKind {
    /// Numbers between two ranks of the reference.
    Range,
    /// One number.
    Value,
    /// One category, or several.
    Category,
    /// Values that the reference has too seldom for a group of their own.
    Rare,
    /// Null and NaN.
    Missing,
    /// Infinity of either sign.
    Infinite,
    /// Categories that the reference does not have.
    Unseen,
}

/// A kind of value that is no ordinary one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Defect {
    /// `missing`, `infinite`, `below_range`, `above_range`, `unseen_category`.
    pub kind: String,
    /// Values of the primary window.
    pub live: u64,
    /// Their share.
    pub live_share: f64,
    /// Their share in the reference.
    pub reference_share: f64,
}

/// An alarm that is raised. Evidence is in natural logarithms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alarm {
    /// What is wrong: `drift`, `missing`, `infinite`, `out_of_range`, `unseen_category`, `exceedance`.
    pub cause: String,
    /// When it was raised, RFC 3339.
    pub at: String,
    /// Since when the rows were counted that raised it, RFC 3339.
    pub since: String,
    /// How many rows that were.
    pub samples: u64,
    /// The evidence.
    pub evidence: f64,
    /// What it had to pass.
    pub threshold: f64,
    /// The effect: PSI beyond chance, or a rate.
    pub effect: f64,
    /// Its lower 95 % limit.
    pub effect_lower: f64,
    /// What that had to pass.
    pub effect_floor: f64,
    /// All of this in words.
    pub text: String,
}

impl Report {
    /// The report as JSON.
    ///
    /// # Panics
    /// Never: there is nothing in it that JSON does not have.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings, finite numbers and lists are JSON")
    }

    /// The report as a page that stands alone.
    #[must_use]
    pub fn to_html(&self) -> String {
        super::html::page(self)
    }
}
