//! The page that Prometheus reads: every count that exists, gathered when somebody asks.
//!
//! Nothing is exported from the hot path. A scrape sums the shards of every loaded version, sets the series, and renders
//! them; between scrapes metrics cost nothing.
//!
//! Invariant: labels are bounded by what is loaded and by fixed tables.

use super::{Desk, bin_series, rollout_series, shadow_series};
use crate::alert::AlertPhase;
use crate::catalog::{ArmLabel, Entry, Model, Placement};
use crate::detect::Verdict;
use crate::judge::VersionReport;
use crate::observe::{Phase, RefusalKind, Totals};
use crate::serve::acceptor::OpenConnections;
use crate::sketch::log_linear::nanoseconds;
use crate::telemetry::histogram::{Buckets, write_family};
use crate::telemetry::{Telemetry, names};
use std::sync::{Arc, PoisonError};
use std::time::SystemTime;

/// The identity under which counts are exported that belong to no loaded version.
const SERVER_SOURCE: u64 = 0;

/// The whole page.
pub(super) fn render(desk: &Desk) -> String {
    let telemetry = &desk.telemetry;
    let snapshot = desk.gate.catalog.snapshot();
    let models: Vec<(&Arc<Entry>, &Arc<Model>, Totals)> = snapshot
        .models
        .values()
        .flat_map(|entry| entry.loaded.values().map(move |model| (entry, model, model.counted())))
        .collect();
    server_series(desk);
    for entry in snapshot.models.values() {
        telemetry.counter_total(&names::SWAPS, &[("model", &entry.name)], SERVER_SOURCE, entry.swaps);
        shadow_series::set(telemetry, entry);
    }
    hook_series(desk);
    for (model, age) in desk.sources.sync_ages(SystemTime::now()) {
        telemetry.gauge(&names::REGISTRY_SYNC_AGE, &[("model", &model)], count(age));
    }
    for (entry, model, totals) in &models {
        version_series(telemetry, entry, model);
        answer_series(telemetry, model, totals);
        quality_series(telemetry, model, totals);
        bin_series::set(telemetry, entry, model, totals);
    }
    for report in desk.board.latest().iter() {
        drift_series(telemetry, report);
        segment_series(telemetry, report);
    }
    alert_series(desk);
    let mut page = telemetry.render();
    rollout_series::write(&mut page, &desk.rollouts.posted());
    write_family(&mut page, &names::REQUEST_DURATION, &durations(&models));
    page
}

