//! The one writer of the swap cell.
//!
//! Everything that may change what is live comes here as a method call from one task: listings of the repository,
//! finished loads, splits that somebody asked for, weights that a rollout holds, settings. Each call updates what is known and publishes a new
//! snapshot if the outcome differs. No clock, no disk, no socket: time is an argument, and loading is ordered
//! ([`Publisher::next_load`]) and reported back ([`Publisher::load_finished`]), so the whole rule is tested in memory.
//!
//! Invariant: a snapshot is published whole or not at all, and what it replaces goes to the retirer.

mod holds;
mod splits;

use super::holds::Chosen;
use super::snapshot::{Catalog, Entry, Serving, Snapshot};
use super::state::{Failure, Listing, Loaded, ModelState, Present, Weights};
use super::wishes::{
    FreezeError, FreezeOrder, LoadFailure, LoadOrder, Quarantined, RetryError, SplitError, SplitReply, SplitView,
};
use super::{Model, Retired};
use crate::config::ModelSettings;
use crate::route::Split;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

/// How long after a failure that may pass a version is loaded again.
const PAUSE_BEFORE_RETRY: Duration = Duration::from_secs(60);

/// The one writer of what is live.
pub struct Publisher {
    catalog: Arc<Catalog>,
    models: BTreeMap<String, ModelState>,
    replies: HashMap<String, SplitReply>,
    hold_replies: HashMap<String, SplitReply>,
    /// What rollouts left behind, by model, also of models that are not there.
    chosen: BTreeMap<String, Chosen>,
    retired: SyncSender<Retired>,
    bake: Duration,
    generation: u64,
    settled: bool,
}

impl std::fmt::Debug for Publisher {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Publisher").field("generation", &self.generation).finish_non_exhaustive()
    }
}

impl Publisher {
    /// A publisher of an empty catalog. What goes out of service stays loaded for `bake` and is then sent to `retired`.
    #[must_use]
    pub fn new(retired: SyncSender<Retired>, bake: Duration) -> Self {
        let catalog = Arc::new(Catalog::new());
        Self {
            catalog,
            models: BTreeMap::new(),
            replies: HashMap::new(),
            hold_replies: HashMap::new(),
            chosen: BTreeMap::new(),
            retired,
            bake,
            generation: 0,
            settled: false,
        }
    }

