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
use crate::judge::VersionReport;
use std::time::Duration;

/// Every rule's view of one version. A round has the same subjects every time.
#[must_use]
pub fn observe(report: &VersionReport) -> Vec<Observation> {
    let mut observations: Vec<Observation> =
        report.columns.iter().flat_map(|column| columns::observe(report, column)).collect();
    observations.extend(columns::version_drift(report));
    observations.extend(answers::observe(report));
    observations
}

fn subject(report: &VersionReport, rule: Rule, feature: Option<String>) -> Subject {
    Subject { rule, model: report.model.clone(), version: report.version, feature }
}

fn seconds(nanoseconds: Option<u64>) -> f64 {
    Duration::from_nanos(nanoseconds.unwrap_or(0)).as_secs_f64()
}
