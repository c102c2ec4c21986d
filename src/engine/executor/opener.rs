//! What opens further instances of a version for its lane.
//!
//! An instance that a request waits for must be as ready as those that were opened with the version, and what makes it so
//! (the rows it is warmed on) is known to whoever loaded the version, in a room above this one. So the lane is given a way
//! to open one rather than the graph.
//!
//! Invariant: a panic while an instance is opened is a failure to open it.

use crate::engine::{Instance, LoadedGraph, guard};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Opens instances that are ready for requests.
pub struct Opener(Box<OpenInstance>);

type OpenInstance = dyn Fn() -> Result<Box<dyn Instance>, String> + Send + Sync;

impl Opener {
    /// Opens instances by `open`, which warms them and says why there is none, for people.
    pub fn new(open: impl Fn() -> Result<Box<dyn Instance>, String> + Send + Sync + 'static) -> Self {
        Self(Box::new(open))
    }

    pub(super) fn open(&self) -> Result<Box<dyn Instance>, String> {
        catch_unwind(AssertUnwindSafe(&self.0)).unwrap_or_else(|panic| Err(guard::message(panic)))
    }
}

impl From<LoadedGraph> for Opener {
    /// Instances of a graph that nothing is known to warm them with.
    fn from(graph: LoadedGraph) -> Self {
        Self::new(move || graph.instance().map_err(|error| error.to_string()))
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Opener")
    }
}
