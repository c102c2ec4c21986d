//! How rows of numbers are counted: in tiles of sixteen columns and blocks of sixty-four rows.
//!
//! What a tile needs to know then stays in the first-level cache for the block. A block is gone over twice: first for what
//! few values are, those that belong to a sum or are no ordinary number, then to count. Lines of which nothing is to be
//! known but their values' counters are counted without a branch; those that are marked, value by value.
//!
//! Invariant: every value of a row is counted in one slot, and that of an evidence row in one alarm cell too.

use super::columns::{ColumnPlan, TensorPlan};
use super::counter::add_to_one;
use super::marks::{BLOCK, BlockEvidence, Mark, Marks};
use super::segments::RowSegments;
use super::shard::Shard;
use crate::sketch::{ColumnLayout, LANES, LaneFlags, Precision, RowSearch};

/// Lines of a block that is small: clearing room for a whole one would take longer than counting it.
const FEW_LINES: usize = 8;

/// Rows of a block: how they lie in lines, and what is to be known of them.
struct Rows<'a> {
    count: usize,
    /// Rows that are side by side in a line.
    in_line: usize,
    evidence: BlockEvidence,
    /// Segments, and where the counters start of each row's.
    segments: Option<(&'a RowSegments<'a>, [u32; BLOCK])>,
    /// The lines of which more is to be known than the counters of their values, and those that are not full.
    marked: u64,
}

/// A tile of a block.
#[derive(Clone, Copy)]
struct Tile<'a> {
    plan: &'a TensorPlan,
    /// Which tile of a row.
    index: usize,
    columns: &'a [ColumnPlan],
    rows: &'a Rows<'a>,
}

fn is_set(bits: LaneFlags, lane: usize) -> bool {
    (bits >> lane) & 1 == 1
}

impl<'a> Rows<'a> {
    /// The next rows from `first` on; their evidence is taken from the marks.
    fn next(marks: &mut Marks<'a>, (first, count): (usize, usize), in_line: usize) -> Self {
        let evidence = BlockEvidence::next(&mut marks.evidence, first, count);
        let segments = marks.segments.map(|segments| {
            let mut starts = [0; BLOCK];
            (first..first + count).zip(&mut starts).for_each(|(row, start)| *start = segments.start_of(row));
            (segments, starts)
        });
        let mut marked = if segments.is_some() { u64::MAX } else { 0 };
        evidence.rows().for_each(|row| marked |= 1 << (row / in_line));
        if count % in_line > 0 {
            marked |= 1 << (count / in_line);
        }
        Self { count, in_line, evidence, segments, marked }
    }

    fn lines(&self) -> usize {
        self.count.div_ceil(self.in_line)
    }

    /// Rows of a line: all there are place for, but perhaps of the last.
    fn of_line(&self, line: usize) -> usize {
        self.in_line.min(self.count - line * self.in_line)
    }

    fn mark(&self, row: usize) -> Mark<'_> {
        let segment = self.segments.as_ref().map(|(segments, starts)| (*segments, starts[row]));
        (self.evidence.of_row(row), segment)
    }
}

impl Shard {
    /// Counts rows of numbers that `read` copies: from this position on, this many.
    pub(super) fn record_rows<T: Precision>(
        &self,
        (plan, search): (&TensorPlan, &RowSearch<T>),
        rows: usize,
        marks: Marks<'_>,
        read: impl FnMut(usize, usize, &mut [T; LANES]),
    ) {
        match rows.div_ceil(search.rows_in_line()) {
            1 => self.record_blocks::<T, 1>((plan, search), rows, marks, read),
            2..=FEW_LINES => self.record_blocks::<T, FEW_LINES>((plan, search), rows, marks, read),
            _ => self.record_blocks::<T, BLOCK>((plan, search), rows, marks, read),
        }
    }

    fn record_blocks<T: Precision, const LINES: usize>(
        &self,
        (plan, search): (&TensorPlan, &RowSearch<T>),
        rows: usize,
        mut marks: Marks<'_>,
        mut read: impl FnMut(usize, usize, &mut [T; LANES]),
    ) {
        let (width, in_line) = (plan.columns.len(), search.rows_in_line());
        let mut block = [[T::NAN; LANES]; LINES];
        for first_row in (0..rows).step_by(BLOCK.min(LINES * in_line)) {
            let count = BLOCK.min(LINES * in_line).min(rows - first_row);
            let rows = &Rows::next(&mut marks, (first_row, count), in_line);
            let block = &mut block[..rows.lines()];
            for (index, columns) in plan.columns.chunks(LANES).enumerate() {
                for (line, values) in block.iter_mut().enumerate() {
                    let start = (first_row + line * in_line) * width + index * LANES;
                    read(start, rows.of_line(line) * columns.len(), values);
                }
                let tile = Tile { plan, index, columns, rows };
                self.record_searched::<T, LINES>(search, tile, block);
                self.record_unsearched(search, tile, block);
            }
        }
    }

