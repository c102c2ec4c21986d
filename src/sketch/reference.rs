//! Counters of both sides of a comparison, as plain data.
//!
//! They live here and not in the rooms that make or read them, because those must not know each other: a profile (or
//! later a frozen self-reference) makes a [`Reference`], a window of shards makes a [`Live`], a detector reads both.
//!
//! Invariant: all arrays of one column are in the slot order of one layout.

use super::SUMS;
use std::ops::Range;

/// Groups that routing keys are divided into, so that evidence can be looked at without any one of them.
pub const KEY_GROUPS: usize = 8;

/// What a column's counters are compared with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reference {
    /// One counter per slot.
    pub counts: Vec<u64>,
    /// The coarse group of each slot, below `group_count`.
    pub groups: Vec<u8>,
    /// How many coarse groups there are; some may be empty on both sides.
    pub group_count: usize,
    /// The slots of finite numbers, lowest values first; none where values have no order.
    pub ordered: Option<Range<usize>>,
    /// The edges between those slots, in the reference's standard deviations from its mean; empty where that is zero.
    pub positions: Vec<f64>,
    /// The reference's own sums, if it kept them.
    pub sums: Option<[i64; SUMS]>,
    /// For each of the 168 hours of the week from Monday 00:00 UTC, the rows in each coarse group, if the reference's
    /// rows had times.
    pub seasons: Option<Vec<Vec<u64>>>,
    /// How many distinct finite values or strings the reference has; none for many and for unknown.
    pub distinct: Option<u64>,
    /// Rows of the reference.
    pub rows: u64,
    /// Whether values have no order: codes and strings.
    pub categorical: bool,
    /// Population standard deviation of the reference's finite values, if it has any.
    pub std: Option<f64>,
}

impl Reference {
    /// How many alarm cells the column has: one per coarse group, and one on either side of the edges. Values beyond the
    /// edges belong to the outermost groups, where a few hundredths of a percent more would be lost in a tenth; in cells
    /// of their own, of which the reference has none, they are seen at once.
    #[must_use]
    pub fn cells(&self) -> usize {
        self.group_count + 2
    }

    /// The alarm cell of a slot: its coarse group, but `group_count` for values below the edges of an ordered column and
    /// `group_count + 1` for those above.
    #[must_use]
    pub fn cell_of_slot(&self, slot: usize) -> usize {
        match &self.ordered {
            Some(ordered) if slot == ordered.start => self.group_count,
            Some(ordered) if slot + 1 == ordered.end => self.group_count + 1,
            _ => self.groups.get(slot).map_or(0, |&group| usize::from(group)),
        }
    }

    /// The coarse group of an alarm cell.
    #[must_use]
    pub fn group_of_cell(&self, cell: usize) -> usize {
        let group_of = |slot: usize| self.groups.get(slot).map_or(0, |&group| usize::from(group));
        match &self.ordered {
            Some(ordered) if cell == self.group_count => group_of(ordered.start),
            Some(ordered) if cell > self.group_count => group_of(ordered.end.saturating_sub(1)),
            _ if cell < self.group_count => cell,
            // Without an order no slot has these cells.
            _ => 0,
        }
    }

    /// The alarm cells of all slots, in slot order.
    pub fn cell_of_each_slot(&self) -> impl Iterator<Item = u16> {
        (0..self.groups.len()).map(|slot| self.cell_of_slot(slot) as u16)
    }
}

/// The counters of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Live<'a> {
    /// One counter per slot.
    pub counts: &'a [u64],
    /// Fixed-point sums of the values below the edges, in the first bin, in the last bin and above.
    pub sums: [i64; SUMS],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_of_a_slots_cell_is_the_slots_own() {
        let ordered = Reference {
            groups: vec![0, 0, 1, 2, 2, 3, 3],
            group_count: 4,
            ordered: Some(0..5),
            ..Reference::default()
        };
        let unordered = Reference { ordered: None, ..ordered.clone() };
        for reference in [ordered, unordered] {
            for (slot, &group) in reference.groups.iter().enumerate() {
                assert_eq!(reference.group_of_cell(reference.cell_of_slot(slot)), usize::from(group), "{slot}");
            }
            assert!((0..reference.cells()).all(|cell| reference.group_of_cell(cell) < reference.group_count));
        }
    }
}
