//! Records one version's traffic: every feature, every prediction, every answer.
//!
//! Values are counted column by column, so that one layout is matched once and its edges stay in the cache for the whole
//! batch. Shards are made when a worker first serves the version: one that is loaded but gets no traffic costs nothing.
//!
//! Invariant: shard *i* is written by worker *i* alone.

use super::answers::{AnswerShard, AnswerTotals, PHASES, Protocol, StatusLabel};
use super::columns::{ColumnPlan, RecordPlan, RecordedColumn, TensorPlan};
use super::counter::Counters;
use crate::profile::Profile;
use crate::sketch::ColumnLayout;
use crate::tensor::{Signature, Tensor, TensorData};
use std::sync::OnceLock;

/// Counts of one version, a shard per worker.
#[derive(Debug)]
pub struct Recorder {
    plan: RecordPlan,
    shards: Box<[OnceLock<Box<Shard>>]>,
}

#[derive(Debug)]
struct Shard {
    slots: Counters,
    sums: Counters,
    rows: Counters,
    answers: AnswerShard,
}

/// All workers' counts, summed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Counters of every column, see [`RecordedColumn::slots`].
    pub slots: Vec<u64>,
    /// Wrapping fixed-point sums of every column, see [`RecordedColumn::sums`].
    pub sums: Vec<u64>,
    /// Rows predicted.
    pub rows: u64,
    /// Answers and durations.
    pub answers: AnswerTotals,
}

impl Recorder {
    /// A recorder for `workers` of them. Tensors wider than `max_features` are reduced to statistics.
    #[must_use]
    pub fn new(signature: &Signature, profile: Option<&Profile>, max_features: usize, workers: usize) -> Self {
        let plan = RecordPlan::new(signature, profile, max_features);
        Self { plan, shards: (0..workers).map(|_| OnceLock::new()).collect() }
    }

    /// What is recorded, column by column.
    #[must_use]
    pub fn columns(&self) -> &[RecordedColumn] {
        &self.plan.columns
    }

    /// Counts an answered request's values: inputs and outputs in the signature's order.
    pub fn record_prediction(&self, worker: usize, inputs: &[Tensor], outputs: &[Tensor]) {
        let shard = self.shard(worker);
        let mut rows = 1;
        for (plan, tensor) in self.plan.inputs.iter().zip(inputs) {
            rows = rows_of(plan, tensor);
            shard.record_tensor(plan, tensor);
        }
        for (plan, tensor) in self.plan.outputs.iter().zip(outputs) {
            shard.record_tensor(plan, tensor);
        }
        shard.rows.add(0, rows as u64);
    }

    /// Counts an answer, whatever its status, and the nanoseconds of its phases, if the status
    /// [is timed](StatusLabel::is_timed). `label` is the arm's index, the protocol and the status.
    pub fn record_answer(&self, worker: usize, label: (usize, Protocol, StatusLabel), phases: &[u64; PHASES]) {
        let shard = self.shard(worker);
        let (arm, protocol, status) = label;
        shard.answers.count(arm, protocol, status);
        if status.is_timed() {
            shard.answers.time(phases);
        }
    }

    /// The counts of all workers, as of now.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let mut totals = self.no_totals();
        for shard in self.shards.iter().filter_map(OnceLock::get) {
            shard.slots.add_to(&mut totals.slots);
            shard.sums.add_to(&mut totals.sums);
            totals.rows += shard.rows.get(0);
            shard.answers.add_to(&mut totals.answers);
        }
        totals
    }

    /// The counts before anything was recorded.
    #[must_use]
    pub fn no_totals(&self) -> Totals {
        Totals { slots: vec![0; self.plan.slots], sums: vec![0; self.plan.sums], ..Totals::default() }
    }

    fn shard(&self, worker: usize) -> &Shard {
        self.shards[worker].get_or_init(|| {
            Box::new(Shard {
                slots: Counters::new(self.plan.slots),
                sums: Counters::new(self.plan.sums),
                rows: Counters::new(1),
                answers: AnswerShard::new(),
            })
        })
    }
}

