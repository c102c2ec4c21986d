//! Where the share of an event lies.
//!
//! Invariant: `0 ≤ low ≤ events / trials ≤ high ≤ 1`.

use super::Interval;
use statrs::function::beta::inv_beta_reg;

/// Trials beyond which the interval is that of as many, in proportion: wider than it need be, by nothing that matters, and
/// found in bounded time.
const MOST_TRIALS: u64 = 1_000_000;

/// The exact interval of a share with `events` of `trials`, each end missed with a chance of at most `risk` (Clopper and
/// Pearson 1934); all of 0 to 1 without trials. It holds at one look, not at many.
#[must_use]
pub fn share_interval(events: u64, trials: u64, risk: f64) -> Interval {
    let events = events.min(trials);
    let scale = (MOST_TRIALS as f64 / trials as f64).min(1.0);
    // Rounded away from each other, so that each end is on its own side.
    let (fewest, most) = ((events as f64 * scale).floor(), (events as f64 * scale).ceil());
    let all = (trials as f64 * scale).round();
    let low = if fewest < 1.0 { 0.0 } else { inv_beta_reg(fewest, all - fewest + 1.0, risk) };
    let high = if most >= all { 1.0 } else { inv_beta_reg(most + 1.0, all - most, 1.0 - risk) };
    Interval { low, high }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_share_is_in_its_interval_however_much_was_counted(events in any::<u64>(), trials in any::<u64>(), shift in 0_u32..64) {
            let (events, trials) = (events >> shift, trials >> shift);
            let found = share_interval(events, trials, 0.025);
            let share = if trials == 0 { 0.5 } else { events.min(trials) as f64 / trials as f64 };
            prop_assert!(0.0 <= found.low && found.low <= share && share <= found.high && found.high <= 1.0, "{:?}", found);
        }
    }

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
            assert!(
                (found.low - low).abs() < 1e-6 && (found.high - high).abs() < 1e-6,
                "{events} of {trials}: {found:?}"
            );
        }
    }
}
