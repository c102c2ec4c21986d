//! Who keeps a worker waiting, and for how long.
//!
//! A timer for each request head and each body would be armed and disarmed with every request, for an event that hardly
//! ever comes: at 60,000 requests a second that is a twentieth of a core. Instead a connection notes what it waits for and
//! since when, and the worker goes through its connections a few times within the shortest limit. What is overdue is told
//! so and woken. Times are those of the last round: a note costs no look at a clock.
//!
//! Invariant: nobody is told before its limit, and everybody within its limit and two rounds.

use super::Limits;
use crate::catalog::Model;
use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

/// Rounds within the shortest limit.
const ROUNDS: u32 = 8;
/// Between two rounds, at least and at most.
const ROUND: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// Room for those that wait, at least.
const FEWEST: usize = 64;

/// All connections of a worker, and the requests of those with several at once.
#[derive(Debug)]
pub(super) struct Waiting {
    limits: [Duration; 2],
    round: Duration,
    /// Time of the last round, since the first.
    now: Rc<Cell<Duration>>,
    waits: RefCell<Vec<Weak<Wait>>>,
    is_draining: Cell<bool>,
}

/// What one connection waits for, or one request where a connection has several at once.
#[derive(Debug)]
pub(super) struct Wait {
    phase: Cell<Phase>,
    since: Cell<Duration>,
    now: Rc<Cell<Duration>>,
    is_overdue: Cell<bool>,
    is_draining: Cell<bool>,
    /// Wakes the connection.
    waker: RefCell<Option<Waker>>,
    /// The answer that is being written.
    answered: RefCell<Option<Answered>>,
}

/// An answer that is to be written.
#[derive(Debug)]
pub(super) struct Answered {
    /// Whose it is.
    pub(super) model: Arc<Model>,
    /// The worker that made it.
    pub(super) worker: usize,
    /// When it was made.
    pub(super) at: Instant,
    /// Whether it may wait for others of its round, see [`super::outbox`].
    pub(super) may_wait: bool,
}

/// What it is that does not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// A request's head, or the client's taking the answer before it.
    Head,
    /// The rest of a body.
    Body,
    /// Nothing: it is our turn.
    Ours,
}

impl Waiting {
    pub(super) fn new(limits: &Limits) -> Self {
        let limits = [limits.idle_timeout, limits.body_timeout];
        let round = (limits[0].min(limits[1]) / ROUNDS).clamp(ROUND.0, ROUND.1);
        let (now, waits) = (Rc::default(), RefCell::default());
        Self { limits, round, now, waits, is_draining: Cell::new(false) }
    }

    /// How long there is between two rounds.
    pub(super) fn round(&self) -> Duration {
        self.round
    }

    /// A connection that waits for its first head.
    pub(super) fn enter(&self) -> Rc<Wait> {
        let wait = Rc::new(Wait {
            phase: Cell::new(Phase::Head),
            since: Cell::new(self.now.get()),
            now: Rc::clone(&self.now),
            is_overdue: Cell::new(false),
            is_draining: Cell::new(self.is_draining.get()),
            waker: RefCell::default(),
            answered: RefCell::default(),
        });
        let mut waits = self.waits.borrow_mut();
        if waits.len() == waits.capacity() {
            // Every request of an HTTP/2 connection is one: those that have left would be kept until the next round. With
            // room for as many as are left, this costs each that enters the same, however many there are.
            waits.retain(|wait| wait.strong_count() > 0);
            let left = waits.len();
            waits.reserve(left.max(FEWEST));
        }
        waits.push(Rc::downgrade(&wait));
        drop(waits);
        wait
    }

    /// Goes through all connections; `now` is the time since the first round.
    pub(super) fn go_round(&self, now: Duration) {
        self.now.set(now);
        self.waits.borrow_mut().retain(|wait| {
            let Some(wait) = wait.upgrade() else { return false };
            let limit = match wait.phase.get() {
                Phase::Head => self.limits[0],
                Phase::Body => self.limits[1],
                Phase::Ours => return true,
            };
            // What began between two rounds has the time of the earlier one.
            if now.saturating_sub(wait.since.get()) >= limit + self.round {
                wait.is_overdue.set(true);
                wait.wake();
            }
            true
        });
    }

    /// Tells all connections, and those to come, to end with the request they are in.
    pub(super) fn drain(&self) {
        self.is_draining.set(true);
        for wait in self.waits.borrow().iter().filter_map(Weak::upgrade) {
            wait.is_draining.set(true);
            wait.wake();
        }
    }
}

