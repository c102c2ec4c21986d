//! How rows of numbers are counted: in tiles of sixteen columns and blocks of thirty-two rows.
//!
//! What a tile needs to know then stays in the first-level cache for the block. Sums are added in a second pass over the
//! block: few values belong to one, and asking each in the middle of the search would cost more than all the sums.
//!
//! Invariant: every value of a row is counted in one slot, and that of an evidence row in one alarm cell too.

use super::columns::{ColumnPlan, NO_CELL, TensorPlan};
use super::counter::add_to_one;
use super::marks::{BLOCK, BlockEvidence, EvidenceCells, Marks};
use super::segments::{RowSegments, SlotCells};
use super::shard::Shard;
use crate::sketch::{LANES, Precision, RowSearch, VisitRow};
use std::sync::atomic::AtomicU64;

/// A tile of one block.
#[derive(Clone, Copy)]
struct Tile<'a> {
    plan: &'a TensorPlan,
    /// Which tile of a row.
    index: usize,
    columns: &'a [ColumnPlan],
    /// A bit for each lane that the search takes.
    searched: u16,
    evidence: &'a BlockEvidence,
    /// Segments, and where the counters start of each row's.
    segments: Option<(&'a RowSegments<'a>, &'a [u32])>,
}

/// Counts the rows of a tile as they are found; `FULL` if the search takes all its lanes.
struct Counting<'a, const ROWS: usize, const FULL: bool> {
    tile: Tile<'a>,
    /// The counters of the tensor.
    counters: &'a [AtomicU64],
    cells: EvidenceCells<'a>,
    row: usize,
    /// What may belong to a sum, row by row.
    tails: [[u8; LANES]; ROWS],
}

impl<const ROWS: usize, const FULL: bool> Counting<'_, ROWS, FULL> {
    /// Whether the search has found the counter of this lane.
    #[inline(always)]
    fn is_found(&self, lane: usize) -> bool {
        FULL || is_set(self.tile.searched, lane)
    }

    #[inline(always)]
    fn count_evidence(&self, places: &[u32]) {
        let Tile { plan, columns, evidence, .. } = self.tile;
        let Some(evidence) = evidence.of_row(self.row) else { return };
        for (lane, &place) in places.iter().enumerate() {
            let cell = plan.cell_of_slot[place as usize];
            if self.is_found(lane) && cell != NO_CELL {
                self.cells.cells.add(cell as usize, 1);
                self.cells.count_keyed(&columns[lane], cell as usize, evidence);
            }
        }
    }
}

impl<const ROWS: usize, const FULL: bool> VisitRow for Counting<'_, ROWS, FULL> {
    #[inline(always)]
    fn visit(&mut self, places: &[u32], tails: [u8; LANES]) {
        for (lane, &place) in places.iter().enumerate() {
            if self.is_found(lane) {
                add_to_one(&self.counters[place as usize], 1);
            }
        }
        self.tails[self.row % ROWS] = tails;
        if self.tile.evidence.has(self.row) {
            self.count_evidence(places);
        }
        self.row += 1;
    }
}

/// Counts the rows of a tile once more, by segment.
struct CountingBySegment<'a, 'b, const ROWS: usize, const FULL: bool> {
    counting: &'b mut Counting<'a, ROWS, FULL>,
    cells: SlotCells<'a>,
    /// Where the counters of each row's segment start.
    starts: &'a [u32],
}

impl<const ROWS: usize, const FULL: bool> VisitRow for CountingBySegment<'_, '_, ROWS, FULL> {
    #[inline(always)]
    fn visit(&mut self, places: &[u32], tails: [u8; LANES]) {
        let start = self.starts[self.counting.row];
        for (lane, &place) in places.iter().enumerate() {
            if self.counting.is_found(lane) {
                self.cells.count(start, place as usize);
            }
        }
        self.counting.visit(places, tails);
    }
}

fn is_set(bits: u16, lane: usize) -> bool {
    (bits >> lane) & 1 == 1
}

