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
use std::time::Duration;

/// A plan and its instances.
pub(super) struct Runtime {
    pub(super) graph: LoadedGraph,
    pub(super) lane: Option<Placement>,
    seats: Box<[SeatCell]>,
}

/// Where a version's calls are made that would keep a worker too long.
#[derive(Clone, Debug)]
pub struct Placement {
    /// Where.
    pub lane: Arc<Lane>,
    /// Values of a request's inputs from which on its call is made there; 0 for every call.
    pub from_values: usize,
    /// Whether a call of one row takes so little time that its answer may wait for others that come at the same time.
    pub is_brief: bool,
    /// How long a request may take that names no time of its own.
    pub timeout: Duration,
}

/// A worker's seat, on a cache line of its own.
type SeatCell = CachePadded<AtomicCell<Option<Box<Seat>>>>;

/// One instance of an engine; boxed again so that a seat is one pointer wide and its swap is a single instruction.
#[derive(Debug)]
struct Seat(Box<dyn Instance>);

impl Runtime {
    pub(super) fn new(graph: LoadedGraph, instances: Vec<Box<dyn Instance>>, lane: Option<Placement>) -> Self {
        let seats = instances.into_iter().map(|instance| CachePadded::new(AtomicCell::new(Some(seat(instance)))));
        Self { graph, lane, seats: seats.collect() }
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
