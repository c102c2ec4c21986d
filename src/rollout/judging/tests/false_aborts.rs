//! How often a version that is the stable one's twin is rolled back, by this judging and by rules with thresholds.

use super::super::{Frozen, GuardHistory, JudgingPlan, judge_bake, judge_guards, judge_step};
use super::looks::{Looks, first_failed, until_failure};
use super::thresholds::{RULES, until_failed};
use super::world::{NONE, Traffic, World};
use super::{in_parallel, median, scale, shown, upper_limit};
use crate::observe::trial::TrialCounts;
use crate::route::FULL_WEIGHT;
use std::collections::BTreeMap;

/// At 10 %.
const WEIGHT: u16 = 1000;
/// As often as anything is written in a promise, and more often than anybody would look.
const LOOKS: Looks = Looks { step: 100, guards: 20 };

/// Rollouts of a twin that fail, with what failed.
fn false_aborts(world: &World, plan: &JudgingPlan, runs: usize, requests: u64) -> (usize, BTreeMap<String, usize>) {
    let found = in_parallel(runs, |seed| {
        until_failure(plan, &mut Traffic::new(world, NONE, 100_000 + seed, WEIGHT), LOOKS, requests)
    });
    let mut by_metric = BTreeMap::new();
    for (_, metric) in found.iter().flatten() {
        *by_metric.entry(metric.clone()).or_default() += 1;
    }
    (found.iter().flatten().count(), by_metric)
}

#[test]
fn twins_are_hardly_ever_rolled_back_whoever_sends_the_requests() {
    let (runs, requests) = scale((40, 10_000), (2000, 100_000));
    for (name, world) in
        [("requests alike", World::alike()), ("users who differ", World::of_users(scale(2000, 20_000)))]
    {
        let (found, by_metric) = false_aborts(&world, &world.plan(), runs, requests);
        let limit = upper_limit(found, runs);
        println!("| tidegate | {name} | {found} of {runs} | {:.2} % | {by_metric:?} |", 100.0 * limit);
        let allowed = scale(0.12, 0.015);
        assert!(limit <= allowed, "{name}: {found} of {runs}, {by_metric:?}");
    }
}

#[test]
fn rules_with_thresholds_roll_twins_back() {
    let (runs, requests) = scale((10, 30_000), (2000, 100_000));
    for (name, world) in
        [("requests alike", World::alike()), ("users who differ", World::of_users(scale(2000, 20_000)))]
    {
        let found =
            in_parallel(runs, |seed| until_failed(&mut Traffic::new(&world, NONE, 100_000 + seed, WEIGHT), requests));
        for (place, rule) in RULES.iter().enumerate() {
            let found: Vec<_> = found.iter().map(|found| found[place]).collect();
            let failed = found.iter().flatten().count();
            println!(
                "| {} | {name} | {failed} of {runs} | {:.2} % | median {} |",
                rule.name,
                100.0 * upper_limit(failed, runs),
                shown(median(found))
            );
            let is_strict = rule.errors < 0.02 && name == "requests alike" && rule.together;
            assert!(!is_strict || failed * 2 > runs, "{}: {failed}", rule.name);
        }
    }
}

/// A twin goes through every share and bakes, for a number of requests each: what failed.
fn whole_rollout(world: &World, plan: &JudgingPlan, seed: u64, requests: u64) -> Option<String> {
    let mut traffic = Traffic::new(world, NONE, 500_000 + seed, 100);
    let (mut counts, mut history): (Vec<TrialCounts>, _) = (Vec::new(), GuardHistory::default());
    for weight in [100, 500, 2500, 5000, FULL_WEIGHT] {
        if weight > 100 {
            traffic.begin(weight);
        }
        let frozen = (weight == FULL_WEIGHT).then(|| Frozen::of(&counts));
        history.begin(traffic.counts.guards.weight);
        counts.push(traffic.counts.clone());
        for request in 1..=requests {
            traffic.request();
            if !request.is_multiple_of(500) {
                continue;
            }
            *counts.last_mut().unwrap() = traffic.counts.clone();
            history.read(&traffic.counts.guards);
            let guards = judge_guards(plan, &history.segments(), frozen.as_ref());
            let found = match &frozen {
                Some(frozen) => judge_bake(plan, frozen, std::slice::from_ref(&traffic.counts)),
                None => judge_step(plan, &counts, 500),
            };
            if let Some(failed) = first_failed(&guards).or_else(|| first_failed(&found)) {
                return Some(format!("{failed} at {weight}"));
            }
        }
    }
    None
}

#[test]
fn twins_pass_whole_rollouts_and_bake() {
    let (runs, requests) = scale((6, 10_000), (500, 40_000));
    for (name, world) in
        [("requests alike", World::alike()), ("users who differ", World::of_users(scale(2000, 20_000)))]
    {
        let plan = world.plan();
        let found = in_parallel(runs, |seed| whole_rollout(&world, &plan, seed, requests));
        let failed: Vec<_> = found.iter().flatten().collect();
        let limit = upper_limit(failed.len(), runs);
        println!("| whole rollouts | {name} | {} of {runs} | {:.2} % | {failed:?} |", failed.len(), 100.0 * limit);
        assert!(failed.len() * 50 <= runs, "{name}: {failed:?}");
    }
}
