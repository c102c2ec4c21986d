//! One column's layout, whatever its kind.
//!
//! An enum and not a trait object: a recorder matches once per column of a batch and then works on one concrete layout,
//! so that the search is inlined. The `slot_…` methods are for callers to whom that does not matter.
//!
//! Invariant: every method is total. A value of the wrong type (which a profile that was checked against the model's
//! signature rules out) is counted as missing or unseen, never dropped.

use super::{BinLayout, CategoryLayout, log_linear::floats};

/// Where the values of one column are counted.
#[derive(Clone, Debug)]
pub enum ColumnLayout {
    /// Numbers of an FP32 tensor or a narrower float.
    F32(BinLayout<f32>),
    /// All other numbers, as FP64: integers beyond 2^53 are rounded to the nearest.
    F64(BinLayout<f64>),
    /// Byte strings.
    Strings(CategoryLayout),
    /// Numbers without a reference.
    LogLinear,
}

impl ColumnLayout {
    /// How many counters the column has.
    #[must_use]
    pub fn slots(&self) -> usize {
        match self {
            Self::F32(bins) => bins.slots().count(),
            Self::F64(bins) => bins.slots().count(),
            Self::Strings(categories) => categories.slots().count(),
            Self::LogLinear => floats::COUNT,
        }
    }

    /// The layout, if it is on edges in single precision.
    #[must_use]
    pub fn as_f32(&self) -> Option<&BinLayout<f32>> {
        if let Self::F32(bins) = self { Some(bins) } else { None }
    }

    /// The layout, if it is on edges in double precision.
    #[must_use]
    pub fn as_f64(&self) -> Option<&BinLayout<f64>> {
        if let Self::F64(bins) = self { Some(bins) } else { None }
    }

    /// The counter of a number.
    #[inline]
    #[must_use]
    pub fn slot_f32(&self, value: f32) -> usize {
        match self {
            Self::F32(bins) => bins.slot(value),
            Self::LogLinear if value.abs() >= f32::MAX => floats::slot(f64::INFINITY.copysign(f64::from(value))),
            _ => self.slot_f64(f64::from(value)),
        }
    }

    /// The counter of a number; rounded to the precision of the tensor.
    #[inline]
    #[must_use]
    pub fn slot_f64(&self, value: f64) -> usize {
        match self {
            Self::F32(bins) => bins.slot(value as f32),
            Self::F64(bins) => bins.slot(value),
            Self::Strings(categories) => categories.slots().missing(),
            Self::LogLinear => floats::slot(value),
        }
    }

    /// The counter of a byte string.
    #[inline]
    #[must_use]
    pub fn slot_bytes(&self, value: &[u8]) -> usize {
        match self {
            Self::Strings(categories) => categories.slot(value),
            _ => self.slot_missing(),
        }
    }

    /// The counter of a value that is not there.
    #[must_use]
    pub fn slot_missing(&self) -> usize {
        match self {
            Self::F32(bins) => bins.slots().missing(),
            Self::F64(bins) => bins.slots().missing(),
            Self::Strings(categories) => categories.slots().missing(),
            Self::LogLinear => floats::MISSING,
        }
    }

    /// The slot of what is counted at a place, where the places of values are those of a [search](super::RowSearch).
    #[must_use]
    pub fn slot_of_place(&self, place: usize) -> usize {
        match self {
            Self::F32(bins) => bins.slot_of_interval(place),
            Self::F64(bins) => bins.slot_of_interval(place),
            Self::Strings(_) | Self::LogLinear => place,
        }
    }

    /// Which of the [`SUMS`](super::SUMS) the value of a slot is added to, if any.
    #[inline]
    #[must_use]
    pub fn sum_index(&self, slot: usize) -> Option<usize> {
        match self {
            Self::F32(bins) => bins.sum_index(slot),
            Self::F64(bins) => bins.sum_index(slot),
            Self::Strings(_) | Self::LogLinear => None,
        }
    }

    /// Which of the [`SUMS`](super::SUMS) a number is added to, if any.
    #[inline]
    #[must_use]
    pub fn sum_of(&self, value: f64) -> Option<usize> {
        match self {
            Self::F32(bins) => bins.sum_of(value as f32),
            Self::F64(bins) => bins.sum_of(value),
            Self::Strings(_) | Self::LogLinear => None,
        }
    }

    /// The value as an addend of a sum; 0 where there are no sums.
    #[must_use]
    pub fn quantize(&self, value: f64) -> i64 {
        match self {
            Self::F32(bins) => bins.fixed_point().quantize(value),
            Self::F64(bins) => bins.fixed_point().quantize(value),
            Self::Strings(_) | Self::LogLinear => 0,
        }
    }
}
