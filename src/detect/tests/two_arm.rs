//! The two-arm test: how often it is wrong, how fast it is right, and that only counts matter.

use super::{is_long, normals};
use crate::detect::two_arm::{ArmCounts, RateCounts, RateTest, TwoArmEvidence, TwoArmTest};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use statrs::distribution::{ContinuousCDF, Normal};

const WEIGHT: f64 = 0.1;
const ALPHA: f64 = 0.01;
const CELLS: usize = 10;

fn test() -> TwoArmTest {
    TwoArmTest::new(&[1000; CELLS], CELLS)
}

/// Inner edges of cells of equal mass under a standard normal law.
fn edges() -> Vec<f64> {
    (1..CELLS).map(|cell| Normal::standard().inverse_cdf(cell as f64 / CELLS as f64)).collect()
}

fn arms(weight: f64, canary: &[u64], stable: &[u64]) -> ArmCounts {
    ArmCounts { group: 0, weight, canary: canary.to_vec(), stable: stable.to_vec() }
}

/// Canary requests at the first look that rejects, of scores that are shifted in the canary; none within the limit.
fn requests_until_rejection(seed: u64, shift: f64, limit: u64, look_every: u64) -> Option<u64> {
    let (test, edges) = (test(), edges());
    let mut random = StdRng::seed_from_u64(seed);
    let mut counts = arms(WEIGHT, &[0; CELLS], &[0; CELLS]);
    for _ in 0..limit / look_every {
        let mut served = 0;
        while served < look_every {
            let is_canary = random.random_bool(WEIGHT);
            let score = normals(&mut random, 1)[0] + if is_canary { shift } else { 0.0 };
            let cell = edges.partition_point(|&edge| edge <= score);
            if is_canary {
                counts.canary[cell] += 1;
                served += 1;
            } else {
                counts.stable[cell] += 1;
            }
        }
        let evidence = test.evidence(std::slice::from_ref(&counts));
        if evidence.rejects(ALPHA) {
            return Some(evidence.canary);
        }
    }
    None
}

/// The same of error rates.
fn requests_until_errors_show(seed: u64, stable: f64, canary: f64, limit: u64) -> Option<u64> {
    let test = RateTest::new(stable);
    let mut random = StdRng::seed_from_u64(seed);
    let mut counts = RateCounts { weight: WEIGHT, ..RateCounts::default() };
    while counts.canary_trials < limit {
        for _ in 0..500 {
            if random.random_bool(WEIGHT) {
                counts.canary_trials += 1;
                counts.canary_events += u64::from(random.random_bool(canary));
            } else {
                counts.stable_trials += 1;
                counts.stable_events += u64::from(random.random_bool(stable));
            }
        }
        let evidence = test.evidence(&[counts]);
        if evidence.rejects(ALPHA) {
            return Some(evidence.canary);
        }
    }
    None
}

fn median(mut found: Vec<u64>) -> u64 {
    found.sort_unstable();
    found[found.len() / 2]
}

#[test]
fn arms_that_are_alike_are_hardly_ever_told_apart_however_often_one_looks() {
    let (runs, limit, allowed) = if is_long() { (1000, 10_000, 18) } else { (100, 1500, 4) };
    let by_score = (0..runs).filter(|&run| requests_until_rejection(run, 0.0, limit, 50).is_some()).count();
    let by_errors =
        (0..runs).filter(|&run| requests_until_errors_show(5000 + run, 0.005, 0.005, limit).is_some()).count();
    println!("A/A, {runs} runs of {limit} canary requests: {by_score} false by score, {by_errors} false by errors");
    // One in a hundred is allowed; the counts leave room for chance, at less than one in a hundred.
    assert!(by_score <= allowed && by_errors <= allowed, "{by_score} and {by_errors} of {runs}");
}

#[test]
fn three_times_the_errors_and_a_moved_score_are_found_soon() {
    let runs = if is_long() { 400 } else { 41 };
    let errors: Vec<u64> =
        (0..runs).map(|run| requests_until_errors_show(run, 0.005, 0.015, 30_000).unwrap_or(u64::MAX)).collect();
    let half: Vec<u64> =
        (0..runs).map(|run| requests_until_rejection(run, 0.5, 5000, 10).unwrap_or(u64::MAX)).collect();
    let (errors, half) = (median(errors), median(half));
    println!("medians over {runs} runs: errors 0.5 % to 1.5 % {errors}, score by 0.5 sd {half} canary requests");
    assert!(errors <= 3000 && half <= 600, "{errors} and {half}");
    assert!(errors > 300 && half > 20, "too good to be true: {errors} and {half}");
}

