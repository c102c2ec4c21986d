//! What counts as "no drift" of a column, and the evidence against it.
//!
//! The reference is a sample of `N` rows, so the distribution it came from is only known to lie in a region around it.
//! Live traffic is in order if it lies in that region or within a tolerance of it:
//!
//! `Θ0 = { θ : KL(p̂ ‖ θ) ≤ r }`, `r = χ²(1 − δ, B − 1) / (2N) + tolerance`
//!
//! where `p̂` are the reference's shares of `B` groups. 2N·KL(p̂ ‖ θ) is the likelihood-ratio statistic of the reference
//! under θ, so that the first term is its confidence region (Wilks 1938).
//!
//! The evidence of counts `S` is `E = Q(S) / sup_{θ ∈ Θ0} Π θᵢ^Sᵢ` with a mixture `Q` of multinomial likelihoods: never
//! more than the likelihood ratio against any θ in `Θ0`, hence an e-process under each of them (Wasserman, Ramdas and
//! Balakrishnan 2020, "universal inference"). `Q` mixes
//! - a Dirichlet prior around the reference, strength [`PRIOR_STRENGTH`] rows: finds any change, at a price of about half
//!   a logarithm per group;
//! - exponential tilts `qᵢ ∝ pᵢ exp(λ zᵢ)` along the groups' normal scores, for columns with an order: a shift of location
//!   is one number, and is found for the price of one.
//!
//! The supremum needs no search over distributions: maximising `Σ Sᵢ ln θᵢ` under the constraint gives
//! `θ = (1 − μ) q̂ + μ p̂` with the one `μ` at which KL(p̂ ‖ θ) = r (Lagrange), q̂ being the shares of `S`.
//!
//! Invariant: [`Null::ln_evidence`] is finite or −∞ for counts of any size, and at most 0 for counts whose shares lie in
//! `Θ0`.

use statrs::distribution::{ChiSquared, Continuous, ContinuousCDF, Normal};
use statrs::function::gamma::ln_gamma;

/// Rows that the Dirichlet prior is worth: alternatives are spread around the reference with a relative deviation of
/// about 40 % per tenth of the mass, the size of a shift by half a standard deviation.
pub(super) const PRIOR_STRENGTH: f64 = 50.0;
/// Sizes of the tilts, in standard deviations of location; each is used in both directions. A ratio of 1.5 loses at most
/// 5 % of the evidence between two of them.
pub(super) const TILTS: [f64; 8] = [0.12, 0.18, 0.27, 0.4, 0.6, 0.9, 1.35, 2.0];
/// Share of the mixture that the Dirichlet prior gets where tilts have the rest.
const DIRICHLET_SHARE: f64 = 0.3;
/// Steps of the search for μ: halvings of the bracket, then Newton's, each of which doubles the digits.
const HALVINGS: usize = 5;
const NEWTON_STEPS: usize = 4;

/// A column's null and alternatives.
#[derive(Clone, Debug)]
pub(super) struct Null {
    /// Rows of the reference.
    pub(super) rows: u64,
    /// Shares of the reference.
    shares: Vec<f64>,
    /// Shares with half a row added to each group: where alternatives are centred, and what cheap bounds compare with.
    centre: Vec<f64>,
    ln_centre: Vec<f64>,
    /// The groups that are in the order of their values.
    pub(super) order: std::ops::Range<usize>,
    /// Radius of `Θ0`, nats.
    pub(super) radius: f64,
    /// Normal scores of the groups; empty without an order.
    scores: Vec<f64>,
    /// ln Σ centre·exp(λ z) of each tilt, negative ones first.
    ln_norms: Vec<f64>,
    /// Σ ln Γ(prior) − ln Γ(strength).
    ln_prior: f64,
}

