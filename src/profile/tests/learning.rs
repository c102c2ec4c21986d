//! Profiles learned from log-linear counters.

use super::*;
use crate::sketch::log_linear::floats;

/// Counters as a recorder without a reference keeps them.
fn log_linear(values: &[f32]) -> Vec<u64> {
    let mut counts = vec![0; floats::COUNT];
    values.iter().for_each(|&value| counts[ColumnLayout::LogLinear.slot_f32(value)] += 1);
    counts
}

fn learned(datatype: DataType, counts: Vec<u64>) -> Column {
    let rows = counts.iter().sum();
    let column = LearnedColumn { spec: spec("a", datatype), counts, critical: true };
    let mut profile = learn(&[column], rows).unwrap();
    assert!(profile.frozen_from_traffic && profile.source == Source::Live && profile.rows == rows);
    assert_eq!(Profile::from_json(&profile.to_json().unwrap()).unwrap(), profile);
    profile.inputs.remove(0)
}

#[test]
fn nothing_learned_is_a_column_without_bins() {
    let column = learned(DataType::Fp32, vec![0; floats::COUNT]);
    assert_eq!((column.rows, column.counts.len(), column.mean, column.critical), (0, 0, None, true));
    let column = learned(DataType::Fp32, log_linear(&[f32::NAN, f32::INFINITY, f32::MAX, f32::MIN]));
    assert_eq!((column.missing, column.positive_infinite, column.negative_infinite), (1, 2, 1));
}

#[test]
fn a_column_of_zeros_is_an_atom() {
    let column = learned(DataType::Fp32, log_linear(&[0.0, -0.0, 0.0]));
    assert_eq!((column.counts.as_slice(), column.mean, column.std), (&[3][..], Some(0.0), Some(0.0)));
    assert_eq!((column.minimum, column.maximum, column.distinct_values()), (Some(0.0), Some(0.0), Some(1)));
    let groups = column.groups();
    let layout = column.layout(DataType::Fp32).unwrap();
    assert_ne!(groups.of_slot[layout.slot_f32(0.0)], groups.of_slot[layout.slot_f32(1.0)]);
}

#[test]
fn flags_and_strings_are_what_they_are() {
    let mut counts = vec![0; floats::COUNT];
    (counts[floats::slot(0.0)], counts[floats::slot(1.0)]) = (30, 10);
    let column = learned(DataType::Bool, counts);
    assert_eq!((column.kind, column.counts.as_slice()), (Kind::Boolean, &[30, 0, 10][..]));
    assert_eq!((column.mean, column.distinct), (Some(0.25), Some(2)));
    assert!(profile_of(column).check(&signature(DataType::Bool, 1)).is_ok());
    let column = learned(DataType::Bytes, vec![0, 0, 2, 0, 0, 7]);
    assert_eq!((column.kind, column.rows, column.missing, column.other), (Kind::String, 9, 2, 7));
    assert!(profile_of(column).check(&signature(DataType::Bytes, 1)).is_ok());
    let spec = spec("a", DataType::Fp32);
    let wrong = learn(&[LearnedColumn { spec, counts: vec![0; 6], critical: false }], 0).unwrap_err();
    assert_eq!(wrong.to_string(), "column \"a\" has 6 counters; expected 1028");
}

#[test]
fn estimates_are_close_and_bins_at_most_as_many_as_are_allowed() {
    let values: Vec<f32> = (0..20_000).map(|row| ((row as f32 * 0.618_034).fract() - 0.5) * 1e3).collect();
    let column = learned(DataType::Fp32, log_linear(&values));
    assert_eq!(column.counts.len(), LEARNED_BINS);
    assert!(column.mean.unwrap().abs() < 10.0);
    assert!((column.std.unwrap() / 288.7 - 1.0).abs() < 0.02, "{:?}", column.std);
    let ordinary = column.groups().count - 3;
    assert!((8..=20).contains(&ordinary), "{ordinary}");
}

#[test]
fn columns_with_more_rows_than_were_counted_are_taken_as_they_are() {
    let column =
        |rows| LearnedColumn { spec: spec("a", DataType::Fp32), counts: log_linear(&vec![1.5; rows]), critical: false };
    assert_eq!(learn(&[column(12)], 10).unwrap().rows, 12);
    assert_eq!(learn(&[column(12)], 20).unwrap().rows, 20);
}

/// Numbers of every size, and what is special.
fn any_singles() -> impl Strategy<Value = Vec<f32>> {
    let value = prop_oneof![
        4 => any::<f32>(),
        4 => -100.0_f32..100.0,
        2 => (-20_i16..20).prop_map(f32::from),
        1 => (any::<bool>(), -40_i32..40).prop_map(|(up, power)| {
            let value = 2.0_f32.powi(power);
            if up { value.next_up() } else { -value.next_down() }
        }),
        2 => prop::sample::select(vec![
            0.0, -0.0, f32::MIN_POSITIVE, f32::from_bits(1), -f32::from_bits(1), f32::MAX, f32::MIN, f32::INFINITY,
            f32::NEG_INFINITY, f32::NAN, f32::MAX.next_down(), f32::MIN.next_up(),
        ]),
    ];
    prop::collection::vec(value, 0..600)
}

proptest! {
    #[test]
    fn values_after_freezing_are_counted_as_they_were_before(values in any_singles()) {
        let counts = log_linear(&values);
        let column = learned(DataType::Fp32, counts.clone());
        prop_assert!(column.counts.len() <= LEARNED_BINS && column.counts.iter().all(|&count| count > 0));
        let layout = column.layout(DataType::Fp32).unwrap();
        let mut after = vec![0; layout.slots()];
        values.iter().for_each(|&value| after[layout.slot_f32(value)] += 1);
        prop_assert_eq!(&after, &column.reference().counts);
        // Each log-linear bin lies within one learned bin: all its values have the slot of its bounds.
        for &value in &values {
            let slot = ColumnLayout::LogLinear.slot_f32(value);
            if let Some((lowest, highest)) = floats::bounds(slot) {
                let inside = |bound: f64| layout.slot_f32((bound as f32).clamp(f32::MIN.next_up(), f32::MAX.next_down()));
                let (low, high) = (inside(lowest.max(f64::from(f32::MIN))), inside(highest.min(f64::from(f32::MAX))));
                let own = layout.slot_f32(value);
                prop_assert!(low <= own && own <= high, "{value}: {low} {own} {high}");
            }
        }
    }

    #[test]
    fn doubles_after_freezing_are_counted_as_they_were_before(values in prop::collection::vec(
        prop_oneof![any::<f64>(), -50.0..50.0, Just(0.0), Just(-0.0), Just(f64::MAX), Just(f64::MIN)], 0..300)
    ) {
        let mut counts = vec![0; floats::COUNT];
        values.iter().for_each(|&value| counts[floats::slot(value)] += 1);
        let column = learned(DataType::Fp64, counts);
        prop_assert_eq!(recorded(&column, DataType::Fp64, &values), column.reference().counts);
    }
}
