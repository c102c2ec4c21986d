//! Records one version's traffic: every feature, every prediction, every answer.
//!
//! Every row enters the fine slots, which say what traffic looks like; one row of a request at most enters the alarm
//! cells, which are evidence. Shards are made when a worker first serves the version: one that is loaded but gets no
//! traffic costs nothing.
//!
//! Invariant: shard *i* is written by worker *i* alone.

use super::answers::{AnswerShard, AnswerTotals, PHASES, Phase, Protocol, StatusLabel};
use super::columns::{RecordPlan, RecordedColumn};
use super::counter::Counters;
use super::evidence::{Evidence, row_of_draw};
use super::marks::{EvidenceRow, Marks};
use super::notes::{MOST_ROWS, Notes};
use super::refusals::{REFUSAL_KINDS, RefusalKind};
use super::segments::{Origin, SegmentError, SegmentPlan, SegmentTotals};
use super::shard::{EVIDENCE_ROWS, PREDICTIONS, REFUSALS, ROWS, Shard, UNRECORDED_ROWS};
use crate::config::SegmentSettings;
use crate::profile::Profile;
use crate::sketch::KEY_GROUPS;
use crate::tensor::{Signature, Tensor};
use hyper::header::HeaderName;
use std::sync::OnceLock;

/// Counts of one version, a shard per worker.
#[derive(Debug)]
pub struct Recorder {
    pub(super) plan: RecordPlan,
    pub(super) max_features: usize,
    /// How rows are to be divided, whether or not they could be.
    pub(super) division: Option<SegmentSettings>,
    pub(super) shards: Box<[OnceLock<Box<Shard>>]>,
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
    /// The same by group of routing keys, see [`RecordedColumn::keyed`]; empty while no request had a key.
    pub keyed: Vec<u64>,
    /// Rows predicted whose values were recorded.
    pub rows: u64,
    /// Rows predicted whose values were not, because the model was not monitored.
    pub unrecorded_rows: u64,
    /// Rows that entered the alarm cells.
    pub evidence_rows: u64,
    /// Requests answered with predictions.
    pub predictions: u64,
    /// Requests refused because they do not fit the signature, in the order of [`RefusalKind::ALL`].
    pub refusals: [u64; REFUSAL_KINDS],
    /// Answers and durations.
    pub answers: AnswerTotals,
    /// The same rows by segment, if they are divided.
    pub segments: SegmentTotals,
}

impl Totals {
    /// Adds what another recorder counted per request: rows, predictions, refusals, answers and durations. Counters of
    /// columns are left alone, since those of other edges mean something else.
    pub fn add_requests(&mut self, other: &Self) {
        self.rows += other.rows;
        self.unrecorded_rows += other.unrecorded_rows;
        self.evidence_rows += other.evidence_rows;
        self.predictions += other.predictions;
        for (mine, count) in self.refusals.iter_mut().zip(other.refusals) {
            *mine += count;
        }
        self.answers.add(&other.answers);
    }
}

impl Recorder {
    /// A recorder for `workers` of them. Tensors wider than `max_features` are reduced to statistics.
    #[must_use]
    pub fn new(signature: &Signature, profile: Option<&Profile>, max_features: usize, workers: usize) -> Self {
        let plan = RecordPlan::new(signature, profile, max_features);
        Self { plan, max_features, division: None, shards: (0..workers).map(|_| OnceLock::new()).collect() }
    }

    /// Divides rows into segments; to be called before anything is recorded. `profile` is what the recorder was made
    /// with.
    ///
    /// # Errors
    /// [`SegmentError`] when they cannot be divided like that; they then stay undivided.
    pub fn divide(&mut self, profile: Option<&Profile>, settings: &SegmentSettings) -> Result<(), SegmentError> {
        self.division = Some(settings.clone());
        let segments = SegmentPlan::new(&self.plan, profile, settings, self.shards.len())?;
        self.plan.segments = Some(segments);
        // Rows that are divided are counted as they come: each request's have a segment of their own.
        self.plan.noted_rows = 0;
        self.shards.iter_mut().for_each(|shard| drop(shard.take()));
        Ok(())
    }

