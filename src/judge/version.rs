//! One loaded version under watch: its windows, its alarms, and what they say.
//!
//! Pure but for what it is handed: time and totals come as arguments, so that a day is judged in a test within
//! milliseconds, and a bench measures nothing else.
//!
//! Invariant: a watch lives as long as the loaded version. Its windows begin with the version, or where a snapshot of
//! the same version on the same profile left off.

use super::alarm::ColumnAlarm;
use super::answers::{AnswerReport, AnswerWatch};
use super::board::{BlockReport, ColumnReport, SegmentReport, WindowInfo};
use super::column::{ColumnWatch, Seen, has_rows, profile_season};
use super::evidence::EvidenceWatch;
use super::history::History;
use super::measure::{measure, reference_groups};
use super::segments::SegmentWatch;
use crate::config::{DriftPreset, DriftSettings, ModelSettings};
use crate::detect::alarm::{AlarmPlan, AlarmSettings};
use crate::detect::{FeatureVerdict, Verdict, judge_version, judge_version_by_share};
use crate::observe::{
    BlockCounts, ReadingPlan, RecordedColumn, Side, Totals, WindowCounts, WindowSettings, Windows, hour_of_week,
};
use std::sync::Arc;
use std::time::Duration;

/// The windows and alarms of one loaded version.
#[derive(Debug)]
pub struct VersionWatch {
    pub(super) settings: Arc<ModelSettings>,
    pub(super) windows: Windows,
    pub(super) columns: Vec<ColumnWatch>,
    pub(super) answers: AnswerWatch,
    pub(super) history: History,
    /// What alarms have counted.
    pub(super) evidence: EvidenceWatch,
    /// How the budget of false pages is divided.
    plan: AlarmPlan,
    /// The hour of the week that alarms compare with, where hours are known.
    hour: Option<usize>,
    /// The primary window by segment.
    segments: SegmentWatch,
    /// The last complete blocks, which are measured once.
    blocks: Vec<Arc<BlockReport>>,
}

/// What a look found.
#[derive(Clone, Debug)]
pub struct Look {
    /// Length of the primary window.
    pub window: Duration,
    /// By how much more it may cover.
    pub resolution: Duration,
    /// Rows in it.
    pub samples: u64,
    /// Whether the version drifts.
    pub verdict: Verdict,
    /// The other windows.
    pub windows: Vec<WindowInfo>,
    /// The last complete block of each length.
    pub blocks: Vec<Arc<BlockReport>>,
    /// Every column.
    pub columns: Vec<ColumnReport>,
    /// The counters of the primary window.
    pub primary: Arc<WindowCounts>,
    /// How far every column was from its reference over the last day.
    pub history: Arc<History>,
    /// Every segment.
    pub segments: Vec<SegmentReport>,
    /// How it answers.
    pub answers: AnswerReport,
}

impl VersionWatch {
    /// Windows that start with the version: what it served before the first look belongs to them.
    #[must_use]
    pub fn new(columns: &[RecordedColumn], settings: &Arc<ModelSettings>) -> Self {
        let windows = Windows::new(ReadingPlan::new(columns), window_settings(&settings.drift));
        let plan = plan(columns, settings);
        Self {
            windows,
            columns: columns.iter().map(|column| ColumnWatch { alarm: ColumnAlarm::new(&plan, column) }).collect(),
            answers: AnswerWatch::new(settings, &plan),
            history: History::new(columns.len()),
            evidence: EvidenceWatch::default(),
            plan,
            hour: None,
            segments: SegmentWatch::default(),
            blocks: Vec::new(),
            settings: Arc::clone(settings),
        }
    }

