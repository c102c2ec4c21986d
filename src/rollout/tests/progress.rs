//! How far a rollout is said to be, beside what the machine makes of the same look.

use super::world::{NOON, beginning, counts, judging, look, settings};
use crate::config::OnTimeout;
use crate::rollout::course::Course;
use crate::rollout::journal::Subject;
use crate::rollout::machine::Event;
use crate::rollout::{Order, Phase, Seen, Verdict, progress};

/// A rollout at its first step, since noon, whose plan wants somebody's word before the second.
fn at_first_step(is_gated: bool) -> Course {
    let mut settings = settings();
    settings.steps[0].gate = is_gated;
    let mut course = Course::begin(beginning(&settings), NOON);
    for event in [Event::Ready(Box::new(judging())), Event::Tick] {
        course.happen(&event, NOON);
        write(&mut course);
    }
    assert_eq!(course.state().phase, Phase::Canary { step: 0 });
    course
}

fn write(course: &mut Course) {
    assert!(course.to_write().is_some());
    course.written(Ok(()));
}

fn seen(course: &Course, requests: u64, verdict: Verdict) -> Seen {
    Seen::of(course.state().part, &[counts(9), counts(requests)], Some(verdict))
}

#[test]
fn a_step_says_how_many_requests_and_how_long_it_still_needs() {
    let course = at_first_step(false);
    let shown = progress(course.state(), seen(&course, 120, Verdict::NotEnoughData), NOON + 20_500).unwrap();
    assert_eq!((shown.next, shown.next_weight.to_bits()), (Phase::Canary { step: 1 }, 5_f64.to_bits()));
    assert_eq!((shown.requests, shown.min_requests), (120, 500));
    assert_eq!([shown.seconds, shown.min_seconds].map(f64::to_bits), [20.5_f64, 60.0].map(f64::to_bits));
    assert!(shown.max_seconds.is_some_and(|longest| longest > 60.0) && shown.on_timeout == Some(OnTimeout::Hold));
    assert_eq!(shown.missing, ["380 more requests of version 2 (120 of 500)", "40s more (20s of at least 1m)"]);
}

#[test]
fn where_nothing_is_missing_the_next_look_moves_it_and_else_it_does_not() {
    let verdict = |requests: u64| if requests < 500 { Verdict::NotEnoughData } else { Verdict::Pass };
    for (requests, elapsed) in [(0, 0), (499, 60_000), (500, 59_999), (500, 60_000), (9_000, 70_000)] {
        for (is_gated, is_resumed) in [(false, false), (true, false), (true, true)] {
            let mut course = at_first_step(is_gated);
            if is_gated {
                course.happen(&look(Subject::Step, Verdict::Pass), NOON + 60_000);
                write(&mut course);
            }
            if is_resumed {
                course.order(&Order::Resume, "a test", None, NOON).unwrap();
                write(&mut course);
            }
            let now = NOON + elapsed;
            let shown = progress(course.state(), seen(&course, requests, verdict(requests)), now).unwrap();
            let waits = course.state().pause.is_some();
            course.happen(&look(Subject::Step, verdict(requests)), now);
            let is_moving = course.is_raising();
            assert_eq!(is_moving, shown.missing.is_empty() && !waits, "{requests} {elapsed} {is_gated}: {shown:?}");
        }
    }
}

#[test]
fn what_stands_before_the_next_share_is_said_before_it_is_asked_and_of_another_part_nothing_is_known() {
    let course = at_first_step(true);
    let shown = progress(course.state(), seen(&course, 500, Verdict::Pass), NOON + 60_000).unwrap();
    assert_eq!(shown.missing, ["the plan wants somebody to say that it may go on"]);
    let other = Seen { part: course.state().part + 1, ..seen(&course, 500, Verdict::Pass) };
    assert_eq!(progress(course.state(), other, NOON).unwrap().requests, 0);
    let alone = progress(course.state(), seen(&course, 500, Verdict::NotEnoughData), NOON + 60_000).unwrap();
    assert_eq!(alone.missing[0], "requests of version 1 to compare with");
}

#[test]
fn what_bakes_needs_time_alone_and_what_has_ended_nothing() {
    let mut course = at_first_step(false);
    course.order(&Order::Promote, "a test", None, NOON).unwrap();
    write(&mut course);
    assert_eq!(progress(course.state(), Seen::default(), NOON), None);
    course.happen(&Event::Live, NOON);
    let shown = progress(course.state(), Seen::default(), NOON + 15_000).unwrap();
    assert_eq!((shown.next, shown.min_requests, shown.max_seconds), (Phase::Done, 0, None));
    assert_eq!(shown.missing, ["45s more (15s of at least 1m)"]);
    course.order(&Order::Abort, "a test", None, NOON).unwrap();
    assert_eq!(progress(course.state(), Seen::default(), NOON), None);
}
