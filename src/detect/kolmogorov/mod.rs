//! The law of Kolmogorov's statistic for samples of finite size, and p-values of the two-sample test.
//!
//! SciPy's `ks_2samp` takes its asymptotic p-value from the law of one sample of `n·m / (n + m)` values and not from the
//! limit of 1933, which is off by a third of the p-value at a hundred rows. No crate has that law. The choice of methods
//! is that of Simard & L'Ecuyer, "Computing the two-sided Kolmogorov-Smirnov distribution" (2011), as SciPy has it:
//!
//! | where | method | error |
//! |---|---|---|
//! | d ≥ 1/2, or n·d² ≥ 2.2 (4 up to n = 140) | twice the one-sided law, [`smirnov`] | relative e^(−6·n·d²) |
//! | n ≤ 140, or n·d^1.5 ≤ 1.4 and n ≤ 3,000 | Durbin's matrix, [`durbin`] | rounding |
//! | the rest | the expansion of Pelz and Good, [`pelz_good`] | 0.07 / n² |
//!
//! Left out is Pomeranz's recursion: where SciPy uses it Durbin's matrix, walked by vector and not by power, is exact too
//! and no slower. A tail of less than 1e-12 below is 1: nobody rejects because samples are too alike.
//!
//! Invariant: every answer is within 0 and 1.

mod durbin;
mod pelz_good;
mod smirnov;

/// Largest n up to which the exact methods are used everywhere.
const SMALL: u64 = 140;
/// Largest n for Durbin's matrix: beyond it the expansion is off by less than 1e-8.
const LARGEST_FOR_MATRIX: u64 = 3000;
/// The Kolmogorov limit is below 1e-12 under this √n·d.
const SURELY_ONE: f64 = 0.2;

/// Probability that Kolmogorov's statistic of `n` values is at least `d`: SciPy's `scipy.stats.kstwo.sf(d, n)`, to
/// 1e-9 absolute or 1e-6 relative. 1 without values, and for a `d` that is not a number.
#[must_use]
pub fn kstwo_sf(d: f64, n: u64) -> f64 {
    let rows = n as f64;
    if n == 0 || d.is_nan() || rows * d <= 0.5 {
        return 1.0;
    }
    if d >= 1.0 {
        return 0.0;
    }
    let scaled = rows * d * d;
    let far = if n <= SMALL { 4.0 } else { 2.2 };
    let probability = if d >= 0.5 || scaled >= far {
        2.0 * smirnov::one_sided_sf(d, n)
    } else if n > SMALL && scaled.sqrt() < SURELY_ONE {
        1.0
    } else if n <= SMALL || n <= LARGEST_FOR_MATRIX && rows * d.powf(1.5) <= 1.4 {
        1.0 - durbin::cdf(d, n)
    } else {
        1.0 - pelz_good::cdf(d, n)
    };
    probability.clamp(0.0, 1.0)
}

/// The p-value of a two-sample Kolmogorov-Smirnov statistic, as `scipy.stats.ks_2samp(…, method="asymp")` has it. None
/// if either side is empty.
#[must_use]
pub fn ks_p_value(d: f64, reference: u64, live: u64) -> Option<f64> {
    (reference > 0 && live > 0).then(|| {
        let (n, m) = (reference as f64, live as f64);
        // Half to even, as NumPy rounds; one row against one row would be none.
        let effective = (n.max(m) / (1.0 + n.max(m) / n.min(m))).round_ties_even();
        kstwo_sf(d, (effective as u64).max(1))
    })
}
