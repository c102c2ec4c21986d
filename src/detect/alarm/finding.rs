//! What an alarm found, with the numbers that a person or a replay needs.

use super::numbers::{Numbers, push_counts};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The distribution over groups differs from the reference's.
    Drift,
    /// More values are missing than in the reference.
    Missing,
    /// More values are infinite.
    Infinite,
    /// More values are below or above all of the reference.
    OutOfRange,
    /// More values are none of the reference's categories.
    UnseenCategory,
    /// A watched rate is above what is allowed.
    Exceedance,
}

impl Cause {
    /// All of them, in a fixed order.
    pub const ALL: [Self; 6] =
        [Self::Drift, Self::Missing, Self::Infinite, Self::OutOfRange, Self::UnseenCategory, Self::Exceedance];

    /// Those that are a defect of values.
    pub const DEFECTS: [Self; 4] = [Self::Missing, Self::Infinite, Self::OutOfRange, Self::UnseenCategory];

    /// Its name in the API and in summaries.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Drift => "drift",
            Self::Missing => "missing",
            Self::Infinite => "infinite",
            Self::OutOfRange => "out_of_range",
            Self::UnseenCategory => "unseen_category",
            Self::Exceedance => "exceedance",
        }
    }
}

/// A finding: evidence that passed its threshold with an effect that passed its floor.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// What is wrong.
    pub cause: Cause,
    /// Unix time of the look that found it.
    pub at: Duration,
    /// Natural logarithm of the weighted evidence of all starts.
    pub ln_evidence: f64,
    /// The threshold it passed.
    pub ln_threshold: f64,
    /// The size of what was found since the start with most evidence: PSI in excess of chance for drift, else the rate
    /// seen.
    pub effect: f64,
    /// Its lower confidence limit, 95 %, one-sided.
    pub effect_lower: f64,
    /// What the lower limit had to be above.
    pub floor: f64,
    /// Rows counted since that start.
    pub samples: u64,
    /// Unix time of that start.
    pub since: Duration,
    /// Counters since that start: groups for drift; events and the rest for rates.
    pub counts: Vec<u32>,
}

impl Finding {
    /// The finding as numbers.
    pub(super) fn to_numbers(&self) -> Vec<u64> {
        let floats = [self.ln_evidence, self.ln_threshold, self.effect, self.effect_lower, self.floor];
        let mut numbers = vec![self.cause as u64, self.samples];
        numbers.extend([self.since, self.at].map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)));
        numbers.extend(floats.map(f64::to_bits));
        push_counts(&self.counts, &mut numbers);
        numbers
    }

    /// The finding that numbers stand for, if they stand for one.
    pub(super) fn from_numbers(numbers: &mut Numbers<'_>) -> Option<Self> {
        let cause = usize::try_from(numbers.next()?).ok().and_then(|cause| Cause::ALL.get(cause).copied())?;
        let samples = numbers.next()?;
        let [since, at] = [numbers.next()?, numbers.next()?].map(Duration::from_millis);
        let mut floats = [0.0; 5];
        for float in &mut floats {
            *float = f64::from_bits(numbers.next()?);
        }
        let [ln_evidence, ln_threshold, effect, effect_lower, floor] = floats;
        let counts = numbers.counts()?;
        let finding =
            Self { cause, at, ln_evidence, ln_threshold, effect, effect_lower, floor, samples, since, counts };
        floats.iter().all(|float| float.is_finite()).then_some(finding)
    }
}
