//! Records one version's traffic: every feature, every prediction, every answer.
//!
//! Every row enters the fine slots, which say what traffic looks like; one row of a request at most enters the alarm
//! cells, which are evidence. Shards are made when a worker first serves the version: one that is loaded but gets no
//! traffic costs nothing.
//!
//! Invariant: shard *i* is written by worker *i* alone.

use super::answers::{AnswerShard, AnswerTotals, PHASES, Protocol, StatusLabel};
use super::columns::{RecordPlan, RecordedColumn};
use super::counter::Counters;
use super::evidence::{Evidence, KeyGroups};
use super::refusals::{REFUSAL_KINDS, RefusalKind};
use super::shard::{EVIDENCE_ROWS, PREDICTIONS, REFUSALS, ROWS, Shard};
use crate::profile::Profile;
use crate::tensor::{Signature, Tensor};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// Counts of one version, a shard per worker.
#[derive(Debug)]
pub struct Recorder {
    plan: RecordPlan,
    shards: Box<[OnceLock<Box<Shard>>]>,
    /// Key groups count as met within one epoch.
    key_epoch: AtomicU32,
}

/// All workers' counts, summed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Counters of every column, see [`RecordedColumn::slots`].
    pub slots: Vec<u64>,
    /// Wrapping fixed-point sums of every column, see [`RecordedColumn::sums`].
    pub sums: Vec<u64>,
    /// Alarm cells of every column, see [`RecordedColumn::cells`].
    pub cells: Vec<u64>,
    /// Rows predicted.
    pub rows: u64,
    /// Rows that entered the alarm cells.
    pub evidence_rows: u64,
    /// Requests answered with predictions.
    pub predictions: u64,
    /// Requests refused because they do not fit the signature, in the order of [`RefusalKind::ALL`].
    pub refusals: [u64; REFUSAL_KINDS],
    /// Answers and durations.
    pub answers: AnswerTotals,
}

impl Recorder {
    /// A recorder for `workers` of them. Tensors wider than `max_features` are reduced to statistics.
    #[must_use]
    pub fn new(signature: &Signature, profile: Option<&Profile>, max_features: usize, workers: usize) -> Self {
        let plan = RecordPlan::new(signature, profile, max_features);
        Self { plan, shards: (0..workers).map(|_| OnceLock::new()).collect(), key_epoch: AtomicU32::new(0) }
    }

    /// What is recorded, column by column.
    #[must_use]
    pub fn columns(&self) -> &[RecordedColumn] {
        &self.plan.columns
    }

    /// Counts an answered request's values: inputs and outputs in the signature's order. `evidence` says whether, and
    /// which, one of its rows enters the alarm cells.
    pub fn record_prediction(&self, worker: usize, evidence: Evidence, inputs: &[Tensor], outputs: &[Tensor]) {
        let shard = self.shard(worker);
        let tensors = || self.plan.inputs.iter().zip(inputs);
        let rows = tensors().next_back().map_or(1, |(plan, tensor)| plan.rows(tensor));
        let draw =
            if rows == 0 { None } else { shard.key_groups.admit(evidence, self.key_epoch.load(Ordering::Relaxed)) };
        for (plan, tensor) in tensors().chain(self.plan.outputs.iter().zip(outputs)) {
            shard.record_tensor(plan, tensor, draw);
        }
        shard.requests.add(ROWS, rows as u64);
        shard.requests.add(PREDICTIONS, 1);
        shard.requests.add(EVIDENCE_ROWS, u64::from(draw.is_some()));
    }

    /// Counts a request for this version that was refused because it does not fit the signature.
    pub fn record_refusal(&self, worker: usize, kind: RefusalKind) {
        self.shard(worker).requests.add(REFUSALS + kind as usize, 1);
    }

    /// Starts a new epoch of key groups: from now on one more row of each may enter the alarm cells.
    pub fn advance_key_epoch(&self) {
        self.key_epoch.fetch_add(1, Ordering::Relaxed);
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
            shard.cells.add_to(&mut totals.cells);
            totals.rows += shard.requests.get(ROWS);
            totals.evidence_rows += shard.requests.get(EVIDENCE_ROWS);
            totals.predictions += shard.requests.get(PREDICTIONS);
            for (kind, total) in totals.refusals.iter_mut().enumerate() {
                *total += shard.requests.get(REFUSALS + kind);
            }
            shard.answers.add_to(&mut totals.answers);
        }
        totals
    }

    /// The counts before anything was recorded.
    #[must_use]
    pub fn no_totals(&self) -> Totals {
        let zeros = |count| vec![0; count];
        let RecordPlan { slots, sums, cells, .. } = self.plan;
        Totals { slots: zeros(slots), sums: zeros(sums), cells: zeros(cells), ..Totals::default() }
    }

    fn shard(&self, worker: usize) -> &Shard {
        self.shards[worker].get_or_init(|| {
            Box::new(Shard {
                slots: Counters::new(self.plan.slots),
                sums: Counters::new(self.plan.sums),
                cells: Counters::new(self.plan.cells),
                requests: Counters::new(REFUSALS + REFUSAL_KINDS),
                key_groups: KeyGroups::new(),
                answers: AnswerShard::new(),
            })
        })
    }
}
