//! Counters of a slice of time, small where counts are small.
//!
//! A window keeps nine slices of every counter or more, and nearly all of them count a handful of rows: 64 bits each
//! would be 5 KB a feature of 64 bins, 16 bits are under 1.3. A count that outgrows its cell carries into a block of sixteen wider cells that
//! is made for it, so that one busy bin costs 80 bytes and not a second copy of the slice.
//!
//! Invariant: the value of a cell is exactly what was added to it, up to 2^48 for 16-bit cells and 2^64 for 32-bit ones.

use super::codec::{Malformed, Reader, Writer};
use std::ops::Range;

/// Cells that share a block of carries.
const BLOCK: usize = 16;

/// The integer that a cell is made of.
pub(super) trait Low: Copy + Default + Into<u64> {
    /// Bits of it.
    const BITS: u32;
    /// The low bits of a number.
    fn low_of(number: u64) -> Self;
}

impl Low for u16 {
    const BITS: u32 = 16;

    fn low_of(number: u64) -> Self {
        number as Self
    }
}

impl Low for u32 {
    const BITS: u32 = 32;

    fn low_of(number: u64) -> Self {
        number as Self
    }
}

/// A row of counters.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Cells<L> {
    low: Box<[L]>,
    carries: Vec<Carries>,
}

/// What sixteen neighbouring cells could not hold.
#[derive(Clone, Debug, PartialEq)]
struct Carries {
    block: usize,
    high: Box<[u32; BLOCK]>,
}

impl<L: Low> Cells<L> {
    /// So many counters at zero.
    pub(super) fn new(length: usize) -> Self {
        Self { low: vec![L::default(); length].into(), carries: Vec::new() }
    }

    /// Adds to a counter.
    pub(super) fn add(&mut self, index: usize, amount: u64) {
        let sum = self.low[index].into().saturating_add(amount);
        self.low[index] = L::low_of(sum);
        let carry = sum >> L::BITS;
        if carry > 0 {
            self.carry(index, carry);
        }
    }

    /// Adds a row of amounts.
    pub(super) fn add_all(&mut self, amounts: &[u64]) {
        for (index, &amount) in amounts.iter().enumerate().take(self.low.len()) {
            if amount > 0 {
                self.add(index, amount);
            }
        }
    }

    /// Adds every counter to a total.
    pub(super) fn add_to(&self, totals: &mut [u64]) {
        for (total, &low) in totals.iter_mut().zip(&self.low) {
            *total = total.saturating_add(low.into());
        }
        for carries in &self.carries {
            for (total, &high) in totals.iter_mut().skip(carries.block * BLOCK).zip(carries.high.iter()) {
                *total = total.saturating_add(u64::from(high) << L::BITS);
            }
        }
    }

    /// All counters.
    pub(super) fn to_vec(&self) -> Vec<u64> {
        let mut counts = vec![0; self.low.len()];
        self.add_to(&mut counts);
        counts
    }

    /// Some of the counters.
    pub(super) fn slice(&self, range: Range<usize>) -> Vec<u64> {
        let mut counts: Vec<u64> = self.low[range.clone()].iter().map(|&low| low.into()).collect();
        for carries in &self.carries {
            for (cell, &high) in (carries.block * BLOCK..).zip(carries.high.iter()).filter(|(_, high)| **high > 0) {
                if range.contains(&cell) {
                    let count = &mut counts[cell - range.start];
                    *count = count.saturating_add(u64::from(high) << L::BITS);
                }
            }
        }
        counts
    }

    /// Bytes that it holds, itself included.
    pub(super) fn resident_bytes(&self) -> usize {
        size_of::<Self>()
            + std::mem::size_of_val(&*self.low)
            + self.carries.capacity() * size_of::<Carries>()
            + self.carries.len() * size_of::<[u32; BLOCK]>()
    }

    /// Writes every counter.
    pub(super) fn encode(&self, writer: &mut Writer) {
        self.to_vec().into_iter().for_each(|count| writer.number(count));
    }

    /// Reads so many counters.
    pub(super) fn decode(reader: &mut Reader<'_>, length: usize) -> Result<Self, Malformed> {
        let mut cells = Self::new(length);
        for index in 0..length {
            let count = reader.number()?;
            cells.add(index, count);
        }
        Ok(cells)
    }

    fn carry(&mut self, index: usize, carry: u64) {
        let block = index / BLOCK;
        let place = match self.carries.binary_search_by_key(&block, |carries| carries.block) {
            Ok(place) => place,
            Err(place) => {
                self.carries.insert(place, Carries { block, high: Box::new([0; BLOCK]) });
                place
            }
        };
        let high = &mut self.carries[place].high[index % BLOCK];
        *high = high.saturating_add(u32::try_from(carry).unwrap_or(u32::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_busy_cell_costs_a_block_and_not_a_copy() {
        let mut cells = Cells::<u16>::new(1_000);
        let quiet = cells.resident_bytes();
        cells.add(500, 1 << 40);
        assert!(cells.resident_bytes() - quiet <= 512, "{quiet} to {}", cells.resident_bytes());
        assert_eq!(cells.to_vec()[500], 1 << 40);
        assert_eq!(cells.to_vec().iter().sum::<u64>(), 1 << 40);
    }

    proptest! {
        #[test]
        fn cells_hold_exactly_what_was_added(adds in prop::collection::vec((0_usize..50, 0_u64..200_000), 0..200)) {
            let (mut narrow, mut wide, mut naive) = (Cells::<u16>::new(50), Cells::<u32>::new(50), vec![0; 50]);
            for (index, amount) in adds {
                narrow.add(index, amount);
                wide.add(index, amount << 20);
                naive[index] += amount;
            }
            prop_assert_eq!(narrow.to_vec(), naive.clone());
            prop_assert_eq!(narrow.slice(7..40), naive[7..40].to_vec());
            prop_assert_eq!(wide.to_vec(), naive.iter().map(|count| count << 20).collect::<Vec<u64>>());
            let mut writer = Writer::default();
            narrow.encode(&mut writer);
            let bytes = writer.finish();
            prop_assert_eq!(Cells::decode(&mut Reader::new(&bytes), 50), Ok(narrow));
        }
    }
}