#[test]
fn fewer_errors_than_stable_are_no_evidence() {
    let counts = RateCounts {
        weight: 0.5,
        canary_trials: 100_000,
        stable_trials: 100_000,
        stable_events: 2000,
        canary_events: 500,
        group: 0,
    };
    let evidence = RateTest::new(0.01).evidence(&[counts]);
    assert!(evidence.ln_e < 0.0);
    let effect = evidence.effect.unwrap();
    assert!(effect.interval.low < -0.015 && effect.interval.high > -0.015 && effect.interval.high < 0.0);
    let worse = RateCounts { canary_events: 2000, stable_events: 500, ..counts };
    assert!(RateTest::new(0.01).evidence(&[worse]).rejects(1e-9));
}

#[test]
fn a_canary_with_more_traffic_than_its_weight_says_does_not_look_worse_for_it() {
    let counts = RateCounts {
        weight: 0.1,
        canary_trials: 12_000,
        canary_events: 120,
        stable_trials: 88_000,
        stable_events: 880,
        group: 0,
    };
    assert!(!RateTest::new(0.01).evidence(&[counts]).rejects(ALPHA));
}

#[test]
fn what_moves_both_arms_moves_neither_against_the_other() {
    // All traffic wanders from the lowest cell to the highest, and errors grow tenfold: both arms see it.
    let hours: Vec<ArmCounts> = (0..CELLS)
        .map(|cell| {
            let mut counts = arms(WEIGHT, &[0; CELLS], &[0; CELLS]);
            (counts.canary[cell], counts.stable[cell]) = (500, 4500);
            counts
        })
        .collect();
    assert!(test().evidence(&hours).ln_e < 1.0);
    let hour = |events: u64| RateCounts {
        weight: WEIGHT,
        canary_trials: 1000,
        canary_events: events,
        stable_trials: 9000,
        stable_events: 9 * events,
        group: 0,
    };
    assert!(RateTest::new(0.005).evidence(&[hour(5), hour(50), hour(100)]).ln_e < 1.0);
}

#[test]
fn one_heavy_user_stops_no_rollout() {
    let user = |group: u64, canary_events: u64, stable_events: u64| RateCounts {
        group,
        weight: WEIGHT,
        canary_events,
        canary_trials: 100.max(canary_events),
        stable_events,
        stable_trials: 900,
    };
    let mut counts: Vec<RateCounts> = (0..20).map(|group| user(group, 1, 9)).collect();
    counts.push(user(99, 1000, 0));
    let all_together: Vec<RateCounts> = counts.iter().map(|counts| RateCounts { group: 0, ..*counts }).collect();
    let test = RateTest::new(0.01);
    assert!(test.evidence(&all_together).rejects(1e-9));
    assert!(!test.evidence(&counts).rejects(ALPHA));
    // Many users together still do.
    let many: Vec<RateCounts> = (0..20).map(|group| user(group, 10, 9)).collect();
    assert!(test.evidence(&many).rejects(1e-6));
}

#[test]
fn a_cell_that_only_the_canary_fills_is_found_without_an_order() {
    let test = TwoArmTest::new(&[0; CELLS], 0);
    let (mut canary, stable) = ([30; CELLS], [270; CELLS]);
    assert!(!test.evidence(&[arms(WEIGHT, &canary, &stable)]).rejects(ALPHA));
    canary[7] = 90;
    let found = test.evidence(&[arms(WEIGHT, &canary, &stable)]);
    assert!(found.rejects(ALPHA), "{found:?}");
    assert!(found.effect.unwrap().interval.low > 0.0);
}

#[test]
fn a_weight_that_leaves_no_choice_is_no_evidence() {
    for weight in [0.0, 1.0, -0.5, 2.0, f64::NAN, f64::INFINITY] {
        let found = test().evidence(&[arms(weight, &[1000; CELLS], &[1; CELLS])]);
        assert_eq!(found, TwoArmEvidence { ln_e: 0.0, canary: 0, stable: 0, effect: None });
        let counts = RateCounts { weight, canary_events: 9, canary_trials: 9, ..RateCounts::default() };
        assert_eq!(RateTest::new(f64::NAN).evidence(&[counts]).canary, 0);
    }
    assert!(test().evidence(&[]).ln_e.abs() < 1e-12);
    assert!(!test().evidence(&[]).rejects(0.0));
}

