//! Taking turns on one worker, when there are more calls than it can make at once.
//!
//! A worker that makes every call as it comes to it does not see the others that are ready: they wait in the system and in
//! the runtime's queue, nobody knows how many there are, and they are answered however late that is. So calls that are not
//! brief are made at once only up to [`ROUND`] in each round of the worker's loop; beyond that a request, once read, waits
//! here until it is its turn. Reading costs some microseconds, so what is ready is soon read, the queue is known, and the
//! same holds as in a lane: who could not be answered in time is refused at once, and the rest is answered in the order
//! in which it came. The limit follows the measured time between two answers, and with it whatever else the worker does.
//!
//! Brief calls never wait here. So many of them that they would be late take long to read and to refuse as well: a refusal
//! costs about what an answer does, and would keep nobody's time. They cost nothing here either.
//!
//! Other ways were thought of. The age of a request cannot be read where it waits: the system does not tell, and the time
//! between two looks at the sockets tells of one round, not of how many are waited for. Handing calls to a lane as soon as
//! a worker falls behind costs a change of threads per call, on a machine that has no time for it.
//!
//! Time is an argument, so that this is tested without waiting.
//!
//! Invariant: who waits is called in the order of coming, or has gone; while somebody waits, another round comes.

use crate::engine::{Refused, ServiceTime};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// What calls may take in one round: long beside what a round costs itself, some microseconds, and short beside what any
/// caller would wait.
const ROUND: Duration = Duration::from_millis(3);
/// Requests that may wait on one worker.
const WAITING_LIMIT: usize = 65_536;

/// The turns of one worker.
#[derive(Debug)]
pub(super) struct Turns {
    /// What the calls of this round have taken.
    spent: Cell<Duration>,
    queue: RefCell<VecDeque<oneshot::Sender<Turn>>>,
    /// How many were called and have not ended.
    called: Rc<Cell<usize>>,
    /// How long a call takes.
    call: Cell<Option<ServiceTime>>,
    /// How long it takes from one answer to the next, while others wait.
    pace: Cell<Option<ServiceTime>>,
    /// When the last call ended, if others waited then.
    ended: Cell<Option<Instant>>,
    /// Wakes the worker's loop.
    waker: RefCell<Option<Waker>>,
}

