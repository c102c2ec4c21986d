//! ONNX Runtime, a shared library that is found rather than linked.
//!
//! Linking it would put 35 MB and one fixed version into every binary, for a library that the machines which need it
//! mostly have already, inside a Python package. Each instance has a session of its own with one thread: `ort` forbids
//! running one session from two threads, and the workers are the parallelism. Sharing the weights between sessions is
//! not possible without copying them out of the model first.
//!
//! Copies: where shapes repeat themselves, values are kept and copied into and out of ([`bound`]); else inputs are lent to
//! the session as they are, except strings, which it keeps in objects of its own, and outputs are copied into plain
//! vectors.
//!
//! Weights in files beside the model would be mapped, and whoever then cuts such a file off ends the process. So they are
//! read first and lent to the sessions, unless nobody writes to the files. Those that belong to the body of an `If` or a
//! loop cannot be given to ONNX Runtime this way and are mapped all the same.
//!
//! Invariant: a session always has the inputs and outputs of the signature, in its order.

mod bound;
mod convert;
mod discovery;
mod library;
mod process;
mod search;
#[cfg(test)]
mod tests;

pub use discovery::{CandidateOutcome, CandidateReport};
pub use library::RuntimeVersion;
pub use search::{CandidateSource, RuntimeSearch};

use super::onnx::OnnxFile;
use super::{Engine, EngineError, Instance, LoadOptions, Optimization, Plan, guard};
use crate::tensor::{Tensor, TensorSpec};
use ort::logging::LogLevel;
use ort::session::builder::GraphOptimizationLevel;
use ort::session::{Session, SessionInputs};
use ort::value::Outlet;
use process::Runtime;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

const ENGINE: &str = Engine::OnnxRuntime.name();
/// What the C interface that `ort` was built for came with.
pub(super) const MINIMUM_VERSION: RuntimeVersion = RuntimeVersion { major: 1, minor: ort::MINOR_VERSION, patch: 0 };
/// Session option: where external data lies when the model itself comes from memory (since ONNX Runtime 1.21; older
/// ones ignore it).
const EXTERNAL_DATA_FOLDER: &str = "session.model_external_initializers_file_folder_path";

/// The ONNX Runtime that this process uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeInfo {
    /// The shared library, links resolved.
    pub path: PathBuf,
    /// Its version.
    pub version: RuntimeVersion,
}

/// The ONNX Runtime of this process and what was found on the way to it.
#[derive(Debug)]
pub(super) struct Discovered {
    runtime: Option<Arc<Runtime>>,
    pub(super) reports: Vec<CandidateReport>,
}

/// A model as ONNX Runtime loads it, again for each instance.
#[derive(Debug)]
struct SessionPlan {
    runtime: Arc<Runtime>,
    file: Arc<OnnxFile>,
    options: LoadOptions,
    /// The session that showed that the model loads; the first instance takes it.
    first: Mutex<Option<Session>>,
    /// Behind the session, which may refer to them.
    weights: Weights,
}

/// Files of weights in memory, by the names that the model has for them.
type Weights = Arc<[(PathBuf, Arc<[u8]>)]>;

#[derive(Debug)]
struct SessionInstance {
    session: Session,
    kept: bound::Kept,
    /// Behind the session, which may refer to them.
    _weights: Weights,
}

impl Discovered {
    pub(super) fn search(search: &RuntimeSearch) -> Self {
        let (runtime, reports) = discovery::discover(search);
        Self { runtime, reports }
    }

    pub(super) fn info(&self) -> Option<&RuntimeInfo> {
        self.runtime.as_ref().map(|runtime| &runtime.info)
    }

    /// Loads `file`, if there is an ONNX Runtime to load it with.
    pub(super) fn load(
        &self,
        file: &Arc<OnnxFile>,
        options: LoadOptions,
    ) -> Option<Result<Arc<dyn Plan>, EngineError>> {
        let runtime = self.runtime.as_ref()?;
        let load = || {
            let weights = read_weights(file, options)?;
            Ok((open_session(runtime, file, (options, &weights))?, weights))
        };
        let loaded = catch_unwind(AssertUnwindSafe(load)).unwrap_or_else(|panic| Err(panicked(guard::message(panic))));
        Some(loaded.map(|(session, weights)| -> Arc<dyn Plan> {
            let (runtime, file) = (Arc::clone(runtime), Arc::clone(file));
            Arc::new(SessionPlan { runtime, file, options, first: Mutex::new(Some(session)), weights })
        }))
    }
}

