//! Which versions can stand in for the one that serves: accept every request that it accepts, and answer with at least what
//! it answers.
//!
//! A directory is somebody's hand: what does not fit is loaded, stays at 0 % and says why, and whoever put it there may
//! name it in a split. A registry's alias may be moved by a pipeline that knows nothing of clients. What does not fit there
//! is refused before it is opened for requests, its bytes are held with the reason, and the stable version goes on;
//! `allow_signature_change` permits the break. It is tried again when something else serves, when that setting changes and
//! when its bytes do.
//!
//! A restart must not turn that around: while nothing serves, what could not stand in for a version before is still held
//! if that version can be loaded, and that version serves, though the registry calls the other one stable.
//!
//! Invariant: of a registry, nothing is kept loaded that cannot stand in for what serves, but for what somebody's split or
//! rollout names, and what bakes.

use super::Model;
use super::state::{Failure, ModelState, Roles};
use super::wishes::{LoadFailure, Predecessor};
use std::sync::Arc;

impl ModelState {
    /// Whose clients a version must be able to serve once it is loaded.
    pub(super) fn predecessor(&self, version: u64) -> Predecessor {
        let compares_itself = self.held().any(|held| held == version);
        if self.roles.is_none() || self.settings.allow_signature_change || compares_itself {
            return Predecessor::Nobody;
        }
        match self.stable() {
            Some((version, model)) => Predecessor::Serving { version, signature: model.signature().clone() },
            None => {
                let others = self.present.keys().copied().filter(|other| *other != version && self.is_usable(*other));
                Predecessor::Any(others.collect())
            }
        }
    }

    /// Why a loaded version does not follow the stable one by itself, if it does not.
    pub(super) fn held_back(&self, version: u64) -> Option<String> {
        let (stable, difference) = self.difference(&self.loaded.get(&version)?.model)?;
        let remedy = if self.roles.is_some() { PERMIT } else { "it stays at 0 % until a split names it" };
        Some(format!("it cannot stand in for version {stable}: {difference}; {remedy}"))
    }

    /// What was loaded for a version, if it may be kept: a version with a share is what clients send to, also when its files
    /// are replaced under the same number.
    pub(super) fn may_stand_in(
        &self,
        version: u64,
        model: Arc<Model>,
        predecessor: &Predecessor,
    ) -> Result<Arc<Model>, LoadFailure> {
        let refused =
            |reason: String| LoadFailure { reason, until_memory_is_freed: false, may_pass: false, quarantined: None };
        let has_share = self.live.iter().flatten().any(|(live, weight)| *live == version && *weight > 0);
        let before = self.loaded.get(&version).filter(|_| has_share && !self.settings.allow_signature_change);
        if let Some(difference) =
            before.and_then(|before| model.signature().can_replace(before.model.signature()).err())
        {
            return Err(refused(format!("it cannot stand in for what version {version} was before: {difference}")));
        }
        // The loader has compared it with what served when it began, which may be something else by now.
        let is_compared = *predecessor != Predecessor::Nobody && !self.held().any(|held| held == version);
        match self.difference(&model).filter(|_| is_compared) {
            Some((stable, difference)) => {
                Err(refused(format!("it cannot stand in for version {stable}: {difference}; {PERMIT}")))
            }
            None => Ok(model),
        }
    }

    /// Versions that are loaded because the registry names them, from before there was what serves now, and that cannot stand
    /// in for it. Unloaded, they are loaded anew, compared and refused.
    pub(super) fn misfits(&self) -> Vec<u64> {
        let named =
            |split: &Option<Vec<(u64, u16)>>, version: u64| split.iter().flatten().any(|(of, _)| *of == version);
        let is_kept = |version: u64| {
            named(&self.live, version)
                || named(&self.asked, version)
                || named(&self.explicit, version)
                || self.held().any(|held| held == version)
        };
        let of_registry = self.roles.iter().flat_map(Roles::named);
        of_registry.filter(|version| !is_kept(*version) && self.held_back(*version).is_some()).collect()
    }

    /// Forgets refusals for not standing in for something else than what serves now, or, while nothing does, for what cannot
    /// be had any more.
    pub(super) fn forget_refusals_of_before(&mut self) {
        let now = self.stable_files();
        let is_of_before =
            |failure: &Failure| match (now, failure.quarantined.as_ref().and_then(|held| held.instead_of)) {
                (Some(_), instead_of) => failure.stable != now && (failure.stable.is_some() || instead_of.is_some()),
                (None, instead_of) => instead_of.is_some_and(|version| !self.is_usable(version)),
            };
        let forgotten = self.failed.iter().filter(|(_, failure)| is_of_before(failure));
        let forgotten: Vec<u64> = forgotten.map(|(version, _)| *version).collect();
        for version in forgotten {
            self.failed.remove(&version);
        }
    }

    /// What serves while nothing does, of a registry that calls a version stable whose bytes are held for not being able to
    /// stand in for this one.
    pub(super) fn stands_by(&self) -> Option<u64> {
        if self.live.is_some() {
            return None;
        }
        let refused = self.failed.get(&self.roles.as_ref()?.stable?)?;
        refused.quarantined.as_ref()?.instead_of.filter(|version| self.is_usable(*version))
    }

    /// Number of the stable version, and the fingerprint of the files that it was loaded from.
    pub(super) fn stable_files(&self) -> Option<(u64, u64)> {
        self.stable().map(|(version, model)| (version, model.facts.fingerprint))
    }

    fn stable(&self) -> Option<(u64, &Arc<Model>)> {
        let stable = self.live.as_ref().and_then(Self::stable_of)?;
        Some((stable, &self.loaded.get(&stable)?.model))
    }

    /// The stable version, and what its clients would notice if this took its place.
    fn difference(&self, model: &Model) -> Option<(u64, String)> {
        let (stable, before) = self.stable().filter(|_| !self.settings.allow_signature_change)?;
        Some((stable, model.signature().can_replace(before.signature()).err()?))
    }
}

/// What may be done about it.
const PERMIT: &str = "models.<name>.allow_signature_change permits it";
