//! What is remembered of deliveries, against a plain list and against the promise.
//!
//! Invariant: the promise is tested through verification, not through the memory's own arithmetic.

use super::*;
use crate::registry::hooks::ReplayGuard;
use crate::registry::hooks::replay::{MOST_DELIVERIES, REMEMBERED_SECONDS};
use proptest::prelude::*;

const MOST: usize = 5;
const SOURCES: [&str; 2] = ["mlflow", "hub"];

/// The guard, as a list that is searched.
#[derive(Default)]
struct Plain(Vec<(u64, (usize, u8))>);

impl Plain {
    fn first_time(&mut self, what: (usize, u8), now: u64) -> bool {
        while self.0.first().is_some_and(|(at, _)| now.saturating_sub(*at) > REMEMBERED_SECONDS) {
            self.0.remove(0);
        }
        let is_new = self.0.iter().all(|(_, known)| *known != what);
        if is_new {
            self.0.push((now, what));
            self.0.drain(..self.0.len().saturating_sub(MOST));
        }
        is_new
    }
}

proptest! {
    #![proptest_config(seeded(256))]

    #[test]
    fn the_memory_is_a_list_of_the_newest(
        // Also a clock that is set back.
        steps in prop::collection::vec((0..SOURCES.len(), 0..6_u8, -50..200_i64), 0..120),
    ) {
        let (mut guard, mut plain) = (ReplayGuard::with_most(MOST), Plain::default());
        let mut now = NOW;
        for (source, id, step) in steps {
            now = now.saturating_add_signed(step);
            prop_assert_eq!(
                guard.first_time(SOURCES[source], &id.to_string(), now),
                plain.first_time((source, id), now)
            );
        }
    }

    #[test]
    fn a_copy_of_a_signed_delivery_is_never_taken_however_it_is_timed(
        kind in prop::sample::select(EVERY_KIND[..2].to_vec()), mut offsets in prop::collection::vec(0..600_u64, 1..20),
    ) {
        offsets.sort_unstable();
        let request = delivery(kind, (ID, NOW + 100), b"{}");
        let mut guard = ReplayGuard::default();
        let taken = offsets.iter().map(|offset| NOW + offset).filter(|now| {
            request.verify(*now).is_ok_and(|delivery| guard.first_time("source", &delivery.id, *now))
        });
        prop_assert!(taken.count() <= 1);
    }
}

#[test]
fn a_delivery_is_remembered_until_its_copies_are_stale() {
    let mut guard = ReplayGuard::default();
    assert!(guard.first_time("mlflow", ID, NOW));
    assert!(!guard.first_time("mlflow", ID, NOW + REMEMBERED_SECONDS));
    assert!(guard.first_time("mlflow", ID, NOW + REMEMBERED_SECONDS + 1));
}

#[test]
fn sources_do_not_share_ids() {
    let mut guard = ReplayGuard::default();
    assert!(guard.first_time("a", "bc", NOW) && guard.first_time("ab", "c", NOW));
    assert!(!guard.first_time("a", "bc", NOW) && !guard.first_time("ab", "c", NOW));
}

#[test]
fn above_the_limit_the_oldest_is_forgotten_first() {
    let mut guard = ReplayGuard::default();
    for n in 0..=MOST_DELIVERIES {
        assert!(guard.first_time("mlflow", &n.to_string(), NOW));
    }
    assert!(!guard.first_time("mlflow", "1", NOW), "the second still is known");
    assert!(guard.first_time("mlflow", "0", NOW), "the first no more");
    assert!(guard.first_time("mlflow", "1", NOW), "and now the second neither");
}
