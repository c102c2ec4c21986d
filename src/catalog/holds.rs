//! Rollouts as the catalog sees them: who owns a model's weights, which version is stable because it was chosen, and
//! which version is to come next.
//!
//! A hold wins over everything else that has a say in a split, so that nobody moves the weights of a rollout but the
//! rollout. What was chosen outlives the hold: the version rule would else undo a rollback at once, because what was rolled
//! back is the highest version still.
//!
//! A model whose settings have a `rollout` is *managed*: once a version serves, no newer one takes its place by itself. It
//! is the target, loaded and warm without a share, until a rollout gives it one.
//!
//! Invariant: versions of a hold are loaded for as long as it lasts; a version that was refused is never the target while
//! its bytes are the same.

use super::Mirror;
use super::state::{ModelState, Weights};
use crate::observe::trial::Trial;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The most refused versions of a model that are remembered; the highest stay.
pub const MOST_REFUSED: usize = 256;

/// Weights that a rollout owns until it lets go of them.
#[derive(Clone, Debug)]
pub struct RolloutHold {
    /// The rollout.
    pub id: String,
    /// Versions and shares in hundredths of a percent, adding up to 10,000. Those without a share stay loaded.
    pub weights: Weights,
    /// What both arms are counted in, if they are.
    pub trial: Option<Arc<Trial>>,
    /// Where copies of the stable version's requests go, if they are copied.
    pub shadow: Option<Arc<Mirror>>,
}

/// What a rollout left behind.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chosen {
    /// The version that is stable from now on.
    pub stable: u64,
    /// Versions that were rolled back, with the fingerprints of their files: other files are another try.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub refused: BTreeMap<u64, u64>,
    /// For a model of a registry, which version the registry called stable then. What it says counts again as soon as it
    /// says something else, so that whoever moves an alias is obeyed, and one that is moved late or never undoes nothing.
    /// Filled in at the release where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instead_of: Option<u64>,
}

impl ModelState {
    /// The version that is to be rolled out next, if one is: of a registry its canary, of a directory the highest version
    /// that the policy allows, that can be loaded and that was not refused. None while nothing is live.
    pub(super) fn target(&self) -> Option<u64> {
        let stable = self.live.as_ref().and_then(Self::stable_of)?;
        let wanted = match &self.roles {
            Some(roles) => roles.canary.filter(|version| self.is_usable(*version)),
            None => self.candidates().next(),
        };
        wanted.filter(|version| *version != stable)
    }

    /// The versions of a directory that may become stable, the highest first: those that the policy allows, that are or
    /// can be loaded, and that were not refused.
    pub(super) fn candidates(&self) -> impl Iterator<Item = u64> {
        let allowed = self.present.keys().rev().copied().filter(|version| self.config.version_policy.allows(*version));
        allowed.filter(|version| self.is_usable(*version) && !self.is_refused(*version))
    }

    /// Whether a rollout has ended in favour of other files than these.
    pub(super) fn is_refused(&self, version: u64) -> bool {
        let fingerprint = self.present.get(&version).map(|present| present.fingerprint);
        let refused = self.chosen.as_ref().and_then(|chosen| chosen.refused.get(&version));
        refused.is_some_and(|refused| Some(*refused) == fingerprint)
    }

    /// The version that is stable because it was chosen, as long as that holds and it can be had.
    pub(super) fn chosen_stable(&self) -> Option<u64> {
        let chosen = self.chosen.as_ref()?;
        let holds = match &self.roles {
            Some(roles) => chosen.instead_of.is_some() && chosen.instead_of == roles.stable,
            None => true,
        };
        (holds && self.is_usable(chosen.stable)).then_some(chosen.stable)
    }

    /// Whether newer versions wait for a rollout.
    pub(super) fn is_managed(&self) -> bool {
        self.settings.rollout.is_some()
    }

    /// The rollout that owns the weights, or is about to.
    pub(super) fn owner(&self) -> Option<&str> {
        self.asked_hold.as_ref().or(self.hold.as_ref()).map(|hold| hold.id.as_str())
    }

    /// The versions that holds name, those of one that is waited for first.
    pub(super) fn held(&self) -> impl Iterator<Item = u64> {
        let holds = self.asked_hold.iter().chain(&self.hold);
        holds.flat_map(|hold| hold.weights.iter().map(|(version, _)| *version))
    }

    /// The split of a managed model of a directory, or of one with a chosen version: what serves stays, alone. None where
    /// the version rule has to say which.
    pub(super) fn kept_split(&self) -> Option<Weights> {
        let whole = |version: u64| vec![(version, 10_000)];
        let live = self.live.as_ref().and_then(Self::stable_of);
        match (live, self.chosen_stable()) {
            (Some(live), _) if self.is_managed() => Some(whole(live)),
            (None, Some(chosen)) => self.loaded.contains_key(&chosen).then(|| whole(chosen)),
            _ => None,
        }
    }
}

impl Chosen {
    /// With no more refused versions than are remembered.
    #[must_use]
    pub(super) fn bounded(mut self) -> Self {
        while self.refused.len() > MOST_REFUSED {
            self.refused.pop_first();
        }
        self
    }
}
