//! What the publisher knows of one model, and what follows from it.
//!
//! The version rule is here, as pure functions of what is on disk, what is loaded, what failed, and what somebody asked
//! for: which version should be loaded next, and which split should be live.
//!
//! A registry says which version is stable and which are kept warm; what it does not name is not loaded. The stable one
//! serves once it is warm, and until then the one before does.
//!
//! The rule for directories: no split set, and the highest version on disk is stable at 100 %, once it is warm, beside it the others that
//! the model's version policy keeps, warm and without a share; a split set, and only the named versions are loaded, with
//! the shares that were named. While the model's configuration cannot be read, nothing new is loaded and the split stays.
//!
//! A version that follows by the policy must be able to stand in for the stable one: one of a directory that takes other
//! inputs stays at 0 %, with the reason, until somebody names it in a split; one of a registry is refused (`stand_in.rs`). A configured split of which a version cannot be had does not
//! keep the others from serving: the largest of them serves alone, until the split is whole.
//!
//! A rollout that holds a model's weights wins over all of that, see `holds.rs`.
//!
//! Invariant: a version that serves is never given up before its successor is loaded.

use super::holds::{Chosen, RolloutHold};
use super::{Model, Quarantined, TritonConfig, VersionStatus};
use crate::config::ModelSettings;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Every model on disk that has a version.
pub type Listing = BTreeMap<String, PresentModel>;

/// A model on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PresentModel {
    /// Its versions.
    pub versions: BTreeMap<u64, Present>,
    /// What is said of it as a whole.
    pub config: PresentConfig,
    /// What its registry wants of its versions; nothing for a model of a directory, whose versions follow by number.
    pub roles: Option<Roles>,
}

/// Which versions a registry wants as what.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Roles {
    /// The version that serves.
    pub stable: Option<u64>,
    /// The version that is to get traffic next; among the warm ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<u64>,
    /// The version that is to answer copies of requests; among the warm ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<u64>,
    /// Versions that are kept loaded and warm without a share.
    pub warm: BTreeSet<u64>,
}

/// The `config.pbtxt` of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresentConfig {
    /// Changes when the file does; nothing if there is none.
    pub fingerprint: Option<u64>,
    /// Whether the file has stopped changing; until then `says` is what it said before.
    pub settled: bool,
    /// What the file says, the default if there is none, or why it cannot be read.
    pub says: Result<Arc<TritonConfig>, String>,
}

/// A version on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Present {
    /// Changes when the files do.
    pub fingerprint: u64,
    /// Whether the files have stopped changing.
    pub settled: bool,
    /// Unix milliseconds when it was registered with these files, as far as its source says.
    pub registered_at: Option<u64>,
}

/// Shares in hundredths of a percent, adding up to 10,000.
pub(super) type Weights = Vec<(u64, u16)>;

/// Everything that is known of one model.
#[derive(Debug)]
pub(super) struct ModelState {
    pub(super) settings: Arc<ModelSettings>,
    /// What the model's configuration says, or said when it could last be read.
    pub(super) config: Arc<TritonConfig>,
    /// Why the configuration cannot be read.
    pub(super) config_error: Option<String>,
    pub(super) present: BTreeMap<u64, Present>,
    /// What the registry wants, or last wanted when its files could be had.
    pub(super) roles: Option<Roles>,
    pub(super) loaded: BTreeMap<u64, Loaded>,
    pub(super) failed: BTreeMap<u64, Failure>,
    pub(super) loading: Option<(u64, u64)>,
    /// The split that somebody set; nothing while the version policy is followed.
    pub(super) explicit: Option<Weights>,
    /// The split that somebody asked for and whose versions are still being loaded.
    pub(super) asked: Option<Weights>,
    /// The rollout that owns the weights. All of its versions are loaded.
    pub(super) hold: Option<RolloutHold>,
    /// The rollout that is about to, once its versions are loaded.
    pub(super) asked_hold: Option<RolloutHold>,
    /// What rollouts left behind.
    pub(super) chosen: Option<Chosen>,
    /// The live split.
    pub(super) live: Option<Weights>,
    pub(super) swaps: u64,
}

