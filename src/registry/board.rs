//! What is known of every model that comes from a registry, for people and for metrics.
//!
//! Invariant: whoever looks waits for nobody, and an entry is what its follower last said, whole.

use super::source::Lineage;
use super::staging::{Progress, ProgressView};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

/// What is known of the models that come from registries.
#[derive(Debug, Default)]
pub struct SourceBoard(Mutex<BTreeMap<String, Entry>>);

#[derive(Debug, Default)]
struct Entry {
    said: SourceState,
    progress: Arc<Progress>,
}

/// What a model's follower last said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceState {
    /// Where the model comes from, as configured.
    pub source: String,
    /// When its registry last answered.
    pub synced: Option<SystemTime>,
    /// What is wrong now, if anything: with the registry, or with versions.
    pub problems: Vec<String>,
    /// Every version that the registry gives a role.
    pub versions: BTreeMap<u64, Lineage>,
}

/// What is shown of a model's source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SourceView {
    /// Where the model comes from, as configured.
    pub source: String,
    /// Seconds since its registry last answered; none if it has not yet.
    pub sync_age_seconds: Option<u64>,
    /// What is wrong now.
    pub problems: Vec<String>,
    /// How far a download is, if one is under way.
    pub download: Option<ProgressView>,
    /// Where every version that has a role comes from.
    pub lineage: BTreeMap<u64, Lineage>,
}

impl SourceBoard {
    /// The progress of a model's downloads.
    pub fn progress(&self, model: &str) -> Arc<Progress> {
        Arc::clone(&self.lock().entry(model.to_owned()).or_default().progress)
    }

    /// Takes in what a model's follower says.
    pub fn say(&self, model: &str, said: SourceState) {
        self.lock().entry(model.to_owned()).or_default().said = said;
    }

    /// Takes in that a model's registry answered, with nothing new.
    pub fn answered(&self, model: &str, now: SystemTime) {
        self.lock().entry(model.to_owned()).or_default().said.synced = Some(now);
    }

    /// What is to be shown of a model, if it comes from a registry.
    pub fn view(&self, model: &str, now: SystemTime) -> Option<SourceView> {
        let board = self.lock();
        let Entry { said, progress } = board.get(model)?;
        Some(SourceView {
            source: said.source.clone(),
            sync_age_seconds: age(said.synced, now),
            problems: said.problems.clone(),
            download: progress.view(),
            lineage: said.versions.clone(),
        })
    }

    /// What is to be shown of every model that comes from a registry.
    pub fn views(&self, now: SystemTime) -> BTreeMap<String, SourceView> {
        let models: Vec<String> = self.lock().keys().cloned().collect();
        models.into_iter().filter_map(|model| Some((model.clone(), self.view(&model, now)?))).collect()
    }

    /// Every download that is under way, by model.
    pub fn downloads(&self) -> Vec<(String, ProgressView)> {
        let board = self.lock();
        board.iter().filter_map(|(model, entry)| Some((model.clone(), entry.progress.view()?))).collect()
    }

    /// Seconds since the registry of each model last answered, of those of which it did.
    pub fn sync_ages(&self, now: SystemTime) -> Vec<(String, u64)> {
        let ages = |(model, entry): (&String, &Entry)| Some((model.clone(), age(entry.said.synced, now)?));
        self.lock().iter().filter_map(ages).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn age(then: Option<SystemTime>, now: SystemTime) -> Option<u64> {
    Some(now.duration_since(then?).unwrap_or_default().as_secs())
}