    /// Goes on with other settings, if they are others. By another budget what was counted is weighed anew; what is raised
    /// stays raised, because a budget says nothing about whether the trouble is over.
    pub fn follow(&mut self, settings: &Arc<ModelSettings>, columns: &[RecordedColumn], totals: &Totals) {
        if Arc::ptr_eq(&self.settings, settings) {
            return;
        }
        self.windows.follow(&window_settings(&settings.drift));
        let plan = plan(columns, settings);
        if plan != self.plan {
            for (watch, column) in self.columns.iter_mut().zip(columns) {
                watch.alarm.follow(&plan, column);
            }
            (self.plan, self.hour) = (plan, None);
        }
        self.answers.follow(settings, &self.plan, totals);
        self.blocks.clear();
        self.settings = Arc::clone(settings);
    }

    /// Looks at the evidence of every column, and at nothing else. `at` is monotonic unix time; `cells` and `keyed` are the
    /// recorder's. Answers whether an alarm was raised.
    pub fn glance(&mut self, at: Duration, columns: &[RecordedColumn], (cells, keyed): (&[u64], &[u64])) -> bool {
        let preset = self.settings.drift.preset;
        if self.evidence.is_new() {
            // What was counted before the first look belongs to the version as well.
            let nothing = EvidenceWatch::of_nothing(cells.len());
            for (watch, column) in self.columns.iter_mut().zip(columns) {
                watch.alarm.glance(at, preset, nothing.of(column));
            }
        }
        self.evidence.take_in(cells, keyed);
        self.follow_hour(at, columns);
        let mut is_raised = false;
        for (watch, column) in self.columns.iter_mut().zip(columns) {
            is_raised |= watch.alarm.glance(at, preset, self.evidence.of(column));
        }
        is_raised
    }

    /// Takes in the totals of `at`, monotonic unix time, and looks at everything. `columns` are those it was made for.
    pub fn look(&mut self, at: Duration, columns: &[RecordedColumn], totals: &Totals) -> Look {
        self.glance(at, columns, (&totals.cells, &totals.keyed));
        self.windows.roll(at, totals);
        self.measure_blocks(columns);
        let seen = Seen::new(at, &self.windows);
        let (settings, evidence) = (&self.settings, &self.evidence);
        let reports: Vec<ColumnReport> = self
            .columns
            .iter_mut()
            .zip(columns.iter().enumerate())
            .map(|(watch, column)| watch.look(column, &seen, &settings.drift, evidence.of(column.1)))
            .collect();
        let enough = |column: &ColumnReport| column.excess.filter(|_| column.samples >= settings.drift.min_samples);
        self.history.note(at, reports.iter().map(enough));
        Look {
            window: seen.primary.length,
            resolution: seen.primary.resolution,
            samples: seen.primary.counts.last().copied().unwrap_or(0),
            verdict: verdict(&reports, settings.drift.preset),
            windows: window_infos(&self.windows),
            blocks: self.blocks.clone(),
            columns: reports,
            primary: Arc::new(seen.primary),
            history: Arc::new(self.history.clone()),
            segments: self.segments.look(at, columns, &totals.segments, &settings.drift),
            answers: self.answers.look(at, totals, settings),
        }
    }

    /// Where hours of the week are known, alarms compare with the present one.
    fn follow_hour(&mut self, at: Duration, columns: &[RecordedColumn]) {
        let hour = hour_of_week(at);
        let is_new = self.hour != Some(hour);
        let learned = if is_new { self.windows.season_of_hour(hour) } else { None };
        let of_profile = |column: &RecordedColumn| column.reference.as_ref().is_some_and(|r| r.seasons.is_some());
        if !is_new || learned.is_none() && !columns.iter().any(of_profile) {
            return;
        }
        self.hour = Some(hour);
        let plan = self.windows.plan();
        for (index, (watch, column)) in self.columns.iter_mut().zip(columns).enumerate() {
            let Some(reference) = &column.reference else { continue };
            let of_window = || learned.as_ref().map(|season| season[plan.column_groups(index)].to_vec());
            if let Some(season) = profile_season(reference, &[(hour, 1.0)]).or_else(of_window) {
                watch.alarm.season(at, &season, &reference_groups(reference), self.evidence.of(column));
            }
        }
    }

