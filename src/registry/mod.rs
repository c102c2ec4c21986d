//! Where versions come from: a directory in Triton's layout, an MLflow registry, an object store.
//!
//! `<repository>/<model>/<version>/model.onnx`, beside it `profile.json`, and if there is one
//! `<repository>/<model>/config.pbtxt`. [`directory`] says what is there. What comes from elsewhere stands behind
//! [`source::Source`], [`mlflow`] and [`objects`]: [`follow`] compares what is wanted with what is here and has [`staging`]
//! fetch the rest into a cache, which looks as the repository does. [`manifest`] is how whoever makes a version says what
//! it is, in either. [`load`] turns one version directory into a warm [`Model`](crate::catalog::Model). Listing and loading
//! block on the disk and are called off the workers.
//!
//! Invariant: nothing here changes what is live; it reports to whoever does.

pub mod beside;
pub mod board;
mod config_file;
pub mod directory;
pub mod follow;
#[cfg(test)]
mod follow_tests;
pub mod hooks;
pub mod load;
pub mod manifest;
pub mod memory;
mod misfit;
pub mod mlflow;
pub mod objects;
pub mod pbtxt;
mod place;
pub mod quarantine;
pub mod roles;
mod session;
pub mod source;
pub mod staging;
#[cfg(test)]
mod tests;
mod trial;
pub mod triton;
mod walk;

pub use trial::{GOLDEN_FILE, GOLDEN_FORMAT, GOLDEN_LIMIT, GoldenError, MOST_CASES, hold_golden};

use crate::engine::EngineError;
pub use misfit::Misfit;
use std::path::PathBuf;

/// The file that holds a version's graph.
pub const MODEL_FILE: &str = "model.onnx";
/// The file that holds a version's reference profile.
pub const PROFILE_FILE: &str = "profile.json";
/// The file that says which files a version is made of, see [`manifest`].
pub const MANIFEST_FILE: &str = "manifest.json";
/// The file in which MLflow says what a version takes and gives, and where it comes from.
pub const MLMODEL_FILE: &str = "MLmodel";
/// The file that holds what is said of a model as a whole, in Triton's words.
pub const CONFIG_FILE: &str = "config.pbtxt";

/// Why a model or a version could not be made ready.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The repository or a file in it cannot be read.
    #[error("cannot read {path}: {cause}")]
    Unreadable {
        /// What was read.
        path: PathBuf,
        /// What the system says.
        cause: std::io::Error,
    },
    /// The engine refuses the graph.
    #[error("{0}")]
    Engine(#[from] EngineError),
    /// It would not fit beside what serves.
    #[error(
        "it needs about {needed} bytes, {in_use} of the budget of {budget} bytes are in use; unload a version or raise repository.memory_budget"
    )]
    OverMemoryBudget {
        /// What the load is reckoned to need.
        needed: u64,
        /// What loaded versions are reckoned to hold.
        in_use: u64,
        /// The budget.
        budget: u64,
    },
    /// The model's configuration cannot be understood.
    #[error("{CONFIG_FILE}, {0}")]
    BadConfig(#[from] pbtxt::Problem),
    /// The graph is another than the one that was registered.
    #[error("{0}")]
    NotAsRegistered(String),
    /// Its clients would notice that it took the place of what serves.
    #[error("{0}")]
    Misfit(Misfit),
    /// It fails on rows like those it would get.
    #[error("it fails on {rows}: {cause}")]
    WarmUp {
        /// What the rows are of.
        rows: &'static str,
        /// What the engine says.
        cause: Box<EngineError>,
    },
    /// It does not give the answers that were shipped with it.
    #[error(transparent)]
    Golden(#[from] GoldenError),
    /// The manifest cannot be used.
    #[error("{0}")]
    BadManifest(#[from] manifest::BadManifest),
    /// A file is not the one that the manifest names.
    #[error("{0}")]
    WrongDigest(#[from] manifest::WrongDigest),
    /// The files changed while they were read.
    #[error("its files changed while they were being loaded")]
    Changed,
}

impl RegistryError {
    /// Whether another try may help without anybody's doing anything: the disk or the machine was short of something.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Unreadable { .. } | Self::Changed => true,
            Self::Engine(_) | Self::WarmUp { .. } | Self::Golden(_) => !self.is_of_the_bytes(),
            Self::NotAsRegistered(_)
            | Self::Misfit(_)
            | Self::BadManifest(_)
            | Self::WrongDigest(_)
            | Self::OverMemoryBudget { .. }
            | Self::BadConfig(_) => false,
        }
    }

    /// Whether the same bytes would be refused again by the same engine, or beside the same stable version: not what the
    /// disk, the memory or the clock did.
    #[must_use]
    pub fn is_of_the_bytes(&self) -> bool {
        match self {
            Self::Engine(cause) => cause.is_of_the_model(),
            Self::WarmUp { cause, .. } => cause.is_of_the_model(),
            Self::Golden(cause) => cause.is_of_the_bytes(),
            Self::NotAsRegistered(_) | Self::Misfit(_) | Self::BadManifest(_) | Self::WrongDigest(_) => true,
            Self::Unreadable { .. } | Self::OverMemoryBudget { .. } | Self::BadConfig(_) | Self::Changed => false,
        }
    }
}
