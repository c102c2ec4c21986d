//! JSON text (RFC 8259) as a stream: a scanner that is told what to expect, and writers that append.
//!
//! Neither builds a tree. `serde` could drive typed values too, but not "the shape that came earlier decides how this
//! list is read" without a tree or a seed per level, and its numbers go through `f64` for every datatype.
//!
//! Invariant: what the scanner accepts is exactly what RFC 8259 accepts, up to [`MAX_DEPTH`](super::MAX_DEPTH) levels.

mod digits;
mod error;
mod lanes;
mod number;
#[cfg(test)]
mod properties;
mod run;
#[cfg(test)]
mod run_properties;
mod scan;
mod string;
#[cfg(test)]
mod tests;
pub(crate) mod write;

pub use error::JsonError;
pub(crate) use number::{read_float32, read_float64};
pub(crate) use scan::{ScanResult, Scanner};
