//! Counters with one writer.
//!
//! A worker increments its own counters, a collector reads them: with one writer an increment is a relaxed load and
//! store, one plain instruction each, where a locked add would cost some twenty cycles and collapse under sharing.
//!
//! Invariant: [`Counters::add`] is called by one thread only; readers see each counter's value of some recent moment.

use std::sync::atomic::{AtomicU64, Ordering};

/// A row of counters that one thread writes and any may read.
#[derive(Debug)]
pub(super) struct Counters(Box<[AtomicU64]>);

impl Counters {
    pub(super) fn new(length: usize) -> Self {
        Self((0..length).map(|_| AtomicU64::new(0)).collect())
    }

    /// Adds to a counter; sums of signed numbers wrap, so that a difference of two readings is right.
    #[inline]
    pub(super) fn add(&self, index: usize, amount: u64) {
        let counter = &self.0[index];
        counter.store(counter.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
    }

    pub(super) fn add_to(&self, totals: &mut [u64]) {
        for (total, counter) in totals.iter_mut().zip(&self.0) {
            *total = total.wrapping_add(counter.load(Ordering::Relaxed));
        }
    }

    pub(super) fn get(&self, index: usize) -> u64 {
        self.0[index].load(Ordering::Relaxed)
    }
}
