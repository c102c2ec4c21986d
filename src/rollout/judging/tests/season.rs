//! Predictions that follow the day while a version bakes: by the hours' references, and without.

use super::super::{Frozen, HourHistory, JudgingPlan, judge_bake};
use super::looks::first_failed;
use super::world::{Change, NONE, Traffic, World};
use super::{in_parallel, median, scale, shown, upper_limit};
use crate::observe::trial::{HourReference, TrialCounts};
use crate::route::FULL_WEIGHT;

/// Nine in the morning, when it is promoted.
const FROM: usize = 9;
/// Hours that it bakes.
const BAKED: usize = 5;

/// By how much the day moves scores in an hour, standard deviations.
fn moved_by(hour: usize) -> f64 {
    1.5 * (std::f64::consts::TAU * hour as f64 / 24.0).sin()
}

fn of_hour(hour: usize, change: Change) -> Change {
    Change { shift: change.shift + moved_by(hour), ..change }
}

fn scores(traffic: &Traffic<'_>) -> Vec<u64> {
    traffic.counts.segments[0].canary.outputs[0].clone()
}

/// What was learned of an hour from requests of one row and as many of thirty, which are alike: rows, thinned to as many as
/// there were requests.
fn learned(world: &World, hour: usize, requests: u64) -> HourReference {
    let rows = |seed: u64| {
        let mut traffic = Traffic::new(world, of_hour(hour, NONE), 9_000 + 2 * hour as u64 + seed, FULL_WEIGHT);
        (0..requests / 2).for_each(|_| {
            traffic.request();
        });
        scores(&traffic)
    };
    let rows: Vec<u64> = rows(0).iter().zip(rows(1)).map(|(single, many)| single + 30 * many).collect();
    HourReference { hour, outputs: vec![rows.iter().map(|count| (count * 2).div_ceil(31)).collect()] }
}

/// Versions that are promoted at nine and baked, with references or without: after how many events of what they do
/// otherwise they fail, and by what.
struct Day<'a> {
    world: &'a World,
    plan: JudgingPlan,
    references: Vec<HourReference>,
    events_an_hour: u64,
}

impl<'a> Day<'a> {
    fn new(world: &'a World, events_an_hour: u64) -> Self {
        let references = (FROM..FROM + BAKED).map(|hour| learned(world, hour, 10_000)).collect();
        Self { world, plan: world.plan(), references, events_an_hour }
    }

    /// Stable's counts of the hour before promotion.
    fn frozen(&self, seed: u64) -> Frozen {
        let mut before = Traffic::new(self.world, NONE, 700_000 + seed, 5_000);
        // All of it is in this hour, and the arms are alike: a shift of both is one of the frozen counts.
        before.change_to(of_hour(FROM, NONE));
        (0..20_000).for_each(|_| {
            before.request();
        });
        let mut counts = before.counts.clone();
        counts.segments[0].stable = counts.segments[0].canary.clone();
        Frozen::of(&[counts])
    }

    /// A twin that changes from an hour on.
    fn bake(&self, (from, change): (usize, Change), seed: u64, is_known: bool) -> Option<(u64, String)> {
        let frozen = self.frozen(seed);
        let mut traffic = Traffic::new(self.world, NONE, 800_000 + seed, FULL_WEIGHT);
        let (mut history, mut changed) = (HourHistory::default(), 0);
        for (hour, reference) in (FROM..).zip(&self.references) {
            let reference = is_known.then_some(reference);
            traffic.change_to(of_hour(hour, if hour < from { NONE } else { change }));
            history.read(&traffic.counts, reference);
            for event in 1..=self.events_an_hour {
                traffic.request();
                changed += u64::from(hour >= from);
                if !event.is_multiple_of(scale(100, 250)) {
                    continue;
                }
                let counts = history.read(&traffic.counts, reference);
                if let Some(failed) = first_failed(&judge_bake(&self.plan, &frozen, counts)) {
                    return Some((changed, failed));
                }
            }
        }
        None
    }
}