    /// Bytes that the windows and alarms hold; hours of the week, which have a budget of their own, not included.
    #[must_use]
    pub fn resident_bytes(&self) -> usize {
        size_of::<Self>() - size_of::<Windows>()
            + self.windows.resident_bytes()
            + self.columns.capacity() * size_of::<ColumnWatch>()
            + self.history.resident_bytes()
            + self.columns.iter().map(|column| column.alarm.resident_bytes()).sum::<usize>()
            + self.evidence.resident_bytes()
            + self.segments.resident_bytes()
    }

    /// Whether hours of the week were asked for but would take more memory than they may.
    #[must_use]
    pub fn lacks_seasons(&self) -> bool {
        self.windows.lacks_seasons()
    }

    fn measure_blocks(&mut self, columns: &[RecordedColumn]) {
        let plan = self.windows.plan();
        let known = &self.blocks;
        let report = |block: BlockCounts| {
            let is_same = |known: &&Arc<BlockReport>| (known.length, known.start) == (block.length, block.start);
            if let Some(known) = known.iter().find(is_same) {
                return Arc::clone(known);
            }
            let measures = columns.iter().enumerate().map(|(index, column)| {
                let expected = column.reference.as_ref().map(reference_groups);
                measure(expected.as_deref(), &block.counts[plan.column_groups(index)])
            });
            Arc::new(BlockReport { length: block.length, start: block.start, columns: measures.collect() })
        };
        let blocks = self.windows.blocks().map(report).collect();
        self.blocks = blocks;
    }
}

/// The budget over the columns that have something to be compared with. Those that make the version drift by themselves,
/// as critical ones do and one of two features, may cost two pages at once.
fn plan(columns: &[RecordedColumn], settings: &ModelSettings) -> AlarmPlan {
    let drift = &settings.drift;
    let settings = AlarmSettings {
        false_pages_per_month: drift.false_pages_per_month,
        tolerance_psi: drift.tolerance,
        effect_floor: drift.effect_floor,
    };
    let judged = || columns.iter().filter(|column| has_rows(column));
    let features = judged().filter(|column| column.side == Side::Input).count();
    let shares = judged().map(|column| {
        let is_critical = column.critical || drift.critical.contains(&column.name);
        alarm_shares(column.side == Side::Input, is_critical, features)
    });
    AlarmPlan::new(&settings, shares.sum())
}

/// Shares of the budget that a column gets among so many judged features: as many as its finding may raise alerts.
#[must_use]
pub fn alarm_shares(is_feature: bool, is_critical: bool, features: usize) -> usize {
    1 + usize::from(is_feature && (is_critical || features <= 2))
}

/// A version drifts as its preset says: by its features, or by the share of all its columns.
fn verdict(columns: &[ColumnReport], preset: DriftPreset) -> Verdict {
    if preset == DriftPreset::Evidently {
        return judge_version_by_share(&columns.iter().map(|column| column.verdict).collect::<Vec<_>>());
    }
    judge_version(&feature_verdicts(columns))
}

fn window_settings(drift: &DriftSettings) -> WindowSettings {
    WindowSettings {
        primary: drift.window,
        lengths: drift.windows.clone(),
        half_life: drift.half_life,
        seasons: drift.seasonal.then_some((drift.seasonal_weeks, drift.seasonal_memory)),
    }
}

fn window_infos(windows: &Windows) -> Vec<WindowInfo> {
    let sliding = windows.sliding_lengths().map(|(length, resolution)| WindowInfo::Sliding { length, resolution });
    let others = [WindowInfo::SinceDeploy, WindowInfo::Decayed { half_life: windows.decayed().0 }];
    sliding.chain(others).collect()
}

fn feature_verdicts(columns: &[ColumnReport]) -> Vec<FeatureVerdict> {
    columns
        .iter()
        .filter(|column| column.side == Side::Input)
        .map(|column| FeatureVerdict { verdict: column.verdict, critical: column.critical })
        .collect()
}
