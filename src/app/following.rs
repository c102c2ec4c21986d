//! The tasks that follow models at their registries: one per model, so that a slow download delays no other, and all on
//! one thread in the background, since downloads are hashed as they come.
//!
//! Invariant: a model is looked at by one task alone, one look after the other; whoever wakes it during a look causes one
//! more.

use super::{AppError, background};
use crate::catalog::PresentModel;
use crate::registry::follow::{Follower, Watch};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// The least time between two looks, but for those that a look itself asks for.
const LEAST_PAUSE: Duration = Duration::from_millis(100);

/// Findings that may wait for the control loop.
pub(super) const FOUND_QUEUE: usize = 256;

/// What a follower found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) model: String,
    /// Nothing of the first finding, if the cache has nothing of the model.
    pub(super) present: Option<PresentModel>,
}

/// What one model's task is made of.
pub(super) struct Following {
    pub(super) follower: Follower,
    /// Time between two looks.
    pub(super) interval: Duration,
    /// Says that there is something to look at now.
    pub(super) wake: Arc<Notify>,
    /// Draws the pauses.
    pub(super) seed: u64,
}

/// Starts following; answers when to wait for its end, if there is something to follow.
pub(super) fn start(
    all: Vec<Following>,
    found: mpsc::Sender<Found>,
    stop: &CancellationToken,
) -> Result<Option<impl Future<Output = ()> + Send + use<>>, AppError> {
    if all.is_empty() {
        return Ok(None);
    }
    let stop = stop.clone();
    let done = background::start_async("tidegate-followers", move || follow(all, found, stop))?;
    Ok(Some(async { drop(done.await) }))
}

async fn follow(all: Vec<Following>, found: mpsc::Sender<Found>, stop: CancellationToken) {
    let mut tasks = JoinSet::new();
    for following in all {
        tasks.spawn(following.run(found.clone(), stop.clone()));
    }
    drop(found);
    while let Some(ended) = tasks.join_next().await {
        if let Err(cause) = ended {
            tracing::error!(%cause, "a bug ended the following of a model");
        }
    }
}

impl Following {
    /// Looks again and again, and reports what it finds.
    pub(super) async fn run(self, found: mpsc::Sender<Found>, stop: CancellationToken) {
        let Self { follower, interval, wake, seed } = self;
        let watch = Watch { wake: Arc::clone(&wake), interval };
        let mut random = SmallRng::seed_from_u64(seed);
        let model = follower.model().to_owned();
        // All bytes of the model are read, which may take a while and blocks.
        let recalled = tokio::task::spawn_blocking(move || {
            let mut follower = follower;
            let present = follower.recall();
            (follower, present)
        });
        let Ok((mut follower, present)) = recalled.await else {
            tracing::error!(model, "a bug ended the reading of a cached model; it is not followed");
            return drop(found.send(Found { model, present: None }).await);
        };
        let _ = found.send(Found { model: model.clone(), present }).await;
        loop {
            tokio::select! {
                present = follower.look(SystemTime::now(), &watch) => {
                    if found.send(Found { model: model.clone(), present: Some(present) }).await.is_err() {
                        return;
                    }
                }
                () = stop.cancelled() => return,
            }
            let pause = follower.pause(interval, random.random());
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = woken(&wake) => {}
                () = stop.cancelled() => return,
            }
        }
    }
}

/// Waits for somebody who wakes, and a moment before: a flood of webhooks is no flood of questions.
async fn woken(wake: &Notify) {
    tokio::time::sleep(LEAST_PAUSE).await;
    wake.notified().await;
}
