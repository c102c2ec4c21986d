//! Splits that people ask for. While a rollout owns a model's weights they are refused.
//!
//! Invariant: whoever asks gets one answer: that the split is live, or why it is not.

use super::Publisher;
use crate::catalog::VersionStatus;
use crate::catalog::state::{ModelState, Weights};
use crate::catalog::wishes::{SplitError, SplitReply, SplitView};
use crate::config::ModelSettings;
use crate::route::Split;
use std::sync::Arc;
use std::time::Duration;

impl Publisher {
    /// Everything that would keep the splits of new settings from becoming live; nothing is changed.
    #[must_use]
    pub fn refused_splits(&self, settings: impl Fn(&str) -> Arc<ModelSettings>) -> Vec<String> {
        self.models
            .iter()
            .filter_map(|(name, state)| {
                let new = super::configured_split(&settings(name));
                let changed = new.filter(|new| Some(new) != super::configured_split(&state.settings).as_ref())?;
                let error = self.check_split(name, &changed).err()?;
                Some(format!("models.{name}.split: {error}"))
            })
            .collect()
    }

    /// Asks for a split. `reply` is called once it is live, or refused: at once, or when a load fails.
    pub fn set_split(&mut self, name: &str, weights: Weights, reply: SplitReply, now: Duration) {
        match self.check_split(name, &weights) {
            Err(error) => reply(Err(error)),
            Ok(()) => {
                if let Some(earlier) = self.replies.insert(name.to_owned(), reply) {
                    earlier(Err(SplitError::Superseded));
                }
                if let Some(state) = self.models.get_mut(name) {
                    state.asked = Some(weights);
                }
                self.advance_asked(name, now);
                self.publish_if_changed(now);
            }
        }
    }

    /// Lets the version policy rule again.
    pub fn clear_split(&mut self, name: &str, reply: SplitReply, now: Duration) {
        if let Err(error) = self.check_owner(name) {
            return reply(Err(error));
        }
        let Some(state) = self.models.get_mut(name) else {
            return reply(Err(SplitError::UnknownModel { name: name.to_owned() }));
        };
        state.explicit = None;
        state.asked = None;
        if let Some(earlier) = self.replies.remove(name) {
            earlier(Err(SplitError::Superseded));
        }
        self.republish(now);
        let weights = self.models.get(name).and_then(|state| state.live.clone()).unwrap_or_default();
        reply(Ok(SplitView { weights, generation: self.generation }));
    }

    fn check_split(&self, name: &str, weights: &Weights) -> Result<(), SplitError> {
        self.check_owner(name)?;
        self.check_weights(name, weights)
    }

    fn check_owner(&self, name: &str) -> Result<(), SplitError> {
        let owner = self.models.get(name).and_then(ModelState::owner);
        owner.map_or(Ok(()), |id| Err(SplitError::RolloutOwns { name: name.to_owned(), id: id.to_owned() }))
    }

    pub(super) fn check_weights(&self, name: &str, weights: &Weights) -> Result<(), SplitError> {
        let state = self.models.get(name).ok_or_else(|| SplitError::UnknownModel { name: name.to_owned() })?;
        Split::try_new(weights).map_err(|error| SplitError::Invalid { reason: error.to_string() })?;
        let missing = weights
            .iter()
            .find(|(version, _)| !state.present.contains_key(version) && !state.loaded.contains_key(version));
        missing.map_or(Ok(()), |&(version, _)| Err(unknown_version(name, version, state)))
    }

    /// Makes an asked-for split the explicit one when its versions are loaded, or refuses it when one cannot be.
    pub(super) fn advance_asked(&mut self, name: &str, now: Duration) {
        let Some(state) = self.models.get_mut(name) else {
            if let Some(reply) = self.replies.remove(name) {
                reply(Err(SplitError::UnknownModel { name: name.to_owned() }));
            }
            return;
        };
        let Some(asked) = state.asked.clone() else { return };
        if let Some(refusal) = refusal(name, state, &asked) {
            state.asked = None;
            if let Some(reply) = self.replies.remove(name) {
                reply(Err(refusal));
            }
        } else if asked.iter().all(|(version, _)| state.loaded.contains_key(version)) {
            state.asked = None;
            state.explicit = Some(asked.clone());
            self.republish(now);
            if let Some(reply) = self.replies.remove(name) {
                reply(Ok(SplitView { weights: asked, generation: self.generation }));
            }
        }
    }
}

/// Why a split cannot become live, if it cannot.
pub(super) fn refusal(name: &str, state: &ModelState, weights: &Weights) -> Option<SplitError> {
    let statuses = state.statuses();
    weights.iter().find_map(|&(version, _)| match statuses.get(&version) {
        Some(VersionStatus::Failed { reason, .. }) => {
            Some(SplitError::LoadFailed { name: name.to_owned(), version, reason: reason.clone() })
        }
        None | Some(VersionStatus::Missing) => Some(unknown_version(name, version, state)),
        _ => None,
    })
}

fn unknown_version(name: &str, version: u64, state: &ModelState) -> SplitError {
    let statuses = state.statuses();
    let known = statuses.iter().filter(|(_, status)| **status != VersionStatus::Missing);
    let known: Vec<String> = known.map(|(version, _)| version.to_string()).collect();
    SplitError::UnknownVersion { name: name.to_owned(), version, known: known.join(", ") }
}
