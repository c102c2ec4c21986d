//! A sliding window over counters that only grow.
//!
//! The window is made of slices: each holds what was counted while it was the newest. When one is older than the window
//! it is added to the base, and what the window covers is the newest reading minus the base. So sliding costs one
//! addition per counter and slice, and the window never sees a reset.
//!
//! The resolution is one slice, a twentieth of the window but no less than a second: a 5 m window covers between 5:00
//! and 5:15. Slices hold fine bins, not coarse groups: 72 counters of 4 bytes × 21 slices are 6 KB per column, and the
//! Kolmogorov-Smirnov and Wasserstein distances are then as fine over the window as since the start.
//!
//! Nothing counted, nothing kept: a slice is made by the first count that falls into it, so that the windows of a version
//! without traffic are two readings, and rolling them is one comparison.
//!
//! Invariant: base + slices = the reading at the last roll, counter by counter.

use std::collections::VecDeque;
use std::time::Duration;

/// Slices per window.
const SLICES: u32 = 20;
/// The thinnest slice: the judge looks once a second.
const THINNEST_SLICE: Duration = Duration::from_secs(1);

/// A trailing window over a row of counters. Sums are carried as wrapping integers.
#[derive(Debug)]
pub struct Window {
    length: Duration,
    slice_width: Duration,
    /// The newest reading.
    newest: Reading,
    /// The reading at the start of the window.
    base: Reading,
    slices: VecDeque<Slice>,
}

#[derive(Clone, Debug, Default)]
struct Reading {
    counts: Vec<u64>,
    sums: Vec<u64>,
}

#[derive(Debug)]
struct Slice {
    /// Which slice since the start of time: its start divided by the slice width.
    index: u128,
    counts: Vec<u32>,
    sums: Vec<u64>,
}

impl Window {
    /// An empty window over counters and wrapping sums that stand at these readings now.
    #[must_use]
    pub fn new(length: Duration, counts: Vec<u64>, sums: Vec<u64>) -> Self {
        let reading = Reading { counts, sums };
        let slice_width = (length / SLICES).max(THINNEST_SLICE);
        Self { length, slice_width, newest: reading.clone(), base: reading, slices: VecDeque::new() }
    }

    /// The window's length, as it was asked for.
    #[must_use]
    pub fn length(&self) -> Duration {
        self.length
    }

    /// Takes in a reading made at `now`, monotonic time since any fixed start. Readings come in order of time.
    pub fn roll(&mut self, now: Duration, counts: &[u64], sums: &[u64]) {
        let width = self.slice_width.as_nanos().max(1);
        let index = now.as_nanos() / width;
        if self.newest.counts != counts || self.newest.sums != sums {
            self.add_to_slice(index, counts, sums);
        }
        let covered = self.length.as_nanos().div_ceil(width);
        while self.slices.front().is_some_and(|slice| slice.index + covered < index) {
            self.expire_oldest();
        }
    }

    /// What each counter gained within the window.
    #[must_use]
    pub fn counts(&self) -> Vec<u64> {
        difference(&self.newest.counts, &self.base.counts)
    }

    /// What each wrapping sum gained within the window.
    #[must_use]
    pub fn sums(&self) -> Vec<u64> {
        difference(&self.newest.sums, &self.base.sums)
    }

    fn add_to_slice(&mut self, index: u128, counts: &[u64], sums: &[u64]) {
        if self.slices.back().is_none_or(|slice| slice.index != index) {
            let slice = Slice { index, counts: vec![0; counts.len()], sums: vec![0; sums.len()] };
            self.slices.push_back(slice);
        }
        if let Some(slice) = self.slices.back_mut() {
            for ((cell, newest), &count) in slice.counts.iter_mut().zip(&mut self.newest.counts).zip(counts) {
                // A slice of 2^32 rows would take hours at any rate a process can serve.
                *cell = cell.saturating_add(u32::try_from(count.wrapping_sub(*newest)).unwrap_or(u32::MAX));
                *newest = count;
            }
            for ((cell, newest), &sum) in slice.sums.iter_mut().zip(&mut self.newest.sums).zip(sums) {
                *cell = cell.wrapping_add(sum.wrapping_sub(*newest));
                *newest = sum;
            }
        }
    }

    fn expire_oldest(&mut self) {
        let Some(slice) = self.slices.pop_front() else { return };
        for (base, &count) in self.base.counts.iter_mut().zip(&slice.counts) {
            *base = base.wrapping_add(u64::from(count));
        }
        for (base, &sum) in self.base.sums.iter_mut().zip(&slice.sums) {
            *base = base.wrapping_add(sum);
        }
    }
}

fn difference(newest: &[u64], base: &[u64]) -> Vec<u64> {
    newest.iter().zip(base).map(|(newest, base)| newest.wrapping_sub(*base)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_in_which_nothing_is_counted_keeps_no_slices() {
        let mut window = Window::new(Duration::from_secs(60), vec![7; 1000], vec![1; 4]);
        (0..500).for_each(|second| window.roll(Duration::from_secs(second), &[7; 1000], &[1; 4]));
        assert!(window.slices.is_empty());
        window.roll(Duration::from_secs(500), &[8; 1000], &[1; 4]);
        assert_eq!((window.slices.len(), window.counts()), (1, vec![1; 1000]));
        (501..600).for_each(|second| window.roll(Duration::from_secs(second), &[8; 1000], &[1; 4]));
        assert_eq!((window.slices.len(), window.counts()), (0, vec![0; 1000]));
    }
}
