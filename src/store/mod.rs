//! What outlives the process: a SQLite database in the state directory.
//!
//! Windows and alarms are written as snapshots, so that a restart neither forgets what was measured nor begins the
//! search for a change anew; alerts, so that an incident keeps its id. The room stores rows and knows nothing of what
//! they mean; others decide what to write and when.
//!
//! One file, one writer: SQLite in WAL mode, where readers never wait, a crash of the process loses nothing that was
//! committed, and one of the machine at most the last commits. Rows of a shared database were considered: they come with
//! replicas, behind the same calls.
//!
//! # Tables
//! | table | one row per | |
//! |---|---|---|
//! | `schema_version` | migration that was applied | its number and when |
//! | `monitor_snapshots` | model, version, profile hash and replica | the latest snapshot: when, of which start of the process, bytes |
//! | `learned_profiles` | model and version | the reference learned from its traffic: of which files, when, JSON |
//! | `hook_deliveries` | webhook that was taken, the newest | its number, who sent it, id, when, models, body |
//! | `quarantine` | model and digest of files | files that were refused: by which engine or instead of which version, of which version, why, when |
//! | `rollout_journal` | entry of a rollout's journal, the newest rollouts of a model | its number, rollout, place, model, when, kind, JSON |
//! | `rollout_ledgers` | model | what is known of all of its rollouts, also of those whose entries are gone: JSON |
//! | `alerts` | open alert, and the latest ended ones | its id, place in the list, whether it is open, JSON |
//!
//! A database of a newer release is left alone and nothing is written to it. A file that is not a database, or damaged,
//! is renamed aside (`tidegate.db.corrupt-<unix time>`) and a new one begun: losing a month of windows is bad, not
//! serving is worse.
//!
//! Invariant: no error here ends the process; every call either did its work or says why not.

mod alerts;
mod database;
mod health;
mod inbox;
#[cfg(test)]
mod inbox_tests;
mod keeper;
mod learned;
mod migrations;
mod quarantine;
mod rollouts;
mod snapshots;
#[cfg(test)]
mod tests;

pub use alerts::AlertRow;
pub use database::Store;
pub use health::StateHealth;
pub use inbox::{DeliveryRow, KEPT_BODY, KEPT_BYTES, KEPT_DELIVERIES, KeptDelivery};
pub use keeper::{Job, Keeper, keep};
pub use learned::LearnedRow;
pub use quarantine::QuarantineRow;
pub use rollouts::{KEPT_ROLLOUTS, KeptRolloutRow, RolloutRow};
pub use snapshots::{SnapshotKey, SnapshotRow};

use std::path::PathBuf;

/// Why the store did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory is not there and cannot be made, or is none.
    #[error("cannot make the state directory {path}: {cause}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        cause: std::io::Error,
    },
    /// A damaged database could not be put aside.
    #[error("cannot put the damaged database {path} aside: {cause}")]
    PutAside {
        /// The database.
        path: PathBuf,
        /// What the system says.
        cause: std::io::Error,
    },
    /// The database was written by a newer release.
    #[error("the state database has schema {found}, this release knows up to {known}")]
    NewerSchema {
        /// Its schema.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// What SQLite says.
    #[error("the state database: {0}")]
    Database(#[from] sqlx::Error),
    /// The database did not answer in time: a disk that hangs.
    #[error("the state database did not answer within {0:?}")]
    Late(std::time::Duration),
}
