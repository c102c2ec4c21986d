//! One loaded version under watch: its windows, its alarms, and what they say.
//!
//! Pure but for what it is handed: time and totals come as arguments, so that a day is judged in a test within
//! milliseconds, and a bench measures nothing else.
//!
//! Invariant: a watch lives as long as the loaded version. Its windows begin with the version, or where a snapshot of
//! the same version on the same profile left off.

use super::answers::{AnswerReport, AnswerWatch};
use super::board::{BlockReport, ColumnReport, SegmentReport, WindowInfo};
use super::column::{ColumnWatch, Seen};
use super::measure::{measure, reference_groups};
use super::segments::SegmentWatch;
use crate::config::{DriftSettings, ModelSettings};
use crate::detect::{FeatureVerdict, Verdict, judge_version};
use crate::observe::{BlockCounts, ReadingPlan, RecordedColumn, Side, Totals, WindowSettings, Windows};
use std::sync::Arc;
use std::time::Duration;

/// The windows and alarms of one loaded version.
#[derive(Debug)]
pub struct VersionWatch {
    pub(super) settings: Arc<ModelSettings>,
    pub(super) windows: Windows,
    pub(super) columns: Vec<ColumnWatch>,
    pub(super) answers: AnswerWatch,
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
        Self {
            windows,
            columns: vec![ColumnWatch::default(); columns.len()],
            answers: AnswerWatch::new(settings),
            segments: SegmentWatch::default(),
            blocks: Vec::new(),
            settings: Arc::clone(settings),
        }
    }

    /// Goes on with other settings, if they are others.
    pub fn follow(&mut self, settings: &Arc<ModelSettings>, totals: &Totals) {
        if Arc::ptr_eq(&self.settings, settings) {
            return;
        }
        self.windows.follow(&window_settings(&settings.drift));
        self.answers.follow(settings, &totals.answers);
        self.blocks.clear();
        self.settings = Arc::clone(settings);
    }

    /// Looks at the evidence of every alarm, and at nothing else. `at` is monotonic unix time. Answers whether one went
    /// off.
    pub fn glance(&mut self, at: Duration, totals: &Totals) -> bool {
        let mut is_raised = self.answers.glance(at, &totals.answers, &self.settings);
        for column in &mut self.columns {
            is_raised |= column.alarm.glance(at, &[]);
        }
        is_raised
    }

    /// Takes in the totals of `at`, monotonic unix time, and looks at everything. `columns` are those it was made for.
    pub fn look(&mut self, at: Duration, columns: &[RecordedColumn], totals: &Totals) -> Look {
        self.glance(at, totals);
        self.windows.roll(at, totals);
        self.measure_blocks(columns);
        let seen = Seen::new(at, &self.windows);
        let settings = &self.settings;
        let reports: Vec<ColumnReport> = self
            .columns
            .iter_mut()
            .zip(columns.iter().enumerate())
            .map(|(watch, column)| watch.look(column, &seen, &settings.drift))
            .collect();
        Look {
            window: seen.primary.length,
            resolution: seen.primary.resolution,
            samples: seen.primary.counts.last().copied().unwrap_or(0),
            verdict: judge_version(&feature_verdicts(&reports)),
            windows: window_infos(&self.windows),
            blocks: self.blocks.clone(),
            columns: reports,
            segments: self.segments.look(at, columns, &totals.segments, &settings.drift),
            answers: self.answers.look(at, &totals.answers, settings),
        }
    }

    /// Bytes that the windows and alarms hold; hours of the week, which have a budget of their own, not included.
    #[must_use]
    pub fn resident_bytes(&self) -> usize {
        size_of::<Self>() - size_of::<Windows>()
            + self.windows.resident_bytes()
            + self.columns.capacity() * size_of::<ColumnWatch>()
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
