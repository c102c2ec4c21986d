//! Reads when a version drifts and when it is too slow: once for all models, then again for each model above that.
//!
//! The second reading starts from the result of the first, so a model says only what differs. The exception is the
//! resolve threshold, which follows the threshold unless someone set it: whoever lowers `threshold` for one model must
//! not have to know that there is a second number.
//!
//! Invariant: the resolve threshold never exceeds the threshold.

use std::time::Duration;

use super::problem::ProblemKind;
use super::reader::{Located, Reader};
use super::settings::{DriftSettings, LatencySettings};
use super::tree::Value;
use super::values::{Parsed, duration, names, real, refused, whole};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

/// Shortest sliding window: the judge looks once a second, and one slice is no window.
const MIN_WINDOW: Duration = Duration::from_secs(2);

/// Largest count that can be asked for before a verdict.
const MAX_COUNT: u64 = 1_000_000_000;

/// Drift settings, and the resolve threshold if it was set and not derived.
#[derive(Clone, Debug, Default)]
pub(super) struct Layer {
    pub(super) settings: DriftSettings,
    resolve_threshold: Option<f64>,
}

/// `drift`, above a layer that holds what is not said.
pub(super) fn drift(reader: &mut Reader<'_, '_>, below: &Layer) -> Layer {
    let default = &below.settings;
    reader.value("preset", preset);
    let is_given = [reader.has("threshold"), reader.has("resolve_threshold")];
    let (threshold, own_resolve) =
        (reader.located("threshold", real(0.001..=100.0)), reader.located("resolve_threshold", real(0.0..=100.0)));
    let resolve_threshold = own_resolve.as_ref().map(|located| located.value).or(below.resolve_threshold);
    let limit = threshold.as_ref().map_or(default.threshold, |located| located.value);
    if is_given == [threshold.is_some(), own_resolve.is_some()] {
        check_thresholds(reader, resolve_threshold, limit, own_resolve.or(threshold));
    }
    let settings = DriftSettings {
        window: reader.value("window", duration(MIN_WINDOW..=DAY)).unwrap_or(default.window),
        min_samples: reader.value("min_samples", whole(1..=MAX_COUNT)).unwrap_or(default.min_samples),
        threshold: limit,
        resolve_threshold: resolve_threshold.unwrap_or(limit / 2.0),
        pending_for: reader.value("pending_for", duration(Duration::ZERO..=DAY)).unwrap_or(default.pending_for),
        resolve_after: reader.value("resolve_after", duration(Duration::ZERO..=DAY)).unwrap_or(default.resolve_after),
        max_features: reader.value("max_features", whole(1..=65_536)).unwrap_or(default.max_features),
        critical: default.critical.clone(),
    };
    Layer { settings, resolve_threshold }
}

/// A model's `drift`, which can also name critical features.
pub(super) fn model_drift(reader: &mut Reader<'_, '_>, below: &Layer) -> DriftSettings {
    let critical = reader.value("critical", names).unwrap_or_default();
    DriftSettings { critical: critical.into_iter().collect(), ..drift(reader, below).settings }
}

/// `latency`, above settings that hold what is not said.
pub(super) fn latency(reader: &mut Reader<'_, '_>, default: &LatencySettings) -> LatencySettings {
    let p99_limit = duration(Duration::from_micros(1)..=3_600 * SECOND);
    LatencySettings {
        p99_limit: reader.value("p99_limit", p99_limit).unwrap_or(default.p99_limit),
        window: reader.value("window", duration(MIN_WINDOW..=DAY)).unwrap_or(default.window),
        min_requests: reader.value("min_requests", whole(1..=MAX_COUNT)).unwrap_or(default.min_requests),
        pending_for: reader.value("pending_for", duration(Duration::ZERO..=DAY)).unwrap_or(default.pending_for),
        resolve_after: reader.value("resolve_after", duration(Duration::ZERO..=DAY)).unwrap_or(default.resolve_after),
    }
}

/// An alert that resolves above the threshold at which it fires would do both at once.
fn check_thresholds(reader: &mut Reader<'_, '_>, resolve: Option<f64>, limit: f64, place: Option<Located<f64>>) {
    if let (Some(resolve), Some(place)) = (resolve, place)
        && resolve > limit
    {
        let reason = format!("resolve_threshold ({resolve}) exceeds threshold ({limit}); it must not");
        reader.problem(place.origin, "resolve_threshold", ProblemKind::Conflict { reason });
    }
}

/// The named sets of drift settings; so far there is one, which is what all defaults say.
fn preset(value: &Value) -> Parsed<()> {
    match value.as_text() {
        Some("default") => Ok(()),
        Some(name @ ("classic" | "evidently")) => Err(ProblemKind::Invalid {
            expected: "\"default\"".to_owned(),
            found: format!("{name:?}, which is not available yet"),
        }),
        _ => Err(refused("\"default\"", value)),
    }
}
