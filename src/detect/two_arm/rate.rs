//! Whether something bad, an error or a slow answer, happens more often in the canary.
//!
//! Two cells, the event and all else, and ratios above 1 only: a canary with fewer errors is not stopped. The ratio of
//! the other cell makes up for that of the event at a rate that is fixed in advance, so that a canary which merely gets
//! more requests than its weight says does not look like one with more errors.
//!
//! Invariant: as of [`super`].

use super::odds::{Alternatives, is_weight};
use super::{ArmCounts, Effect, TwoArmEvidence, groups};
use crate::detect::intervals::Interval;
use serde::{Deserialize, Serialize};

/// How many times as often the event happens in the canary.
const RATIOS: [f64; 7] = [1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0];
/// What the rate may be of the expected one.
const AROUND: [f64; 4] = [0.25, 0.5, 1.0, 2.0];
/// Rates of the canary, in a test for failures: near none of its answers are good, or a third, or some times as many are
/// bad as are allowed.
const FAILING: [f64; 2] = [0.9, 0.3];
/// Those times.
const EXCEEDING: [f64; 2] = [10.0, 3.0];
/// How many times as many failures the canary has as stable, in a test for failures.
const FAILURE_RATIOS: [f64; 4] = [3.0, 10.0, 100.0, 1000.0];
/// Square of the normal quantile of 97.5 %.
const QUANTILE_SQUARED: f64 = 3.841_458_820_694_124;

/// Events among trials in both arms at one weight, of one key group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RateCounts {
    /// The key group; any one number where there are none.
    pub group: u64,
    /// Probability that a request was routed to the canary.
    pub weight: f64,
    /// The canary's requests with the event; taken as at most its requests.
    pub canary_events: u64,
    /// The canary's requests.
    pub canary_trials: u64,
    /// Stable's requests with the event; taken as at most its requests.
    pub stable_events: u64,
    /// Stable's requests.
    pub stable_trials: u64,
}

/// The one-sided test on rates.
#[derive(Clone, Debug)]
pub struct RateTest {
    alternatives: Alternatives,
}

impl RateTest {
    /// A test for events that are expected at a rate of `expected`: stable's before the canary came, or what is allowed.
    /// Power is best within a factor of four of the truth; validity does not depend on it. It is taken as from 1e-6 to
    /// one half.
    #[must_use]
    pub fn new(expected: f64) -> Self {
        let expected = if expected.is_nan() { 0.01 } else { expected.clamp(1e-6, 0.5) };
        let rates = AROUND.iter().map(|around| around * expected);
        let ratios = rates.flat_map(|rate| RATIOS.iter().map(move |ratio| (rate, ratio * rate)));
        let whole = ratios
            .filter(|(_, moved)| *moved < 0.99)
            .map(|(rate, moved)| vec![(moved / rate).ln(), ((1.0 - moved) / (1.0 - rate)).ln()])
            .collect();
        Self { alternatives: Alternatives::of_ratios(2, whole) }
    }

    /// A test for failures of which a share of `allowed` is borne, for what is plain: a canary with three to a thousand
    /// times the failures of stable. With next to none at stable, failures that are all the canary's are each worth the
    /// logarithm of one over its weight, and decide within a few; differences that take thousands of requests to see it
    /// leaves to [`Self::new`]. `allowed` is taken as from 1e-6 to 0.3.
    #[must_use]
    pub fn of_failures(allowed: f64) -> Self {
        let allowed = if allowed.is_nan() { 0.01 } else { allowed.clamp(1e-6, 0.3) };
        let exceeding = EXCEEDING.iter().map(|times| times * allowed).filter(|rate| *rate < FAILING[1]);
        let rates = FAILING.iter().copied().chain(exceeding);
        let pairs = rates.flat_map(|rate| FAILURE_RATIOS.iter().map(move |ratio| (rate / ratio, rate)));
        let whole = pairs.map(|(rate, moved)| vec![(moved / rate).ln(), ((1.0 - moved) / (1.0 - rate)).ln()]).collect();
        Self { alternatives: Alternatives::of_ratios(2, whole) }
    }

    /// The evidence of all counts so far that the canary's rate is higher; the effect is the difference of the rates.
    #[must_use]
    pub fn evidence(&self, counts: &[RateCounts]) -> TwoArmEvidence {
        let parts = counts.iter().map(|arms| {
            let cells = |events: u64, trials: u64| vec![events.min(trials), trials.saturating_sub(events)];
            let arms = ArmCounts {
                group: arms.group,
                weight: arms.weight,
                canary: cells(arms.canary_events, arms.canary_trials),
                stable: cells(arms.stable_events, arms.stable_trials),
            };
            (arms.group, self.alternatives.logs(&arms))
        });
        let ln_e = groups::least(parts, |logs| self.alternatives.ln_mixture(logs));
        let sum = |count: fn(&RateCounts) -> u64| {
            let counted = counts.iter().filter(|arms| is_weight(arms.weight));
            counted.fold(0_u64, |sum, arms| sum.saturating_add(count(arms)))
        };
        let (canary, stable) = (sum(|arms| arms.canary_trials), sum(|arms| arms.stable_trials));
        let canary_events = sum(|arms| arms.canary_events.min(arms.canary_trials));
        let stable_events = sum(|arms| arms.stable_events.min(arms.stable_trials));
        let effect = rate_difference((canary_events, canary), (stable_events, stable));
        TwoArmEvidence { ln_e, canary, stable, effect }
    }
}

/// The difference of two rates, each of events among trials, with Newcombe's 95 % interval (1998, his method 10); none if
/// either has no trials.
#[must_use]
pub fn rate_difference(canary: (u64, u64), stable: (u64, u64)) -> Option<Effect> {
    let ((p, p_low, p_high), (q, q_low, q_high)) = (wilson(canary)?, wilson(stable)?);
    let value = p - q;
    let low = value - ((p - p_low).powi(2) + (q_high - q).powi(2)).sqrt();
    let high = value + ((p_high - p).powi(2) + (q - q_low).powi(2)).sqrt();
    Some(Effect { value, interval: Interval { low: low.max(-1.0), high: high.min(1.0) } })
}

/// A rate and Wilson's interval for it.
fn wilson((events, trials): (u64, u64)) -> Option<(f64, f64, f64)> {
    let (events, trials) = (events.min(trials) as f64, trials as f64);
    (trials > 0.0).then(|| {
        let rate = events / trials;
        let middle = (events + QUANTILE_SQUARED / 2.0) / (trials + QUANTILE_SQUARED);
        let variance = rate * (1.0 - rate).max(0.0) / trials + QUANTILE_SQUARED / (4.0 * trials * trials);
        let reach = (QUANTILE_SQUARED * variance).sqrt() / (1.0 + QUANTILE_SQUARED / trials);
        (rate, (middle - reach).max(0.0).min(rate), (middle + reach).min(1.0).max(rate))
    })
}
