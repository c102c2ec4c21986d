//! How rows of numbers are counted: in tiles of sixteen columns and blocks of sixty-four rows.
//!
//! What a tile needs to know then stays in the first-level cache for the block.
//!
//! Invariant: every value of a row is counted in one slot, and that of an evidence row in one alarm cell too.

use super::columns::{ColumnPlan, NO_CELL, TensorPlan};
use super::counter::add_to_one;
use super::marks::{BLOCK, BlockEvidence, EvidenceCells, Marks};
use super::segments::{RowSegments, SlotCells};
use super::shard::Shard;
use crate::sketch::{LANES, LaneFlags, Precision, RowSearch, VisitRow};
use std::sync::atomic::AtomicU64;

/// A tile of one block.
#[derive(Clone, Copy)]
struct Tile<'a> {
    plan: &'a TensorPlan,
    /// Which tile of a row.
    index: usize,
    columns: &'a [ColumnPlan],
    /// The lanes that the search takes.
    searched: LaneFlags,
    evidence: &'a BlockEvidence,
    /// Segments, and where the counters start of each row's.
    segments: Option<(&'a RowSegments<'a>, &'a [u32])>,
}

/// Counts the rows of a tile as they are found.
struct Counting<'a> {
    tile: Tile<'a>,
    /// The counters of the tensor.
    counters: &'a [AtomicU64],
    cells: EvidenceCells<'a>,
    /// What a value of each lane adds to its counter: nothing, where the search does not take it.
    amounts: [u64; LANES],
    row: usize,
    /// What belongs to a sum, row by row.
    tails: [LaneFlags; BLOCK],
}

impl Counting<'_> {
    /// Whether the search has found the counter of this lane.
    #[inline(always)]
    fn is_found(&self, lane: usize) -> bool {
        is_set(self.tile.searched, lane)
    }

    #[inline(always)]
    fn count_evidence(&self, places: &[u32]) {
        let Tile { plan, columns, evidence, .. } = self.tile;
        let Some(evidence) = evidence.of_row(self.row) else { return };
        for (lane, (column, &place)) in columns.iter().zip(places).enumerate() {
            let cell = plan.cell_of_slot[place as usize];
            if self.is_found(lane) && cell != NO_CELL {
                self.cells.cells.add(cell as usize, 1);
                self.cells.count_keyed(column, cell as usize, evidence);
            }
        }
    }
}

impl VisitRow for Counting<'_> {
    #[inline(always)]
    fn visit<const WIDTH: usize>(&mut self, places: &[u32; WIDTH], tails: LaneFlags) {
        let (counters, amounts) = (self.counters, &self.amounts);
        for (&place, &amount) in places.iter().zip(amounts) {
            add_to_one(&counters[place as usize], amount);
        }
        self.tails[self.row % BLOCK] = tails;
        if self.tile.evidence.has(self.row) {
            self.count_evidence(places);
        }
        self.row += 1;
    }
}

/// Counts the rows of a tile once more, by segment.
struct CountingBySegment<'a, 'b> {
    counting: &'b mut Counting<'a>,
    cells: SlotCells<'a>,
    /// Where the counters of each row's segment start.
    starts: &'a [u32],
}

impl VisitRow for CountingBySegment<'_, '_> {
    #[inline(always)]
    fn visit<const WIDTH: usize>(&mut self, places: &[u32; WIDTH], tails: LaneFlags) {
        let start = self.starts[self.counting.row];
        for (lane, &place) in places.iter().enumerate() {
            if self.counting.is_found(lane) {
                self.cells.count(start, place as usize);
            }
        }
        self.counting.visit(places, tails);
    }
}

fn is_set(bits: LaneFlags, lane: usize) -> bool {
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
                self.record_searched(search, tile, &block[..count]);
                self.record_unsearched(tile, &block[..count]);
            }
        }
    }

    /// The path of nearly all traffic: numbers on the edges of a reference.
    fn record_searched<T: Precision>(&self, search: &RowSearch<T>, tile: Tile<'_>, block: &[[T; LANES]]) {
        let Tile { plan, index, searched, segments, .. } = tile;
        if searched == 0 {
            return;
        }
        let (counters, cells) = (self.slots.slice(plan.slots.clone()), self.evidence_cells());
        let amounts = std::array::from_fn(|lane| u64::from(is_set(searched, lane)));
        let (row, tails) = (0, [0; BLOCK]);
        let mut counting = Counting { tile, counters, cells, amounts, row, tails };
        match segments {
            None => search.find_rows(index, block, &mut counting),
            Some((segments, starts)) => {
                let cells = segments.among(plan.slots.clone());
                let mut counting = CountingBySegment { counting: &mut counting, cells, starts };
                search.find_rows(index, block, &mut counting);
            }
        }
        self.add_sums(search, tile, (block, &counting.tails));
    }

    /// Sums what is in or beyond the outermost bins, about one value in thirty: in a second pass over the block, because
    /// asking each in the middle of the search would cost more than all the sums, and by the flags of several rows at a
    /// time, because the end of a row's flags is hard to predict.
    fn add_sums<T: Precision>(
        &self,
        search: &RowSearch<T>,
        tile: Tile<'_>,
        (block, tails): (&[[T; LANES]], &[LaneFlags; BLOCK]),
    ) {
        const TOGETHER: usize = (u64::BITS / LaneFlags::BITS) as usize;
        let (tails, _) = tails.as_chunks::<TOGETHER>();
        for (rows, tails) in block.chunks(TOGETHER).zip(tails) {
            let mut flags = tails.iter().rev().fold(0, |flags, &tails| (flags << LaneFlags::BITS) | u64::from(tails));
            while flags != 0 {
                let (row, lane) = (flags.trailing_zeros() as usize / LANES, flags.trailing_zeros() as usize % LANES);
                flags &= flags - 1;
                let (column, value) = (&tile.columns[lane], rows[row][lane]);
                let quantized = column.layout.quantize(value.to_f64()).cast_unsigned();
                self.sums.add(column.first_sum + search.sum_of((tile.index, lane), value), quantized);
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
