//! Alerts: rules, their pending/firing/resolved states, and where they are sent.
//!
//! The judge says what it measured; [`rules`] turns that into conditions, [`state`] remembers how long each has held, and
//! [`webhook`] tells the outside. The three are apart so that the part that decides has no clock and no socket.
//!
//! Invariant: an alert fires only after its condition held for `pending_for`, and resolves only after its clearing
//! condition held for `resolve_after`; between the two thresholds nothing changes.

mod record;
pub mod rules;
pub mod state;
pub mod webhook;

use serde::{Deserialize, Serialize};
use std::time::SystemTime;

/// Where an alert is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertPhase {
    /// The condition holds, but not for long enough.
    Pending,
    /// The condition has held for long enough.
    Firing,
    /// It has cleared.
    Resolved,
}

/// How much an alert matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Look at it today.
    Warning,
    /// Look at it now.
    Critical,
}

/// The rules there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// One feature or output differs from its reference.
    FeatureDrift,
    /// Half of a version's features drift, or a critical one does.
    VersionDrift,
    /// Values of one feature or output are missing, infinite, out of range or unseen more often than in its reference.
    DataQuality,
    /// Requests take longer than they may: more often than allowed, or at the 99th percentile.
    Latency,
    /// More answers are failures of the server than may be.
    Errors,
    /// More requests do not fit the version than may.
    Refusals,
}

impl Rule {
    /// The rule's name in the API and in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::FeatureDrift => "feature_drift",
            Self::VersionDrift => "version_drift",
            Self::DataQuality => "data_quality",
            Self::Latency => "latency",
            Self::Errors => "errors",
            Self::Refusals => "refusals",
        }
    }
}

/// What an alert is about; at most one alert of a subject is open at a time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject {
    /// The rule.
    pub rule: Rule,
    /// The model.
    pub model: String,
    /// The version.
    pub version: u64,
    /// The feature or output, for rules that name one.
    pub feature: Option<String>,
}

/// An alert as the API and the webhook show it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// Identifies the incident: the same while pending, firing and resolved.
    pub id: String,
    /// The rule.
    pub rule: Rule,
    /// How much it matters.
    pub severity: Severity,
    /// Where it is in its life.
    pub state: AlertPhase,
    /// The model.
    pub model: String,
    /// The version.
    pub version: String,
    /// The feature or output, for rules that name one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feature: Option<String>,
    /// What was measured last.
    pub value: f64,
    /// The limit it is compared with.
    pub threshold: f64,
    /// How many samples the measurement rests on.
    pub samples: u64,
    /// The window, such as `5m`.
    pub window: String,
    /// When the condition first held; RFC 3339, UTC.
    #[serde(serialize_with = "rfc3339", deserialize_with = "from_rfc3339")]
    pub started_at: SystemTime,
    /// When it resolved.
    #[serde(
        default,
        serialize_with = "optional_rfc3339",
        deserialize_with = "optional_from_rfc3339",
        skip_serializing_if = "Option::is_none"
    )]
    pub resolved_at: Option<SystemTime>,
    /// One sentence for people.
    pub summary: String,
    /// The numbers behind the measurement.
    pub evidence: serde_json::Value,
}

fn rfc3339<S: serde::Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_rfc3339_millis(*time))
}

fn optional_rfc3339<S: serde::Serializer>(time: &Option<SystemTime>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => rfc3339(time, serializer),
        None => serializer.serialize_none(),
    }
}

fn from_rfc3339<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_rfc3339(&text).map_err(serde::de::Error::custom)
}

fn optional_from_rfc3339<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<SystemTime>, D::Error> {
    from_rfc3339(deserializer).map(Some)
}
