//! References learned from traffic, on their way: from counters to a profile, into the state store, and back after a
//! restart.
//!
//! ```text
//!  judge: a version has served enough rows ─▶ Learner: counters ─▶ profile, on a blocking thread
//!    ─▶ control loop: Publisher::freeze ─▶ a new value is live ─▶ state store
//!  load: a version without a profile ─▶ recall: the store's reference, if it is of the same files
//! ```
//! Making a profile of a wide model's counters takes some milliseconds, which neither the workers nor the judge have to
//! spare. Without a store a restart forgets the reference and the version learns anew.
//!
//! A reference is used again only for the very files that served while it was learned, counted in the same way. If a
//! `profile.json` appears beside the model, or is replaced, these are other files: the profile is read, and where it is
//! refused the version learns anew.
//!
//! Invariant: one reference is learned at a time, and nothing here publishes.

use super::clock::unix;
use crate::catalog::Model;
use crate::profile::{self, Profile};
use crate::store::{LearnedRow, Store};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// How long a version that is being loaded waits for the reference it learned earlier.
const PATIENCE: Duration = Duration::from_secs(2);

/// Makes references of counters.
#[derive(Debug, Default)]
pub(super) struct Learner {
    task: Option<(Arc<Model>, JoinHandle<Learned>)>,
}

/// What was learned, or why nothing was.
type Learned = Result<Profile, String>;

impl Learner {
    pub(super) fn is_idle(&self) -> bool {
        self.task.is_none()
    }

    /// Learns from what a version has counted so far.
    pub(super) fn start(&mut self, model: Arc<Model>) {
        let counting = Arc::clone(&model);
        self.task = Some((model, tokio::task::spawn_blocking(move || learn(&counting, SystemTime::now()))));
    }

    /// What was learned, and of which version; none while it is not known.
    pub(super) async fn finished(&mut self) -> Option<(Arc<Model>, Learned)> {
        let (model, task) = self.task.take_if(|(_, task)| task.is_finished())?;
        let learned = task.await.unwrap_or_else(|error| Err(format!("a blocking task failed: {error}")));
        Some((model, learned))
    }
}

fn learn(model: &Model, now: SystemTime) -> Learned {
    let totals = model.recorder.totals();
    let columns = model.recorder.learnable(model.signature(), &totals);
    let learned = profile::learn(&columns, totals.rows).map_err(|error| error.to_string())?;
    learned.check(model.signature()).map_err(|error| error.to_string())?;
    Ok(Profile { created: Some(humantime::format_rfc3339_seconds(now).to_string()), ..learned })
}

/// What is kept of a version whose reference was learned.
pub(super) fn row(model: &Model, now: SystemTime) -> Option<LearnedRow> {
    let profile = model.profile.as_ref().ok()?.to_json().ok()?;
    Some(LearnedRow {
        model: model.name.clone(),
        version: model.version,
        fingerprint: model.facts.fingerprint,
        layout_hash: model.recorder.layout_hash(model.signature()),
        at: unix(now),
        profile: String::from_utf8(profile).ok()?,
    })
}

/// The version that was just loaded, with the reference that it learned earlier if it has no profile of its own. Blocks,
/// on a thread of its own, which no runtime knows; `runtime` is the store's.
pub(super) fn recall(model: Arc<Model>, store: &Store, runtime: &Handle) -> Arc<Model> {
    if model.profile.is_ok() {
        return model;
    }
    let (name, version) = (&model.name, model.version);
    let found = runtime.block_on(async {
        tokio::time::timeout(PATIENCE, store.learned(name, version))
            .await
            .map_err(|_late| format!("{PATIENCE:?} passed"))
    });
    let recalled = match found {
        Ok(Ok(Some(row))) if is_of(&row, &model) => with_learned(&model, &row),
        Ok(Ok(_)) => return model,
        Ok(Err(error)) => Err(error.to_string()),
        Err(late) => Err(late),
    };
    match recalled {
        Ok(recalled) => {
            tracing::info!(model = name, version, "the reference that was learned from traffic is used again");
            Arc::new(recalled)
        }
        Err(cause) => {
            tracing::warn!(model = name, version, cause, "the reference that was learned earlier cannot be used");
            model
        }
    }
}

fn is_of(row: &LearnedRow, model: &Model) -> bool {
    let layout_hash = model.recorder.layout_hash(model.signature());
    (row.fingerprint, row.layout_hash) == (model.facts.fingerprint, layout_hash)
}

fn with_learned(model: &Model, row: &LearnedRow) -> Result<Model, String> {
    let profile = Profile::from_json(row.profile.as_bytes()).map_err(|error| error.to_string())?;
    model.with_learned(profile).map_err(|error| error.to_string())
}
