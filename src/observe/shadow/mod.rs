//! Answers that nobody got beside those that were given: how far a version is from the one that serves.
//!
//! A copy of a request is answered by the version that is tried, and its outputs are compared with the primary's, output
//! by output of the same name:
//!
//! - **Labels**: whether both say the same of a row. See [`ShadowPlan`] for what a label is.
//! - **Numbers**: the largest and the mean absolute difference, of pairs that are both finite.
//! - **Scores**: of each column the distance of the distributions, Kolmogorov-Smirnov on the bins that the stable version
//!   is recorded on. Rows are pairs, so that this is small where two versions merely differ in noise and large where one
//!   is shifted, which no mean of differences tells apart.
//!
//! All rows of a copy enter what is shown. Rows of one request are not independent, so that one row of each copy, chosen
//! by its draw, enters the counts that a verdict is made of.
//!
//! Invariant: what is counted follows from the pairs alone, in any order; every number in it is finite.

mod counts;
mod label;
mod plan;
mod tally;
#[cfg(test)]
mod tests;

pub use counts::{ShadowColumn, ShadowCounts};
pub use plan::ShadowPlan;
pub use tally::ShadowTally;