impl Plan for SessionPlan {
    fn engine(&self) -> Engine {
        Engine::OnnxRuntime
    }

    fn open(&self) -> Result<Box<dyn Instance>, EngineError> {
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner).take();
        let session = match first {
            Some(session) => session,
            None => open_session(&self.runtime, &self.file, (self.options, &self.weights))?,
        };
        let _weights = Arc::clone(&self.weights);
        Ok(Box::new(SessionInstance { session, kept: bound::Kept::default(), _weights }))
    }
}

impl Instance for SessionInstance {
    fn run(&mut self, inputs: &[Tensor], outputs: &mut Vec<Tensor>) -> Result<(), EngineError> {
        if self.kept.run(&mut self.session, inputs, outputs).is_some() {
            return Ok(());
        }
        outputs.clear();
        let mut values = Vec::with_capacity(inputs.len());
        for (index, input) in inputs.iter().enumerate() {
            values.push(convert::to_session(index, input)?);
        }
        let results = self.session.run(SessionInputs::<0>::ValueSlice(&values)).map_err(|error| run_failed(&error))?;
        for result in results.values() {
            outputs.push(convert::from_session(&result)?);
        }
        drop(results);
        self.kept.learn(&self.session, inputs, outputs);
        Ok(())
    }
}

/// The files of weights that must not be mapped.
fn read_weights(file: &OnnxFile, options: LoadOptions) -> Result<Weights, EngineError> {
    if options.files_are_sealed {
        return Ok(Arc::default());
    }
    file.weights.iter().map(|weights| Ok((weights.location.clone(), weights.read()?))).collect()
}

fn open_session(runtime: &Runtime, file: &OnnxFile, how: (LoadOptions, &Weights)) -> Result<Session, EngineError> {
    file.check_unchanged()?;
    let refused = |reason: String| EngineError::LoadFailed { path: file.path.clone(), engine: ENGINE, reason };
    let session = commit(runtime, file, how).map_err(|error| refused(error.to_string()))?;
    // What was read in between may have been another model.
    file.check_unchanged()?;
    let agree = agree(session.inputs(), &file.signature.inputs) && agree(session.outputs(), &file.signature.outputs);
    if agree { Ok(session) } else { Err(refused("its inputs and outputs are not those of the file".to_owned())) }
}

fn commit(runtime: &Runtime, file: &OnnxFile, (options, weights): (LoadOptions, &Weights)) -> ort::Result<Session> {
    let level = match options.optimization {
        Optimization::Off => GraphOptimizationLevel::Disable,
        Optimization::Basic => GraphOptimizationLevel::Level1,
        Optimization::Extended => GraphOptimizationLevel::Level2,
        Optimization::All => GraphOptimizationLevel::All,
    };
    let mut builder = Session::builder(&runtime.environment)?
        .with_optimization_level(level)?
        .with_intra_threads(options.threads.get())?
        .with_inter_threads(options.parallel.get())?
        .with_parallel_execution(options.parallel.get() > 1)?
        // Idle threads that spin take the cores that the other workers need.
        .with_intra_op_spinning(false)?
        .with_inter_op_spinning(false)?
        .with_log_level(LogLevel::Error)?;
    for (location, bytes) in weights.iter() {
        builder = builder.with_external_initializer_file_in_memory(location, Arc::clone(bytes))?;
    }
    match &file.edited {
        None => builder.commit_from_file(&file.path),
        Some(bytes) => {
            builder.with_config_entry(EXTERNAL_DATA_FOLDER, file.folder().to_string_lossy())?.commit_from_memory(bytes)
        }
    }
}

fn agree(outlets: &[Outlet], specs: &[TensorSpec]) -> bool {
    outlets.len() == specs.len() && outlets.iter().zip(specs).all(|(outlet, spec)| outlet.name() == spec.name)
}

fn run_failed(error: &ort::Error) -> EngineError {
    EngineError::RunFailed { engine: ENGINE, reason: error.to_string() }
}

fn panicked(reason: String) -> EngineError {
    EngineError::Panicked { engine: ENGINE, doing: "loading the model", reason }
}
