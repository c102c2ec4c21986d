//! Remembers which deliveries were taken, so that a copy of one is not taken again.
//!
//! Why a bounded memory is enough where the time is signed: a delivery signed at `at` passes
//! [`verify`](super::verify::verify) only while `now` is between `at` − [`SKEW_AHEAD_SECONDS`] and `at` +
//! [`SKEW_BACK_SECONDS`]. So it is first taken at `at` − ahead or later, and is remembered until that + ahead + back, which
//! is `at` + back or later. A copy that comes when the first one is forgotten is stale. A repeat under the same id with a
//! new time and a new signature (Standard Webhooks does so) is no copy but the sender's own doing.
//!
//! Where no time is signed, or more than [`MOST_DELIVERIES`] true deliveries come within that age, or a clock is set ahead
//! and back, a copy may be taken again: it costs one look at the registry, which decides. The other way round, a sender
//! without ids that says the same twice within the age (an alias moved there, back and there) is heard once; polling finds
//! the rest.
//!
//! After a restart what the inbox still has of that age is remembered, so the newest deliveries, and not the few that were
//! not yet written when a process was killed: again a look at the registry for each.
//!
//! Invariant: at most [`MOST_DELIVERIES`] are remembered, in the order in which they were taken, and only taken ones get in.

use super::verify::{SKEW_AHEAD_SECONDS, SKEW_BACK_SECONDS};
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

/// How many deliveries are remembered, over all sources: some 45 a second for [`REMEMBERED_SECONDS`]. With ids as long as
/// they may be this is about 5 MB, with UUIDs about 2 MB.
pub const MOST_DELIVERIES: usize = 16_384;
/// How long a delivery is remembered, seconds.
pub const REMEMBERED_SECONDS: u64 = SKEW_BACK_SECONDS + SKEW_AHEAD_SECONDS;

/// The name of a source and the id of a delivery.
type Key = Arc<(String, String)>;

/// Which deliveries were taken lately.
#[derive(Debug)]
pub struct ReplayGuard {
    taken: HashSet<Key>,
    /// The same, oldest first, with when each was taken, unix seconds.
    order: VecDeque<(u64, Key)>,
    most: usize,
}

impl Default for ReplayGuard {
    fn default() -> Self {
        Self::with_most(MOST_DELIVERIES)
    }
}

impl ReplayGuard {
    /// One that remembers `most` deliveries.
    pub(super) fn with_most(most: usize) -> Self {
        Self { taken: HashSet::new(), order: VecDeque::new(), most }
    }

    /// Whether the delivery `id` of `source` is taken for the first time; from now on it was. `now`, unix seconds, is the one
    /// that the delivery was verified at: with a later one the argument above has a gap. To be asked only of deliveries that
    /// passed verification, so that nobody else can fill the memory.
    pub fn first_time(&mut self, source: &str, id: &str, now: u64) -> bool {
        while self.order.front().is_some_and(|(at, _)| now > at.saturating_add(REMEMBERED_SECONDS)) {
            self.forget_oldest();
        }
        let key = Arc::new((source.to_owned(), id.to_owned()));
        if !self.taken.insert(Arc::clone(&key)) {
            return false;
        }
        self.order.push_back((now, key));
        if self.order.len() > self.most {
            self.forget_oldest();
        }
        true
    }

    fn forget_oldest(&mut self) {
        if let Some((_, key)) = self.order.pop_front() {
            self.taken.remove(&key);
        }
    }
}
