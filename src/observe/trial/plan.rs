//! On which edges a rollout counts, fixed from the stable version when it begins.
//!
//! Both arms count on the stable version's edges: what is compared is how often each of its outcomes happens, and for that
//! an outcome must mean the same in both. Outputs are matched by the tensors' names, so that a version may have more of
//! them, or have them in another order.
//!
//! Invariant: the plan says the same as its layout, which is what is written down.

use super::cells::{ColumnCells, SlotCell};
use super::counts::{OutputCells, TrialLayout};
use super::latency::LatencyEdges;
use super::sums::deviation;
use crate::config::{GuardSettings, ToleranceSettings};
use crate::observe::columns::{RecordedColumn, TensorPlan};
use crate::observe::{AnswerTotals, Recorder, RowStatistics, Side};
use crate::tensor::{Tensor, TensorData};
use std::time::Duration;

/// Columns of outputs that are compared at most, the first ones: a false-abort rate is to be shared among them.
pub const MOST_OUTPUTS: usize = 64;

/// Values that are read at a time of a row that is reduced to statistics.
const PIECE: usize = 16;

/// On which edges a rollout counts.
#[derive(Clone, Debug)]
pub struct TrialPlan {
    layout: TrialLayout,
    pub(super) tensors: Box<[OutputTensor]>,
    /// Cells of all columns.
    pub(super) cells: usize,
}

/// The columns of one tensor of the outputs.
#[derive(Clone, Debug)]
pub(super) struct OutputTensor {
    /// Its name, and its place among the stable version's outputs.
    pub(super) name: String,
    pub(super) index: usize,
    is_batched: bool,
    is_reduced: bool,
    /// Values of a row, where it is not reduced.
    width: usize,
    columns: Box<[OutputColumn]>,
}

#[derive(Clone, Debug)]
struct OutputColumn {
    cells: ColumnCells,
    /// The first of its cells among those of all columns.
    first: usize,
    /// Its place among all columns.
    place: usize,
    /// What its values are counted from, if they are numbers.
    origin: Option<f64>,
}

/// What a column of a row shows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Shown {
    /// The cell, as one among those of all columns.
    pub(super) cell: usize,
    /// The column's place among all.
    pub(super) column: usize,
    /// How far the value is from the column's origin, if it is a number.
    pub(super) deviation: Option<f64>,
}

impl TrialPlan {
    /// A plan on the edges of the stable version: its reference's, or what it counted so far.
    #[must_use]
    pub fn new(
        stable: &Recorder,
        stable_answers: &AnswerTotals,
        (guards, tolerances): (&GuardSettings, &ToleranceSettings),
    ) -> Self {
        let LatencyEdges { edges, beyond, limit } = LatencyEdges::of(stable_answers);
        let (errors, answers) = stable_answers.server_errors();
        let (tensors, outputs) = output_tensors(stable);
        let layout = TrialLayout {
            latency_edges: edges,
            latency_beyond: beyond,
            latency_ratio: tolerances.latency_ratio,
            latency_added: nanoseconds(tolerances.latency_added),
            latency_limit: guards.latency.map_or(limit, nanoseconds),
            outputs,
            expected_errors: if answers == 0 { 0.0 } else { errors as f64 / answers as f64 },
        };
        Self::of(layout, tensors)
    }

    /// The plan of a rollout that goes on after a restart, if the stable version has the same references still: those edges
    /// that were made of what it had counted are those of the layout. None where cells of an output were made so.
    #[must_use]
    pub fn resumed(stable: &Recorder, layout: TrialLayout) -> Option<Self> {
        let (tensors, outputs) = output_tensors(stable);
        let compared = stable.columns().iter().filter(|column| column.side == Side::Output).take(MOST_OUTPUTS);
        let are_known = compared.zip(&outputs).all(|(column, cells)| {
            // Cells by hash are always the same.
            column.reference.is_some() || cells.ordered == 0
        });
        let is_same = |(now, then): (&OutputCells, &OutputCells)| {
            (&now.name, &now.expected, now.ordered) == (&then.name, &then.expected, then.ordered)
        };
        let are_same = outputs.len() == layout.outputs.len() && outputs.iter().zip(&layout.outputs).all(is_same);
        (are_known && are_same && !layout.latency_edges.is_empty()).then(|| Self::of(layout, tensors))
    }

    /// The plan of a rollout that goes on where [`Self::resumed`] cannot: durations count as they did, outputs on the edges
    /// that `recorder` has now, which are others.
    #[must_use]
    pub fn on_other_outputs(recorder: &Recorder, layout: TrialLayout) -> Self {
        let (tensors, outputs) = output_tensors(recorder);
        Self::of(TrialLayout { outputs, ..layout }, tensors)
    }

    /// Values are counted from where the layout says, as those of before were.
    fn of(layout: TrialLayout, mut tensors: Box<[OutputTensor]>) -> Self {
        for column in tensors.iter_mut().flat_map(|tensor| tensor.columns.iter_mut()) {
            column.origin = layout.outputs.get(column.place).and_then(OutputCells::origin);
        }
        let cells = layout.outputs.iter().map(|output| output.expected.len()).sum();
        Self { layout, tensors, cells }
    }

