//! Alerts on how a version answers: slow requests, errors, requests that do not fit.
//!
//! Invariant: each of the three has one subject, whichever rule decides on it.

use super::super::state::{Condition, Observation};
use super::super::{Rule, Severity};
use super::{alarm_view, seconds, subject};
use crate::config::LatencyRuleChoice;
use crate::detect::LatencyVerdict;
use crate::judge::{RateReport, VersionReport};
use serde_json::json;
use std::time::Duration;

/// A latency alert by the 99th percentile clears below this share of its limit.
const LATENCY_CLEAR_SHARE: f64 = 0.9;

/// Latency, errors and refusals.
pub(super) fn observe(report: &VersionReport) -> [Observation; 3] {
    let limit = report.settings.latency.p99_limit.as_secs_f64();
    let answers = &report.answers;
    let slow = match report.settings.latency.rule {
        LatencyRuleChoice::P99 => p99(report),
        LatencyRuleChoice::Sequential => {
            rate(report, Rule::Latency, &answers.slow, &format!("requests take longer than {limit} s"))
        }
    };
    [
        slow,
        rate(report, Rule::Errors, &answers.failed, "answers are failures of the server"),
        rate(report, Rule::Refusals, &answers.refused, "requests do not fit the version's inputs"),
    ]
}

/// By the alarm on a rate, which waits for clear weather itself.
fn rate(report: &VersionReport, rule: Rule, rate: &RateReport, what: &str) -> Observation {
    let (model, version) = (&report.model, report.version);
    let share = if rate.trials > 0 { rate.events as f64 / rate.trials as f64 } else { 0.0 };
    let said = format!("{:.2} % of {} {what} ({:.2} % may)", share * 100.0, rate.trials, rate.allowed * 100.0);
    let latency = &report.latency;
    Observation {
        condition: match (&rate.finding, rate.trials) {
            (Some(_), _) => Condition::Breach,
            (None, 0) => Condition::Unknown,
            (None, _) => Condition::Clear,
        },
        severity: if rule == Rule::Refusals { Severity::Warning } else { Severity::Critical },
        value: share,
        threshold: rate.allowed,
        samples: rate.trials,
        window: report.settings.latency.window,
        pending_for: Duration::ZERO,
        resolve_after: Duration::ZERO,
        summary: format!("{model} version {version}: {said}"),
        resolved_summary: format!("resolved: {model} version {version}: {said}"),
        evidence: json!({
            "p50_seconds": seconds(latency.p50_ns),
            "p99_seconds": seconds(latency.p99_ns),
            "alarm": rate.finding.as_ref().map(alarm_view),
            "arm": report.arm,
        }),
        subject: subject(report, rule, None),
    }
}

/// By the 99th percentile of the window.
fn p99(report: &VersionReport) -> Observation {
    let settings = &report.settings.latency;
    let p99 = seconds(report.latency.p99_ns);
    let limit = settings.p99_limit.as_secs_f64();
    let condition = match report.latency.verdict {
        LatencyVerdict::NotEnoughData => Condition::Unknown,
        LatencyVerdict::Slow => Condition::Breach,
        LatencyVerdict::Ok if p99 < limit * LATENCY_CLEAR_SHARE => Condition::Clear,
        LatencyVerdict::Ok => Condition::Between,
    };
    let (model, version, requests) = (&report.model, report.version, report.latency.requests);
    let said = format!("the 99th percentile of {requests} requests is {p99:.6} s (limit {limit} s)");
    Observation {
        condition,
        severity: Severity::Critical,
        value: p99,
        threshold: limit,
        samples: requests,
        window: settings.window,
        pending_for: settings.pending_for,
        resolve_after: settings.resolve_after,
        summary: format!("{model} version {version} is slow: {said}"),
        resolved_summary: format!("resolved: {model} version {version} is fast enough again: {said}"),
        evidence: json!({ "p50_seconds": seconds(report.latency.p50_ns), "p99_seconds": p99, "arm": report.arm }),
        subject: subject(report, Rule::Latency, None),
    }
}
