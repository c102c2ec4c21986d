//! How far live counters are from reference counters.
//!
//! PSI, Jensen-Shannon and total variation are taken over coarse groups, in which missing, infinite and unseen values
//! are groups like others: a column that goes missing has drifted. Kolmogorov-Smirnov and Wasserstein are distances
//! along the number line, are taken over the fine bins of finite values alone, and do not exist for categories.
//! Sampling from raw values was considered and left: on the same bins these equal the textbook formulas exactly.
//!
//! Invariant: every distance is finite, not negative, and zero between proportional counters.

use super::{Binned, wasserstein};
use crate::sketch::{Live, Reference};

/// Least proportion of a group in PSI, so that an empty group does not make it infinite.
pub(super) const FLOOR: f64 = 1e-4;

/// How far a column is from its reference.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Distances {
    /// Population stability index over the coarse groups, in nats.
    pub psi: f64,
    /// Largest difference of the binned cumulative distributions, at most 1; none without an order or finite values.
    pub ks: Option<f64>,
    /// Jensen-Shannon distance over the coarse groups: square root, natural logarithm, at most 0.8326.
    pub js: f64,
    /// First Wasserstein distance in the reference's standard deviations; none without an order, finite values or spread.
    pub wasserstein: Option<f64>,
    /// How far binning can have moved that distance; none also where that is unknown, see
    /// [`Transport::error`](super::Transport::error).
    pub wasserstein_error: Option<f64>,
    /// Total variation over the coarse groups: half the L1 distance, at most 1.
    pub tv: f64,
    /// Hellinger distance over the coarse groups, at most 1.
    pub hellinger: f64,
    /// Largest difference of the proportions of a coarse group, at most 1.
    pub l_infinity: f64,
}

impl Distances {
    /// The distances between a reference and a window; none if either counts nothing or they are of different layouts.
    #[must_use]
    pub fn between(reference: &Reference, live: &Live<'_>) -> Option<Self> {
        let (expected, found) = grouped(reference, live)?;
        let (mut ks, mut transport) = (None, None);
        if let Some(slots) = reference.ordered.clone()
            && let (Some(expected), Some(found)) = (reference.counts.get(slots.clone()), live.counts.get(slots))
        {
            ks = kolmogorov_smirnov(expected, found);
            let expected = Binned { counts: expected, sums: reference.sums };
            transport = wasserstein(&reference.positions, expected, Binned { counts: found, sums: Some(live.sums) });
        }
        Some(Self {
            psi: psi(&expected, &found)?,
            ks,
            js: jensen_shannon(&expected, &found)?,
            wasserstein: transport.map(|transport| transport.distance),
            wasserstein_error: transport.and_then(|transport| transport.error),
            tv: total_variation(&expected, &found)?,
            hellinger: hellinger(&expected, &found)?,
            l_infinity: l_infinity(&expected, &found)?,
        })
    }
}

/// Both sides by the reference's coarse groups; none if they are of different layouts.
pub(super) fn grouped(reference: &Reference, live: &Live<'_>) -> Option<(Vec<u64>, Vec<u64>)> {
    let groups = |counts: &[u64]| group_counts(counts, &reference.groups, reference.group_count);
    (reference.counts.len() == live.counts.len()).then(|| (groups(&reference.counts), groups(live.counts)))
}

/// Adds up counters by group. Slots of a group that is not below `groups` are left out.
#[must_use]
pub fn group_counts(counts: &[u64], group_of_slot: &[u8], groups: usize) -> Vec<u64> {
    let mut sums = vec![0_u64; groups];
    for (&count, &group) in counts.iter().zip(group_of_slot) {
        if let Some(sum) = sums.get_mut(usize::from(group)) {
            *sum = sum.saturating_add(count);
        }
    }
    sums
}

/// Population stability index: Σ (p − q) ln(p / q) over the proportions of the groups, each taken as at least 1e-4,
/// not renormalised. None if either side is empty.
///
/// Source: Siddiqi, "Credit Risk Scorecards" (2006); the floor is Evidently's.
#[must_use]
pub fn psi(reference: &[u64], live: &[u64]) -> Option<f64> {
    sum_over(reference, live, |p, q| {
        let (p, q) = (p.max(FLOOR), q.max(FLOOR));
        (p - q) * (p / q).ln()
    })
}

