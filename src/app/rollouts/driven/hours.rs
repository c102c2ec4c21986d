//! What is counted after promotion, hour by hour where the version before is known by the hour of the week.
//!
//! The judge says what the present hour is like, because it has the windows; here that is put beside what was counted. An
//! hour turns when the judge has seen it turn.
//!
//! Invariant: before promotion nothing is kept apart, since both arms are in the same hour.

use super::Driven;
use crate::catalog::Entry;
use crate::judge::Board;
use crate::observe::trial::{HourReference, Trial, TrialCounts};
use crate::rollout::judging::HourHistory;

/// Counts of the present part, by hour.
#[derive(Default)]
pub(super) struct Hours {
    /// The part that it counts.
    part: Option<u64>,
    history: HourHistory,
    /// What the version before is like in the present hour, in the cells of the trial.
    present: Option<HourReference>,
}

impl Driven {
    /// Takes in what the version before is like in the present hour.
    pub(super) fn see_hour(&mut self, entry: &Entry, board: &Board) {
        let state = self.state();
        if !state.is_promoted() {
            return;
        }
        let known = state.judging.as_ref().zip(entry.loaded.get(&state.beginning.stable));
        self.hours.present = known.and_then(|(judging, stable)| {
            board.hour_of(stable.identity)?.on(&judging.layout, stable.recorder.columns())
        });
    }

    /// What was counted of the present part: one, or after promotion one for each hour that is known.
    pub(super) fn counted(&mut self, trial: &Trial) -> Vec<TrialCounts> {
        let (counters, state) = (trial.counts(), self.course.state());
        if !state.is_promoted() {
            return vec![counters];
        }
        if self.hours.part != Some(state.part) {
            (self.hours.part, self.hours.history) = (Some(state.part), HourHistory::default());
        }
        self.hours.history.read(&counters, self.hours.present.as_ref()).to_vec()
    }
}
