//! Every way from one place to the next, and that what takes a share away works in every one.

use super::world::{NOON, beginning, judgement, judging, look, settings};
use crate::config::{Newer, OnTimeout, RolloutHookKind, RolloutSettings};
use crate::rollout::course::Course;
use crate::rollout::journal::{Beginning, Entry, Subject};
use crate::rollout::machine::Event;
use crate::rollout::{Order, Pause, Phase, TestPlan, Verdict, waits_for};
use proptest::prelude::*;

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;

/// A course whose every entry is written at once.
pub(super) struct Driven {
    pub(super) course: Course,
    pub(super) now: u64,
}

impl Driven {
    pub(super) fn begin(beginning: Beginning) -> Self {
        let mut driven = Self { course: Course::begin(beginning, NOON), now: NOON };
        driven.write();
        driven
    }

    /// Loaded and warm, and at the first share if nothing is in the way.
    pub(super) fn warm(settings: &RolloutSettings) -> Self {
        Self::warm_from(beginning(settings))
    }

    pub(super) fn warm_from(beginning: Beginning) -> Self {
        let mut driven = Self::begin(beginning);
        driven.happen(&Event::Ready(Box::new(judging())));
        driven.happen(&Event::Tick);
        driven
    }

    pub(super) fn write(&mut self) {
        while self.course.to_write().is_some() {
            self.course.written(Ok(()));
        }
    }

    pub(super) fn happen(&mut self, event: &Event) {
        self.course.happen(event, self.now);
        self.write();
    }

    pub(super) fn after(&mut self, milliseconds: u64, event: &Event) {
        self.now += milliseconds;
        self.happen(event);
    }

    fn passes(&mut self) {
        self.after(2 * MINUTE, &look(Subject::Step, Verdict::Pass));
    }

    pub(super) fn at(&self) -> (Phase, u16, Option<Pause>) {
        let state = self.course.state();
        (state.phase, state.weight, state.pause)
    }

    /// Everything from the first share on.
    fn promoted() -> Self {
        let mut driven = Self::warm(&settings());
        driven.passes();
        driven.passes();
        driven
    }
}

const FIRST: Phase = Phase::Canary { step: 0 };

#[test]
fn a_good_version_goes_step_by_step_to_the_end() {
    let mut driven = Driven::begin(beginning(&settings()));
    assert_eq!(driven.at(), (Phase::Pulling, 0, None));
    driven.happen(&Event::Preparing(Phase::Verifying));
    driven.happen(&Event::Preparing(Phase::Loading));
    assert_eq!(driven.at(), (Phase::Loading, 0, None));
    driven.happen(&Event::Ready(Box::new(judging())));
    assert_eq!(driven.at(), (Phase::Warming, 0, None));
    driven.happen(&Event::Tick);
    assert_eq!(driven.at(), (FIRST, 100, None));
    driven.after(MINUTE - 1, &look(Subject::Step, Verdict::Pass));
    assert_eq!(driven.at(), (FIRST, 100, None), "it has not had its time");
    driven.after(1, &look(Subject::Step, Verdict::Pass));
    assert_eq!(driven.at(), (Phase::Canary { step: 1 }, 500, None));
    driven.passes();
    assert_eq!(driven.at(), (Phase::Promoting, 10_000, None));
    driven.happen(&Event::Live);
    assert_eq!(driven.at(), (Phase::Baking, 10_000, None));
    driven.after(MINUTE - 1, &look(Subject::Bake, Verdict::Pass));
    assert_eq!(driven.at().0, Phase::Baking);
    driven.after(1, &look(Subject::Bake, Verdict::NotEnoughData));
    assert_eq!(driven.at(), (Phase::Done, 10_000, None));
    assert_eq!(driven.course.state().weights(), None, "what ended holds nothing");
}

#[test]
fn lead_time_is_from_the_registration_until_all_traffic_goes_to_it() {
    // Two steps of two minutes each, and seven seconds until it is live; baking is no part of it.
    let until_live = 4 * MINUTE + 7_000;
    for (registered_at, lead, ahead) in [
        (None, until_live, None),
        (Some(NOON - HOUR), HOUR + until_live, None),
        (Some(NOON), until_live, None),
        (Some(NOON + 5), until_live, Some(5)),
    ] {
        let mut beginning = beginning(&settings());
        assert_eq!(beginning.registered(registered_at), ahead);
        let mut driven = Driven::warm_from(beginning);
        driven.passes();
        driven.passes();
        driven.after(7_000, &Event::Live);
        driven.after(2 * MINUTE, &look(Subject::Bake, Verdict::Pass));
        let ended = driven.course.state().ended.clone();
        let Some(Entry::Ended { lead_ms, .. }) = ended else { panic!("{ended:?}") };
        assert_eq!(lead_ms, Some(lead), "{registered_at:?}");
    }
}

