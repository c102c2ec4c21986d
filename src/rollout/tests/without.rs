//! Where something is missing that a rollout was to have: copies of requests, the version before, its edges.

use super::machine::Driven;
use super::world::{NOON, beginning, counts, judging, look, settings};
use crate::config::{OnTimeout, RolloutSettings, ShadowSettings};
use crate::observe::trial::{ArmTally, OutputCells, TrialCounts, TrialLayout};
use crate::rollout::journal::{Entry, Subject};
use crate::rollout::judging::JudgingPlan;
use crate::rollout::machine::Event;
use crate::rollout::{Order, Pause, Phase, Verdict};

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
const FIRST: Phase = Phase::Canary { step: 0 };

fn shadowed(on_timeout: OnTimeout) -> Driven {
    let shadow = ShadowSettings { on_timeout, ..ShadowSettings::default() };
    let mut driven = Driven::warm(&RolloutSettings { shadow: Some(shadow), ..settings() });
    assert_eq!(driven.at(), (Phase::Shadow, 0, None));
    driven.after(1, &unmirrored());
    driven
}

fn unmirrored() -> Event {
    Event::Unmirrored("requests cannot be copied: no thread is left".to_owned())
}

fn bereft(for_good: bool) -> Event {
    Event::Bereft { reason: "version 1 is not there".to_owned(), for_good }
}

fn reason(driven: &Driven) -> &str {
    &driven.course.state().reason
}

#[test]
fn a_shadow_phase_without_copies_waits_until_somebody_says_that_it_may_go_on() {
    let mut driven = shadowed(OnTimeout::Hold);
    assert_eq!(driven.at(), (Phase::Shadow, 0, Some(Pause::Inconclusive)));
    assert!(reason(&driven).contains("no thread is left"));
    let entries = driven.course.state().generation;
    driven.after(10 * HOUR, &unmirrored());
    assert_eq!(driven.at(), (Phase::Shadow, 0, Some(Pause::Inconclusive)), "nobody said anything");
    assert_eq!(driven.course.state().generation, entries, "it is said once");
    driven.course.order(&Order::Resume, "somebody", None, driven.now).unwrap();
    driven.after(1, &unmirrored());
    assert_eq!(driven.at(), (FIRST, 100, None));
    assert!(reason(&driven).contains("may go on") && reason(&driven).contains("no thread is left"));

    // Copies that can be made after all are as good as ever.
    let mut driven = shadowed(OnTimeout::Hold);
    driven.after(HOUR / 2, &look(Subject::Shadow, Verdict::Pass));
    assert_eq!(driven.at(), (FIRST, 100, None));
}

#[test]
fn a_shadow_phase_without_copies_does_what_the_plan_says_when_it_has_had_its_time() {
    for (on_timeout, expected) in [
        (OnTimeout::Hold, (Phase::Shadow, 0, Some(Pause::Inconclusive))),
        (OnTimeout::Advance, (FIRST, 100, None)),
        (OnTimeout::Abort, (Phase::Aborting, 0, None)),
    ] {
        let mut driven = shadowed(on_timeout);
        driven.now = NOON;
        driven.after(HOUR - 1, &unmirrored());
        assert_eq!(driven.at(), (Phase::Shadow, 0, Some(Pause::Inconclusive)), "{on_timeout:?}");
        driven.after(1, &unmirrored());
        assert_eq!(driven.at(), expected);
        assert!(reason(&driven).contains("no thread is left"), "{}", reason(&driven));
    }
}

/// All traffic, and baking.
fn baking() -> Driven {
    let mut driven = Driven::warm(&settings());
    driven.after(2 * MINUTE, &look(Subject::Step, Verdict::Pass));
    driven.after(2 * MINUTE, &look(Subject::Step, Verdict::Pass));
    driven.happen(&Event::Live);
    assert_eq!(driven.at(), (Phase::Baking, 10_000, None));
    driven
}

#[test]
fn without_the_version_before_what_bakes_is_watched_to_its_end_and_says_so() {
    let mut driven = baking();
    let entries = driven.course.state().generation;
    (0..3).for_each(|_| driven.after(MINUTE / 10, &bereft(true)));
    assert_eq!(driven.at(), (Phase::Baking, 10_000, None));
    assert_eq!(driven.course.state().generation, entries + 1, "it is said once");
    driven.course.take(vec![Entry::WriteBack { what: "tags".to_owned(), failed: None }], driven.now);
    assert_eq!(driven.course.state().problem.as_deref(), Some("version 1 is not there"));
    driven.after(MINUTE, &look(Subject::Bake, Verdict::Pass));
    assert_eq!(driven.at(), (Phase::Done, 10_000, None));
    assert!(reason(&driven).contains("version 1 is not there"), "{}", reason(&driven));
}

