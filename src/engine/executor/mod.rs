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
//! when one gets free, if the version gains by it. Waiting for more requests while an instance is free makes those late
//! that are there, so it is done only where it was asked for, and only while requests come together (`queue.rs`). A call
//! that is put off costs no thread: its lane is listed for later, and one of the threads that have nothing to do wakes up
//! by then.
//!
//! Invariant: a lane is listed at most once; a job is answered exactly once, or its caller has gone.

mod agenda;
mod batch;
mod lane;
mod opener;
mod queue;
mod service;
#[cfg(test)]
mod tests;

pub use lane::{Lane, LaneSettings, Refused, Reply};
pub use opener::Opener;
pub use service::ServiceTime;

use agenda::Agenda;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The lanes that have work, and the threads that wait for it.
#[derive(Debug, Default)]
pub struct Executor {
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lanes: Agenda<Listed>,
    is_closed: bool,
}

/// A lane; the same only as itself.
#[derive(Debug)]
struct Listed(Arc<Lane>);

impl PartialEq for Listed {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Executor {
    /// Works until [`Self::close`] is called: what a thread of the executor does.
    pub fn work(&self) {
        while let Some((lane, is_closed)) = self.next() {
            lane.run_once(self, is_closed);
        }
    }

    /// Lets the threads end when nothing is left to do.
    pub fn close(&self) {
        self.lock().is_closed = true;
        self.work.notify_all();
    }

    /// Lists a lane that has an instance for a call that is due then.
    fn list(&self, lane: Arc<Lane>, due: Instant, now: Instant) {
        self.lock().lanes.list(Listed(lane), due, now);
        self.work.notify_one();
    }

    /// A lane, and whether this executor is closed.
    fn next(&self) -> Option<(Arc<Lane>, bool)> {
        let mut state = self.lock();
        loop {
            let next = match (state.is_closed, state.lanes.earliest()) {
                // What was put off is not waited for when nothing more will come.
                (true, _) => state.lanes.next_of_all(),
                // A look at the clock for those that need it.
                (false, Some(_)) => state.lanes.next(Instant::now()),
                (false, None) => state.lanes.next_of_all(),
            };
            if let Some(Listed(lane)) = next {
                // Whoever was woken for the rest may be the one who took this.
                if !state.lanes.is_empty() {
                    self.work.notify_one();
                }
                return Some((lane, state.is_closed));
            }
            if state.is_closed {
                return None;
            }
            state = self.wait(state);
        }
    }

    /// Waits for work, or until the earliest of what was put off is due.
    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        match state.lanes.earliest() {
            None => self.work.wait(state).unwrap_or_else(PoisonError::into_inner),
            Some(due) => {
                let left = due.saturating_duration_since(Instant::now());
                self.work.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