#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) model: Arc<Model>,
    /// When to unload it, as it has no share any more; monotonic time since the start.
    pub(super) unload_at: Option<Duration>,
    /// Whether it was loaded with settings that have changed since.
    pub(super) outdated: bool,
}

#[derive(Debug)]
pub(super) struct Failure {
    pub(super) fingerprint: u64,
    pub(super) reason: String,
    pub(super) until_memory_is_freed: bool,
    /// When it is forgotten, if it may pass by itself; monotonic time since the start.
    pub(super) again_at: Option<Duration>,
    pub(super) quarantined: Option<Quarantined>,
    /// What served when it was refused for not being able to stand in for it: its number and the fingerprint of its files.
    pub(super) stable: Option<(u64, u64)>,
}

impl Default for PresentConfig {
    /// No file.
    fn default() -> Self {
        Self { fingerprint: None, settled: true, says: Ok(Arc::default()) }
    }
}

impl Roles {
    /// All versions that are wanted, the stable one first.
    pub fn named(&self) -> impl Iterator<Item = u64> {
        self.stable.into_iter().chain(self.warm.iter().copied().filter(|version| Some(*version) != self.stable))
    }

    /// The same of those versions alone that are to be kept.
    #[must_use]
    pub fn only(&self, is_kept: impl Fn(u64) -> bool) -> Self {
        let kept = |version: Option<u64>| version.filter(|version| is_kept(*version));
        Self {
            stable: kept(self.stable),
            canary: kept(self.canary),
            shadow: kept(self.shadow),
            warm: self.warm.iter().copied().filter(|version| is_kept(*version)).collect(),
        }
    }
}

impl ModelState {
    pub(super) fn new(settings: Arc<ModelSettings>) -> Self {
        Self {
            settings,
            config: Arc::default(),
            config_error: None,
            present: BTreeMap::new(),
            roles: None,
            loaded: BTreeMap::new(),
            failed: BTreeMap::new(),
            loading: None,
            explicit: None,
            asked: None,
            hold: None,
            asked_hold: None,
            chosen: None,
            live: None,
            swaps: 0,
        }
    }

    /// Takes in what is on disk now. What was configured outlives the files, as the versions in memory do.
    pub(super) fn observe(&mut self, found: Option<&PresentModel>) {
        self.present = found.map(|model| model.versions.clone()).unwrap_or_default();
        self.roles = found.map_or(self.roles.take(), |model| model.roles.clone());
        if let (Some(chosen), Some(roles)) = (&mut self.chosen, &self.roles) {
            // Once the registry has said something else, the same again is another word.
            chosen.instead_of = chosen.instead_of.filter(|version| Some(*version) == roles.stable);
        }
        match found.map(|model| &model.config.says) {
            Some(Ok(config)) => {
                if self.config != *config {
                    // What did not go well with the one before may with this one.
                    self.failed.clear();
                }
                (self.config, self.config_error) = (Arc::clone(config), None);
            }
            Some(Err(reason)) => self.config_error = Some(reason.clone()),
            None => {}
        }
        let present = &self.present;
        self.failed.retain(|version, failure| {
            present.get(version).is_some_and(|present| present.fingerprint == failure.fingerprint)
        });
    }

    /// The version to load next, with the fingerprint of what is on disk.
    pub(super) fn next_to_load(&self) -> Option<(u64, u64)> {
        if self.loading.is_some() || self.config_error.is_some() {
            return None;
        }
        if let Some(order) = self.held().find_map(|version| self.load_order(version)) {
            return Some(order);
        }
        let mut named = self.asked.iter().chain(self.explicit.iter()).flatten().map(|(version, _)| *version);
        match (self.owner(), &self.asked, &self.explicit) {
            (None, None, None) | (Some(_), ..) => self.kept().into_iter().find_map(|version| self.load_order(version)),
            _ => named.find_map(|version| self.load_order(version)),
        }
    }

