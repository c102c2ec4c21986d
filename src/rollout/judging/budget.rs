//! What each look may cost: the probability of a false abort, divided over everything that can cause one.
//!
//! Shares are by what is hard to see: failures and predictions differ by little and need their thousands of requests, so
//! a larger share saves most there. Guards need a few answers more for a tenth of the share.
//!
//! Invariant: the shares add up to the rate that they were made from, to rounding.

use serde::{Deserialize, Serialize};
use std::fmt::Write;

/// Probabilities with which a version that is as good fails by each metric.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// Failures of ours, all shares together.
    pub errors: f64,
    /// Requests that the version refuses.
    pub refusals: f64,
    /// Predictions that are missing, infinite, out of range or unseen.
    pub quality: f64,
    /// Durations, all edges together.
    pub latency: f64,
    /// Distributions of predictions, all columns together.
    pub predictions: f64,
    /// That the arms do not get their shares: no abort but a sensor error, and paid for all the same.
    pub split: f64,
    /// Each of the four guards, up to promotion.
    pub guard: f64,
    /// Failures of ours, after promotion.
    pub bake_errors: f64,
    /// Defects of predictions, after promotion.
    pub bake_quality: f64,
    /// Durations, after promotion.
    pub bake_latency: f64,
    /// Distributions of predictions, after promotion.
    pub bake_predictions: f64,
    /// Each of the four guards, after promotion.
    pub bake_guard: f64,
}

/// How many guards there are.
pub(super) const GUARDS: usize = 4;

impl Budget {
    /// A rate of false aborts, divided.
    #[must_use]
    pub fn of(rate: f64) -> Self {
        Self {
            errors: 0.16 * rate,
            refusals: 0.06 * rate,
            quality: 0.10 * rate,
            latency: 0.14 * rate,
            predictions: 0.16 * rate,
            split: 0.01 * rate,
            guard: 0.03 * rate,
            bake_errors: 0.05 * rate,
            bake_quality: 0.03 * rate,
            bake_latency: 0.04 * rate,
            bake_predictions: 0.05 * rate,
            bake_guard: 0.02 * rate,
        }
    }

    /// What they add up to.
    #[must_use]
    pub fn total(&self) -> f64 {
        let steps = self.errors + self.refusals + self.quality + self.latency + self.predictions + self.split;
        let bake = self.bake_errors + self.bake_quality + self.bake_latency + self.bake_predictions;
        steps + bake + GUARDS as f64 * (self.guard + self.bake_guard)
    }

    /// A line for each share, for people.
    pub(super) fn write(&self, text: &mut String) {
        let rows = [
            ("steps      errors", self.errors),
            ("           refusals", self.refusals),
            ("           quality", self.quality),
            ("           latency, all edges", self.latency),
            ("           predictions, all columns", self.predictions),
            ("           split", self.split),
            ("           each of four guards", self.guard),
            ("baking     errors", self.bake_errors),
            ("           quality", self.bake_quality),
            ("           latency, all edges", self.bake_latency),
            ("           predictions, all columns", self.bake_predictions),
            ("           each of four guards", self.bake_guard),
        ];
        for (name, share) in rows {
            let _ = writeln!(text, "{name:<36} {share:.3e}   evidence of {:.0}", 1.0 / share);
        }
    }
}