impl Null {
    /// The null of reference counts by group, of which the groups in `ordered` are in the order of their values. None
    /// without rows. `cells` are the smaller groups that these were made of by their counts in the reference, 0 where the
    /// counts did not decide; `risk` is the chance that the region may miss.
    pub(super) fn new(
        counts: &[u64],
        ordered: std::ops::Range<usize>,
        cells: usize,
        risk: f64,
        tolerance: f64,
    ) -> Option<Self> {
        let rows = counts.iter().fold(0_u64, |sum, &count| sum.saturating_add(count));
        if rows == 0 {
            return None;
        }
        let shares: Vec<f64> = counts.iter().map(|&count| count as f64 / rows as f64).collect();
        let total = rows as f64 + counts.len() as f64 / 2.0;
        let centre: Vec<f64> = counts.iter().map(|&count| (count as f64 + 0.5) / total).collect();
        let in_use = counts.iter().filter(|&&count| count > 0).count();
        // An empty group may be one whose share is small: they count as one more. Where counts decided what is put
        // together, groups look better than they are; but no grouping is further away than the cells it is made of (data
        // processing inequality), whatever decided on it.
        let freedom = if in_use < counts.len() { in_use } else { in_use - 1 }.max(cells);
        let quantile = ChiSquared::new(freedom.max(1) as f64).ok()?.inverse_cdf(1.0 - risk);
        let radius = (quantile / (2.0 * rows as f64) + tolerance).max(divergence(&shares, &centre));
        let scores = normal_scores(&centre, ordered.clone());
        let ln_norms =
            if scores.is_empty() { Vec::new() } else { tilts().map(|tilt| ln_norm(&centre, &scores, tilt)).collect() };
        let ln_prior =
            centre.iter().map(|share| ln_gamma(PRIOR_STRENGTH * share)).sum::<f64>() - ln_gamma(PRIOR_STRENGTH);
        let ln_centre = centre.iter().map(|share| share.ln()).collect();
        Some(Self { rows, shares, centre, ln_centre, order: ordered, radius, scores, ln_norms, ln_prior })
    }

    /// Shares of the reference by group.
    pub(super) fn shares(&self) -> &[f64] {
        &self.shares
    }

    /// Bytes that it holds beside itself.
    pub(super) fn resident_bytes(&self) -> usize {
        let vectors = [&self.shares, &self.centre, &self.ln_centre, &self.scores, &self.ln_norms];
        vectors.iter().map(|vector| size_of_val(&***vector)).sum()
    }

    /// At least [`Self::ln_evidence`], for a few multiplications: Pearson's statistic against one member of the null.
    pub(super) fn bound(&self, counts: &[f64]) -> f64 {
        let (mut rows, mut weighted) = (0.0, 0.0);
        for (count, share) in counts.iter().zip(&self.centre) {
            rows += count;
            weighted += count * count / share;
        }
        if rows > 0.0 { weighted / rows - rows } else { f64::NEG_INFINITY }
    }

    /// Natural logarithm of the evidence of counts by group; −∞ if it is below `least`, which saves most of the work.
    pub(super) fn ln_evidence(&self, counts: &[f64], least: f64) -> f64 {
        let rows: f64 = counts.iter().sum();
        if rows <= 0.0 {
            return f64::NEG_INFINITY;
        }
        let centred: f64 = counts.iter().zip(&self.ln_centre).map(|(count, ln_share)| count * ln_share).sum();
        let numerator = self.ln_numerator(counts, rows, centred);
        // The centre is in the null, so the supremum is no less than its likelihood.
        if numerator - centred < least {
            return f64::NEG_INFINITY;
        }
        numerator - self.ln_supremum(counts, rows)
    }

    fn ln_numerator(&self, counts: &[f64], rows: f64, centred: f64) -> f64 {
        let dirichlet =
            counts
                .iter()
                .zip(&self.centre)
                .map(|(&count, share)| {
                    if count > 0.0 {
                        ln_gamma(PRIOR_STRENGTH * share + count)
                    } else {
                        ln_gamma(PRIOR_STRENGTH * share)
                    }
                })
                .sum::<f64>()
                - ln_gamma(PRIOR_STRENGTH + rows)
                - self.ln_prior;
        if self.scores.is_empty() {
            return dirichlet;
        }
        let score: f64 = counts.iter().zip(&self.scores).map(|(count, score)| count * score).sum();
        let share = ((1.0 - DIRICHLET_SHARE) / self.ln_norms.len() as f64).ln();
        let mut terms = [DIRICHLET_SHARE.ln() + dirichlet; 2 * TILTS.len() + 1];
        for ((term, tilt), norm) in terms.iter_mut().zip(tilts()).zip(&self.ln_norms) {
            *term = share + centred + tilt * score - rows * norm;
        }
        ln_sum(&terms)
    }