/// A request's turn, until its call has ended.
#[derive(Debug)]
pub(super) struct Turn(Rc<Cell<usize>>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Turns {
    pub(super) fn new() -> Self {
        Self {
            spent: Cell::new(Duration::ZERO),
            queue: RefCell::default(),
            called: Rc::default(),
            call: Cell::new(None),
            pace: Cell::new(None),
            ended: Cell::new(None),
            waker: RefCell::default(),
        }
    }

    /// Whether the next request would wait.
    pub(super) fn is_behind(&self) -> bool {
        self.spent.get() >= ROUND || self.ahead() > 0
    }

    /// Whether a request would be taken whose call is expected to take so long.
    ///
    /// # Errors
    /// [`Refused`] when it could not be answered by `deadline`, or too many wait.
    pub(super) fn check(&self, call: Duration, now: Instant, deadline: Instant) -> Result<(), Refused> {
        let (pace, ahead) = (self.pace.get().unwrap_or_else(|| ServiceTime::new(call)), self.ahead());
        let is_full = self.queue.borrow().len() >= WAITING_LIMIT;
        if is_full || now + pace.surely_until_answered(ahead, 1) > deadline {
            return Err(Refused { retry_after: pace.until_answered(ahead, 1), is_full });
        }
        Ok(())
    }

    /// Takes a request that passed [`Self::check`]; its turn comes by the receiver.
    pub(super) fn enter(&self) -> oneshot::Receiver<Turn> {
        let (caller, turn) = oneshot::channel();
        self.queue.borrow_mut().push_back(caller);
        // While others wait the loop comes round by itself.
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
        turn
    }

    /// Takes in that a call ended that took so long, be it in turn or at once; zero if it was not made after all.
    pub(super) fn ended(&self, turn: Option<Turn>, took: Duration, now: Instant) {
        drop(turn);
        let since = self.ended.take();
        // It failed before the engine was asked, which tells nothing of the others.
        if took.is_zero() {
            return;
        }
        self.spent.set(self.spent.get().saturating_add(took));
        note(&self.call, took);
        note(&self.pace, since.map_or(took, |since| now.saturating_duration_since(since)));
        if self.ahead() > 0 {
            self.ended.set(Some(now));
        }
    }

    /// Comes round for as long as the worker's loop does.
    pub(super) fn poll_rounds(&self, context: &Context<'_>) -> Poll<Infallible> {
        self.begin_round();
        if self.queue.borrow().is_empty() {
            let mut waker = self.waker.borrow_mut();
            if !waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
                *waker = Some(context.waker().clone());
            }
        } else {
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Calls as many as a round has time for, and at least one.
    fn begin_round(&self) {
        self.spent.set(Duration::ZERO);
        let call = self.call.get().map_or(ROUND, |call| call.until_answered(0, 1)).max(Duration::from_nanos(1));
        let mut left = ROUND.as_secs_f64() / call.as_secs_f64() - self.called.get() as f64;
        let mut queue = self.queue.borrow_mut();
        while left > 0.0 || self.called.get() == 0 {
            let Some(caller) = queue.pop_front() else { break };
            self.called.set(self.called.get() + 1);
            // A turn that is not taken, because the caller has gone, is given back right here.
            if caller.send(Turn(Rc::clone(&self.called))).is_ok() {
                left -= 1.0;
            }
        }
    }

    /// Requests that wait or were called.
    fn ahead(&self) -> usize {
        self.queue.borrow().len() + self.called.get()
    }
}

fn note(times: &Cell<Option<ServiceTime>>, took: Duration) {
    let mut known = times.get().unwrap_or_else(|| ServiceTime::new(took));
    known.note(took, 1);
    times.set(Some(known));
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: Duration = Duration::from_micros(400);
    /// Reading a request, and refusing it.
    const READ: Duration = Duration::from_micros(10);
    /// Tasks that a worker runs between two looks at its sockets, as tokio's `LocalSet` does.
    const TASKS: usize = 61;

    fn is_called(turn: &mut oneshot::Receiver<Turn>) -> Option<Turn> {
        turn.try_recv().ok()
    }

    #[test]
    fn a_round_has_room_for_some_calls_and_the_next_one_for_as_many() {
        let (turns, now) = (Turns::new(), Instant::now());
        let at_once = (0..100).take_while(|_| !turns.is_behind()).inspect(|_| turns.ended(None, CALL, now)).count();
        assert_eq!(at_once, 8, "the first that goes beyond the round is the last");
        let mut waiting: Vec<_> = (0..20).map(|_| turns.enter()).collect();
        for round in 0..3 {
            turns.begin_round();
            let called: Vec<Turn> = waiting.iter_mut().filter_map(is_called).collect();
            assert_eq!(called.len(), if round < 2 { 8 } else { 4 });
            assert!(turns.is_behind());
            called.into_iter().for_each(|turn| turns.ended(Some(turn), CALL, now));
        }
        turns.begin_round();
        assert!(!turns.is_behind());
    }

    #[test]
    fn calls_that_are_longer_than_a_round_are_made_one_by_one() {
        let (turns, now) = (Turns::new(), Instant::now());
        turns.ended(None, 10 * ROUND, now);
        let mut waiting: Vec<_> = (0..3).map(|_| turns.enter()).collect();
        for next in 0..3 {
            turns.begin_round();
            turns.begin_round();
            let called: Vec<usize> = (0..3).filter(|&index| waiting[index].try_recv().is_ok()).collect();
            assert_eq!(called, [next], "what was called and has not begun counts");
        }
    }

    #[test]
    fn who_has_gone_is_passed_over_wherever_he_was() {
        let (turns, now) = (Turns::new(), Instant::now());
        turns.ended(None, 10 * ROUND, now);
        let (gone, called, mut last) = (turns.enter(), turns.enter(), turns.enter());
        drop(gone);
        turns.begin_round();
        assert!(is_called(&mut last).is_none());
        // It was called and goes before it looks.
        drop(called);
        turns.begin_round();
        assert!(is_called(&mut last).is_some());
        assert!(turns.queue.borrow().is_empty() && turns.called.get() == 0);
    }

    #[test]
    fn who_could_not_be_answered_in_time_is_refused_with_the_time_it_would_take() {
        let (turns, now) = (Turns::new(), Instant::now());
        (0..50).for_each(|_| turns.ended(None, CALL, now));
        let _waiting: Vec<_> = (0..9).map(|_| turns.enter()).collect();
        let refused = turns.check(CALL, now, now + 9 * CALL).unwrap_err();
        assert_eq!((refused.is_full, refused.retry_after), (false, 10 * CALL));
        assert_eq!(turns.check(CALL, now, now + 15 * CALL), Ok(()), "half as long again is allowed for");
        let unknown = Turns::new();
        assert!(unknown.check(CALL, now, now + CALL / 2).is_err(), "what was measured at the load is known");
    }

    #[test]
    fn what_a_worker_does_between_calls_counts_as_time_that_they_take() {
        let (turns, start) = (Turns::new(), Instant::now());
        let _waiting: Vec<_> = (0..9).map(|_| turns.enter()).collect();
        (1..=50).for_each(|nth| turns.ended(None, CALL, start + 3 * nth * CALL));
        let now = start + 150 * CALL;
        let refused = turns.check(CALL, now, now + 15 * CALL).unwrap_err();
        assert!(refused.retry_after > 25 * CALL, "ten answers, one every {:?}: {refused:?}", 3 * CALL);
    }

    #[test]
    fn failed_calls_tell_nothing_of_the_time_that_calls_take() {
        let (turns, now) = (Turns::new(), Instant::now());
        turns.ended(None, CALL, now);
        (0..50).for_each(|_| turns.ended(None, Duration::ZERO, now));
        assert!(turns.check(Duration::ZERO, now, now + CALL / 2).is_err());
    }

    /// What became of clients that send again as soon as they have an answer, half a second long.
    struct Outcome {
        answered: u32,
        late: u32,
        refused: u32,
        /// The share of the time that was spent on calls.
        busy: f64,
    }

    fn simulate(clients: usize, limit: Duration) -> Outcome {
        let (turns, start) = (Turns::new(), Instant::now());
        let (mut now, mut ready) = (start, clients);
        let mut waiting: VecDeque<(Instant, oneshot::Receiver<Turn>)> = VecDeque::new();
        let mut outcome = Outcome { answered: 0, late: 0, refused: 0, busy: 0.0 };
        while now < start + Duration::from_millis(500) {
            turns.begin_round();
            let mut tasks = 0;
            let mut answer = |read: Instant, now: Instant| {
                outcome.answered += 1;
                outcome.late += u32::from(now > read + limit);
            };
            while let Some(turn) = waiting.front_mut().and_then(|(_, turn)| is_called(turn)) {
                let (read, _) = waiting.pop_front().unwrap();
                now += CALL;
                turns.ended(Some(turn), CALL, now);
                answer(read, now);
                (tasks, ready) = (tasks + 1, ready + 1);
            }
            for _ in 0..(TASKS - tasks.min(TASKS)).min(ready) {
                now += READ;
                if !turns.is_behind() {
                    let read = now;
                    now += CALL;
                    turns.ended(None, CALL, now);
                    answer(read, now);
                } else if turns.check(CALL, now, now + limit).is_ok() {
                    waiting.push_back((now, turns.enter()));
                    ready -= 1;
                } else {
                    outcome.refused += 1;
                }
            }
        }
        outcome.busy = f64::from(outcome.answered) * CALL.as_secs_f64() / (now - start).as_secs_f64();
        outcome
    }

    #[test]
    fn what_is_accepted_is_answered_in_time_what_is_hopeless_refused_and_little_time_lost() {
        for (clients, limit) in [(512, 100), (512, 20), (64, 10), (2_000, 100)] {
            let Outcome { answered, late, refused, busy } = simulate(clients, Duration::from_millis(limit));
            assert!(refused > 0 && late == 0, "{clients} {limit}: {refused} refused, {late} of {answered} late");
            assert!(busy > 0.8, "{clients} {limit}: {busy}");
        }
    }

    #[test]
    fn nobody_is_refused_who_has_the_time_and_no_time_is_lost() {
        for clients in [1, 8, 16, 512] {
            let Outcome { late, refused, busy, .. } = simulate(clients, Duration::from_secs(30));
            assert_eq!((late, refused), (0, 0), "{clients}");
            assert!(busy > 0.95, "{clients}: {busy}");
        }
    }
}