#[test]
fn a_day_that_moves_predictions_is_no_failure_where_its_hours_are_known() {
    let world = World::alike();
    let day = Day::new(&world, scale(2_000, 10_000));
    let runs = scale(16, 500);
    let without = in_parallel(runs, |seed| day.bake((FROM, NONE), seed, false));
    let known = in_parallel(runs, |seed| day.bake((FROM, NONE), seed, true));
    let failed = |found: &[Option<(u64, String)>]| found.iter().flatten().count();
    let limit = 100.0 * upper_limit(failed(&known), runs);
    println!("| a day of twins, hours known | {} of {runs} | {limit:.2} % |", failed(&known));
    println!("| a day of twins, hours unknown | {} of {runs} |", failed(&without));
    assert_eq!(failed(&without), runs, "without hours the day is its fault: {without:?}");
    assert!(failed(&known) * 50 <= runs, "{known:?}");
}

#[test]
fn a_version_that_is_worse_is_found_through_the_day() {
    let world = World::alike();
    let day = Day::new(&world, scale(2_000, 10_000));
    let score = "predictions/score";
    for (name, change, metric) in [
        ("scores by −0.75 σ", (FROM, Change { shift: -0.75, ..NONE }), score),
        ("scores by −0.75 σ from the third hour on", (FROM + 2, Change { shift: -0.75, ..NONE }), score),
        ("errors 0.5 to 3 % from the third hour on", (FROM + 2, Change { errors: 6.0, ..NONE }), "errors"),
    ] {
        let found = in_parallel(scale(8, 100), |seed| day.bake(change, seed, true));
        let by: Vec<&str> = found.iter().flatten().map(|(_, metric)| metric.as_str()).collect();
        assert!(by.len() == found.len() && by.iter().all(|by| *by == metric), "{name}: {found:?}");
        let events = median(found.iter().map(|found| found.as_ref().map(|(events, _)| *events)).collect());
        println!("| baking through a day: {name} | {} |", shown(events));
    }
}

#[test]
fn hours_together_are_neither_what_the_present_hour_is_like_nor_what_was_before() {
    let world = World::alike();
    let day = Day::new(&world, 2_000);
    let frozen = day.frozen(1);
    let mut traffic = Traffic::new(&world, NONE, 5, FULL_WEIGHT);
    let mut history = HourHistory::default();
    let mut parts = Vec::new();
    for (hour, reference) in (FROM..).zip(&day.references) {
        traffic.change_to(of_hour(hour, NONE));
        history.read(&traffic.counts, Some(reference));
        (0..2_000).for_each(|_| {
            traffic.request();
        });
        parts = history.read(&traffic.counts, Some(reference)).to_vec();
    }
    assert_eq!(first_failed(&judge_bake(&day.plan, &frozen, &parts)), None);
    let together = TrialCounts { hour: day.references.last().cloned(), ..traffic.counts.clone() };
    let failed = first_failed(&judge_bake(&day.plan, &frozen, &[together]));
    assert_eq!(failed.as_deref(), Some("predictions/score"));
}

#[test]
fn references_of_few_rows_or_other_cells_are_not_used() {
    let world = World::alike();
    let day = Day::new(&world, 2_000);
    let (frozen, hour) = (day.frozen(1), FROM + BAKED - 1);
    let mut traffic = Traffic::new(&world, of_hour(hour, NONE), 6, FULL_WEIGHT);
    (0..2_000).for_each(|_| {
        traffic.request();
    });
    let judge = |outputs: Vec<Vec<u64>>| {
        let counts = TrialCounts { hour: Some(HourReference { hour, outputs }), ..traffic.counts.clone() };
        first_failed(&judge_bake(&day.plan, &frozen, &[counts]))
    };
    let known = day.references.last().unwrap().outputs[0].clone();
    assert_eq!(judge(vec![known.clone()]), None);
    let few = known.iter().map(|count| count / 25).collect();
    let other = known[1..].to_vec();
    for outputs in [vec![few], vec![other], vec![Vec::new()], Vec::new()] {
        assert_eq!(judge(outputs).as_deref(), Some("predictions/score"));
    }
}
