//! A loaded version: its plan, an instance of it for every worker, and what records its traffic.
//!
//! An engine's instance wants exclusive access for the length of a call. A mutex per instance would be a lock on the hot
//! path for a conflict that cannot happen, since worker *i* uses only seat *i*. So a worker takes its instance out of
//! its seat and puts it back, two atomic swaps of a pointer. What is not put back, because the call panicked, is made
//! anew for the next request.
//!
//! Invariant: seat *i* is touched by worker *i* alone; an instance that panicked is never used again.

use crate::engine::{EngineError, Instance, LoadedGraph};
use crate::observe::Recorder;
use crate::profile::Profile;
use crate::tensor::{Signature, Tensor};
use crossbeam_utils::CachePadded;
use crossbeam_utils::atomic::AtomicCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// Tells versions apart that were loaded under the same number, one after the other.
static NEXT_IDENTITY: AtomicU64 = AtomicU64::new(1);

/// A version that is loaded and warm.
pub struct Model {
    /// Unique in this process: a version that is loaded anew gets a new one.
    pub identity: u64,
    /// The model's name.
    pub name: String,
    /// The version, as the directory is named.
    pub version: u64,
    /// The version as text, as answers carry it.
    pub version_text: String,
    /// What records its traffic.
    pub recorder: Recorder,
    /// Its reference, or why it has none.
    pub profile: Result<Profile, String>,
    /// How it came to be.
    pub facts: LoadFacts,
    graph: LoadedGraph,
    seats: Box<[SeatCell]>,
}

impl std::fmt::Debug for Model {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Model")
            .field("name", &self.name)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// How a version came to be loaded.
#[derive(Clone, Debug)]
pub struct LoadFacts {
    /// Identifies the bytes that were loaded.
    pub fingerprint: u64,
    /// What the load is reckoned to hold in memory, bytes.
    pub memory: u64,
    /// From the first byte read to warm.
    pub load_time: Duration,
    /// When it was ready.
    pub loaded_at: SystemTime,
}

/// A worker's seat, on a cache line of its own.
type SeatCell = CachePadded<AtomicCell<Option<Box<Seat>>>>;

/// One instance of an engine; boxed again so that a seat is one pointer wide and its swap is a single instruction.
#[derive(Debug)]
struct Seat(Box<dyn Instance>);

/// What a model is built from.
#[derive(Debug)]
pub struct ModelParts {
    /// The model's name.
    pub name: String,
    /// The version.
    pub version: u64,
    /// The plan.
    pub graph: LoadedGraph,
    /// A warm instance for every worker.
    pub instances: Vec<Box<dyn Instance>>,
    /// What records its traffic.
    pub recorder: Recorder,
    /// Its reference, or why it has none.
    pub profile: Result<Profile, String>,
    /// How it came to be.
    pub facts: LoadFacts,
}

impl Model {
    /// A loaded version of these parts.
    #[must_use]
    pub fn new(parts: ModelParts) -> Self {
        let seats = parts.instances.into_iter().map(|instance| CachePadded::new(AtomicCell::new(Some(seat(instance)))));
        Self {
            identity: NEXT_IDENTITY.fetch_add(1, Ordering::Relaxed),
            version_text: parts.version.to_string(),
            name: parts.name,
            version: parts.version,
            recorder: parts.recorder,
            profile: parts.profile,
            facts: parts.facts,
            graph: parts.graph,
            seats: seats.collect(),
        }
    }

    /// What it takes and gives.
    #[must_use]
    pub fn signature(&self) -> &Signature {
        self.graph.signature()
    }

    /// The engine that runs it.
    #[must_use]
    pub fn engine_name(&self) -> &'static str {
        self.graph.engine_name()
    }

    /// The platform as the Open Inference Protocol names it.
    #[must_use]
    pub fn platform(&self) -> &str {
        self.graph.platform()
    }

    /// Runs `inputs`, which must fit the signature, on the instance of `worker`; `outputs` are replaced.
    ///
    /// # Errors
    /// What the engine says of inputs that it cannot run, or why a lost instance could not be made anew.
    ///
    /// # Panics
    /// When an engine does, in which case the instance is given up; and on a worker that the model was not made for.
    pub fn run(&self, worker: usize, inputs: &[Tensor], outputs: &mut Vec<Tensor>) -> Result<(), EngineError> {
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
