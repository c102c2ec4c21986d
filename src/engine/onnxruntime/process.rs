//! The one ONNX Runtime of this process.
//!
//! `ort` loads one library for the life of a process and lets one environment be made from it. Hiding that behind a value
//! that can be made twice would work until the second one; so the process's runtime is a static, filled by the first
//! library that loads, and everyone who finds the same library shares it. A library that the dynamic linker refuses
//! leaves no trace, and the next candidate can be tried; after one was accepted there is no next.
//!
//! Invariant: no function of `ort` other than its loader is called before the loader has accepted a library, since `ort`
//! would go and load one by itself, and panic where there is none.

use super::RuntimeInfo;
use crate::engine::guard;
use ort::environment::Environment;
use ort::logging::LogLevel;
use std::panic::catch_unwind;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// A loaded ONNX Runtime.
#[derive(Debug)]
pub(super) struct Runtime {
    pub(super) info: RuntimeInfo,
    pub(super) environment: Environment,
}

enum Process {
    /// Nothing was loaded yet.
    Untouched,
    Ready(Arc<Runtime>),
    /// A library was loaded, but cannot be used.
    Unusable(String),
}

/// Never dropped, so the library is not torn down while a worker still runs in it.
static PROCESS: Mutex<Process> = Mutex::new(Process::Untouched);

/// Loads the library that `info` describes, or shares it if this process already did. The error says why not.
pub(super) fn load(info: RuntimeInfo) -> Result<Arc<Runtime>, String> {
    let mut process = PROCESS.lock().unwrap_or_else(PoisonError::into_inner);
    match &*process {
        Process::Ready(runtime) if runtime.info.path == info.path => return Ok(Arc::clone(runtime)),
        Process::Ready(runtime) => return Err(format!("this process already uses {}", runtime.info.path.display())),
        Process::Unusable(reason) => return Err(reason.clone()),
        Process::Untouched => {}
    }
    open_library(&info.path, &mut process)?;
    let environment = catch_unwind(build_environment).unwrap_or_else(|panic| Err(guard::message(panic)));
    match environment {
        Ok(environment) => {
            let runtime = Arc::new(Runtime { info, environment });
            *process = Process::Ready(Arc::clone(&runtime));
            Ok(runtime)
        }
        Err(reason) => {
            *process = Process::Unusable(format!("{} was loaded but failed to start: {reason}", info.path.display()));
            Err(format!("failed to start: {reason}"))
        }
    }
}

fn open_library(path: &Path, process: &mut Process) -> Result<(), String> {
    let loaded = catch_unwind(|| ort::init_from(path).map(drop).map_err(|error| error.to_string()));
    loaded.unwrap_or_else(|panic| {
        // A panic inside the loader leaves it locked, so no other library can be tried.
        let reason = format!("{} failed while it was loaded: {}", path.display(), guard::message(panic));
        *process = Process::Unusable(reason.clone());
        Err(reason)
    })
}

fn build_environment() -> Result<Environment, String> {
    let environment = ort::init()
        .with_name("tidegate")
        .with_telemetry(false)
        .with_logger(Arc::new(|level, category, _id, location, message| log(level, category, location, message)))
        .build()
        .map_err(|error| error.to_string())?;
    environment.set_log_level(LogLevel::Warning);
    Ok(environment)
}

/// Errors come back as results and are logged by whoever asked, so what ONNX Runtime says about them is detail.
fn log(level: LogLevel, category: &str, location: &str, message: &str) {
    match level {
        LogLevel::Fatal => tracing::error!(target: "onnxruntime", category, location, "{message}"),
        LogLevel::Error | LogLevel::Warning => tracing::debug!(target: "onnxruntime", category, location, "{message}"),
        LogLevel::Info | LogLevel::Verbose => tracing::trace!(target: "onnxruntime", category, location, "{message}"),
    }
}
