//! The executor's threads: as many as the process may use cores, for all models together, at the lowest priority.
//!
//! Invariant: they end once the executor is closed and has nothing left to do.

use super::AppError;
use super::background::{self, Share};
use crate::engine::Executor;
use std::num::NonZeroUsize;
use std::sync::Arc;

/// Starts them.
pub(super) fn start(executor: &Arc<Executor>) -> Result<(), AppError> {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    for index in 0..cores {
        let executor = Arc::clone(executor);
        background::start(&format!("tidegate-executor-{index}"), Share::Little, move || executor.work())?;
    }
    Ok(())
}