/// Jensen-Shannon distance: the square root of the divergence with the natural logarithm, as SciPy's
/// `scipy.spatial.distance.jensenshannon` has it. None if either side is empty.
#[must_use]
pub fn jensen_shannon(reference: &[u64], live: &[u64]) -> Option<f64> {
    let divergence = sum_over(reference, live, |p, q| {
        let middle = f64::midpoint(p, q);
        let entropy = |p: f64| if p > 0.0 { p * (p / middle).ln() } else { 0.0 };
        f64::midpoint(entropy(p), entropy(q))
    })?;
    // Rounding can leave a divergence of equal sides just below zero.
    Some(divergence.max(0.0).sqrt())
}

/// Total variation: half the sum of the absolute differences of the proportions. None if either side is empty.
#[must_use]
pub fn total_variation(reference: &[u64], live: &[u64]) -> Option<f64> {
    sum_over(reference, live, |p, q| (p - q).abs() / 2.0)
}

/// Hellinger distance: the square root of half of Σ (√p − √q)², which is that of 1 − Σ √(p·q) without its cancellation
/// near equality. None if either side is empty.
#[must_use]
pub fn hellinger(reference: &[u64], live: &[u64]) -> Option<f64> {
    Some((sum_over(reference, live, |p, q| (p.sqrt() - q.sqrt()).powi(2))? / 2.0).sqrt())
}

/// Largest absolute difference of the proportions. None if either side is empty.
#[must_use]
pub fn l_infinity(reference: &[u64], live: &[u64]) -> Option<f64> {
    let (reference_rows, live_rows) = (rows(reference) as f64, rows(live) as f64);
    (reference_rows > 0.0 && live_rows > 0.0).then(|| {
        let pairs = reference.iter().zip(live);
        pairs.map(|(&p, &q)| (p as f64 / reference_rows - q as f64 / live_rows).abs()).fold(0.0, f64::max)
    })
}

/// Kolmogorov-Smirnov statistic of counters in the order of their values: the largest difference of the cumulative
/// proportions at the edges between them. Between the edges a and b of a bin, F − G is at most F(b) − G(a), so that the
/// statistic of the values themselves is larger by at most the mass that a bin has on both sides, and by nothing in a
/// bin of one number. None if either side is empty.
#[must_use]
pub fn kolmogorov_smirnov(reference: &[u64], live: &[u64]) -> Option<f64> {
    let both_have_rows = rows(reference) > 0 && rows(live) > 0;
    both_have_rows.then(|| cumulative(reference, live).map(|(p, q)| (p - q).abs()).fold(0.0, f64::max))
}

/// What PSI is expected to be without drift, from chance alone: (B − 1)(1/n + 1/N) for B groups in use, n live and N
/// reference rows. None if there are no rows on either side.
///
/// Source: Yurdakul, "Statistical Properties of Population Stability Index" (2018).
#[must_use]
pub fn expected_psi(groups_in_use: usize, live: u64, reference: u64) -> Option<f64> {
    (live > 0 && reference > 0)
        .then(|| groups_in_use.saturating_sub(1) as f64 * (1.0 / live as f64 + 1.0 / reference as f64))
}

/// The number of all rows on one side.
pub(super) fn rows(counts: &[u64]) -> u64 {
    counts.iter().fold(0, |sum, &count| sum.saturating_add(count))
}

/// The cumulative proportions of both sides after each counter. Counters are added up as integers, so that both end at
/// exactly 1: a remainder of rounding would look like a crossing of the distributions.
pub(super) fn cumulative(reference: &[u64], live: &[u64]) -> impl Iterator<Item = (f64, f64)> {
    let (reference_rows, live_rows) = (rows(reference) as f64, rows(live) as f64);
    let (mut p, mut q) = (0_u64, 0_u64);
    reference.iter().zip(live).map(move |(&more_p, &more_q)| {
        (p, q) = (p.saturating_add(more_p), q.saturating_add(more_q));
        (p as f64 / reference_rows, q as f64 / live_rows)
    })
}

/// Sums a function of the proportions of both sides.
fn sum_over(reference: &[u64], live: &[u64], term: impl Fn(f64, f64) -> f64) -> Option<f64> {
    let (reference_rows, live_rows) = (rows(reference), rows(live));
    (reference_rows > 0 && live_rows > 0).then(|| {
        let pairs = reference.iter().zip(live);
        pairs.map(|(&p, &q)| term(p as f64 / reference_rows as f64, q as f64 / live_rows as f64)).sum()
    })
}
