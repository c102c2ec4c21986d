//! Counters of both sides of a comparison, as plain data.
//!
//! They live here and not in the rooms that make or read them, because those must not know each other: a profile (or
//! later a frozen self-reference) makes a [`Reference`], a window of shards makes a [`Live`], a detector reads both.
//!
//! Invariant: all arrays of one column are in the slot order of one layout.

use super::SUMS;
use std::ops::Range;

/// What a column's counters are compared with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reference {
    /// One counter per slot.
    pub counts: Vec<u64>,
    /// The coarse group of each slot, below `group_count`.
    pub groups: Vec<u8>,
    /// How many coarse groups there are; some may be empty on both sides.
    pub group_count: usize,
    /// The slots of finite numbers, lowest values first; none where values have no order.
    pub ordered: Option<Range<usize>>,
    /// The edges between those slots, in the reference's standard deviations from its mean; empty where that is zero.
    pub positions: Vec<f64>,
    /// The reference's own sums, if it kept them.
    pub sums: Option<[i64; SUMS]>,
    /// Rows that the counters add up to.
    pub rows: u64,
    /// How many different values the reference has, if that is known because each has a counter of its own.
    pub distinct: Option<u64>,
    /// Whether the values are categories: strings, or numbers that are codes.
    pub categorical: bool,
}

/// The counters of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Live<'a> {
    /// One counter per slot.
    pub counts: &'a [u64],
    /// Fixed-point sums of the values below the edges, in the first bin, in the last bin and above.
    pub sums: [i64; SUMS],
}
