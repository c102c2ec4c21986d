//! Reads when a version drifts and when it is too slow: once for all models, then again for each model above that.
//!
//! The second reading starts from the result of the first, so a model says only what differs. The exception is the
//! resolve threshold, which follows the threshold unless someone set it: whoever lowers `threshold` for one model must
//! not have to know that there is a second number.
//!
//! Invariant: the resolve threshold never exceeds the threshold.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::judging_settings::{
    DriftPreset, DriftSettings, ErrorSettings, LatencyRuleChoice, LatencySettings, SegmentSettings, SegmentSource,
};
use super::problem::ProblemKind;
use super::reader::{Located, Reader};
use super::tree::Value;
use super::values::{Parsed, duration, duration_text, flag, list, name, names, one_of, real, size, whole};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

/// Shortest sliding window: the judge looks once a second, and one slice is no window.
const MIN_WINDOW: Duration = Duration::from_secs(2);

/// Most lengths of further windows, each of which costs memory.
const MAX_WINDOWS: usize = 6;

/// Most features whose counters are exported bin by bin: each is some seventy series.
const MAX_BINS_EXPORTED: usize = 64;

/// Most segments that are told apart.
const MAX_SEGMENTS: usize = 64;

/// Segments that are told apart unless something else is said.
const SEGMENTS: usize = 16;

/// Largest count that can be asked for before a verdict.
const MAX_COUNT: u64 = 1_000_000_000;

/// Shares of requests that may be beyond a limit. None at all is no rate that can be tested.
const RATES: RangeInclusive<f64> = 0.00001..=0.5;

const PRESETS: &[(&str, DriftPreset)] =
    &[("default", DriftPreset::Default), ("classic", DriftPreset::Classic), ("evidently", DriftPreset::Evidently)];

const LATENCY_RULES: &[(&str, LatencyRuleChoice)] =
    &[("sequential", LatencyRuleChoice::Sequential), ("p99", LatencyRuleChoice::P99)];

/// Drift settings, and the resolve threshold if it was set and not derived.
#[derive(Clone, Debug, Default)]
pub(super) struct Layer {
    pub(super) settings: DriftSettings,
    resolve_threshold: Option<f64>,
}

/// `drift`, above a layer that holds what is not said.
pub(super) fn drift(reader: &mut Reader<'_, '_>, below: &Layer) -> Layer {
    let default = &below.settings;
    let is_given = [reader.has("threshold"), reader.has("resolve_threshold")];
    let (threshold, own_resolve) =
        (reader.located("threshold", real(0.001..=100.0)), reader.located("resolve_threshold", real(0.0..=100.0)));
    let resolve_threshold = own_resolve.as_ref().map(|located| located.value).or(below.resolve_threshold);
    let limit = threshold.as_ref().map_or(default.threshold, |located| located.value);
    if is_given == [threshold.is_some(), own_resolve.is_some()] {
        check_thresholds(reader, resolve_threshold, limit, own_resolve.or(threshold));
    }
    let mut settings = DriftSettings {
        preset: reader.value("preset", one_of(PRESETS)).unwrap_or(default.preset),
        window: reader.value("window", duration(MIN_WINDOW..=DAY)).unwrap_or(default.window),
        min_samples: reader.value("min_samples", whole(1..=MAX_COUNT)).unwrap_or(default.min_samples),
        threshold: limit,
        resolve_threshold: resolve_threshold.unwrap_or(limit / 2.0),
        pending_for: reader.value("pending_for", duration(Duration::ZERO..=DAY)).unwrap_or(default.pending_for),
        resolve_after: reader.value("resolve_after", duration(Duration::ZERO..=DAY)).unwrap_or(default.resolve_after),
        max_features: reader.value("max_features", whole(1..=65_536)).unwrap_or(default.max_features),
        ..default.clone()
    };
    alarm(reader, &mut settings);
    windows(reader, &mut settings);
    exports(reader, &mut settings);
    Layer { settings, resolve_threshold }
}

/// A model's `drift`, which can also name critical features.
pub(super) fn model_drift(reader: &mut Reader<'_, '_>, below: &Layer) -> DriftSettings {
    let critical: BTreeSet<String> = reader.value("critical", names).unwrap_or_default().into_iter().collect();
    DriftSettings { critical, ..drift(reader, below).settings }
}

