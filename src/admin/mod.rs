//! The admin port: metrics, health for Kubernetes, the admin API.
//!
//! It reads snapshots and reports, and hands wishes to whoever may fulfil them: a split or a reload is a [`Command`] on a
//! bounded channel, answered when it is done. It runs on the control plane's runtime, away from the workers.
//!
//! Invariant: nothing here touches the data plane but through the publisher.

mod access;
mod api;
mod bin_series;
mod body;
mod drift_view;
mod hook_counts;
pub mod hooks;
mod inbox;
mod metrics_page;
mod profile_view;
mod report;
mod rollout_series;
mod rollouts;
pub mod server;
mod shadow_series;
mod split;
mod views;

pub use access::Access;

use crate::alert::state::AlertBook;
use crate::alert::webhook::WebhookSender;
use crate::catalog::{FreezeOrder, RetryError, SplitError, SplitReply};
use crate::judge::Board;
use crate::observe::live::LiveProfileError;
use crate::registry::board::SourceBoard;
use crate::registry::hooks::HookError;
use crate::rollout::{OrderError, RolloutDesk};
use crate::serve::Gate;
use crate::serve::acceptor::OpenConnections;
use crate::store::{StateHealth, StoreError};
use crate::telemetry::Telemetry;
use hooks::Hooks;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{mpsc, oneshot};

/// Wishes that may wait for the control loop.
pub const COMMAND_QUEUE: usize = 64;

/// What only the control loop may do.
pub enum Command {
    /// Make a split live.
    SetSplit {
        /// The model.
        model: String,
        /// Versions and shares in hundredths of a percent.
        weights: Vec<(u64, u16)>,
        /// Called when it is live or refused.
        reply: SplitReply,
    },
    /// Let the model's version policy rule again.
    ClearSplit {
        /// The model.
        model: String,
        /// Called when it is done.
        reply: SplitReply,
    },
    /// Freeze a learned reference.
    Freeze(Box<FreezeOrder>),
    /// Let a version that was refused be loaded again.
    Retry {
        /// The model.
        model: String,
        /// The version.
        version: u64,
        /// Whether there was anything to try again.
        reply: oneshot::Sender<Result<(), RetryError>>,
    },
    /// Read the configuration again.
    Reload {
        /// What was applied, or every problem found.
        reply: oneshot::Sender<Result<ReloadOutcome, String>>,
    },
}

/// What a reload did.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct ReloadOutcome {
    /// Settings that differ but need a restart.
    pub needs_restart: Vec<String>,
}

/// Where state is kept, and whether it is.
#[derive(Clone, Debug)]
pub struct StateView {
    /// The directory.
    pub path: PathBuf,
    /// Whether it is being written.
    pub health: Arc<StateHealth>,
}

/// What the admin port shows and where it sends wishes.
pub struct Desk {
    /// The data plane, for readiness and its counts.
    pub gate: Arc<Gate>,
    /// Connections of each worker.
    pub connections: Vec<OpenConnections>,
    /// The judge's reports.
    pub board: Arc<Board>,
    /// Alerts.
    pub alerts: Mutex<AlertBook>,
    /// Who may send webhooks.
    pub hooks: Hooks,
    /// What is known of models that come from a registry.
    pub sources: Arc<SourceBoard>,
    /// Rollouts, and whoever drives them.
    pub rollouts: RolloutDesk,
    /// Alert sinks, for what they dropped.
    pub sinks: Mutex<Vec<WebhookSender>>,
    /// Metrics.
    pub telemetry: Telemetry,
    /// What outlives the process.
    pub state: StateView,
    /// Who may call.
    pub access: Access,
    /// The control loop.
    pub commands: mpsc::Sender<Command>,
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Desk").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Command {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = match self {
            Self::SetSplit { .. } => "SetSplit",
            Self::ClearSplit { .. } => "ClearSplit",
            Self::Freeze(_) => "Freeze",
            Self::Retry { .. } => "Retry",
            Self::Reload { .. } => "Reload",
        };
        formatter.debug_struct(name).finish_non_exhaustive()
    }
}

