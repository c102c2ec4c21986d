//! What the first reading of the data leaves of a column, in memory that does not grow with the rows.
//!
//! Values are kept as distinct values with counts for as long as these fit a budget: then everything is exact after one
//! reading. A column with more of them is reduced to a summary from which edges can be chosen, and counted on those in a
//! second reading: counts are exact either way, only the places of the edges are not exact quantiles.
//!
//! KLL sketches were considered and left: their error is a probability and their bins depend on random bits, so that
//! the same data would give another profile each time.
//!
//! Invariant: a survey takes at most the bytes it is allowed, up to 25 billion rows.

mod numbers;
mod ranks;
mod strings;

pub(super) use numbers::NumberSurvey;
pub(super) use strings::StringSurvey;

/// What all columns of a builder may take together, bytes: 64 MiB.
pub const MEMORY_BYTES: usize = 64 << 20;

/// What a column may take however many there are, bytes: 640 KiB, which is what a summary of ranks takes. Up to 102
/// columns stay within [`MEMORY_BYTES`].
pub const COLUMN_BYTES: usize = 640 << 10;

/// What a column may take however few there are, bytes: 16 MiB, enough for 700,000 distinct numbers.
const MOST_COLUMN_BYTES: usize = 16 << 20;

/// The distinct values of a column are told up to this many.
pub const DISTINCT_LIMIT: usize = 1024;

/// What each of so many columns may take, bytes.
pub(super) fn column_budget(columns: usize) -> usize {
    (MEMORY_BYTES / columns.max(1)).clamp(COLUMN_BYTES, MOST_COLUMN_BYTES)
}

/// The number of distinct values, where it is known and small enough to matter.
fn small(distinct: usize) -> Option<u64> {
    (distinct <= DISTINCT_LIMIT).then_some(distinct as u64)
}