fn cells() -> impl Strategy<Value = Vec<u64>> {
    prop::collection::vec(prop_oneof![Just(0_u64), 0_u64..300], CELLS)
}

fn segments() -> impl Strategy<Value = Vec<ArmCounts>> {
    let weight = prop_oneof![Just(0.05), Just(0.25), Just(0.5)];
    let segment = (0_u64..3, weight, cells(), cells());
    let arms = segment.prop_map(|(group, weight, canary, stable)| ArmCounts { group, weight, canary, stable });
    prop::collection::vec(arms, 1..6)
}

proptest! {
    #[test]
    fn neither_order_nor_split_of_the_counts_matters(mut counts in segments(), half in 0_u64..150) {
        let expected = test().evidence(&counts);
        counts.reverse();
        let mut rest = counts[0].clone();
        for cell in &mut rest.canary {
            *cell = half.min(*cell);
        }
        rest.stable.fill(0);
        counts[0].canary.iter_mut().zip(&rest.canary).for_each(|(cell, part)| *cell -= part);
        counts.push(rest);
        let found = test().evidence(&counts);
        prop_assert!((found.ln_e - expected.ln_e).abs() <= 1e-9 * (1.0 + expected.ln_e.abs()));
        prop_assert_eq!((found.canary, found.stable), (expected.canary, expected.stable));
    }

    #[test]
    fn evidence_by_groups_is_at_most_that_of_all(counts in segments()) {
        let mut together = counts.clone();
        together.iter_mut().for_each(|arms| arms.group = 0);
        let (apart, together) = (test().evidence(&counts).ln_e, test().evidence(&together).ln_e);
        prop_assert!(apart <= together + 1e-9 * (1.0 + together.abs()), "{apart} {together}");
    }

    #[test]
    fn evidence_is_a_fair_bet_at_every_event(canary in cells(), stable in cells(), cell in 0..CELLS, weight in 0.01_f64..0.99) {
        // The mean of the next evidence, over the two arms that the next event may come from, is the evidence now.
        let now = arms(weight, &canary, &stable);
        let (mut to_canary, mut to_stable) = (now.clone(), now.clone());
        to_canary.canary[cell] += 1;
        to_stable.stable[cell] += 1;
        let ln_e = |arms: &ArmCounts| test().evidence(std::slice::from_ref(arms)).ln_e;
        let (up, down) = ((ln_e(&to_canary) - ln_e(&now)).exp(), (ln_e(&to_stable) - ln_e(&now)).exp());
        prop_assert!((weight * up + (1.0 - weight) * down - 1.0).abs() < 1e-8, "{up} {down}");
    }

    #[test]
    fn no_counts_and_no_weight_make_evidence_that_is_not_a_number(
        canary in prop::collection::vec(any::<u64>(), 0..14),
        stable in prop::collection::vec(prop_oneof![Just(0), any::<u64>()], 0..14),
        expected in prop::collection::vec(prop_oneof![Just(0), any::<u64>()], 0..14),
        ordered in 0_usize..20,
        weight in prop_oneof![any::<f64>(), 0.0_f64..1.0],
        rate in any::<f64>(),
    ) {
        let counts = [arms(weight, &canary, &stable), ArmCounts { group: 1, ..arms(0.5, &stable, &canary) }];
        let found = TwoArmTest::new(&expected, ordered).evidence(&counts);
        prop_assert!(found.ln_e.is_finite());
        if let Some(effect) = found.effect {
            prop_assert!(effect.value.is_finite() && effect.interval.low <= effect.interval.high);
        }
        let at = |counts: &[u64], cell: usize| counts.get(cell).copied().unwrap_or(0);
        let rates = RateCounts {
            group: 0,
            weight,
            canary_events: at(&canary, 0),
            canary_trials: at(&canary, 1),
            stable_events: at(&stable, 0),
            stable_trials: at(&stable, 1),
        };
        let found = RateTest::new(rate).evidence(&[rates]);
        prop_assert!(found.ln_e.is_finite());
        if let Some(effect) = found.effect {
            prop_assert!(effect.interval.low <= effect.value && effect.value <= effect.interval.high);
        }
    }
}
