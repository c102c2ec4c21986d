//! The executor's threads: as many as the process may use cores, for all models together, at the lowest priority.
//!
//! Invariant: they end once the executor is closed and has nothing left to do.

use super::{AppError, thread};
use crate::engine::Executor;
use std::num::NonZeroUsize;
use std::sync::Arc;

/// The lowest priority that Linux has: such a thread gets about a seventieth of a core that a worker wants as well, and a
/// worker that wakes up takes the core from it.
const NICENESS: i32 = 19;

/// Starts them.
pub(super) fn start(executor: &Arc<Executor>) -> Result<(), AppError> {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    for index in 0..cores {
        let executor = Arc::clone(executor);
        thread(&format!("tidegate-executor-{index}"), move || {
            lower_priority();
            executor.work();
        })?;
    }
    Ok(())
}

/// On Linux priorities are of threads, whatever POSIX says of processes.
fn lower_priority() {
    let lowered = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICENESS);
    if let Err(error) = lowered {
        tracing::warn!(cause = %error, "long calls run at the priority of short ones");
    }
}
