//! Makes one look at the registry out of many hints.
//!
//! Hints are a set, and a set is why nothing here depends on how often or in which order deliveries come: adding one is
//! associative, commutative and idempotent, with "all" above every set of names.
//!
//! Invariant: what waits is the union of the hints since the last take, or all if that has more than [`MOST_NAMES`] names.

use super::event::Hint;
use std::collections::BTreeSet;

/// The most names that wait; above, all models are looked at. As many looks, one by one, cost more than a listing.
pub const MOST_NAMES: usize = 256;

/// Which models to look at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Wake {
    /// None.
    #[default]
    Nothing,
    /// These, at least one and at most [`MOST_NAMES`].
    Models(BTreeSet<String>),
    /// All that are configured.
    All,
}

/// Hints that wait for the next look.
#[derive(Debug, Default)]
pub struct Wakes {
    waiting: Wake,
}

impl Wakes {
    /// Adds a hint.
    pub fn add(&mut self, hint: Hint) {
        let names = match hint {
            Hint::Nothing => return,
            Hint::Any => {
                self.waiting = Wake::All;
                return;
            }
            Hint::Models(names) => names,
        };
        let mut waiting = match std::mem::take(&mut self.waiting) {
            Wake::All => {
                self.waiting = Wake::All;
                return;
            }
            Wake::Models(waiting) => waiting,
            Wake::Nothing => BTreeSet::new(),
        };
        waiting.extend(names);
        self.waiting = match waiting.len() {
            0 => Wake::Nothing,
            1..=MOST_NAMES => Wake::Models(waiting),
            _ => Wake::All,
        };
    }

    /// What to look at now; nothing waits afterwards.
    pub fn take(&mut self) -> Wake {
        std::mem::take(&mut self.waiting)
    }
}
