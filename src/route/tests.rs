//! Splits over all of their points: exact shares, nesting, and hashes pinned by another implementation.

use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;

const TEN_PERCENT: u16 = 1_000;

fn split(weights: &[(u64, u16)]) -> Split {
    Split::try_new(weights).unwrap()
}

/// The version that owns each of the 10,000 points.
fn owners(split: &Split) -> Vec<u64> {
    (0..FULL_WEIGHT).map(|point| split.arms()[split.pick(point)].version).collect()
}

#[test]
fn a_split_without_versions_is_refused() {
    assert_eq!(Split::try_new(&[]), Err(RouteError::NoArms));
}

#[test]
fn more_versions_than_the_limit_are_refused() {
    let weights: Vec<(u64, u16)> = (0..=MAX_ARMS as u64).map(|version| (version, 0)).collect();
    assert_eq!(Split::try_new(&weights), Err(RouteError::TooManyArms { found: 65 }));
}

#[test]
fn a_version_that_comes_twice_is_refused() {
    assert_eq!(Split::try_new(&[(3, 5_000), (3, 5_000)]), Err(RouteError::DuplicateVersion { version: 3 }));
}

#[test]
fn a_sum_other_than_a_hundred_percent_is_refused_with_the_sum() {
    let error = Split::try_new(&[(1, 9_000), (2, 999)]).unwrap_err();
    assert_eq!(error.to_string(), "the weights of a split must add up to 100 %, these add up to 99.99 %");
    assert_eq!(Split::try_new(&[(1, u16::MAX), (2, u16::MAX)]), Err(RouteError::WrongSum { found: 131_070 }));
    assert_eq!(Split::try_new(&[(1, 0)]), Err(RouteError::WrongSum { found: 0 }));
}

#[test]
fn zero_and_a_hundred_percent_are_exact() {
    for weights in [[(1, 10_000), (2, 0)], [(2, 0), (1, 10_000)], [(1, 10_000), (0, 0)]] {
        assert!(owners(&split(&weights)).iter().all(|owner| *owner == 1));
    }
}

#[test]
fn one_hundredth_of_a_percent_is_one_point() {
    assert_eq!(owners(&split(&[(1, 9_999), (2, 1)])).iter().filter(|owner| **owner == 2).count(), 1);
}

#[test]
fn a_point_over_the_range_belongs_to_the_owner_of_the_last() {
    let split = split(&[(1, 5_000), (2, 5_000)]);
    assert_eq!(split.pick(10_000), split.pick(9_999));
    assert_eq!(split.pick(u16::MAX), split.pick(9_999));
}

#[test]
fn arms_keep_the_order_in_which_they_came_and_the_largest_is_stable() {
    let split = split(&[(7, 1_000), (2, 0), (5, 9_000)]);
    let roles: Vec<(u64, &str)> = split.arms().iter().map(|arm| (arm.version, arm.role.as_str())).collect();
    assert_eq!(roles, [(7, "canary"), (2, "canary"), (5, "stable")]);
    assert_eq!(split.to_string(), "7: 10 %, 2: 0 %, 5: 90 %");
}

#[test]
fn of_equal_weights_the_lower_version_is_stable() {
    for weights in [[(4, 5_000), (3, 5_000)], [(3, 5_000), (4, 5_000)]] {
        let stable: Vec<u64> =
            split(&weights).arms().iter().filter(|arm| arm.role == ArmRole::Stable).map(|arm| arm.version).collect();
        assert_eq!(stable, [3]);
    }
}

#[test]
fn who_is_on_the_new_version_stays_while_it_becomes_stable() {
    let steps: [&[(u64, u16)]; 5] = [
        &[(1, 9_900), (2, 100)],
        &[(1, 9_000), (2, 1_000)],
        &[(1, 5_000), (2, 5_000)],
        &[(1, 4_000), (2, 6_000)],
        &[(2, 10_000)],
    ];
    for pair in steps.windows(2) {
        let (before, after) = (owners(&split(pair[0])), owners(&split(pair[1])));
        assert!(before.iter().zip(&after).all(|(before, after)| before <= after), "{pair:?}");
    }
}

/// Values of the Python package `xxhash` 3: `xxh64(key, seed=xxh64(name, seed=int.from_bytes(b"tidegate", "big")))`.
#[test]
fn points_of_keys_are_those_of_another_implementation() {
    let long = b"a key that is longer than thirty-two bytes, so that the long path runs";
    assert_eq!(point_of_key("churn", b""), 5421);
    assert_eq!(point_of_key("churn", b"user-1"), 7718);
    assert_eq!(point_of_key("churn", b"user-2"), 8155);
    assert_eq!(point_of_key("digits", b"user-1"), 8226);
    assert_eq!(point_of_key("", b"\xff\x00"), 9919);
    assert_eq!(point_of_key("churn", long), 1962);
}

#[test]
fn the_ends_of_the_random_range_are_the_ends_of_the_points() {
    assert_eq!(point_of_draw(0), 0);
    assert_eq!(point_of_draw(u64::MAX), 9_999);
}

#[test]
fn a_hundred_thousand_keys_and_draws_are_within_three_tenths_of_a_point_of_ten_percent() {
    let split = split(&[(1, 10_000 - TEN_PERCENT), (2, TEN_PERCENT)]);
    let on_canary = |points: &mut dyn Iterator<Item = u16>| points.filter(|point| split.pick(*point) == 1).count();
    for model in ["churn", "breast-cancer"] {
        let keyed = on_canary(&mut (0..100_000).map(|id| point_of_key(model, format!("user-{id}").as_bytes())));
        assert!((9_700..=10_300).contains(&keyed), "{model}: {keyed}");
    }
    for seed in 0..4 {
        let mut random = StdRng::seed_from_u64(seed);
        let drawn = on_canary(&mut (0..100_000).map(|_| point_of_draw(random.random())));
        assert!((9_700..=10_300).contains(&drawn), "seed {seed}: {drawn}");
    }
}

