//! Numbers of a column that has no reference: sign, power of two from 2^-32 to 2^32, eight bins per power.
//!
//! Smaller and larger magnitudes are counted in the first and last bin of their sign. The counters are in the order of
//! the values, `negative bins, zero, positive bins, missing, negative infinite, positive infinite`, so that they can be
//! frozen into a reference and compared with later counters as they are.
//!
//! Invariant: slots `0..FINITE` are in the order of the values they count; both zeros are one value.

const LOWEST_POWER: i64 = -32;
const POWERS: usize = 64;
const BITS_WITHIN: u32 = 3;
const BINS_PER_SIGN: usize = POWERS << BITS_WITHIN;
const BITS_DROPPED: u32 = f64::MANTISSA_DIGITS - 1 - BITS_WITHIN;
/// Bits of 2^-32 as an `f64` without the dropped ones: the first bin.
const FIRST_BITS: u64 = ((LOWEST_POWER + 1023) as u64) << BITS_WITHIN;

/// The slot of zero.
pub const ZERO: usize = BINS_PER_SIGN;
/// How many slots hold finite numbers; they come first.
pub const FINITE: usize = 2 * BINS_PER_SIGN + 1;
/// NaN, or a value that was not there.
pub const MISSING: usize = FINITE;
/// Negative infinity, or the lowest finite number, as on the edges of a reference.
pub const NEGATIVE_INFINITE: usize = FINITE + 1;
/// Positive infinity, or the highest finite number.
pub const POSITIVE_INFINITE: usize = FINITE + 2;
/// How many slots there are: 1,028.
pub const COUNT: usize = FINITE + 3;

/// The slot of a value.
#[inline]
#[must_use]
pub fn slot(value: f64) -> usize {
    if value.is_nan() {
        MISSING
    } else if value.abs() >= f64::MAX {
        if value > 0.0 { POSITIVE_INFINITE } else { NEGATIVE_INFINITE }
    } else if value.abs() < f64::from_bits(1) {
        ZERO
    } else {
        let magnitude = value.abs().to_bits() >> BITS_DROPPED;
        let bin = (magnitude.max(FIRST_BITS) - FIRST_BITS).min(BINS_PER_SIGN as u64 - 1) as usize;
        if value > 0.0 { ZERO + 1 + bin } else { ZERO - 1 - bin }
    }
}

/// The lowest and the highest finite number that a slot counts; none for slots past [`FINITE`].
#[must_use]
pub fn bounds(slot: usize) -> Option<(f64, f64)> {
    if slot >= FINITE {
        None
    } else if slot == ZERO {
        Some((0.0, 0.0))
    } else if slot > ZERO {
        Some(magnitudes(slot - ZERO - 1))
    } else {
        let (lowest, highest) = magnitudes(ZERO - 1 - slot);
        Some((-highest, -lowest))
    }
}

fn magnitudes(bin: usize) -> (f64, f64) {
    let start = |bin: usize| f64::from_bits((FIRST_BITS + bin as u64) << BITS_DROPPED);
    let lowest = if bin == 0 { f64::from_bits(1) } else { start(bin) };
    let highest = if bin + 1 == BINS_PER_SIGN { f64::MAX.next_down() } else { start(bin + 1).next_down() };
    (lowest, highest)
}
