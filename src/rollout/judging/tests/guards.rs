//! Guards: how few answers decide, and what does not.

use super::super::{Frozen, GuardHistory, JudgingPlan, MAX_GUARD_PARTS, judge_guards};
use super::world::World;
use super::{is_long, scale};
use crate::config::RolloutSettings;
use crate::observe::trial::{GUARD_GROUPS, GuardSegment, GuardTally, TrialCounts, TrialLayout};
use crate::rollout::{Judgement, Verdict};
use rand::{RngExt, SeedableRng, rngs::SmallRng};

/// Marks an answer as a failure.
type Fail = fn(&mut GuardTally);

const NON_FINITE: Fail = |tally| tally.non_finite += 1;
const ERRORS: Fail = |tally| tally.errors += 1;
const BROKEN: Fail = |tally| tally.broken += 1;
const SLOW: Fail = |tally| tally.slow += 1;

fn plan() -> JudgingPlan {
    JudgingPlan::new(&RolloutSettings::default(), TrialLayout::default())
}

fn segment(weight: f64) -> GuardSegment {
    GuardSegment { weight, ..GuardSegment::default() }
}

fn tally(answers: u64, errors: u64) -> GuardTally {
    GuardTally { answers, errors, ..GuardTally::default() }
}

fn failed(judgement: &Judgement) -> bool {
    judgement.verdict == Verdict::Fail
}

/// Failing answers of the canary that decide, after `good` good ones; stable never fails.
fn answers_until_failure(seed: u64, weight: f64, good: u64, frozen: Option<&Frozen>, fail: Fail) -> u64 {
    let (plan, mut random) = (plan(), SmallRng::seed_from_u64(seed));
    let (mut history, mut counters) = (GuardHistory::default(), segment(weight));
    history.begin(weight);
    let (mut before, mut bad) = (0, 0);
    while bad < 100 {
        if !random.random_bool(weight) {
            counters.stable[0].answers += 1;
            continue;
        }
        counters.canary[0].answers += 1;
        before += 1;
        if before > good {
            bad += 1;
            fail(&mut counters.canary[0]);
        }
        if bad > 0 || before.is_multiple_of(50) {
            history.read(&counters);
        }
        if bad > 0 && failed(&judge_guards(&plan, &history.segments(), frozen)) {
            return bad;
        }
    }
    bad
}

fn least_and_most(weight: f64, good: u64, frozen: Option<&Frozen>, fail: Fail) -> (u64, u64) {
    let runs = scale(20, 400);
    let found = (0..runs).map(|seed| answers_until_failure(seed, weight, good, frozen, fail));
    found.fold((u64::MAX, 0), |(least, most), answers| (least.min(answers), most.max(answers)))
}

#[test]
fn a_few_answers_decide_what_is_plainly_broken() {
    let mut frozen = Frozen::default();
    frozen.guards[0] = tally(10_000, 0);
    let frozen = Some(&frozen);
    if is_long() {
        println!("| guard | at 1 % | at 10 % | at 50 % | with all traffic | at 10 % after 10,000 good answers |");
        println!("|---|---|---|---|---|---|");
    }
    for (name, fail, most) in [
        ("a NaN or an infinity", NON_FINITE, [4, 6, 13, 4, 13]),
        ("panics, wrong shapes", BROKEN, [4, 6, 13, 4, 13]),
        ("failures", ERRORS, [7, 7, 13, 7, 14]),
        ("slow answers", SLOW, [7, 7, 13, 7, 14]),
    ] {
        let cases = [(0.01, 0, None), (0.1, 0, None), (0.5, 0, None), (1.0, 0, frozen), (0.1, 10_000, None)];
        let found = cases.map(|(weight, good, frozen)| least_and_most(weight, good, frozen, fail));
        let cells: Vec<String> = found.iter().map(|(least, most)| format!("{least} to {most}")).collect();
        println!("| {name} | {} |", cells.join(" | "));
        for ((_, found), most) in found.iter().zip(most) {
            assert!(*found <= most, "{name}: {found} of {most}");
        }
        assert!(found.iter().all(|(least, _)| *least >= 2), "{name}: one answer decides nothing");
    }
}

#[test]
fn what_fails_in_both_arms_or_within_what_is_allowed_is_no_failure() {
    let mut outage = segment(0.1);
    (outage.canary[0], outage.stable[0]) = (tally(1000, 900), tally(9000, 8100));
    assert!(!failed(&judge_guards(&plan(), &[outage.clone()], None)));
    // Far worse than stable, and still borne.
    let mut borne = segment(0.1);
    (borne.canary[0], borne.stable[0]) = (tally(10_000, 400), tally(90_000, 0));
    let found = judge_guards(&plan(), &[borne.clone()], None);
    assert!(!failed(&found) && found.metrics[0].effect.unwrap().interval.low > 0.03);
    borne.canary[0].errors = 1000;
    assert!(failed(&judge_guards(&plan(), &[borne], None)));
}

