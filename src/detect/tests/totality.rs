//! Whatever the counters, every answer is a number within its bounds, and bounds hold.

use super::{column, deviation, exact_wasserstein, normal, record};
use crate::detect::{
    Binned, Distances, Interval, Intervals, Rule, chi_square_fit, chi_square_two_sample, judge_column, ks_p_value,
    kstwo_sf, psi_interval, total_variation_interval, two_proportions, wasserstein,
};
use crate::sketch::{Live, SUMS};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng, rngs::StdRng};

fn counters(length: usize) -> impl Strategy<Value = Vec<u64>> {
    prop::collection::vec(prop_oneof![3 => Just(0_u64), 3 => 0_u64..1000, 1 => any::<u64>()], length)
}

fn is_whole(interval: Interval) -> bool {
    interval.low.is_finite() && interval.high.is_finite() && 0.0 <= interval.low && interval.low <= interval.high
}

#[test]
fn no_rows_have_no_test() {
    assert_eq!(chi_square_fit(&[0, 0], &[1, 2]), None);
    assert_eq!(chi_square_two_sample(&[1, 2], &[]), None);
    assert_eq!(two_proportions((0, 0), (1, 2)), None);
    assert_eq!(ks_p_value(0.5, 0, 10), None);
    assert_eq!(psi_interval(&[0, 0], &[1, 1]), None);
    assert_eq!(total_variation_interval(&[1, 1], &[0, 0]), None);
}

#[test]
fn tests_on_easy_counters() {
    let fit = chi_square_fit(&[10, 10], &[5, 15]).unwrap();
    assert!((fit.statistic - 5.0).abs() < 1e-12 && (fit.p_value - 0.025_347_318_677).abs() < 1e-9);
    let unseen = chi_square_fit(&[10, 0], &[9, 1]).unwrap();
    assert!(unseen.statistic > 1e300 && unseen.p_value < 1e-300);
    let constant = chi_square_fit(&[10], &[20]).unwrap();
    assert!(constant.statistic < 1e-12 && constant.p_value > 0.999_999);
    assert!((chi_square_two_sample(&[10, 10], &[5, 15]).unwrap().statistic - 8.0 / 3.0).abs() < 1e-12);
    let same = two_proportions((5, 5), (9, 9)).unwrap();
    assert!(same.statistic < 1e-12 && same.p_value > 0.999_999);
}

#[test]
fn the_tail_of_kolmogorov_at_its_ends() {
    for n in [1, 2, 140, 141, 3000, 1_000_000, u64::MAX] {
        assert!((kstwo_sf(0.0, n) - 1.0).abs() < 1e-15 && (kstwo_sf(f64::NAN, n) - 1.0).abs() < 1e-15);
        assert!(kstwo_sf(1.0, n) < 1e-300 && kstwo_sf(f64::INFINITY, n) < 1e-300);
        assert!((kstwo_sf(f64::NEG_INFINITY, n) - 1.0).abs() < 1e-15);
    }
    assert!((kstwo_sf(0.5, 0) - 1.0).abs() < 1e-15);
    // One value: the statistic is max(u, 1 − u).
    assert!((kstwo_sf(0.8, 1) - 0.4).abs() < 1e-12);
    assert!((ks_p_value(0.7, 1, 1).unwrap() - 0.6).abs() < 1e-12);
}

#[test]
fn an_interval_of_much_the_same_is_narrow_and_one_of_little_is_wide() {
    let (few, many) =
        (psi_interval(&[100; 10], &[3; 10]).unwrap(), psi_interval(&[1_000_000; 10], &[30_000; 10]).unwrap());
    assert!(few.low < 1e-12 && few.high > 0.05 && many.high < 1e-3, "{few:?} {many:?}");
    let moved = psi_interval(&[1000; 2], &[1000, 3000]).unwrap();
    assert!(moved.low < 0.274_7 && moved.high > 0.274_7 && moved.high - moved.low < 0.12, "{moved:?}");
}

#[test]
fn a_bound_is_not_given_where_there_is_none() {
    let (reference, live) =
        (Binned { counts: &[0, 5, 5, 0], sums: None }, Binned { counts: &[0, 5, 4, 1], sums: None });
    let found = wasserstein(&[-1.0, 0.0, 1.0], reference, live).unwrap();
    assert!(found.error.is_none());
    // So far out that it may have been clamped.
    let live = Binned { sums: Some([0, 0, 0, i64::MAX]), ..live };
    assert!(wasserstein(&[-1.0, 0.0, 1.0], reference, live).unwrap().error.is_none());
    assert!(wasserstein(&[-1.0, 0.0, 1.0], reference, reference).unwrap().error.is_some());
}

