//! Loading and running models; nothing above this room knows which engine does it.
//!
//! Two engines stand behind one trait: tract, which is compiled in and always there, and ONNX Runtime, a shared library
//! that is looked for at start ([`Engines::discover`]) and whose absence costs only the models that tract cannot run. A
//! [`LoadedGraph`] is shared by all workers; each worker runs an [`Instance`] of its own, because an ONNX Runtime session
//! must not be entered by two threads and because per-worker state needs no lock.
//!
//! Calls that would keep a worker too long are made by the [`Executor`]'s threads, each version's in a [`Lane`] of its own.
//!
//! A panic inside an engine is caught: the request it happened in fails, the instance is thrown away, and the next
//! request gets a fresh one from [`LoadedGraph::instance`]'s plan. Memory that a shared library corrupts, or a stack that
//! it exhausts, cannot be caught in the same process.
//!
//! Invariant: what a client sees of a model, its [`Signature`], comes from the ONNX file and is the same with either
//! engine.

mod engines;
mod error;
mod executor;
mod guard;
mod onnx;
mod onnxruntime;
#[cfg(test)]
mod tests;
mod tract;
mod warm;

pub use engines::Engines;
pub use error::EngineError;
pub use executor::{Executor, Lane, LaneSettings, Opener, Refused, Reply, ServiceTime};
pub use onnxruntime::{CandidateOutcome, CandidateReport, CandidateSource, RuntimeInfo, RuntimeSearch, RuntimeVersion};
pub use warm::{synthesize_inputs, warm};

#[cfg(test)]
pub(crate) use onnx::samples;

pub use crate::config::EngineChoice;

use crate::tensor::{Signature, Tensor};
use std::fmt::Debug;
use std::num::NonZeroUsize;
use std::sync::Arc;

/// How to load a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadOptions {
    /// Threads that one run of an instance may use. One is right while there are as many workers as cores; a large model
    /// behind a few instances may get more. tract always uses one.
    pub threads: NonZeroUsize,
    /// Operators that one run may work on at a time, each with that many threads; one for one after the other. tract
    /// always runs them one after the other.
    pub parallel: NonZeroUsize,
    /// How far ONNX Runtime rewrites the graph. tract has no such levels.
    pub optimization: Optimization,
    /// Whether nobody writes to the model's files while it is loaded. Weights that lie beside the model are then mapped by
    /// ONNX Runtime; else they are read, once for all instances: a mapped file that is cut off ends the process, and one
    /// that is written over changes answers.
    pub files_are_sealed: bool,
}

/// How far ONNX Runtime rewrites a graph before it runs it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Optimization {
    /// Not at all.
    Off,
    /// Without what only some processors have: redundant nodes, constants.
    Basic,
    /// With operators fused.
    Extended,
    /// With the layout of memory as well.
    #[default]
    All,
}

/// A model, loaded and ready to be run by any number of instances. Cheap to clone and to share.
#[derive(Clone, Debug)]
pub struct LoadedGraph {
    signature: Arc<Signature>,
    plan: Arc<dyn Plan>,
}

/// A model that one thread at a time can run. It keeps buffers from one run to the next.
pub trait Instance: Send + Debug {
    /// Runs the model on `inputs`, which are in the signature's order and fit it ([`Signature::check`]), and replaces
    /// `outputs` with its outputs, in the signature's order.
    ///
    /// # Errors
    /// [`EngineError::RunFailed`] and [`EngineError::Panicked`], after either of which the instance can be used again;
    /// [`EngineError::NotText`] for strings that ONNX cannot represent. `outputs` is then empty.
    fn run(&mut self, inputs: &[Tensor], outputs: &mut Vec<Tensor>) -> Result<(), EngineError>;
}

/// What an engine makes of a model file: that which all instances share.
trait Plan: Send + Sync + Debug {
    fn engine(&self) -> Engine;

    /// A new instance, without protection against panics.
    fn open(&self) -> Result<Box<dyn Instance>, EngineError>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Engine {
    Tract,
    OnnxRuntime,
}

impl Default for LoadOptions {
    fn default() -> Self {
        let (threads, parallel) = (NonZeroUsize::MIN, NonZeroUsize::MIN);
        Self { threads, parallel, optimization: Optimization::default(), files_are_sealed: false }
    }
}

impl Engine {
    const fn name(self) -> &'static str {
        match self {
            Self::Tract => "tract",
            Self::OnnxRuntime => "onnxruntime",
        }
    }

    const fn platform(self) -> &'static str {
        match self {
            Self::Tract => "tract_onnx",
            Self::OnnxRuntime => "onnxruntime_onnx",
        }
    }
}

impl LoadedGraph {
    /// What the model takes and gives, as its file declares it.
    #[must_use]
    pub fn signature(&self) -> &Arc<Signature> {
        &self.signature
    }

    /// `tract` or `onnxruntime`.
    #[must_use]
    pub fn engine_name(&self) -> &'static str {
        self.plan.engine().name()
    }

    /// The engine and format as Triton names them in model metadata: `onnxruntime_onnx` or `tract_onnx`.
    #[must_use]
    pub fn platform(&self) -> &'static str {
        self.plan.engine().platform()
    }

    /// A new instance for one worker. After a panic it replaces what it runs by itself.
    ///
    /// # Errors
    /// [`EngineError::Replaced`] or [`EngineError::Unreadable`] when the file is no longer the one that was loaded and
    /// ONNX Runtime has to read it again, [`EngineError::LoadFailed`] when the engine refuses, for lack of memory for
    /// example.
    pub fn instance(&self) -> Result<Box<dyn Instance>, EngineError> {
        Ok(Box::new(guard::Guarded::open(Arc::clone(&self.plan))?))
    }
}