#[test]
fn what_fails_with_nothing_to_take_its_place_is_aborting_until_nobody_waits_for_that_any_more() {
    let mut driven = baking();
    driven.happen(&bereft(false));
    driven.happen(&look(Subject::Guards, Verdict::Fail));
    assert_eq!(driven.at(), (Phase::Aborting, 0, None));
    driven.happen(&bereft(false));
    assert_eq!(driven.at(), (Phase::Aborting, 0, None), "its files may be on their way");
    assert_eq!(driven.course.state().problem.as_deref(), Some("version 1 is not there"));
    driven.happen(&bereft(true));
    assert_eq!(driven.at(), (Phase::RolledBack, 0, None));
    let said = reason(&driven);
    assert!(said.contains("errors: fail") && said.contains("serves until another version does"), "{said}");

    let mut driven = baking();
    driven.happen(&look(Subject::Guards, Verdict::Fail));
    driven.happen(&bereft(false));
    driven.happen(&Event::Live);
    assert_eq!(driven.at(), (Phase::RolledBack, 0, None), "they came");
    assert!(!reason(&driven).contains("another version"));
}

#[test]
fn a_canary_without_the_version_before_does_not_grow_and_says_why() {
    let mut driven = Driven::warm(&settings());
    driven.after(2 * MINUTE, &bereft(true));
    assert_eq!(driven.at(), (FIRST, 100, None));
    assert_eq!(driven.course.state().problem.as_deref(), Some("version 1 is not there"));
    driven.course.order(&Order::Pause, "somebody", None, driven.now).unwrap();
    assert_eq!(driven.course.state().problem, None, "what is news is shown");
    driven.after(1, &bereft(true));
    assert_eq!(driven.course.state().problem.as_deref(), Some("version 1 is not there"), "and then it is said again");
}

fn armed(layout: TrialLayout) -> Entry {
    Entry::Armed { judging: Box::new(JudgingPlan::new(&settings(), layout)) }
}

#[test]
fn frozen_counts_on_other_edges_are_not_compared_with_what_comes_after() {
    let column = |name: &str, expected: [u64; 2]| OutputCells {
        name: name.to_owned(),
        expected: expected.to_vec(),
        ordered: 2,
        ..OutputCells::default()
    };
    let layout = TrialLayout { outputs: vec![column("a", [5, 5]), column("b", [9, 1])], ..judging().layout };
    let mut driven = Driven::begin(beginning(&settings()));
    driven.happen(&Event::Ready(Box::new(JudgingPlan::new(&settings(), layout.clone()))));
    driven.happen(&Event::Tick);
    let mut counted: TrialCounts = counts(1_000);
    let tally =
        ArmTally { defects: 3, outputs: vec![vec![400, 600], vec![900, 100]], ..counted.segments[0].stable.clone() };
    counted.segments[0].stable = tally.clone();
    driven.course.take(vec![Entry::Counted { counts: vec![counted] }], driven.now);
    driven.course.order(&Order::Promote, "somebody", None, driven.now).unwrap();
    driven.write();
    let frozen = |driven: &Driven| driven.course.state().frozen.clone().unwrap().stable;
    assert_eq!(frozen(&driven), tally);
    driven.course.take(vec![armed(layout.clone())], driven.now);
    assert_eq!(frozen(&driven), tally, "the same edges");
    let other = TrialLayout { outputs: vec![column("b", [9, 1]), column("a", [4, 6])], ..layout.clone() };
    driven.course.take(vec![armed(other.clone())], driven.now);
    let expected = ArmTally { defects: 1_000, outputs: vec![vec![900, 100], Vec::new()], ..tally };
    assert_eq!(frozen(&driven), expected);
    driven.course.take(vec![armed(TrialLayout { latency_edges: vec![7], ..other })], driven.now);
    assert_eq!(frozen(&driven), ArmTally { latency: Vec::new(), ..expected });
    driven.course.take(vec![armed(layout)], driven.now);
    assert_eq!(frozen(&driven).outputs, [Vec::new(), vec![900, 100]], "what was left out stays so");
}
