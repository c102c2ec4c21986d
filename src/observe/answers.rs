//! Counts of answers and their durations, by what their labels can be.
//!
//! All labels are bounded, so a table indexed by them replaces a map: arms × protocols × statuses, and log-linear
//! duration bins per phase. As everywhere here, a worker owns its table and increments with a plain load and store.
//!
//! Invariant: counts only grow.

use super::counter::Counters;
use crate::sketch::log_linear::nanoseconds;

/// Arms that an answer can come from: stable, canary, pinned.
pub const ARMS: usize = 3;
/// Protocols that an answer can be written in.
const PROTOCOLS: usize = 2;
/// Measured phases.
pub const PHASES: usize = 5;

/// The measured phases of a request, consecutive but for the total: that is choosing a version, decode, compute and
/// encode. It leaves out receive, whose pace the client sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// From the head to the whole body.
    Receive,
    /// From the whole body to the answer.
    Total,
    /// Body to tensors.
    Decode,
    /// The engine's call.
    Compute,
    /// Recording, and tensors to a body.
    Encode,
}

impl Phase {
    /// All of them, in index order.
    pub const ALL: [Self; PHASES] = [Self::Receive, Self::Total, Self::Decode, Self::Compute, Self::Encode];

    /// Its label.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Receive => "receive",
            Self::Total => "total",
            Self::Decode => "decode",
            Self::Compute => "compute",
            Self::Encode => "encode",
        }
    }
}

/// The protocols, as labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Open Inference Protocol v2 as JSON.
    OpenInference,
    /// KServe V1.
    KserveV1,
}

impl Protocol {
    /// All of them, in index order.
    pub const ALL: [Self; PROTOCOLS] = [Self::OpenInference, Self::KserveV1];

    /// Its label.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OpenInference => "oip",
            Self::KserveV1 => "v1",
        }
    }
}

/// The statuses that are counted one by one.
const STATUSES: [u16; 12] = [200, 400, 401, 403, 404, 405, 408, 409, 413, 415, 500, 503];

/// A status, as an index into the table. Anything unforeseen counts as 500, the status of what should not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusLabel(usize);

impl StatusLabel {
    /// The label of a status code.
    #[must_use]
    pub fn of(code: u16) -> Self {
        let internal = STATUSES.len() - 2;
        Self(STATUSES.iter().position(|&known| known == code).unwrap_or(internal))
    }

    /// Whether an answer of this status says how fast the model is: a prediction, or a failure of ours. Refusals of bad
    /// requests are fast, and many of them would hide how long predictions take.
    #[must_use]
    pub fn is_timed(self) -> bool {
        let code = STATUSES[self.0];
        code == 200 || code >= 500
    }
}

const STATUS_TABLE: usize = ARMS * PROTOCOLS * STATUSES.len();

/// One worker's counts of answers and durations.
#[derive(Debug)]
pub(super) struct AnswerShard {
    statuses: Counters,
    durations: Counters,
    duration_sums: Counters,
}

impl AnswerShard {
    pub(super) fn new() -> Self {
        Self {
            statuses: Counters::new(STATUS_TABLE),
            durations: Counters::new(PHASES * nanoseconds::COUNT),
            duration_sums: Counters::new(PHASES),
        }
    }

    pub(super) fn count(&self, arm: usize, protocol: Protocol, status: StatusLabel) {
        self.statuses.add(cell(arm, protocol as usize, status.0), 1);
    }

    pub(super) fn time(&self, phases: &[u64; PHASES]) {
        for (phase, &duration) in phases.iter().enumerate() {
            // A phase that was not reached took no time at all.
            if duration > 0 {
                self.durations.add(phase * nanoseconds::COUNT + nanoseconds::index(duration), 1);
                self.duration_sums.add(phase, duration);
            }
        }
    }

    pub(super) fn add_to(&self, totals: &mut AnswerTotals) {
        self.statuses.add_to(&mut totals.statuses);
        self.durations.add_to(&mut totals.durations);
        self.duration_sums.add_to(&mut totals.duration_sums);
    }
}

/// All workers' counts of answers and durations, summed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerTotals {
    statuses: Vec<u64>,
    durations: Vec<u64>,
    duration_sums: Vec<u64>,
}

impl Default for AnswerTotals {
    fn default() -> Self {
        Self {
            statuses: vec![0; STATUS_TABLE],
            durations: vec![0; PHASES * nanoseconds::COUNT],
            duration_sums: vec![0; PHASES],
        }
    }
}

impl AnswerTotals {
    /// Every count that is not zero: arm index, protocol, status code, count.
    pub fn statuses(&self) -> impl Iterator<Item = (usize, Protocol, u16, u64)> {
        (0..ARMS).flat_map(move |arm| {
            Protocol::ALL.into_iter().flat_map(move |protocol| {
                STATUSES.iter().enumerate().filter_map(move |(index, &status)| {
                    let count = self.statuses[cell(arm, protocol as usize, index)];
                    (count > 0).then_some((arm, protocol, status, count))
                })
            })
        })
    }

    /// Counts of a phase's durations by log-linear bin.
    #[must_use]
    pub fn durations(&self, phase: Phase) -> &[u64] {
        let start = phase as usize * nanoseconds::COUNT;
        &self.durations[start..start + nanoseconds::COUNT]
    }

    /// The sum of a phase's durations, nanoseconds.
    #[must_use]
    pub fn duration_sum(&self, phase: Phase) -> u64 {
        self.duration_sums[phase as usize]
    }
}

fn cell(arm: usize, protocol: usize, status: usize) -> usize {
    (arm * PROTOCOLS + protocol) * STATUSES.len() + status
}
