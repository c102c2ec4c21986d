//! What people say: carried out, refused with a reason, or bound to what they saw.

use super::machine::Driven;
use super::world::{NOON, beginning, look, settings};
use crate::observe::trial::{ArmTally, TrialCounts, TrialSegment};
use crate::rollout::course::{Course, MOST_UNWRITTEN};
use crate::rollout::history::{History, KEPT_ROLLOUTS};
use crate::rollout::journal::{Beginning, Entry, Subject};
use crate::rollout::{Order, OrderError, Pause, Phase, Verdict};

#[test]
fn an_order_is_bound_to_the_generation_that_was_seen_and_an_abort_is_not() {
    let mut driven = Driven::warm(&settings());
    let seen = driven.course.state().changed;
    let counts = vec![TrialCounts::default()];
    driven.course.take(vec![Entry::Counted { counts }], NOON);
    assert_eq!(driven.course.state().changed, seen, "counts are no change");
    driven.course.order(&Order::Pause, "somebody", Some(seen), NOON).unwrap();
    let found = driven.course.state().changed;
    let stale = driven.course.order(&Order::Promote, "somebody", Some(seen), NOON);
    assert_eq!(stale, Err(OrderError::Stale { expected: seen, found }));
    driven.course.order(&Order::Abort, "somebody", Some(seen), NOON).unwrap();
    assert_eq!(driven.at(), (Phase::Aborting, 0, None));
    for order in [Order::Abort, Order::Promote, Order::Resume] {
        let refused = driven.course.order(&order, "somebody", None, NOON);
        assert!(matches!(refused, Err(OrderError::Refused(_))), "{order:?}");
    }
}

#[test]
fn who_paused_it_is_not_overruled_by_a_step_that_passes() {
    let mut driven = Driven::warm(&settings());
    driven.course.order(&Order::Pause, "somebody", None, NOON).unwrap();
    for verdict in [Verdict::Pass, Verdict::SensorError, Verdict::NotEnoughData] {
        driven.after(3_600_000, &look(Subject::Step, verdict));
        assert_eq!(driven.at(), (Phase::Canary { step: 0 }, 100, Some(Pause::Operator)), "{verdict:?}");
    }
    driven.course.order(&Order::Resume, "somebody", None, NOON).unwrap();
    driven.after(1, &look(Subject::Step, Verdict::Pass));
    assert_eq!(driven.at(), (Phase::Canary { step: 1 }, 500, None));
}

#[test]
fn while_a_larger_share_is_written_down_an_abort_and_a_pause_are_obeyed() {
    let raising = || {
        let mut driven = Driven::warm(&settings());
        driven.now += 120_000;
        driven.course.happen(&look(Subject::Step, Verdict::Pass), driven.now);
        assert!(driven.course.is_raising());
        assert_eq!(driven.at(), (Phase::Canary { step: 0 }, 100, None), "not live before it is written");
        driven
    };
    let mut driven = raising();
    let busy = driven.course.order(&Order::Promote, "somebody", None, driven.now);
    assert!(matches!(busy, Err(OrderError::Unavailable(_))));
    driven.course.order(&Order::Pause, "somebody", None, driven.now).unwrap();
    driven.write();
    assert_eq!(driven.at(), (Phase::Canary { step: 0 }, 100, Some(Pause::Operator)));
    let mut driven = raising();
    assert!(driven.course.to_write().is_some(), "it is being written");
    driven.course.order(&Order::Abort, "somebody", None, driven.now).unwrap();
    assert_eq!(driven.at(), (Phase::Aborting, 0, None), "at once");
    driven.course.written(Ok(()));
    driven.write();
    assert_eq!(driven.at(), (Phase::Aborting, 0, None), "also once the larger share is written down");
}

#[test]
fn what_waits_to_be_written_has_a_limit_that_keeps_no_share_alive() {
    let mut course = Course::begin(beginning(&settings()), NOON);
    for _ in 0..2 * MOST_UNWRITTEN {
        let _ = course.order(&Order::Pause, "somebody", None, NOON);
        let _ = course.order(&Order::Resume, "somebody", None, NOON);
    }
    course.order(&Order::Abort, "somebody", None, NOON).unwrap();
    assert_eq!(course.state().phase, Phase::Aborting);
}

#[test]
fn a_restart_keeps_what_was_counted_but_for_keys() {
    let segment = |keyed, events| TrialSegment {
        weight: 0.01,
        keyed,
        canary: ArmTally { events, ..ArmTally::default() },
        stable: ArmTally::default(),
    };
    let counts =
        |events| TrialCounts { segments: vec![segment(false, events), segment(true, events)], ..Default::default() };
    let mut driven = Driven::warm(&settings());
    driven.course.take(vec![Entry::Counted { counts: vec![counts(7)] }], NOON);
    driven.course.take(vec![Entry::Restarted], NOON + 5);
    let state = driven.course.state();
    assert_eq!((state.closed, state.since), (1, NOON + 5));
    let live = counts(3);
    let parts = state.with_live(Some(live.clone()));
    assert_eq!(parts[0].segments, [segment(false, 7)], "a key that asks again would count twice");
    assert_eq!(parts[1..], [live]);
    driven.course.take(vec![Entry::Counted { counts: parts }], NOON);
    driven.course.take(vec![Entry::Restarted, Entry::Restarted], NOON);
    assert_eq!(driven.course.state().closed, 2, "a process that counted nothing leaves nothing behind");
}

fn ended(history: &mut History, beginning: &Beginning, outcome: Phase) {
    history.take(&beginning.id, &Entry::Started(Box::new(beginning.clone())));
    let ended = Entry::Ended { outcome, reason: String::new(), lead_ms: Some(2_000), restore_ms: None };
    history.take(&beginning.id, &ended);
}

#[test]
fn what_was_stable_lately_what_was_refused_and_figures_follow_from_history() {
    let of = |target: u64, stable: u64| Beginning {
        id: format!("to-{target}"),
        target,
        stable,
        digest: format!("{target:x}"),
        stable_digest: format!("{stable:x}"),
        ..beginning(&settings())
    };
    let mut history = History::default();
    assert_eq!(history.stable(None), None);
    ended(&mut history, &of(2, 1), Phase::Done);
    ended(&mut history, &of(3, 2), Phase::Done);
    ended(&mut history, &of(4, 3), Phase::RolledBack);
    assert_eq!(history.stable(None), Some(3));
    assert_eq!(history.recently_stable(3, (3, "3")), [(2, "2".to_owned()), (1, "1".to_owned())]);
    assert_eq!(history.recently_stable(1, (3, "3")).len(), 1);
    assert_eq!(history.refused(), [(4, "4".to_owned())].into());
    assert_eq!(history.outcome_of("to-4"), Some(Some(Phase::RolledBack)));
    assert_eq!((history.next_id("to-4"), history.next_id("to-5")), ("to-4-2".to_owned(), "to-5".to_owned()));
    let again = Beginning { id: history.next_id("to-4"), ..of(4, 3) };
    ended(&mut history, &again, Phase::Done);
    assert_eq!((history.refused(), history.stable(None)), ([].into(), Some(4)));
    for _ in 0..2 * KEPT_ROLLOUTS {
        ended(&mut history, &of(2, 1), Phase::Failed);
    }
    assert_eq!(history.past().len(), KEPT_ROLLOUTS);
    assert_eq!(history.stable(None), Some(1));
    assert_eq!(
        (history.figures().promoted, history.figures().lead_seconds),
        (3, 6.0),
        "also of those that are forgotten"
    );
}
