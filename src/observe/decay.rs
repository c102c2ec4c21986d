//! Counts that fade: every row weighs half as much after each half-life.
//!
//! Of all windows this one forgets least suddenly: a burst leaves no second step when it ages out. A weight decays when
//! it is looked at, by the time since the last look, so that the result does not depend on how often that is.
//!
//! Invariant: a weight is finite, not negative, and never more than what was counted.

use super::codec::{Malformed, Reader, Writer};
use std::time::Duration;

/// Exponentially decayed counts.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Decayed {
    half_life: Duration,
    /// The time that the weights are of.
    at: Duration,
    weights: Box<[f64]>,
}

impl Decayed {
    pub(super) fn new(half_life: Duration, cells: usize) -> Self {
        Self { half_life: half_life.max(Duration::from_nanos(1)), at: Duration::ZERO, weights: vec![0.0; cells].into() }
    }

    pub(super) fn half_life(&self) -> Duration {
        self.half_life
    }

    /// Lets the weights fade until `at`. A time before the last changes nothing.
    pub(super) fn advance(&mut self, at: Duration) {
        let elapsed = at.saturating_sub(self.at);
        if elapsed > Duration::ZERO {
            let factor = (-(elapsed.as_secs_f64() / self.half_life.as_secs_f64())).exp2();
            self.weights.iter_mut().for_each(|weight| *weight *= factor);
            self.at = at;
        }
    }

    /// Takes weights that claim to be of a time after `at` as of `at`.
    pub(super) fn drop_future(&mut self, at: Duration) {
        self.at = self.at.min(at);
    }

    /// Counts what was gained at `at`, in full.
    pub(super) fn add(&mut self, at: Duration, gained: &[u64]) {
        self.advance(at);
        for (weight, &gained) in self.weights.iter_mut().zip(gained) {
            *weight += gained as f64;
        }
    }

    pub(super) fn weights(&self) -> &[f64] {
        &self.weights
    }

    pub(super) fn resident_bytes(&self) -> usize {
        size_of::<Self>() + size_of_val(&*self.weights)
    }

    pub(super) fn encode(&self, writer: &mut Writer) {
        writer.time(self.at);
        self.weights.iter().for_each(|&weight| writer.float(weight));
    }

    /// Takes weights of the same half-life and counters in place of its own.
    pub(super) fn restore(&mut self, reader: &mut Reader<'_>) -> Result<(), Malformed> {
        let at = reader.time()?;
        let weight = |_| match reader.float() {
            Ok(weight) if weight.is_finite() && weight >= 0.0 => Ok(weight),
            _ => Err(Malformed),
        };
        let weights = (0..self.weights.len()).map(weight).collect::<Result<_, _>>()?;
        (self.at, self.weights) = (at, weights);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn weights_equal_the_sum_of_counts_halved_by_their_age(
            steps in prop::collection::vec((0_u64..100_000, 0_u64..1_000), 1..60),
        ) {
            let half_life = 3_600.0;
            let mut decayed = Decayed::new(Duration::from_secs(3_600), 1);
            let (mut now, mut seen) = (Duration::ZERO, Vec::new());
            for (milliseconds, count) in steps {
                now += Duration::from_millis(milliseconds);
                decayed.add(now, &[count]);
                seen.push((now, count));
            }
            decayed.advance(now + Duration::from_secs(1_800));
            let age = |then: Duration| (now - then).as_secs_f64() + 1_800.0;
            let naive: f64 = seen.iter().map(|&(then, count)| count as f64 * 0.5_f64.powf(age(then) / half_life)).sum();
            prop_assert!((decayed.weights()[0] - naive).abs() <= 1e-9 * naive.max(1.0));
        }
    }

    #[test]
    fn a_step_back_and_an_age_without_end_leave_finite_weights() {
        let mut decayed = Decayed::new(Duration::from_secs(1), 1);
        decayed.add(Duration::from_secs(100), &[8]);
        decayed.add(Duration::from_secs(1), &[8]);
        assert_eq!(decayed.weights(), [16.0]);
        decayed.advance(Duration::from_secs(102));
        assert_eq!(decayed.weights(), [4.0]);
        decayed.advance(Duration::MAX);
        assert_eq!(decayed.weights(), [0.0]);
    }
}