    /// The split that should be live with what is loaded now.
    pub(super) fn due_split(&self) -> Option<Weights> {
        if let Some(hold) = &self.hold {
            return Some(hold.weights.clone());
        }
        let all_loaded = |weights: &Weights| weights.iter().all(|(version, _)| self.loaded.contains_key(version));
        if let Some(explicit) = &self.explicit {
            return if all_loaded(explicit) {
                Some(explicit.clone())
            } else {
                self.live.clone().or_else(|| self.rest_of(explicit))
            };
        }
        if self.config_error.is_some() {
            return self.live.clone();
        }
        if let Some(roles) = &self.roles {
            let is_due = |version: &u64| self.loaded.contains_key(version) && self.held_back(*version).is_none();
            let stable = self.chosen_stable().or(roles.stable);
            let whole = |version| vec![(version, 10_000)];
            let is_loaded = |version: &u64| self.loaded.contains_key(version);
            let stands_by = || self.stands_by().filter(is_loaded).map(whole);
            return stable.filter(is_due).map(whole).or_else(|| self.live.clone()).or_else(stands_by);
        }
        if let Some(kept) = self.kept_split() {
            return Some(kept);
        }
        let may_serve = |version: &u64| self.is_followed(*version) && !self.is_refused(*version);
        let highest_loaded =
            self.loaded.keys().rev().find(|version| may_serve(version) && self.held_back(**version).is_none());
        match highest_loaded {
            Some(&version) if self.may_follow(version) => Some(vec![(version, 10_000)]),
            _ => self.live.clone(),
        }
    }

    /// How every known version stands.
    pub(super) fn statuses(&self) -> BTreeMap<u64, VersionStatus> {
        let mut statuses = BTreeMap::new();
        for (&version, present) in &self.present {
            let status = match self.failed.get(&version) {
                Some(failure) if failure.fingerprint == present.fingerprint => {
                    VersionStatus::Failed { reason: failure.reason.clone(), quarantined: failure.quarantined.clone() }
                }
                _ if self.config_error.is_some() => {
                    VersionStatus::Failed { reason: self.config_error.clone().unwrap_or_default(), quarantined: None }
                }
                _ if !present.settled => VersionStatus::Settling,
                _ => VersionStatus::OnDisk,
            };
            statuses.insert(version, status);
        }
        for &version in self.loaded.keys() {
            let quarantined = self.failed.get(&version).and_then(|failure| failure.quarantined.clone());
            statuses.insert(version, VersionStatus::Loaded { note: self.note(version), quarantined });
        }
        for (version, _) in self.asked.iter().chain(&self.explicit).flatten() {
            statuses.entry(*version).or_insert(VersionStatus::Missing);
        }
        for version in self.held() {
            statuses.entry(version).or_insert(VersionStatus::Missing);
        }
        if self.explicit.is_none() {
            for version in self.config.version_policy.named() {
                statuses.entry(version).or_insert(VersionStatus::Missing);
            }
        }
        for version in self.roles.iter().flat_map(Roles::named) {
            statuses.entry(version).or_insert(VersionStatus::Missing);
        }
        if let Some((version, _)) = self.loading {
            statuses.entry(version).and_modify(|status| {
                if !matches!(status, VersionStatus::Loaded { .. }) {
                    *status = VersionStatus::Loading;
                }
            });
        }
        statuses
    }

    /// The version with the largest share, the lower one on a tie.
    pub(super) fn stable_of(weights: &Weights) -> Option<u64> {
        weights
            .iter()
            .max_by_key(|(version, weight)| (*weight, std::cmp::Reverse(*version)))
            .map(|(version, _)| *version)
    }

