//! Values of small requests, noted one after the other and counted together.
//!
//! A request of one row costs its recorder mostly what it does not have at hand: tables, edges and counters of every
//! column, which the engine and the next request's text have driven from the first-level cache, and code that is as cold.
//! For a dozen rows that is paid once. Noting a row is a copy.
//!
//! Invariant: what is noted is counted exactly once, as [`Recorder::record_prediction`](super::Recorder) counts it.

use super::columns::{RecordPlan, Search, TensorPlan};
use super::marks::{EvidenceRow, Marks};
use super::shard::Shard;
use crate::tensor::{Tensor, TensorData};

/// The most rows of a request that is noted: those of larger ones share their cost among themselves.
pub(super) const MOST_ROWS: usize = 16;
/// The most rows that are noted before they are counted.
const NOTED_ROWS: usize = 64;
/// The most bytes: a quarter of a first-level cache of 32 KiB, whose rest is for counting them.
const NOTED_BYTES: usize = 8 << 10;

/// Rows of one version that are yet to be counted.
#[derive(Debug, Default)]
pub struct Notes {
    /// Of every tensor, inputs first, its rows one behind the other.
    tensors: Vec<Numbers>,
    evidence: Vec<EvidenceRow>,
    rows: usize,
    requests: usize,
}

#[derive(Debug)]
enum Numbers {
    F32(Vec<f32>),
    F64(Vec<f64>),
}

/// How many rows of these tensors are noted at most; 0 if they are not: tensors of strings, those without a row for each of
/// the others', those that are reduced to statistics, and rows of which few would fit.
pub(super) fn rows_noted<'a>(tensors: impl Iterator<Item = &'a TensorPlan>) -> usize {
    let mut bytes = 0;
    for tensor in tensors {
        let width = match tensor.search {
            _ if tensor.reduced || !tensor.batched => return 0,
            Search::F32(_) => size_of::<f32>(),
            Search::F64(_) => size_of::<f64>(),
            Search::Strings => return 0,
        };
        bytes += tensor.columns.len() * width;
    }
    let rows = NOTED_BYTES.checked_div(bytes).unwrap_or(0).min(NOTED_ROWS);
    if rows < 2 { 0 } else { rows }
}

impl Notes {
    /// Rows that are noted.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Requests, rows, and rows that are evidence.
    pub(super) fn counts(&self) -> [usize; 3] {
        [self.requests, self.rows, self.evidence.len()]
    }

    /// Takes the tensors of a request, of which one row at most is evidence.
    pub(super) fn take<'a>(
        &mut self,
        plan: &RecordPlan,
        (rows, evidence): (usize, Option<EvidenceRow>),
        tensors: impl Iterator<Item = &'a Tensor>,
    ) {
        if self.requests == 0 {
            self.fit(plan);
        }
        for (numbers, tensor) in self.tensors.iter_mut().zip(tensors) {
            numbers.take(tensor.data());
        }
        self.evidence.extend(evidence.map(|evidence| evidence.behind(self.rows)));
        self.rows += rows;
        self.requests += 1;
    }

    /// Counts all rows.
    pub(super) fn record(&self, plan: &RecordPlan, shard: &Shard) {
        let marks = Marks { evidence: &self.evidence, segments: None };
        for (plan, numbers) in plan.inputs.iter().chain(&plan.outputs).zip(&self.tensors) {
            match (&plan.search, numbers) {
                (Search::F32(search), Numbers::F32(values)) => shard.record_numbers((plan, search), values, marks),
                (Search::F64(search), Numbers::F64(values)) => shard.record_numbers((plan, search), values, marks),
                _ => unreachable!("empty notes are fitted to the version whose rows they take"),
            }
        }
    }

    /// Forgets all rows, and keeps their room.
    pub(super) fn clear(&mut self) {
        (self.rows, self.requests) = (0, 0);
        self.evidence.clear();
        self.tensors.iter_mut().for_each(Numbers::clear);
    }

    /// Makes room of the right types for a version's tensors.
    fn fit(&mut self, plan: &RecordPlan) {
        let plans = || plan.inputs.iter().chain(&plan.outputs);
        let is_fitting = |(plan, numbers): (&TensorPlan, &Numbers)| {
            matches!((&plan.search, numbers), (Search::F32(_), Numbers::F32(_)) | (Search::F64(_), Numbers::F64(_)))
        };
        if self.tensors.len() == plans().count() && plans().zip(&self.tensors).all(is_fitting) {
            return;
        }
        self.tensors = plans()
            .map(|plan| match plan.search {
                Search::F32(_) => Numbers::F32(Vec::with_capacity(plan.columns.len() * NOTED_ROWS)),
                Search::F64(_) | Search::Strings => Numbers::F64(Vec::with_capacity(plan.columns.len() * NOTED_ROWS)),
            })
            .collect();
    }
}

impl Numbers {
    fn take(&mut self, data: &TensorData) {
        match (self, data) {
            (Self::F32(numbers), TensorData::Fp32(values)) => numbers.extend_from_slice(values),
            (Self::F32(numbers), data) => {
                data.visit_numbers(|_, value| numbers.push(value as f32));
            }
            (Self::F64(numbers), data) => {
                let start = numbers.len();
                numbers.resize(start + data.len(), f64::NAN);
                data.read_numbers(0, &mut numbers[start..]);
            }
        }
    }

    fn clear(&mut self) {
        match self {
            Self::F32(numbers) => numbers.clear(),
            Self::F64(numbers) => numbers.clear(),
        }
    }
}