    /// The cell, for those who read it.
    #[must_use]
    pub fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.catalog)
    }

    /// Takes in what is on disk. `settings` gives the configuration of a model that is seen for the first time.
    pub fn observe(&mut self, listing: &Listing, settings: impl Fn(&str) -> Arc<ModelSettings>, now: Duration) {
        for name in listing.keys() {
            if !self.models.contains_key(name) {
                let mut state = ModelState::new(settings(name));
                state.explicit = configured_split(&state.settings);
                state.chosen = self.chosen.get(name).cloned();
                self.models.insert(name.clone(), state);
            }
        }
        let mut roles_changed = false;
        for (name, state) in &mut self.models {
            let before = state.roles.clone();
            state.observe(listing.get(name));
            roles_changed |= state.roles != before;
        }
        self.models
            .retain(|_, state| !(state.present.is_empty() && state.loaded.is_empty() && state.loading.is_none()));
        let waiting: Vec<String> = self.replies.keys().cloned().collect();
        for name in waiting {
            self.advance_asked(&name, now);
        }
        let waiting: Vec<String> = self.hold_replies.keys().cloned().collect();
        for name in waiting {
            self.advance_hold(&name, now);
        }
        if roles_changed {
            // Also where the split stays: what is no longer wanted is to be unloaded.
            self.republish(now);
        }
        self.publish_if_changed(now);
    }

    /// Takes in new settings: they hold from now on, and a split that the configuration changed is asked for.
    pub fn configure(&mut self, settings: impl Fn(&str) -> Arc<ModelSettings>, bake: Duration, now: Duration) {
        self.bake = bake;
        let mut changed_splits = Vec::new();
        for (name, state) in &mut self.models {
            let new = settings(name);
            if configured_split(&new) != configured_split(&state.settings) {
                changed_splits.push((name.clone(), configured_split(&new)));
            }
            if new.allow_signature_change != state.settings.allow_signature_change {
                state.failed.clear();
            }
            if is_loaded_differently(&new, &state.settings) {
                state.loaded.values_mut().for_each(|loaded| loaded.outdated = true);
                state.failed.clear();
            }
            // The budget may have grown.
            state.failed.retain(|_, failure| !failure.until_memory_is_freed);
            state.settings = new;
        }
        for (name, weights) in changed_splits {
            match weights {
                Some(weights) => self.set_split(&name, weights, Box::new(log_refused_split), now),
                None => self.clear_split(&name, Box::new(log_refused_split), now),
            }
        }
        self.republish(now);
    }

    /// The next version to load, if any; it counts as being loaded until [`Publisher::load_finished`].
    pub fn next_load(&mut self, now: Duration) -> Option<LoadOrder> {
        for state in self.models.values_mut() {
            state.failed.retain(|_, failure| failure.again_at.is_none_or(|at| at > now));
        }
        let memory_in_use = self.models.values().flat_map(|state| state.loaded.values()).map(memory_of).sum();
        let due = self.models.iter_mut().filter_map(|(name, state)| Some((name, state.next_to_load()?, state)));
        // A model that does not serve yet comes before the further versions of one that does.
        let (name, (version, fingerprint), state) = due.min_by_key(|(_, _, state)| state.live.is_some())?;
        state.loading = Some((version, fingerprint));
        let (settings, config) = (Arc::clone(&state.settings), Arc::clone(&state.config));
        let (model, predecessor) = (name.clone(), state.predecessor(version));
        let order = LoadOrder { model, version, fingerprint, settings, config, memory_in_use, predecessor };
        self.republish(now);
        Some(order)
    }

    /// Takes in how a load ended.
    pub fn load_finished(&mut self, order: &LoadOrder, outcome: Result<Arc<Model>, LoadFailure>, now: Duration) {
        let Some(state) = self.models.get_mut(&order.model) else { return };
        state.loading = None;
        let is_loaded = outcome.is_ok();
        let outcome = outcome.and_then(|model| state.may_stand_in(order.version, model, &order.predecessor));
        match outcome {
            Ok(model) => {
                state.failed.remove(&order.version);
                // Without a share it is given the time of a bake: whoever asked for it will name it by then.
                let unload_at = Some(now.saturating_add(self.bake));
                if let Some(old) = state.loaded.insert(order.version, Loaded { model, unload_at, outdated: false }) {
                    self.retire(Retired::Model(old.model));
                }
            }
            Err(LoadFailure { reason, until_memory_is_freed, may_pass, quarantined }) => {
                tracing::error!(model = order.model, version = order.version, reason, "version could not be loaded");
                let fingerprint = order.fingerprint;
                let again_at = may_pass.then(|| now.saturating_add(PAUSE_BEFORE_RETRY));
                let is_misfit = is_loaded || quarantined.as_ref().is_some_and(|held| held.instead_of.is_some());
                let stable = state.stable_files().filter(|_| is_misfit);
                let failure = Failure { fingerprint, reason, until_memory_is_freed, again_at, quarantined, stable };
                state.failed.insert(order.version, failure);
            }
        }
        self.advance_asked(&order.model, now);
        self.advance_hold(&order.model, now);
        self.republish(now);
    }

    /// Takes in that a load ended without an outcome: the loader panicked. The version is not tried again as it is.
    pub fn load_lost(&mut self, now: Duration) {
        for state in self.models.values_mut() {
            if let Some((version, fingerprint)) = state.loading.take() {
                let reason = "a bug ended the load; the server's log has the cause".to_owned();
                let (until_memory_is_freed, again_at, quarantined, stable) = (false, None, None, None);
                let failure = Failure { fingerprint, reason, until_memory_is_freed, again_at, quarantined, stable };
                state.failed.insert(version, failure);
            }
        }
        self.republish(now);
    }

    /// Forgets that a version was refused: it is loaded again, if it is wanted. Answers which bytes were held for it.
    ///
    /// # Errors
    /// [`RetryError`] when there is no such model, or nothing to forget.
    pub fn retry(&mut self, name: &str, version: u64, now: Duration) -> Result<Option<Quarantined>, RetryError> {
        let unknown = || RetryError::UnknownModel { name: name.to_owned() };
        let state = self.models.get_mut(name).ok_or_else(unknown)?;
        let Some(failure) = state.failed.remove(&version) else {
            let refused: Vec<String> = state.failed.keys().map(u64::to_string).collect();
            let refused = if refused.is_empty() { "none".to_owned() } else { refused.join(", ") };
            return Err(RetryError::NotRefused { name: name.to_owned(), version, refused });
        };
        self.republish(now);
        Ok(failure.quarantined)
    }

    /// Gives a loaded version the reference that was learned from its traffic: a new value of it is published in place of
    /// the old one, with the same share and on the same engine. Answers the new value.
    ///
    /// # Errors
    /// [`FreezeError`] when the version is no longer the one that the reference was learned from, when it has a reference,
    /// and when the reference does not fit.
    pub fn freeze(&mut self, order: FreezeOrder, now: Duration) -> Result<Arc<Model>, FreezeError> {
        let FreezeOrder { model: name, version, identity, profile } = order;
        let loaded = self.models.get_mut(&name).and_then(|state| state.loaded.get_mut(&version));
        let Some(loaded) = loaded.filter(|loaded| loaded.model.identity == identity) else {
            return Err(FreezeError::Stale { name, version });
        };
        if loaded.model.profile.is_ok() {
            return Err(FreezeError::HasReference { name, version });
        }
        let frozen = Arc::new(loaded.model.with_learned(profile)?);
        let old = std::mem::replace(&mut loaded.model, Arc::clone(&frozen));
        self.republish(now);
        // Once more: the old value served while the new one was made.
        old.hand_over();
        self.retire(Retired::Value(old));
        Ok(frozen)
    }

    /// Says that every model has been tried once, so that readiness may be judged.
    pub fn first_pass_done(&mut self, now: Duration) {
        self.settled = true;
        self.republish(now);
    }

    /// Whether nothing is being loaded and nothing is left to load.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.models.values().all(|state| state.loading.is_none() && state.next_to_load().is_none())
    }

    /// Publishes only if a split, a version's status, the configuration or an unload is due; listings arrive every second
    /// and mostly say nothing new.
    fn publish_if_changed(&mut self, now: Duration) {
        let live = self.catalog.snapshot();
        let changed = live.models.len() != self.models.len()
            || self.models.iter().any(|(name, state)| {
                let published = live.models.get(name);
                state.due_split() != state.live
                    || published.is_none_or(|entry| entry.versions != state.statuses())
                    || published.is_none_or(|entry| entry.config != state.config)
                    || published.is_none_or(|entry| entry.config_error != state.config_error)
                    || published.is_none_or(|entry| entry.target != state.target() || entry.roles != state.roles)
                    || state.loaded.values().any(|loaded| loaded.unload_at.is_some_and(|at| at <= now))
            });
        if changed {
            self.republish(now);
        }
    }

    fn republish(&mut self, now: Duration) {
        let mut unloaded = Vec::new();
        for (name, state) in &mut self.models {
            make_due_split_live(name, state);
            state.forget_refusals_of_before();
            unloaded.extend(unload_misfits(state));
            unloaded.extend(unload_expired(state, self.bake, now));
        }
        if !unloaded.is_empty() {
            for state in self.models.values_mut() {
                state.failed.retain(|_, failure| !failure.until_memory_is_freed);
            }
        }
        self.generation += 1;
        let models = self.models.iter().map(|(name, state)| (name.clone(), Arc::new(entry(name, state)))).collect();
        let snapshot = Snapshot { generation: self.generation, models, settled: self.settled };
        let replaced = self.catalog.publish(snapshot);
        self.retire(Retired::Snapshot(replaced));
        for model in unloaded {
            self.retire(Retired::Model(model));
        }
    }

    fn retire(&self, retired: Retired) {
        // The retirer outlives the publisher but for the end of the process, when there is nothing left to free.
        let _ = self.retired.send(retired);
    }
}

