//! Reads the counters, asks the detectors, hands the verdicts on.
//!
//! ```text
//!  every 250 ms  glance: evidence counters ─▶ alarms            (nothing else is read)
//!  every second  look:   all counters ─▶ windows ─▶ distances ─▶ verdicts ─▶ board, alert rules
//!  every 30 s    windows and alarms ─▶ bytes ─▶ state store
//! ```
//! The judge knows neither alert rules nor rollouts: it says what is, and others decide what to do about it. Nor does it
//! know a disk: it takes and gives snapshots as bytes, and whoever drives it fetches and keeps them.
//!
//! Invariant: judging never waits for serving and serving never for judging; they meet in counters alone.

mod alarm;
mod answers;
mod board;
mod column;
mod detail;
mod evidence;
mod history;
mod hour;
mod learning;
mod live;
mod measure;
mod quality;
mod rate;
mod segments;
mod snapshot;
#[cfg(test)]
mod tests;
mod version;

pub use answers::{AnswerReport, RateReport};
pub use board::{
    BlockReport, Board, ColumnQuality, ColumnReport, ReferenceReport, SegmentColumn, SegmentReport, VersionReport,
    WindowInfo,
};
pub use detail::Detail;
pub use history::{History, POINTS};
pub use measure::{GroupDistances, Measure};
pub use version::{Look, VersionWatch, alarm_shares};

use crate::catalog::{Catalog, Entry, Model, Snapshot};
use crate::store::{SnapshotKey, SnapshotRow};
use learning::{Progress, Stage};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Watches every loaded version.
#[derive(Debug)]
pub struct Judge {
    catalog: Arc<Catalog>,
    board: Arc<Board>,
    identity: JudgeIdentity,
    /// By the identity of the loaded version: one loaded anew is watched anew.
    watches: HashMap<u64, Watched>,
    /// The last snapshots of versions that are no longer loaded.
    departed: Vec<SnapshotRow>,
    /// Versions that have served enough rows to learn from, as of the last look.
    ripe: Vec<Arc<Model>>,
}

/// Who judges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JudgeIdentity {
    /// The replica's name.
    pub replica: String,
    /// The start of the process, unix milliseconds.
    pub epoch: u64,
}

#[derive(Debug)]
struct Watched {
    key: SnapshotKey,
    watch: VersionWatch,
    lineage: u64,
    learning: Stage,
}

/// A loaded version that is not watched yet.
#[derive(Debug)]
pub struct Newcomer {
    /// Under which key its snapshot would have been kept.
    pub key: SnapshotKey,
    entry: Arc<Entry>,
    model: Arc<Model>,
}

impl Judge {
    /// A judge of what is live; its reports go to `board`.
    #[must_use]
    pub fn new(catalog: Arc<Catalog>, board: Arc<Board>, identity: JudgeIdentity) -> Self {
        Self { catalog, board, identity, watches: HashMap::new(), departed: Vec::new(), ripe: Vec::new() }
    }

    /// Versions that were loaded since the last call of [`Self::watch`] for them.
    #[must_use]
    pub fn newcomers(&self) -> Vec<Newcomer> {
        let snapshot = self.catalog.snapshot();
        let all = loaded(&snapshot);
        all.into_iter()
            .filter(|(_, model)| !self.watches.contains_key(&model.identity))
            .map(|(entry, model)| Newcomer {
                key: snapshot::key_of(model, &self.identity.replica),
                entry: Arc::clone(entry),
                model: Arc::clone(model),
            })
            .collect()
    }

    /// Watches a version from `at` on, going on where its snapshot left off if there is one.
    pub fn watch(&mut self, newcomer: Newcomer, snapshot: Option<&[u8]>, at: Duration) {
        let Newcomer { key, entry, model } = newcomer;
        let mut watch = VersionWatch::new(model.recorder.columns(), &entry.settings);
        let (name, version) = (&key.model, key.version);
        match snapshot.map(|bytes| watch.restore(bytes, at)) {
            Some(Ok(())) => tracing::info!(model = name, version, "windows and alarms go on from their snapshot"),
            Some(Err(error)) => tracing::warn!(model = name, version, %error, "the snapshot cannot be read"),
            None => {}
        }
        if let Some(before) = self.watches.values().find(|watched| watched.lineage == model.lineage)
            && watch.inherit_answers(&before.watch, at).is_err()
        {
            tracing::warn!(model = name, version, "windows and alarms over answers start anew");
        }
        if watch.lacks_seasons() {
            tracing::warn!(model = name, version, "hours of the week need more than drift.seasonal_memory: left out");
        }
        let (lineage, learning) = (model.lineage, Stage::default());
        self.watches.insert(model.identity, Watched { key, watch, lineage, learning });
    }

    /// Looks at the alarms alone. `at` is monotonic unix time. Answers whether one went off.
    pub fn glance(&mut self, at: Duration) -> bool {
        let snapshot = self.catalog.snapshot();
        let mut is_raised = false;
        for (_, model) in loaded(&snapshot) {
            if let Some(watched) = self.watches.get_mut(&model.identity) {
                let (cells, keyed) = model.recorder.evidence();
                is_raised |= watched.watch.glance(at, model.recorder.columns(), (&cells, &keyed));
            }
        }
        is_raised
    }

