//! What alarms have counted since the version was first loaded, over restarts of the process.
//!
//! A recorder counts from zero when the process starts; what was counted before is carried over from the snapshot and
//! added, so that alarms see counters that only grow.
//!
//! Invariant: what is handed out is what was carried plus what the recorder has counted.

use super::alarm::{Counted, read_numbers, write_numbers};
use crate::observe::RecordedColumn;
use crate::observe::codec::{Malformed, Reader, Writer};

/// Cumulative alarm cells of all columns.
#[derive(Clone, Debug, Default)]
pub(super) struct EvidenceWatch {
    carried: Cells,
    now: Cells,
    has_begun: bool,
}

#[derive(Clone, Debug, Default)]
struct Cells {
    cells: Vec<u64>,
    keyed: Vec<u64>,
}

impl EvidenceWatch {
    /// So many cells in which nothing was counted.
    pub(super) fn of_nothing(cells: usize) -> Self {
        Self { now: Cells { cells: vec![0; cells], keyed: Vec::new() }, ..Self::default() }
    }

    /// Whether nothing was ever taken in or carried over.
    pub(super) fn is_new(&self) -> bool {
        !self.has_begun
    }

    /// Takes in what a recorder has counted.
    pub(super) fn take_in(&mut self, cells: &[u64], keyed: &[u64]) {
        self.has_begun = true;
        add(&self.carried.cells, cells, &mut self.now.cells);
        add(&self.carried.keyed, keyed, &mut self.now.keyed);
    }

    /// What was counted of a column.
    pub(super) fn of(&self, column: &RecordedColumn) -> Counted<'_> {
        let cells = self.now.cells.get(column.cells.clone()).unwrap_or_default();
        Counted { cells, keyed: self.now.keyed.get(column.keyed()).unwrap_or_default() }
    }

    /// Bytes that it holds beside itself.
    pub(super) fn resident_bytes(&self) -> usize {
        let of = |cells: &Cells| (cells.cells.capacity() + cells.keyed.capacity()) * size_of::<u64>();
        of(&self.carried) + of(&self.now)
    }

    pub(super) fn encode(&self, writer: &mut Writer) {
        write_numbers(writer, &self.now.cells);
        write_numbers(writer, &self.now.keyed);
    }

    /// Goes on where another of the same version on the same profile left off.
    pub(super) fn restore(&mut self, reader: &mut Reader<'_>) -> Result<(), Malformed> {
        let carried = Cells { cells: read_numbers(reader)?, keyed: read_numbers(reader)? };
        (self.carried, self.now, self.has_begun) = (carried.clone(), carried, true);
        Ok(())
    }
}

/// Sums counter by counter; what one side lacks is zero there.
fn add(carried: &[u64], counted: &[u64], into: &mut Vec<u64>) {
    let length = carried.len().max(counted.len());
    let at = |counters: &[u64], index: usize| counters.get(index).copied().unwrap_or(0);
    into.clear();
    into.extend((0..length).map(|index| at(carried, index).wrapping_add(at(counted, index))));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_go_on_after_a_restart() {
        let mut before = EvidenceWatch::default();
        before.take_in(&[1, 2], &[]);
        let mut writer = Writer::default();
        before.encode(&mut writer);
        let mut after = EvidenceWatch::default();
        after.restore(&mut Reader::new(&writer.finish())).unwrap();
        assert_eq!(after.now.cells, [1, 2]);
        after.take_in(&[10, 0], &[5]);
        assert_eq!((after.now.cells.as_slice(), after.now.keyed.as_slice()), (&[11, 2][..], &[5][..]));
    }
}