fn server_series(desk: &Desk) {
    let telemetry = &desk.telemetry;
    telemetry.gauge(&names::BUILD_INFO, &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    telemetry.gauge(&names::REQUESTS_IN_FLIGHT, &[], count(desk.gate.recorder.in_flight()));
    telemetry.counter_total(&names::REQUESTS_HANDED_ON, &[], SERVER_SOURCE, desk.gate.recorder.handed_on());
    let connections: usize = desk.connections.iter().map(OpenConnections::count).sum();
    telemetry.gauge(&names::CONNECTIONS, &[], count(connections as u64));
    for (protocol, status, total) in desk.gate.recorder.refusals() {
        let code = status.to_string();
        let labels = [("model", ""), ("version", ""), ("arm", ""), ("protocol", protocol.name()), ("code", &code)];
        telemetry.counter_total(&names::REQUESTS, &labels, SERVER_SOURCE, total);
    }
    let dropped = desk.sinks().iter().map(|sink| sink.dropped()).sum();
    telemetry.counter_total(&names::DROPPED, &[("queue", "alert_webhook")], SERVER_SOURCE, dropped);
    telemetry.counter_total(&names::DROPPED, &[("queue", "state")], SERVER_SOURCE, desk.state.health.dropped());
    let dropped = desk.state.health.dropped_deliveries();
    telemetry.counter_total(&names::DROPPED, &[("queue", "hook_inbox")], SERVER_SOURCE, dropped);
    let is_persistent = desk.state.health.trouble().is_none();
    telemetry.gauge(&names::STATE_PERSISTENT, &[], f64::from(u8::from(is_persistent)));
}

/// Of every sender that is configured each outcome, also those that there were none of.
fn hook_series(desk: &Desk) {
    for (source, sender) in &desk.hooks.senders {
        for ((outcome, reason), total) in sender.counts.totals() {
            let labels = [("source", source.as_str()), ("outcome", outcome), ("reason", reason)];
            desk.telemetry.counter_total(&names::HOOK_DELIVERIES, &labels, SERVER_SOURCE, total);
        }
    }
}

fn version_series(telemetry: &Telemetry, entry: &Entry, model: &Model) {
    let arm = entry.arm_of(model.version);
    let role = arm.map_or("none", |arm| arm.role.as_str());
    let weight = arm.map_or(0.0, |arm| f64::from(arm.weight.hundredths()) / 10_000.0);
    let labels = [("model", model.name.as_str()), ("version", &model.version_text)];
    telemetry.gauge(&names::SPLIT_WEIGHT, &labels, weight);
    telemetry.gauge(&names::MODEL_LOAD, &labels, model.facts.load_time.as_secs_f64());
    let waiting = model.placement().map_or(0, Placement::queue_length);
    telemetry.gauge(&names::QUEUE_LENGTH, &labels, count(waiting as u64));
    let [name, version] = labels;
    telemetry.gauge(&names::MODEL_INFO, &[name, version, ("engine", model.engine_name()), ("arm", role)], 1.0);
}

fn answer_series(telemetry: &Telemetry, model: &Model, totals: &Totals) {
    let labels = [("model", model.name.as_str()), ("version", model.version_text.as_str())];
    let [name, version] = labels;
    telemetry.counter_total(&names::ROWS, &labels, model.lineage, totals.rows + totals.unrecorded_rows);
    for (arm, protocol, status, total) in totals.answers.statuses() {
        let code = status.to_string();
        let arm = ("arm", ArmLabel::ALL[arm].name());
        let labels = [name, version, arm, ("protocol", protocol.name()), ("code", &code)];
        telemetry.counter_total(&names::REQUESTS, &labels, model.lineage, total);
    }
}

/// Values by feature or output and kind of defect, where there are any, and refused requests by kind, always.
fn quality_series(telemetry: &Telemetry, model: &Model, totals: &Totals) {
    let refusals =
        RefusalKind::ALL.iter().zip(totals.refusals).map(|(kind, total)| (String::new(), kind.name(), total));
    let defects = model.defects(totals).into_iter().filter(|(_, _, total)| *total > 0);
    for (feature, kind, total) in defects.chain(refusals) {
        let labels =
            [("model", model.name.as_str()), ("version", &model.version_text), ("feature", &feature), ("kind", kind)];
        telemetry.counter_total(&names::DATA_QUALITY, &labels, model.lineage, total);
    }
}

fn drift_series(telemetry: &Telemetry, report: &VersionReport) {
    let version = report.version.to_string();
    for column in &report.columns {
        let labels = [("model", report.model.as_str()), ("version", &version), ("feature", &column.name)];
        if let Some((ln_evidence, ln_threshold)) = column.evidence {
            telemetry.gauge(&names::DRIFT_EVIDENCE, &labels, ln_evidence / ln_threshold);
        }
        let min_samples = report.settings.drift.min_samples;
        if let Some(is_constant) = column.quality.as_ref().and_then(|quality| quality.is_constant(min_samples)) {
            telemetry.gauge(&names::FEATURE_CONSTANT, &labels, f64::from(u8::from(is_constant)));
        }
        let Some(distances) = column.distances else { continue };
        telemetry.gauge(&names::DRIFT_PSI, &labels, distances.psi);
        telemetry.gauge(&names::DRIFT_JS, &labels, distances.js);
        if let Some(ks) = distances.ks {
            telemetry.gauge(&names::DRIFT_KS, &labels, ks);
        }
        if let Some(wasserstein) = distances.wasserstein {
            telemetry.gauge(&names::DRIFT_WASSERSTEIN, &labels, wasserstein);
        }
    }
}

/// Of each segment the largest PSI, and that of the features that are exported in detail: at most 65 series for each of
/// 65 segments. The worst features by name were considered and left: they change, and a series that has ended would show
/// its last value for minutes.
fn segment_series(telemetry: &Telemetry, report: &VersionReport) {
    let version = report.version.to_string();
    let exported = &report.settings.drift.bins_exported;
    for segment in &report.segments {
        let set = |feature: &str, psi: f64| {
            let labels = [
                ("model", report.model.as_str()),
                ("version", &version),
                ("feature", feature),
                ("segment", &segment.value),
            ];
            telemetry.gauge(&names::SEGMENT_DRIFT_PSI, &labels, psi);
        };
        let judged = segment.columns.iter().filter(|column| matches!(column.verdict, Verdict::Ok | Verdict::Drift));
        let mut largest: Option<f64> = None;
        for column in judged {
            let Some(distances) = column.measure.distances else { continue };
            largest = Some(largest.map_or(distances.psi, |largest| largest.max(distances.psi)));
            if let Some(shown) = report.columns.get(column.column).filter(|shown| exported.contains(&shown.name)) {
                set(&shown.name, distances.psi);
            }
        }
        if let Some(largest) = largest {
            set("", largest);
        }
    }
}

fn alert_series(desk: &Desk) {
    let book = desk.alerts.lock().unwrap_or_else(PoisonError::into_inner);
    // Ended alerts come first, so that an open one of the same subject has the last word.
    let mut alerts: Vec<_> = book.all().collect();
    alerts.reverse();
    for alert in alerts {
        let value = match alert.state {
            AlertPhase::Resolved => 0.0,
            AlertPhase::Pending => 1.0,
            AlertPhase::Firing => 2.0,
        };
        let feature = alert.feature.as_deref().unwrap_or_default();
        let labels =
            [("rule", alert.rule.name()), ("model", &alert.model), ("version", &alert.version), ("feature", feature)];
        desk.telemetry.gauge(&names::ALERT_STATE, &labels, value);
    }
}

fn durations<'a>(models: &'a [(&Arc<Entry>, &'a Arc<Model>, Totals)]) -> Vec<Buckets<'a>> {
    models
        .iter()
        .flat_map(|(_, model, totals)| {
            Phase::ALL.into_iter().filter_map(move |phase| {
                let counts = totals.answers.durations(phase);
                let bins: Vec<(u64, u64)> = counts
                    .iter()
                    .enumerate()
                    .filter(|(_, count)| **count > 0)
                    .map(|(index, count)| (nanoseconds::upper(index), *count))
                    .collect();
                (!bins.is_empty()).then(|| Buckets {
                    labels: vec![("model", &model.name), ("version", &model.version_text), ("phase", phase.name())],
                    bins,
                    sum_ns: totals.answers.duration_sum(phase),
                })
            })
        })
        .collect()
}

#[expect(clippy::cast_precision_loss, reason = "counts of requests and connections at one moment are small")]
fn count(value: u64) -> f64 {
    value as f64
}
