//! Where rollouts are seen and told what to do, by whoever has the admin port.
//!
//! Views are posted by the one task that drives rollouts and read by anyone; orders go to it on a bounded channel and are
//! answered when they are carried out or refused.
//!
//! Invariant: a view is whole: it is replaced, never changed.

use super::{Judgement, Pause, Phase, Progress};
use crate::error::{Blamed, Fault};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{mpsc, oneshot};

/// Orders that may wait.
pub const ORDER_QUEUE: usize = 64;

/// A rollout, as the API shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RolloutView {
    /// Its id: of the model, the target's bytes and the plan.
    pub id: String,
    /// The model.
    pub model: String,
    /// The version that is rolled out.
    pub target: u64,
    /// The digest of its files, if known yet.
    pub digest: Option<String>,
    /// The version that was stable when it began.
    pub stable: u64,
    /// Grows with every change; what an order may be bound to.
    pub generation: u64,
    /// Where it stands.
    pub phase: Phase,
    /// Why it waits there, if it does.
    pub pause: Option<Pause>,
    /// The target's share of the traffic, percent.
    pub weight: f64,
    /// Unix milliseconds when it began.
    pub started_at: u64,
    /// Unix milliseconds when it came to where it stands.
    pub since: u64,
    /// Unix milliseconds when it ended.
    pub ended_at: Option<u64>,
    /// Why it stands there, for people.
    pub reason: String,
    /// How far it is there, and what is missing for its next move; none where nothing moves it.
    #[serde(default)]
    pub progress: Option<Progress>,
    /// The last look at the step, if there was one.
    pub judgement: Option<Judgement>,
    /// The last look of the guards.
    pub guards: Option<Judgement>,
    /// What the shadow's answers came to.
    pub shadow: Option<ShadowView>,
    /// The effect that a test measures, if it is one.
    pub test: Option<TestView>,
    /// Something that keeps it from going on or from being written down, for people.
    pub problem: Option<String>,
}

/// What copies of requests came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ShadowView {
    /// Copies that were answered and compared.
    pub compared: u64,
    /// Copies that failed.
    pub failed: u64,
    /// Copies that were dropped.
    pub dropped: u64,
    /// Share of rows whose label, the place of the largest output or the value of an integer one, is the same.
    pub label_agreement: Option<f64>,
    /// Largest absolute difference of two numbers of an output.
    pub largest_difference: f64,
    /// Mean absolute difference of the numbers of outputs.
    pub mean_difference: f64,
    /// Largest distance of the distributions of the numbers of one output column, Kolmogorov-Smirnov.
    pub score_distance: Option<f64>,
}

/// A question that fixed shares are to answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestPlan {
    /// Share of the version under test, percent.
    pub weight: f64,
    /// What is asked: `errors`, `latency`, or `output/<column>`, the mean of an output's column of numbers.
    pub question: String,
}

/// The answer so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TestView {
    /// What is asked.
    pub question: String,
    /// What the effect is a difference of: `mean of output/score`, in the column's own unit, or the share of requests that
    /// failed, or that took longer than a duration that is named.
    #[serde(default)]
    pub unit: String,
    /// Difference of the version under test from the stable one; holds at any time with its interval.
    pub effect: Option<crate::detect::two_arm::Effect>,
    /// Probability that the interval holds at all times at once.
    pub confidence: f64,
    /// Requests of the version under test.
    pub canary: u64,
    /// Requests of the stable one.
    pub stable: u64,
    /// What the version under test shows by itself.
    #[serde(default)]
    pub canary_arm: Option<TestArm>,
    /// What the stable one shows.
    #[serde(default)]
    pub stable_arm: Option<TestArm>,
}

/// One of the two versions of a test.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TestArm {
    /// Its mean, or share, in the answer's unit; none of nothing.
    pub mean: Option<f64>,
    /// Of how many values, at most one for each request: what failed has no output, and what is NaN or infinite no number.
    pub values: u64,
}

/// What can be asked of a rollout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "order")]
pub enum Order {
    /// Begin one: to a version, or to the one that the registry or the directory wants; with a test, at fixed shares.
    Start {
        /// The version; none for the one that is wanted.
        target: Option<u64>,
        /// What is asked, if nothing is to be moved.
        test: Option<TestPlan>,
    },
    /// Stay at this share.
    Pause,
    /// Go on, also past a gate and an inconclusive step.
    Resume,
    /// Give it all traffic now. Guards stay armed.
    Promote,
    /// Take its share away. Always wins.
    Abort,
}