#[test]
fn without_a_verdict_the_plan_says_what_is_done_and_it_is_no_pass() {
    for (on_timeout, expected) in [
        (OnTimeout::Hold, (FIRST, 100, Some(Pause::Inconclusive))),
        (OnTimeout::Advance, (Phase::Canary { step: 1 }, 500, None)),
        (OnTimeout::Abort, (Phase::Aborting, 0, None)),
    ] {
        let mut settings = settings();
        settings.steps[0].on_timeout = on_timeout;
        let mut driven = Driven::warm(&settings);
        driven.after(HOUR - 1, &look(Subject::Step, Verdict::NotEnoughData));
        assert_eq!(driven.at(), (FIRST, 100, None));
        driven.after(1, &look(Subject::Step, Verdict::NotEnoughData));
        assert_eq!(driven.at(), expected);
        let decided = driven.course.state().decided.as_ref().map(|judgement| judgement.verdict);
        let expected = (on_timeout != OnTimeout::Hold).then_some(Verdict::NotEnoughData);
        assert_eq!(decided, expected);
    }
}

#[test]
fn one_that_holds_goes_on_with_a_verdict_or_somebodys_word() {
    let held = || {
        let mut driven = Driven::warm(&settings());
        driven.after(HOUR, &look(Subject::Step, Verdict::NotEnoughData));
        driven
    };
    let mut driven = held();
    driven.after(1, &look(Subject::Step, Verdict::Pass));
    assert_eq!(driven.at(), (Phase::Canary { step: 1 }, 500, None));
    let mut driven = held();
    driven.course.order(&Order::Resume, "somebody", None, driven.now).unwrap();
    driven.after(1, &look(Subject::Step, Verdict::NotEnoughData));
    assert_eq!(driven.at(), (Phase::Canary { step: 1 }, 500, None));
}

#[test]
fn what_cannot_be_trusted_holds_the_share_until_it_can() {
    let mut driven = Driven::warm(&settings());
    driven.after(2 * MINUTE, &look(Subject::Step, Verdict::SensorError));
    assert_eq!(driven.at(), (FIRST, 100, Some(Pause::Sensor)));
    driven.after(2 * HOUR, &look(Subject::Step, Verdict::SensorError));
    assert_eq!(driven.at(), (FIRST, 100, Some(Pause::Sensor)), "the plan holds");
    driven.after(1, &look(Subject::Step, Verdict::Pass));
    assert_eq!(driven.at(), (Phase::Canary { step: 1 }, 500, None));
    driven.passes();
    driven.happen(&Event::Live);
    driven.after(2 * MINUTE, &look(Subject::Bake, Verdict::SensorError));
    assert_eq!(driven.at(), (Phase::Baking, 10_000, Some(Pause::Sensor)));
    driven.after(1, &look(Subject::Bake, Verdict::Pass));
    assert_eq!(driven.at().0, Phase::Done);
}

#[test]
fn a_gate_waits_for_somebody_and_hours_for_their_end() {
    let mut gated = settings();
    gated.steps[0].gate = true;
    gated.gate = true;
    let mut driven = Driven::warm(&gated);
    driven.passes();
    assert_eq!(driven.at(), (FIRST, 100, Some(Pause::Gate)));
    assert_eq!(driven.course.state().decided, None, "nothing is decided before it moves");
    driven.course.order(&Order::Resume, "somebody", None, driven.now).unwrap();
    driven.passes();
    assert_eq!(driven.at(), (Phase::Canary { step: 1 }, 500, None));
    driven.passes();
    assert_eq!(driven.at(), (Phase::Canary { step: 1 }, 500, Some(Pause::Gate)), "the plan's own gate");

    // It begins on a Monday at noon.
    let quiet = RolloutSettings { blackout: vec![(12, 2)], ..settings() };
    let mut driven = Driven::warm(&quiet);
    assert_eq!(driven.at(), (Phase::Warming, 0, Some(Pause::Blackout)));
    driven.after(2 * HOUR - 1, &Event::Tick);
    assert_eq!(driven.at(), (Phase::Warming, 0, Some(Pause::Blackout)));
    driven.after(1, &Event::Tick);
    assert_eq!(driven.at(), (FIRST, 100, None));
}

