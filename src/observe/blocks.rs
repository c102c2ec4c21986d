//! Tumbling windows: blocks of time, one after the other, aligned to the clock.
//!
//! The last complete minute, hour or day is what reports compare and what others can reproduce from a log, because it
//! begins where the clock says and not where the process was started.
//!
//! Invariant: the complete block holds exactly what was counted between its start and its end.

use super::cells::Cells;
use super::codec::{Malformed, Reader, Writer};
use std::time::Duration;

/// The block that is being counted and the one before it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Blocks {
    length: Duration,
    cells: usize,
    open: Option<Block>,
    complete: Option<Block>,
}

#[derive(Clone, Debug, PartialEq)]
struct Block {
    /// Which block since the start of time: its start divided by the length.
    index: u64,
    cells: Cells<u32>,
}

impl Blocks {
    pub(super) fn new(length: Duration, cells: usize) -> Self {
        Self { length: length.max(Duration::from_nanos(1)), cells, open: None, complete: None }
    }

    pub(super) fn length(&self) -> Duration {
        self.length
    }

    /// Counts what was gained at `at`. A time before the open block counts as in it.
    pub(super) fn add(&mut self, at: Duration, gained: &[u64]) {
        self.advance(at);
        let (index, cells) = (self.index(at), self.cells);
        self.open.get_or_insert_with(|| Block { index, cells: Cells::new(cells) }).cells.add_all(gained);
    }

    /// Closes the open block if `at` is past its end.
    pub(super) fn advance(&mut self, at: Duration) {
        let index = self.index(at);
        if self.open.as_ref().is_some_and(|open| open.index < index) {
            self.complete = self.open.take();
        }
    }

    /// Drops what claims to be of a time after `at`.
    pub(super) fn drop_future(&mut self, at: Duration) {
        let index = self.index(at);
        for block in [&mut self.open, &mut self.complete] {
            block.take_if(|block| block.index > index);
        }
    }

    /// The start of the last block that was complete at `at`, and what it counted.
    pub(super) fn last_complete(&self, at: Duration) -> (Duration, Vec<u64>) {
        let index = self.index(at).saturating_sub(1);
        let start = Duration::from_nanos(index.saturating_mul(self.nanoseconds()));
        let blocks = [&self.complete, &self.open].into_iter().flatten();
        // An open block is complete when nothing has been counted since it ended.
        let of_index = blocks.into_iter().find(|block| block.index == index && self.index(at) > index);
        (start, of_index.map_or_else(|| vec![0; self.cells], |block| block.cells.to_vec()))
    }

    pub(super) fn resident_bytes(&self) -> usize {
        let blocks = [&self.open, &self.complete].into_iter().flatten();
        size_of::<Self>() + blocks.map(|block| block.cells.resident_bytes() - size_of::<Cells<u32>>()).sum::<usize>()
    }

    pub(super) fn encode(&self, writer: &mut Writer) {
        for block in [&self.open, &self.complete] {
            writer.optional(block.as_ref(), |writer, block| {
                writer.number(block.index);
                block.cells.encode(writer);
            });
        }
    }

    /// Takes blocks of the same length and counters in place of its own.
    pub(super) fn restore(&mut self, reader: &mut Reader<'_>) -> Result<(), Malformed> {
        let cells = self.cells;
        let block = |reader: &mut Reader<'_>| {
            let index = reader.number()?;
            Ok(Block { index, cells: Cells::decode(reader, cells)? })
        };
        let (open, complete) = (reader.optional(block)?, reader.optional(block)?);
        (self.open, self.complete) = (open, complete);
        Ok(())
    }

    fn index(&self, at: Duration) -> u64 {
        u64::try_from(at.as_nanos() / u128::from(self.nanoseconds())).unwrap_or(u64::MAX)
    }

    fn nanoseconds(&self) -> u64 {
        u64::try_from(self.length.as_nanos()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn without_traffic_the_last_block_is_complete_and_empty() {
        let mut blocks = Blocks::new(Duration::from_secs(60), 2);
        assert_eq!(blocks.last_complete(Duration::from_secs(150)), (Duration::from_secs(60), vec![0, 0]));
        blocks.add(Duration::from_secs(150), &[3, 0]);
        assert_eq!(blocks.last_complete(Duration::from_secs(179)), (Duration::from_secs(60), vec![0, 0]));
        assert_eq!(blocks.last_complete(Duration::from_secs(180)), (Duration::from_secs(120), vec![3, 0]));
        assert_eq!(blocks.last_complete(Duration::from_secs(240)), (Duration::from_secs(180), vec![0, 0]));
    }

    proptest! {
        #[test]
        fn the_last_complete_block_equals_a_naive_sum(steps in prop::collection::vec((0_u64..40, 0_u64..100), 1..80)) {
            let mut blocks = Blocks::new(Duration::from_secs(60), 1);
            let (mut now, mut seen) = (0, Vec::new());
            for (wait, count) in steps {
                now += wait;
                blocks.add(Duration::from_secs(now), &[count]);
                seen.push((now / 60, count));
                let wanted = (now / 60).checked_sub(1);
                let sum: u64 = seen.iter().filter(|(index, _)| Some(*index) == wanted).map(|(_, count)| count).sum();
                prop_assert_eq!(blocks.last_complete(Duration::from_secs(now)).1, vec![sum]);
            }
            let mut writer = Writer::default();
            blocks.encode(&mut writer);
            let bytes = writer.finish();
            let mut restored = Blocks::new(Duration::from_secs(60), 1);
            restored.restore(&mut Reader::new(&bytes)).unwrap();
            prop_assert_eq!(restored, blocks);
        }
    }
}
