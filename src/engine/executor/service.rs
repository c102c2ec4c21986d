//! How long a version takes, as far as is known, and how long a queue therefore is.
//!
//! Durations are those of whole calls, averaged with a weight of one eighth for the newest, as round-trip times are in TCP
//! (RFC 6298): recent enough to follow a machine that becomes busy, slow enough not to follow every call.
//!
//! Invariant: never negative, and zero only before the first call.

use std::time::Duration;

/// Weight of the newest call: one part in so many.
const PARTS: u32 = 8;

/// The usual duration of a call, and how many requests one answers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Service {
    call: Duration,
    requests: f64,
}

impl Service {
    /// What is known before the first call.
    pub(super) fn new(call: Duration) -> Self {
        Self { call, requests: 1.0 }
    }

    /// Takes in a call that answered so many requests.
    pub(super) fn note(&mut self, took: Duration, requests: usize) {
        if self.call.is_zero() {
            self.call = took;
        }
        self.call = (self.call * (PARTS - 1) + took) / PARTS;
        self.requests += (requests as f64 - self.requests) / f64::from(PARTS);
    }

    /// Until a request is answered that comes behind `ahead` others, by so many instances.
    pub(super) fn until_answered(&self, ahead: usize, instances: usize) -> Duration {
        let calls = ahead as f64 / self.requests.max(1.0) / instances.max(1) as f64;
        self.call.mul_f64(calls + 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_as_long_as_the_calls_that_it_takes() {
        let mut service = Service::new(Duration::ZERO);
        assert_eq!(service.until_answered(100, 1), Duration::ZERO, "nothing is known yet");
        (0..60).for_each(|_| service.note(Duration::from_millis(10), 1));
        assert_eq!(service.until_answered(0, 2).as_millis(), 10);
        assert_eq!(service.until_answered(8, 2).as_millis(), 50);
        (0..60).for_each(|_| service.note(Duration::from_millis(20), 4));
        let both = service.until_answered(8, 2).as_secs_f64();
        assert!((both - 0.04).abs() < 0.001, "{both}");
    }
}
