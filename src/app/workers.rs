//! The worker threads.
//!
//! Invariant: a worker's runtime lives on its thread alone; its end is known by a channel that closes.

use super::AppError;
use crate::serve::Gate;
use crate::serve::acceptor::Accepted;
use crate::serve::spread::exchanges;
use crate::serve::worker::{Worker, run};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::LocalSet;
use tokio_util::sync::CancellationToken;

/// Stack of a worker: engines recurse over a graph's depth.
const STACK_BYTES: usize = 8 << 20;

/// The worker threads of a gateway.
#[derive(Debug)]
pub(super) struct WorkerThreads {
    /// Closes when the last worker has ended.
    alive: mpsc::Receiver<()>,
}

/// Starts a worker for every queue.
pub(super) fn start(
    gate: &Arc<Gate>,
    queues: Vec<mpsc::Receiver<Accepted>>,
    stop: &CancellationToken,
) -> Result<WorkerThreads, AppError> {
    let (witness, alive) = mpsc::channel(1);
    let seed = rand::random::<u64>();
    let exchanges = exchanges(queues.len());
    for (index, (queue, exchange)) in queues.into_iter().zip(exchanges).enumerate() {
        let worker_gate = Arc::clone(gate);
        let (stop, witness) = (stop.clone(), witness.clone());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(AppError::Thread)?;
        let work = move || {
            let worker = Worker::new(index, worker_gate, seed.wrapping_add(index as u64));
            LocalSet::new().block_on(&runtime, run(worker, queue, exchange, stop));
            drop(witness);
        };
        let builder = std::thread::Builder::new().name(format!("tidegate-worker-{index}")).stack_size(STACK_BYTES);
        builder.spawn(work).map_err(AppError::Thread)?;
    }
    Ok(WorkerThreads { alive })
}

impl WorkerThreads {
    /// Waits until every worker has ended, at most this long; answers whether they have.
    pub(super) async fn finished(mut self, limit: Duration) -> bool {
        tokio::time::timeout(limit, self.alive.recv()).await.is_ok()
    }
}
