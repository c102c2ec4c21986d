//! What a rollout counts: both arms of a split, in the same moments, on the same edges.
//!
//! Invariant: which requests are evidence depends on keys and draws alone, never on what was answered.

mod counts;

pub use counts::{
    ArmTally, GUARD_GROUPS, GuardSegment, GuardTally, OutputCells, TrialCounts, TrialLayout, TrialSegment,
};
