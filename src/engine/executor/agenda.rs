//! What is to be done now, in turns, and what is to be done later.
//!
//! Time is an argument, so that it is tested without waiting.
//!
//! Invariant: a thing is listed at most once; of what is due, what was listed first is done first.

use std::collections::VecDeque;
use std::time::Instant;

/// Things with the time from which on they can be done.
#[derive(Debug)]
pub(super) struct Agenda<T> {
    ready: VecDeque<T>,
    /// As many as there are versions whose calls are put off: too few for a heap to pay.
    later: Vec<(Instant, T)>,
}

impl<T> Default for Agenda<T> {
    fn default() -> Self {
        Self { ready: VecDeque::new(), later: Vec::new() }
    }
}

impl<T: PartialEq> Agenda<T> {
    /// Lists a thing; one that is listed for later already is moved.
    pub(super) fn list(&mut self, thing: T, due: Instant, now: Instant) {
        self.later.retain(|(_, listed)| *listed != thing);
        if self.ready.contains(&thing) {
            return;
        }
        if due <= now {
            self.ready.push_back(thing);
        } else {
            self.later.push((due, thing));
        }
    }

    /// The next thing that is due.
    pub(super) fn next(&mut self, now: Instant) -> Option<T> {
        self.call_in(|due| due <= now);
        self.ready.pop_front()
    }

    /// The next thing, due or not.
    pub(super) fn next_of_all(&mut self) -> Option<T> {
        self.call_in(|_due| true);
        self.ready.pop_front()
    }

    /// When the earliest of what is to be done later is due.
    pub(super) fn earliest(&self) -> Option<Instant> {
        self.later.iter().map(|(due, _)| *due).min()
    }

    /// Whether nothing is listed.
    pub(super) fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.later.is_empty()
    }

    fn call_in(&mut self, is_due: impl Fn(Instant) -> bool) {
        let mut due: Vec<_> = self.later.extract_if(.., |(due, _)| is_due(*due)).collect();
        due.sort_by_key(|(due, _)| *due);
        self.ready.extend(due.into_iter().map(|(_, thing)| thing));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_is_due_is_done_in_turns_and_what_is_not_waits() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut agenda = Agenda::default();
        assert!(agenda.is_empty() && agenda.next(start).is_none());
        agenda.list("third", at(9), start);
        agenda.list("second", at(5), start);
        agenda.list("first", start, start);
        assert_eq!(agenda.earliest(), Some(at(5)));
        assert_eq!((agenda.next(at(4)), agenda.next(at(4))), (Some("first"), None));
        assert_eq!([(); 3].map(|()| agenda.next(at(9))), [Some("second"), Some("third"), None]);
        assert!(agenda.is_empty());
    }

    #[test]
    fn what_is_listed_anew_is_moved_and_not_doubled() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut agenda = Agenda::default();
        agenda.list("a", at(9), start);
        agenda.list("a", at(3), start);
        assert_eq!(agenda.earliest(), Some(at(3)));
        agenda.list("a", start, start);
        agenda.list("a", at(9), start);
        assert_eq!((agenda.next(at(99)), agenda.next(at(99))), (Some("a"), None));
        agenda.list("a", at(9), start);
        assert_eq!((agenda.next_of_all(), agenda.next_of_all()), (Some("a"), None));
    }
}
