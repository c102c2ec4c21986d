//! How long calls take, as far as is known, and how long a queue therefore is.
//!
//! Durations are those of whole calls, averaged with a weight of one eighth for the newest, their deviation with one of a
//! quarter, as round-trip times are in TCP (RFC 6298): recent enough to follow a machine that becomes busy, slow enough not
//! to follow every call. Whoever promises an answer allows for four deviations and for a queue that takes half as long
//! again: a request that is computed and then too late costs as much as one that is answered, and at three times the load
//! that a model can bear, promising by the average alone halved what was answered in time.
//!
//! Invariant: never negative, and zero only before the first call.

use std::time::Duration;

/// Weight of the newest call: one part in so many.
const PARTS: u32 = 8;

/// The usual duration of a call, and how many requests one answers.
#[derive(Clone, Copy, Debug)]
pub struct ServiceTime {
    call: Duration,
    deviation: Duration,
    requests: f64,
}

/// Deviations that are allowed for.
const DEVIATIONS: u32 = 4;
/// How much longer than foreseen a queue may take.
const QUEUE_MARGIN: f64 = 1.5;

impl ServiceTime {
    /// What is known before the first call.
    #[must_use]
    pub fn new(call: Duration) -> Self {
        Self { call, deviation: Duration::ZERO, requests: 1.0 }
    }

    /// Takes in a call that answered so many requests.
    pub fn note(&mut self, took: Duration, requests: usize) {
        if self.call.is_zero() {
            self.call = took;
        }
        self.deviation = (self.deviation * 3 + self.call.abs_diff(took)) / 4;
        self.call = (self.call * (PARTS - 1) + took) / PARTS;
        self.requests += (requests as f64 - self.requests) / f64::from(PARTS);
    }

    /// Until a request is answered that comes behind `ahead` others, by so many instances.
    #[must_use]
    pub fn until_answered(&self, ahead: usize, instances: usize) -> Duration {
        self.call.mul_f64(self.calls(ahead, instances) + 1.0)
    }

    /// The same, allowing for what may take longer.
    #[must_use]
    pub fn surely_until_answered(&self, ahead: usize, instances: usize) -> Duration {
        self.call.mul_f64(QUEUE_MARGIN * self.calls(ahead, instances) + 1.0) + self.deviation * DEVIATIONS
    }

    /// How long a call takes, allowing for what may take longer.
    #[must_use]
    pub fn surely(&self) -> Duration {
        self.surely_until_answered(0, 1)
    }

    fn calls(&self, ahead: usize, instances: usize) -> f64 {
        ahead as f64 / self.requests.max(1.0) / instances.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_as_long_as_the_calls_that_it_takes() {
        let mut service = ServiceTime::new(Duration::ZERO);
        assert_eq!(service.until_answered(100, 1), Duration::ZERO, "nothing is known yet");
        (0..60).for_each(|_| service.note(Duration::from_millis(10), 1));
        assert_eq!(service.until_answered(0, 2).as_millis(), 10);
        assert_eq!(service.until_answered(8, 2).as_millis(), 50);
        (0..60).for_each(|_| service.note(Duration::from_millis(20), 4));
        assert!(service.surely_until_answered(8, 2) > service.until_answered(8, 2));
        let both = service.until_answered(8, 2).as_secs_f64();
        assert!((both - 0.04).abs() < 0.001, "{both}");
    }
}
