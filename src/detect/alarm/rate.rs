//! Evidence that an event is more frequent than it may be.
//!
//! The null is one-sided: the rate is at most `p0`. The evidence mixes likelihood ratios of larger rates against `p0`,
//!
//! `E = Σⱼ πⱼ (pⱼ/p0)^k ((1−pⱼ)/(1−p0))^(n−k)`, `pⱼ > p0`,
//!
//! each of which is a supermartingale under every rate up to `p0` (Wald 1945; the ratio grows with `k`). A grid of odds
//! replaces a continuous mixture: five of them, up to a thousandfold, lose less than the prior of a finer one would cost.
//!
//! Where `p0` comes from a reference of `N` rows with `K` events it is the upper confidence limit of the rate (Clopper
//! and Pearson 1934) plus a tolerance.
//!
//! Invariant: evidence is finite or −∞ and never NaN, also for no trials and for rates of 0 and 1.

use statrs::function::beta::inv_beta_reg;

/// Odds of the alternatives, in multiples of the null's.
const ODDS: [f64; 5] = [1.6, 2.5, 6.0, 40.0, 1000.0];
/// How much of the mixture each alternative gets: doubling and tripling are what happens, and what is hard to find.
const SHARES: [f64; 5] = [0.25, 0.35, 0.2, 0.1, 0.1];
/// The lowest limit of a rate, so that one event in few rows is not a page.
const LEAST_RATE: f64 = 1e-6;
/// Above it nothing is worth calling more frequent: the limit is then 1, which no rate exceeds.
const MOST_RATE: f64 = 0.999;

/// A rate that may not be exceeded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct RateNull {
    /// The highest rate that is in order.
    pub(super) limit: f64,
}

impl RateNull {
    /// A null of rates up to `limit`.
    pub(super) fn new(limit: f64) -> Self {
        let has_more = limit <= MOST_RATE;
        Self { limit: if has_more { limit.max(LEAST_RATE) } else { 1.0 } }
    }

    /// A null of the rates that `events` of `rows` leave possible with a chance of at least `risk` to miss, and a bit
    /// beyond.
    pub(super) fn of_reference(events: u64, rows: u64, risk: f64, tolerance: f64) -> Self {
        Self::new(upper_limit(events, rows, risk) + tolerance)
    }

    /// At least [`Self::ln_evidence`], for a few multiplications: evidence is at most n·KL(k/n ‖ p0), and that at most
    /// Pearson's statistic.
    pub(super) fn bound(&self, events: f64, trials: f64) -> f64 {
        let excess = events - self.limit * trials;
        if excess > 0.0 { excess * excess / (trials * self.limit * (1.0 - self.limit)) } else { f64::NEG_INFINITY }
    }

    /// Natural logarithm of the evidence of `events` in `trials`.
    pub(super) fn ln_evidence(&self, events: f64, trials: f64) -> f64 {
        if trials <= 0.0 || events <= self.limit * trials {
            // The mixture can be above 1 only where the rate seen is.
            return f64::NEG_INFINITY;
        }
        let odds = self.limit / (1.0 - self.limit);
        let terms: [f64; ODDS.len()] = std::array::from_fn(|index| {
            let rate = odds * ODDS[index] / (1.0 + odds * ODDS[index]);
            let (event, other) = ((rate / self.limit).ln(), ((1.0 - rate) / (1.0 - self.limit)).ln());
            SHARES[index].ln() + events * event + (trials - events) * other
        });
        super::null::ln_sum(&terms)
    }
}

/// Trials from which on limits are Chernoff's: the search for a quantile of the beta distribution does not end where its
/// density at the first guess is no number, from some millions of trials with few events on.
const EXACT_TRIALS: u64 = 1 << 18;
/// Halvings of a bracket: more than a double has digits.
const HALVINGS: usize = 60;

/// Upper confidence limit of a rate with `events` of `trials`, missed with a chance of at most `risk`.
pub(super) fn upper_limit(events: u64, trials: u64, risk: f64) -> f64 {
    if events >= trials {
        return 1.0;
    }
    if trials > EXACT_TRIALS {
        return chernoff_limit(events, trials, risk);
    }
    inv_beta_reg(events as f64 + 1.0, (trials - events) as f64, 1.0 - risk)
}

/// Lower confidence limit of a rate with `events` of `trials`, missed with a chance of at most `risk`.
pub(super) fn lower_limit(events: u64, trials: u64, risk: f64) -> f64 {
    if events == 0 || trials == 0 {
        return 0.0;
    }
    if events >= trials {
        return risk.powf(1.0 / trials as f64);
    }
    if trials > EXACT_TRIALS {
        return 1.0 - chernoff_limit(trials - events, trials, risk);
    }
    inv_beta_reg(events as f64, (trials - events) as f64 + 1.0, risk)
}

/// The rate above k/n at which n·KL(k/n ‖ rate) is ln 1/risk: a rate as high has so few events with a chance of at most
/// `risk` (Chernoff 1952). Its reach is a seventh longer than the exact one, at a risk of 1e-4.
fn chernoff_limit(events: u64, trials: u64, risk: f64) -> f64 {
    let (seen, most) = (events as f64 / trials as f64, -risk.ln() / trials as f64);
    let divergence = |rate: f64| {
        let part = |share: f64, of: f64| if share > 0.0 { share * (share / of).ln() } else { 0.0 };
        part(seen, rate) + part(1.0 - seen, 1.0 - rate)
    };
    let (mut inside, mut outside) = (seen, 1.0);
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(inside, outside);
        if divergence(middle) < most { inside = middle } else { outside = middle }
    }
    outside
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_any_counts_are_found_and_hold_the_rate() {
        for trials in [1, 10, 1000, 100_000, 1 << 18, (1 << 18) + 1, 1 << 24, 1 << 32, u64::MAX] {
            for events in [0, 1, 2, 50, trials / 1000, trials / 2, trials - 1] {
                let events = events.min(trials);
                for risk in [1e-6, 1e-4, 0.01] {
                    let seen = events as f64 / trials as f64;
                    let (low, high) = (lower_limit(events, trials, risk), upper_limit(events, trials, risk));
                    assert!(low <= seen && seen <= high && (0.0..=1.0).contains(&low) && high <= 1.0, "{low} {high}");
                    let reach = 6.0 * (0.25 / trials as f64).sqrt() + 30.0 / trials as f64 + 1e-8;
                    assert!(high - seen <= reach && seen - low <= reach, "{events} of {trials}: {low} {high}");
                }
            }
        }
    }

    #[test]
    fn limits_of_many_trials_are_little_wider_than_exact_ones() {
        for events in [0, 1, 10, 1000, 100_000] {
            let (exact, wide) = (upper_limit(events, 200_000, 1e-4), chernoff_limit(events, 200_000, 1e-4));
            let seen = events as f64 / 200_000.0;
            assert!(wide >= exact * (1.0 - 1e-9) && wide - seen <= 1.25 * (exact - seen), "{events}: {exact} {wide}");
        }
    }
}
