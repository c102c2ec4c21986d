//! Where the distances of the populations lie, given that reference and window are draws of limited size.
//!
//! A distance between two samples is not that of what they were drawn from: it has noise, and near equality it is mostly
//! noise, because a distance cannot be negative. These are 95 % intervals for the distance of the populations, binned as
//! the samples are. All are in closed form, cheap enough for every tick; none needs draws of its own.
//!
//! | distance | method |
//! |---|---|
//! | PSI, Jensen-Shannon, Hellinger, chi-square effect | first-order variance, second-order bias, square-root scale: [`smooth`] |
//! | total variation, L∞, Kolmogorov-Smirnov | first-order variance, bias of folding and of the maximum: [`kinked`] |
//! | Wasserstein over σ | influence functions from bins and sums, σ's own noise included: [`transport`] |
//!
//! Both samples are taken as independent draws of independent rows. Of 2,000 such pairs, 94 to 97 % of the intervals hold
//! the distance of the populations where these differ by more than chance makes samples differ (a shift by a quarter of a
//! standard deviation at a thousand live rows, by a twentieth at ten thousand), on groups of at least five expected rows
//! on either side. Where else they hold more or less, as measured by `detect::tests::coverage`:
//!
//! | where | which | hold | why |
//! |---|---|---|---|
//! | at and near equality | all | 97 to 99 % and 92 to 99 % | the lower end is 0 unless a test rejects equality at 2.5 % |
//! | two groups differ by nearly as much | L∞ | 82 to 98 % | which is larger is noise, and the error is taken to be the larger one's own |
//! | the line differs as much upwards as downwards, as after a stretch | KS | 97 to 98 % | the larger of two that are as large has less noise than either |
//! | a group has fewer than five expected live rows | PSI, JS, Hellinger | 63, 91, 82 % at 300 rows | derivatives grow without limit where a group empties, and are taken half a row away from there |
//! | a group is empty in the live population | PSI | down to 0 % | a bias of noise is taken off that a group of no rows does not have: too low |
//! | the same | JS, Hellinger, chi-square | 95 to 100, 79 to 98, 95 to 100 % | the same, but limited |
//! | most groups do not differ at all | TV | 83 % | half of the folding's bias is left, since it is read from differences that are folded |
//! | the difference is the same along much of the line | KS | 92 % | the largest of many that are as large is not that of two |
//! | the difference has a sharp peak, as at the end of a range that values leave | KS | 75 % at 1,000 live rows, less with more | it is looked up a little inside of the peak: too low |
//! | values beyond the reference's range | W1 | down to 0 % | they are taken to fall off exponentially; the error of that is in no interval |
//!
//! Rows that depend on each other (batches, retries, few users) are fewer than they seem, and intervals then too narrow.
//!
//! Invariant: `0 ≤ low ≤ high`, both finite and at most the largest value of the distance.

mod kinked;
mod smooth;
mod transport;

use super::Binned;
use super::distances::{grouped, rows};
use crate::sketch::{Live, Reference};
use serde::{Deserialize, Serialize};

/// Two-sided 95 %: the normal quantile 1.96, made a little wider because variances are estimated.
const QUANTILE: f64 = 2.0;

/// A 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// The intervals of a column's distances.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Intervals {
    /// Of the population stability index.
    pub psi: Interval,
    /// Of the Kolmogorov-Smirnov distance; none without an order or finite values.
    pub ks: Option<Interval>,
    /// Of the Jensen-Shannon distance.
    pub js: Interval,
    /// Of the Wasserstein distance over σ, without the error of binning; none where the distance is none.
    pub wasserstein: Option<Interval>,
    /// Of the total variation.
    pub tv: Interval,
    /// Of the Hellinger distance.
    pub hellinger: Interval,
    /// Of the largest difference of proportions.
    pub l_infinity: Interval,
    /// Of the [`chi_square_effect`].
    pub chi_square: Interval,
}

impl Interval {
    /// The interval within 0 and `most`; all of it where an end is not a number.
    fn within(low: f64, high: f64, most: f64) -> Self {
        let low = if low.is_nan() { 0.0 } else { low.clamp(0.0, most) };
        let high = if high.is_nan() { most } else { high.clamp(low, most) };
        Self { low, high }
    }

    fn sqrt(self) -> Self {
        Self { low: self.low.sqrt(), high: self.high.sqrt() }
    }
}