/// An order on its way.
#[derive(Debug)]
pub struct OrderRequest {
    /// The model.
    pub model: String,
    /// What is to be done.
    pub order: Order,
    /// Who wants it, for the journal.
    pub by: String,
    /// Only if the rollout has this generation still; an abort does not look.
    pub generation: Option<u64>,
    /// How it went.
    pub reply: oneshot::Sender<Result<RolloutView, OrderError>>,
}

/// What the task that drives rollouts is told.
#[derive(Debug)]
pub enum Message {
    /// Something to do.
    Order(OrderRequest),
    /// Why things were done.
    Explain {
        /// The model.
        model: String,
        /// Of which rollout; the latest if none is named.
        id: Option<String>,
        /// The answer.
        reply: oneshot::Sender<Result<Explanation, OrderError>>,
    },
}

/// Every entry of a rollout's journal, each decision made again from what it says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// The rollout.
    pub rollout: RolloutView,
    /// Its journal, the oldest entry first.
    pub entries: Vec<ExplainedEntry>,
}

/// One entry of the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExplainedEntry {
    /// Its place in the journal.
    pub sequence: u64,
    /// Unix milliseconds.
    pub at: u64,
    /// What it says, for people.
    pub summary: String,
    /// What it says: for decisions the counts, the plan and the judgement.
    pub entry: serde_json::Value,
    /// For decisions: whether the judgement made again from the entry's counts is identical.
    pub replayed: Option<bool>,
    /// The judgement made again, if it is not identical.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judged: Option<Judgement>,
}

/// Why an order was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// No such model.
    #[error("unknown model \"{0}\"")]
    UnknownModel(String),
    /// No rollout of it.
    #[error("model \"{0}\" has no rollout")]
    NoRollout(String),
    /// The rollout changed meanwhile.
    #[error("the rollout is at generation {found}, the order is for {expected}; look again")]
    Stale {
        /// The generation that came.
        expected: u64,
        /// The generation there is.
        found: u64,
    },
    /// It cannot be done where the rollout stands.
    #[error("{0}")]
    Refused(String),
    /// What was asked makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// It cannot be done now.
    #[error("{0}")]
    Unavailable(String),
}

impl Blamed for OrderError {
    fn fault(&self) -> Fault {
        match self {
            Self::UnknownModel(_) | Self::NoRollout(_) => Fault::NotFound,
            Self::Stale { .. } | Self::Refused(_) => Fault::Conflict,
            Self::Invalid(_) => Fault::InvalidRequest,
            Self::Unavailable(_) => Fault::Unavailable,
        }
    }
}

/// Figures over all rollouts of a model since its journal began, in the words of DORA
/// (<https://dora.dev/guides/dora-metrics-four-keys/>). Tests are left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DeliveryFigures {
    /// Unix milliseconds when the first of them began; none before one has ended.
    #[serde(default)]
    pub since: Option<u64>,
    /// Rollouts that were promoted and baked.
    pub promoted: u64,
    /// Rollouts that were rolled back or aborted after they had a share.
    pub rolled_back: u64,
    /// Rollouts that failed or were aborted before they had one.
    pub failed: u64,
    /// Rollouts that a newer version replaced.
    pub superseded: u64,
    /// Seconds from the registration, or else the sighting, of a version until it had all traffic, summed over promotions.
    pub lead_seconds: f64,
    /// Seconds from the deciding reply to no share at all, summed over rollbacks.
    pub restore_seconds: f64,
}

/// The near end: what the admin port has.
#[derive(Clone, Debug)]
pub struct RolloutDesk {
    views: Arc<Mutex<Posted>>,
    messages: mpsc::Sender<Message>,
}

/// What was posted last.
#[derive(Clone, Debug, Default)]
pub struct Posted {
    /// The latest rollout of each model.
    pub rollouts: BTreeMap<String, Arc<RolloutView>>,
    /// Figures of each model.
    pub figures: BTreeMap<String, DeliveryFigures>,
}

impl RolloutDesk {
    /// A desk, and the far end of its channel.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<Message>) {
        let (messages, received) = mpsc::channel(ORDER_QUEUE);
        (Self { views: Arc::default(), messages }, received)
    }

    /// What was posted last.
    #[must_use]
    pub fn posted(&self) -> Posted {
        self.views.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces what is shown.
    pub fn post(&self, posted: Posted) {
        *self.views.lock().unwrap_or_else(PoisonError::into_inner) = posted;
    }

    /// Hands a message on.
    ///
    /// # Errors
    /// [`OrderError::Unavailable`] when too many wait, or nobody takes them.
    pub fn send(&self, message: Message) -> Result<(), OrderError> {
        let busy = || OrderError::Unavailable("the rollouts cannot take this now; try again".to_owned());
        self.messages.try_send(message).map_err(|_full_or_closed| busy())
    }
}
