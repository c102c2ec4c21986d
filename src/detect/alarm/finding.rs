//! What an alarm found, with the numbers that a person or a replay needs.

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

/// A finding: evidence that passed its threshold with an effect that passed its floor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// What is wrong.
    pub cause: Cause,
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
    pub counts: Vec<u64>,
}
