//! Where the share of an event lies.
//!
//! Invariant: `0 ≤ low ≤ events / trials ≤ high ≤ 1`.

use super::Interval;
use statrs::function::beta::inv_beta_reg;

/// The exact interval of a share with `events` of `trials`, each end missed with a chance of at most `risk` (Clopper and
/// Pearson 1934); all of 0 to 1 without trials. It holds at one look, not at many.
#[must_use]
pub fn share_interval(events: u64, trials: u64, risk: f64) -> Interval {
    let events = events.min(trials);
    let (happened, missed) = (events as f64, (trials - events) as f64);
    let low = if events == 0 { 0.0 } else { inv_beta_reg(happened, missed + 1.0, risk) };
    let high = if events == trials { 1.0 } else { inv_beta_reg(happened + 1.0, missed, 1.0 - risk) };
    Interval { low, high }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_those_of_the_exact_test() {
        // Sums of binomial probabilities, solved by halving.
        for (events, trials, low, high) in [
            (0, 10, 0.0, 0.308_497_1),
            (1, 10, 0.002_528_579, 0.445_016_1),
            (10, 10, 0.691_502_9, 1.0),
            (50, 1_000, 0.037_335_4, 0.065_390_5),
            (0, 0, 0.0, 1.0),
        ] {
            let found = share_interval(events, trials, 0.025);
            assert!((found.low - low).abs() < 1e-6 && (found.high - high).abs() < 1e-6, "{events} of {trials}: {found:?}");
        }
    }
}
