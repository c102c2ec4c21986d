//! The judge's latest reports, for whoever asks.
//!
//! Invariant: a reader sees the reports of one tick, never a mixture of two.

use super::answers::AnswerReport;
use super::history::History;
use super::measure::Measure;
use crate::detect::alarm::Finding;
use crate::detect::{Distances, LatencyJudgement, Outcome, Verdict};
use crate::observe::live::LiveVersion;
use crate::observe::trial::HourReference;
use crate::observe::{Side, WindowCounts};
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// Where the latest reports hang. A lock is right here: written once a second, read when somebody asks, never by a
/// request for predictions.
#[derive(Debug, Default)]
pub struct Board {
    reports: RwLock<Arc<Vec<VersionReport>>>,
    live: RwLock<Arc<Vec<LiveVersion>>>,
    /// By the identity of the loaded version.
    hours: RwLock<Vec<(u64, HourReference)>>,
}

/// What one version looks like over its windows.
#[derive(Clone, Debug)]
pub struct VersionReport {
    /// The model.
    pub model: String,
    /// The version.
    pub version: u64,
    /// Its role in the split: `stable`, `canary`, or `none` without a share.
    pub arm: &'static str,
    /// Length of the drift window.
    pub window: Duration,
    /// By how much more it may cover.
    pub resolution: Duration,
    /// Rows in the window.
    pub samples: u64,
    /// Whether the version as a whole drifts.
    pub verdict: Verdict,
    /// Why there is no reference, if there is none.
    pub no_reference: Option<String>,
    /// The reference, if there is one.
    pub reference: Option<ReferenceReport>,
    /// The windows of [`ColumnReport::windows`], in their order.
    pub windows: Vec<WindowInfo>,
    /// The last complete block of each length.
    pub blocks: Vec<Arc<BlockReport>>,
    /// Every input and output column.
    pub columns: Vec<ColumnReport>,
    /// The counters of the primary window; see [`ColumnReport::counters`].
    pub primary: Arc<WindowCounts>,
    /// How far every column was from its reference over the last day, in their order.
    pub history: Arc<History>,
    /// The same by segment, that of all others last; empty where drift is not split.
    pub segments: Vec<SegmentReport>,
    /// Latency over its own window.
    pub latency: LatencyJudgement,
    /// Rates of slow, failed and refused requests over the same window.
    pub answers: AnswerReport,
    /// When its alerts fire and resolve.
    pub settings: Arc<crate::config::ModelSettings>,
}

/// Where a version's reference comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReferenceReport {
    /// Whether it was learned from traffic and not from training data.
    pub is_learned: bool,
    /// From how many rows this gateway learned it, and why; nothing if it came with the version.
    pub note: Option<String>,
}

/// A window besides the primary one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowInfo {
    /// The latest traffic.
    Sliding {
        /// Length as it was asked for.
        length: Duration,
        /// By how much more it may cover.
        resolution: Duration,
    },
    /// All traffic since the version was first loaded.
    SinceDeploy,
    /// All traffic, fading.
    Decayed {
        /// After how long a row weighs half.
        half_life: Duration,
    },
}

/// A block of time that is over.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockReport {
    /// Length, to which it is aligned.
    pub length: Duration,
    /// Start, unix time.
    pub start: Duration,
    /// Every column, in their order.
    pub columns: Vec<Measure>,
}

/// One column over the windows.
#[derive(Clone, Debug)]
pub struct ColumnReport {
    /// The feature's or output's name.
    pub name: String,
    /// Input or output.
    pub side: Side,
    /// Values in the primary window.
    pub samples: u64,
    /// Where its counters are in [`VersionReport::primary`].
    pub counters: Range<usize>,
    /// Where its sums are.
    pub sums: Range<usize>,
    /// The same counters by coarse group of the reference; without one a single group of all values.
    pub groups: Vec<u64>,
    /// The distances over it, when there are enough data and a reference.
    pub distances: Option<Distances>,
    /// PSI minus what is expected of it without drift; against the season where there is one.
    pub excess: Option<f64>,
    /// The primary window against the same hour of the week, where that is known.
    pub season: Option<Measure>,
    /// The other windows, see [`VersionReport::windows`].
    pub windows: Vec<Measure>,
    /// Kolmogorov-Smirnov and Wasserstein distances since deploy, which are counted finely enough.
    pub since_deploy: Option<Distances>,
    /// The verdict.
    pub verdict: Verdict,
    /// What the preset's rule found in the primary window.
    pub outcome: Option<Outcome>,
    /// What raised the alarm of drift, while it is raised.
    pub finding: Option<Finding>,
    /// What raised the alarm of a defect of values, while it is raised.
    pub defect: Option<Finding>,
    /// Weighted evidence now and the threshold that raises the alarm, natural logarithms; none without a reference.
    pub evidence: Option<(f64, f64)>,
    /// Whether its drift alone is drift of the version.
    pub critical: bool,
    /// What is wrong with its values; none where the window does not tell values apart.
    pub quality: Option<ColumnQuality>,
}

impl ColumnReport {
    /// What is raised: of drift first, then of a defect.
    pub fn raised(&self) -> impl Iterator<Item = &Finding> {
        self.finding.iter().chain(&self.defect)
    }
}

/// What is wrong with a column's values in the primary window.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnQuality {
    /// Values.
    pub samples: u64,
    /// How many of them are no ordinary values, by kind of defect; kinds that the column cannot have are left out.
    pub defects: Vec<(&'static str, u64)>,
    /// Whether all values lie in one bin, which of the reference cannot be by chance.
    pub constant: bool,
}

/// One segment over the primary window: for reading, it never raises an alarm.
#[derive(Clone, Debug, PartialEq)]
pub struct SegmentReport {
    /// The value, as text that is safe to show; [`OTHER`](crate::observe::OTHER) for all without a segment of their own.
    pub value: String,
    /// Rows.
    pub samples: u64,
    /// The columns that can be compared.
    pub columns: Vec<SegmentColumn>,
}

/// One column of a segment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SegmentColumn {
    /// Its index in [`VersionReport::columns`].
    pub column: usize,
    /// The distances from the reference of all rows.
    pub measure: Measure,
    /// Drift when PSI exceeds its expectation without drift by more than the threshold.
    pub verdict: Verdict,
}

impl Board {
    /// The reports of the latest tick.
    #[must_use]
    pub fn latest(&self) -> Arc<Vec<VersionReport>> {
        Arc::clone(&self.reports.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What every version has counted since it was deployed, as of the latest tick.
    #[must_use]
    pub fn live(&self) -> Arc<Vec<LiveVersion>> {
        Arc::clone(&self.live.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What the outputs of a loaded version of this identity are like in the present hour of the week, by coarse group, as
    /// of the latest tick; none where that is unknown, or no rollout asks for it.
    #[must_use]
    pub fn hour_of(&self, identity: u64) -> Option<HourReference> {
        let hours = self.hours.read().unwrap_or_else(PoisonError::into_inner);
        hours.iter().find(|(known, _)| *known == identity).map(|(_, hour)| hour.clone())
    }

    pub(super) fn post_hours(&self, hours: Vec<(u64, HourReference)>) {
        *self.hours.write().unwrap_or_else(PoisonError::into_inner) = hours;
    }

    pub(super) fn post(&self, reports: Arc<Vec<VersionReport>>, live: Vec<LiveVersion>) {
        *self.reports.write().unwrap_or_else(PoisonError::into_inner) = reports;
        *self.live.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(live);
    }
}
