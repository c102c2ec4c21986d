//! Which counter of a column is which.
//!
//! One fixed order for numbers and categories, so that a merged array of counters can be read without its layout's
//! kind: `below, bin 0 … bin B-1, above, missing, negative infinite, positive infinite[, unseen]`. `below` comes first
//! because then the slot of a finite number is exactly how many edges are at or below it.
//!
//! Invariant: slots `0..=B+1` are in the order of the values they count.

use std::ops::Range;

/// The order of a column's counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slots {
    bins: usize,
    categorical: bool,
}

impl Slots {
    /// Counters for `bins` intervals or categories; categorical columns also count what is not among them.
    #[must_use]
    pub const fn new(bins: usize, categorical: bool) -> Self {
        Self { bins, categorical }
    }

    /// How many counters the column has.
    #[must_use]
    pub const fn count(self) -> usize {
        self.bins + 5 + self.categorical as usize
    }

    /// How many intervals or categories there are.
    #[must_use]
    pub const fn bins(self) -> usize {
        self.bins
    }

    /// Finite numbers below the first edge.
    #[must_use]
    pub const fn below(self) -> usize {
        0
    }

    /// The interval or category `index`, from 0.
    #[must_use]
    pub const fn bin(self, index: usize) -> usize {
        1 + index
    }

    /// Finite numbers at or above the last edge.
    #[must_use]
    pub const fn above(self) -> usize {
        self.bins + 1
    }

    /// NaN, or a value that was not there.
    #[must_use]
    pub const fn missing(self) -> usize {
        self.bins + 2
    }

    /// Negative infinity, or the lowest finite number, to which overflow saturates.
    #[must_use]
    pub const fn negative_infinite(self) -> usize {
        self.bins + 3
    }

    /// Positive infinity, or the highest finite number, to which overflow saturates.
    #[must_use]
    pub const fn positive_infinite(self) -> usize {
        self.bins + 4
    }

    /// Values that are none of the categories; categorical columns only.
    #[must_use]
    pub const fn unseen(self) -> Option<usize> {
        if self.categorical { Some(self.bins + 5) } else { None }
    }

    /// All slots of finite numbers, lowest values first: below, the bins, above.
    #[must_use]
    pub const fn finite(self) -> Range<usize> {
        0..self.bins + 2
    }
}
