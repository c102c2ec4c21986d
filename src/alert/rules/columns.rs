//! Alerts on features, outputs and the version as a whole.
//!
//! Invariant: a column has at most one open alert of drift and one of data quality.

use super::super::state::{Condition, Observation};
use super::super::{Rule, Severity};
use super::{alarm_view, subject};
use crate::config::DriftPreset;
use crate::detect::Verdict;
use crate::detect::alarm::{Cause, Finding};
use crate::judge::{ColumnReport, VersionReport};
use crate::observe::Side;
use serde_json::{Value, json};
use std::time::Duration;

/// The drift and the data quality of one column; nothing without a reference.
pub(super) fn observe(report: &VersionReport, column: &ColumnReport) -> Vec<Observation> {
    if column.verdict == Verdict::NoReference {
        return Vec::new();
    }
    let has_alarm = report.settings.drift.preset == DriftPreset::Default;
    let drift = if has_alarm { alarm(report, column, Rule::FeatureDrift) } else { window(report, column) };
    vec![drift, alarm(report, column, Rule::DataQuality)]
}

/// By the alarm, which waits for clear weather itself.
fn alarm(report: &VersionReport, column: &ColumnReport, rule: Rule) -> Observation {
    let finding = if rule == Rule::FeatureDrift { &column.finding } else { &column.defect }.as_ref();
    let condition = match (finding, column.verdict) {
        (Some(_), _) => Condition::Breach,
        (None, Verdict::NotEnoughData) => Condition::Unknown,
        (None, _) => Condition::Clear,
    };
    let drift = &report.settings.drift;
    let (value, threshold, samples) =
        finding.map_or((0.0, drift.effect_floor, 0), |finding| (finding.effect, finding.floor, finding.samples));
    Observation {
        condition,
        severity: severity(column),
        value,
        threshold,
        samples,
        window: report.window,
        pending_for: Duration::ZERO,
        resolve_after: Duration::ZERO,
        summary: finding.map(|finding| summary(report, column, finding)).unwrap_or_default(),
        resolved_summary: format!("resolved: {} is like its reference again", named(report, column)),
        evidence: evidence(report, column, finding),
        subject: subject(report, rule, Some(column.name.clone())),
    }
}

fn summary(report: &VersionReport, column: &ColumnReport, finding: &Finding) -> String {
    let Finding { effect, effect_lower, samples, ln_evidence, ln_threshold, .. } = finding;
    let strength = format!("evidence e^{ln_evidence:.1}, needed e^{ln_threshold:.1}");
    let column = named(report, column);
    let rate = |what: &str| {
        format!(
            "{column}: {:.2} % of {samples} values {what}, at least {:.2} % ({strength})",
            effect * 100.0,
            effect_lower * 100.0
        )
    };
    match finding.cause {
        Cause::Missing => rate("are missing"),
        Cause::Infinite => rate("are infinite"),
        Cause::OutOfRange => rate("lie outside the range of the reference"),
        Cause::UnseenCategory => rate("are of categories that the reference does not have"),
        Cause::Drift | Cause::Exceedance => format!(
            "{column} differs from its reference: PSI is {effect:.3} above what {samples} samples explain, at least \
             {effect_lower:.3} ({strength})"
        ),
    }
}

/// By what the preset's rule says of the window now.
fn window(report: &VersionReport, column: &ColumnReport) -> Observation {
    let drift = &report.settings.drift;
    let condition = match column.verdict {
        Verdict::Drift => Condition::Breach,
        Verdict::Ok => Condition::Clear,
        Verdict::NotEnoughData | Verdict::NoReference => Condition::Unknown,
    };
    let (value, threshold) = column.outcome.map_or((0.0, 0.0), |outcome| (outcome.statistic, outcome.threshold));
    let test = column.outcome.map_or("its test".to_owned(), |outcome| format!("{:?}", outcome.test));
    let said = format!("{} over {} samples is {value:.4} (limit {threshold})", test, column.samples);
    Observation {
        condition,
        severity: severity(column),
        value,
        threshold,
        samples: column.samples,
        window: report.window,
        pending_for: drift.pending_for,
        resolve_after: drift.resolve_after,
        summary: format!("{} differs from its reference: {said}", named(report, column)),
        resolved_summary: format!("resolved: {} is like its reference again: {said}", named(report, column)),
        evidence: evidence(report, column, None),
        subject: subject(report, Rule::FeatureDrift, Some(column.name.clone())),
    }
}

/// The version as a whole.
pub(super) fn version_drift(report: &VersionReport) -> Option<Observation> {
    let condition = match report.verdict {
        Verdict::NoReference => return None,
        Verdict::NotEnoughData => Condition::Unknown,
        Verdict::Drift => Condition::Breach,
        Verdict::Ok => Condition::Clear,
    };
    let is_counted =
        |column: &&ColumnReport| column.side == Side::Input || report.settings.drift.preset == DriftPreset::Evidently;
    let counted = || report.columns.iter().filter(is_counted);
    let judged = counted().filter(|column| matches!(column.verdict, Verdict::Ok | Verdict::Drift)).count();
    let names: Vec<&str> =
        counted().filter(|column| column.verdict == Verdict::Drift).map(|column| column.name.as_str()).collect();
    let (drifting, drift) = (names.len(), &report.settings.drift);
    let has_alarms = drift.preset == DriftPreset::Default;
    let said = format!("{drifting} of {judged} features differ from their reference");
    Some(Observation {
        condition,
        severity: Severity::Critical,
        value: share(drifting, judged),
        threshold: 0.5,
        samples: report.samples,
        window: report.window,
        pending_for: if has_alarms { Duration::ZERO } else { drift.pending_for },
        resolve_after: if has_alarms { Duration::ZERO } else { drift.resolve_after },
        summary: format!("{} version {} drifts: {said}", report.model, report.version),
        resolved_summary: format!("resolved: {} version {} no longer drifts: {said}", report.model, report.version),
        evidence: json!({ "features": names, "judged": judged, "arm": report.arm }),
        subject: subject(report, Rule::VersionDrift, None),
    })
}

fn severity(column: &ColumnReport) -> Severity {
    if column.critical { Severity::Critical } else { Severity::Warning }
}

fn named(report: &VersionReport, column: &ColumnReport) -> String {
    format!("{} \"{}\" of {} version {}", kind(column), column.name, report.model, report.version)
}

fn kind(column: &ColumnReport) -> &'static str {
    if column.side == Side::Input { "feature" } else { "output" }
}

fn evidence(report: &VersionReport, column: &ColumnReport, finding: Option<&Finding>) -> Value {
    let distances = column.distances;
    let mut evidence = json!({
        "psi": distances.map(|distances| distances.psi),
        "psi_excess": column.excess,
        "js": distances.map(|distances| distances.js),
        "ks": distances.and_then(|distances| distances.ks),
        "wasserstein": distances.and_then(|distances| distances.wasserstein),
        "tv": distances.map(|distances| distances.tv),
        "side": kind(column),
        "arm": report.arm,
    });
    match finding {
        Some(finding) => evidence["alarm"] = alarm_view(finding),
        None => evidence["test"] = json!(column.outcome),
    }
    evidence
}

#[expect(clippy::cast_precision_loss, reason = "counts of features are far below 2^53")]
fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}
