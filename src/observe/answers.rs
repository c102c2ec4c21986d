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
/// The arm of requests that name their version.
const PINNED: usize = 2;
/// Protocols that an answer can be written in.
const PROTOCOLS: usize = 2;
/// Measured phases.
pub const PHASES: usize = 8;

/// The measured phases of a request, consecutive but for the total and our own share of it: the total is decode, queue,
/// compute and encode. It leaves out receive and write, whose pace the client sets. Our own share is recorded besides,
/// because quantiles of a difference do not follow from those of its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// From the head to the whole body; none if the body came with it.
    Receive,
    /// From the whole body to the answer.
    Total,
    /// Choosing a version, and body to tensors.
    Decode,
    /// Waiting for the engine's call, where that is not made at once, and for the worker that a request was handed to.
    Queue,
    /// The engine's call.
    Compute,
    /// Recording, and tensors to an answer.
    Encode,
    /// From the answer to the system's having taken all of it. Known of HTTP/1.1 alone: with HTTP/2 the answers of many
    /// requests go out in pieces that the protocol mixes.
    Write,
    /// The total without queue and compute: what is neither the engine's nor the client's.
    Own,
}

impl Phase {
    /// All of them, in index order.
    pub const ALL: [Self; PHASES] =
        [Self::Receive, Self::Total, Self::Decode, Self::Queue, Self::Compute, Self::Encode, Self::Write, Self::Own];

    /// Its label.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Receive => "receive",
            Self::Total => "total",
            Self::Decode => "decode",
            Self::Queue => "queue",
            Self::Compute => "compute",
            Self::Encode => "encode",
            Self::Write => "write",
            Self::Own => "own",
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
const STATUSES: [u16; 14] = [200, 400, 401, 403, 404, 405, 408, 409, 413, 415, 429, 500, 503, 504];
/// Where 500 is among them.
const INTERNAL: usize = 11;

/// A status, as an index into the table. Anything unforeseen counts as 500, the status of what should not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusLabel(usize);

impl StatusLabel {
    /// The label of a status code.
    #[must_use]
    pub fn of(code: u16) -> Self {
        Self(STATUSES.iter().position(|&known| known == code).unwrap_or(INTERNAL))
    }

    /// Whether an answer of this status says how fast the model is: a prediction, or a failure of ours. Refusals of bad
    /// requests are fast, and many of them would hide how long predictions take.
    #[must_use]
    pub fn is_timed(self) -> bool {
        is_timed(STATUSES[self.0])
    }
}

fn is_timed(code: u16) -> bool {
    code == 200 || code >= 500
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
    /// Adds what was counted elsewhere.
    pub fn add(&mut self, other: &Self) {
        let pairs = [
            (&mut self.statuses, &other.statuses),
            (&mut self.durations, &other.durations),
            (&mut self.duration_sums, &other.duration_sums),
        ];
        for (mine, theirs) in pairs {
            // Sums of nanoseconds wrap in theory, and a wrapped sum is what its readers expect.
            mine.iter_mut().zip(theirs).for_each(|(mine, count)| *mine = mine.wrapping_add(*count));
        }
    }

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

    /// How many of a phase's durations are surely above a limit in nanoseconds, and how many there are: those count that
    /// are in bins wholly above it, so that a limit within a bin is taken as the bin's end, at most a sixteenth higher.
    #[must_use]
    pub fn over(&self, phase: Phase, limit_ns: u64) -> (u64, u64) {
        let durations = self.durations(phase);
        let sum = |counts: &[u64]| counts.iter().fold(0, |sum: u64, &count| sum.wrapping_add(count));
        // The last bin also holds what is longer than bins reach, so that it is above no limit beyond its start.
        let first_above =
            (0..durations.len()).find(|&bin| nanoseconds::lower(bin) > limit_ns).unwrap_or(durations.len());
        (sum(&durations[first_above..]), sum(durations))
    }

    /// Failures of ours (5xx) and, with them, predictions: answers from stable and canary arms, over both protocols.
    /// Pinned requests are left out, because a caller who chooses a version chooses its failures, and so are refusals
    /// of bad requests, many of which would hide failures.
    #[must_use]
    pub fn server_errors(&self) -> (u64, u64) {
        let counted = self.statuses().filter(|&(arm, _, status, _)| arm != PINNED && is_timed(status));
        counted.fold((0, 0), |(errors, answers), (_, _, status, count)| {
            (errors + if status >= 500 { count } else { 0 }, answers + count)
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(record: impl Fn(&AnswerShard)) -> AnswerTotals {
        let (shard, mut totals) = (AnswerShard::new(), AnswerTotals::default());
        record(&shard);
        shard.add_to(&mut totals);
        totals
    }

    #[test]
    fn without_answers_nothing_is_over_a_limit_and_nothing_failed() {
        let totals = AnswerTotals::default();
        assert_eq!((totals.over(Phase::Total, 0), totals.server_errors()), ((0, 0), (0, 0)));
    }

    #[test]
    fn only_bins_wholly_above_the_limit_are_over_it() {
        let totals = totals(|shard| {
            for total in [1, 999_999, 1_000_000, 1_100_000, 5_000_000, u64::MAX] {
                shard.time(&[0, total, 0, 0, 0, 0, 0, 0]);
            }
        });
        assert_eq!(totals.over(Phase::Total, 1_000_000), (3, 6));
        assert_eq!(totals.over(Phase::Total, 0), (5, 6), "the first bin begins at zero");
        assert_eq!(totals.over(Phase::Total, u64::MAX), (0, 6));
        assert_eq!(totals.over(Phase::Decode, 0), (0, 0));
        for limit in [1_000, 20_000, 1_000_000, 33_000_000] {
            let bin = nanoseconds::index(limit);
            let counted = totals.durations(Phase::Total)[bin + 1..].iter().sum::<u64>();
            assert_eq!(totals.over(Phase::Total, limit).0, counted);
        }
    }

    #[test]
    fn failures_are_counted_among_the_predictions_of_unpinned_arms() {
        let totals = totals(|shard| {
            for (arm, status) in [(0, 200), (0, 500), (1, 200), (1, 503), (1, 400), (0, 404), (2, 500), (2, 200)] {
                shard.count(arm, Protocol::OpenInference, StatusLabel::of(status));
                shard.count(arm, Protocol::KserveV1, StatusLabel::of(200));
            }
        });
        assert_eq!(totals.server_errors(), (2, 4 + 6));
    }
}
