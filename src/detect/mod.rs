//! From reference and live counters to a verdict with evidence.
//!
//! Everything here is arithmetic on counters that someone else read: no clock, no channel, no state, so that a verdict
//! can be repeated from stored counters and compared with other implementations. The functions on plain slices
//! ([`psi`], [`jensen_shannon`], [`hellinger`], [`total_variation`], [`l_infinity`], [`kolmogorov_smirnov`],
//! [`wasserstein`], [`chi_square_fit`], [`chi_square_two_sample`]) take any counters; [`Distances::between`] applies them
//! to a column, [`Intervals::between`] says how sure they are, and [`judge_column`] makes a verdict of them by a [`Rule`].
//! [`two_arm`] compares a canary with concurrent stable.
//!
//! Invariant: no function answers NaN or infinity, and none panics on counters of any size or sum: what cannot be
//! computed is `None`, and too little data is a verdict of its own.

pub mod alarm;
mod chi_square;
mod constant;
mod distances;
mod evidently;
mod intervals;
mod kolmogorov;
mod latency;
mod rule;
mod share;
mod special;
#[cfg(test)]
mod tests;
pub mod two_arm;
mod verdict;
mod wasserstein;

pub use chi_square::{TestResult, chi_square_fit, chi_square_two_sample, two_proportions};
pub use constant::{CONSTANT_EVIDENCE, constant_evidence};
pub use distances::{
    Distances, expected_psi, group_counts, hellinger, jensen_shannon, kolmogorov_smirnov, l_infinity, psi,
    total_variation,
};
pub use intervals::{Interval, Intervals, chi_square_effect, psi_interval, total_variation_interval};
pub use kolmogorov::{ks_p_value, kstwo_sf};
pub use latency::{LatencyJudgement, LatencyRule, LatencyVerdict, judge_latency};
pub use rule::{Outcome, Rule, Test};
pub use share::share_interval;
pub use special::chi_square_p_value;
pub use verdict::{ColumnVerdict, FeatureVerdict, Verdict, judge_column, judge_version, judge_version_by_share};
pub use wasserstein::{Binned, Transport, wasserstein};
