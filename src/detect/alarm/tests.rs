//! The pieces of alarms: what evidence may be, how starts are paid, what an alarm remembers.

mod properties;

use super::dispersion::Dispersion;
use super::effect::excess_psi;
use super::null::{Null, divergence, ln_sum};
use super::rate::{RateNull, lower_limit, upper_limit};
use super::schedule::{LEVELS, PERIOD, ROWS_PER_START, Schedule, share_of_level};
use super::*;
use crate::sketch::{KEY_GROUPS, Reference};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::time::Duration;

/// A reference of ten ordered groups and the special ones, without values outside its range.
fn reference(rows_per_group: u64, missing: u64) -> Reference {
    let mut counts = vec![rows_per_group; 15];
    (counts[0], counts[11], counts[12], counts[13], counts[14]) = (0, 0, missing, 0, 0);
    let mut groups: Vec<u8> = (0..15).map(|slot: u8| slot.saturating_sub(1).min(9)).collect();
    (groups[12], groups[13], groups[14]) = (11, 12, 12);
    Reference { counts, groups, group_count: 13, ordered: Some(0..12), ..Reference::default() }
}

fn plan(columns: usize) -> AlarmPlan {
    AlarmPlan::new(&AlarmSettings::default(), columns)
}

fn null(counts: &[u64]) -> Null {
    Null::new(counts, 0..counts.len(), 0, 0.001, 0.005).unwrap()
}