    /// The header whose values divide rows, if one does.
    #[must_use]
    pub fn segment_header(&self) -> Option<&HeaderName> {
        self.plan.segments.as_ref()?.header()
    }

    /// What is recorded, column by column.
    #[must_use]
    pub fn columns(&self) -> &[RecordedColumn] {
        &self.plan.columns
    }

    /// Counts an answered request's values: inputs and outputs in the signature's order. `origin` says whether, and
    /// which, one of its rows enters the alarm cells, and may say the segment of all of them.
    pub fn record_prediction<'a>(
        &self,
        worker: usize,
        origin: impl Into<Origin<'a>>,
        inputs: &[Tensor],
        outputs: &[Tensor],
    ) {
        self.record(worker, origin.into(), inputs, outputs);
    }

    fn record(&self, worker: usize, Origin { evidence, header }: Origin<'_>, inputs: &[Tensor], outputs: &[Tensor]) {
        let shard = self.shard(worker);
        let segments =
            self.plan.segments.as_ref().zip(shard.segments.as_ref()).map(|(plan, counters)| {
                plan.rows(counters.slice(0..plan.counters()), header, (&self.plan.inputs, inputs))
            });
        for (plan, tensor) in self.plan.inputs.iter().zip(inputs).chain(self.plan.outputs.iter().zip(outputs)) {
            // The one row of a tensor that is not batched stands for all rows of the others.
            let evidence = self.evidence_row(shard, evidence, plan.rows(tensor));
            let marks = Marks { evidence: evidence.as_slice(), segments: segments.as_ref() };
            shard.record_tensor(plan, tensor, marks);
        }
        let rows = self.rows(inputs);
        if let Some(segments) = segments {
            segments.count_rows(rows);
        }
        let is_evidence = rows > 0 && evidence.draw().is_some();
        count_requests(shard, [1, rows, usize::from(is_evidence)]);
    }

    /// The row among `rows` of a request that is evidence, if one is.
    fn evidence_row(&self, shard: &Shard, evidence: Evidence, rows: usize) -> Option<EvidenceRow> {
        let draw = evidence.draw().filter(|_| rows > 0)?;
        let group = evidence.key_group();
        if group.is_some() {
            shard.keyed.get_or_init(|| Counters::new(self.plan.cells * KEY_GROUPS));
        }
        Some(EvidenceRow::new(row_of_draw(draw, rows), group))
    }

    /// Takes a small request's values into `notes`, to be counted later together with others, and says whether it did:
    /// where not, they are to be counted [as they come](Self::record_prediction). `notes` are this version's and this
    /// worker's until they are [settled](Self::settle); those that have no room for the request are settled before.
    pub fn note(
        &self,
        (worker, notes): (usize, &mut Notes),
        evidence: Evidence,
        inputs: &[Tensor],
        outputs: &[Tensor],
    ) -> bool {
        let rows = self.rows(inputs);
        let tensors = || self.plan.inputs.iter().zip(inputs).chain(self.plan.outputs.iter().zip(outputs));
        let is_small = rows > 0 && rows <= MOST_ROWS.min(self.plan.noted_rows);
        if !is_small || tensors().any(|(plan, tensor)| plan.rows(tensor) != rows) {
            return false;
        }
        if notes.rows() + rows > self.plan.noted_rows {
            self.settle(worker, notes);
        }
        let evidence = self.evidence_row(self.shard(worker), evidence, rows);
        notes.take(&self.plan, (rows, evidence), tensors().map(|(_, tensor)| tensor));
        true
    }

    /// Counts what was noted.
    pub fn settle(&self, worker: usize, notes: &mut Notes) {
        if notes.rows() > 0 {
            let shard = self.shard(worker);
            notes.record(&self.plan, shard);
            count_requests(shard, notes.counts());
            notes.clear();
        }
    }

    /// Counts an answered request without its values.
    pub fn count_prediction(&self, worker: usize, inputs: &[Tensor]) {
        let requests = &self.shard(worker).requests;
        requests.add(UNRECORDED_ROWS, self.rows(inputs) as u64);
        requests.add(PREDICTIONS, 1);
    }

    /// Rows of a request, by its last input.
    fn rows(&self, inputs: &[Tensor]) -> usize {
        self.plan.inputs.iter().zip(inputs).next_back().map_or(1, |(plan, tensor)| plan.rows(tensor))
    }

    /// Counts a request for this version that was refused because it does not fit the signature.
    pub fn record_refusal(&self, worker: usize, kind: RefusalKind) {
        self.shard(worker).requests.add(REFUSALS + kind as usize, 1);
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

    /// Counts how long it took to write an answer that was timed.
    pub fn record_write(&self, worker: usize, nanoseconds: u64) {
        let mut phases = [0; PHASES];
        phases[Phase::Write as usize] = nanoseconds;
        self.shard(worker).answers.time(&phases);
    }

    /// The counts of all workers, as of now.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let mut totals = self.no_totals();
        for shard in self.shards.iter().filter_map(OnceLock::get) {
            self.plan.add_slots(&shard.values, &mut totals.slots);
            shard.sums.add_to(&mut totals.sums);
            shard.cells.add_to(&mut totals.cells);
            if let Some(keyed) = shard.keyed.get() {
                totals.keyed.resize(self.plan.cells * KEY_GROUPS, 0);
                keyed.add_to(&mut totals.keyed);
            }
            totals.rows += shard.requests.get(ROWS);
            totals.unrecorded_rows += shard.requests.get(UNRECORDED_ROWS);
            totals.evidence_rows += shard.requests.get(EVIDENCE_ROWS);
            totals.predictions += shard.requests.get(PREDICTIONS);
            for (kind, total) in totals.refusals.iter_mut().enumerate() {
                *total += shard.requests.get(REFUSALS + kind);
            }
            shard.answers.add_to(&mut totals.answers);
            if let Some(segments) = &shard.segments {
                segments.add_to(&mut totals.segments.counts);
            }
        }
        totals
    }

    /// The alarm cells of all workers as of now, and the same by group of routing keys: what alarms look at, several times
    /// a second, without all the rest.
    #[must_use]
    pub fn evidence(&self) -> (Vec<u64>, Vec<u64>) {
        let (mut cells, mut keyed) = (vec![0; self.plan.cells], Vec::new());
        for shard in self.shards.iter().filter_map(OnceLock::get) {
            shard.cells.add_to(&mut cells);
            if let Some(counters) = shard.keyed.get() {
                keyed.resize(self.plan.cells * KEY_GROUPS, 0);
                counters.add_to(&mut keyed);
            }
        }
        (cells, keyed)
    }

    /// The counts before anything was recorded.
    #[must_use]
    pub fn no_totals(&self) -> Totals {
        let zeros = |count| vec![0; count];
        let RecordPlan { slots, sums, cells, .. } = self.plan;
        let segments = self.plan.segments.as_ref().map(SegmentPlan::no_totals).unwrap_or_default();
        Totals { slots: zeros(slots), sums: zeros(sums), cells: zeros(cells), segments, ..Totals::default() }
    }

    fn shard(&self, worker: usize) -> &Shard {
        self.shards[worker].get_or_init(|| {
            Box::new(Shard {
                values: Counters::new(self.plan.places),
                sums: Counters::new(self.plan.sums),
                cells: Counters::new(self.plan.cells),
                requests: Counters::new(REFUSALS + REFUSAL_KINDS),
                keyed: OnceLock::new(),
                answers: AnswerShard::new(),
                segments: self.plan.segments.as_ref().map(|plan| Counters::new(plan.counters())),
            })
        })
    }
}

/// Counts answered requests, their rows, and those rows that are evidence.
fn count_requests(shard: &Shard, [requests, rows, evidence]: [usize; 3]) {
    shard.requests.add(ROWS, rows as u64);
    shard.requests.add(PREDICTIONS, requests as u64);
    shard.requests.add(EVIDENCE_ROWS, evidence as u64);
}
