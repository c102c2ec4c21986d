//! Mean and standard deviation that neither overflow nor underflow.
//!
//! Two passes over values that are scaled only when their squares could leave the range of `f64`: one pass with running
//! sums of squares loses all digits when the mean is large against the deviation.
//!
//! Invariant: all four results are finite, and the mean lies between minimum and maximum.

/// What a column's finite values are like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Moments {
    pub(super) minimum: f64,
    pub(super) maximum: f64,
    pub(super) mean: f64,
    /// Population standard deviation.
    pub(super) std: f64,
}

/// Moments of finite values, lowest first; none of no values.
pub(super) fn moments(sorted: &[f64]) -> Option<Moments> {
    let (&minimum, &maximum) = (sorted.first()?, sorted.last()?);
    let magnitude = minimum.abs().max(maximum.abs());
    let safe = (1e-130..1e130).contains(&magnitude);
    let scale = if safe || magnitude <= 0.0 { 1.0 } else { magnitude };
    let count = sorted.len() as f64;
    let mean_of = |value: &dyn Fn(f64) -> f64| sorted.iter().map(|&x| value(x / scale)).sum::<f64>() / count;
    let mean = mean_of(&|x| x).clamp(minimum / scale, maximum / scale);
    let variance = if minimum < maximum { mean_of(&|x| (x - mean) * (x - mean)) } else { 0.0 };
    let std = variance.sqrt() * scale;
    Some(Moments { minimum, maximum, mean: (mean * scale).clamp(minimum, maximum), std })
}
