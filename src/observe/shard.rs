//! One worker's counters of one version, and how a tensor's values get into them.
//!
//! Numbers go through in tiles of sixteen columns and blocks of thirty-two rows, so that what a tile needs to know stays
//! in the first-level cache for the block. Sums are added in a second pass over the block: few values belong to one, and
//! asking each in the middle of the search would cost more than all the sums.
//!
//! Invariant: every value of a tensor is counted in one slot; with an evidence row, that row's in one alarm cell too.

use super::answers::AnswerShard;
use super::columns::{ColumnPlan, Search, TensorPlan};
use super::counter::{Counters, add_to_one};
use super::evidence::row_of_draw;
use super::segments::{RowSegments, SlotCells};
use super::statistics::RowStatistics;
use crate::sketch::{KEY_GROUPS, LANES, Precision, RowSearch, VisitRow};
use crate::tensor::{Tensor, TensorData};
use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Rows of a block: enough that a tile's tables are worth fetching, few enough that the block stays in the cache.
const BLOCK: usize = 32;

/// One worker's counters.
#[derive(Debug)]
pub(super) struct Shard {
    pub(super) slots: Counters,
    pub(super) sums: Counters,
    pub(super) cells: Counters,
    /// Few counters that belong to no column, see the constants.
    pub(super) requests: Counters,
    /// The alarm cells by group of keys: for each column its cells of group 0, of group 1 and so on. Made by the first
    /// request that has a key.
    pub(super) keyed: OnceLock<Counters>,
    /// The group of keys of the request that is being recorded; [`NO_KEY`] without one.
    pub(super) key_group: AtomicUsize,
    pub(super) answers: AnswerShard,
    /// Cells by segment, if rows are divided.
    pub(super) segments: Option<Counters>,
}

/// What is to be known of a tensor's rows besides their values.
#[derive(Clone, Copy)]
struct Marks<'a> {
    /// The row that is evidence.
    evidence: Option<usize>,
    segments: Option<&'a RowSegments<'a>>,
}

/// Whether a row is evidence; its segment, by where its counters start.
type Mark<'a> = (bool, Option<(&'a RowSegments<'a>, u32)>);

impl<'a> Marks<'a> {
    fn of_row(self, row: usize) -> Mark<'a> {
        (self.evidence == Some(row), self.segments.map(|segments| (segments, segments.start_of(row))))
    }
}

/// The group of keys of a request that has none.
pub(super) const NO_KEY: usize = usize::MAX;

/// Rows of predictions whose values are recorded.
pub(super) const ROWS: usize = 0;
/// Requests answered with predictions.
pub(super) const PREDICTIONS: usize = 1;
/// Rows that entered the alarm cells.
pub(super) const EVIDENCE_ROWS: usize = 2;
/// Rows of predictions whose values are not.
pub(super) const UNRECORDED_ROWS: usize = 3;
/// The first kind of refusal.
pub(super) const REFUSALS: usize = 4;

/// A tile of one block.
#[derive(Clone, Copy)]
struct Tile<'a> {
    plan: &'a TensorPlan,
    /// Which tile of a row.
    index: usize,
    columns: &'a [ColumnPlan],
    /// A bit for each lane that the search takes.
    searched: u16,
    /// The row of the block that is evidence.
    evidence: Option<usize>,
    /// Segments, and where the counters start of each row's.
    segments: Option<(&'a RowSegments<'a>, &'a [u32])>,
}

/// Counts the rows of a tile as they are found; `FULL` if the search takes all its lanes.
struct Counting<'a, const ROWS: usize, const FULL: bool> {
    /// The counters of the tensor.
    counters: &'a [AtomicU64],
    searched: u16,
    row: usize,
    /// What may belong to a sum, row by row.
    tails: [[u8; LANES]; ROWS],
    evidence: Option<usize>,
    /// What was found of the evidence row.
    evidence_places: [u32; LANES],
}

impl<const ROWS: usize, const FULL: bool> VisitRow for Counting<'_, ROWS, FULL> {
    #[inline(always)]
    fn visit(&mut self, places: &[u32], tails: [u8; LANES]) {
        for (lane, &place) in places.iter().enumerate() {
            if FULL || is_set(self.searched, lane) {
                add_to_one(&self.counters[place as usize], 1);
            }
        }
        self.tails[self.row % ROWS] = tails;
        if self.evidence == Some(self.row) {
            self.evidence_places[..places.len()].copy_from_slice(places);
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
            if FULL || is_set(self.counting.searched, lane) {
                self.cells.count(start, place as usize);
            }
        }
        self.counting.visit(places, tails);
    }
}

impl Tile<'_> {
    /// The lanes that are searched, or those that are not.
    fn lanes(self, searched: bool) -> impl Iterator<Item = usize> {
        (0..self.columns.len()).filter(move |&lane| is_set(self.searched, lane) == searched)
    }
}

fn is_set(bits: u16, lane: usize) -> bool {
    (bits >> lane) & 1 == 1
}

