//! The phases of a request, measured.
//!
//! The total starts when the body is whole: until then the client and the network set the pace, and a slow sender would
//! look like a slow model. Where the body was there with its head, both are one moment. Each phase ends where the next
//! begins, at one look at the clock. Time is an argument, so that phases are tested without waiting.
//!
//! Invariant: phases are consecutive, so decode, queue, compute and encode of an answer add up to its total, own is what the
//! total has besides queue and compute, and receive is in none of them.

use crate::observe::{PHASES, Phase};
use std::time::{Duration, Instant};

/// Measures a request from its head on.
#[derive(Debug)]
pub(super) struct Stopwatch {
    /// When the total began: with the head, until the body is whole.
    started: Instant,
    mark: Instant,
    phases: [u64; PHASES],
}

impl Stopwatch {
    /// Starts at the head.
    #[must_use]
    pub(super) fn start(now: Instant) -> Self {
        Self { started: now, mark: now, phases: [0; PHASES] }
    }

    /// The body is whole: receiving ends, and the total starts.
    pub(super) fn received(&mut self, now: Instant) {
        self.end(Phase::Receive, now);
        self.started = now;
    }

    /// When the body was whole.
    #[must_use]
    pub(super) fn started(&self) -> Instant {
        self.started
    }

    /// Ends a phase: what has passed since the end of the one before. A phase may have several parts.
    pub(super) fn end(&mut self, phase: Phase, now: Instant) {
        self.phases[phase as usize] += nanoseconds(self.mark, now);
        self.mark = now;
    }

    /// Ends two phases at once: a call, and the wait before it.
    pub(super) fn end_after(&mut self, wait: (Phase, Duration), phase: Phase, now: Instant) {
        let (waited_for, waited) = wait;
        self.end(waited_for, self.mark + waited.min(now.saturating_duration_since(self.mark)));
        self.end(phase, now);
    }

    /// How long a phase took that has ended, and zero if it was not reached.
    #[must_use]
    pub(super) fn lasted(&self, phase: Phase) -> Duration {
        Duration::from_nanos(self.phases[phase as usize])
    }

    /// When the last phase ended.
    #[must_use]
    pub(super) fn mark(&self) -> Instant {
        self.mark
    }

    /// Ends the request; the nanoseconds of each phase, 0 for those it did not reach.
    #[must_use]
    pub(super) fn finish(mut self, now: Instant) -> [u64; PHASES] {
        let total = nanoseconds(self.started, now);
        let engine = self.phases[Phase::Queue as usize] + self.phases[Phase::Compute as usize];
        self.phases[Phase::Total as usize] = total;
        self.phases[Phase::Own as usize] = total.saturating_sub(engine);
        self.phases
    }
}

fn nanoseconds(from: Instant, to: Instant) -> u64 {
    u64::try_from(to.saturating_duration_since(from).as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_that_were_not_reached_took_no_time() {
        let start = Instant::now();
        assert_eq!(Stopwatch::start(start).finish(start), [0; PHASES]);
    }

    #[test]
    fn a_wait_is_part_of_the_time_and_never_more_than_it() {
        let start = Instant::now();
        let at = |milliseconds: u64| start + Duration::from_millis(milliseconds);
        for (waited, queue, compute) in [(3, 3, 4), (0, 0, 7), (99, 7, 0)] {
            let mut watch = Stopwatch::start(start);
            watch.end_after((Phase::Queue, Duration::from_millis(waited)), Phase::Compute, at(7));
            let phases = watch.finish(at(7));
            let milliseconds = |phase: Phase| phases[phase as usize] / 1_000_000;
            assert_eq!((milliseconds(Phase::Queue), milliseconds(Phase::Compute)), (queue, compute));
            assert_eq!(milliseconds(Phase::Own), 0, "neither a wait nor a call is our own");
        }
    }

    #[test]
    fn a_phase_has_all_its_parts() {
        let start = Instant::now();
        let at = |milliseconds: u64| start + Duration::from_millis(milliseconds);
        let mut watch = Stopwatch::start(start);
        watch.end(Phase::Queue, at(2));
        watch.end(Phase::Decode, at(3));
        watch.end_after((Phase::Queue, Duration::from_millis(4)), Phase::Compute, at(9));
        assert_eq!(watch.finish(at(9))[Phase::Queue as usize], 6_000_000);
    }

    #[test]
    fn a_slow_client_is_seen_in_receive_and_not_in_the_total() {
        let start = Instant::now();
        let at = |milliseconds: u64| start + Duration::from_millis(milliseconds);
        let mut watch = Stopwatch::start(start);
        watch.received(at(9_000));
        watch.end(Phase::Decode, at(9_003));
        watch.end(Phase::Compute, at(9_007));
        watch.end(Phase::Encode, at(9_016));
        let phases = watch.finish(at(9_016));
        let milliseconds = |phase: Phase| phases[phase as usize] / 1_000_000;
        assert_eq!(Phase::ALL.map(milliseconds), [9_000, 16, 3, 0, 4, 9, 0, 12]);
    }
}
