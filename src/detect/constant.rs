//! Whether a column that used to vary no longer does.
//!
//! Of n independent rows from the reference all lie in the same slot with probability Σ pᵢⁿ, which is at most
//! (max pᵢ)ⁿ⁻¹ since the pᵢ add up to 1. The evidence is minus the logarithm of that bound: (n − 1) · −ln max pᵢ. A column
//! whose reference is constant has none, however many rows come.
//!
//! Rows of one batch are not independent; a batch that repeats one customer is constant as well, which is true of what
//! came, and no alarm follows from it.
//!
//! Invariant: evidence is finite and not negative.

/// Evidence from which a column is called constant: chance would do it once in 10^12 looks, that is once in some thousands
/// of months of 100 features looked at every second, windows that overlap taken for new ones.
pub const CONSTANT_EVIDENCE: f64 = 12.0 * std::f64::consts::LN_10;

/// How surely the live rows, all of which lie in one slot, are no rows of the reference: minus the natural logarithm of
/// a bound on the probability. None when they lie in several slots or there are none, and without a reference.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "counts of rows beyond 2^53 do not happen, and would lose nothing here")]
pub fn constant_evidence(reference: &[u64], live: &[u64]) -> Option<f64> {
    let mut used = live.iter().filter(|count| **count > 0);
    let (rows, None) = (*used.next()?, used.next()) else { return None };
    let total = reference.iter().fold(0.0, |sum, &count| sum + count as f64);
    let largest = reference.iter().max().map(|&count| count as f64).filter(|largest| *largest > 0.0)?;
    Some((rows - 1) as f64 * (total / largest).ln())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_and_what_varies_is_not_constant() {
        assert_eq!(constant_evidence(&[], &[]), None);
        assert_eq!(constant_evidence(&[0, 0], &[5, 0]), None);
        assert_eq!(constant_evidence(&[1, 1], &[0, 0]), None);
        assert_eq!(constant_evidence(&[1, 1], &[1, 1_000_000]), None);
    }

    #[test]
    fn a_reference_that_is_constant_itself_gives_no_evidence() {
        assert_eq!(constant_evidence(&[0, 7, 0], &[0, 1_000_000, 0]), Some(0.0));
        assert_eq!(constant_evidence(&[0, 7, 0], &[u64::MAX, 0, 0]), Some(0.0));
    }

    #[test]
    fn evidence_grows_with_every_row_by_the_logarithm_of_the_largest_share() {
        let evidence = constant_evidence(&[25, 50, 25], &[0, 0, 41]).unwrap();
        assert!((evidence - 40.0 * std::f64::consts::LN_2).abs() < 1e-12);
        assert!((27.6..27.7).contains(&CONSTANT_EVIDENCE) && evidence > CONSTANT_EVIDENCE);
    }

    proptest! {
        #[test]
        fn chance_is_never_rarer_than_the_evidence_says(counts in prop::collection::vec(0_u64..1_000, 1..8), rows in 1_u64..60) {
            let total: u64 = counts.iter().sum();
            if let Some(evidence) = constant_evidence(&counts, &[rows]) {
                let shares = counts.iter().map(|&count| count as f64 / total as f64);
                let chance: f64 = shares.map(|share| share.powi(rows as i32)).sum();
                prop_assert!(evidence >= 0.0 && chance <= (-evidence).exp() * (1.0 + 1e-9), "{} {}", chance, evidence);
            } else {
                prop_assert_eq!(total, 0);
            }
        }
    }
}
