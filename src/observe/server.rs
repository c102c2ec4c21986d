//! Counts that belong to no model: requests in flight, and refusals before a model was known.
//!
//! Invariant: every request that enters leaves, also when its connection breaks, because a guard says so.

use super::answers::{AnswerShard, AnswerTotals, Protocol, StatusLabel};
use super::counter::Counters;
use crossbeam_utils::CachePadded;

/// The counts of all workers that belong to no model.
#[derive(Debug)]
pub struct ServerRecorder {
    shards: Box<[CachePadded<Shard>]>,
}

#[derive(Debug)]
struct Shard {
    answers: AnswerShard,
    /// Entered and left: two counters that only grow, instead of one that goes both ways. And handed on.
    traffic: Counters,
}

const ENTERED: usize = 0;
const LEFT: usize = 1;
const HANDED_ON: usize = 2;

/// Counts one request as in flight for as long as it lives.
#[derive(Debug)]
pub struct InFlight<'a>(&'a Shard);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.traffic.add(LEFT, 1);
    }
}

impl ServerRecorder {
    /// Counters for this many workers.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        let shard = |_| CachePadded::new(Shard { answers: AnswerShard::new(), traffic: Counters::new(3) });
        Self { shards: (0..workers).map(shard).collect() }
    }

    /// Counts a request in flight on `worker` until the guard is dropped, which must happen on the same worker.
    #[must_use]
    pub fn enter(&self, worker: usize) -> InFlight<'_> {
        let shard = &self.shards[worker];
        shard.traffic.add(ENTERED, 1);
        InFlight(shard)
    }

    /// Counts an answer that no model had a part in.
    pub fn record_refusal(&self, worker: usize, protocol: Protocol, status: StatusLabel) {
        self.shards[worker].answers.count(0, protocol, status);
    }

    /// Counts a request that `worker` received and another one answers.
    pub fn record_handed_on(&self, worker: usize) {
        self.shards[worker].traffic.add(HANDED_ON, 1);
    }

    /// Requests that one worker received and another one answers.
    #[must_use]
    pub fn handed_on(&self) -> u64 {
        self.shards.iter().map(|shard| shard.traffic.get(HANDED_ON)).sum()
    }

    /// Requests in flight now.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        // Left first: a request that leaves in between is then counted as in flight, never as less than nothing.
        let left: u64 = self.shards.iter().map(|shard| shard.traffic.get(LEFT)).sum();
        let entered: u64 = self.shards.iter().map(|shard| shard.traffic.get(ENTERED)).sum();
        entered.saturating_sub(left)
    }

    /// Refusals by protocol and status code.
    #[must_use]
    pub fn refusals(&self) -> Vec<(Protocol, u16, u64)> {
        let mut totals = AnswerTotals::default();
        for shard in &self.shards {
            shard.answers.add_to(&mut totals);
        }
        let counts: Vec<_> = totals.statuses().map(|(_, protocol, status, count)| (protocol, status, count)).collect();
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_in_flight_until_its_guard_is_gone() {
        let recorder = ServerRecorder::new(2);
        assert_eq!(recorder.in_flight(), 0);
        let first = recorder.enter(0);
        let second = recorder.enter(1);
        assert_eq!(recorder.in_flight(), 2);
        drop(first);
        drop(second);
        assert_eq!(recorder.in_flight(), 0);
    }

    #[test]
    fn what_is_handed_on_is_counted_by_all_and_in_flight_as_before() {
        let recorder = ServerRecorder::new(2);
        recorder.record_handed_on(0);
        recorder.record_handed_on(1);
        assert_eq!((recorder.handed_on(), recorder.in_flight()), (2, 0));
    }

    #[test]
    fn refusals_are_counted_by_status_over_all_workers() {
        let recorder = ServerRecorder::new(2);
        recorder.record_refusal(0, Protocol::OpenInference, StatusLabel::of(404));
        recorder.record_refusal(1, Protocol::OpenInference, StatusLabel::of(404));
        recorder.record_refusal(1, Protocol::KserveV1, StatusLabel::of(777));
        assert_eq!(recorder.refusals(), [(Protocol::OpenInference, 404, 2), (Protocol::KserveV1, 500, 1)]);
    }
}
