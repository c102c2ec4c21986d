//! A rollout as it is shown: what its journal says, and what was seen since.
//!
//! Invariant: of a rollout that has ended, what is shown is what ended it.

use super::Driven;
use crate::rollout::state::State;
use crate::rollout::{Pause, RolloutView, progress};

impl Driven {
    /// The rollout, as it is shown.
    pub(in crate::app::rollouts) fn view(&self) -> RolloutView {
        let (shown, is_raising, trouble) = (view_of(self.state()), self.course.is_raising(), self.course.trouble());
        RolloutView {
            // A larger share that cannot be written down is waited for.
            pause: shown.pause.or_else(|| trouble.filter(|_| is_raising).map(|_| Pause::Sensor)),
            // What ended it is what it came to.
            judgement: if self.state().ends.is_some() || self.state().phase.is_ended() {
                shown.judgement.or_else(|| self.judgement.clone())
            } else {
                self.judgement.clone().or(shown.judgement)
            },
            guards: self.guards.judgement.clone(),
            shadow: self.copies.view(),
            test: self.test.clone(),
            progress: progress(self.state(), self.seen, self.now),
            // What was missing may have come back since.
            problem: trouble
                .map(|cause| format!("it cannot be written down: {cause}"))
                .or_else(|| shown.problem.filter(|_| self.is_bereft())),
            ..shown
        }
    }
}

/// A rollout, as its journal shows it.
pub(in crate::app::rollouts) fn view_of(state: &State) -> RolloutView {
    RolloutView {
        id: state.beginning.id.clone(),
        model: state.beginning.model.clone(),
        target: state.beginning.target,
        digest: Some(state.beginning.digest.clone()),
        stable: state.beginning.stable,
        generation: state.changed,
        phase: state.phase,
        pause: state.pause,
        weight: f64::from(state.weight) / 100.0,
        started_at: state.started_at,
        since: state.since,
        ended_at: state.ended_at,
        reason: state.reason.clone(),
        progress: None,
        judgement: state.decided.clone(),
        guards: None,
        shadow: None,
        test: None,
        problem: state.problem.clone(),
    }
}
