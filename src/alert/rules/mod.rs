//! What is worth an alert: verdicts into conditions.
//!
//! Alarms of the judge are raised by evidence and let go after a while of clear weather, so that their conditions need no
//! further waiting. Verdicts that say what a window shows now (the presets `classic` and `evidently`, the rule on the 99th
//! percentile) wait for `pending_for` and `resolve_after`; for latency, the thresholds for raising and clearing differ.
//!
//! Invariant: no verdict without enough data ever raises or clears an alert.

mod answers;
mod columns;

use super::state::Observation;
use super::{Rule, Subject};
use crate::detect::alarm::Finding;
use crate::judge::VersionReport;
use serde_json::{Value, json};
use std::time::{Duration, SystemTime};

/// Every rule's view of one version. A round has the same subjects every time.
#[must_use]
pub fn observe(report: &VersionReport) -> Vec<Observation> {
    let mut observations: Vec<Observation> =
        report.columns.iter().flat_map(|column| columns::observe(report, column)).collect();
    observations.extend(columns::version_drift(report));
    observations.extend(answers::observe(report));
    observations
}

/// What raised an alarm, as JSON: enough to work it out again. Times are RFC 3339, evidence is in natural logarithms.
#[must_use]
pub fn alarm_view(finding: &Finding) -> Value {
    json!({
        "cause": finding.cause,
        "at": rfc3339(finding.at),
        "evidence": finding.ln_evidence,
        "threshold": finding.ln_threshold,
        "effect": finding.effect,
        "effect_lower": finding.effect_lower,
        "effect_floor": finding.floor,
        "samples": finding.samples,
        "since": rfc3339(finding.since),
        "counts": finding.counts,
    })
}

/// A unix time as RFC 3339, UTC.
#[must_use]
pub fn rfc3339(unix: Duration) -> String {
    // Beyond the year 9999 there is no such text; nothing is measured there.
    let latest = Duration::from_secs(253_402_300_799);
    humantime::format_rfc3339_millis(SystemTime::UNIX_EPOCH + unix.min(latest)).to_string()
}

fn subject(report: &VersionReport, rule: Rule, feature: Option<String>) -> Subject {
    Subject { rule, model: report.model.clone(), version: report.version, feature }
}

fn seconds(nanoseconds: Option<u64>) -> f64 {
    Duration::from_nanos(nanoseconds.unwrap_or(0)).as_secs_f64()
}
