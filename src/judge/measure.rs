//! Distances of one column over each window.
//!
//! Invariant: a window without rows, or a column without a reference, has no distances; nothing here is a verdict.

use crate::detect::{expected_psi, group_counts, jensen_shannon, psi, total_variation};
use crate::sketch::Reference;

/// Decayed counts are fractions of rows; distances are over integers. This many parts of a row are told apart.
const PARTS: f64 = 1024.0;

/// Distances by coarse group.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GroupDistances {
    /// Population stability index, nats.
    pub psi: f64,
    /// Jensen-Shannon distance, square root, nats.
    pub js: f64,
    /// Total variation.
    pub tv: f64,
    /// PSI minus what is expected of it without drift; may be negative.
    pub excess: f64,
}

/// One column over one window.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Measure {
    /// Rows; of decayed counts their weight, rounded.
    pub samples: u64,
    /// The distances, when both sides have rows.
    pub distances: Option<GroupDistances>,
}

/// The reference's counts by group.
pub(super) fn reference_groups(reference: &Reference) -> Vec<u64> {
    group_counts(&reference.counts, &reference.groups, reference.group_count)
}

/// Compares counts by group.
pub(super) fn measure(reference: Option<&[u64]>, live: &[u64]) -> Measure {
    let samples = total(live);
    Measure { samples, distances: reference.and_then(|reference| distances(reference, live, samples)) }
}

/// Compares weights by group.
#[expect(clippy::cast_sign_loss, reason = "weights are not negative")]
pub(super) fn measure_weights(reference: Option<&[u64]>, weights: &[f64]) -> Measure {
    let samples = weights.iter().sum::<f64>().round() as u64;
    let parts: Vec<u64> = weights.iter().map(|weight| (weight * PARTS) as u64).collect();
    Measure { samples, distances: reference.and_then(|reference| distances(reference, &parts, samples)) }
}

fn distances(reference: &[u64], live: &[u64], samples: u64) -> Option<GroupDistances> {
    let in_use = reference.iter().zip(live).filter(|(reference, live)| **reference > 0 || **live > 0).count();
    let psi = psi(reference, live)?;
    Some(GroupDistances {
        psi,
        js: jensen_shannon(reference, live)?,
        tv: total_variation(reference, live)?,
        excess: psi - expected_psi(in_use, samples, total(reference))?,
    })
}

fn total(counts: &[u64]) -> u64 {
    counts.iter().fold(0, |sum, &count| sum.saturating_add(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_to_compare_is_no_distance() {
        assert_eq!(measure(None, &[1, 2]), Measure { samples: 3, distances: None });
        assert_eq!(measure(Some(&[1, 2]), &[0, 0]), Measure::default());
        assert_eq!(measure(Some(&[0, 0]), &[1, 2]).distances, None);
        assert_eq!(measure_weights(Some(&[1, 2]), &[0.0, 0.1]), Measure::default(), "a tenth of a row is none");
        assert_eq!(measure(Some(&[]), &[]), Measure::default());
    }

    #[test]
    fn weights_are_compared_as_counts_are() {
        let reference = [400, 300, 200, 100];
        let counts = measure(Some(&reference), &[100, 100, 100, 100]);
        let weights = measure_weights(Some(&reference), &[100.0; 4]);
        assert_eq!(counts, weights);
        let distances = counts.distances.unwrap();
        // (0.25 − 0.4) ln(0.25/0.4) + (0.25 − 0.3) ln(0.25/0.3) + (0.25 − 0.2) ln(1.25) + (0.25 − 0.1) ln(2.5)
        assert!((distances.psi - 0.228_217_409_6).abs() < 1e-9, "{distances:?}");
        assert!((distances.tv - 0.2).abs() < 1e-12);
        assert!((distances.psi - distances.excess - 3.0 * (1.0 / 400.0 + 1.0 / 1_000.0)).abs() < 1e-12);
    }
}
