//! How large a drift is at least.
//!
//! PSI of two samples is biased upwards by (B−1)(1/n + 1/N) (Yurdakul 2018) and, away from zero, normal with the variance
//! that the delta method gives: with `g = ∂PSI/∂q = ln(q/p) + 1 − p/q` and `h = ∂PSI/∂p = ln(p/q) + 1 − q/p`,
//! `Var = Var_q(g)/n + Var_p(h)/N`. Half a row is added to each group, so that empty ones have a logarithm.
//!
//! Invariant: the lower limit is at most the effect, and both are finite.

/// Deviations below the estimate that a normal variable is within in 95 % of cases.
const ONE_SIDED_95: f64 = 1.644_853_626_951_472_7;

/// PSI in excess of chance, and its lower limit.
pub(super) fn excess_psi(reference: &[f64], reference_rows: f64, live: &[f64]) -> (f64, f64) {
    let live_rows: f64 = live.iter().sum();
    let groups = live.len() as f64;
    if live_rows <= 0.0 || reference_rows <= 0.0 {
        return (0.0, 0.0);
    }
    let smoothed = |share: f64, rows: f64| (share * rows + 0.5) / (rows + groups / 2.0);
    let pairs: Vec<(f64, f64)> = reference
        .iter()
        .zip(live)
        .filter(|(share, count)| **share > 0.0 || **count > 0.0)
        .map(|(&share, &count)| (smoothed(share, reference_rows), smoothed(count / live_rows, live_rows)))
        .collect();
    let psi: f64 = pairs.iter().map(|(p, q)| (p - q) * (p / q).ln()).sum();
    let variance = |gradient: &dyn Fn(f64, f64) -> (f64, f64)| {
        let (mut mean, mut square) = (0.0, 0.0);
        for &(p, q) in &pairs {
            let (weight, slope) = gradient(p, q);
            mean += weight * slope;
            square += weight * slope * slope;
        }
        (square - mean * mean).max(0.0)
    };
    let of_live = variance(&|p, q| (q, (q / p).ln() + 1.0 - p / q)) / live_rows;
    let of_reference = variance(&|p, q| (p, (p / q).ln() + 1.0 - q / p)) / reference_rows;
    let bias = (pairs.len() as f64 - 1.0) * (1.0 / live_rows + 1.0 / reference_rows);
    let excess = psi - bias;
    (excess, excess - ONE_SIDED_95 * (of_live + of_reference).sqrt())
}
