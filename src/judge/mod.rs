//! Reads the counters, asks the detectors, hands the verdicts on.
//!
//! Every second each loaded version's shards are summed, its windows move, and every column is compared with its
//! reference. The judge knows neither alert rules nor rollouts: it says what is, and others decide what to do about it.
//!
//! Invariant: judging never waits for serving and serving never for judging; they meet in counters alone.

mod board;
mod watch;

pub use board::{Board, ColumnReport, VersionReport};

use crate::catalog::{Catalog, Entry, Snapshot};
use crate::observe::Totals;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use watch::Watch;

/// Watches every loaded version.
#[derive(Debug)]
pub struct Judge {
    catalog: Arc<Catalog>,
    board: Arc<Board>,
    /// By the identity of the loaded version: one loaded anew is watched anew.
    watches: HashMap<u64, Watch>,
}

impl Judge {
    /// A judge of what is live; its reports go to `board`.
    #[must_use]
    pub fn new(catalog: Arc<Catalog>, board: Arc<Board>) -> Self {
        Self { catalog, board, watches: HashMap::new() }
    }

    /// Looks once. `now` is monotonic time since any fixed start.
    pub fn tick(&mut self, now: Duration) -> Arc<Vec<VersionReport>> {
        let snapshot = self.catalog.snapshot();
        self.forget_unloaded(&snapshot);
        let mut reports = Vec::new();
        let mut entries: Vec<&Arc<Entry>> = snapshot.models.values().collect();
        entries.sort_by(|left, right| left.name.cmp(&right.name));
        for entry in entries {
            for model in entry.loaded.values() {
                let watch =
                    self.watches.entry(model.identity).or_insert_with(|| Watch::new(&model.recorder, &entry.settings));
                let totals: Totals = model.recorder.totals();
                reports.push(watch.look(entry, model, &totals, now));
            }
        }
        let reports = Arc::new(reports);
        self.board.post(Arc::clone(&reports));
        reports
    }

    fn forget_unloaded(&mut self, snapshot: &Snapshot) {
        let loaded: Vec<u64> =
            snapshot.models.values().flat_map(|entry| entry.loaded.values()).map(|model| model.identity).collect();
        self.watches.retain(|identity, _| loaded.contains(identity));
    }
}
