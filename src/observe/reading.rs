//! Which counters a window keeps of a recorder's.
//!
//! A column with a reference is compared with it over the window, so all its counters are windowed. Without one no
//! distance is ever taken, and its thousand log-linear counters, times two readings and twenty slices, would cost 100 KB
//! a column for nothing: of such a column a window keeps one counter, its values.
//!
//! Invariant: the counters of column *i* add up to the values of column *i*, with a reference or without.

use super::columns::RecordedColumn;
use super::recorder::Totals;
use std::ops::Range;

/// The order of a windowed reading: the columns', and behind them a counter of rows.
#[derive(Clone, Debug)]
pub struct ReadingPlan {
    columns: Vec<Windowed>,
}

#[derive(Clone, Debug)]
struct Windowed {
    /// The column's counters in the totals.
    slots: Range<usize>,
    /// Its counters in the reading.
    reading: Range<usize>,
}

impl ReadingPlan {
    /// The plan for these columns.
    #[must_use]
    pub fn new(columns: &[RecordedColumn]) -> Self {
        let mut next = 0;
        let columns = columns
            .iter()
            .map(|column| {
                let start = next;
                next += if column.reference.is_some() { column.slots.len() } else { 1 };
                Windowed { slots: column.slots.clone(), reading: start..next }
            })
            .collect();
        Self { columns }
    }

    /// The counters of `totals` that are windowed.
    #[must_use]
    pub fn read(&self, totals: &Totals) -> Vec<u64> {
        let mut reading = Vec::with_capacity(self.columns.last().map_or(0, |column| column.reading.end) + 1);
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

    /// Where the counters of column `index` are in a reading.
    #[must_use]
    pub fn column(&self, index: usize) -> Range<usize> {
        self.columns[index].reading.clone()
    }
}
