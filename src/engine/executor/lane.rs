//! One version's queue and instances.
//!
//! Who submits learns at once whether there is hope: a request that, by how long calls have taken, could not be answered
//! before its deadline is refused instead of queued, so that what is accepted is answered in time, and a caller can go
//! elsewhere. That is the limit on concurrency, and it follows the measured time by itself; the queue's length is bounded
//! besides. Callers that have gone and deadlines that have passed are dropped before they cost a call.
//!
//! Instances are opened when they are first needed and kept.
//!
//! Invariant: at most `instances` calls run at a time, and at most `queue` jobs wait.

use super::service::Service;
use super::{Executor, batch};
use crate::engine::{EngineError, Instance, LoadedGraph};
use crate::tensor::Tensor;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// How a version is run away from the workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneSettings {
    /// Calls at a time.
    pub instances: usize,
    /// Requests that may wait.
    pub queue: usize,
    /// Rows that waiting requests are put together up to; 1 for none.
    pub max_batch: usize,
    /// How long a call takes, as measured when the version was loaded; zero if it was not.
    pub call: Duration,
}

/// One version's queue and instances.
#[derive(Debug)]
pub struct Lane {
    executor: Arc<Executor>,
    graph: LoadedGraph,
    settings: LaneSettings,
    state: Mutex<LaneState>,
}

#[derive(Debug)]
struct LaneState {
    jobs: VecDeque<Job>,
    idle: Vec<Box<dyn Instance>>,
    busy: usize,
    is_listed: bool,
    service: Service,
    /// Until a call of several requests turned out not to have their rows.
    may_batch: bool,
}

#[derive(Debug)]
struct Job {
    inputs: Vec<Tensor>,
    submitted: Instant,
    deadline: Instant,
    reply: oneshot::Sender<Reply>,
}

/// What became of a job.
#[derive(Debug)]
pub struct Reply {
    /// Its inputs, given back.
    pub inputs: Vec<Tensor>,
    /// Its outputs; none where its deadline passed before it was its turn.
    pub outputs: Option<Result<Vec<Tensor>, EngineError>>,
    /// How long it waited for its call.
    pub waited: Duration,
}

/// Why a job was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// When there may be room.
    pub retry_after: Duration,
    /// Whether the queue is full; else the deadline could not be met.
    pub is_full: bool,
}

impl Lane {
    /// A lane of the executor, with an instance to begin with if there is one.
    #[must_use]
    pub fn new(
        executor: &Arc<Executor>,
        graph: LoadedGraph,
        settings: LaneSettings,
        first: Option<Box<dyn Instance>>,
    ) -> Arc<Self> {
        let state = LaneState {
            jobs: VecDeque::new(),
            idle: first.into_iter().collect(),
            busy: 0,
            is_listed: false,
            service: Service::new(settings.call),
            may_batch: settings.max_batch > 1,
        };
        Arc::new(Self { executor: Arc::clone(executor), graph, settings, state: Mutex::new(state) })
    }

    /// Takes a job, to be answered by `deadline`; never waits.
    ///
    /// # Errors
    /// [`Refused`] when the queue is full or the deadline could not be met.
    pub fn submit(
        self: &Arc<Self>,
        inputs: Vec<Tensor>,
        now: Instant,
        deadline: Instant,
    ) -> Result<oneshot::Receiver<Reply>, Refused> {
        let mut state = self.lock();
        self.admit(&mut state, now, deadline)?;
        let (reply, answer) = oneshot::channel();
        state.jobs.push_back(Job { inputs, submitted: now, deadline, reply });
        self.list_if_ready(state);
        Ok(answer)
    }

    /// Whether a job would be taken now: to be asked before work is done for it.
    ///
    /// # Errors
    /// [`Refused`], as from [`Self::submit`].
    pub fn check(&self, now: Instant, deadline: Instant) -> Result<(), Refused> {
        self.admit(&mut self.lock(), now, deadline)
    }

    fn admit(&self, state: &mut LaneState, now: Instant, deadline: Instant) -> Result<(), Refused> {
        if state.jobs.len() >= self.settings.queue {
            state.jobs.retain(|job| !job.reply.is_closed());
        }
        let (ahead, instances) = (state.jobs.len() + state.busy, self.settings.instances);
        let is_full = state.jobs.len() >= self.settings.queue;
        if is_full || now + state.service.surely_until_answered(ahead, instances) > deadline {
            return Err(Refused { retry_after: state.service.until_answered(ahead, instances), is_full });
        }
        Ok(())
    }

