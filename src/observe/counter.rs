//! Counters with one writer.
//!
//! A worker increments its own counters, a collector reads them: with one writer an increment is a relaxed load and
//! store, one plain instruction each, where a locked add would cost some twenty cycles and collapse under sharing.
//! Processors fetch cache lines in pairs, so that what lies within 128 bytes of another thread's counters would slow both
//! down; unused counters at either end keep every row of counters to itself, wherever the allocator puts it.
//!
//! Invariant: counters are written by one thread only; readers see each counter's value of some recent moment.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// Unused counters before the first and behind the last: 128 bytes.
const MARGIN: usize = 16;

/// A row of counters that one thread writes and any may read.
#[derive(Debug)]
pub(super) struct Counters(Box<[AtomicU64]>);

impl Counters {
    pub(super) fn new(length: usize) -> Self {
        Self((0..length + 2 * MARGIN).map(|_| AtomicU64::new(0)).collect())
    }

    /// Adds to a counter; sums of signed numbers wrap, so that a difference of two readings is right.
    #[inline]
    pub(super) fn add(&self, index: usize, amount: u64) {
        add_to_one(&self.0[MARGIN + index], amount);
    }

    /// Adds to a counter that holds the bits of a double; zero is zero in both.
    #[inline]
    pub(super) fn add_number(&self, index: usize, amount: f64) {
        let counter = &self.0[MARGIN + index];
        let sum = f64::from_bits(counter.load(Ordering::Relaxed)) + amount;
        counter.store(sum.to_bits(), Ordering::Relaxed);
    }

    /// A counter that holds the bits of a double.
    pub(super) fn number(&self, index: usize) -> f64 {
        f64::from_bits(self.get(index))
    }

    /// Some of the counters, for whoever increments many of them.
    #[inline]
    pub(super) fn slice(&self, range: Range<usize>) -> &[AtomicU64] {
        &self.0[MARGIN + range.start..MARGIN + range.end]
    }

    pub(super) fn add_to(&self, totals: &mut [u64]) {
        for (total, counter) in totals.iter_mut().zip(&self.0[MARGIN..]) {
            *total = total.wrapping_add(counter.load(Ordering::Relaxed));
        }
    }

    pub(super) fn add_range_to(&self, range: Range<usize>, totals: &mut [u64]) {
        for (total, counter) in totals.iter_mut().zip(self.slice(range)) {
            *total = total.wrapping_add(counter.load(Ordering::Relaxed));
        }
    }

    pub(super) fn get(&self, index: usize) -> u64 {
        self.0[MARGIN + index].load(Ordering::Relaxed)
    }
}

/// Adds to a counter of a [slice](Counters::slice).
#[inline(always)]
pub(super) fn add_to_one(counter: &AtomicU64, amount: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
}
