//! One loaded version under watch: its windows, and what the detectors say of them.
//!
//! Invariant: a watch lives as long as the loaded version; windows start empty with it.

use super::board::{ColumnReport, VersionReport};
use crate::catalog::{Entry, Model};
use crate::config::ModelSettings;
use crate::detect::{FeatureVerdict, LatencyRule, Rule, judge_column, judge_latency, judge_version};
use crate::observe::{Phase, ReadingPlan, RecordedColumn, Recorder, Side, Totals, Window};
use crate::sketch::{Live, SUMS};
use std::sync::Arc;
use std::time::Duration;

/// The windows of one loaded version.
#[derive(Debug)]
pub(super) struct Watch {
    plan: ReadingPlan,
    values: Window,
    latency: Window,
}

impl Watch {
    /// Windows that start with the version: what it served before the first look belongs to them.
    pub(super) fn new(recorder: &Recorder, settings: &ModelSettings) -> Self {
        let totals = recorder.no_totals();
        let plan = ReadingPlan::new(recorder.columns());
        let (values, latency) = (values_window(settings, &plan, &totals), latency_window(settings, &totals));
        Self { plan, values, latency }
    }

    /// Takes in the totals of `now` and judges the windows.
    pub(super) fn look(&mut self, entry: &Entry, model: &Model, totals: &Totals, now: Duration) -> VersionReport {
        self.follow_settings(&entry.settings, totals);
        self.values.roll(now, &self.plan.read(totals), &totals.sums);
        self.latency.roll(now, totals.answers.durations(Phase::Total), &[]);
        let (counts, sums) = (self.values.counts(), self.values.sums());
        let drift = &entry.settings.drift;
        let rule = Rule::Excess { threshold: drift.threshold, min_samples: drift.min_samples };
        let columns: Vec<ColumnReport> = model
            .recorder
            .columns()
            .iter()
            .enumerate()
            .map(|(index, column)| {
                let counts = &counts[self.plan.column(index)];
                report_column(column, drift.critical.contains(&column.name), (counts, &sums), &rule)
            })
            .collect();
        let features: Vec<FeatureVerdict> = columns
            .iter()
            .filter(|column| column.side == Side::Input)
            .map(|column| FeatureVerdict { verdict: column.verdict, critical: column.critical })
            .collect();
        let latency = LatencyRule {
            p99_limit_ns: u64::try_from(entry.settings.latency.p99_limit.as_nanos()).unwrap_or(u64::MAX),
            min_requests: entry.settings.latency.min_requests,
        };
        VersionReport {
            model: model.name.clone(),
            version: model.version,
            arm: entry.arm_of(model.version).map_or("none", |arm| arm.role.as_str()),
            window: self.values.length(),
            samples: counts.last().copied().unwrap_or(0),
            verdict: judge_version(&features),
            no_reference: model.profile.as_ref().err().cloned(),
            columns,
            latency: judge_latency(&self.latency.counts(), &latency),
            settings: Arc::clone(&entry.settings),
        }
    }

    /// A window of another length starts anew, from what has been counted so far.
    fn follow_settings(&mut self, settings: &ModelSettings, totals: &Totals) {
        if self.values.length() != settings.drift.window {
            self.values = values_window(settings, &self.plan, totals);
        }
        if self.latency.length() != settings.latency.window {
            self.latency = latency_window(settings, totals);
        }
    }
}

/// The columns' counters, and behind them one for rows.
fn values_window(settings: &ModelSettings, plan: &ReadingPlan, totals: &Totals) -> Window {
    Window::new(settings.drift.window, plan.read(totals), totals.sums.clone())
}

fn latency_window(settings: &ModelSettings, totals: &Totals) -> Window {
    Window::new(settings.latency.window, totals.answers.durations(Phase::Total).to_vec(), Vec::new())
}

fn report_column(
    column: &RecordedColumn,
    critical: bool,
    (counts, sums): (&[u64], &[u64]),
    rule: &Rule,
) -> ColumnReport {
    let mut live_sums = [0_i64; SUMS];
    for (live, &sum) in live_sums.iter_mut().zip(&sums[column.sums.clone()]) {
        *live = sum.cast_signed();
    }
    let live = Live { counts, sums: live_sums };
    let judged = judge_column(column.reference.as_ref(), &live, rule);
    ColumnReport {
        name: column.name.clone(),
        side: column.side,
        samples: judged.samples,
        distances: judged.distances,
        excess: judged.excess,
        verdict: judged.verdict,
        critical: critical || column.critical,
    }
}
