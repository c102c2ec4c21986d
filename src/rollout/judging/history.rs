//! Guards' counts cut into segments, so that what begins late is found early.
//!
//! Counters only grow, and a counter says nothing of when. Whoever reads them every 50 ms hands each reading on to here; a
//! segment ends after some answers of the canary, and neighbours are put together where there are too many, the older the
//! coarser, so that what is kept is little however long a rollout waits.
//!
//! Invariant: the segments of a share add up to what was read last; at most [`MAX_GUARD_PARTS`] of them are kept beside
//! the present one, and one for each further share.

use super::frozen::add_guards;
use crate::observe::trial::{GUARD_GROUPS, GuardSegment, GuardTally};
use serde::{Deserialize, Serialize};

/// The answers of the canary with which a segment ends: good ones that a start has before the bad ones cost about one bad
/// one each where most have to be bad.
const ANSWERS: u64 = 8;

/// Segments that are kept beside the present one; more only if there are more shares.
pub const MAX_GUARD_PARTS: usize = 16;

/// Guards' counts so far, cut into segments.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuardHistory {
    /// Those that ended, the oldest first.
    ended: Vec<GuardSegment>,
    /// What was counted at this share before the present segment.
    before: GuardSegment,
    /// The present one.
    present: GuardSegment,
}

impl GuardHistory {
    /// A new share begins, whose counters start at nothing.
    pub fn begin(&mut self, weight: f64) {
        if self.present != (GuardSegment { weight: self.present.weight, ..GuardSegment::default() }) {
            self.end_present();
        }
        self.before = GuardSegment { weight, ..GuardSegment::default() };
        self.present = self.before.clone();
    }

    /// Takes a reading of this share's counters, all of them since it began.
    pub fn read(&mut self, counters: &GuardSegment) {
        if answers(&self.present) >= ANSWERS {
            add_guards(&mut self.before.canary, &self.present.canary);
            add_guards(&mut self.before.stable, &self.present.stable);
            self.end_present();
        }
        self.present = GuardSegment {
            weight: self.before.weight,
            canary: less(&counters.canary, &self.before.canary),
            stable: less(&counters.stable, &self.before.stable),
        };
    }

    /// All segments, the present one last: what [`judge_guards`](super::judge_guards) reads.
    #[must_use]
    pub fn segments(&self) -> Vec<GuardSegment> {
        self.ended.iter().chain([&self.present]).cloned().collect()
    }

    fn end_present(&mut self) {
        self.ended.push(self.present.clone());
        while self.ended.len() > MAX_GUARD_PARTS
            && let Some(place) = self.closest_pair()
        {
            let later = self.ended.remove(place + 1);
            let earlier = &mut self.ended[place];
            add_guards(&mut earlier.canary, &later.canary);
            add_guards(&mut earlier.stable, &later.stable);
        }
    }

    /// Where two neighbours of one share are that are smallest, measured by what came after them.
    fn closest_pair(&self) -> Option<usize> {
        let (mut after, mut best) = (0_u64, None);
        for (place, pair) in self.ended.windows(2).enumerate().rev() {
            let size = answers(&pair[0]).saturating_add(answers(&pair[1])) as f64 / (after as f64 + ANSWERS as f64);
            after = after.saturating_add(answers(&pair[1]));
            let is_one_share = pair[0].weight.to_bits() == pair[1].weight.to_bits();
            if is_one_share && best.is_none_or(|(least, _)| size < least) {
                best = Some((size, place));
            }
        }
        best.map(|(_, place)| place)
    }
}

/// The canary's answers.
fn answers(segment: &GuardSegment) -> u64 {
    segment.canary.iter().fold(0, |sum, tally| sum.saturating_add(tally.answers))
}

/// Counters less what they were; shards that are read one after another are never less, but a reading is no proof.
pub(super) fn less(
    counters: &[GuardTally; GUARD_GROUPS],
    before: &[GuardTally; GUARD_GROUPS],
) -> [GuardTally; GUARD_GROUPS] {
    std::array::from_fn(|group| {
        let (now, then) = (&counters[group], &before[group]);
        GuardTally {
            answers: now.answers.saturating_sub(then.answers),
            errors: now.errors.saturating_sub(then.errors),
            broken: now.broken.saturating_sub(then.broken),
            non_finite: now.non_finite.saturating_sub(then.non_finite),
            slow: now.slow.saturating_sub(then.slow),
        }
    })
}
