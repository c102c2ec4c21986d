//! One version by itself against what was counted before: is a rate higher, or a column elsewhere, than those counts and a
//! tolerance leave possible?
//!
//! For whoever has no second arm in the same moments: a version that has all of the traffic. What the counts before were
//! drawn from is known to lie in a region only, and the chance that the region misses it is the caller's `risk`; against
//! every member of the region the evidence is an e-process, as of columns and rates of alarms. Seasons are nobody's fault
//! and look like one here: only an arm beside it tells them apart.
//!
//! Invariant: evidence is finite or −∞, never NaN; it is −∞ where nothing was counted on either side.

use super::null::Null;
use super::rate::{RateNull, upper_limit};

/// Trials are taken as fewer than two to this.
const MOST_BITS: u32 = 32;

/// The highest rate that is in order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateCeiling(RateNull);

/// The region in which a column is in order; none of it known where nothing was counted.
#[derive(Clone, Debug)]
pub struct ColumnRegion(Option<Null>);

impl RateCeiling {
    /// Rates up to `limit`, a share; from 0.999 on every rate is in order.
    #[must_use]
    pub fn new(limit: f64) -> Self {
        Self(RateNull::new(if limit.is_nan() { 1.0 } else { limit }))
    }

    /// Rates up to what `events` of `trials` leave possible, missed with a chance of `risk`, and `tolerance` beyond
    /// (Clopper and Pearson 1934). Without trials every rate is in order.
    #[must_use]
    pub fn of_counts((events, trials): (u64, u64), risk: f64, tolerance: f64) -> Self {
        // Beyond that the beta function takes its time. Fewer trials of the same rate leave more possible, not less.
        let scale = (trials >> MOST_BITS) + 1;
        Self::new(upper_limit(events.div_ceil(scale), trials / scale, risk) + tolerance)
    }

    /// The limit itself.
    #[must_use]
    pub fn limit(&self) -> f64 {
        self.0.limit
    }

    /// Natural logarithm of the evidence that `events` of `trials` are of a higher rate.
    #[must_use]
    pub fn ln_evidence(&self, events: u64, trials: u64) -> f64 {
        self.0.ln_evidence(events.min(trials) as f64, trials as f64)
    }
}

impl ColumnRegion {
    /// What counts by cell, of which the first `ordered` are in the order of their values, leave possible, missed with a
    /// chance of about `risk` (Wilks 1938), and `tolerance` beyond, a PSI.
    #[must_use]
    pub fn of_counts(counts: &[u64], ordered: usize, risk: f64, tolerance: f64) -> Self {
        // Near equality PSI is twice the divergence that the region is made of.
        Self(Null::new(counts, 0..ordered.min(counts.len()), 0, risk, tolerance / 2.0))
    }

    /// Natural logarithm of the evidence that counts by the same cells are of a distribution outside of it.
    #[must_use]
    pub fn ln_evidence(&self, counts: &[u64]) -> f64 {
        let counts: Vec<f64> = counts.iter().map(|&count| count as f64).collect();
        self.0.as_ref().map_or(f64::NEG_INFINITY, |null| null.ln_evidence(&counts, f64::NEG_INFINITY))
    }
}
