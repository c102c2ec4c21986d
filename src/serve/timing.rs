//! The phases of a request, measured.
//!
//! Invariant: phases are consecutive, so decode, compute and encode never add up to more than the total.

use crate::observe::{PHASES, Phase};
use std::time::Instant;

/// Measures a request from its head on.
#[derive(Debug)]
pub(super) struct Stopwatch {
    started: Instant,
    mark: Instant,
    phases: [u64; PHASES],
}

impl Stopwatch {
    /// Starts now.
    #[must_use]
    pub(super) fn start() -> Self {
        let now = Instant::now();
        Self { started: now, mark: now, phases: [0; PHASES] }
    }

    /// Starts the next phase now, without counting what went before.
    pub(super) fn skip(&mut self) {
        self.mark = Instant::now();
    }

    /// Ends a phase: what has passed since the end of the one before.
    pub(super) fn end(&mut self, phase: Phase) {
        let now = Instant::now();
        self.phases[phase as usize] = nanoseconds(self.mark, now);
        self.mark = now;
    }

    /// Ends the request; the nanoseconds of each phase, 0 for those it did not reach.
    #[must_use]
    pub(super) fn finish(mut self) -> [u64; PHASES] {
        self.phases[Phase::Total as usize] = nanoseconds(self.started, Instant::now());
        self.phases
    }
}

fn nanoseconds(from: Instant, to: Instant) -> u64 {
    u64::try_from(to.saturating_duration_since(from).as_nanos()).unwrap_or(u64::MAX)
}
