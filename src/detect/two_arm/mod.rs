//! Canary against concurrent stable: evidence that the two arms answer differently, to be looked at at any time.
//!
//! Both arms serve the same moments of the same traffic, so whatever moves both, a season, a campaign, a broken client,
//! moves neither against the other. What is compared is not two distributions but the arms of each kind of outcome:
//! given that something happened, which arm did it happen in?
//!
//! # Theorem
//! Let events (one per request, or per key where routing is sticky) come one after another, each with an outcome in one
//! of finitely many cells and with a weight w, known before it is routed. Assume
//!
//! 1. the arm of an event is canary with probability w, given all that happened before, and
//! 2. under the null hypothesis its outcome does not depend on its arm.
//!
//! Then, whatever the outcomes are and however they change over time, an event in cell i is the canary's with probability
//! w. For any ratios r fixed in advance, the product over events of `r[i] / (w r[i] + 1 − w)` for the canary's and of
//! `1 / (w r[i] + 1 − w)` for stable's has expectation 1 at every step given the past: it is a test martingale. So is each
//! mixture of such products with weights fixed in advance, and each product of mixtures over separate cells, because an
//! event changes the factor of its own cell alone. By Ville's inequality the probability that such an `E` ever reaches
//! 1/α is at most α, however often and whenever one looks, also if one stops because of what was seen.
//!
//! r is the density of the canary's outcomes over stable's. The mixture is over
//!
//! - exponential tilts of cells in order, r = exp(θ x − ψ), with normal scores x and θ on both sides from 0.1 to 1.6: for
//!   a shift by θ standard deviations. ψ makes r a density under the expected counts; were they wrong, power is lost but
//!   not validity;
//! - ratios of each cell by itself, from a fifth to five: for everything else. This does what a beta-binomial mixture
//!   does, and unlike it stays one martingale when the weight changes.
//!
//! Evidence depends on counts alone: not on the order of arrival, nor on how counts were split before they were merged.
//! Segments of different weight multiply within each alternative, and only then are alternatives averaged.
//!
//! # Heavy users
//! A key that is always routed to the same arm breaks the first assumption if its requests count one by one. Count one per
//! key and time, or give counts by key group: the evidence is then the smallest that is left when any one group is left
//! out, so that no one group can stop a rollout; requests without a key are in [`UNGROUPED`], which is not left out. That
//! is at most the evidence of all, so the theorem holds for it too.
//!
//! Sources: Shafer, "Testing by betting" (2021); Ramdas et al., "Game-theoretic statistics and safe anytime-valid
//! inference" (2023); Lindon & Malek, "Anytime-Valid Inference for Multinomial Count Data" (2022).
//!
//! Invariant: evidence is finite for any counts and weights; none of a segment whose weight is not between 0 and 1.

mod groups;
mod odds;
mod rate;

pub use groups::UNGROUPED;
pub use rate::{RateCounts, RateTest, rate_difference};

use super::intervals::{Interval, psi_interval};
use super::{group_counts, psi};
use crate::sketch::Reference;
use odds::{Alternatives, normal_scores};
use serde::{Deserialize, Serialize};

/// Outcomes of both arms at one weight, of one key group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ArmCounts {
    /// The key group; [`UNGROUPED`], or any one number, where there are none.
    pub group: u64,
    /// Probability that an event was routed to the canary.
    pub weight: f64,
    /// The canary's events by cell.
    pub canary: Vec<u64>,
    /// Stable's events by cell.
    pub stable: Vec<u64>,
}

/// What the counts of both arms say.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TwoArmEvidence {
    /// Natural logarithm of the evidence E against equality; alarm at α when it is at least ln(1/α).
    pub ln_e: f64,
    /// Events of the canary.
    pub canary: u64,
    /// Events of stable.
    pub stable: u64,
    /// How far the arms are apart, all segments together; none if an arm has no events.
    pub effect: Option<Effect>,
}

/// A size with its 95 % interval at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Effect {
    /// The size in the samples.
    pub value: f64,
    /// Where it lies in the populations.
    pub interval: Interval,
}

/// The test on outcomes in cells.
#[derive(Clone, Debug)]
pub struct TwoArmTest {
    cells: usize,
    alternatives: Alternatives,
}

impl TwoArmEvidence {
    /// Whether the arms differ, at a probability `alpha` of ever saying so of equal ones.
    #[must_use]
    pub fn rejects(&self, alpha: f64) -> bool {
        alpha > 0.0 && self.ln_e >= -alpha.ln()
    }
}

impl TwoArmTest {
    /// A test on as many cells as there are expected counts, of which the first `ordered` are in the order of their
    /// values. Expected counts, from a reference for example, must be fixed before the first event; all zero if nothing
    /// is known, which leaves the alternatives without an order.
    #[must_use]
    pub fn new(expected: &[u64], ordered: usize) -> Self {
        let mut alternatives = Alternatives::new(expected.len());
        if let Some(scores) = normal_scores(expected, ordered) {
            alternatives.add_tilts(expected, &scores);
        }
        Self { cells: expected.len(), alternatives }
    }

    /// A test on the coarse groups of a column.
    #[must_use]
    pub fn for_column(reference: &Reference) -> Self {
        let expected = group_counts(&reference.counts, &reference.groups, reference.group_count);
        // Behind the groups in order come those of rare, missing and infinite values.
        let ordered = if reference.ordered.is_some() { reference.group_count.saturating_sub(3) } else { 0 };
        Self::new(&expected, ordered)
    }

    /// The evidence of all counts so far. Cells that the test does not have are not counted.
    #[must_use]
    pub fn evidence(&self, counts: &[ArmCounts]) -> TwoArmEvidence {
        let parts = counts.iter().map(|arms| (arms.group, self.alternatives.logs(arms)));
        let ln_e = groups::least(parts, |logs| self.alternatives.ln_mixture(logs));
        let sum = |side: fn(&ArmCounts) -> &Vec<u64>| {
            let mut sums = vec![0_u64; self.cells];
            for arms in counts.iter().filter(|arms| odds::is_weight(arms.weight)) {
                let pairs = sums.iter_mut().zip(side(arms));
                pairs.for_each(|(sum, count)| *sum = sum.saturating_add(*count));
            }
            sums
        };
        let (canary, stable) = (sum(|arms| &arms.canary), sum(|arms| &arms.stable));
        let effect = psi(&stable, &canary).zip(psi_interval(&stable, &canary));
        TwoArmEvidence {
            ln_e,
            canary: super::distances::rows(&canary),
            stable: super::distances::rows(&stable),
            effect: effect.map(|(value, interval)| Effect { value, interval }),
        }
    }
}
