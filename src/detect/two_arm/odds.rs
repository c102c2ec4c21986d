//! The alternatives of a two-arm test, and their logarithmic likelihood ratios.
//!
//! Invariant: logarithms of counts add up, so counts may come in any order and any split.

use super::ArmCounts;
use statrs::distribution::{ContinuousCDF, Normal};

/// Sizes of tilts, in standard deviations of the normal scores, and of the logarithms of cell ratios; both signs.
const SIZES: [f64; 5] = [0.1, 0.2, 0.4, 0.8, 1.6];
/// Prior weight with which a cell has the same share in both arms, in the alternatives by cell.
const UNCHANGED: f64 = 0.8;

/// Ratios of the canary's density over stable's, fixed in advance.
#[derive(Clone, Debug)]
pub(super) struct Alternatives {
    cells: usize,
    /// Logarithms of the ratios, `cells` of them for each alternative that covers all cells.
    whole: Vec<Vec<f64>>,
    /// Whether each cell by itself is also an alternative.
    by_cell: bool,
}

/// Logarithms of the likelihood ratios of some counts: of each alternative, and of each ratio of each cell.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Logs {
    whole: Vec<f64>,
    by_cell: Vec<f64>,
}

impl Logs {
    pub(super) fn add(&mut self, other: &Self, sign: f64) {
        for (sums, terms) in [(&mut self.whole, &other.whole), (&mut self.by_cell, &other.by_cell)] {
            sums.resize(sums.len().max(terms.len()), 0.0);
            sums.iter_mut().zip(terms).for_each(|(sum, term)| *sum += sign * term);
        }
    }
}

impl Alternatives {
    /// Each cell by itself.
    pub(super) fn new(cells: usize) -> Self {
        Self { cells, whole: Vec::new(), by_cell: true }
    }

    /// These ratios alone, by their logarithms.
    pub(super) fn of_ratios(cells: usize, whole: Vec<Vec<f64>>) -> Self {
        Self { cells, whole, by_cell: false }
    }

    /// Exponential tilts along the scores; cells without a score keep their share.
    pub(super) fn add_tilts(&mut self, expected: &[u64], scores: &[f64]) {
        let total: f64 = expected.iter().zip(scores).map(|(&count, _)| count as f64).sum();
        for tilt in SIZES.iter().flat_map(|size| [*size, -size]) {
            let tilted = expected.iter().zip(scores).map(|(&count, score)| count as f64 * (tilt * score).exp());
            let norm = (tilted.sum::<f64>() / total).ln();
            let mut ratios: Vec<f64> = scores.iter().map(|score| tilt * score - norm).collect();
            ratios.resize(self.cells, 0.0);
            self.whole.push(ratios);
        }
    }

    /// The logarithms of one segment's counts; none of a weight that leaves no choice.
    pub(super) fn logs(&self, arms: &ArmCounts) -> Logs {
        if !is_weight(arms.weight) {
            return Logs::default();
        }
        let at = |counts: &[u64], cell: usize| counts.get(cell).copied().unwrap_or(0) as f64;
        let counts: Vec<(f64, f64)> =
            (0..self.cells).map(|cell| (at(&arms.canary, cell), at(&arms.stable, cell))).collect();
        let of_ratios = |ratios: &Vec<f64>| {
            let terms = counts.iter().zip(ratios);
            terms.map(|(&counts, &ratio)| ln_likelihood(counts, ratio, arms.weight)).sum()
        };
        let mut by_cell = Vec::new();
        if self.by_cell {
            let ratios = || SIZES.iter().flat_map(|size| [*size, -size]);
            by_cell = counts
                .iter()
                .flat_map(|&counts| ratios().map(move |ratio| ln_likelihood(counts, ratio, arms.weight)))
                .collect();
        }
        Logs { whole: self.whole.iter().map(of_ratios).collect(), by_cell }
    }

    /// ln E: the logarithm of the mean over the alternatives, where those by cell weigh as much as all others.
    pub(super) fn ln_mixture(&self, logs: &Logs) -> f64 {
        if logs.whole.is_empty() && logs.by_cell.is_empty() {
            return 0.0;
        }
        let whole = ln_mean_exp(&logs.whole, logs.whole.len() as f64);
        let ratios = 2 * SIZES.len();
        let changed = (ratios as f64 / (1.0 - UNCHANGED)).ln();
        let by_cell: f64 = logs
            .by_cell
            .chunks(ratios)
            .map(|cell| {
                let moved: Vec<f64> = cell.iter().map(|log| log - changed).chain([UNCHANGED.ln()]).collect();
                ln_mean_exp(&moved, 1.0)
            })
            .sum();
        match (logs.whole.is_empty(), self.by_cell) {
            (true, _) => by_cell,
            (false, false) => whole,
            (false, true) => ln_mean_exp(&[whole, by_cell], 2.0),
        }
    }
}

/// Whether a weight leaves a choice between the arms.
pub(super) fn is_weight(weight: f64) -> bool {
    weight > 0.0 && weight < 1.0
}

/// ln of r^canary / (w r + 1 − w)^(canary + stable), for ln r.
fn ln_likelihood((canary, stable): (f64, f64), ln_ratio: f64, weight: f64) -> f64 {
    canary * ln_ratio - (canary + stable) * (weight * ln_ratio.exp_m1()).ln_1p()
}

/// ln (Σ exp / count), without overflow.
fn ln_mean_exp(logs: &[f64], count: f64) -> f64 {
    let largest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if !largest.is_finite() {
        return 0.0;
    }
    largest + (logs.iter().map(|log| (log - largest).exp()).sum::<f64>() / count).ln()
}

/// The normal quantiles of the middle ranks of the first `ordered` cells, standardised; none without spread.
pub(super) fn normal_scores(expected: &[u64], ordered: usize) -> Option<Vec<f64>> {
    let counts: Vec<f64> = expected.iter().take(ordered).map(|&count| count as f64).collect();
    let total: f64 = counts.iter().sum();
    if total <= 0.0 {
        return None;
    }
    let law = Normal::standard();
    let mut below = 0.0;
    let mut scores = Vec::with_capacity(counts.len());
    for count in &counts {
        // Cells that are empty at an end would have an infinite score.
        let rank = ((below + count / 2.0) / total).clamp(1e-4, 1.0 - 1e-4);
        scores.push(law.inverse_cdf(rank));
        below += count;
    }
    let mean = counts.iter().zip(&scores).map(|(count, score)| count * score).sum::<f64>() / total;
    let squares = counts.iter().zip(&scores).map(|(count, score)| count * (score - mean).powi(2));
    let deviation = (squares.sum::<f64>() / total).sqrt();
    (deviation > 1e-6).then(|| scores.iter().map(|score| (score - mean) / deviation).collect())
}
