//! One version's queue and instances.
//!
//! Who submits learns at once whether there is hope: a request that, by how long calls have taken, could not be answered
//! before its deadline is refused instead of queued, so that what is accepted is answered in time, and a caller can go
//! elsewhere. That is the limit on concurrency, and it follows the measured time by itself; the queue's length is bounded
//! besides. Callers that have gone and deadlines that have passed are dropped before they cost a call. When the next call
//! is due is decided in `queue.rs`.
//!
//! Instances are opened when they are first needed and kept. That may fail long after the version was loaded: its files may
//! have been overwritten or be gone, or memory may be short. The version that serves is none the worse for it, so the lane
//! goes on with the instances it has, as if no more had been asked for.
//!
//! Invariant: at most `instances` calls run at a time, and at most `queue` jobs wait; while there is an instance, no job
//! fails because another could not be opened.

use super::opener::Opener;
use super::queue::{Job, Queue};
use super::service::ServiceTime;
use super::{Executor, batch};
use crate::engine::{EngineError, Instance};
use crate::tensor::Tensor;
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
    /// How long a call that could take more rows is put off at most while requests come together.
    pub delay: Duration,
    /// How long a call takes, as measured when the version was loaded; zero if it was not.
    pub call: Duration,
}

/// One version's queue and instances.
#[derive(Debug)]
pub struct Lane {
    executor: Arc<Executor>,
    opener: Opener,
    settings: LaneSettings,
    state: Mutex<LaneState>,
}

#[derive(Debug)]
struct LaneState {
    jobs: Queue,
    idle: Vec<Box<dyn Instance>>,
    busy: usize,
    /// Instances that there are, idle or running.
    opened: usize,
    /// Calls at a time: as many as are set, or fewer where no more instances could be opened.
    limit: usize,
    /// For when it is listed with the executor.
    listed: Option<Instant>,
    service: ServiceTime,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is more to do than there is time for")]
pub struct Refused {
    /// When there may be room.
    pub retry_after: Duration,
    /// Whether the queue is full; else the deadline could not be met.
    pub is_full: bool,
}

impl Lane {
    /// A lane of the executor, with an instance to begin with if there is one, and what opens the others.
    #[must_use]
    pub fn new(
        executor: &Arc<Executor>,
        opener: Opener,
        settings: LaneSettings,
        first: Option<Box<dyn Instance>>,
    ) -> Arc<Self> {
        let state = LaneState {
            jobs: Queue::new(settings.max_batch, settings.delay),
            opened: usize::from(first.is_some()),
            idle: first.into_iter().collect(),
            busy: 0,
            limit: settings.instances,
            listed: None,
            service: ServiceTime::new(settings.call),
        };
        Arc::new(Self { executor: Arc::clone(executor), opener, settings, state: Mutex::new(state) })
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
        let running = state.busy;
        state.jobs.push(Job { inputs, submitted: now, deadline, reply }, running);
        self.list_if_ready(&mut state, now);
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
            state.jobs.drop_gone();
        }
        let (ahead, instances) = (state.jobs.len() + state.busy, state.limit);
        let is_full = state.jobs.len() >= self.settings.queue;
        if is_full || now + state.service.surely_until_answered(ahead, instances) > deadline {
            return Err(Refused { retry_after: state.service.until_answered(ahead, instances), is_full });
        }
        Ok(())
    }

    /// How it runs its version.
    #[must_use]
    pub fn settings(&self) -> &LaneSettings {
        &self.settings
    }

