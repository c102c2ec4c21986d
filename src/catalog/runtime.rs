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
//! Invariant: seat *i* is touched by worker *i* alone; an instance that panicked is never used again.

use crate::engine::{EngineError, Instance, LoadedGraph};
use crate::tensor::Tensor;
use crossbeam_utils::CachePadded;
use crossbeam_utils::atomic::AtomicCell;

/// A plan and its instances.
pub(super) struct Runtime {
    pub(super) graph: LoadedGraph,
    seats: Box<[SeatCell]>,
}

/// A worker's seat, on a cache line of its own.
type SeatCell = CachePadded<AtomicCell<Option<Box<Seat>>>>;

/// One instance of an engine; boxed again so that a seat is one pointer wide and its swap is a single instruction.
#[derive(Debug)]
struct Seat(Box<dyn Instance>);

impl Runtime {
    pub(super) fn new(graph: LoadedGraph, instances: Vec<Box<dyn Instance>>) -> Self {
        let seats = instances.into_iter().map(|instance| CachePadded::new(AtomicCell::new(Some(seat(instance)))));
        Self { graph, seats: seats.collect() }
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
