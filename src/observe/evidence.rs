//! Which row of a request counts as evidence, and for whom.
//!
//! Alarms reckon with independent rows, and rows of one batch are not: they share a customer, a session, a page. So one
//! row of a request at random enters the alarm cells, while all of them enter the fine slots. Requests with a routing key
//! enter a second time, by group of keys, so that evidence can be looked at without any one group: a heavy user is then
//! no drift. Counting each key once instead was considered and left: references count rows, and traffic in which every
//! user weighs the same is not what they count. Retries cannot be recognised and count.
//!
//! Invariant: which rows enter depends on keys and draws alone, never on values.

use crate::sketch::KEY_GROUPS;

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
    /// One row, which is also counted for its group of keys.
    KeyGroup {
        /// A uniform random number that chooses the row.
        draw: u64,
        /// A hash of the routing key. The low bits choose the group: the high bits choose the version, so that among
        /// the requests of one version they say little.
        key_hash: u64,
    },
}

impl Evidence {
    /// The draw that chooses the row, if one enters.
    pub(super) fn draw(self) -> Option<u64> {
        match self {
            Self::None => None,
            Self::Row { draw } | Self::KeyGroup { draw, .. } => Some(draw),
        }
    }

    /// The group of keys that it is counted for.
    pub(super) fn key_group(self) -> Option<usize> {
        match self {
            Self::None | Self::Row { .. } => None,
            Self::KeyGroup { key_hash, .. } => Some(key_hash as usize % KEY_GROUPS),
        }
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
    fn requests_are_evidence_unless_they_are_pinned_and_keys_have_groups() {
        assert_eq!((Evidence::None.draw(), Evidence::None.key_group()), (None, None));
        let row = Evidence::Row { draw: 3 };
        assert_eq!((row.draw(), row.key_group()), (Some(3), None));
        let keyed = Evidence::KeyGroup { draw: 4, key_hash: KEY_GROUPS as u64 * 9 + 2 };
        assert_eq!((keyed.draw(), keyed.key_group()), (Some(4), Some(2)));
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
