//! The judge's latest reports, for whoever asks.
//!
//! Invariant: a reader sees the reports of one tick, never a mixture of two.

use crate::detect::{Distances, LatencyJudgement, Verdict};
use crate::observe::Side;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// Where the latest reports hang. A lock is right here: written once a second, read when somebody asks, never by a
/// request for predictions.
#[derive(Debug, Default)]
pub struct Board(RwLock<Arc<Vec<VersionReport>>>);

/// What one version looks like over its window.
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
    /// Rows in the window.
    pub samples: u64,
    /// Whether the version as a whole drifts.
    pub verdict: Verdict,
    /// Why there is no reference, if there is none.
    pub no_reference: Option<String>,
    /// Every input and output column.
    pub columns: Vec<ColumnReport>,
    /// Latency over its own window.
    pub latency: LatencyJudgement,
    /// When its alerts fire and resolve.
    pub settings: Arc<crate::config::ModelSettings>,
}

/// One column over the window.
#[derive(Clone, Debug)]
pub struct ColumnReport {
    /// The feature's or output's name.
    pub name: String,
    /// Input or output.
    pub side: Side,
    /// Values in the window.
    pub samples: u64,
    /// The distances, when there are enough data and a reference.
    pub distances: Option<Distances>,
    /// PSI minus what is expected of it without drift.
    pub excess: Option<f64>,
    /// The verdict.
    pub verdict: Verdict,
    /// Whether its drift alone is drift of the version.
    pub critical: bool,
}

impl Board {
    /// The reports of the latest tick.
    #[must_use]
    pub fn latest(&self) -> Arc<Vec<VersionReport>> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn post(&self, reports: Arc<Vec<VersionReport>>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = reports;
    }
}
