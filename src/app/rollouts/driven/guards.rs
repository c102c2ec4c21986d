//! The guards of a rollout: what was read of them, cut into segments, and what it came to.
//!
//! Invariant: segments of parts that are over stay as they were.

use crate::observe::trial::{GuardSegment, Trial, TrialCounts};
use crate::rollout::Judgement;
use crate::rollout::judging::GuardHistory;

#[derive(Default)]
pub(super) struct Guards {
    history: GuardHistory,
    /// The part that it counts.
    part: Option<u64>,
    last: Option<GuardSegment>,
    pub(super) judgement: Option<Judgement>,
}

impl Guards {
    /// Those of a rollout that an earlier process left: one segment for each part that was written down.
    pub(super) fn of(parts: &[TrialCounts]) -> Self {
        let mut guards = Self::default();
        for part in parts {
            guards.history.begin(part.guards.weight);
            guards.history.read(&part.guards);
        }
        guards
    }

    /// All segments so far, if something was counted since the last reading.
    pub(super) fn read(&mut self, part: u64, trial: &Trial) -> Option<Vec<GuardSegment>> {
        let counters = trial.guards();
        if self.part == Some(part) && self.last.as_ref() == Some(&counters) {
            return None;
        }
        if self.part != Some(part) {
            self.history.begin(trial.share().weight());
            self.part = Some(part);
        }
        self.history.read(&counters);
        self.last = Some(counters);
        Some(self.history.segments())
    }
}
