//! What is to be known of rows besides their values: which are evidence, for whom, and their segments.
//!
//! Invariant: evidence is in the order of rows, each row once.

use super::columns::ColumnPlan;
use super::counter::Counters;
use super::segments::RowSegments;
use crate::sketch::KEY_GROUPS;

/// Rows of a block: enough that a tile's tables are worth fetching, few enough that the block stays in the cache, and as
/// many as a word has bits.
pub(super) const BLOCK: usize = 64;

/// The group of keys of a request that has none.
const NO_GROUP: u8 = u8::MAX;

/// A row that is evidence, among those recorded together.
#[derive(Clone, Copy, Debug)]
pub(super) struct EvidenceRow {
    row: usize,
    group: u8,
}

/// What is to be known of a tensor's rows besides their values.
#[derive(Clone, Copy)]
pub(super) struct Marks<'a> {
    /// The rows that are evidence.
    pub(super) evidence: &'a [EvidenceRow],
    pub(super) segments: Option<&'a RowSegments<'a>>,
}

/// A row's evidence, if it is; its segment, by where its counters start.
pub(super) type Mark<'a> = (Option<EvidenceRow>, Option<(&'a RowSegments<'a>, u32)>);

/// The evidence among the rows of a block.
#[derive(Clone, Copy)]
pub(super) struct BlockEvidence {
    /// A bit for each row that is evidence.
    rows: u64,
    groups: [u8; BLOCK],
}

/// Where evidence is counted.
#[derive(Clone, Copy)]
pub(super) struct EvidenceCells<'a> {
    pub(super) cells: &'a Counters,
    /// The same by group of keys, if there was a key.
    pub(super) keyed: Option<&'a Counters>,
}

impl EvidenceRow {
    /// A row, and its group of keys if its request has a key.
    pub(super) fn new(row: usize, group: Option<usize>) -> Self {
        const { assert!(KEY_GROUPS < NO_GROUP as usize, "every group has a number besides that of none") }
        Self { row, group: group.map_or(NO_GROUP, |group| group as u8) }
    }

    /// The same row behind `rows` others.
    pub(super) fn behind(self, rows: usize) -> Self {
        Self { row: rows + self.row, ..self }
    }
}

impl<'a> Marks<'a> {
    /// What is known of one row.
    pub(super) fn of_row(self, row: usize) -> Mark<'a> {
        let evidence = self.evidence.iter().copied().find(|evidence| evidence.row == row);
        (evidence, self.segments.map(|segments| (segments, segments.start_of(row))))
    }
}

impl BlockEvidence {
    /// What of the evidence from `first_row` on lies within `count` rows of a block; it is taken from `left`.
    pub(super) fn next(left: &mut &[EvidenceRow], first_row: usize, count: usize) -> Self {
        let mut block = Self { rows: 0, groups: [NO_GROUP; BLOCK] };
        while let Some((evidence, rest)) = left.split_first() {
            let row = evidence.row - first_row;
            if row >= count.min(BLOCK) {
                break;
            }
            block.rows |= 1 << row;
            block.groups[row] = evidence.group;
            *left = rest;
        }
        block
    }

    /// The rows that are evidence.
    pub(super) fn rows(&self) -> impl Iterator<Item = usize> {
        let mut left = self.rows;
        std::iter::from_fn(move || {
            let row = left.trailing_zeros();
            left &= left.checked_sub(1)?;
            Some(row as usize)
        })
    }

    /// A row of the block, if it is evidence.
    #[inline]
    pub(super) fn of_row(&self, row: usize) -> Option<EvidenceRow> {
        let is_evidence = (self.rows >> (row % BLOCK)) & 1 == 1;
        is_evidence.then(|| EvidenceRow { row, group: self.groups[row % BLOCK] })
    }
}

impl EvidenceCells<'_> {
    /// Counts a value in its cell, and for the group of keys of its request, if it has one.
    #[inline]
    pub(super) fn count(self, column: &ColumnPlan, cell: usize, evidence: EvidenceRow) {
        self.cells.add(cell, 1);
        if evidence.group != NO_GROUP
            && let Some(keyed) = self.keyed
        {
            let of_group = usize::from(evidence.group) * column.cells;
            keyed.add(column.first_cell * KEY_GROUPS + of_group + (cell - column.first_cell), 1);
        }
    }
}