impl Shard {
    /// Counts rows of numbers that `read` copies: from this position on, this many.
    pub(super) fn record_rows<T: Precision>(
        &self,
        plan: (&TensorPlan, &RowSearch<T>),
        rows: usize,
        marks: Marks<'_>,
        read: impl FnMut(usize, usize, &mut [T; LANES]),
    ) {
        match rows {
            // Room for a whole block would have to be cleared, for nothing.
            1 => self.record_blocks::<T, 1>(plan, 1, marks, read),
            rows => self.record_blocks::<T, BLOCK>(plan, rows, marks, read),
        }
    }

    fn record_blocks<T: Precision, const ROWS: usize>(
        &self,
        (plan, search): (&TensorPlan, &RowSearch<T>),
        rows: usize,
        marks: Marks<'_>,
        mut read: impl FnMut(usize, usize, &mut [T; LANES]),
    ) {
        let width = plan.columns.len();
        let (mut block, mut starts) = ([[T::NAN; LANES]; ROWS], [0; ROWS]);
        let mut evidence = marks.evidence;
        for first_row in (0..rows).step_by(ROWS) {
            let count = ROWS.min(rows - first_row);
            let evidence = &BlockEvidence::next(&mut evidence, first_row, count);
            let segments = marks.segments.map(|segments| {
                (first_row..).zip(&mut starts[..count]).for_each(|(row, start)| *start = segments.start_of(row));
                (segments, &starts[..])
            });
            for (index, columns) in plan.columns.chunks(LANES).enumerate() {
                for (row, values) in block[..count].iter_mut().enumerate() {
                    read((first_row + row) * width + index * LANES, columns.len(), values);
                }
                let searched = search.searched(index);
                let tile = Tile { plan, index, columns, searched, evidence, segments };
                if searched == u16::MAX {
                    self.record_searched::<T, ROWS, true>(search, tile, &block[..count]);
                } else {
                    self.record_searched::<T, ROWS, false>(search, tile, &block[..count]);
                    self.record_unsearched(tile, &block[..count]);
                }
            }
        }
    }

    /// The path of nearly all traffic: numbers on the edges of a reference.
    fn record_searched<T: Precision, const ROWS: usize, const FULL: bool>(
        &self,
        search: &RowSearch<T>,
        tile: Tile<'_>,
        block: &[[T; LANES]],
    ) {
        if tile.searched == 0 {
            return;
        }
        let Tile { plan, index, columns, searched, segments, .. } = tile;
        let (counters, cells) = (self.slots.slice(plan.slots.clone()), self.evidence_cells());
        let mut counting = Counting::<ROWS, FULL> { tile, counters, cells, row: 0, tails: [[0; LANES]; ROWS] };
        match segments {
            None => search.find_rows(index, columns.len(), block, &mut counting),
            Some((segments, starts)) => {
                let cells = segments.among(plan.slots.clone());
                let mut counting = CountingBySegment { counting: &mut counting, cells, starts };
                search.find_rows(index, columns.len(), block, &mut counting);
            }
        }
        for (values, tails) in block.iter().zip(counting.tails) {
            // A byte per lane, of which the lowest bit is set or none.
            let mut flags = u128::from_le_bytes(tails);
            while flags != 0 {
                let lane = flags.trailing_zeros() as usize / 8;
                flags &= flags - 1;
                if FULL || is_set(searched, lane) {
                    self.add_sum(&columns[lane], values[lane].to_f64());
                }
            }
        }
    }

    /// Columns without a reference, and the rare ones whose edges the search cannot tell apart.
    fn record_unsearched<T: Precision>(&self, tile: Tile<'_>, block: &[[T; LANES]]) {
        for (lane, column) in tile.columns.iter().enumerate().filter(|&(lane, _)| !is_set(tile.searched, lane)) {
            for (row, values) in block.iter().enumerate() {
                let segment = tile.segments.map(|(segments, starts)| (segments, starts[row]));
                self.count_number((tile.plan, column), values[lane].to_f64(), (tile.evidence.of_row(row), segment));
            }
        }
    }
}
