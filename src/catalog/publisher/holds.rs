//! Rollouts take a model's weights, change them, and let go of them.
//!
//! A hold is answered like a split: when it is live, or with the reason why it is not. All versions of the hold before it
//! stay loaded meanwhile, so that weights which are taken back are live before the call returns.
//!
//! Invariant: while a hold is there its weights are the live ones, and nobody else's.

use super::Publisher;
use super::splits::refusal;
use crate::catalog::holds::{Chosen, RolloutHold};
use crate::catalog::state::ModelState;
use crate::catalog::wishes::{SplitError, SplitReply, SplitView};
use std::collections::BTreeMap;
use std::time::Duration;

impl Publisher {
    /// Gives a rollout the weights of its model, until it is [released](Self::release). `reply` is called once they are
    /// live, or refused: at once, or when a load fails. A hold that is there already is replaced, by whichever rollout.
    pub fn hold(&mut self, name: &str, hold: RolloutHold, reply: SplitReply, now: Duration) {
        if let Err(error) = self.check_weights(name, &hold.weights) {
            return reply(Err(error));
        }
        if let Some(waiting) = self.replies.remove(name) {
            waiting(Err(SplitError::RolloutOwns { name: name.to_owned(), id: hold.id.clone() }));
        }
        if let Some(earlier) = self.hold_replies.insert(name.to_owned(), reply) {
            earlier(Err(SplitError::Superseded));
        }
        if let Some(state) = self.models.get_mut(name) {
            state.asked = None;
            state.asked_hold = Some(hold);
        }
        self.advance_hold(name, now);
        self.publish_if_changed(now);
    }

    /// Ends the hold of a model. With a version that was `chosen` that is stable from now on, and a split that was set
    /// before is forgotten; without, what was set before, the registry or the version rule has its say again.
    pub fn release(&mut self, name: &str, chosen: Option<Chosen>, now: Duration) {
        if let Some(earlier) = self.hold_replies.remove(name) {
            earlier(Err(SplitError::Superseded));
        }
        let registered = self.models.get(name).and_then(|state| state.roles.as_ref()?.stable);
        let chosen = chosen.map(|chosen| Chosen { instead_of: chosen.instead_of.or(registered), ..chosen }.bounded());
        if let Some(chosen) = &chosen {
            self.chosen.insert(name.to_owned(), chosen.clone());
        }
        let Some(state) = self.models.get_mut(name) else { return };
        (state.hold, state.asked_hold) = (None, None);
        let stable = match chosen {
            Some(chosen) => {
                let stable = Some(chosen.stable).filter(|version| state.loaded.contains_key(version));
                (state.explicit, state.chosen) = (None, Some(chosen));
                stable
            }
            None => None,
        };
        // Also where nothing else has a say: a canary must not keep a share that nobody watches.
        let alone = stable.or_else(|| state.live.as_ref().and_then(ModelState::stable_of));
        super::make_live(name, state, alone.map(|version| vec![(version, 10_000)]));
        self.republish(now);
    }

    /// Takes in what rollouts of an earlier process left behind, before the first [`Publisher::observe`].
    pub fn remember(&mut self, chosen: BTreeMap<String, Chosen>) {
        self.chosen.extend(chosen.into_iter().map(|(name, chosen)| (name, chosen.bounded())));
    }

    /// Makes a hold that is waited for the live one when its versions are loaded, or refuses it when one cannot be.
    pub(super) fn advance_hold(&mut self, name: &str, now: Duration) {
        let Some(state) = self.models.get_mut(name) else {
            return self.answer_hold(name, Err(SplitError::UnknownModel { name: name.to_owned() }));
        };
        let Some(weights) = state.asked_hold.as_ref().map(|hold| hold.weights.clone()) else { return };
        if let Some(refusal) = refusal(name, state, &weights) {
            state.asked_hold = None;
            self.answer_hold(name, Err(refusal));
        } else if weights.iter().all(|(version, _)| state.loaded.contains_key(version)) {
            state.hold = state.asked_hold.take();
            self.republish(now);
            self.answer_hold(name, Ok(SplitView { weights, generation: self.generation }));
        }
    }

    fn answer_hold(&mut self, name: &str, outcome: Result<SplitView, SplitError>) {
        if let Some(reply) = self.hold_replies.remove(name) {
            reply(outcome);
        }
    }
}

#[cfg(test)]
impl Publisher {
    /// The weights that a rollout owns.
    pub(in crate::catalog) fn held_weights(&self, name: &str) -> Option<Vec<(u64, u16)>> {
        self.models.get(name)?.hold.as_ref().map(|hold| hold.weights.clone())
    }
}
