//! Which counters windows keep of a recorder's.
//!
//! A column with a reference is compared with it over each window, so all its counters are windowed: one by one in the
//! primary window, by coarse group in the others. Without one no distance is ever taken, and its thousand log-linear
//! counters, times readings and nine slices, would cost 30 KB a column for nothing: of such a column a window keeps one
//! counter, its values.
//!
//! Invariant: the counters of column *i* add up to the values of column *i*, with a reference or without; so do its
//! groups.

use super::columns::RecordedColumn;
use super::recorder::Totals;
use std::ops::Range;

/// The order of a windowed reading: the columns', and behind them a counter of rows; and that of its groups likewise.
#[derive(Clone, Debug)]
pub struct ReadingPlan {
    columns: Vec<Windowed>,
    /// The group of each counter, within its column.
    group_of: Box<[u8]>,
}

#[derive(Clone, Debug)]
struct Windowed {
    /// The column's counters in the totals.
    slots: Range<usize>,
    /// Its counters in the reading.
    reading: Range<usize>,
    /// Its groups in the groups of a reading.
    groups: Range<usize>,
    /// Its sums in the totals and in the reading.
    sums: Range<usize>,
}

impl ReadingPlan {
    /// The plan for these columns.
    #[must_use]
    pub fn new(columns: &[RecordedColumn]) -> Self {
        let (mut counters, mut groups, mut group_of) = (0, 0, Vec::new());
        let columns = columns
            .iter()
            .map(|column| {
                let (first, first_group) = (counters, groups);
                match &column.reference {
                    Some(reference) => {
                        counters += column.slots.len();
                        groups += reference.group_count;
                        group_of.extend_from_slice(&reference.groups);
                    }
                    None => {
                        counters += 1;
                        groups += 1;
                        group_of.push(0);
                    }
                }
                Windowed {
                    slots: column.slots.clone(),
                    reading: first..counters,
                    groups: first_group..groups,
                    sums: column.sums.clone(),
                }
            })
            .collect();
        Self { columns, group_of: group_of.into() }
    }

    /// The counters of `totals` that are windowed.
    #[must_use]
    pub fn read(&self, totals: &Totals) -> Vec<u64> {
        let mut reading = Vec::with_capacity(self.counters());
        for column in &self.columns {
            let counts = &totals.slots[column.slots.clone()];
            if column.reading.len() == counts.len() {
                reading.extend_from_slice(counts);
            } else {
                reading.push(counts.iter().fold(0, |sum: u64, &count| sum.wrapping_add(count)));
            }
        }
        reading.push(totals.rows);
        reading
    }

    /// A reading by coarse group.
    #[must_use]
    pub fn group(&self, reading: &[u64]) -> Vec<u64> {
        let mut groups = vec![0_u64; self.groups()];
        for column in &self.columns {
            for counter in column.reading.clone() {
                // A group that is none of the column's would be a fault of its profile; its values are then left out.
                let group = column.groups.start + usize::from(self.group_of[counter]);
                if group < column.groups.end {
                    groups[group] = groups[group].wrapping_add(reading[counter]);
                }
            }
        }
        if let (Some(rows), Some(read)) = (groups.last_mut(), reading.last()) {
            *rows = *read;
        }
        groups
    }

    /// The counters of one column in a reading, by coarse group.
    #[must_use]
    pub fn group_column(&self, index: usize, reading: &[u64]) -> Vec<u64> {
        let column = &self.columns[index];
        let mut groups = vec![0_u64; column.groups.len()];
        for counter in column.reading.clone() {
            if let Some(group) = groups.get_mut(usize::from(self.group_of[counter])) {
                *group = group.wrapping_add(reading[counter]);
            }
        }
        groups
    }

    /// Where the counters of column `index` are in a reading.
    #[must_use]
    pub fn column(&self, index: usize) -> Range<usize> {
        self.columns[index].reading.clone()
    }

    /// Where the groups of column `index` are.
    #[must_use]
    pub fn column_groups(&self, index: usize) -> Range<usize> {
        self.columns[index].groups.clone()
    }

    /// Where the sums of column `index` are.
    #[must_use]
    pub fn column_sums(&self, index: usize) -> Range<usize> {
        self.columns[index].sums.clone()
    }

    /// Counters of a reading, that of rows included.
    #[must_use]
    pub fn counters(&self) -> usize {
        self.group_of.len() + 1
    }

    /// Groups of a reading, the counter of rows included.
    #[must_use]
    pub fn groups(&self) -> usize {
        self.columns.last().map_or(0, |column| column.groups.end) + 1
    }

    /// Sums of a reading.
    #[must_use]
    pub fn sums(&self) -> usize {
        self.columns.last().map_or(0, |column| column.sums.end)
    }

    /// Bytes that it holds.
    #[must_use]
    pub fn resident_bytes(&self) -> usize {
        size_of::<Self>() + size_of_val(&*self.group_of) + self.columns.capacity() * size_of::<Windowed>()
    }
}