#[test]
fn the_first_percent_of_one_model_is_not_the_first_percent_of_another() {
    let early = |model| move |id: &u32| point_of_key(model, &id.to_be_bytes()) < 100;
    let both = (0..100_000).filter(early("churn")).filter(early("digits")).count();
    assert!((1..=30).contains(&both), "independent models share about 10 of 100,000 keys, not {both}");
}

#[test]
fn percent_is_read_in_hundredths_and_written_back() {
    for (percent, hundredths, text) in [
        (0.0, 0, "0"),
        (-0.0, 0, "0"),
        (0.01, 1, "0.01"),
        (12.5, 1_250, "12.5"),
        (33.33, 3_333, "33.33"),
        (100.0, 10_000, "100"),
    ] {
        let weight = Weight::from_percent(percent).unwrap();
        assert_eq!((weight.hundredths(), weight.to_string().as_str()), (hundredths, text));
    }
}

#[test]
fn percent_between_two_steps_is_refused_with_the_reason() {
    let error = Weight::from_percent(10.005).unwrap_err();
    assert_eq!(error.to_string(), "a weight has steps of 0.01 %, 10.005 lies between two of them");
    assert!(matches!(Weight::from_percent(0.1 + 0.2), Err(RouteError::WeightTooFine { .. })));
    assert!(matches!(Weight::from_percent(1e-300), Err(RouteError::WeightTooFine { .. })));
}

#[test]
fn percent_outside_zero_to_a_hundred_is_refused() {
    for percent in [-0.01, 100.01, f64::INFINITY, f64::NAN] {
        assert!(matches!(Weight::from_percent(percent), Err(RouteError::WeightOutOfRange { .. })), "{percent}");
    }
}

/// Weights of 1 to 6 versions that add up to 10,000, from cuts of that range.
fn any_weights() -> impl Strategy<Value = Vec<(u64, u16)>> {
    (proptest::collection::btree_set(any::<u64>(), 1..=6), proptest::collection::vec(0..=FULL_WEIGHT, 5)).prop_map(
        |(versions, mut cuts)| {
            cuts.truncate(versions.len() - 1);
            cuts.sort_unstable();
            cuts.push(FULL_WEIGHT);
            let starts = std::iter::once(0).chain(cuts.clone());
            versions.into_iter().zip(starts.zip(cuts).map(|(start, end)| end - start)).collect()
        },
    )
}

proptest! {
    #[test]
    fn every_arm_owns_exactly_as_many_points_as_its_weight(weights in any_weights().prop_shuffle()) {
        let split = split(&weights);
        let owners = owners(&split);
        for (version, weight) in weights {
            prop_assert_eq!(owners.iter().filter(|owner| **owner == version).count(), usize::from(weight));
        }
    }

    #[test]
    fn of_two_versions_the_one_that_gains_weight_keeps_all_of_its_keys(
        before in 0..=FULL_WEIGHT, after in 0..=FULL_WEIGHT,
    ) {
        let (gaining, before_owners, after_owners) = {
            let weights = |newer| owners(&split(&[(1, FULL_WEIGHT - newer), (2, newer)]));
            (if after >= before { 2 } else { 1 }, weights(before), weights(after))
        };
        for (before, after) in before_owners.into_iter().zip(after_owners) {
            prop_assert!(before != gaining || after == gaining);
        }
    }

    #[test]
    fn weight_shifted_between_neighbours_moves_keys_between_those_two_alone(
        weights in any_weights(), place in 0_usize..5, share in 0.0..=1.0_f64,
    ) {
        prop_assume!(place + 1 < weights.len());
        let mut shifted = weights.clone();
        let moved = (f64::from(weights[place].1) * share) as u16;
        shifted[place].1 -= moved;
        shifted[place + 1].1 += moved;
        let (lower, higher) = (weights[place].0, weights[place + 1].0);
        let mut moves = 0;
        for (before, after) in owners(&split(&weights)).into_iter().zip(owners(&split(&shifted))) {
            prop_assert!(before == after || (before, after) == (lower, higher));
            moves += u16::from(before != after);
        }
        prop_assert_eq!(moves, moved);
    }

    #[test]
    fn the_order_in_which_versions_came_does_not_matter(weights in any_weights()) {
        let reversed: Vec<(u64, u16)> = weights.iter().rev().copied().collect();
        prop_assert_eq!(owners(&split(&weights)), owners(&split(&reversed)));
    }

    #[test]
    fn percent_written_is_percent_read(hundredths in 0..=FULL_WEIGHT) {
        let weight = Weight::from_checked_hundredths(hundredths);
        prop_assert_eq!(Weight::from_percent(weight.to_string().parse().unwrap()), Ok(weight));
        prop_assert_eq!(Weight::from_percent(weight.percent()), Ok(weight));
    }

    #[test]
    fn points_are_in_range_and_grow_with_the_number(mut randoms in proptest::array::uniform2(any::<u64>())) {
        randoms.sort_unstable();
        let [low, high] = randoms.map(point_of_draw);
        prop_assert!(low <= high && high < FULL_WEIGHT);
    }
}