    /// What of it is written down.
    #[must_use]
    pub fn layout(&self) -> &TrialLayout {
        &self.layout
    }

    /// How many latency cells there are.
    pub(super) fn latency_cells(&self) -> usize {
        self.layout.latency_edges.len() + 1
    }

    /// The latency cell of a duration in nanoseconds.
    pub(super) fn latency_cell(&self, duration: u64) -> usize {
        self.layout.latency_edges.partition_point(|edge| *edge < duration)
    }

    /// A duration of the canary's, in nanoseconds, as it is compared.
    pub(super) fn discounted(&self, duration: u64) -> u64 {
        let shortened = duration as f64 / self.layout.latency_ratio.max(1.0);
        (shortened as u64).saturating_sub(self.layout.latency_added)
    }
}

impl OutputTensor {
    /// Shows `count` each column of one row of a tensor that is to have these columns; `choose` chooses among the rows that
    /// there are. Answers whether all values are ordinary: there, in range, of a known category. A tensor without rows has
    /// nothing to show.
    pub(super) fn visit(
        &self,
        tensor: &Tensor,
        choose: impl FnOnce(usize) -> usize,
        mut count: impl FnMut(Shown),
    ) -> bool {
        let rows = if self.is_batched { tensor.shape().rows() } else { 1 };
        if rows == 0 {
            return true;
        }
        let (data, width) = (tensor.data(), tensor.data().len() / rows);
        if !self.is_reduced && width != self.width {
            return self.visit_missing(count);
        }
        let start = choose(rows) * width;
        let mut is_ordinary = true;
        let mut note = |column: &OutputColumn, SlotCell { cell, is_defect }, value: f64| {
            let deviation = column.origin.and_then(|origin| deviation(value, origin));
            count(column.shown(cell, deviation));
            is_ordinary &= !is_defect;
        };
        match data {
            TensorData::Bytes(texts) => {
                for (offset, column) in self.columns.iter().enumerate() {
                    note(column, column.cells.of_bytes(texts.get(start + offset).unwrap_or_default()), f64::NAN);
                }
            }
            data if self.is_reduced => {
                let statistics = statistics(data, start, width);
                self.columns
                    .iter()
                    .zip(statistics)
                    .for_each(|(column, value)| note(column, column.cells.of_number(value), value));
            }
            data => {
                for (piece, columns) in self.columns.chunks(PIECE).enumerate() {
                    let mut values = [f64::NAN; PIECE];
                    data.read_numbers(start + piece * PIECE, &mut values[..columns.len()]);
                    let pairs = columns.iter().zip(values);
                    pairs.for_each(|(column, value)| note(column, column.cells.of_number(value), value));
                }
            }
        }
        is_ordinary
    }

    /// The same where the tensor is not there, or has other columns: every value is missing.
    pub(super) fn visit_missing(&self, mut count: impl FnMut(Shown)) -> bool {
        self.columns.iter().for_each(|column| count(column.shown(column.cells.of_missing().cell, None)));
        self.columns.is_empty()
    }
}

impl OutputColumn {
    fn shown(&self, cell: u16, deviation: Option<f64>) -> Shown {
        Shown { cell: self.first + usize::from(cell), column: self.place, deviation }
    }
}

/// The tensors whose columns are compared, and what of their cells is written down.
fn output_tensors(stable: &Recorder) -> (Box<[OutputTensor]>, Vec<OutputCells>) {
    let counted = stable.totals().slots;
    let mut recorded = stable.columns().iter().filter(|column| column.side == Side::Output);
    let (mut outputs, mut first) = (Vec::new(), 0);
    let mut tensor = |(index, plan): (usize, &TensorPlan)| {
        // All of them, also those that are not compared: the next tensor's come behind.
        let recorded: Vec<&RecordedColumn> = recorded.by_ref().take(plan.columns.len()).collect();
        let compared = recorded.into_iter().zip(&plan.columns).take(MOST_OUTPUTS - outputs.len());
        let columns: Vec<OutputColumn> = compared
            .map(|(column, planned)| {
                let cells = ColumnCells::new(column, &planned.layout, &counted[column.slots.clone()]);
                let (expected, ordered, center) = (cells.expected.clone(), cells.ordered, cells.center);
                let compared = OutputColumn { cells, first, place: outputs.len(), origin: center };
                first += expected.len();
                outputs.push(OutputCells { name: column.name.clone(), expected, ordered, center });
                compared
            })
            .collect();
        OutputTensor {
            name: plan.name.clone(),
            index,
            is_batched: plan.batched,
            is_reduced: plan.reduced,
            width: plan.columns.len(),
            columns: columns.into(),
        }
    };
    let tensors = stable.plan.outputs.iter().enumerate().map(&mut tensor).collect();
    (tensors, outputs)
}

/// The statistics of a row that is too wide for a column of each value.
fn statistics(data: &TensorData, start: usize, width: usize) -> [f64; 4] {
    let mut statistics = RowStatistics::default();
    for begin in (0..width).step_by(PIECE) {
        let mut values = [f64::NAN; PIECE];
        let values = &mut values[..PIECE.min(width - begin)];
        data.read_numbers(start + begin, values);
        values.iter().for_each(|value| statistics.add(*value));
    }
    statistics.finish()
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