#[test]
fn hooks_are_asked_in_their_moments_and_hold_until_they_agree() {
    let mut hooked = settings();
    let kinds = [
        RolloutHookKind::ConfirmRollout,
        RolloutHookKind::ConfirmTrafficIncrease,
        RolloutHookKind::ConfirmPromotion,
        RolloutHookKind::Rollout,
    ];
    hooked.hooks = kinds.map(|kind| crate::rollout::test_support::hook(kind, "http://gate.example/")).into();
    let mut driven = Driven::warm(&hooked);
    let answer = |driven: &mut Driven, hook: RolloutHookKind, yes| {
        let name = hook.as_str().to_owned();
        driven.happen(&Event::Hook { hook, name, yes, text: "said so".to_owned() });
    };
    let asked =
        |driven: &Driven| waits_for(driven.course.state()).into_iter().map(|(kind, _)| kind).collect::<Vec<_>>();
    assert_eq!(driven.at(), (Phase::Warming, 0, Some(Pause::Hook)));
    assert_eq!(asked(&driven), [RolloutHookKind::ConfirmRollout]);
    answer(&mut driven, RolloutHookKind::ConfirmRollout, false);
    driven.happen(&Event::Tick);
    assert_eq!(driven.at().0, Phase::Warming);
    answer(&mut driven, RolloutHookKind::ConfirmRollout, true);
    driven.happen(&Event::Tick);
    assert_eq!(driven.at(), (FIRST, 100, None));
    driven.passes();
    assert_eq!(asked(&driven), [RolloutHookKind::ConfirmTrafficIncrease]);
    answer(&mut driven, RolloutHookKind::ConfirmTrafficIncrease, true);
    answer(&mut driven, RolloutHookKind::Rollout, false);
    driven.passes();
    assert_eq!(driven.at(), (FIRST, 100, Some(Pause::Hook)), "one that is asked at every look does not agree");
    answer(&mut driven, RolloutHookKind::Rollout, true);
    driven.passes();
    assert_eq!(driven.at(), (Phase::Canary { step: 1 }, 500, None));
    driven.passes();
    assert_eq!(asked(&driven), [RolloutHookKind::ConfirmPromotion]);
    answer(&mut driven, RolloutHookKind::Rollback, true);
    assert_eq!(driven.at().0, Phase::Aborting);
}

#[test]
fn a_newer_version_takes_its_place_or_waits_or_is_left_alone() {
    for (newer, expected) in [(Newer::Supersede, Phase::Superseded), (Newer::Queue, FIRST), (Newer::Reject, FIRST)] {
        let mut driven = Driven::warm(&RolloutSettings { newer, ..settings() });
        driven.happen(&Event::Newer(2, "two".to_owned()));
        assert_eq!(driven.at().0, FIRST, "its own target is none");
        // As the highest of a directory it is wanted again as soon as another has most of the traffic.
        driven.happen(&Event::Newer(1, "one".to_owned()));
        assert_eq!(driven.at().0, FIRST, "the version that it began from is none");
        driven.happen(&Event::Newer(3, "three".to_owned()));
        driven.happen(&Event::Live);
        assert_eq!(driven.at().0, expected);
        let is_rejected = driven.course.state().rejected.contains(&(3, "three".to_owned()));
        assert_eq!(is_rejected, newer == Newer::Reject);
    }
    let mut driven = Driven::promoted();
    driven.happen(&Event::Live);
    driven.happen(&Event::Newer(3, "three".to_owned()));
    assert_eq!(driven.at().0, Phase::Baking, "what bakes is nearly done");
    driven.happen(&Event::Newer(2, "other bytes".to_owned()));
    assert_eq!(driven.at(), (Phase::Aborting, 0, None), "what serves is not what was looked at");
}

#[test]
fn the_registrys_word_promotes_the_target_and_ends_what_it_passes_by() {
    let mut driven = Driven::warm(&settings());
    driven.happen(&Event::Champion(Some(1)));
    assert_eq!(driven.at().0, FIRST);
    driven.happen(&Event::Champion(Some(2)));
    assert_eq!(driven.at(), (Phase::Promoting, 10_000, None));
    let mut driven = Driven::warm(&settings());
    driven.happen(&Event::Champion(Some(7)));
    driven.happen(&Event::Live);
    assert_eq!(driven.at(), (Phase::Superseded, 0, None));
}

#[test]
fn a_version_that_was_stable_lately_skips_steps_and_hours_and_is_baked() {
    let quiet = RolloutSettings { blackout: vec![(0, 168)], gate: true, ..settings() };
    let mut driven = Driven::warm_from(Beginning { fast: true, ..beginning(&quiet) });
    assert_eq!(driven.at(), (Phase::Promoting, 10_000, None));
    driven.happen(&Event::Live);
    assert_eq!(driven.at(), (Phase::Baking, 10_000, None));
    driven.happen(&look(Subject::Guards, Verdict::Fail));
    assert_eq!(driven.at(), (Phase::Aborting, 0, None));
}

