//! One worker's counters of one version, and how a tensor's values get into them.
//!
//! Invariant: every value of a tensor is counted in one slot; with an evidence row, that row's in one alarm cell too.

use super::answers::AnswerShard;
use super::columns::{ColumnPlan, NO_CELL, Search, TensorPlan};
use super::counter::Counters;
use super::marks::{EvidenceCells, Mark, Marks};
use super::statistics::RowStatistics;
use crate::sketch::{LANES, Precision, RowSearch};
use crate::tensor::{Tensor, TensorData};
use std::sync::OnceLock;

/// One worker's counters.
#[derive(Debug)]
pub(super) struct Shard {
    /// The values of all columns, see [`ColumnPlan::first_place`].
    pub(super) values: Counters,
    pub(super) sums: Counters,
    pub(super) cells: Counters,
    /// Few counters that belong to no column, see the constants.
    pub(super) requests: Counters,
    /// The alarm cells by group of keys: for each column its cells of group 0, of group 1 and so on. Made by the first
    /// request that has a key.
    pub(super) keyed: OnceLock<Counters>,
    pub(super) answers: AnswerShard,
    /// Cells by segment, if rows are divided.
    pub(super) segments: Option<Counters>,
}

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

impl Shard {
    /// Counts the values of a tensor, which fits the plan.
    pub(super) fn record_tensor(&self, plan: &TensorPlan, tensor: &Tensor, marks: Marks<'_>) {
        if plan.reduced {
            return self.record_statistics(plan, tensor, marks);
        }
        match (&plan.search, tensor.data()) {
            (Search::F32(search), TensorData::Fp32(values)) => self.record_numbers((plan, search), values, marks),
            (Search::F32(search), data) => {
                let mut wide = [f64::NAN; LANES];
                self.record_rows((plan, search), plan.rows_among(data.len()), marks, |start, count, into| {
                    data.read_numbers(start, &mut wide[..count]);
                    *into = wide.map(|number| number as f32);
                });
            }
            (Search::F64(search), data) => {
                self.record_rows((plan, search), plan.rows_among(data.len()), marks, |start, count, into| {
                    data.read_numbers(start, &mut into[..count]);
                });
            }
            (Search::Strings, TensorData::Bytes(values)) => {
                for (position, value) in values.iter().enumerate() {
                    let (row, column) = (position / plan.columns.len(), &plan.columns[position % plan.columns.len()]);
                    let place = column.first_place + column.layout.slot_bytes(value);
                    self.count((plan, column), place, marks.of_row(row));
                }
            }
            (Search::Strings, _) => {}
        }
    }

    /// Counts rows that lie one behind the other.
    pub(super) fn record_numbers<T: Precision>(
        &self,
        (plan, search): (&TensorPlan, &RowSearch<T>),
        values: &[T],
        marks: Marks<'_>,
    ) {
        self.record_rows((plan, search), plan.rows_among(values.len()), marks, |start, count, into| {
            // A copy of a known length is a few instructions, and what is copied past the row is not looked at.
            match values[start..].first_chunk() {
                Some(values) => *into = *values,
                None => into[..count].copy_from_slice(&values[start..start + count]),
            }
        });
    }

    fn record_statistics(&self, plan: &TensorPlan, tensor: &Tensor, marks: Marks<'_>) {
        let width = tensor.data().len().checked_div(plan.rows(tensor)).unwrap_or(0);
        let (mut statistics, mut row) = (RowStatistics::default(), 0);
        tensor.data().visit_numbers(|position, value| {
            statistics.add(value);
            if (position + 1) % width == 0 {
                for (column, value) in plan.columns.iter().zip(std::mem::take(&mut statistics).finish()) {
                    self.count_number((plan, column), value, marks.of_row(row));
                }
                row += 1;
            }
        });
    }

    /// Counts one number of a column, and adds it to the sum that it belongs to, if it does to any.
    pub(super) fn count_number(&self, (plan, column): (&TensorPlan, &ColumnPlan), value: f64, mark: Mark<'_>) {
        self.count((plan, column), column.first_place + column.layout.slot_f64(value), mark);
        if let Some(sum) = column.layout.sum_of(value) {
            self.sums.add(column.first_sum + sum, column.layout.quantize(value).cast_unsigned());
        }
    }

    /// Counts one value of a column by its place.
    #[inline]
    pub(super) fn count(
        &self,
        (plan, column): (&TensorPlan, &ColumnPlan),
        place: usize,
        (evidence, segment): Mark<'_>,
    ) {
        self.values.add(place, 1);
        let cell = plan.cell_of_place[place - plan.places.start];
        if cell == NO_CELL {
            return;
        }
        if let Some(evidence) = evidence {
            EvidenceCells { cells: &self.cells, keyed: self.keyed.get() }.count(column, cell as usize, evidence);
        }
        if let Some((segments, start)) = segment {
            segments.count(start, cell);
        }
    }
}
