//! What is asked of the publisher and what it asks for: splits and their refusals, loads and their failures, learned
//! references.
//!
//! Invariant: a refusal says what was asked, what there is, and whose fault the difference is.

use super::TritonConfig;
use crate::config::ModelSettings;
use crate::error::{Blamed, Fault};
use crate::profile::{Profile, ProfileError};
use crate::tensor::Signature;
use std::sync::Arc;
use std::time::SystemTime;

/// A version to load.
#[derive(Debug, Clone)]
pub struct LoadOrder {
    /// The model.
    pub model: String,
    /// The version.
    pub version: u64,
    /// What is on disk now.
    pub fingerprint: u64,
    /// How the model is configured.
    pub settings: Arc<ModelSettings>,
    /// What the model's `config.pbtxt` says.
    pub config: Arc<TritonConfig>,
    /// What every loaded version is reckoned to hold, bytes.
    pub memory_in_use: u64,
    /// Whose clients it must be able to serve.
    pub predecessor: Predecessor,
}

/// Whose clients a version must be able to serve before it is kept loaded.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Predecessor {
    /// Nobody's: the settings permit a break, the model is of a directory, or a rollout compares for itself.
    #[default]
    Nobody,
    /// Those of the version that serves.
    Serving {
        /// Its number.
        version: u64,
        /// What it takes and gives.
        signature: Signature,
    },
    /// Nothing serves yet. What could not stand in for one of these before cannot now: they are what can serve in its
    /// place.
    Any(Vec<u64>),
}

/// Why a version could not be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadFailure {
    /// The reason, for people.
    pub reason: String,
    /// Whether it is worth another try once something else is unloaded; otherwise only changed files are.
    pub until_memory_is_freed: bool,
    /// Whether it is worth another try after a pause: what the disk or the machine did may pass.
    pub may_pass: bool,
    /// Which bytes are held for it, if it is they that are to blame.
    pub quarantined: Option<Quarantined>,
}

/// Bytes that are not loaded again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// SHA-256 of the version's files and their names.
    pub digest: String,
    /// What refused them: another engine, or another version that serves, may have them tried again.
    pub engine: String,
    /// When they were refused first.
    pub since: SystemTime,
    /// The version whose place they cannot take, if that is why.
    pub instead_of: Option<u64>,
}

/// Why there is nothing to try again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RetryError {
    /// No model of that name.
    #[error("unknown model \"{name}\"")]
    UnknownModel {
        /// The name that came.
        name: String,
    },
    /// The version was not refused.
    #[error("version {version} of model \"{name}\" was not refused; refused are: {refused}")]
    NotRefused {
        /// The model.
        name: String,
        /// The version that came.
        version: u64,
        /// Those that were.
        refused: String,
    },
}

impl Blamed for RetryError {
    fn fault(&self) -> Fault {
        match self {
            Self::UnknownModel { .. } => Fault::NotFound,
            Self::NotRefused { .. } => Fault::Conflict,
        }
    }
}

/// A reference that was learned from a version's traffic, to be frozen.
#[derive(Debug, Clone)]
pub struct FreezeOrder {
    /// The model.
    pub model: String,
    /// The version.
    pub version: u64,
    /// The value whose counts it was learned from.
    pub identity: u64,
    /// The reference.
    pub profile: Profile,
}

/// Why a learned reference was not frozen.
#[derive(Debug, thiserror::Error)]
pub enum FreezeError {
    /// The version was unloaded or loaded anew while its reference was being learned.
    #[error("version {version} of model \"{name}\" is no longer the one that the reference was learned from")]
    Stale {
        /// The model.
        name: String,
        /// The version.
        version: u64,
    },
    /// The version has a reference.
    #[error("version {version} of model \"{name}\" has a reference already")]
    HasReference {
        /// The model.
        name: String,
        /// The version.
        version: u64,
    },
    /// The reference does not fit the version's signature.
    #[error("the learned reference does not fit the model: {0}")]
    Unfit(#[from] ProfileError),
}

/// A live split, as the API shows it: versions with their shares in hundredths of a percent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitView {
    /// Versions and shares.
    pub weights: Vec<(u64, u16)>,
    /// The snapshot that made it live.
    pub generation: u64,
}

/// Where the answer to a split goes, once it is live or refused.
pub type SplitReply = Box<dyn FnOnce(Result<SplitView, SplitError>) + Send>;

/// Why a split was not made live.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// No model of that name.
    #[error("unknown model \"{name}\"")]
    UnknownModel {
        /// The name that came.
        name: String,
    },
    /// The weights are no split.
    #[error("{reason}")]
    Invalid {
        /// What is wrong with them.
        reason: String,
    },
    /// A named version is neither on disk nor loaded.
    #[error("version {version} of model \"{name}\" does not exist; on disk or loaded: {known}")]
    UnknownVersion {
        /// The model.
        name: String,
        /// The version that came.
        version: u64,
        /// The versions there are.
        known: String,
    },
    /// A named version could not be loaded.
    #[error("version {version} of model \"{name}\" could not be loaded: {reason}")]
    LoadFailed {
        /// The model.
        name: String,
        /// The version.
        version: u64,
        /// Why.
        reason: String,
    },
    /// Another split was asked for before this one was live.
    #[error("superseded by a later split before it was live")]
    Superseded,
    /// A rollout owns the weights.
    #[error("the weights of model \"{name}\" belong to the rollout {id}; abort it first")]
    RolloutOwns {
        /// The model.
        name: String,
        /// The rollout.
        id: String,
    },
}

impl Blamed for SplitError {
    fn fault(&self) -> Fault {
        match self {
            Self::UnknownModel { .. } => Fault::NotFound,
            Self::Invalid { .. } | Self::UnknownVersion { .. } => Fault::InvalidRequest,
            Self::LoadFailed { .. } | Self::Superseded | Self::RolloutOwns { .. } => Fault::Conflict,
        }
    }
}