impl Wait {
    /// From now on it waits for this.
    pub(super) fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.progress();
    }

    /// The client did something: the wait begins anew.
    pub(super) fn progress(&self) {
        self.since.set(self.now.get());
        self.is_overdue.set(false);
    }

    /// An answer was made, to be written.
    pub(super) fn answered(&self, answered: Answered) {
        self.answered.replace(Some(answered));
    }

    /// When the answer that is to be written was made, if it may wait for others.
    pub(super) fn answer_in_round(&self) -> Option<Instant> {
        self.answered.borrow().as_ref().filter(|answered| answered.may_wait).map(|answered| answered.at)
    }

    /// All that was to be written has been taken by the system.
    pub(super) fn written(&self) {
        if let Some(Answered { model, worker, at, .. }) = self.answered.take() {
            let nanoseconds = u64::try_from(at.elapsed().as_nanos()).unwrap_or(u64::MAX);
            model.recorder.record_write(worker, nanoseconds);
        }
    }

    /// When the wait began, as of the last round.
    pub(super) fn since(&self) -> Duration {
        self.since.get()
    }

    /// Whether it has waited too long for this.
    pub(super) fn is_overdue(&self, phase: Phase) -> bool {
        self.is_overdue.get() && self.phase.get() == phase
    }

    /// Whether a request is being answered.
    pub(super) fn is_ours(&self) -> bool {
        self.phase.get() == Phase::Ours
    }

    /// Whether the request it is in is its last.
    pub(super) fn is_draining(&self) -> bool {
        self.is_draining.get()
    }

    /// Wakes this task when something is to be told.
    pub(super) fn register(&self, context: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            *waker = Some(context.waker().clone());
        }
    }

    /// Wakes the connection's task.
    pub(super) fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting() -> Waiting {
        let limits = Limits { max_body: 1, body_timeout: Duration::from_secs(4), idle_timeout: Duration::from_secs(8) };
        Waiting::new(&limits)
    }

    fn half_seconds(count: u32) -> Duration {
        Duration::from_millis(500) * count
    }

    #[test]
    fn nobody_is_told_before_its_limit_and_everybody_within_two_rounds_of_it() {
        let waiting = waiting();
        assert_eq!(waiting.round(), half_seconds(1));
        for (phase, limit) in [(Phase::Head, 16), (Phase::Body, 8)] {
            let wait = waiting.enter();
            wait.enter(phase);
            let began = waiting.now.get();
            let told = (1..40).find(|&round| {
                waiting.go_round(began + half_seconds(round));
                wait.is_overdue(phase)
            });
            // It may have begun right before the first of these rounds.
            let told = told.unwrap();
            assert!(told > limit && told <= limit + 2, "{phase:?}: {told}");
        }
    }

    #[test]
    fn progress_begins_the_wait_anew_and_our_turn_has_no_limit() {
        let waiting = waiting();
        let wait = waiting.enter();
        for round in 1..100 {
            waiting.go_round(half_seconds(round));
            wait.progress();
        }
        assert!(!wait.is_overdue(Phase::Head));
        wait.enter(Phase::Ours);
        (100..900).for_each(|round| waiting.go_round(half_seconds(round)));
        assert!(!wait.is_overdue(Phase::Ours) && !wait.is_overdue(Phase::Head));
    }

    #[test]
    fn what_came_after_all_is_not_held_against_the_next_wait() {
        let waiting = waiting();
        let wait = waiting.enter();
        wait.enter(Phase::Body);
        waiting.go_round(half_seconds(100));
        assert!(wait.is_overdue(Phase::Body));
        wait.enter(Phase::Ours);
        wait.enter(Phase::Head);
        assert!(!wait.is_overdue(Phase::Head), "the answer is still to be written");
    }

    #[test]
    fn draining_reaches_those_who_wait_and_those_to_come_and_who_left_is_forgotten() {
        let waiting = waiting();
        let (wait, gone) = (waiting.enter(), waiting.enter());
        drop(gone);
        assert!(!wait.is_draining());
        waiting.drain();
        assert!(wait.is_draining() && waiting.enter().is_draining());
        waiting.go_round(half_seconds(1));
        assert_eq!(waiting.waits.borrow().len(), 1);
    }
    #[test]
    fn those_who_left_are_forgotten_before_there_is_room_for_more() {
        let waiting = waiting();
        let stay: Vec<_> = (0..FEWEST).map(|_| waiting.enter()).collect();
        (0..100 * FEWEST).for_each(|_| drop(waiting.enter()));
        let waits = waiting.waits.borrow();
        assert!(waits.capacity() <= 4 * FEWEST, "{}", waits.capacity());
        let alive = waits.iter().filter_map(Weak::upgrade).count();
        assert_eq!(alive, stay.len());
    }
}