fn make_due_split_live(name: &str, state: &mut ModelState) {
    let due = state.due_split();
    make_live(name, state, due);
}

fn make_live(name: &str, state: &mut ModelState, due: Option<Weights>) {
    if due == state.live {
        return;
    }
    let before = state.live.as_ref().and_then(ModelState::stable_of);
    let after = due.as_ref().and_then(ModelState::stable_of);
    if before.is_some() && before != after {
        state.swaps += 1;
    }
    if let Some(split) = due.as_deref().and_then(|weights| Split::try_new(weights).ok()) {
        tracing::info!(model = name, %split, "split is live");
    }
    state.live = due;
}

/// Takes out versions that nobody has wanted for as long as they bake; the others have no end set, or get one.
fn unload_expired(state: &mut ModelState, bake: Duration, now: Duration) -> Vec<Arc<Model>> {
    let wanted = state.wanted();
    let mut expired = Vec::new();
    for (version, loaded) in &mut state.loaded {
        if wanted.contains(version) {
            loaded.unload_at = None;
        } else if *loaded.unload_at.get_or_insert(now.saturating_add(bake)) <= now {
            expired.push(*version);
        }
    }
    expired.iter().filter_map(|version| state.loaded.remove(version)).map(|loaded| loaded.model).collect()
}

