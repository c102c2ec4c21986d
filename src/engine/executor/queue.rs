//! What waits in a lane, and when its next call is due.
//!
//! A call that can take more rows than are waiting may be put off for up to `delay`, so that requests which are about to
//! come are run in it. It is put off only for requests that have company: another request waited or was run when one of
//! them came, or a call of several ended, no longer than `delay` ago. Whoever sends one request at a time is so never kept
//! waiting, and after requests have stopped coming together at most one of them waits in vain. The delay ends with the
//! rows of a whole call, and takes at most half of what the deadline of any waiting request leaves beyond its call, so
//! that no deadline is missed for company's sake.
//!
//! Time is an argument, so that all of this is tested without waiting.
//!
//! Invariant: jobs leave in the order in which they came.

use super::Reply;
use super::batch;
use crate::engine::EngineError;
use crate::tensor::Tensor;
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Jobs in the order of their coming.
#[derive(Debug)]
pub(super) struct Queue {
    jobs: VecDeque<Job>,
    /// Rows of all jobs; what has no rows counts as a whole call.
    rows: usize,
    /// Rows of a call.
    max_batch: usize,
    delay: Duration,
    /// When requests were last seen together.
    company: Option<Instant>,
}

/// A request that waits for its call.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) inputs: Vec<Tensor>,
    pub(super) submitted: Instant,
    pub(super) deadline: Instant,
    pub(super) reply: oneshot::Sender<Reply>,
}

impl Queue {
    pub(super) fn new(max_batch: usize, delay: Duration) -> Self {
        Self { jobs: VecDeque::new(), rows: 0, max_batch, delay, company: None }
    }

    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Takes a job that came while so many calls ran.
    pub(super) fn push(&mut self, job: Job, running: usize) {
        if running > 0 || !self.jobs.is_empty() {
            self.company = Some(job.submitted);
        }
        self.rows = self.rows.saturating_add(self.rows_of(&job));
        self.jobs.push_back(job);
    }

    /// Takes back jobs that were taken last and not run.
    pub(super) fn put_back(&mut self, jobs: Vec<Job>) {
        for job in jobs.into_iter().rev() {
            self.rows = self.rows.saturating_add(self.rows_of(&job));
            self.jobs.push_front(job);
        }
    }

    /// Drops the jobs of callers that have gone.
    pub(super) fn drop_gone(&mut self) {
        self.jobs.retain(|job| !job.reply.is_closed());
        self.rows = self.jobs.iter().fold(0, |rows, job| rows.saturating_add(self.rows_of(job)));
    }

    /// From now on every job has a call of its own.
    pub(super) fn stop_batching(&mut self) {
        self.max_batch = 1;
        self.drop_gone();
    }

    /// Takes in that a call of so many jobs ended.
    pub(super) fn ended(&mut self, jobs: usize, now: Instant) {
        if jobs > 1 {
            self.company = Some(now);
        }
    }

    /// When the next call is to be made, each call taking about so long; nothing if nothing waits. At once is when the first
    /// job came.
    pub(super) fn due(&self, call: Duration) -> Option<Instant> {
        let came = self.jobs.front()?.submitted;
        let has_company = self.company.is_some_and(|company| came <= company + self.delay);
        if self.delay.is_zero() || self.rows >= self.max_batch || !has_company {
            return Some(came);
        }
        let until = |job: &Job| {
            let left = job.deadline.saturating_duration_since(job.submitted + call);
            job.submitted + left / 2
        };
        let patience = self.jobs.iter().map(until).min()?;
        Some(patience.min(came + self.delay).max(came))
    }

    /// The jobs of the next call. Those that nobody waits for any more are dropped, and those that are late answered.
    pub(super) fn take(&mut self, now: Instant) -> Vec<Job> {
        let mut taken: Vec<Job> = Vec::new();
        let mut rows = 0;
        while let Some(job) = self.jobs.pop_front() {
            let of_job = self.rows_of(&job);
            if job.reply.is_closed() || job.deadline < now {
                self.rows = self.rows.saturating_sub(of_job);
                job.reply_with(None, now);
                continue;
            }
            let fits = taken
                .first()
                .is_none_or(|first| rows + of_job <= self.max_batch && batch::fit_together(&first.inputs, &job.inputs));
            if !fits {
                self.jobs.push_front(job);
                break;
            }
            self.rows = self.rows.saturating_sub(of_job);
            rows += of_job;
            taken.push(job);
            if rows >= self.max_batch {
                break;
            }
        }
        taken
    }

    /// Rows of a job; a whole call if it cannot share one.
    fn rows_of(&self, job: &Job) -> usize {
        batch::rows(&job.inputs).unwrap_or(self.max_batch)
    }
}

