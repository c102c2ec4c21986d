//! Log-linear bins: where values fall, and how far a bin is from its values.

use super::{floats, nanoseconds};
use proptest::prelude::*;

#[test]
fn durations_beyond_the_range_are_counted_in_the_ends() {
    assert_eq!(nanoseconds::COUNT, 480);
    assert_eq!([0, 1, 127, 128].map(nanoseconds::index), [0; 4]);
    assert_eq!([1 << 37, u64::MAX].map(nanoseconds::index), [479; 2]);
    assert_eq!((nanoseconds::lower(0), nanoseconds::upper(479)), (0, u64::MAX));
}

#[test]
fn bins_of_durations_touch_without_gaps() {
    for index in 1..nanoseconds::COUNT {
        assert_eq!(nanoseconds::upper(index - 1) + 1, nanoseconds::lower(index));
        assert_eq!(nanoseconds::index(nanoseconds::lower(index)), index);
    }
}

#[test]
fn an_empty_histogram_answers_zero_and_a_full_one_within_a_bin() {
    assert_eq!(nanoseconds::merged_histogram(&[]).len(), 0);
    let mut counts = vec![0_u64; nanoseconds::COUNT];
    for microsecond in 1..=1000_u64 {
        counts[nanoseconds::index(microsecond * 1000)] += 1;
    }
    let histogram = nanoseconds::merged_histogram(&counts);
    assert_eq!(histogram.len(), 1000);
    for (quantile, expected) in [(0.5, 500_000.0), (0.9, 900_000.0), (0.99, 990_000.0)] {
        let answer = histogram.value_at_quantile(quantile) as f64;
        assert!((answer / expected - 1.0).abs() < 0.04, "{quantile}: {answer}");
    }
}

#[test]
fn numbers_that_are_not_finite_have_slots_of_their_own() {
    assert_eq!(floats::slot(f64::NAN), floats::MISSING);
    assert_eq!(floats::slot(f64::NEG_INFINITY), floats::NEGATIVE_INFINITE);
    assert_eq!(floats::slot(f64::INFINITY), floats::POSITIVE_INFINITE);
    assert_eq!([0.0, -0.0].map(floats::slot), [floats::ZERO; 2]);
    assert_eq!([f64::MAX, f64::MIN].map(floats::slot), [floats::POSITIVE_INFINITE, floats::NEGATIVE_INFINITE]);
    assert_eq!(floats::COUNT, 1028);
    assert_eq!(floats::bounds(floats::MISSING), None);
}

#[test]
fn magnitudes_beyond_the_range_are_counted_in_the_ends_of_their_sign() {
    assert_eq!([f64::MAX.next_down(), 2.0_f64.powi(32)].map(floats::slot), [floats::FINITE - 1; 2]);
    assert_eq!([f64::MIN.next_up(), -(2.0_f64.powi(32))].map(floats::slot), [0; 2]);
    assert_eq!([f64::from_bits(1), 2.0_f64.powi(-33)].map(floats::slot), [floats::ZERO + 1; 2]);
}

proptest! {
    #[test]
    fn a_duration_lies_within_the_bounds_of_its_bin(power in 0_u32..64, bits in any::<u64>()) {
        let duration = bits >> power;
        let index = nanoseconds::index(duration);
        prop_assert!(index < nanoseconds::COUNT);
        prop_assert!((nanoseconds::lower(index)..=nanoseconds::upper(index)).contains(&duration));
    }

    #[test]
    fn a_longer_duration_never_has_a_lower_bin(a in any::<u64>(), b in any::<u64>(), power in 0_u32..64) {
        let (a, b) = (a >> power, b >> power);
        prop_assert!(nanoseconds::index(a.min(b)) <= nanoseconds::index(a.max(b)));
    }

    #[test]
    fn a_number_lies_within_the_bounds_of_its_slot(value in any::<f64>()) {
        if value.abs() < f64::MAX {
            let (lowest, highest) = floats::bounds(floats::slot(value)).unwrap();
            prop_assert!(lowest <= value && value <= highest);
        }
    }

    #[test]
    fn a_larger_number_never_has_a_lower_slot(a in -1e12_f64..1e12, b in -1.0_f64..1.0) {
        prop_assert!(floats::slot(a.min(b)) <= floats::slot(a.max(b)));
    }
}
