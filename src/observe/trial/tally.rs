//! Where a worker counts: the counters of a trial one behind the other, and how they are read again.
//!
//! Each arm's evidence of requests without a key and of keys has a block, `events, errors, refusals, defects, latency
//! cells, output cells`; behind the four of them is a block of guards for each arm and group. Sums of values are apart from
//! them, a block of columns for each of the four.
//!
//! Invariant: the blocks are disjoint and cover the counters.

use super::counts::{ArmTally, GUARD_GROUPS, GuardSegment, GuardTally, TrialSegment, ValueSums};
use super::plan::TrialPlan;
use std::ops::Range;

/// An arm of a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arm {
    Canary,
    Stable,
}

/// Arms of each kind of event.
pub(super) const ARMS: usize = 4;

/// What an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EventKind {
    /// A request without a key.
    Request,
    /// The first request of a key.
    Key,
}

/// The counters before the latency cells.
pub(super) const EVENTS: usize = 0;
pub(super) const ERRORS: usize = 1;
pub(super) const REFUSALS: usize = 2;
pub(super) const DEFECTS: usize = 3;
const LATENCY: usize = 4;

/// The counters of a group's guards.
pub(super) const ANSWERS: usize = 0;
pub(super) const GUARD_ERRORS: usize = 1;
pub(super) const BROKEN: usize = 2;
pub(super) const NON_FINITE: usize = 3;
pub(super) const SLOW: usize = 4;
const GUARD_COUNTERS: usize = 5;

/// Which counter is which.
#[derive(Clone, Debug)]
pub(super) struct Places {
    latency: usize,
    outputs: Vec<usize>,
    block: usize,
}

impl Places {
    pub(super) fn new(plan: &TrialPlan) -> Self {
        let outputs = plan.layout().outputs.iter().map(|output| output.expected.len()).collect();
        let latency = plan.latency_cells();
        Self { latency, outputs, block: LATENCY + latency + plan.cells }
    }

    /// How many counters there are.
    pub(super) fn count(&self) -> usize {
        self.guards().end
    }

    /// The first counter of an arm's evidence.
    pub(super) fn evidence(&self, kind: EventKind, arm: Arm) -> usize {
        block(kind, arm) * self.block
    }

    /// How many columns of values there are.
    pub(super) fn columns(&self) -> usize {
        self.outputs.len()
    }

    /// The first column of an arm's sums of values.
    pub(super) fn first_value(&self, kind: EventKind, arm: Arm) -> usize {
        block(kind, arm) * self.columns()
    }

    /// The first latency cell, from the first counter of the evidence.
    pub(super) fn first_latency(&self) -> usize {
        LATENCY
    }

    /// The first cell of the outputs, from the first counter of the evidence.
    pub(super) fn first_output(&self) -> usize {
        LATENCY + self.latency
    }

    /// All guards.
    pub(super) fn guards(&self) -> Range<usize> {
        let start = ARMS * self.block;
        start..start + 2 * GUARD_GROUPS * GUARD_COUNTERS
    }

    /// The first counter of the guards of a group.
    pub(super) fn guard(&self, arm: Arm, group: usize) -> usize {
        self.guards().start + (arm as usize * GUARD_GROUPS + group) * GUARD_COUNTERS
    }

    /// The evidence of all counters and sums, read as this.
    pub(super) fn segment(
        &self,
        (kind, weight): (EventKind, f64),
        (counters, values): (&[u64], &[ValueSums]),
    ) -> TrialSegment {
        let arm = |arm: Arm| ArmTally {
            values: values[self.first_value(kind, arm)..][..self.columns()].to_vec(),
            ..self.arm(&counters[self.evidence(kind, arm)..][..self.block])
        };
        TrialSegment { weight, keyed: kind == EventKind::Key, canary: arm(Arm::Canary), stable: arm(Arm::Stable) }
    }

    fn arm(&self, block: &[u64]) -> ArmTally {
        let (head, cells) = block.split_at(LATENCY);
        let (latency, mut rest) = cells.split_at(self.latency);
        let mut column = |cells: &usize| {
            let (column, behind) = rest.split_at(*cells);
            rest = behind;
            column.to_vec()
        };
        let outputs = self.outputs.iter().map(&mut column).collect();
        let (events, errors, refusals, defects) = (head[EVENTS], head[ERRORS], head[REFUSALS], head[DEFECTS]);
        ArmTally { events, errors, refusals, defects, latency: latency.to_vec(), outputs, ..ArmTally::default() }
    }
}

/// The place of an arm among those of each kind of event.
fn block(kind: EventKind, arm: Arm) -> usize {
    2 * kind as usize + arm as usize
}

/// The guards' counters, read as this.
pub(super) fn guards(weight: f64, counters: &[u64]) -> GuardSegment {
    let mut segment = GuardSegment { weight, ..GuardSegment::default() };
    let tallies = segment.canary.iter_mut().chain(&mut segment.stable);
    for (tally, counters) in tallies.zip(counters.chunks_exact(GUARD_COUNTERS)) {
        *tally = GuardTally {
            answers: counters[ANSWERS],
            errors: counters[GUARD_ERRORS],
            broken: counters[BROKEN],
            non_finite: counters[NON_FINITE],
            slow: counters[SLOW],
        };
    }
    segment
}
