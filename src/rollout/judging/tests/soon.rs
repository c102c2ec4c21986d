//! How soon a bad version is found, and that a good one passes.

use super::super::{Frozen, GuardHistory, JudgingPlan, judge_bake, judge_guards, judge_step};
use super::looks::{Looks, first_failed, until_failure};
use super::thresholds::{RULES, until_failed};
use super::world::{Change, NONE, Traffic, World};
use super::{in_parallel, median, scale, shown};
use crate::observe::trial::{ArmTally, TrialCounts, TrialSegment};
use crate::rollout::{Judgement, Verdict};
use crate::route::FULL_WEIGHT;

const BAD: [(&str, Change, u64); 4] = [
    ("errors 0.5 to 1.5 %", Change { errors: 3.0, ..NONE }, 3000),
    ("scores by 0.5 σ", Change { shift: 0.5, ..NONE }, 600),
    ("durations × 3", Change { latency: 3.0, ..NONE }, 300),
    ("every answer a NaN", Change { non_finite: 1.0, ..NONE }, 10),
];

#[test]
fn bad_versions_are_found_within_their_requests() {
    let (world, runs) = (World::alike(), scale(15, 400));
    let plan = world.plan();
    for weight in [100, 1000] {
        for (name, change, most) in BAD {
            let found = in_parallel(runs, |seed| {
                let mut traffic = Traffic::new(&world, change, seed, weight);
                let looks = Looks { step: 10, guards: 1 };
                until_failure(&plan, &mut traffic, looks, 1_000_000).map(|(requests, _)| requests)
            });
            let missed = found.iter().filter(|found| found.is_none()).count();
            let middle = median(found);
            println!("| {name} | {} % | {} | {most} | {missed} of {runs} |", f64::from(weight) / 100.0, shown(middle));
            assert!(middle.is_some_and(|middle| middle >= 2 && middle <= most), "{name}: {middle:?}");
        }
    }
}

#[test]
fn others_find_some_of_it() {
    let (world, runs) = (World::alike(), scale(4, 200));
    for (name, change, _) in BAD {
        let found = in_parallel(runs, |seed| {
            until_failed(&mut Traffic::new(&world, change, seed, 1000), scale(20_000, 100_000))
        });
        for (place, rule) in RULES.iter().enumerate() {
            let found: Vec<_> = found.iter().map(|found| found[place]).collect();
            let seen = found.iter().flatten().count();
            println!("| {} | {name} | {seen} of {runs} | {} |", rule.name, shown(median(found)));
            // No threshold of theirs is on what a model says; what ends a rollout there is chance.
            let is_slow = name == "durations × 3";
            assert!(seen == runs || !is_slow, "{}, {name}: {seen} of {runs}", rule.name);
            assert!(seen == 0 || is_slow || rule.errors < 0.02, "{}, {name}: {seen} of {runs}", rule.name);
        }
    }
}

/// Whether a canary passes each share with its samples, is promoted and bakes: nothing, or where it failed.
fn whole_rollout(plan: &JudgingPlan, mut traffic: Traffic<'_>, requests: u64) -> Option<String> {
    let (mut counts, mut history): (Vec<TrialCounts>, _) = (Vec::new(), GuardHistory::default());
    for weight in [100, 500, 2500, 5000] {
        if weight > 100 {
            traffic.begin(weight);
        }
        history.begin(traffic.counts.guards.weight);
        counts.push(traffic.counts.clone());
        let passed = run_share(plan, &mut traffic, (&mut counts, &mut history), requests);
        if let Some(failed) = passed {
            return Some(format!("{failed} at {weight}"));
        }
    }
    let frozen = Frozen::of(&counts);
    traffic.begin(FULL_WEIGHT);
    history.begin(1.0);
    for request in 1..=requests {
        traffic.request();
        if request.is_multiple_of(200) {
            history.read(&traffic.counts.guards);
            let guards = judge_guards(plan, &history.segments(), Some(&frozen));
            let bake = judge_bake(plan, &frozen, std::slice::from_ref(&traffic.counts));
            if let Some(failed) = first_failed(&guards).or_else(|| first_failed(&bake)) {
                return Some(format!("{failed} while baking"));
            }
        }
    }
    None
}

/// Requests at one share until it passes, and at least so many.
fn run_share(
    plan: &JudgingPlan,
    traffic: &mut Traffic<'_>,
    (counts, history): (&mut Vec<TrialCounts>, &mut GuardHistory),
    requests: u64,
) -> Option<String> {
    let (mut looked, mut sent) = (0, 0);
    loop {
        sent += 1;
        if !traffic.request() || !traffic.canary.is_multiple_of(50) || traffic.canary == looked {
            continue;
        }
        looked = traffic.canary;
        *counts.last_mut().unwrap() = traffic.counts.clone();
        history.read(&traffic.counts.guards);
        let found = judge_step(plan, counts, 500);
        let guards = judge_guards(plan, &history.segments(), None);
        if let Some(failed) = first_failed(&guards).or_else(|| first_failed(&found)) {
            return Some(failed);
        }
        assert!(found.verdict != Verdict::SensorError, "{found:?}");
        assert_eq!(found.verdict == Verdict::Pass, traffic.events() >= 500);
        if sent >= requests && found.verdict == Verdict::Pass {
            return None;
        }
    }
}

