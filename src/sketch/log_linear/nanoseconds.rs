//! Durations in whole nanoseconds: 16 bins per power of two, from 2^7 ns (128 ns) to 2^37 ns (137 s).
//!
//! A bin is at most a sixteenth of its value wide, so that a quantile read at the middle of a bin is within 3.2 % of
//! the true one. What is shorter or longer is counted in the first or the last bin: both are beyond what a request
//! takes, and two counters more would be two cases more wherever bins are read.
//!
//! Invariant: `lower(index(ns)) <= ns <= upper(index(ns))` for every `ns`.

use hdrhistogram::Histogram;

const FIRST_POWER: u32 = 7;
const LAST_POWER: u32 = 37;
const BITS_WITHIN: u32 = 4;
const WITHIN: usize = 1 << BITS_WITHIN;

/// How many bins there are: 480.
pub const COUNT: usize = (LAST_POWER - FIRST_POWER) as usize * WITHIN;

/// The bin of a duration.
#[inline]
#[must_use]
pub const fn index(nanoseconds: u64) -> usize {
    let clamped = if nanoseconds < 1 << FIRST_POWER {
        1 << FIRST_POWER
    } else if nanoseconds >= 1 << LAST_POWER {
        (1 << LAST_POWER) - 1
    } else {
        nanoseconds
    };
    let power = clamped.ilog2();
    let within = (clamped >> (power - BITS_WITHIN)) as usize - WITHIN;
    (power - FIRST_POWER) as usize * WITHIN + within
}

/// The shortest duration that is counted in a bin, in nanoseconds; 0 for the first.
#[must_use]
pub const fn lower(index: usize) -> u64 {
    if index == 0 { 0 } else { start(index) }
}

/// The longest duration that is counted in a bin, in nanoseconds; `u64::MAX` for the last.
#[must_use]
pub const fn upper(index: usize) -> u64 {
    if index + 1 >= COUNT { u64::MAX } else { start(index + 1) - 1 }
}

/// The middle of a bin in nanoseconds, without the shorter and longer durations counted in the ends.
#[must_use]
pub const fn middle(index: usize) -> u64 {
    let last = if index < COUNT { index } else { COUNT - 1 };
    start(last).midpoint(start(last + 1))
}

/// A histogram that answers quantiles from merged counters, one per bin; counters past [`COUNT`] are not read.
///
/// Every bin stands at its middle, and the histogram keeps two significant digits, which is finer than the bins.
///
/// # Panics
/// Never: the bounds and digits are constants that the histogram allows.
#[must_use]
pub fn merged_histogram(counts: &[u64]) -> Histogram<u64> {
    let mut histogram = Histogram::new_with_bounds(1 << FIRST_POWER, 1 << LAST_POWER, 2)
        .expect("the highest value is more than twice the lowest and two digits are allowed");
    for (index, &count) in counts.iter().take(COUNT).enumerate().filter(|&(_, &count)| count > 0) {
        histogram.saturating_record_n(middle(index), count);
    }
    histogram
}

const fn start(index: usize) -> u64 {
    let power = FIRST_POWER + (index / WITHIN) as u32;
    ((WITHIN + index % WITHIN) as u64) << (power - BITS_WITHIN)
}