impl Intervals {
    /// The intervals between a reference and a window; none if either counts nothing or they are of different layouts.
    #[must_use]
    pub fn between(reference: &Reference, live: &Live<'_>) -> Option<Self> {
        let (expected, found) = grouped(reference, live)?;
        let groups = Pair::new(&expected, &found)?;
        let (mut ks, mut wasserstein) = (None, None);
        if let Some(slots) = reference.ordered.clone()
            && let (Some(expected), Some(found)) = (reference.counts.get(slots.clone()), live.counts.get(slots))
        {
            ks = Pair::new(expected, found).map(|pair| kinked::kolmogorov_smirnov(&pair));
            let expected = Binned { counts: expected, sums: reference.sums };
            let found = Binned { counts: found, sums: Some(live.sums) };
            wasserstein = transport::wasserstein(&reference.positions, expected, found);
        }
        Some(Self {
            psi: smooth::psi(&groups),
            ks,
            js: smooth::jensen_shannon(&groups).sqrt(),
            wasserstein,
            tv: kinked::total_variation(&groups),
            hellinger: smooth::hellinger(&groups).sqrt(),
            l_infinity: kinked::l_infinity(&groups),
            chi_square: smooth::chi_square(&groups),
        })
    }
}

/// The interval of the population stability index alone, from counters of groups: what an alarm needs. None if either
/// side is empty.
#[must_use]
pub fn psi_interval(reference: &[u64], live: &[u64]) -> Option<Interval> {
    Pair::new(reference, live).map(|pair| smooth::psi(&pair))
}

/// The interval of the total variation alone, from counters of groups. None if either side is empty.
#[must_use]
pub fn total_variation_interval(reference: &[u64], live: &[u64]) -> Option<Interval> {
    Pair::new(reference, live).map(|pair| kinked::total_variation(&pair))
}

/// The chi-square statistic of fit per live row, which does not grow with the window: Σ (q − p)² / p, where p is at least
/// 1e-4; the noncentrality of the test over the live rows, the square of Cohen's w. None if either side is empty.
#[must_use]
pub fn chi_square_effect(reference: &[u64], live: &[u64]) -> Option<f64> {
    Pair::new(reference, live).map(|pair| smooth::chi_square_effect(&pair))
}

/// Both sides as proportions.
#[derive(Debug)]
struct Pair {
    p: Vec<f64>,
    q: Vec<f64>,
    reference: f64,
    live: f64,
}

impl Pair {
    fn new(reference: &[u64], live: &[u64]) -> Option<Self> {
        let (n, m) = (rows(reference), rows(live));
        let shares = |counts: &[u64], rows: u64| counts.iter().map(|&count| count as f64 / rows as f64).collect();
        (n > 0 && m > 0).then(|| Self {
            p: shares(reference, n),
            q: shares(live, m),
            reference: n as f64,
            live: m as f64,
        })
    }

    /// Proportions of a group that either side has rows in.
    fn used(&self) -> impl Iterator<Item = (f64, f64)> + Clone {
        self.p.iter().copied().zip(self.q.iter().copied()).filter(|&(p, q)| p > 0.0 || q > 0.0)
    }

    /// What one row of each side adds to the variance of a mean of variance one.
    fn noise(&self) -> f64 {
        1.0 / self.reference + 1.0 / self.live
    }

    /// Variance of the difference of proportions of a group, and in general of cumulative ones.
    fn variance(&self, p: f64, q: f64) -> f64 {
        p * (1.0 - p).max(0.0) / self.reference + q * (1.0 - q).max(0.0) / self.live
    }

    /// Whether Pearson's test on the two samples rejects that they are of one population, at 2.5 %. The critical value is
    /// Wilson and Hilferty's (1931), within 1 % of the exact one.
    fn differs(&self) -> bool {
        let (statistic, groups) = self.used().fold((0.0, 0.0), |(sum, groups), (p, q)| {
            let middle = (p * self.reference + q * self.live) / (self.reference + self.live);
            (sum + (p - q).powi(2) / middle, groups + 1.0)
        });
        let degrees: f64 = groups - 1.0;
        let spread = 2.0 / (9.0 * degrees);
        degrees > 0.0 && statistic / self.noise() > degrees * (1.0 - spread + 1.959_964 * spread.sqrt()).powi(3)
    }
}