proptest! {
    #[test]
    fn the_error_bound_covers_the_truth_also_of_heavy_tails(
        seed in 0_u64..10_000,
        rows in 2_usize..400,
        bins in 4_usize..80,
        tail in prop_oneof![Just(0.0), 0.3_f64..3.0],
        shift in -3.0_f64..3.0,
    ) {
        let mut random = StdRng::seed_from_u64(seed);
        // Symmetric with a tail of index 1 / tail: from normal to beyond Cauchy.
        let mut draw = |count: usize, shift: f64| -> Vec<f64> {
            let values = normal(random.random_range(0..1 << 40), count);
            values.iter().map(|x| x * (1.0 - random.random::<f64>()).powf(-tail) + shift).collect()
        };
        let (reference, live) = (draw(300, 0.0), draw(rows, shift));
        let column = column(&reference, bins);
        let (counts, sums) = record(&column, &live);
        let found = Distances::between(&column.reference(), &Live { counts: &counts, sums }).unwrap();
        let spread = deviation(&reference);
        let truth = exact_wasserstein(&reference, &live) / spread;
        let distance = found.wasserstein.unwrap();
        match found.wasserstein_error {
            Some(error) => prop_assert!((distance - truth).abs() <= error * (1.0 + 1e-9), "{distance} ± {error}, {truth}"),
            // Values so far out that they may be clamped.
            None => prop_assert!(live.iter().map(|x| x.abs()).sum::<f64>() / spread > 1e6),
        }
    }

    #[test]
    fn intervals_are_within_the_bounds_of_their_distances(
        values in prop::collection::vec(prop_oneof![-1e3_f64..1e3, any::<f64>()], 0..60),
        counts in counters(300),
        sums in any::<[i64; SUMS]>(),
    ) {
        let reference = column(&values, 16).reference();
        let live = Live { counts: &counts[..reference.counts.len()], sums };
        if let Some(found) = Intervals::between(&reference, &live) {
            let Intervals { psi, ks, js, wasserstein, tv, hellinger, l_infinity, chi_square } = found;
            for interval in [psi, js, tv, hellinger, l_infinity, chi_square].into_iter().chain(ks).chain(wasserstein) {
                prop_assert!(is_whole(interval), "{found:?}");
            }
            for interval in [js, tv, hellinger, l_infinity].into_iter().chain(ks) {
                prop_assert!(interval.high <= 1.0, "{found:?}");
            }
        }
        for rule in [Rule::default(), Rule::Classic { min_samples: 0 }, Rule::Evidently { min_samples: 0 }] {
            if let Some(outcome) = judge_column(Some(&reference), &live, &rule).outcome {
                prop_assert!(outcome.statistic.is_finite() && outcome.threshold.is_finite());
                prop_assert!(outcome.p_value.is_none_or(|p| (0.0..=1.0).contains(&p)));
            }
        }
    }

    #[test]
    fn p_values_are_probabilities(p in counters(9), q in counters(9), d in any::<f64>(), n in any::<u64>(), m in 1_u64..5000) {
        let proportions = two_proportions((p[0], n), (q[0], m));
        for result in [chi_square_fit(&p, &q), chi_square_two_sample(&p, &q), proportions].into_iter().flatten() {
            prop_assert!(result.statistic.is_finite() && result.statistic >= 0.0, "{result:?}");
            prop_assert!((0.0..=1.0).contains(&result.p_value), "{result:?}");
        }
        for (d, n) in [(d, n), (d.abs() % 1.0, n), (d.abs() % 1.0, m)] {
            prop_assert!((0.0..=1.0).contains(&kstwo_sf(d, n)));
        }
        prop_assert!(ks_p_value(d.abs() % 1.0, n.max(1), m).is_some_and(|p| (0.0..=1.0).contains(&p)));
    }

    #[test]
    fn a_larger_difference_is_never_more_likely(n in 1_u64..4000, d in 0.0_f64..1.0, step in 0.0_f64..0.3) {
        // Where methods meet they differ by 1e-6 at most.
        prop_assert!(kstwo_sf(d + step, n) <= kstwo_sf(d, n) + 4e-6);
    }

    #[test]
    fn pearsons_test_does_not_know_which_side_is_which(p in counters(6), q in counters(6)) {
        let (forth, back) = (chi_square_two_sample(&p, &q), chi_square_two_sample(&q, &p));
        prop_assert_eq!(forth.is_some(), back.is_some());
        if let (Some(forth), Some(back)) = (forth, back) {
            prop_assert!((forth.statistic - back.statistic).abs() <= 1e-9 * (1.0 + forth.statistic));
        }
    }
}
