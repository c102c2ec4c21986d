//! Whether two answers say the same of a row.
//!
//! Invariant: the same numbers have the same label, NaN among them.

use super::plan::LabelKind;
use crate::tensor::TensorData;
use std::ops::Range;

/// Compares the values in `row` of both answers; none if the primary has no label there.
pub(super) fn agrees(
    kind: LabelKind,
    primary: &TensorData,
    shadow: &TensorData,
    mut row: Range<usize>,
) -> Option<bool> {
    if row.is_empty() {
        return None;
    }
    match kind {
        LabelKind::Largest => Some(place_of_largest(primary, row.clone()) == place_of_largest(shadow, row)),
        LabelKind::Value => Some(row.all(|position| is_same(primary, shadow, position))),
        LabelKind::Side => {
            let (given, tried) = (number(primary, row.start), number(shadow, row.start));
            // A NaN is on no side.
            is_probability(given).then(|| !tried.is_nan() && (given >= 0.5) == (tried >= 0.5))
        }
    }
}

/// Whether a number may be one.
pub(super) fn is_probability(value: f64) -> bool {
    (0.0..=1.0).contains(&value)
}

/// The first of the largest numbers; none of numbers that are all NaN.
fn place_of_largest(data: &TensorData, row: Range<usize>) -> Option<usize> {
    let mut largest: Option<(usize, f64)> = None;
    for (place, position) in row.enumerate() {
        let value = number(data, position);
        if !value.is_nan() && largest.is_none_or(|(_, largest)| value > largest) {
            largest = Some((place, value));
        }
    }
    largest.map(|(place, _)| place)
}

fn is_same(primary: &TensorData, shadow: &TensorData, position: usize) -> bool {
    match (primary, shadow) {
        (TensorData::Bytes(given), TensorData::Bytes(tried)) => given.get(position) == tried.get(position),
        _ => number(primary, position).to_bits() == number(shadow, position).to_bits(),
    }
}

/// The number at a position; NaN where there is none.
pub(super) fn number(data: &TensorData, position: usize) -> f64 {
    let mut number = [f64::NAN];
    data.read_numbers(position, &mut number);
    number[0]
}