impl Job {
    pub(super) fn reply_with(self, outputs: Option<Result<Vec<Tensor>, EngineError>>, started: Instant) {
        let waited = started.saturating_duration_since(self.submitted);
        // A caller that has gone does not want its answer.
        let _ = self.reply.send(Reply { inputs: self.inputs, outputs, waited });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::{Shape, TensorData};
    use proptest::prelude::*;

    const DELAY: Duration = Duration::from_millis(10);
    const CALL: Duration = Duration::from_millis(4);

    fn milliseconds(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    /// A job of so many rows that came at a time and must be answered by another; nobody waits for its answer.
    fn job(rows: usize, submitted: Instant, deadline: Instant) -> (Job, oneshot::Receiver<Reply>) {
        let inputs = vec![Tensor::try_new(Shape::matrix(rows, 1), TensorData::Fp32(vec![0.0; rows])).unwrap()];
        let (reply, answer) = oneshot::channel();
        (Job { inputs, submitted, deadline, reply }, answer)
    }

    /// A queue, and the answers to what it gets at these times, in milliseconds, while so many calls run.
    fn queue_of(came: &[(u64, usize)], max_batch: usize) -> (Queue, Instant, Vec<oneshot::Receiver<Reply>>) {
        let (mut queue, start) = (Queue::new(max_batch, DELAY), Instant::now());
        let mut answers = Vec::new();
        for &(at, running) in came {
            let (job, answer) = job(1, start + milliseconds(at), start + Duration::from_secs(3_600));
            queue.push(job, running);
            answers.push(answer);
        }
        (queue, start, answers)
    }

    /// In how many milliseconds the next call of the queue is due.
    fn due_of(came: &[(u64, usize)], max_batch: usize) -> Option<u128> {
        let (queue, start, _answers) = queue_of(came, max_batch);
        queue.due(CALL).map(|due| due.saturating_duration_since(start).as_millis())
    }

    #[test]
    fn a_lone_request_is_run_at_once_and_company_is_waited_for() {
        assert_eq!(due_of(&[], 8), None);
        assert_eq!(due_of(&[(5, 0)], 8), Some(5), "nothing is added when idle");
        assert_eq!(due_of(&[(5, 1)], 8), Some(15), "a call runs");
        assert_eq!(due_of(&[(5, 0), (7, 0)], 8), Some(15), "the second is company for the first");
        assert_eq!(due_of(&[(5, 0), (6, 0), (7, 0)], 3), Some(5), "that is a whole call");
        assert_eq!(due_of(&[(5, 1)], 1), Some(5), "calls of one row have nothing to wait for");
    }

    #[test]
    fn half_of_what_a_deadline_leaves_beyond_the_call_is_waited_at_most() {
        let (mut queue, start) = (Queue::new(8, DELAY), Instant::now());
        let (patient, _answer) = job(1, start, start + Duration::from_secs(9));
        queue.push(patient, 1);
        assert_eq!(queue.due(CALL), Some(start + DELAY));
        let (hurried, _answer) = job(1, start + milliseconds(1), start + milliseconds(1 + 4 + 6));
        queue.push(hurried, 1);
        assert_eq!(queue.due(CALL), Some(start + milliseconds(1 + 3)), "it has 6 ms beyond a call of 4");
    }

    #[test]
    fn who_was_answered_together_may_come_together_again_but_not_for_long() {
        for (ended, jobs, due) in [(0, 2, 15), (0, 1, 5), (5, 2, 15)] {
            let (mut queue, start, _answers) = queue_of(&[], 8);
            queue.ended(jobs, start + milliseconds(ended));
            let (job, _answer) = job(1, start + milliseconds(5), start + Duration::from_secs(9));
            queue.push(job, 0);
            assert_eq!(queue.due(CALL), Some(start + milliseconds(due)), "{ended} {jobs}");
        }
        let (mut queue, start, _answers) = queue_of(&[], 8);
        queue.ended(9, start);
        let (job, _answer) = job(1, start + milliseconds(11), start + Duration::from_secs(9));
        queue.push(job, 0);
        assert_eq!(queue.due(CALL), Some(start + milliseconds(11)), "that was longer ago than the delay");
    }

    #[test]
    fn rows_that_have_left_are_not_counted() {
        let (mut queue, start, mut answers) = queue_of(&[(0, 1), (1, 1), (2, 1)], 3);
        assert_eq!(queue.due(CALL), Some(start));
        drop(answers.remove(0));
        queue.drop_gone();
        assert_eq!((queue.len(), queue.due(CALL)), (2, Some(start + milliseconds(11))));
        assert_eq!(queue.take(start).len(), 2);
        assert_eq!((queue.rows, queue.due(CALL)), (0, None));
    }

    #[test]
    fn what_cannot_share_a_call_is_not_waited_with() {
        let (mut queue, start, _answers) = queue_of(&[(0, 1), (1, 1)], 8);
        assert_eq!(queue.due(CALL), Some(start + DELAY));
        queue.stop_batching();
        assert_eq!(queue.due(CALL), Some(start));
        assert_eq!(queue.take(start).len(), 1);
        let (mut queue, start, _answers) = queue_of(&[], 8);
        let (mut scalar, _answer) = job(1, start, start + Duration::from_secs(9));
        scalar.inputs = vec![Tensor::try_new(Shape::default(), TensorData::Fp32(vec![0.0])).unwrap()];
        queue.push(scalar, 1);
        assert_eq!(queue.due(CALL), Some(start));
    }

    proptest! {
        /// Times in milliseconds: when jobs come, how long they have, how long a call takes.
        #[test]
        fn the_delay_is_never_exceeded_and_leaves_time_for_the_call(
            came in prop::collection::vec((0_u64..30, 0_u64..60), 1..12),
            running in 0_usize..2,
            call in 0_u64..20,
        ) {
            let (mut queue, start) = (Queue::new(64, DELAY), Instant::now());
            let mut came = came;
            came.sort_unstable();
            let mut answers = Vec::new();
            for &(at, has) in &came {
                let (job, answer) = job(1, start + milliseconds(at), start + milliseconds(at + has));
                queue.push(job, running);
                answers.push(answer);
            }
            let due = queue.due(milliseconds(call)).unwrap().saturating_duration_since(start);
            let first = milliseconds(came[0].0);
            prop_assert!(due >= first && due <= first + DELAY, "{due:?}");
            for &(at, has) in came.iter().filter(|(_, has)| *has >= call) {
                prop_assert!(due + milliseconds(call) <= milliseconds(at + has), "{due:?} for {at} {has}");
            }
        }
    }
}