impl Shard {
    fn record_tensor(&self, plan: &TensorPlan, tensor: &Tensor) {
        if plan.reduced {
            return self.record_statistics(plan, tensor);
        }
        match tensor.data() {
            TensorData::Fp32(values) => self.record_floats(plan, values),
            TensorData::Bytes(values) => {
                for (position, value) in values.iter().enumerate() {
                    let column = &plan.columns[position % plan.columns.len()];
                    self.slots.add(column.first_slot + column.layout.slot_bytes(value), 1);
                }
            }
            data => {
                data.visit_numbers(|position, value| self.count(&plan.columns[position % plan.columns.len()], value));
            }
        }
    }

    /// The path of nearly all traffic: numbers in single precision on the edges of a reference.
    fn record_floats(&self, plan: &TensorPlan, values: &[f32]) {
        let width = plan.columns.len();
        for (index, column) in plan.columns.iter().enumerate() {
            let of_column = values.iter().skip(index).step_by(width);
            match &column.layout {
                ColumnLayout::F32(bins) => {
                    for &value in of_column {
                        let slot = bins.slot(value);
                        self.slots.add(column.first_slot + slot, 1);
                        if let Some(sum) = bins.sum_index(slot) {
                            let addend = bins.fixed_point().quantize(f64::from(value));
                            self.sums.add(column.first_sum + sum, addend.cast_unsigned());
                        }
                    }
                }
                layout => of_column.for_each(|&value| self.slots.add(column.first_slot + layout.slot_f32(value), 1)),
            }
        }
    }

    fn record_statistics(&self, plan: &TensorPlan, tensor: &Tensor) {
        let width = tensor.data().len().checked_div(rows_of(plan, tensor)).unwrap_or(0);
        let mut row = RowStatistics::default();
        tensor.data().visit_numbers(|position, value| {
            row.add(value);
            if (position + 1) % width == 0 {
                for (column, value) in plan.columns.iter().zip(std::mem::take(&mut row).finish()) {
                    self.count(column, value);
                }
            }
        });
    }

    fn count(&self, column: &ColumnPlan, value: f64) {
        let slot = column.layout.slot_f64(value);
        self.slots.add(column.first_slot + slot, 1);
        if let Some(sum) = column.layout.sum_index(slot) {
            self.sums.add(column.first_sum + sum, column.layout.quantize(value).cast_unsigned());
        }
    }
}

/// What a row of a wide tensor is reduced to, in the making.
#[derive(Clone, Copy, Debug, Default)]
pub struct RowStatistics {
    values: u64,
    finite: u64,
    zeros: u64,
    sum: f64,
    square_sum: f64,
}

impl RowStatistics {
    /// Takes in one value of the row.
    pub fn add(&mut self, value: f64) {
        self.values += 1;
        if value.is_finite() {
            self.finite += 1;
            self.zeros += u64::from(value.abs() < f64::MIN_POSITIVE);
            self.sum += value;
            self.square_sum += value * value;
        }
    }

    /// Norm and mean of the finite values, share of zeros and share of non-finite values, in the order of
    /// [`STATISTICS`](super::STATISTICS).
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a row has fewer than 2^53 values")]
    pub fn finish(self) -> [f64; 4] {
        let share = |count: u64| if self.values == 0 { 0.0 } else { count as f64 / self.values as f64 };
        let mean = if self.finite == 0 { 0.0 } else { self.sum / self.finite as f64 };
        [self.square_sum.sqrt(), mean, share(self.zeros), share(self.values - self.finite)]
    }
}

fn rows_of(plan: &TensorPlan, tensor: &Tensor) -> usize {
    if plan.batched { tensor.shape().rows() } else { 1 }
}
