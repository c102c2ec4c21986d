//! Tensor values between JSON lists and typed buffers, the part that both protocols share.
//!
//! The datatype is decided once per list, not once per value: behind a `dyn` call the loop over a list's values is
//! compiled for its element type.
//!
//! Invariant: a buffer never grows by more values than the text holds.

mod read;
mod write;

pub(super) use read::{Values, read_tensor, typed_values};
pub(super) use write::{write_row, write_values};

/// How many values a part of a shape has. Saturates, which only a shape without values or one that was refused before
/// can make it do.
pub(super) fn value_count(dimensions: &[usize]) -> usize {
    dimensions.iter().fold(1, |count: usize, &size| count.saturating_mul(size))
}