#[test]
fn a_version_that_cannot_be_loaded_has_failed_and_a_test_moves_nothing() {
    let mut driven = Driven::begin(beginning(&settings()));
    driven.happen(&Event::Unusable("no graph".to_owned()));
    assert_eq!(driven.at(), (Phase::Failed, 0, None));
    assert!(driven.course.state().reason.contains("no graph"));

    let test = Some(TestPlan { weight: 50.0, question: "errors".to_owned() });
    let mut driven = Driven::warm_from(Beginning { test, ..beginning(&settings()) });
    assert_eq!(driven.at(), (Phase::Testing, 5_000, None));
    driven.after(1_000 * HOUR, &look(Subject::Step, Verdict::Pass));
    assert_eq!(driven.at(), (Phase::Testing, 5_000, None));
    driven.happen(&look(Subject::Guards, Verdict::Fail));
    assert_eq!(driven.at().0, Phase::Aborting);
}

/// What may happen, in any order.
fn any_event() -> impl Strategy<Value = Event> {
    let verdicts = [Verdict::Pass, Verdict::NotEnoughData, Verdict::SensorError, Verdict::Fail];
    let subjects = [Subject::Step, Subject::Guards, Subject::Bake, Subject::Shadow];
    let looks = (prop::sample::select(subjects.to_vec()), prop::sample::select(verdicts.to_vec()));
    prop_oneof![
        4 => looks.prop_map(|(subject, verdict)| look(subject, verdict)),
        2 => Just(Event::Tick),
        2 => Just(Event::Live),
        1 => Just(Event::Preparing(Phase::Loading)),
        2 => Just(Event::Ready(Box::new(judging()))),
        1 => Just(Event::Unusable("gone".to_owned())),
        1 => (2_u64..5).prop_map(|version| Event::Newer(version, "two".to_owned())),
        1 => prop::option::of(1_u64..4).prop_map(Event::Champion),
    ]
}

fn any_order() -> impl Strategy<Value = Order> {
    prop::sample::select(vec![Order::Pause, Order::Resume, Order::Promote, Order::Abort])
}

proptest! {
    #[test]
    fn an_abort_and_a_failing_guard_win_in_every_state(
        happens in prop::collection::vec((0_u64..90 * MINUTE, any_event(), prop::option::weighted(0.2, any_order()), any::<bool>()), 0..40),
        is_guard: bool,
    ) {
        let mut driven = Driven { course: Course::begin(beginning(&settings()), NOON), now: NOON };
        let mut written = Vec::new();
        for (later, event, order, is_written) in happens {
            driven.now += later;
            let before = driven.course.state().weight;
            driven.course.happen(&event, driven.now);
            if let Some(order) = order {
                let _ = driven.course.order(&order, "somebody", None, driven.now);
            }
            prop_assert!(driven.course.state().weight <= before, "a share grew before that was written");
            if is_written {
                while let Some(records) = driven.course.to_write() {
                    written.extend(records);
                    driven.course.written(Ok(()));
                }
            }
            let state = driven.course.state();
            prop_assert!(state.phase.is_ended() || state.weights().is_some_and(|weights| weights.len() == 2));
            prop_assert!(!state.phase.is_ended() || [0, 10_000].contains(&state.weight));
        }
        let has_ended = driven.course.state().phase.is_ended();
        if is_guard {
            driven.course.happen(&look(Subject::Guards, Verdict::Fail), driven.now);
        } else {
            let refused = driven.course.order(&Order::Abort, "somebody", Some(12_345), driven.now).is_err();
            prop_assert!(!refused || has_ended || driven.course.state().phase == Phase::Aborting);
        }
        prop_assert!(has_ended || driven.course.state().weight == 0);
        while let Some(records) = driven.course.to_write() {
            written.extend(records);
            driven.course.written(Ok(()));
        }
        prop_assert_eq!(&crate::rollout::state::State::fold(&written).unwrap(), driven.course.state());
    }
}

#[test]
fn what_failed_is_the_reason() {
    let mut driven = Driven::warm(&settings());
    driven.happen(&look(Subject::Step, Verdict::Fail));
    let state = driven.course.state();
    assert_eq!(state.reason, "errors: fail");
    assert_eq!(state.decided, Some(judgement(Verdict::Fail)));
    driven.after(40, &Event::Live);
    let ended = driven.course.state().ended.clone();
    assert!(matches!(ended, Some(Entry::Ended { restore_ms: Some(40), .. })), "{ended:?}");
}