    /// ln of the largest likelihood of the counts within the null.
    fn ln_supremum(&self, counts: &[f64], rows: f64) -> f64 {
        let weight = self.projection(counts, rows);
        counts
            .iter()
            .zip(&self.shares)
            .filter(|(count, _)| **count > 0.0)
            .map(|(count, share)| count * ((1.0 - weight) * count / rows + weight * share).ln())
            .sum()
    }

    /// The weight μ of the reference in the nearest member of the null; never more than the exact one, so that rounding
    /// favours the null.
    fn projection(&self, counts: &[f64], rows: f64) -> f64 {
        let excess = |weight: f64| {
            let (mut value, mut slope) = (-self.radius, 0.0);
            for (&share, &count) in self.shares.iter().zip(counts).filter(|(share, _)| **share > 0.0) {
                let ratio = count / (rows * share);
                let mixed = ratio + weight * (1.0 - ratio);
                value -= share * mixed.ln();
                slope -= share * (1.0 - ratio) / mixed;
            }
            (value, slope)
        };
        if excess(0.0).0 <= 0.0 {
            return 0.0;
        }
        let (mut low, mut high) = (0.0, 1.0);
        for _ in 0..HALVINGS {
            let middle = f64::midpoint(low, high);
            if excess(middle).0 > 0.0 { low = middle } else { high = middle }
        }
        // A convex, falling function: Newton's steps from the left stay on the left.
        for _ in 0..NEWTON_STEPS {
            let (value, slope) = excess(low);
            if value > 0.0 && slope < 0.0 {
                low = (low - value / slope).min(high);
            }
        }
        low
    }
}

/// All tilts, negative ones first.
fn tilts() -> impl Iterator<Item = f64> {
    TILTS.iter().map(|tilt| -tilt).chain(TILTS)
}

fn ln_norm(centre: &[f64], scores: &[f64], tilt: f64) -> f64 {
    centre.iter().zip(scores).map(|(share, score)| share * (tilt * score).exp()).sum::<f64>().ln()
}

/// Expected normal order of each group: the mean of a standard normal within the group's stretch of probability. Groups
/// that are not in order have 0, the mean of all.
fn normal_scores(centre: &[f64], ordered: std::ops::Range<usize>) -> Vec<f64> {
    if ordered.len() < 2 {
        return Vec::new();
    }
    let mass: f64 = centre[ordered.clone()].iter().sum();
    let normal = Normal::standard();
    let density = |share: f64| {
        let is_end = share <= 0.0 || share >= 1.0;
        if is_end { 0.0 } else { normal.pdf(normal.inverse_cdf(share)) }
    };
    let mut scores = vec![0.0; centre.len()];
    let mut below = 0.0;
    for group in ordered {
        let share = centre[group] / mass;
        scores[group] = (density(below) - density(below + share)) / share;
        below += share;
    }
    scores
}

/// Kullback-Leibler divergence, nats; infinite where `q` lacks what `p` has.
pub(super) fn divergence(p: &[f64], q: &[f64]) -> f64 {
    p.iter().zip(q).filter(|(p, _)| **p > 0.0).map(|(p, q)| p * (p / q).ln()).sum()
}

/// ln Σ exp; −∞ of nothing.
pub(super) fn ln_sum(terms: &[f64]) -> f64 {
    let largest = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if largest == f64::NEG_INFINITY {
        largest
    } else {
        largest + terms.iter().map(|term| (term - largest).exp()).sum::<f64>().ln()
    }
}
