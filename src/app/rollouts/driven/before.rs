//! The version before, which a rollout compares with and goes back to: whether it can be had.
//!
//! A rollout that an earlier process left needs it loaded again, and its files may be gone since. A target that has all of
//! the traffic then goes on serving, watched by what was frozen of the other, on its own edges; in every other phase
//! nothing grows. Either is said, and mends itself as soon as the files are there again: what is not listed now may be in
//! the next listing, or on its way from a registry, so that nothing that could not be undone is done for a long time.
//!
//! Invariant: a version that is loaded, or can be, is not missing, whatever became of its files.

use super::guards::Guards;
use super::{Driven, Reach, share_of};
use crate::catalog::{Entry, Model, VersionStatus};
use crate::observe::trial::TrialPlan;
use crate::rollout::journal::Entry as JournalEntry;
use crate::rollout::judging::JudgingPlan;
use crate::rollout::machine::Event;
use crate::rollout::state::ALL;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long it is missing before that is said, and the target is watched without it.
const SAID_AFTER: Duration = Duration::from_secs(10);
/// How long it is missing before nobody waits for it any more who would take the target's share away.
const GONE_AFTER: Duration = Duration::from_secs(300);

/// Since when the version before is missing.
#[derive(Default)]
pub(super) struct Before {
    missing: Option<Instant>,
}

impl Before {
    fn is_missing_for(&self, time: Duration) -> bool {
        self.missing.is_some_and(|since| since.elapsed() >= time)
    }
}

impl Driven {
    /// Whether the version before cannot be had.
    pub(super) fn is_bereft(&self) -> bool {
        self.before.is_missing_for(SAID_AFTER)
    }

    /// Looks whether the version before is there or can be loaded.
    pub(super) fn see_before(&mut self, entry: &Entry, reach: &Reach<'_>) {
        let state = self.state();
        let (stable, target) = (state.beginning.stable, state.beginning.target);
        let status = entry.versions.get(&stable);
        let may_come = matches!(status, Some(VersionStatus::OnDisk | VersionStatus::Settling | VersionStatus::Loading));
        if entry.loaded.contains_key(&stable) || may_come || !reach.is_settled || state.phase.is_ended() {
            self.before = Before::default();
            return;
        }
        self.before.missing.get_or_insert_with(Instant::now);
        if !self.is_bereft() {
            return;
        }
        let why = match status {
            Some(VersionStatus::Failed { reason, .. }) => format!("version {stable} cannot be loaded again: {reason}"),
            _ => format!("the files of version {stable} are not there any more"),
        };
        let reason = match self.state().had_share {
            true => format!("{why}, and nothing can take the place of version {target}"),
            false => format!("{why}, and there is nothing to compare version {target} with"),
        };
        let for_good = self.before.is_missing_for(GONE_AFTER);
        self.course.happen(&Event::Bereft { reason, for_good }, reach.now);
    }

    /// The target, where it has all of the traffic and is the only one that is left to be counted.
    pub(super) fn last_left<'a>(&self, entry: &'a Entry) -> Option<&'a Arc<Model>> {
        entry.loaded.get(&self.state().beginning.target).filter(|_| self.is_bereft() && self.state().weight == ALL)
    }

    /// After a restart: the edges of before, or new ones where those cannot be had again.
    pub(super) fn arm_again(&mut self, entry: &Entry, reach: &Reach<'_>) {
        if self.plan.is_some() {
            return;
        }
        let Some(judging) = self.state().judging.clone() else { return };
        let Some(model) = entry.loaded.get(&self.state().beginning.stable).or_else(|| self.last_left(entry)) else {
            return;
        };
        let armed = match TrialPlan::resumed(&model.recorder, judging.layout.clone()) {
            Some(plan) => return self.plan = Some(Arc::new(plan)),
            // What is frozen is compared on its own edges.
            None if self.state().is_promoted() => {
                let plan = TrialPlan::on_other_outputs(&model.recorder, judging.layout.clone());
                let layout = plan.layout().clone();
                self.plan = Some(Arc::new(plan));
                Ok(JudgingPlan { layout, ..judging })
            }
            None => self.arm(entry),
        };
        match armed {
            Ok(judging) => {
                self.guards = Guards::default();
                self.course.take(vec![JournalEntry::Armed { judging: Box::new(judging) }], reach.now);
            }
            Err(cause) => tracing::error!(model = self.model, cause, "a rollout cannot be counted"),
        }
    }

    /// What is to be live; nothing where it ended.
    pub(super) fn weights(&self) -> Option<Vec<(u64, u16)>> {
        let state = self.state();
        let weights = state.weights()?;
        let (stable, target) = (state.beginning.stable, state.beginning.target);
        match share_of(&weights, target) {
            // Without edges nothing is counted, and what is not counted gets no share: first both have to be there.
            1.. if self.plan.is_none() => Some(alone(stable, target)),
            ALL if self.is_bereft() => Some(vec![(target, ALL)]),
            _ => Some(weights),
        }
    }
}

/// All traffic to the stable version, the target beside it without a share; in the order of their numbers.
fn alone(stable: u64, target: u64) -> Vec<(u64, u16)> {
    let mut weights = vec![(stable, ALL), (target, 0)];
    weights.sort_unstable();
    weights
}