    /// The path of nearly all traffic: numbers on the edges of a reference.
    fn record_searched<T: Precision, const LINES: usize>(
        &self,
        search: &RowSearch<T>,
        tile: Tile<'_>,
        block: &[[T; LANES]],
    ) {
        let Tile { plan, index, columns, rows } = tile;
        if search.searched(index) == 0 {
            return;
        }
        let mut outside = [0; LINES];
        search.find_outside(index, block, &mut outside);
        if rows.count % rows.in_line > 0 {
            // What is behind the last row was not read.
            let last = rows.lines() - 1;
            outside[last] &= (1 << (rows.of_line(last) * columns.len())) - 1;
        }
        let marked = rows.marked | self.add_sums(search, tile, (block, &outside[..block.len()]));
        let counters = self.values.slice(plan.places.clone());
        let mut line = 0;
        while line < block.len() {
            let plain = ((marked >> line).trailing_zeros() as usize).min(block.len() - line);
            if plain > 0 {
                search.count(index, &block[line..line + plain], counters, |counter| add_to_one(counter, 1));
            }
            line += plain;
            if let Some(values) = block.get(line) {
                self.count_marked(search, tile, (line, values));
                line += 1;
            }
        }
    }

    /// Sums what is in or beyond the outermost bins, about one value in thirty, and tells the lines that hold what is no
    /// ordinary number. By the flags of several lines at a time, because the end of a line's flags is hard to predict.
    fn add_sums<T: Precision>(
        &self,
        search: &RowSearch<T>,
        tile: Tile<'_>,
        (block, outside): (&[[T; LANES]], &[LaneFlags]),
    ) -> u64 {
        const TOGETHER: usize = (u64::BITS / LaneFlags::BITS) as usize;
        let mut extremes = 0;
        for (group, outside) in outside.chunks(TOGETHER).enumerate() {
            let mut flags = outside.iter().rev().fold(0, |flags, &lanes| (flags << LaneFlags::BITS) | u64::from(lanes));
            while flags != 0 {
                let position = flags.trailing_zeros() as usize;
                flags &= flags - 1;
                let (line, lane) = (group * TOGETHER + position / LANES, position % LANES);
                let value = block[line][lane];
                if value.is_ordinary() {
                    let column = &tile.columns[lane % tile.columns.len()];
                    let quantized = column.layout.quantize(value.to_f64()).cast_unsigned();
                    self.sums.add(column.first_sum + search.sum_of((tile.index, lane), value), quantized);
                } else {
                    extremes |= 1 << line;
                }
            }
        }
        extremes
    }

    fn count_marked<T: Precision>(
        &self,
        search: &RowSearch<T>,
        Tile { plan, index, columns, rows }: Tile<'_>,
        (line, values): (usize, &[T; LANES]),
    ) {
        let (searched, of_line) = (search.searched(index), rows.of_line(line));
        let places = search.find(index, values, of_line * columns.len());
        for (row, places) in places.chunks(columns.len()).enumerate().take(of_line) {
            let mark = rows.mark(line * rows.in_line + row);
            for (lane, (column, &place)) in columns.iter().zip(places).enumerate() {
                if is_set(searched, lane) {
                    self.count((plan, column), plan.places.start + place, mark);
                }
            }
        }
    }

    /// Columns without a reference, and the rare ones whose edges the search cannot tell apart.
    fn record_unsearched<T: Precision>(
        &self,
        search: &RowSearch<T>,
        Tile { plan, index, columns, rows }: Tile<'_>,
        block: &[[T; LANES]],
    ) {
        let searched = search.searched(index);
        for (lane, column) in columns.iter().enumerate().filter(|&(lane, _)| !is_set(searched, lane)) {
            let value_of = |row: usize| block[row / rows.in_line][row % rows.in_line * columns.len() + lane].to_f64();
            match &column.layout {
                // Without a reference there are neither alarm cells nor sums.
                ColumnLayout::LogLinear => {
                    let counters = self.values.slice(column.first_place..column.first_place + column.layout.slots());
                    (0..rows.count).for_each(|row| add_to_one(&counters[column.layout.slot_f64(value_of(row))], 1));
                }
                _ => (0..rows.count).for_each(|row| self.count_number((plan, column), value_of(row), rows.mark(row))),
            }
        }
    }
}
