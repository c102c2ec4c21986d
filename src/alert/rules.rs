//! What is worth an alert: verdicts into conditions.
//!
//! The thresholds for raising and for clearing differ, so that a value between them changes nothing: drift clears below
//! `resolve_threshold`, latency below nine tenths of its limit.
//!
//! Invariant: no verdict without enough data ever raises or clears an alert.

use super::state::{Condition, Observation};
use super::{Rule, Severity, Subject};
use crate::config::DriftPreset;
use crate::detect::{LatencyVerdict, Verdict};
use crate::judge::{ColumnReport, VersionReport};
use crate::observe::Side;
use serde_json::json;
use std::time::Duration;

/// A latency alert clears below this share of its limit.
const LATENCY_CLEAR_SHARE: f64 = 0.9;

/// Every rule's view of one version.
#[must_use]
pub fn observe(report: &VersionReport) -> Vec<Observation> {
    let mut observations: Vec<Observation> =
        report.columns.iter().filter_map(|column| feature_drift(report, column)).collect();
    observations.extend(version_drift(report));
    observations.push(latency(report));
    observations
}

fn feature_drift(report: &VersionReport, column: &ColumnReport) -> Option<Observation> {
    let drift = &report.settings.drift;
    let condition = match column.verdict {
        Verdict::NoReference => return None,
        Verdict::NotEnoughData => Condition::Unknown,
        // A latched alarm outlasts the traffic that set it off; without any there is nothing to show.
        Verdict::Drift if column.excess.is_none() => Condition::Unknown,
        Verdict::Drift => Condition::Breach,
        Verdict::Ok if column.excess.is_some_and(|excess| excess < drift.resolve_threshold) => Condition::Clear,
        Verdict::Ok => Condition::Between,
    };
    let value = column.excess.unwrap_or(0.0);
    let what = if column.side == Side::Input { "feature" } else { "output" };
    let distances = column.distances;
    Some(Observation {
        condition,
        severity: if column.critical { Severity::Critical } else { Severity::Warning },
        value,
        threshold: drift.threshold,
        samples: column.samples,
        window: report.window,
        pending_for: drift.pending_for,
        // A latched alarm has been calm for that long already when it lets go.
        resolve_after: if drift.preset == DriftPreset::Default { Duration::ZERO } else { drift.resolve_after },
        summary: format!(
            "{what} \"{}\" of {} version {} differs from its reference: PSI is {value:.3} above what {} samples \
             explain (limit {})",
            column.name, report.model, report.version, column.samples, drift.threshold
        ),
        resolved_summary: format!(
            "resolved: {what} \"{}\" of {} version {} is like its reference again: PSI is {value:.3} above what {} \
             samples explain (clears below {})",
            column.name, report.model, report.version, column.samples, drift.resolve_threshold
        ),
        evidence: json!({
            "psi": distances.map(|distances| distances.psi),
            "psi_excess": column.excess,
            "js": distances.map(|distances| distances.js),
            "ks": distances.and_then(|distances| distances.ks),
            "wasserstein": distances.and_then(|distances| distances.wasserstein),
            "tv": distances.map(|distances| distances.tv),
            "side": what,
            "arm": report.arm,
        }),
        subject: subject(report, Rule::FeatureDrift, Some(column.name.clone())),
    })
}

fn version_drift(report: &VersionReport) -> Option<Observation> {
    let condition = match report.verdict {
        Verdict::NoReference => return None,
        Verdict::NotEnoughData => Condition::Unknown,
        Verdict::Drift => Condition::Breach,
        Verdict::Ok => Condition::Clear,
    };
    let features = || report.columns.iter().filter(|column| column.side == Side::Input);
    let judged = features().filter(|column| matches!(column.verdict, Verdict::Ok | Verdict::Drift)).count();
    let names: Vec<&str> =
        features().filter(|column| column.verdict == Verdict::Drift).map(|column| column.name.as_str()).collect();
    let drifting = names.len();
    let drift = &report.settings.drift;
    Some(Observation {
        condition,
        severity: Severity::Critical,
        value: share(drifting, judged),
        threshold: 0.5,
        samples: report.samples,
        window: report.window,
        pending_for: drift.pending_for,
        resolve_after: drift.resolve_after,
        summary: format!(
            "{} version {} drifts: {drifting} of {judged} features differ from their reference",
            report.model, report.version
        ),
        resolved_summary: format!(
            "resolved: {} version {} no longer drifts: {drifting} of {judged} features differ from their reference",
            report.model, report.version
        ),
        evidence: json!({ "features": names, "judged": judged, "arm": report.arm }),
        subject: subject(report, Rule::VersionDrift, None),
    })
}

fn latency(report: &VersionReport) -> Observation {
    let settings = &report.settings.latency;
    let p99 = seconds(report.latency.p99_ns);
    let limit = settings.p99_limit.as_secs_f64();
    let condition = match report.latency.verdict {
        LatencyVerdict::NotEnoughData => Condition::Unknown,
        LatencyVerdict::Slow => Condition::Breach,
        LatencyVerdict::Ok if p99 < limit * LATENCY_CLEAR_SHARE => Condition::Clear,
        LatencyVerdict::Ok => Condition::Between,
    };
    Observation {
        condition,
        severity: Severity::Critical,
        value: p99,
        threshold: limit,
        samples: report.latency.requests,
        window: settings.window,
        pending_for: settings.pending_for,
        resolve_after: settings.resolve_after,
        summary: format!(
            "{} version {} is slow: the 99th percentile of {} requests is {p99:.6} s (limit {limit} s)",
            report.model, report.version, report.latency.requests
        ),
        resolved_summary: format!(
            "resolved: {} version {} is fast enough again: the 99th percentile of {} requests is {p99:.6} s (limit \
             {limit} s)",
            report.model, report.version, report.latency.requests
        ),
        evidence: json!({
            "p50_seconds": seconds(report.latency.p50_ns),
            "p99_seconds": p99,
            "arm": report.arm,
        }),
        subject: subject(report, Rule::Latency, None),
    }
}

fn subject(report: &VersionReport, rule: Rule, feature: Option<String>) -> Subject {
    Subject { rule, model: report.model.clone(), version: report.version, feature }
}

#[expect(clippy::cast_precision_loss, reason = "counts of features are far below 2^53")]
fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn seconds(nanoseconds: Option<u64>) -> f64 {
    Duration::from_nanos(nanoseconds.unwrap_or(0)).as_secs_f64()
}
