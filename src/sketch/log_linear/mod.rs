//! Bins that need no reference: each power of two is cut into equally wide parts.
//!
//! The bin is read from the bits of the value: no search, no logarithm, and the same bins on every machine, so that
//! counters merge by addition. The price is a fixed relative width instead of a fit to the data.
//!
//! Invariant: a larger value never has a smaller bin.

pub mod floats;
pub mod nanoseconds;
#[cfg(test)]
mod tests;