impl Shard {
    pub(super) fn record_tensor(
        &self,
        plan: &TensorPlan,
        tensor: &Tensor,
        draw: Option<u64>,
        segments: Option<&RowSegments<'_>>,
    ) {
        let rows = plan.rows(tensor);
        let evidence = draw.filter(|_| rows > 0).map(|draw| row_of_draw(draw, rows));
        let marks = Marks { evidence, segments };
        if plan.reduced {
            return self.record_statistics(plan, tensor, marks);
        }
        match (&plan.search, tensor.data()) {
            (Search::F32(search), TensorData::Fp32(values)) => {
                self.record_rows((plan, search), values.len(), marks, |start, count, into| {
                    // A copy of a known length is a few instructions, and what is copied past the row is not looked at.
                    match values[start..].first_chunk() {
                        Some(values) => *into = *values,
                        None => into[..count].copy_from_slice(&values[start..start + count]),
                    }
                });
            }
            (Search::F32(search), data) => {
                let mut wide = [f64::NAN; LANES];
                self.record_rows((plan, search), data.len(), marks, |start, count, into| {
                    data.read_numbers(start, &mut wide[..count]);
                    *into = wide.map(|number| number as f32);
                });
            }
            (Search::F64(search), data) => {
                self.record_rows((plan, search), data.len(), marks, |start, count, into| {
                    data.read_numbers(start, &mut into[..count]);
                });
            }
            (Search::Strings, TensorData::Bytes(values)) => {
                for (position, value) in values.iter().enumerate() {
                    let (row, column) = (position / plan.columns.len(), &plan.columns[position % plan.columns.len()]);
                    self.count(column, column.layout.slot_bytes(value), marks.of_row(row));
                }
            }
            (Search::Strings, _) => {}
        }
    }

    fn record_rows<T: Precision>(
        &self,
        plan: (&TensorPlan, &RowSearch<T>),
        values: usize,
        marks: Marks<'_>,
        read: impl FnMut(usize, usize, &mut [T; LANES]),
    ) {
        match values.checked_div(plan.0.columns.len()).unwrap_or(0) {
            // Room for a whole block would have to be cleared, for nothing.
            1 => self.record_blocks::<T, 1>(plan, 1, marks, read),
            rows => self.record_blocks::<T, BLOCK>(plan, rows, marks, read),
        }
    }

    /// Counts numbers that `read` copies: from this position on, at least this many.
    fn record_blocks<T: Precision, const ROWS: usize>(
        &self,
        (plan, search): (&TensorPlan, &RowSearch<T>),
        rows: usize,
        marks: Marks<'_>,
        mut read: impl FnMut(usize, usize, &mut [T; LANES]),
    ) {
        let width = plan.columns.len();
        let (mut block, mut starts) = ([[T::NAN; LANES]; ROWS], [0; ROWS]);
        for first_row in (0..rows).step_by(ROWS) {
            let count = ROWS.min(rows - first_row);
            let evidence = marks.evidence.and_then(|row| row.checked_sub(first_row)).filter(|&row| row < count);
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
        let Tile { plan, index, columns, searched, evidence, segments } = tile;
        let counters = self.slots.slice(plan.slots.clone());
        let (tails, evidence_places) = ([[0; LANES]; ROWS], [0; LANES]);
        let mut counting = Counting::<ROWS, FULL> { counters, searched, row: 0, tails, evidence, evidence_places };
        match segments {
            None => search.find_rows(index, columns.len(), block, &mut counting),
            Some((segments, starts)) => {
                let cells = segments.among(plan.slots.clone());
                let mut counting = CountingBySegment { counting: &mut counting, cells, starts };
                search.find_rows(index, columns.len(), block, &mut counting);
            }
        }
        for lane in tile.lanes(true).filter(|_| evidence.is_some()) {
            let slot = plan.slots.start + counting.evidence_places[lane] as usize - columns[lane].first_slot;
            self.count_cell(&columns[lane], slot);
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

    fn add_sum(&self, column: &ColumnPlan, value: f64) {
        if let Some(sum) = column.layout.sum_of(value) {
            self.sums.add(column.first_sum + sum, column.layout.quantize(value).cast_unsigned());
        }
    }

    /// Columns without a reference, and the rare ones whose edges the search cannot tell apart.
    fn record_unsearched<T: Precision>(&self, tile: Tile<'_>, block: &[[T; LANES]]) {
        for lane in tile.lanes(false) {
            for (row, values) in block.iter().enumerate() {
                let segment = tile.segments.map(|(segments, starts)| (segments, starts[row]));
                self.count_number(&tile.columns[lane], values[lane].to_f64(), (tile.evidence == Some(row), segment));
            }
        }
    }

    fn record_statistics(&self, plan: &TensorPlan, tensor: &Tensor, marks: Marks<'_>) {
        let width = tensor.data().len().checked_div(plan.rows(tensor)).unwrap_or(0);
        let (mut statistics, mut row) = (RowStatistics::default(), 0);
        tensor.data().visit_numbers(|position, value| {
            statistics.add(value);
            if (position + 1) % width == 0 {
                for (column, value) in plan.columns.iter().zip(std::mem::take(&mut statistics).finish()) {
                    self.count_number(column, value, marks.of_row(row));
                }
                row += 1;
            }
        });
    }

    fn count_number(&self, column: &ColumnPlan, value: f64, mark: Mark<'_>) {
        self.count(column, column.layout.slot_f64(value), mark);
        self.add_sum(column, value);
    }

    fn count(&self, column: &ColumnPlan, slot: usize, (is_evidence, segment): Mark<'_>) {
        self.slots.add(column.first_slot + slot, 1);
        if is_evidence {
            self.count_cell(column, slot);
        }
        if let Some((segments, start)) = segment {
            segments.count(start, column.first_slot + slot);
        }
    }

    fn count_cell(&self, column: &ColumnPlan, slot: usize) {
        let Some(&cell) = column.cell_of_slot.get(slot) else { return };
        self.cells.add(column.first_cell + usize::from(cell), 1);
        let group = self.key_group.load(Ordering::Relaxed);
        if group != NO_KEY
            && let Some(keyed) = self.keyed.get()
        {
            keyed.add(column.first_cell * KEY_GROUPS + group * column.cells + usize::from(cell), 1);
        }
    }
}