/// Whether there is no evidence at all: −∞.
fn is_none(ln_evidence: f64) -> bool {
    ln_evidence.is_infinite() && ln_evidence < 0.0
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn the_parts_of_the_budget_add_up_to_it() {
    for columns in [0, 1, 7, 500] {
        let plan = plan(columns);
        let rates =
            [WatchedRate::Latency, WatchedRate::Errors, WatchedRate::Refusals].map(|rate| plan.rate_share(rate));
        let sum = plan.reference_share() + plan.evidence_share() + rates.iter().sum::<f64>();
        assert!((sum - 0.1).abs() < 1e-12, "{sum}");
        let all_columns = plan.shares as f64 * (-plan.ln_threshold()).exp();
        assert!((all_columns - plan.evidence_share()).abs() < 1e-12);
    }
}

#[test]
fn shares_of_levels_add_up_to_one() {
    assert!(((0..LEVELS).map(share_of_level).sum::<f64>() - 1.0).abs() < 1e-12);
}

#[test]
fn what_is_explained_names_every_number() {
    let text = plan(12).explain().join("\n");
    for part in
        ["0.1 false pages", "12 shares", "tolerance", "PSI 0.01", "effect floor", "0.02", "latency", "18 levels"]
    {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
}

#[test]
fn no_rows_are_no_evidence() {
    let null = null(&[10, 10]);
    assert!(is_none(null.ln_evidence(&[0.0, 0.0], f64::NEG_INFINITY)) && is_none(null.bound(&[0.0, 0.0])));
    assert!(Null::new(&[0, 0], 0..2, 0, 0.001, 0.005).is_none());
    assert!(is_none(RateNull::new(0.01).ln_evidence(0.0, 0.0)) && is_none(ln_sum(&[])));
}

#[test]
fn confidence_limits_of_rates_are_clopper_and_pearsons() {
    // scipy.stats.beta.ppf(0.975, 6, 95) and beta.ppf(0.025, 5, 96): 5 of 100.
    assert!((upper_limit(5, 100, 0.025) - 0.112_834_9).abs() < 1e-6);
    assert!((lower_limit(5, 100, 0.025) - 0.016_431_88).abs() < 1e-6);
    assert!((upper_limit(0, 100, 0.05) - (1.0 - 0.05_f64.powf(0.01))).abs() < 1e-9);
    assert_eq!((upper_limit(7, 7, 0.05), lower_limit(0, 7, 0.05)), (1.0, 0.0));
}

#[test]
fn evidence_that_a_rate_is_too_high_is_at_most_one_on_average() {
    let (null, mut random) = (RateNull::new(0.05), SmallRng::seed_from_u64(3));
    let runs = 20_000;
    let mean = (0..runs)
        .map(|_| {
            let events = (0..200).filter(|_| random.random::<f64>() < 0.05).count();
            null.ln_evidence(events as f64, 200.0).exp()
        })
        .sum::<f64>()
        / f64::from(runs);
    assert!(mean <= 1.05, "{mean}");
}

#[test]
fn evidence_of_drift_is_at_most_one_on_average_at_the_edge_of_the_null() {
    let counts = [400, 300, 200, 100];
    let null = null(&counts);
    // A member of the null with nearly all of its radius.
    let shares: Vec<f64> = counts.iter().map(|&count| count as f64 / 1000.0).collect();
    let mut edge = shares.clone();
    while divergence(&shares, &edge) < 0.98 * null.radius {
        (edge[0], edge[3]) = (edge[0] - 1e-4, edge[3] + 1e-4);
    }
    let mut random = SmallRng::seed_from_u64(4);
    let runs = 20_000;
    let mut sum = 0.0;
    for _ in 0..runs {
        let mut drawn = [0.0; 4];
        for _ in 0..300 {
            let mut at: f64 = random.random();
            let group = edge.iter().position(|share| {
                at -= share;
                at < 0.0
            });
            drawn[group.unwrap_or(3)] += 1.0;
        }
        sum += null.ln_evidence(&drawn, f64::NEG_INFINITY).exp();
    }
    assert!(sum / f64::from(runs) <= 1.05, "{}", sum / f64::from(runs));
}

#[test]
fn a_shift_is_evidence_and_more_of_it_is_more() {
    let null = null(&[1000; 10]);
    let shifted = [0.6, 0.7, 0.8, 0.9, 1.0, 1.0, 1.1, 1.2, 1.3, 1.4];
    let evidence = |rows: f64| null.ln_evidence(&shifted.map(|share| share * rows / 10.0), f64::NEG_INFINITY);
    assert!(evidence(100.0) < evidence(1_000.0) && evidence(1_000.0) < evidence(10_000.0));
    assert!(evidence(10_000.0) > 50.0);
}

#[test]
fn independent_rows_have_no_design_effect_and_pairs_of_rows_have_two() {
    let mut random = SmallRng::seed_from_u64(5);
    let (mut single, mut paired) = (vec![0_u64; 10], vec![0_u64; 10]);
    let (mut of_single, mut of_paired) = (Dispersion::new(&single), Dispersion::new(&paired));
    assert!((of_single.factor() - 1.0).abs() < 1e-12);
    for _ in 0..400 {
        for _ in 0..256 {
            single[random.random_range(0..10)] += 1;
            paired[random.random_range(0..10)] += 2;
        }
        of_single.observe(&single);
        of_paired.observe(&paired);
    }
    assert!((of_single.factor() - 1.0).abs() < 1e-12, "{}", of_single.factor());
    assert!((of_paired.factor() - 2.0).abs() < 0.15, "{}", of_paired.factor());
}

#[test]
fn an_effect_is_at_least_its_lower_limit_and_none_without_rows() {
    assert_eq!(excess_psi(&[0.5, 0.5], 100.0, &[0.0, 0.0]), (0.0, 0.0));
    let (effect, lower) = excess_psi(&[0.5, 0.5], 10_000.0, &[300.0, 700.0]);
    // PSI of (0.5, 0.5) and (0.3, 0.7).
    let psi = 0.2 * (0.7_f64 / 0.3).ln();
    assert!(lower < effect && (effect - psi).abs() < 0.01 && lower > 0.5 * psi, "{effect} {lower}");
}

#[test]
fn a_schedule_makes_a_start_only_when_enough_rows_have_come() {
    let mut schedule = Schedule::new(seconds(0), &[0, 0]);
    assert_eq!(schedule.count(), 1);
    assert!(!schedule.advance(seconds(60), &[0, 0]), "nothing has come");
    let few = u64::from(ROWS_PER_START) - 1;
    assert!(schedule.advance(seconds(61), &[few, 0]));
    schedule.conclude(seconds(61), &[few, 0]);
    assert_eq!(schedule.count(), 1);
    assert!(schedule.advance(seconds(62), &[few, 1]));
    schedule.conclude(seconds(62), &[few, 1]);
    assert_eq!(schedule.count(), 2);
    let since: Vec<Vec<u32>> = schedule.all().map(|start| start.gained(&[few + 5, 3]).collect()).collect();
    assert_eq!(since, [vec![few as u32 + 5, 3], vec![5, 2]]);
}

#[test]
fn counters_past_two_to_the_thirty_second_are_still_subtracted_rightly() {
    let base = (1_u64 << 32) - 10;
    let mut schedule = Schedule::new(seconds(0), &[base, 7]);
    schedule.advance(seconds(1), &[base + 100, 9]);
    schedule.conclude(seconds(1), &[base + 100, 9]);
    let since: Vec<Vec<u32>> = schedule.all().map(|start| start.gained(&[base + 150, 9]).collect()).collect();
    assert_eq!(since, [vec![150, 2], vec![50, 0]]);
}

#[test]
fn a_few_dozen_starts_of_every_age_are_alive() {
    let mut schedule = Schedule::new(seconds(0), &[0]);
    for second in 1..=20_000_u64 {
        schedule.advance(seconds(second), &[second * 100]);
        schedule.conclude(seconds(second), &[second * 100]);
    }
    assert!((15..=35).contains(&schedule.count()), "{}", schedule.count());
    let ages: Vec<u64> = schedule.all().map(|start| 20_000 - start.at().as_secs()).collect();
    for age in [1, 10, 100, 1_000, 5_000] {
        assert!(ages.iter().any(|found| (age..=2 * age + 1).contains(found)), "none of about {age}: {ages:?}");
    }
}

/// Feeds an alarm so many rows a second, spread over cells by `share`, until it finds something.
fn seconds_until_found(
    alarm: &mut ColumnAlarm,
    cells: &mut [u64],
    share: impl Fn(usize) -> u64,
    from: u64,
) -> Option<(u64, Finding)> {
    (from + 1..from + 2_000).find_map(|second| {
        cells.iter_mut().enumerate().for_each(|(cell, count)| *count += share(cell));
        alarm.look(seconds(second), cells, &[]).map(|finding| (second - from, finding))
    })
}

#[test]
fn traffic_like_the_reference_raises_nothing_and_a_change_is_found_with_its_cause() {
    let like = |cell: usize| if cell < 10 { 10 } else { 0 };
    let causes: [(&dyn Fn(usize) -> u64, Cause); 4] = [
        (&|cell| if cell < 5 { 16 } else { like(cell) / 3 }, Cause::Drift),
        (&|cell| if cell == 11 { 20 } else { like(cell) }, Cause::Missing),
        (&|cell| if cell == 12 { 20 } else { like(cell) }, Cause::Infinite),
        (&|cell| if cell == 13 || cell == 14 { 10 } else { like(cell) }, Cause::OutOfRange),
    ];
    for (share, cause) in causes {
        let mut alarm = ColumnAlarm::new(&plan(10), &reference(1_000, 0)).unwrap();
        let mut cells = vec![0; 15];
        alarm.look(seconds(0), &cells, &[]);
        assert_eq!(seconds_until_found(&mut alarm, &mut cells, like, 0), None);
        let (_, finding) = seconds_until_found(&mut alarm, &mut cells, share, 2_000).unwrap();
        assert_eq!(finding.cause, cause);
        assert!(finding.ln_evidence >= finding.ln_threshold && finding.effect_lower > finding.floor, "{finding:?}");
        assert!(finding.effect >= finding.effect_lower && finding.samples > 0, "{finding:?}");
    }
}

#[test]
fn an_alarm_that_is_restarted_forgets_what_it_knew() {
    let mut alarm = ColumnAlarm::new(&plan(10), &reference(1_000, 0)).unwrap();
    let mut cells = vec![0; 15];
    alarm.look(seconds(0), &cells, &[]);
    let drifted = |cell: usize| if cell < 5 { 20 } else { 0 };
    let (after, _) = seconds_until_found(&mut alarm, &mut cells, drifted, 0).unwrap();
    assert!(alarm.ln_evidence_now(&cells) >= alarm.ln_threshold());
    alarm.restart(seconds(after), &cells);
    assert!(is_none(alarm.ln_evidence_now(&cells)));
    assert!(seconds_until_found(&mut alarm, &mut cells, drifted, after).is_some(), "it is found again");
}

#[test]
fn an_alarm_goes_on_where_it_was_after_its_state_was_kept() {
    let mut alarm = ColumnAlarm::new(&plan(10), &reference(1_000, 10)).unwrap();
    assert!(alarm.state().is_empty(), "nothing was looked at");
    let mut cells = vec![0_u64; 15];
    for second in 0..500 {
        cells.iter_mut().take(10).for_each(|count| *count += 7);
        alarm.look(seconds(second), &cells, &[]);
    }
    let mut resumed = ColumnAlarm::new(&plan(10), &reference(1_000, 10)).unwrap();
    resumed.resume(&alarm.state());
    assert_eq!(resumed.state(), alarm.state());
    cells[0] += 900;
    let found = alarm.look(seconds(501), &cells, &[]);
    assert!(found.is_some());
    assert_eq!(resumed.look(seconds(501), &cells, &[]), found);
}

#[test]
fn a_state_of_another_shape_or_a_broken_one_is_not_taken() {
    let mut other = RateAlarm::new(&plan(1), RateRule { rate: WatchedRate::Errors, allowed: 0.01, min_samples: 1 });
    other.look(seconds(0), 0, 0);
    let mut alarm = ColumnAlarm::new(&plan(10), &reference(1_000, 0)).unwrap();
    alarm.resume(&other.state());
    assert!(alarm.state().is_empty());
    alarm.look(seconds(0), &[0; 15], &[]);
    let state = alarm.state();
    for length in 0..state.len() {
        let mut alarm = ColumnAlarm::new(&plan(10), &reference(1_000, 0)).unwrap();
        alarm.resume(&state[..length]);
        assert!(alarm.state().is_empty(), "{length} of {}", state.len());
    }
}

/// Seconds until what is asked for is found, of traffic that is so.
fn seconds_until(alarm: &mut ColumnAlarm, asked: &Asked, share: impl Fn(usize) -> u64) -> Option<(u64, Cause)> {
    let mut cells = vec![0; 15];
    alarm.look(seconds(0), &cells, &[]);
    (1..2_000).find_map(|second| {
        cells.iter_mut().enumerate().for_each(|(cell, count)| *count += share(cell));
        alarm.look_for(asked, seconds(second), &cells, &[]).map(|finding| (second, finding.cause))
    })
}

#[test]
fn what_is_raised_already_does_not_hide_other_trouble_and_is_not_found_twice() {
    let alarm = || ColumnAlarm::new(&plan(10), &reference(1_000, 0)).unwrap();
    let shifted = |cell: usize| if cell < 5 { 16 } else { 4 * u64::from(cell < 10) };
    let even = |cell: usize| if cell < 10 { 10 } else { 0 };
    let gaps = |cell: usize| if cell == 11 { 60 } else { 0 };
    let after_drift = Asked { drift: false, defects: [true, true, false, true], beside: None };
    let after_gaps = Asked { drift: true, defects: [false; 4], beside: Some(Cause::Missing) };
    assert_eq!(seconds_until(&mut alarm(), &after_drift, shifted), None, "drift was not asked for");
    let found = seconds_until(&mut alarm(), &after_drift, |cell| shifted(cell) + gaps(cell));
    assert_eq!(found.map(|(_, cause)| cause), Some(Cause::Missing));
    let found = seconds_until(&mut alarm(), &after_gaps, |cell| even(cell) + gaps(cell));
    assert_eq!(found, None, "gaps alone are no drift of the other values");
    let found = seconds_until(&mut alarm(), &after_gaps, |cell| shifted(cell) + gaps(cell));
    assert_eq!(found.map(|(_, cause)| cause), Some(Cause::Drift));
}

#[test]
fn values_out_of_range_alone_are_no_drift_of_those_within() {
    let alarm = || ColumnAlarm::new(&plan(10), &reference(1_000, 0)).unwrap();
    let asked = Asked { drift: true, defects: [false; 4], beside: Some(Cause::OutOfRange) };
    let outside = |cell: usize| if cell == 13 { 40 } else { 10 * u64::from(cell < 10) };
    assert_eq!(seconds_until(&mut alarm(), &asked, outside), None);
    assert!(seconds_until(&mut alarm(), &Asked { beside: None, ..asked }, outside).is_some());
}

#[test]
fn an_hour_of_the_week_gets_its_part_of_the_risk_of_an_unlucky_reference() {
    let mut alarm = ColumnAlarm::new(&plan(10), &reference(1_000, 0)).unwrap();
    let groups: Vec<u64> = (0..13).map(|group| 1_000 * u64::from(group < 10)).collect();
    let before = alarm.explain();
    alarm.look(seconds(0), &[0; 15], &[]);
    alarm.season(seconds(1), &groups, &[0; 15]);
    let radius = |text: &str| -> f64 {
        let number = text.split("within KL ").nth(1).unwrap().split(' ').next().unwrap();
        number.parse().unwrap()
    };
    assert!(radius(&alarm.explain()) > radius(&before) * 1.1, "{before} and {}", alarm.explain());
}

#[test]
fn drift_of_one_heavy_user_is_not_confirmed_and_drift_of_all_is() {
    let drifted = |cell: usize| if cell == 0 { 300 } else { 0 };
    let like = |cell: usize| if cell < 10 { 20 } else { 0 };
    // Also where most requests have no key: two thousand rows a second, all of them like the reference.
    for (everybody, without_key) in [(false, 0), (true, 0), (false, 200)] {
        let mut alarm = ColumnAlarm::new(&plan(10), &reference(1_000, 0)).unwrap();
        let (mut cells, mut keyed) = (vec![0; 15], vec![0; 15 * KEY_GROUPS]);
        alarm.look(seconds(0), &cells, &keyed);
        let found = (1..200).any(|second| {
            cells.iter_mut().take(10).for_each(|count| *count += without_key);
            for (index, count) in keyed.iter_mut().enumerate() {
                let (group, cell) = (index / 15, index % 15);
                let more = if group == 0 || everybody { drifted(cell) } else { like(cell) };
                *count += more;
                cells[cell] += more;
            }
            alarm.look(seconds(second), &cells, &keyed).is_some()
        });
        assert_eq!(found, everybody);
    }
}

#[test]
fn references_that_say_nothing_raise_nothing_and_do_no_harm() {
    assert!(ColumnAlarm::new(&plan(1), &Reference::default()).is_none());
    let empty = Reference { counts: vec![0; 15], ..reference(0, 0) };
    assert!(ColumnAlarm::new(&plan(1), &empty).is_none());
    let all_missing =
        Reference { counts: (0..15).map(|slot| u64::from(slot == 12) * 500).collect(), ..reference(0, 0) };
    let mut alarm = ColumnAlarm::new(&plan(1), &all_missing).unwrap();
    alarm.look(seconds(0), &[0; 15], &[]);
    let mut cells = vec![0; 15];
    assert_eq!(seconds_until_found(&mut alarm, &mut cells, |cell| u64::from(cell == 11) * 50, 0), None);
    assert!(seconds_until_found(&mut alarm, &mut cells, |cell| u64::from(cell == 3) * 50, 2_000).is_some());
    assert_eq!(alarm.look(seconds(9_999), &[1, 2, 3], &[]), None, "cells of another layout");
}

#[test]
fn another_season_is_compared_with_its_own_reference() {
    let mut alarm = ColumnAlarm::new(&plan(10), &reference(1_000, 0)).unwrap();
    let mut cells = vec![0; 15];
    alarm.look(seconds(0), &cells, &[]);
    let night = |cell: usize| if cell < 5 { 18 } else { u64::from(cell < 10) * 2 };
    let groups: Vec<u64> = (0..13).map(|group| night(group) * 100).collect();
    alarm.season(seconds(1), &groups, &cells);
    assert_eq!(seconds_until_found(&mut alarm, &mut cells, night, 1), None);
    let day = |cell: usize| if cell < 10 { 10 } else { 0 };
    assert_eq!(seconds_until_found(&mut alarm, &mut cells, day, 3_000).unwrap().1.cause, Cause::Drift);
}

#[test]
fn a_rate_above_what_is_allowed_is_found_after_enough_requests() {
    let rule = RateRule { rate: WatchedRate::Errors, allowed: 0.01, min_samples: 400 };
    let mut alarm = RateAlarm::new(&plan(10), rule);
    assert_eq!(alarm.look(seconds(0), 0, 0), None);
    let found = (1..100).find_map(|second| alarm.look(seconds(second), second * 5, second * 10)).unwrap();
    assert_eq!((found.cause, found.floor, found.samples), (Cause::Exceedance, 0.01, 400));
    assert_eq!(found.counts, [200, 200]);
    alarm.restart(seconds(100), 200, 400);
    assert!((101..400).all(|second| alarm.look(seconds(second), 200, 400 + second * 10).is_none()));
}

#[test]
fn a_latch_lets_go_only_after_it_was_clear_for_long_enough() {
    let mut latch = Latch::default();
    assert!(!latch.settle(seconds(0), Some(true), seconds(0)) && latch.finding().is_none());
    let mut alarm = RateAlarm::new(&plan(1), RateRule { rate: WatchedRate::Errors, allowed: 0.01, min_samples: 1 });
    alarm.look(seconds(0), 0, 0);
    latch.raise(alarm.look(seconds(1), 500, 500).unwrap());
    let steps = [(1, Some(true)), (2, Some(false)), (3, Some(true)), (5, None), (6, Some(true)), (8, Some(true))];
    for (second, clear) in steps {
        assert!(!latch.settle(seconds(second), clear, seconds(3)), "{second}");
    }
    assert!(latch.finding().is_some());
    assert_eq!(Latch::of_state(&latch.state()).finding(), latch.finding());
    assert_eq!(Latch::of_state(&latch.state()[1..]), Latch::default());
    assert!(latch.settle(seconds(9), Some(true), seconds(3)) && latch.finding().is_none());
}

#[test]
fn groups_that_the_reference_chose_itself_are_judged_by_what_they_are_made_of() {
    let counts = [400, 300, 200, 100];
    let radius = |cells: usize| Null::new(&counts, 0..0, cells, 0.001, 0.005).unwrap().radius;
    assert!(radius(0) < radius(50) && radius(50) < 0.005 + 0.05 && (radius(2) - radius(0)).abs() < 1e-12);
}