    /// Jobs that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.lock().jobs.len()
    }

    /// Makes one call, if one is due and there is an instance for it. `is_last` says that nothing more will come, so that
    /// what waits is due.
    pub(super) fn run_once(self: Arc<Self>, executor: &Executor, is_last: bool) {
        debug_assert!(std::ptr::eq(executor, &raw const *self.executor), "lanes are listed by their own executor");
        let mut state = self.lock();
        let started = Instant::now();
        state.listed = None;
        // It was listed when there was an instance for it, but jobs may have been taken or have come since.
        let is_due = is_last || state.jobs.due(state.service.surely()).is_some_and(|due| due <= started);
        let jobs = if is_due && state.busy < state.limit { state.jobs.take(started) } else { Vec::new() };
        if jobs.is_empty() {
            return self.list_if_ready(&mut state, started);
        }
        state.busy += 1;
        let instance = state.idle.pop();
        // Other jobs may be run by other threads meanwhile.
        self.list_if_ready(&mut state, started);
        drop(state);
        let Some((instance, jobs)) = self.instance_for(jobs, instance) else { return };
        self.call(instance, jobs);
    }

    /// The jobs and the instance to run them on, which is opened if there is no idle one. None where it cannot be opened:
    /// the jobs then wait for those that there are, or are answered if there are none.
    fn instance_for(
        self: &Arc<Self>,
        jobs: Vec<Job>,
        idle: Option<Box<dyn Instance>>,
    ) -> Option<(Box<dyn Instance>, Vec<Job>)> {
        if let Some(instance) = idle {
            return Some((instance, jobs));
        }
        let opened = self.opener.open();
        let mut state = self.lock();
        let reason = match opened {
            Ok(instance) => {
                state.opened += 1;
                state.limit = state.limit.max(state.opened);
                return Some((instance, jobs));
            }
            Err(reason) => reason,
        };
        let now = Instant::now();
        state.busy -= 1;
        if state.opened > 0 {
            if state.limit > state.opened {
                let (asked, instances) = (self.settings.instances, state.opened);
                tracing::warn!(
                    reason,
                    asked,
                    instances,
                    "no further instance can be opened; the lane goes on with those it has"
                );
            }
            state.limit = state.opened;
            state.jobs.put_back(jobs);
            self.list_if_ready(&mut state, now);
            return None;
        }
        self.list_if_ready(&mut state, now);
        drop(state);
        // Callers did not ask for a load, so a load that fails is a run that fails.
        Call::failed(&jobs, &format!("no instance: {reason}")).answer(jobs, now);
        None
    }

    /// Runs jobs in one call and answers them.
    fn call(self: &Arc<Self>, mut instance: Box<dyn Instance>, jobs: Vec<Job>) {
        let started = Instant::now();
        let call = catch_unwind(AssertUnwindSafe(|| run(instance.as_mut(), &jobs)));
        let call = call.unwrap_or_else(|_| Call::failed(&jobs, "a bug ended the call"));
        let ended = Instant::now();
        let mut state = self.lock();
        state.busy -= 1;
        state.idle.push(instance);
        state.service.note(ended.saturating_duration_since(started), jobs.len());
        state.jobs.ended(jobs.len(), ended);
        if !call.has_rows {
            state.jobs.stop_batching();
        }
        self.list_if_ready(&mut state, ended);
        drop(state);
        call.answer(jobs, started);
    }

    /// Lists the lane for when its next call is due, if there is an instance for it and it is not listed for then or earlier.
    fn list_if_ready(self: &Arc<Self>, state: &mut LaneState, now: Instant) {
        let due = state.jobs.due(state.service.surely()).filter(|_| state.busy < state.limit);
        let Some(due) = due else { return };
        if state.listed.is_none_or(|listed| due < listed && listed > now) {
            state.listed = Some(due);
            self.executor.list(Arc::clone(self), due, now);
        }
    }

    /// Takes the idle instance as a call would.
    #[cfg(test)]
    pub(super) fn hold_idle(&self) -> Box<dyn Instance> {
        let mut state = self.lock();
        state.busy += 1;
        state.idle.pop().expect("there is an idle instance")
    }

    /// Gives it back as the end of a call does.
    #[cfg(test)]
    pub(super) fn give_back(self: &Arc<Self>, instance: Box<dyn Instance>) {
        let mut state = self.lock();
        state.busy -= 1;
        state.idle.push(instance);
        self.list_if_ready(&mut state, Instant::now());
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

    fn answer(self, jobs: Vec<Job>, started: Instant) {
        for (job, outputs) in jobs.into_iter().zip(self.outputs) {
            job.reply_with(Some(outputs), started);
        }
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