#[test]
fn one_group_of_keys_ends_nothing_but_two_do_and_requests_without_a_key_count_always() {
    let mut one = segment(0.1);
    one.canary = std::array::from_fn(|group| if group == 0 { tally(0, 0) } else { tally(100, 0) });
    one.stable = std::array::from_fn(|group| if group == 0 { tally(0, 0) } else { tally(900, 0) });
    one.canary[3] = tally(5000, 5000);
    assert!(!failed(&judge_guards(&plan(), &[one.clone()], None)));
    let mut two = one.clone();
    two.canary[5] = tally(100, 100);
    assert!(failed(&judge_guards(&plan(), &[two], None)));
    let mut without = one;
    without.canary[3] = tally(100, 0);
    without.canary[0] = tally(300, 300);
    without.stable[0] = tally(2700, 0);
    assert!(failed(&judge_guards(&plan(), &[without], None)));
}

#[test]
fn with_all_traffic_what_stable_did_is_the_limit() {
    let after = |errors: u64| {
        let mut segment = segment(1.0);
        segment.canary[0] = tally(2000, errors);
        [segment]
    };
    let mut frozen = Frozen::default();
    frozen.guards[0] = tally(10_000, 2000);
    assert!(!failed(&judge_guards(&plan(), &after(420), Some(&frozen))));
    assert!(failed(&judge_guards(&plan(), &after(700), Some(&frozen))));
    // Few of stable's answers leave a great deal possible; none leave what is allowed.
    frozen.guards[0] = tally(3, 0);
    assert!(!failed(&judge_guards(&plan(), &after(420), Some(&frozen))));
    assert!(failed(&judge_guards(&plan(), &after(420), Some(&Frozen::default()))));
    // Without frozen counts those of the segments before are taken.
    let mut before = segment(0.5);
    (before.canary[0], before.stable[0]) = (tally(10_000, 2000), tally(10_000, 2000));
    let [promoted] = after(420);
    assert!(!failed(&judge_guards(&plan(), &[before.clone(), promoted.clone()], None)));
    assert_eq!(
        judge_guards(&plan(), &[before.clone(), promoted.clone()], None),
        judge_guards(
            &plan(),
            &[before.clone(), promoted],
            Some(&Frozen::of(&[TrialCounts { guards: before, ..TrialCounts::default() }]))
        )
    );
}

#[test]
fn nothing_counted_is_too_little_and_good_answers_pass() {
    assert_eq!(judge_guards(&plan(), &[], None).verdict, Verdict::NotEnoughData);
    assert_eq!(judge_guards(&plan(), &[segment(0.0)], None).verdict, Verdict::NotEnoughData);
    let mut good = segment(0.01);
    good.canary[0] = tally(10, 0);
    assert_eq!(judge_guards(&plan(), &[good], None).verdict, Verdict::Pass);
}

#[test]
fn history_adds_up_and_stays_small() {
    let mut random = SmallRng::seed_from_u64(5);
    let mut history = GuardHistory::default();
    let (mut all, mut shares) = ([GuardTally::default(); GUARD_GROUPS], 0);
    for weight in [0.01, 0.05, 0.25, 0.25] {
        let mut counters = segment(weight);
        history.begin(weight);
        shares += 1;
        for _ in 0..3000 {
            let group = random.random_range(0..GUARD_GROUPS);
            let answers = random.random_range(0..30);
            for tally in [&mut counters.canary[group], &mut all[group]] {
                tally.answers += answers;
                tally.errors += answers / 10;
            }
            history.read(&counters);
        }
    }
    let segments = history.segments();
    let mut sums = [GuardTally::default(); GUARD_GROUPS];
    segments.iter().for_each(|segment| super::super::frozen::add_guards(&mut sums, &segment.canary));
    assert_eq!(sums, all);
    assert!(segments.len() > MAX_GUARD_PARTS / 2 && segments.len() <= MAX_GUARD_PARTS + 1 + shares);
    // The latest are the finest.
    let answers = |segment: &GuardSegment| segment.canary.iter().map(|tally| tally.answers).sum::<u64>();
    assert!(answers(&segments[segments.len() - 2]) < 200, "{:?}", segments.iter().map(answers).collect::<Vec<_>>());
}

#[test]
fn the_plan_says_how_the_rate_is_divided() {
    let plan = World::alike().plan();
    assert!((plan.budget.total() - plan.false_abort_rate).abs() < 1e-15, "{}", plan.budget.total());
    let text = plan.explain();
    println!("{text}");
    assert!(text.contains("1.600e-3   evidence of 625") && text.lines().count() == 14, "{text}");
}
