//! What comparing came to: plain numbers that can be written down, so that a decision can be repeated from them alone.
//!
//! Invariant: `broken` is at most `failed`, `disagreed` at most `labelled`, `labelled` and `non_finite` at most `compared`.

use serde::{Deserialize, Serialize};

/// What copies of requests came to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShadowCounts {
    /// Copies that were answered and compared.
    pub compared: u64,
    /// Copies that were not: the call failed, or its answer has another shape than the primary's.
    pub failed: u64,
    /// Of these, calls that panicked and answers of another shape.
    pub broken: u64,
    /// Copies that were never made, because too many waited.
    pub dropped: u64,
    /// Compared copies with a NaN or an infinity where the primary has a number.
    pub non_finite: u64,
    /// Compared copies of which one row has a label.
    pub labelled: u64,
    /// Of these, the ones whose label is another.
    pub disagreed: u64,
    /// All rows that have a label.
    pub rows: u64,
    /// Of these, the ones whose label is another.
    pub rows_disagreed: u64,
    /// Pairs of finite numbers.
    pub numbers: u64,
    /// Their largest absolute difference.
    pub largest_difference: f64,
    /// The sum of their absolute differences.
    pub difference_sum: f64,
    /// How far the distributions are apart, by column of the outputs.
    pub columns: Vec<ShadowColumn>,
}

/// One column of the outputs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShadowColumn {
    /// The column's name.
    pub name: String,
    /// Largest difference of the cumulative distributions of its finite numbers, 0 to 1; none before there are any.
    pub score_distance: Option<f64>,
}

impl ShadowCounts {
    /// Calls that came to an end.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.compared.saturating_add(self.failed)
    }

    /// Share of rows whose label is the same, 0 to 1; none without labels.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a share needs no more than 53 bits")]
    pub fn label_agreement(&self) -> Option<f64> {
        (self.rows > 0).then(|| 1.0 - self.rows_disagreed as f64 / self.rows as f64)
    }

    /// Mean absolute difference of the pairs of numbers; 0 if there are none.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a mean needs no more than 53 bits")]
    pub fn mean_difference(&self) -> f64 {
        if self.numbers == 0 { 0.0 } else { self.difference_sum / self.numbers as f64 }
    }

    /// The largest distance of a column's distributions, if there is one.
    #[must_use]
    pub fn score_distance(&self) -> Option<f64> {
        self.columns.iter().filter_map(|column| column.score_distance).reduce(f64::max)
    }
}
