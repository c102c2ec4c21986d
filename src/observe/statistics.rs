//! What a row of a wide tensor is reduced to.
//!
//! Invariant: norm and mean are of the finite values alone.

/// What a row of a wide tensor is reduced to, in the making.
#[derive(Clone, Copy, Debug, Default)]
pub struct RowStatistics {
    values: u64,
    finite: u64,
    zeros: u64,
    sum: f64,
    square_sum: f64,
}

impl RowStatistics {
    /// Takes in one value of the row.
    pub fn add(&mut self, value: f64) {
        self.values += 1;
        if value.is_finite() {
            self.finite += 1;
            self.zeros += u64::from(value.abs() < f64::MIN_POSITIVE);
            self.sum += value;
            self.square_sum += value * value;
        }
    }

    /// Norm and mean of the finite values, share of zeros and share of non-finite values, in the order of
    /// [`STATISTICS`](super::STATISTICS).
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a row has fewer than 2^53 values")]
    pub fn finish(self) -> [f64; 4] {
        let share = |count: u64| if self.values == 0 { 0.0 } else { count as f64 / self.values as f64 };
        let mean = if self.finite == 0 { 0.0 } else { self.sum / self.finite as f64 };
        [self.square_sum.sqrt(), mean, share(self.zeros), share(self.values - self.finite)]
    }
}
