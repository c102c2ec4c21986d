//! Runs models away from the workers: those that take long, and batches that are large.
//!
//! A worker that is inside a model for half a second answers nobody else for that long. So what is long is handed to
//! threads of the executor, which run at a lower priority than the workers: on a machine that is full, short requests come
//! first and long ones get what is left. There is one executor for all models, with as many threads as the process may use
//! cores, so that ten models are not ten times as many threads; versions take turns, so that none waits behind another's
//! queue.
//!
//! ```text
//!  worker ─▶ Lane::submit ─▶ queue of the version ─┐                      ┌─▶ reply ─▶ worker
//!  worker ─▶ Lane::submit ─▶ queue of the version ─┴▶ ready ─▶ a thread ──┘
//! ```
//! A version has a bounded queue and a few instances ([`Lane`]). What waits while all instances are busy is run together
//! when one gets free, if the version gains by it: waiting for more requests while an instance is free would only make
//! them late.
//!
//! Invariant: a lane is listed as ready at most once; a job is answered exactly once, or its caller has gone.

mod batch;
mod lane;
mod service;
#[cfg(test)]
mod tests;

pub use lane::{Lane, LaneSettings, Refused, Reply};

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// The lanes that have work, and the threads that wait for it.
#[derive(Debug, Default)]
pub struct Executor {
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Debug, Default)]
struct State {
    ready: VecDeque<Arc<Lane>>,
    is_closed: bool,
}

impl Executor {
    /// Works until [`Self::close`] is called: what a thread of the executor does.
    pub fn work(&self) {
        while let Some(lane) = self.next() {
            lane.run_once(self);
        }
    }

    /// Lets the threads end when nothing is left to do.
    pub fn close(&self) {
        self.lock().is_closed = true;
        self.work.notify_all();
    }

    /// Lists a lane that has work and an instance for it.
    fn list(&self, lane: Arc<Lane>) {
        self.lock().ready.push_back(lane);
        self.work.notify_one();
    }

    fn next(&self) -> Option<Arc<Lane>> {
        let mut state = self.lock();
        loop {
            match state.ready.pop_front() {
                Some(lane) => return Some(lane),
                None if state.is_closed => return None,
                None => state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
