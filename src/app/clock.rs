//! Unix time that never goes back.
//!
//! Windows are written down and go on after a restart, so they need time that means the same in the next process; what
//! they cannot bear is time that runs backward. The system's clock is stepped by NTP and by people, the monotonic one
//! stands still while a laptop sleeps. So time flows with the monotonic clock, and jumps ahead when the system's is ahead
//! by more than the two can differ by slewing.
//!
//! Invariant: the answer to a later question is never earlier.

use std::time::{Duration, Instant, SystemTime};

/// A system's clock that is ahead by more than this was stepped, or the machine slept.
const STEP: Duration = Duration::from_secs(2);

/// Unix time that never goes back.
#[derive(Debug)]
pub(super) struct UnixClock {
    /// A moment and its unix time.
    anchor: (Instant, Duration),
    latest: Duration,
}

impl UnixClock {
    /// A clock that starts at a moment that is known in both times.
    pub(super) fn new(moment: Instant, system: SystemTime) -> Self {
        let unix = unix(system);
        Self { anchor: (moment, unix), latest: unix }
    }

    /// The unix time of a moment not long ago. `system` is the system's time now, at `now`.
    pub(super) fn at(&mut self, moment: Instant, (now, system): (Instant, SystemTime)) -> Duration {
        let flowed = self.flowed(now);
        let system = unix(system);
        if system > flowed + STEP {
            self.anchor = (now, system);
        }
        self.latest = self.latest.max(self.flowed(moment));
        self.latest
    }

    fn flowed(&self, moment: Instant) -> Duration {
        let (anchor, unix) = self.anchor;
        match moment.checked_duration_since(anchor) {
            Some(since) => unix + since,
            None => unix.saturating_sub(anchor - moment),
        }
    }
}

/// The unix time of a system's time; zero before 1970.
pub(super) fn unix(system: SystemTime) -> Duration {
    system.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn time_flows_evenly_jumps_ahead_and_never_goes_back() {
        let (start, system) = (Instant::now(), SystemTime::UNIX_EPOCH + SECOND * 1_000_000);
        let mut clock = UnixClock::new(start, system);
        // Seconds that have passed, what the system's clock shows beyond its start, what is to be answered.
        for (passed, shown, answer) in [
            (0, 0, 0),
            (10, 10, 10),
            // Slewed a little.
            (20, 21, 20),
            // Stepped back by an hour: time flows on.
            (30, 0, 30),
            (40, 10, 40),
            // Slept for an hour.
            (50, 3_650, 3_650),
            (60, 3_660, 3_660),
            // Stepped back again.
            (70, 70, 3_670),
        ] {
            let now = start + SECOND * passed;
            let at = clock.at(now, (now, system + SECOND * shown));
            assert_eq!(at, SECOND * (1_000_000 + answer), "after {passed} s");
        }
    }

    #[test]
    fn a_moment_before_the_last_answers_the_last() {
        let (start, system) = (Instant::now(), SystemTime::UNIX_EPOCH + SECOND * 100);
        let mut clock = UnixClock::new(start + SECOND * 10, system);
        let now = start + SECOND * 12;
        assert_eq!(clock.at(start, (now, system + SECOND * 2)), SECOND * 100);
        assert_eq!(clock.at(now, (now, system + SECOND * 2)), SECOND * 102);
        assert_eq!(clock.at(now - SECOND, (now, SystemTime::UNIX_EPOCH - SECOND)), SECOND * 102);
    }
}
