//! What a rollout counts: both arms of a split, in the same moments, on the same edges.
//!
//! # What is evidence
//! An *event* is a request without a routing key, or the first request of a key at this share, if the key's arm was drawn
//! anew at it ([`TrialShare`]). Given all that happened before, the arm of an event is then a draw with a probability that
//! is known, however heavy or odd some users are: each counts once. Keys of which no more can be told
//! (`keys`), keys that were the canary's before, further requests of a key and requests that name their version are no
//! events. That is decided before a request is decoded ([`Trial::enter`]), and how it ends is counted when it has ended,
//! also if nobody waits for it any more.
//!
//! A request that is given up by whoever sent it counts as an event without an outcome. One that did not end within its
//! time was at least as slow as that, and one that was turned away, since it could not have been answered in time, would
//! have been as slow as was reckoned: both count among the durations, because a version that answers nothing in time would
//! else be seen nowhere. No guard reads what was turned away: an overload ends no rollout at once.
//!
//! # What guards read
//! All requests of both arms but pinned ones, by group of keys.
//!
//! # What values come to
//! Of the row that is evidence each column's value is counted in a cell, for distributions, and added up, for means.
//!
//! Workers write counters of their own, as in a [`Recorder`](super::Recorder), so that a request takes no lock; a trial
//! ends with its share, and the next begins at zero.
//!
//! Invariant: which requests are evidence depends on keys and draws alone, never on what was answered.

mod cells;
mod counts;
mod hours;
mod keys;
mod latency;
mod plan;
#[cfg(test)]
mod random_tests;
mod share;
mod sums;
mod tally;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod value_tests;

pub use counts::{
    ArmTally, GUARD_GROUPS, GuardSegment, GuardTally, OutputCells, TrialCounts, TrialLayout, TrialSegment, ValueSums,
};
pub use hours::HourReference;
pub use plan::{MOST_OUTPUTS, TrialPlan};
pub use share::TrialShare;

use super::counter::Counters;
use super::evidence::{Evidence, row_of_draw};
use crate::tensor::{Signature, Tensor, TensorData};
use keys::SeenKeys;
use plan::Shown;
use std::sync::{Arc, OnceLock};
use sums::Sums;
use tally::{
    ANSWERS, ARMS, Arm, BROKEN, DEFECTS, ERRORS, EVENTS, EventKind, GUARD_ERRORS, NON_FINITE, Places, REFUSALS, SLOW,
};

/// Counts of both arms at one share.
#[derive(Debug)]
pub struct Trial {
    plan: Arc<TrialPlan>,
    share: TrialShare,
    places: Places,
    seen: SeenKeys,
    /// Made when a worker first serves an arm.
    shards: Box<[OnceLock<Shard>]>,
}

/// What a worker counts.
#[derive(Debug)]
struct Shard {
    counters: Counters,
    sums: Sums,
}

/// A request's part in a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entrant {
    arm: Arm,
    /// The group of its key, from 1; 0 without one.
    group: usize,
    /// Nothing if it is no evidence.
    event: Option<EventKind>,
    /// Chooses the row that is evidence.
    draw: u64,
}

/// What predictions look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Whether they are not of the shape that the model declares.
    pub is_broken: bool,
    /// Whether one of them is NaN or infinite.
    pub is_non_finite: bool,
    /// Whether in the row that is evidence one is missing, infinite, out of range or of an unseen category.
    pub is_defective: bool,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With predictions.
    Predicted,
    /// With a failure of ours.
    Failed {
        /// Whether the call panicked.
        panicked: bool,
    },
    /// Refused by the version as not fitting it.
    Refused,
    /// Not within its time.
    Overdue,
    /// Turned away, as it could not have been answered within its time.
    TurnedAway,
    /// Otherwise; nobody is to blame.
    Unanswered,
}

impl Trial {
    /// A trial at a share, counted by so many workers.
    #[must_use]
    pub fn new(plan: Arc<TrialPlan>, share: TrialShare, workers: usize) -> Self {
        let places = Places::new(&plan);
        Self { plan, share, places, seen: SeenKeys::new(), shards: (0..workers).map(|_| OnceLock::new()).collect() }
    }

    /// The share that it counts at.
    #[must_use]
    pub fn share(&self) -> TrialShare {
        self.share
    }

    /// The edges that it counts on.
    #[must_use]
    pub fn layout(&self) -> &TrialLayout {
        self.plan.layout()
    }

    /// The part of a request that is about to be answered by a version; none for a version that is not in the trial, and
    /// for requests that named theirs. To be asked once of each request: a key is an event the first time alone.
    #[must_use]
    pub fn enter(&self, version: u64, evidence: Evidence) -> Option<Entrant> {
        let arm = match version {
            version if version == self.share.canary => Arm::Canary,
            version if version == self.share.stable => Arm::Stable,
            _ => return None,
        };
        let draw = evidence.draw()?;
        let event = match evidence {
            Evidence::KeyGroup { key_hash, .. } => {
                (self.share.is_fresh(key_hash) && self.seen.is_first(key_hash)).then_some(EventKind::Key)
            }
            Evidence::Row { .. } | Evidence::None => Some(EventKind::Request),
        };
        let group = evidence.key_group().map_or(0, |group| group + 1);
        Some(Entrant { arm, group, event, draw })
    }