impl Desk {
    /// The sinks as they are now; a reload may replace them.
    #[must_use]
    pub fn sinks(&self) -> Vec<WebhookSender> {
        self.sinks.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Why an admin request was not fulfilled.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// No such path.
    #[error("no such path: {path}")]
    UnknownPath {
        /// The path that came.
        path: String,
    },
    /// The path exists, but not for this method.
    #[error("{path} takes {expected}, not {found}")]
    WrongMethod {
        /// The path that came.
        path: String,
        /// The methods it takes.
        expected: &'static str,
        /// The method that came.
        found: String,
    },
    /// The body is not what the path takes.
    #[error("{reason}")]
    BadBody {
        /// What was expected and what came.
        reason: String,
    },
    /// No model of that name.
    #[error("unknown model \"{name}\"")]
    UnknownModel {
        /// The name that came.
        name: String,
    },
    /// No such version of a model.
    #[error("there is nothing to show of version {version} of \"{name}\"; there is of: {known}")]
    UnknownVersion {
        /// The model.
        name: String,
        /// The version that came.
        version: String,
        /// Those that there are.
        known: String,
    },
    /// What was counted cannot be written down.
    #[error(transparent)]
    LiveProfile(#[from] LiveProfileError),
    /// The query is not what the path takes.
    #[error("{reason}")]
    BadQuery {
        /// What was expected and what came.
        reason: String,
    },
    /// No or a wrong token.
    #[error("this port needs the header \"authorization: Bearer <admin token>\"")]
    Unauthorized,
    /// Somebody who may look wants to change something.
    #[error(
        "this token may look (GET) and change nothing; {method} is for who has the operator's token, server.admin_token"
    )]
    ViewerOnly {
        /// The method that came.
        method: String,
    },
    /// A page from elsewhere, or a name that is not ours.
    #[error("{reason}")]
    Forbidden {
        /// What is wrong with the Host or Origin header.
        reason: String,
    },
    /// The split was refused.
    #[error(transparent)]
    Split(#[from] SplitError),
    /// There is nothing to try again.
    #[error(transparent)]
    Retry(#[from] RetryError),
    /// A rollout was not told what to do, or did not do it.
    #[error(transparent)]
    Rollout(#[from] OrderError),
    /// A webhook was refused.
    #[error(transparent)]
    Hook(#[from] HookError),
    /// The body of a webhook is too long.
    #[error("the body of a webhook may have {most} bytes, and this one has more")]
    LongBody {
        /// How many it may have.
        most: usize,
    },
    /// No delivery of that number is kept.
    #[error("no delivery {id} is kept; GET /api/v1/hooks lists those that are")]
    UnknownDelivery {
        /// What was asked for.
        id: String,
    },
    /// The sender of a delivery is not configured any more.
    #[error("delivery {id} is of the sender \"{source_name}\", which is not configured now")]
    SenderGone {
        /// The delivery.
        id: u64,
        /// Its sender.
        source_name: String,
    },
    /// Deliveries are not kept.
    #[error("deliveries of webhooks are taken, but not kept, because state is not: {reason}")]
    NoInbox {
        /// Why not.
        reason: String,
    },
    /// The inbox cannot be read.
    #[error("deliveries of webhooks cannot be read now: {0}")]
    Inbox(StoreError),
    /// The new configuration has problems; the old one stays.
    #[error("the configuration was not changed:\n{problems}")]
    BadConfig {
        /// All of them.
        problems: String,
    },
    /// The control loop is busy or gone.
    #[error("the control loop cannot take this now; try again")]
    Busy,
}

impl crate::error::Blamed for AdminError {
    fn fault(&self) -> crate::error::Fault {
        use crate::error::Fault;
        match self {
            Self::UnknownPath { .. }
            | Self::UnknownModel { .. }
            | Self::UnknownVersion { .. }
            | Self::UnknownDelivery { .. } => Fault::NotFound,
            Self::WrongMethod { .. } => Fault::MethodNotAllowed,
            Self::BadBody { .. } | Self::BadQuery { .. } | Self::BadConfig { .. } => Fault::InvalidRequest,
            Self::Unauthorized => Fault::Unauthorized,
            Self::Forbidden { .. } | Self::ViewerOnly { .. } => Fault::Forbidden,
            Self::LongBody { .. } => Fault::TooLarge,
            Self::SenderGone { .. } => Fault::Conflict,
            Self::Split(error) => error.fault(),
            Self::Retry(error) => error.fault(),
            Self::Rollout(error) => error.fault(),
            Self::Hook(error) => error.fault(),
            Self::Busy | Self::NoInbox { .. } | Self::Inbox(_) => Fault::Unavailable,
            Self::LiveProfile(_) => Fault::Internal,
        }
    }
}
