//! Slices of time in a row: what a sliding window is made of.
//!
//! A slice holds what was counted while it was the newest; one that is older than the window is dropped, and the window
//! is the sum of the others. Adding so few slices up once a look costs less memory than carrying a running sum, and has
//! nothing that could disagree with them.
//!
//! Nothing counted, nothing kept: a slice is made by the first count that falls into it, so that a version without
//! traffic has none.
//!
//! Invariant: slices are in the order of time, and none is older than the window at the last [`Ring::forget`].

use super::cells::{Cells, Low};
use super::codec::{Malformed, Reader, Writer};
use std::collections::VecDeque;
use std::time::Duration;

/// The thinnest slice: windows are rolled once a second.
const THINNEST_SLICE: Duration = Duration::from_secs(1);

/// Trailing slices of a row of counters, and of wrapping sums beside them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ring<L> {
    length: Duration,
    width: Duration,
    cells: usize,
    sums: usize,
    slices: VecDeque<Slice<L>>,
}

#[derive(Clone, Debug, PartialEq)]
struct Slice<L> {
    /// Which slice since the start of time: its start divided by the width.
    index: u64,
    cells: Cells<L>,
    sums: Box<[u64]>,
}

impl<L: Low> Ring<L> {
    /// No slices yet, of a window of this length in so many parts, none thinner than a second.
    pub(super) fn new(length: Duration, parts: u32, cells: usize, sums: usize) -> Self {
        let width = (length / parts.max(1)).max(THINNEST_SLICE);
        Self { length, width, cells, sums, slices: VecDeque::new() }
    }

    /// The window's length, as it was asked for.
    pub(super) fn length(&self) -> Duration {
        self.length
    }

    /// The width of a slice: the window covers its length and at most this much more.
    pub(super) fn resolution(&self) -> Duration {
        self.width
    }

    /// Counts what was gained at `at`. A time before the newest slice counts as in it.
    pub(super) fn add(&mut self, at: Duration, gained: &[u64], sums: &[u64]) {
        let index = self.index(at);
        if self.slices.back().is_none_or(|slice| slice.index < index) {
            let sums = vec![0; self.sums].into();
            self.slices.push_back(Slice { index, cells: Cells::new(self.cells), sums });
        }
        if let Some(slice) = self.slices.back_mut() {
            slice.cells.add_all(gained);
            for (sum, &gained) in slice.sums.iter_mut().zip(sums) {
                *sum = sum.wrapping_add(gained);
            }
        }
    }

    /// Drops what is older than the window at `at`.
    pub(super) fn forget(&mut self, at: Duration) {
        let (index, covered) = (self.index(at), self.covered());
        while self.slices.front().is_some_and(|slice| slice.index.saturating_add(covered) < index) {
            self.slices.pop_front();
        }
    }

    /// Drops what claims to be of a time after `at`: slices that were written by a clock that was ahead.
    pub(super) fn drop_future(&mut self, at: Duration) {
        let index = self.index(at);
        self.slices.retain(|slice| slice.index <= index);
    }

    /// What each counter gained within the window.
    pub(super) fn counts(&self) -> Vec<u64> {
        let mut counts = vec![0; self.cells];
        self.slices.iter().for_each(|slice| slice.cells.add_to(&mut counts));
        counts
    }

    /// What each wrapping sum gained within the window.
    pub(super) fn sums(&self) -> Vec<u64> {
        let mut sums = vec![0_u64; self.sums];
        for slice in &self.slices {
            for (sum, &gained) in sums.iter_mut().zip(&slice.sums) {
                *sum = sum.wrapping_add(gained);
            }
        }
        sums
    }

    /// How many slices are kept.
    #[cfg(test)]
    pub(super) fn slices(&self) -> usize {
        self.slices.len()
    }

    /// Bytes that the slices hold.
    pub(super) fn resident_bytes(&self) -> usize {
        let of_slice = |slice: &Slice<L>| {
            size_of::<u64>() + slice.cells.resident_bytes() + size_of::<Box<[u64]>>() + size_of_val(&*slice.sums)
        };
        self.slices.iter().map(of_slice).sum()
    }

    /// Writes the slices.
    pub(super) fn encode(&self, writer: &mut Writer) {
        writer.number(self.slices.len() as u64);
        for slice in &self.slices {
            writer.number(slice.index);
            slice.cells.encode(writer);
            slice.sums.iter().for_each(|&sum| writer.signed(sum.cast_signed()));
        }
    }

    /// Takes slices from a ring of the same length, parts and counters, in place of its own.
    pub(super) fn restore(&mut self, reader: &mut Reader<'_>) -> Result<(), Malformed> {
        let count = reader.number()?;
        if count > self.covered() + 1 {
            return Err(Malformed);
        }
        let mut slices: VecDeque<Slice<L>> = VecDeque::new();
        for _ in 0..count {
            let index = reader.number()?;
            if slices.back().is_some_and(|before| before.index >= index) {
                return Err(Malformed);
            }
            let cells = Cells::decode(reader, self.cells)?;
            let sums = (0..self.sums).map(|_| reader.signed().map(i64::cast_unsigned)).collect::<Result<_, _>>()?;
            slices.push_back(Slice { index, cells, sums });
        }
        self.slices = slices;
        Ok(())
    }

    fn index(&self, at: Duration) -> u64 {
        u64::try_from(at.as_nanos() / self.width.as_nanos()).unwrap_or(u64::MAX)
    }

    /// Slices that a window has besides the newest.
    fn covered(&self) -> u64 {
        u64::try_from(self.length.as_nanos().div_ceil(self.width.as_nanos())).unwrap_or(u64::MAX)
    }
}