/// `latency`, above settings that hold what is not said.
pub(super) fn latency(reader: &mut Reader<'_, '_>, default: &LatencySettings) -> LatencySettings {
    let p99_limit = duration(Duration::from_micros(1)..=3_600 * SECOND);
    LatencySettings {
        p99_limit: reader.value("p99_limit", p99_limit).unwrap_or(default.p99_limit),
        rule: reader.value("rule", one_of(LATENCY_RULES)).unwrap_or(default.rule),
        allowed_rate: reader.value("allowed_rate", real(RATES)).unwrap_or(default.allowed_rate),
        window: reader.value("window", duration(MIN_WINDOW..=DAY)).unwrap_or(default.window),
        min_requests: reader.value("min_requests", whole(1..=MAX_COUNT)).unwrap_or(default.min_requests),
        pending_for: reader.value("pending_for", duration(Duration::ZERO..=DAY)).unwrap_or(default.pending_for),
        resolve_after: reader.value("resolve_after", duration(Duration::ZERO..=DAY)).unwrap_or(default.resolve_after),
    }
}

/// `errors`, above settings that hold what is not said.
pub(super) fn errors(reader: &mut Reader<'_, '_>, default: &ErrorSettings) -> ErrorSettings {
    ErrorSettings { allowed_rate: reader.value("allowed_rate", real(RATES)).unwrap_or(default.allowed_rate) }
}

/// What the default alarm is allowed.
fn alarm(reader: &mut Reader<'_, '_>, settings: &mut DriftSettings) {
    set(&mut settings.false_pages_per_month, reader.value("false_pages_per_month", real(0.0001..=100.0)));
    set(&mut settings.tolerance, reader.value("tolerance", real(0.0..=1.0)));
    set(&mut settings.effect_floor, reader.value("effect_floor", real(0.0..=1.0)));
}

/// The further windows and the seasons.
fn windows(reader: &mut Reader<'_, '_>, settings: &mut DriftSettings) {
    set(&mut settings.windows, reader.value("windows", lengths));
    set(&mut settings.half_life, reader.value("half_life", duration(10 * SECOND..=30 * DAY)));
    set(&mut settings.seasonal, reader.value("seasonal", flag));
    set(&mut settings.seasonal_weeks, reader.value("seasonal_weeks", whole(1..=52)));
    set(&mut settings.seasonal_memory, reader.value("seasonal_memory", size(1 << 20..=4 << 30)));
    set(&mut settings.learn_rows, reader.value("learn_rows", whole(0..=MAX_COUNT)));
}

/// What is told apart and told in detail.
fn exports(reader: &mut Reader<'_, '_>, settings: &mut DriftSettings) {
    set(&mut settings.bins_exported, reader.value("bins_exported", exported));
    let segment = reader.table("segment", segment);
    if segment.is_some() {
        settings.segment = segment;
    }
}

fn set<T>(setting: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *setting = given;
    }
}

/// Lengths of windows: not too many, each once.
fn lengths(value: &Value) -> Parsed<Vec<Duration>> {
    let lengths = list("an array of durations, such as [\"1m\", \"1h\"]", value, duration(MIN_WINDOW..=7 * DAY))?;
    at_most(MAX_WINDOWS, "lengths", lengths.len())?;
    let twice = lengths.iter().enumerate().find(|(index, length)| lengths[..*index].contains(length));
    match twice {
        Some((_, length)) => Err(ProblemKind::Invalid {
            expected: "each length once".to_owned(),
            found: format!("{:?} twice", duration_text(*length)),
        }),
        None => Ok(lengths),
    }
}

fn exported(value: &Value) -> Parsed<Vec<String>> {
    let names = names(value)?;
    at_most(MAX_BINS_EXPORTED, "names", names.len()).map(|()| names)
}

fn at_most(limit: usize, what: &str, found: usize) -> Parsed<()> {
    if found <= limit {
        return Ok(());
    }
    Err(ProblemKind::Invalid { expected: format!("at most {limit} {what}"), found: found.to_string() })
}

/// What drift is split by: exactly one of a feature and a header.
fn segment(reader: &mut Reader<'_, '_>) -> Option<SegmentSettings> {
    let is_given = [reader.has("feature"), reader.has("header")];
    let (feature, header) = (reader.value("feature", name), reader.value("header", name));
    let max_values = reader.value("max_values", whole(1..=MAX_SEGMENTS)).unwrap_or(SEGMENTS);
    match is_given {
        [true, true] => {
            let reason = "a segment is by a feature or by a header, not by both".to_owned();
            reader.own_problem(ProblemKind::Conflict { reason });
            return None;
        }
        [false, false] => {
            let expected = "feature = \"…\" or header = \"…\"".to_owned();
            reader.own_problem(ProblemKind::Missing { expected });
            return None;
        }
        _ => {}
    }
    let by = feature.map(SegmentSource::Feature).or(header.map(SegmentSource::Header))?;
    Some(SegmentSettings { by, max_values })
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