#[test]
fn a_good_challenger_passes_every_share_and_bakes() {
    let (world, runs, requests) = (World::alike(), scale(3, 300), scale(2000, 20_000));
    let plan = world.plan();
    for (name, shift) in [("the same", 0.0), ("scores by 0.1 σ, PSI 0.01", 0.1)] {
        let found = in_parallel(runs, |seed| {
            let traffic = Traffic::new(&world, Change { shift, ..NONE }, 4000 + seed, 100);
            whole_rollout(&plan, traffic, requests)
        });
        let failed: Vec<_> = found.iter().flatten().collect();
        println!("| {name} | {} of {runs} | {failed:?} |", runs - failed.len());
        assert!(failed.len() * 50 <= runs, "{name}: {failed:?}");
    }
}

#[test]
fn what_goes_wrong_at_the_last_share_is_found_there() {
    let world = World::alike();
    let plan = world.plan();
    let mut before = Traffic::new(&world, NONE, 7, 1000);
    (0..200_000).for_each(|_| {
        before.request();
    });
    let bad = Change { errors: 3.0, ..NONE };
    let mut after = Traffic::new(&world, bad, 8, 5000);
    let mut found = None;
    while after.canary < 5000 && found.is_none() {
        (0..200).for_each(|_| {
            after.request();
        });
        found = first_failed(&judge_step(&plan, &[before.counts.clone(), after.counts.clone()], 500));
    }
    println!("after 20,000 good answers of the canary: {found:?} after {} bad ones", after.canary);
    assert_eq!(found.as_deref(), Some("errors"));
}

fn baking(change: Change, requests: u64) -> Option<(u64, String)> {
    let world = World::alike();
    let plan = world.plan();
    let mut before = Traffic::new(&world, NONE, 21, 5000);
    (0..20_000).for_each(|_| {
        before.request();
    });
    let frozen = Frozen::of(&[before.counts.clone()]);
    let mut after = Traffic::new(&world, change, 22, FULL_WEIGHT);
    (1..=requests).find_map(|request| {
        after.request();
        let is_looked_at = request % 20 == 0;
        let found = is_looked_at.then(|| judge_bake(&plan, &frozen, std::slice::from_ref(&after.counts)));
        found.and_then(|found| first_failed(&found)).map(|failed| (request, failed))
    })
}

#[test]
fn a_version_that_goes_wrong_while_it_bakes_is_found() {
    for (name, change, metric) in [
        ("errors 0.5 to 1.5 %", Change { errors: 3.0, ..NONE }, "errors"),
        ("scores by 0.5 σ", Change { shift: 0.5, ..NONE }, "predictions/score"),
        ("durations × 3", Change { latency: 3.0, ..NONE }, "latency"),
        ("a twentieth NaN", Change { non_finite: 0.05, ..NONE }, "quality"),
    ] {
        let found = baking(change, 20_000);
        println!("| baking: {name} | {found:?} |");
        assert_eq!(found.unwrap().1, metric, "{name}");
    }
    assert_eq!(baking(NONE, scale(5000, 50_000)), None);
}

fn judged(segment: TrialSegment) -> Judgement {
    let counts = TrialCounts { segments: vec![segment], ..TrialCounts::default() };
    judge_step(&World::alike().plan(), &[counts], 500)
}

#[test]
fn shares_that_are_not_what_was_set_are_a_sensor_error_and_no_verdict_on_the_version() {
    let arm = |events: u64| ArmTally { events, ..ArmTally::default() };
    let segment = |canary: u64| TrialSegment { weight: 0.1, canary: arm(canary), stable: arm(9000), keyed: false };
    assert_eq!(judged(segment(1000)).verdict, Verdict::Pass);
    for canary in [500, 2000] {
        let found = judged(segment(canary));
        assert_eq!(found.verdict, Verdict::SensorError, "{found:?}");
        assert_eq!(found.failed().count(), 0);
    }
    assert_eq!(judged(segment(1060)).verdict, Verdict::Pass, "a twentieth is borne");
    assert_eq!(judged(segment(499)).metrics.last().unwrap().metric, "split");
}

#[test]
fn it_does_not_matter_which_version_has_the_larger_share() {
    let world = World::alike();
    let plan = world.plan();
    for weight in [9000, 5000, 1000] {
        let mut traffic = Traffic::new(&world, Change { errors: 3.0, ..NONE }, 31, weight);
        let found = until_failure(&plan, &mut traffic, Looks { step: 100, guards: 100 }, 400_000);
        assert_eq!(found.map(|(_, metric)| metric).as_deref(), Some("errors"), "at {weight}");
        let mut better = Traffic::new(&world, Change { errors: 0.1, latency: 0.5, ..NONE }, 32, weight);
        assert_eq!(until_failure(&plan, &mut better, Looks { step: 500, guards: 500 }, 20_000), None, "at {weight}");
    }
}