    /// The versions that must stay loaded: those of a rollout, those of a split that is live, set or asked for, and those of
    /// the policy.
    pub(super) fn wanted(&self) -> Vec<u64> {
        let named =
            [&self.live, &self.asked, &self.explicit].into_iter().flatten().flatten().map(|(version, _)| *version);
        let is_followed = self.explicit.is_none() || self.owner().is_some();
        let kept = if is_followed { self.kept() } else { Vec::new() };
        named.chain(self.held()).chain(kept).collect()
    }

    /// The versions that the policy keeps loaded, the highest first. Only those that are whole and did not fail: a
    /// corrupt one must not keep the one below it from serving. A loaded one counts whatever becomes of its files.
    fn kept(&self) -> Vec<u64> {
        if let Some(roles) = &self.roles {
            let named = self.chosen_stable().into_iter().chain(self.stands_by()).chain(roles.named());
            return named.filter(|version| self.is_usable(*version)).collect();
        }
        let first = self.chosen_stable().filter(|_| self.live.is_none());
        first.into_iter().chain(self.candidates().take(self.config.version_policy.count())).collect()
    }

    /// Whether a version is loaded, whatever became of its files since, or can be.
    pub(super) fn is_usable(&self, version: u64) -> bool {
        self.loaded.contains_key(&version) || self.can_be_loaded(version)
    }

    /// Whether a version's files are whole and were not refused.
    fn can_be_loaded(&self, version: u64) -> bool {
        let is_settled = self.present.get(&version).is_some_and(|present| present.settled);
        is_settled && self.config_error.is_none() && !self.has_failed(version)
    }

    /// What can be served of a split that cannot become whole: the loaded version with the largest weight, once every
    /// other one has failed or is not on disk.
    fn rest_of(&self, split: &Weights) -> Option<Weights> {
        let settled = |version: &u64| {
            self.loaded.contains_key(version) || self.has_failed(*version) || !self.present.contains_key(version)
        };
        let loaded: Weights = split.iter().filter(|(version, _)| self.loaded.contains_key(version)).copied().collect();
        let largest = Self::stable_of(&loaded)?;
        split.iter().all(|(version, _)| settled(version)).then(|| vec![(largest, 10_000)])
    }

    /// What is to be said of a loaded version.
    fn note(&self, version: u64) -> Option<String> {
        match self.failed.get(&version) {
            Some(failure) => Some(format!("its files were replaced and the new ones are refused: {}", failure.reason)),
            None if !self.present.contains_key(&version) => {
                Some("its files are gone; it is served from memory".to_owned())
            }
            None if self.explicit.is_none() && self.hold.is_none() => self.held_back(version),
            None => None,
        }
    }

    /// Whether a version is on disk and the policy considers it.
    fn is_followed(&self, version: u64) -> bool {
        self.present.contains_key(&version) && self.config.version_policy.allows(version)
    }

    fn load_order(&self, version: u64) -> Option<(u64, u64)> {
        let present = self.present.get(&version)?;
        let loaded = self.loaded.get(&version);
        let is_current =
            loaded.is_some_and(|loaded| loaded.model.facts.fingerprint == present.fingerprint && !loaded.outdated);
        let wanted = present.settled && !is_current && !self.has_failed(version);
        wanted.then_some((version, present.fingerprint))
    }

    fn has_failed(&self, version: u64) -> bool {
        let fingerprint = self.present.get(&version).map(|present| present.fingerprint);
        self.failed.get(&version).is_some_and(|failure| Some(failure.fingerprint) == fingerprint)
    }

    /// Whether the highest version may become stable: at once when nothing serves or when it is the newer one; when it
    /// is older than the one that serves, only because that one's files are gone or the policy excludes it.
    fn may_follow(&self, version: u64) -> bool {
        match self.live.as_ref().and_then(Self::stable_of) {
            Some(stable) => version >= stable || !self.is_followed(stable),
            None => true,
        }
    }
}