    /// Jobs that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.lock().jobs.len()
    }

    /// Makes one call, if there is a job and an instance for it.
    pub(super) fn run_once(self: Arc<Self>, executor: &Executor) {
        debug_assert!(std::ptr::eq(executor, &raw const *self.executor), "lanes are listed by their own executor");
        let mut state = self.lock();
        state.is_listed = false;
        let jobs = if state.busy < self.settings.instances { self.take(&mut state) } else { Vec::new() };
        if jobs.is_empty() {
            return;
        }
        state.busy += 1;
        let instance = state.idle.pop();
        // Other jobs may be run by other threads meanwhile.
        self.list_if_ready(state);
        let started = Instant::now();
        let (instance, call) = self.call(instance, &jobs);
        let took = started.elapsed();
        let mut state = self.lock();
        state.busy -= 1;
        state.idle.extend(instance);
        state.service.note(took, jobs.len());
        state.may_batch &= call.has_rows;
        self.list_if_ready(state);
        for (job, outputs) in jobs.into_iter().zip(call.outputs) {
            job.reply_with(Some(outputs), started);
        }
    }

    /// The next jobs of one call. Those that nobody waits for any more are dropped, and those that are late answered.
    fn take(&self, state: &mut LaneState) -> Vec<Job> {
        let now = Instant::now();
        let mut taken: Vec<Job> = Vec::new();
        let mut rows = 0;
        while let Some(job) = state.jobs.pop_front() {
            if job.reply.is_closed() {
                continue;
            }
            if job.deadline < now {
                job.reply_with(None, now);
                continue;
            }
            let of_job = batch::rows(&job.inputs);
            let fits = match (taken.first(), of_job) {
                (None, _) => true,
                (Some(first), Some(more)) => {
                    rows + more <= self.settings.max_batch && batch::fit_together(&first.inputs, &job.inputs)
                }
                (Some(_), None) => false,
            };
            if !fits {
                state.jobs.push_front(job);
                break;
            }
            rows += of_job.unwrap_or(usize::MAX / 2);
            taken.push(job);
            if !state.may_batch || rows >= self.settings.max_batch {
                break;
            }
        }
        taken
    }

    /// Runs jobs in one call.
    fn call(&self, instance: Option<Box<dyn Instance>>, jobs: &[Job]) -> (Option<Box<dyn Instance>>, Call) {
        match instance.map_or_else(|| self.graph.instance(), Ok) {
            Ok(mut instance) => {
                let call = catch_unwind(AssertUnwindSafe(|| run(instance.as_mut(), jobs)));
                (Some(instance), call.unwrap_or_else(|_| Call::failed(jobs, "a bug ended the call")))
            }
            // Callers did not ask for a load, so a load that fails is a run that fails.
            Err(error) => (None, Call::failed(jobs, &format!("no new instance: {error}"))),
        }
    }

    fn list_if_ready(self: &Arc<Self>, mut state: MutexGuard<'_, LaneState>) {
        if !state.jobs.is_empty() && state.busy < self.settings.instances && !state.is_listed {
            state.is_listed = true;
            drop(state);
            self.executor.list(Arc::clone(self));
        }
    }

    fn lock(&self) -> MutexGuard<'_, LaneState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a call came to.
struct Call {
    /// Of each job.
    outputs: Vec<Result<Vec<Tensor>, EngineError>>,
    /// Whether outputs had the rows of all jobs, as they must have for jobs to be run together.
    has_rows: bool,
}

impl Call {
    fn failed(jobs: &[Job], reason: &str) -> Self {
        let error = || EngineError::RunFailed { engine: "executor", reason: reason.to_owned() };
        Self { outputs: jobs.iter().map(|_| Err(error())).collect(), has_rows: true }
    }
}

fn run(instance: &mut dyn Instance, jobs: &[Job]) -> Call {
    let mut has_rows = true;
    if jobs.len() > 1
        && let Some((inputs, rows)) = join(jobs)
    {
        let mut outputs = Vec::new();
        if instance.run(&inputs, &mut outputs).is_ok() {
            match batch::part(&outputs, &rows) {
                Some(parts) => return Call { outputs: parts.into_iter().map(Ok).collect(), has_rows },
                None => has_rows = false,
            }
        }
    }
    // One bad request must not fail the others.
    let alone = |job: &Job| {
        let mut outputs = Vec::new();
        instance.run(&job.inputs, &mut outputs).map(|()| outputs)
    };
    Call { outputs: jobs.iter().map(alone).collect(), has_rows }
}

fn join(jobs: &[Job]) -> Option<(Vec<Tensor>, Vec<usize>)> {
    let requests: Vec<&[Tensor]> = jobs.iter().map(|job| job.inputs.as_slice()).collect();
    let rows = requests.iter().map(|inputs| batch::rows(inputs)).collect::<Option<_>>()?;
    Some((batch::join(&requests)?, rows))
}

impl Job {
    fn reply_with(self, outputs: Option<Result<Vec<Tensor>, EngineError>>, started: Instant) {
        let waited = started.saturating_duration_since(self.submitted);
        // A caller that has gone does not want its answer.
        let _ = self.reply.send(Reply { inputs: self.inputs, outputs, waited });
    }
}
