//! Durbin's matrix for the exact law of Kolmogorov's statistic.
//!
//! Source: Marsaglia, Tsang & Wang, "Evaluating Kolmogorov's Distribution" (2003). They square the matrix; here one row
//! is carried through all `n` steps, which needs no second matrix, and for the small matrices of this program no more
//! time. All entries are positive, so nothing cancels. Each step is divided by e, because n! / nⁿ is e⁻ⁿ times something
//! tame: then nothing overflows either.
//!
//! Invariant: none of its own; the caller sees to it that n·d is above 1/2 and d below 1.

use crate::detect::special::stirling_error;

/// Probability that the statistic of `n` values is at most `d`.
pub(super) fn cdf(d: f64, n: u64) -> f64 {
    let reach = n as f64 * d;
    let middle = reach.ceil();
    let matrix = Matrix::new(middle - reach, 2 * middle as usize - 1);
    let start = middle as usize - 1;
    let mut row = vec![0.0; matrix.size];
    row[start] = 1.0;
    let mut next = row.clone();
    for _ in 0..n {
        matrix.step(&row, &mut next);
        std::mem::swap(&mut row, &mut next);
    }
    row[start] * (std::f64::consts::TAU * n as f64).sqrt() * stirling_error(n as f64).exp()
}

/// The matrix, of which inner entries are reciprocal factorials of the distance from the upper side diagonal.
struct Matrix {
    size: usize,
    /// 1 / i!, divided by e.
    reciprocals: Vec<f64>,
    /// The first column, divided by e, and from its end the last row.
    border: Vec<f64>,
}

impl Matrix {
    fn new(h: f64, size: usize) -> Self {
        let (mut reciprocals, mut border) = (vec![(-1.0_f64).exp()], Vec::with_capacity(size));
        let (mut reciprocal, mut power) = ((-1.0_f64).exp(), 1.0);
        for i in 1..=size {
            reciprocal /= i as f64;
            power *= h;
            reciprocals.push(reciprocal);
            border.push((1.0 - power) * reciprocal);
        }
        let corner = (2.0 * h - 1.0).max(0.0).powi(i32::try_from(size).unwrap_or(i32::MAX));
        border[size - 1] = (1.0 - 2.0 * power + corner) * reciprocal;
        Self { size, reciprocals, border }
    }

    /// `next` = `row` times the matrix.
    fn step(&self, row: &[f64], next: &mut [f64]) {
        let last = self.size - 1;
        next[0] = row.iter().zip(&self.border).map(|(value, entry)| value * entry).sum();
        for column in 1..self.size {
            let inner = row[column - 1..last].iter().zip(&self.reciprocals).map(|(value, entry)| value * entry);
            next[column] = inner.sum::<f64>() + row[last] * self.border[last - column];
        }
    }
}
