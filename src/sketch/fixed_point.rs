//! Sums of values that merge bit-identically.
//!
//! The Wasserstein distance needs the mean of what lies in the outermost bins and beyond the edges, where a bin says
//! too little about where its values are. A sum of floats depends on the order of addition, so that two replicas or a
//! restart could disagree; a sum of integers does not. Values are therefore counted in units of 2^-20 standard
//! deviations from the reference's mean, and clamped to 2^20 standard deviations.
//!
//! Invariant: sums wrap, so the difference of two cumulative sums is right whenever the window's own sum fits in
//! 63 bits: at least 2^23 values even if each of them is clamped.

/// How many sums a column keeps: below the edges, in the first bin, in the last bin, above the edges.
pub const SUMS: usize = 4;

/// Integer units per standard deviation: 2^20.
const UNITS: f64 = 1_048_576.0;

/// Farthest that a value counts, in standard deviations: 2^20.
const FARTHEST: f64 = 1_048_576.0;

/// Turns values into integers that can be added in any order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FixedPoint {
    mean: f64,
    deviation: f64,
    /// Integer units per unit of the value.
    scale: f64,
}

impl FixedPoint {
    /// Units around a reference's `mean`, in fractions of its standard deviation; where that is zero or not a number,
    /// in fractions of 1.
    #[must_use]
    pub fn new(mean: f64, deviation: f64) -> Self {
        let usable = deviation.is_finite() && deviation > 0.0;
        let deviation = if usable { deviation } else { 1.0 };
        Self { mean: if mean.is_finite() { mean } else { 0.0 }, deviation, scale: UNITS / deviation }
    }

    /// Standard deviations from the mean.
    #[must_use]
    pub fn standardize(&self, value: f64) -> f64 {
        (value - self.mean) / self.deviation
    }

    /// The value as an integer: 2^-20 standard deviations from the mean, clamped; 0 for NaN.
    #[inline]
    #[must_use]
    pub fn quantize(&self, value: f64) -> i64 {
        /// From 2^52 to 2^53 numbers are whole, so that adding this rounds, and the bits then count from its own.
        const WHOLE: f64 = 6_755_399_441_055_744.0;
        let units = (value - self.mean) * self.scale;
        if units.is_nan() {
            return 0;
        }
        let units = units.clamp(-FARTHEST * UNITS, FARTHEST * UNITS);
        (units + WHOLE).to_bits().cast_signed() - WHOLE.to_bits().cast_signed()
    }

    /// The value that an integer stands for.
    #[must_use]
    pub fn dequantize(&self, quantized: i64) -> f64 {
        self.mean + Self::deviations(quantized) * self.deviation
    }

    /// A quantized value, or a sum of such values, in standard deviations from the mean.
    #[must_use]
    pub fn deviations(quantized: i64) -> f64 {
        quantized as f64 / UNITS
    }
}
