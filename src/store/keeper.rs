//! The one who writes: jobs come in on a bounded queue and are done one after the other.
//!
//! Whoever hands in a job never waits for a disk. What does not fit into the queue is dropped and counted: the next
//! snapshot holds everything that the dropped one did, and what was learned or refused is learned or refused again after a
//! restart. Deliveries of webhooks have a queue of their own, so that a flood of
//! them pushes out nothing else, and are written many at a time.
//!
//! Invariant: a write that fails or hangs costs that write and a log line, nothing else.

use super::{AlertRow, DeliveryRow, LearnedRow, QuarantineRow, SnapshotRow, StateHealth, Store, StoreError};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Jobs that may wait.
const QUEUE: usize = 8;

/// Deliveries that may wait: with bodies as large as are kept, 16 MiB.
const DELIVERY_QUEUE: usize = 256;

/// Deliveries that are written at a time.
const DELIVERY_BATCH: usize = 64;

/// How long a write may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What there is to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Job {
    /// Snapshots of versions.
    Snapshots(Vec<SnapshotRow>),
    /// All alerts there are.
    Alerts(Vec<AlertRow>),
    /// A reference that was learned.
    Learned(LearnedRow),
    /// Bytes that were refused.
    Quarantine(QuarantineRow),
    /// Bytes that are to be tried again.
    Release {
        /// The model.
        model: String,
        /// Their digest.
        digest: String,
    },
}

/// The near end of the queue.
#[derive(Clone, Debug)]
pub struct Keeper {
    jobs: mpsc::Sender<Job>,
    deliveries: mpsc::Sender<DeliveryRow>,
    health: Arc<StateHealth>,
}

impl Keeper {
    /// Hands a job in, or drops and counts it when the queue is full.
    pub fn hand_in(&self, job: Job) {
        if self.jobs.try_send(job).is_err() {
            self.health.note_dropped();
        }
    }

    /// Hands in a delivery, or drops and counts it when too many wait.
    pub fn hand_in_delivery(&self, delivery: DeliveryRow) {
        if self.deliveries.try_send(delivery).is_err() {
            self.health.note_dropped_delivery();
        }
    }

    /// Hands a last job in, with patience: what a process writes before it ends.
    pub async fn hand_in_last(&self, job: Job) {
        if self.jobs.send_timeout(job, PATIENCE).await.is_err() {
            self.health.note_dropped();
        }
    }
}

/// Both ends of the queue: the near one, and the future that writes until every near end is gone, and then closes the
/// store.
pub fn keep(store: Store, health: Arc<StateHealth>) -> (Keeper, impl Future<Output = ()> + Send + 'static) {
    let (jobs, mut waiting) = mpsc::channel(QUEUE);
    let (deliveries, mut delivered) = mpsc::channel(DELIVERY_QUEUE);
    let started = Instant::now();
    let keeper = Keeper { jobs, deliveries, health: Arc::clone(&health) };
    let write = async move {
        let mut batch = Vec::with_capacity(DELIVERY_BATCH);
        loop {
            let outcome = tokio::select! {
                biased;
                Some(job) = waiting.recv() => patiently(do_job(&store, &job)).await,
                1.. = delivered.recv_many(&mut batch, DELIVERY_BATCH) => {
                    let outcome = patiently(store.save_deliveries(&batch)).await;
                    batch.clear();
                    outcome
                }
                else => break,
            };
            health.note(&outcome, started.elapsed());
        }
        // A disk that hangs must not keep the process from ending.
        let _ = tokio::time::timeout(PATIENCE, store.close()).await;
    };
    (keeper, write)
}

async fn patiently(write: impl Future<Output = Result<(), StoreError>>) -> Result<(), StoreError> {
    tokio::time::timeout(PATIENCE, write).await.unwrap_or(Err(StoreError::Late(PATIENCE)))
}

async fn do_job(store: &Store, job: &Job) -> Result<(), StoreError> {
    match job {
        Job::Snapshots(rows) => store.save_snapshots(rows).await,
        Job::Alerts(rows) => store.save_alerts(rows).await,
        Job::Learned(row) => store.save_learned(row).await,
        Job::Quarantine(row) => store.save_quarantine(row).await,
        Job::Release { model, digest } => store.delete_quarantine(model, digest).await,
    }
}
