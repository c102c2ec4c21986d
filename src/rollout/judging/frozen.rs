//! What the stable version did while it was there to be compared with.
//!
//! What it is like in an hour of the week is not here but beside what was counted in that hour, see
//! [`TrialCounts::hour`]: an hour that is over is compared with its own reference ever after.
//!
//! Invariant: a sum of counts, whatever order they came in.

use crate::observe::trial::{
    ArmTally, GUARD_GROUPS, GuardSegment, GuardTally, OutputCells, TrialCounts, TrialLayout, ValueSums,
};
use serde::{Deserialize, Serialize};

/// The stable version's counts over all shares of a rollout. Earlier releases wrote down a `season` with it that was
/// always null; it is passed over.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Frozen {
    /// Its events.
    pub stable: ArmTally,
    /// All of its requests, by group.
    pub guards: [GuardTally; GUARD_GROUPS],
}

impl Frozen {
    /// The sums of these, of which those without a choice between the arms are left out.
    #[must_use]
    pub fn of(counts: &[TrialCounts]) -> Self {
        let mut frozen = Self::default();
        for counts in counts {
            for segment in counts.segments.iter().filter(|segment| segment.weight < 1.0) {
                add_arm(&mut frozen.stable, &segment.stable);
            }
        }
        frozen.guards = stable_guards(counts.iter().map(|counts| &counts.guards));
        frozen
    }

    /// The same for whoever counts on another layout: cells that mean something else there are left out. Where outputs have
    /// other edges, other predictions are defects, and of these it says nothing: as if all of its own were.
    #[must_use]
    pub fn on(&self, before: &TrialLayout, after: &TrialLayout) -> Self {
        let mut frozen = self.clone();
        if before.latency_edges != after.latency_edges {
            frozen.stable.latency.clear();
        }
        if before.outputs != after.outputs {
            frozen.stable.defects = defects(&self.stable).1;
        }
        let place = |cells: &OutputCells| before.outputs.iter().position(|known| known == cells);
        let counts = |cells: &OutputCells| place(cells).map(|place| output(&self.stable, place).to_vec());
        frozen.stable.outputs = after.outputs.iter().map(|cells| counts(cells).unwrap_or_default()).collect();
        frozen
    }
}

/// Sums of stable's guards at shares that left it some.
pub(super) fn stable_guards<'a>(segments: impl Iterator<Item = &'a GuardSegment>) -> [GuardTally; GUARD_GROUPS] {
    let mut sums = [GuardTally::default(); GUARD_GROUPS];
    for segment in segments.filter(|segment| segment.weight < 1.0) {
        add_guards(&mut sums, &segment.stable);
    }
    sums
}

/// Adds guards up, group by group.
pub(super) fn add_guards(sums: &mut [GuardTally; GUARD_GROUPS], more: &[GuardTally; GUARD_GROUPS]) {
    for (sum, more) in sums.iter_mut().zip(more) {
        sum.answers = sum.answers.saturating_add(more.answers);
        sum.errors = sum.errors.saturating_add(more.errors);
        sum.broken = sum.broken.saturating_add(more.broken);
        sum.non_finite = sum.non_finite.saturating_add(more.non_finite);
        sum.slow = sum.slow.saturating_add(more.slow);
    }
}

/// Adds tallies up.
pub(in crate::rollout) fn add_arm(sum: &mut ArmTally, more: &ArmTally) {
    sum.events = sum.events.saturating_add(more.events);
    sum.errors = sum.errors.saturating_add(more.errors);
    sum.refusals = sum.refusals.saturating_add(more.refusals);
    sum.defects = sum.defects.saturating_add(more.defects);
    add_cells(&mut sum.latency, &more.latency);
    sum.outputs.resize_with(sum.outputs.len().max(more.outputs.len()), Vec::new);
    sum.outputs.iter_mut().zip(&more.outputs).for_each(|(sum, more)| add_cells(sum, more));
    sum.values.resize(sum.values.len().max(more.values.len()), ValueSums::default());
    sum.values.iter_mut().zip(&more.values).for_each(|(sum, more)| sum.merge(more));
}

/// Adds what a tally has more than it had before. What is added up of its values is no matter of judging and left out.
pub(super) fn add_gain(sum: &mut ArmTally, newest: &ArmTally, before: &ArmTally) {
    let gain = |sum: u64, newest: u64, before: u64| sum.saturating_add(newest.saturating_sub(before));
    sum.events = gain(sum.events, newest.events, before.events);
    sum.errors = gain(sum.errors, newest.errors, before.errors);
    sum.refusals = gain(sum.refusals, newest.refusals, before.refusals);
    sum.defects = gain(sum.defects, newest.defects, before.defects);
    add_cells(&mut sum.latency, &gained_cells(&newest.latency, &before.latency));
    sum.outputs.resize_with(sum.outputs.len().max(newest.outputs.len()), Vec::new);
    for (place, (sum, newest)) in sum.outputs.iter_mut().zip(&newest.outputs).enumerate() {
        add_cells(sum, &gained_cells(newest, output(before, place)));
    }
}

fn gained_cells(newest: &[u64], before: &[u64]) -> Vec<u64> {
    let before = before.iter().copied().chain(std::iter::repeat(0));
    newest.iter().zip(before).map(|(newest, before)| newest.saturating_sub(before)).collect()
}

fn add_cells(sums: &mut Vec<u64>, more: &[u64]) {
    sums.resize(sums.len().max(more.len()), 0);
    sums.iter_mut().zip(more).for_each(|(sum, more)| *sum = sum.saturating_add(*more));
}

/// Events among trials of a tally: failures.
pub(in crate::rollout) fn errors(tally: &ArmTally) -> (u64, u64) {
    (tally.errors, tally.events)
}

/// Refusals.
pub(super) fn refusals(tally: &ArmTally) -> (u64, u64) {
    (tally.refusals, tally.events)
}

/// Predictions with a defect, among all predictions.
pub(super) fn defects(tally: &ArmTally) -> (u64, u64) {
    (tally.defects, tally.events.saturating_sub(tally.errors).saturating_sub(tally.refusals))
}

/// Durations beyond an edge, among all.
pub(in crate::rollout) fn beyond(tally: &ArmTally, edge: usize) -> (u64, u64) {
    let sum = |cells: &[u64]| cells.iter().fold(0_u64, |sum, count| sum.saturating_add(*count));
    (tally.latency.get(edge + 1..).map_or(0, sum), sum(&tally.latency))
}

/// Cells of a column of the outputs; none if it was not counted.
pub(super) fn output(tally: &ArmTally, column: usize) -> &[u64] {
    tally.outputs.get(column).map_or(&[], Vec::as_slice)
}
