//! What runs a version: its plan, and an instance of it for every worker.
//!
//! An engine's instance wants exclusive access for the length of a call. A mutex per instance would be a lock on the hot
//! path for a conflict that cannot happen, since worker *i* uses only seat *i*. So a worker takes its instance out of
//! its seat and puts it back, two atomic swaps of a pointer. What is not put back, because the call panicked, is made
//! anew for the next request.
//!
//! Two values of one version may share a runtime, as they do after a reference was learned, and requests may still be
//! running on the older value when the newer one gets its first. A worker is a single thread and [`Runtime::run`] does
//! not let go of it between taking an instance and putting it back, so the worker is done with one value before it can
//! begin with the other: its seat is never wanted twice, whichever values the requests came by.
//!
//! Calls that take long are made elsewhere: in the version's lane, see [`Lane`].
//!
//! Invariant: seat *i* is touched by worker *i* alone; an instance that panicked is never used again.

use crate::engine::{EngineError, Instance, Lane, LoadedGraph};
use crate::tensor::Tensor;
use crossbeam_utils::CachePadded;
use crossbeam_utils::atomic::AtomicCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A plan and its instances.
pub(super) struct Runtime {
    pub(super) graph: LoadedGraph,
    pub(super) placement: Option<Placement>,
    seats: Box<[SeatCell]>,
}

/// Where a version's calls are made.
#[derive(Clone, Debug)]
pub struct Placement {
    /// What makes those that would keep a worker too long.
    pub lane: Arc<Lane>,
    /// Values of a request's inputs from which on its call is made there; 0 for every call.
    pub from_values: usize,
    /// Values of a request's inputs from which on its call takes turns with others on its worker; 0 for every call.
    pub in_turn_from: usize,
    /// How long a request may take that names no time of its own.
    pub timeout: Duration,
    /// Requests that wait for their turn on a worker.
    pub waiting: Arc<AtomicUsize>,
}

/// Where one call is made.
#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    /// On the worker that read the request, at once.
    AtOnce,
    /// On the worker that read the request, when it is its turn.
    InTurn(&'a Placement),
    /// In the version's lane.
    Lane(&'a Placement),
}

/// A request that waits, counted as such for as long as this is held.
#[derive(Debug)]
pub struct Waits<'a>(&'a AtomicUsize);

impl Placement {
    /// Counts a request that waits for its turn on a worker.
    #[must_use]
    pub fn wait(&self) -> Waits<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Waits(&self.waiting)
    }

    /// Requests that wait for their call, on workers and in the lane.
    #[must_use]
    pub fn queue_length(&self) -> usize {
        self.waiting.load(Ordering::Relaxed) + self.lane.waiting()
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A worker's seat, on a cache line of its own.
type SeatCell = CachePadded<AtomicCell<Option<Box<Seat>>>>;

/// One instance of an engine; boxed again so that a seat is one pointer wide and its swap is a single instruction.
#[derive(Debug)]
struct Seat(Box<dyn Instance>);

impl Runtime {
    pub(super) fn new(graph: LoadedGraph, instances: Vec<Box<dyn Instance>>, placement: Option<Placement>) -> Self {
        let seats = instances.into_iter().map(|instance| CachePadded::new(AtomicCell::new(Some(seat(instance)))));
        Self { graph, placement, seats: seats.collect() }
    }

    /// Runs `inputs` on the instance of `worker`; `outputs` are replaced.
    pub(super) fn run(&self, worker: usize, inputs: &[Tensor], outputs: &mut Vec<Tensor>) -> Result<(), EngineError> {
        let cell = &self.seats[worker];
        let mut taken = match cell.take() {
            Some(taken) => taken,
            None => seat(self.graph.instance()?),
        };
        let result = taken.0.run(inputs, outputs);
        cell.store(Some(taken));
        result
    }
}

fn seat(instance: Box<dyn Instance>) -> Box<Seat> {
    Box::new(Seat(instance))
}