/// Takes out what a registry wants and what serves cannot be replaced by.
fn unload_misfits(state: &mut ModelState) -> Vec<Arc<Model>> {
    let misfits = state.misfits();
    misfits.iter().filter_map(|version| state.loaded.remove(version)).map(|loaded| loaded.model).collect()
}

fn entry(name: &str, state: &ModelState) -> Entry {
    let serving = state.live.as_ref().map(|weights| {
        let split = Split::try_new(weights).expect("a live split was checked when it was asked for");
        let arms = split.arms().iter().map(|arm| Arc::clone(&state.loaded[&arm.version].model)).collect();
        let hold = state.hold.as_ref();
        let (trial, mirror) = (hold.and_then(|hold| hold.trial.clone()), hold.and_then(|hold| hold.shadow.clone()));
        Serving { split, arms, trial, mirror }
    });
    Entry {
        name: name.to_owned(),
        settings: Arc::clone(&state.settings),
        config: Arc::clone(&state.config),
        config_error: state.config_error.clone(),
        serving,
        loaded: state.loaded.iter().map(|(version, loaded)| (*version, Arc::clone(&loaded.model))).collect(),
        versions: state.statuses(),
        explicit: state.explicit.is_some(),
        fingerprints: state.present.iter().map(|(version, present)| (*version, present.fingerprint)).collect(),
        registered_at: state.present.iter().filter_map(registered_at).collect(),
        hold: state.hold.as_ref().map(|hold| hold.id.clone()),
        roles: state.roles.clone(),
        target: state.target(),
        swaps: state.swaps,
    }
}

fn registered_at((version, present): (&u64, &Present)) -> Option<(u64, u64)> {
    Some((*version, present.registered_at?))
}

fn configured_split(settings: &ModelSettings) -> Option<Weights> {
    settings.split.as_ref().map(|split| split.iter().map(|(version, weight)| (*version, *weight)).collect())
}

/// Whether settings differ in what a version is loaded with.
fn is_loaded_differently(new: &ModelSettings, old: &ModelSettings) -> bool {
    new.engine != old.engine || new.drift.max_features != old.drift.max_features
}

fn memory_of(loaded: &Loaded) -> u64 {
    loaded.model.facts.memory
}

fn log_refused_split(outcome: Result<SplitView, SplitError>) {
    if let Err(error) = outcome {
        tracing::error!(reason = %error, "the configured split is not live");
    }
}