    /// Looks at everything that is watched, and posts the reports. `at` is monotonic unix time.
    pub fn look(&mut self, at: Duration) -> Arc<Vec<VersionReport>> {
        let snapshot = self.catalog.snapshot();
        self.forget_unloaded(&snapshot, at);
        let (mut reports, mut live, mut hours) = (Vec::new(), Vec::new(), Vec::new());
        self.ripe.clear();
        for (entry, model) in loaded(&snapshot) {
            if let Some(watched) = self.watches.get_mut(&model.identity) {
                let totals = model.recorder.totals();
                watched.watch.follow(&entry.settings, model.recorder.columns(), &totals);
                let look = watched.watch.look(at, model.recorder.columns(), &totals);
                let progress = learning::progress(entry, model, totals.rows);
                if watched.learning == Stage::Counting && progress.is_some_and(Progress::is_complete) {
                    self.ripe.push(Arc::clone(model));
                }
                reports.push(report((entry, model), look, (progress, &watched.learning)));
                live.push(watched.watch.live(&watched.key, model.recorder.columns()));
                let hour = entry.hold.as_ref().and_then(|_held| watched.watch.hour(at, model.recorder.columns()));
                hours.extend(hour.map(|hour| (model.identity, hour)));
            }
        }
        let reports = Arc::new(reports);
        self.board.post_hours(hours);
        self.board.post(Arc::clone(&reports), live);
        reports
    }

    /// Snapshots of everything that is watched, as of `at`.
    #[must_use]
    pub fn snapshots(&self, at: Duration) -> Vec<SnapshotRow> {
        self.watches.values().map(|watched| self.snapshot(watched, at)).collect()
    }

    /// The last snapshots of versions that are no longer loaded, once.
    pub fn take_departed(&mut self) -> Vec<SnapshotRow> {
        std::mem::take(&mut self.departed)
    }

    /// A version that had served enough rows to learn from when everything was last looked at, once.
    pub fn take_ripe(&mut self) -> Option<Arc<Model>> {
        let model = self.ripe.pop()?;
        self.set_learning(model.identity, Stage::Taken);
        Some(model)
    }

    /// What was made of a version's counts did not become its reference, for this reason; without one it is to be tried
    /// again.
    pub fn not_learned(&mut self, identity: u64, reason: Option<String>) {
        self.set_learning(identity, reason.map_or(Stage::Counting, Stage::Failed));
    }

    fn set_learning(&mut self, identity: u64, stage: Stage) {
        if let Some(watched) = self.watches.get_mut(&identity) {
            watched.learning = stage;
        }
    }

    fn snapshot(&self, watched: &Watched, at: Duration) -> SnapshotRow {
        SnapshotRow { key: watched.key.clone(), epoch: self.identity.epoch, at, blob: watched.watch.encode() }
    }

    fn forget_unloaded(&mut self, snapshot: &Snapshot, at: Duration) {
        let here: Vec<u64> = loaded(snapshot).iter().map(|(_, model)| model.identity).collect();
        let (kept, gone): (HashMap<_, _>, HashMap<_, _>) =
            std::mem::take(&mut self.watches).into_iter().partition(|(identity, _)| here.contains(identity));
        self.watches = kept;
        let gone: Vec<SnapshotRow> = gone.values().map(|watched| self.snapshot(watched, at)).collect();
        self.departed.extend(gone);
    }
}

/// Every loaded version, models by name.
fn loaded(snapshot: &Snapshot) -> Vec<(&Arc<Entry>, &Arc<Model>)> {
    let mut entries: Vec<&Arc<Entry>> = snapshot.models.values().collect();
    entries.sort_by(|left, right| left.name.cmp(&right.name));
    entries.into_iter().flat_map(|entry| entry.loaded.values().map(move |model| (entry, model))).collect()
}

fn report(
    (entry, model): (&Entry, &Model),
    look: Look,
    (progress, stage): (Option<Progress>, &Stage),
) -> VersionReport {
    let lacking = model.profile.as_ref().err();
    VersionReport {
        model: model.name.clone(),
        version: model.version,
        arm: entry.arm_of(model.version).map_or("none", |arm| arm.role.as_str()),
        window: look.window,
        resolution: look.resolution,
        samples: look.samples,
        verdict: look.verdict,
        no_reference: lacking.map(|lacking| learning::reason(lacking, progress, stage)),
        reference: reference(model),
        windows: look.windows,
        blocks: look.blocks,
        columns: look.columns,
        primary: look.primary,
        history: look.history,
        segments: look.segments,
        latency: look.answers.latency,
        answers: look.answers,
        settings: Arc::clone(&entry.settings),
    }
}

fn reference(model: &Model) -> Option<ReferenceReport> {
    let profile = model.profile.as_ref().ok()?;
    let note = model.learned_because.as_ref().map(|lacking| learning::note(profile.rows, lacking));
    Some(ReferenceReport { is_learned: model.is_learned(), note })
}