    /// Looks at predictions that are about to be sent, and counts the row of them that is evidence. `signature` is of the
    /// version that made them of `inputs`.
    #[must_use]
    pub fn look(
        &self,
        worker: usize,
        entrant: &Entrant,
        (signature, inputs): (&Signature, &[Tensor]),
        outputs: &[Tensor],
    ) -> Findings {
        let is_defective = entrant.event.is_some_and(|event| {
            let shard = self.shard(worker);
            let first = self.places.evidence(event, entrant.arm) + self.places.first_output();
            let first_value = self.places.first_value(event, entrant.arm);
            let mut is_ordinary = true;
            for tensor in &self.plan.tensors {
                let count = |Shown { cell, column, deviation }: Shown| {
                    shard.counters.add(first + cell, 1);
                    deviation.into_iter().for_each(|deviation| shard.sums.add(first_value + column, deviation));
                };
                let found = named(signature, outputs, (&tensor.name, tensor.index));
                is_ordinary &= match found {
                    Some(found) => tensor.visit(found, |rows| row_of_draw(entrant.draw, rows), count),
                    None => tensor.visit_missing(count),
                };
            }
            !is_ordinary
        });
        Findings {
            is_broken: !signature.gives(inputs, outputs),
            is_non_finite: outputs.iter().any(|output| !is_finite(output.data())),
            is_defective,
        }
    }

    /// Counts how a request ended, what was found in its predictions if it had any, and how long it took, or would have
    /// taken, in nanoseconds.
    pub fn count(&self, worker: usize, entrant: &Entrant, (outcome, findings): (Outcome, Findings), duration: u64) {
        let shard = &self.shard(worker).counters;
        self.count_guards(shard, entrant, (outcome, findings), duration);
        let Some(event) = entrant.event else { return };
        let first = self.places.evidence(event, entrant.arm);
        shard.add(first + EVENTS, 1);
        let is_timed = match outcome {
            Outcome::Predicted => {
                shard.add(first + DEFECTS, u64::from(findings.is_defective));
                true
            }
            Outcome::Failed { .. } => {
                shard.add(first + ERRORS, 1);
                true
            }
            Outcome::Refused => {
                shard.add(first + REFUSALS, 1);
                false
            }
            Outcome::Overdue | Outcome::TurnedAway => true,
            Outcome::Unanswered => false,
        };
        if is_timed {
            let compared = match entrant.arm {
                Arm::Canary => self.plan.discounted(duration),
                Arm::Stable => duration,
            };
            shard.add(first + self.places.first_latency() + self.plan.latency_cell(compared), 1);
        }
    }

    fn count_guards(
        &self,
        shard: &Counters,
        entrant: &Entrant,
        (outcome, findings): (Outcome, Findings),
        duration: u64,
    ) {
        let first = self.places.guard(entrant.arm, entrant.group);
        let is_slow = duration > self.layout().latency_limit;
        let (is_answer, is_error) = match outcome {
            Outcome::Predicted => (true, false),
            Outcome::Failed { .. } => (true, true),
            // Within the limit nothing can be said of what it would have been.
            Outcome::Overdue => (is_slow, false),
            // Predictions of a wrong shape, of which no answer could be made.
            Outcome::Refused => (findings.is_broken, false),
            Outcome::TurnedAway | Outcome::Unanswered => (false, false),
        };
        if is_answer {
            let is_broken = findings.is_broken || outcome == Outcome::Failed { panicked: true };
            shard.add(first + ANSWERS, 1);
            shard.add(first + GUARD_ERRORS, u64::from(is_error));
            shard.add(first + BROKEN, u64::from(is_broken));
            shard.add(first + NON_FINITE, u64::from(findings.is_non_finite));
            shard.add(first + SLOW, u64::from(is_slow));
        }
    }

    /// The guards' counters as of now, of all workers: a few dozen numbers each.
    #[must_use]
    pub fn guards(&self) -> GuardSegment {
        let range = self.places.guards();
        let mut sums = vec![0; range.len()];
        for shard in self.shards.iter().filter_map(OnceLock::get) {
            shard.counters.add_range_to(range.clone(), &mut sums);
        }
        tally::guards(self.share.weight(), &sums)
    }

    /// Everything that was counted so far, of all workers.
    #[must_use]
    pub fn counts(&self) -> TrialCounts {
        let mut sums = vec![0; self.places.count()];
        let mut values = vec![ValueSums::default(); ARMS * self.places.columns()];
        for shard in self.shards.iter().filter_map(OnceLock::get) {
            shard.counters.add_to(&mut sums);
            shard.sums.add_to(&mut values);
        }
        let weights = [(EventKind::Request, Some(self.share.weight())), (EventKind::Key, self.share.keyed_weight())];
        let segments = weights.into_iter().filter_map(|(kind, weight)| {
            let segment = self.places.segment((kind, weight?), (&sums, &values));
            (segment.canary.events + segment.stable.events > 0).then_some(segment)
        });
        let guards = tally::guards(self.share.weight(), &sums[self.places.guards()]);
        TrialCounts { segments: segments.collect(), guards, hour: None }
    }

    fn shard(&self, worker: usize) -> &Shard {
        let new = || Shard { counters: Counters::new(self.places.count()), sums: Sums::new(self.places.columns()) };
        self.shards[worker].get_or_init(new)
    }
}

/// The output of this name; mostly at the place where the stable version has it.
fn named<'a>(signature: &Signature, outputs: &'a [Tensor], (name, index): (&str, usize)) -> Option<&'a Tensor> {
    let is_here = signature.outputs.get(index).is_some_and(|spec| spec.name == name);
    let place = if is_here { index } else { signature.outputs.iter().position(|spec| spec.name == name)? };
    outputs.get(place)
}

fn is_finite(data: &TensorData) -> bool {
    match data {
        TensorData::Fp32(values) => values.iter().all(|value| value.is_finite()),
        TensorData::Fp64(values) => values.iter().all(|value| value.is_finite()),
        TensorData::Fp16(values) => values.iter().all(|value| value.is_finite()),
        TensorData::Bf16(values) => values.iter().all(|value| value.is_finite()),
        _ => true,
    }
}
