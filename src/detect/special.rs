//! Special functions that several tests need and no crate has in the precision that tails need.
//!
//! Invariant: finite for finite arguments in their domains.

use statrs::distribution::{ChiSquared, ContinuousCDF, Normal};
use statrs::function::gamma::ln_gamma;

/// What Stirling's formula leaves of ln x!: ln x! − (x + ½) ln x + x − ½ ln 2π, for positive x. Source: Loader (2000).
pub(super) fn stirling_error(x: f64) -> f64 {
    if x < 16.0 {
        return ln_gamma(x + 1.0) - (x + 0.5) * x.ln() + x - 0.5 * std::f64::consts::TAU.ln();
    }
    let inverse = 1.0 / (x * x);
    let series = 1.0 / 1260.0 - inverse * (1.0 / 1680.0 - inverse / 1188.0);
    (1.0 / 12.0 - inverse * (1.0 / 360.0 - inverse * series)) / x
}

/// x ln(x / m) + m − x for positive x and m, without the cancellation near x = m. Source: Loader (2000).
pub(super) fn deviance(x: f64, m: f64) -> f64 {
    let v = (x - m) / (x + m);
    if v.abs() >= 0.1 {
        return x * (x / m).ln() + m - x;
    }
    let (mut sum, mut power) = ((x - m) * v, 2.0 * x * v);
    for odd in (3..40).step_by(2) {
        power *= v * v;
        let next = sum + power / f64::from(odd);
        if (next - sum).abs() <= f64::EPSILON * next.abs() {
            return next;
        }
        sum = next;
    }
    sum
}

/// Probability that a chi-square variable with `degrees` degrees of freedom is at least `statistic`; 1 with none.
#[must_use]
pub fn chi_square_p_value(statistic: f64, degrees: u64) -> f64 {
    if degrees == 0 || statistic <= 0.0 {
        return 1.0;
    }
    ChiSquared::new(degrees as f64).map_or(1.0, |law| law.sf(statistic)).clamp(0.0, 1.0)
}

/// Probability that a standard normal variable is at least `z`.
pub(super) fn normal_sf(z: f64) -> f64 {
    Normal::standard().sf(z)
}

/// Density of a standard normal variable.
pub(super) fn normal_density(z: f64) -> f64 {
    (-z * z / 2.0).exp() / std::f64::consts::TAU.sqrt()
}
