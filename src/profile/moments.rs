//! Mean and standard deviation that neither overflow nor underflow, of values that come in pieces.
//!
//! Within a piece two passes, between pieces the update of Chan, Golub and LeVeque ("Updating Formulae and a Pairwise
//! Algorithm for Computing Sample Variances", 1979): running sums of squares lose all digits when the mean is large
//! against the deviation. Values are scaled only when their squares could leave the range of `f64`.
//!
//! Invariant: pieces merge to what the whole would give, up to rounding, in any order.

/// Count, mean and squared deviations of values that were divided by a common scale.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

/// What to divide values of this range by.
pub(super) fn scale_of((minimum, maximum): (f64, f64)) -> f64 {
    let magnitude = minimum.abs().max(maximum.abs());
    let safe = (1e-130..1e130).contains(&magnitude);
    if safe || magnitude <= 0.0 { 1.0 } else { magnitude }
}

impl Moments {
    /// Moments of scaled values with their counts.
    pub(super) fn of(values: &[(f64, u64)]) -> Self {
        let count = values.iter().map(|(_, count)| *count as f64).sum::<f64>();
        if count <= 0.0 {
            return Self::default();
        }
        // Around one of the values: their sum alone would lose digits of values that are large against their spread.
        let middle = values[values.len() / 2].0;
        let mean = middle + values.iter().map(|(value, count)| (value - middle) * *count as f64).sum::<f64>() / count;
        let squares = values.iter().map(|(value, count)| (value - mean) * (value - mean) * *count as f64).sum();
        Self { count, mean, squares }
    }

    /// Moments of so many scaled values of this mean and population standard deviation.
    pub(super) fn summarized(count: u64, mean: f64, std: f64) -> Self {
        let count = count as f64;
        Self { count, mean, squares: std * std * count }
    }

    /// Adds the moments of other values.
    pub(super) fn merge(&mut self, other: Self) {
        let count = self.count + other.count;
        if count <= 0.0 {
            return;
        }
        let difference = other.mean - self.mean;
        let share = other.count / count;
        self.mean += difference * share;
        self.squares += other.squares + difference * difference * self.count * share;
        self.count = count;
    }

    /// Mean and population standard deviation of values that lie in `range` and were divided by `scale`.
    pub(super) fn finish(self, range: (f64, f64), scale: f64) -> (f64, f64) {
        // Rounding can leave a mean outside the values, and a spread where all are the same.
        let spread = range.0 < range.1 && self.count > 0.0;
        let std = if spread { (self.squares / self.count).sqrt() * scale } else { 0.0 };
        ((self.mean * scale).clamp(range.0, range.1), std)
    }
}
