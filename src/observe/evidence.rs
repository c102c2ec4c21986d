//! Which row of a request counts as evidence.
//!
//! Alarms reckon with independent rows, and rows of one batch are not: they share a customer, a session, a page. So one
//! row of a request at random enters the alarm cells, while all of them enter the fine slots. Nor are requests with the
//! same routing key independent: of all keys of one group, one row enters per epoch. Groups instead of keys, because a
//! set of keys has no bound; two keys in one group cost evidence, never validity. Retries cannot be recognised and count.
//!
//! Invariant: which rows enter depends on keys and draws alone, never on values.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// Groups of routing keys, per worker: 2 KiB of bits. A power of two.
const KEY_GROUPS: usize = 16_384;

/// What a request is worth to an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// Nothing: the caller chose the version, so that its requests are no sample of the traffic.
    None,
    /// One row.
    Row {
        /// A uniform random number that chooses the row.
        draw: u64,
    },
    /// One row, if it is the first of its key group in this epoch.
    KeyGroup {
        /// A uniform random number that chooses the row.
        draw: u64,
        /// A hash of the routing key. The low bits choose the group: the high bits choose the version, so that among
        /// the requests of one version they say little.
        key_hash: u64,
    },
}

/// The key groups that one worker has met in this epoch.
#[derive(Debug)]
pub(super) struct KeyGroups {
    epoch: AtomicU32,
    met: Box<[AtomicU64]>,
}

impl KeyGroups {
    pub(super) fn new() -> Self {
        let words = KEY_GROUPS / u64::BITS as usize;
        Self { epoch: AtomicU32::new(0), met: (0..words).map(|_| AtomicU64::new(0)).collect() }
    }

    /// Whether this request's row enters the alarm cells; its draw, if it does. `epoch` is the present one.
    pub(super) fn admit(&self, evidence: Evidence, epoch: u32) -> Option<u64> {
        match evidence {
            Evidence::None => None,
            Evidence::Row { draw } => Some(draw),
            Evidence::KeyGroup { draw, key_hash } => self.is_first(epoch, key_hash).then_some(draw),
        }
    }

    /// One thread writes these words, so that plain loads and stores are enough.
    fn is_first(&self, epoch: u32, key_hash: u64) -> bool {
        if self.epoch.load(Relaxed) != epoch {
            self.met.iter().for_each(|word| word.store(0, Relaxed));
            self.epoch.store(epoch, Relaxed);
        }
        let group = key_hash as usize % KEY_GROUPS;
        let (word, bit) = (&self.met[group / u64::BITS as usize], 1 << (group % u64::BITS as usize));
        let met = word.load(Relaxed);
        word.store(met | bit, Relaxed);
        met & bit == 0
    }
}

/// The row that a uniform random number chooses among `rows`.
///
/// The upper half of a 64 by 64 bit product, as in Lemire, "Fast Random Integer Generation in an Interval" (2019),
/// <https://arxiv.org/abs/1805.10941>, without the rejection step: a bias of one in 2^64 divided by the rows.
#[must_use]
pub(super) fn row_of_draw(draw: u64, rows: usize) -> usize {
    ((u128::from(draw) * rows as u128) >> 64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_key_group_is_admitted_once_an_epoch() {
        let groups = KeyGroups::new();
        let request = |draw, key_hash| Evidence::KeyGroup { draw, key_hash };
        assert_eq!(groups.admit(request(5, 77), 0), Some(5));
        assert_eq!(groups.admit(request(6, 77), 0), None);
        assert_eq!(groups.admit(request(7, 77 + KEY_GROUPS as u64), 0), None, "the same group");
        assert_eq!(groups.admit(request(8, 78), 0), Some(8));
        assert_eq!(groups.admit(request(9, 77), 1), Some(9));
        assert_eq!(groups.admit(request(9, 77), 1), None);
    }

    #[test]
    fn requests_without_a_key_are_always_admitted_and_pinned_ones_never() {
        let groups = KeyGroups::new();
        for _ in 0..3 {
            assert_eq!(groups.admit(Evidence::Row { draw: 3 }, 0), Some(3));
            assert_eq!(groups.admit(Evidence::None, 0), None);
        }
    }

    #[test]
    fn every_row_is_chosen_by_an_equal_share_of_draws() {
        let mut chosen = [0; 7];
        (0..7_000_u64).for_each(|step| chosen[row_of_draw(step * (u64::MAX / 7_000), 7)] += 1);
        assert!(chosen.iter().all(|count| (999..=1_001).contains(count)), "{chosen:?}");
    }

    proptest! {
        #[test]
        fn a_chosen_row_exists(draw in any::<u64>(), rows in 1_usize..1_000_000) {
            prop_assert!(row_of_draw(draw, rows) < rows);
            prop_assert_eq!(row_of_draw(u64::MAX, rows), rows - 1);
            prop_assert_eq!(row_of_draw(0, rows), 0);
        }
    }
}
