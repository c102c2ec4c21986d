//! What is wrong with a live profile, or with merging two.
//!
//! Invariant: the fault is always that of whoever wrote or named the document.

use super::LIVE_FORMAT;
use crate::error::{Blamed, Fault};
use crate::profile::ProfileError;

/// Why a live profile cannot be read, merged or compared.
#[derive(Debug, thiserror::Error)]
pub enum LiveProfileError {
    /// Not JSON, cut short, or not the fields of a live profile.
    #[error("not a live profile: {0}")]
    Json(#[source] serde_json::Error),
    /// Written by another release.
    #[error("live profile format {found} is not {LIVE_FORMAT}, the one that is read here")]
    OtherFormat {
        /// The format that came.
        found: u32,
    },
    /// A field contradicts another one, or itself.
    #[error("{place}: {field} is {found}, expected {expected}")]
    Inconsistent {
        /// Model and version, and the part if it is one's.
        place: String,
        /// The field.
        field: &'static str,
        /// What was expected of it.
        expected: String,
        /// What came.
        found: String,
    },
    /// The same version was counted on other edges.
    #[error(
        "{model} version {version} was counted on two profiles, {first:016x} and {second:016x}; counters on different \
         edges cannot be added"
    )]
    OtherProfile {
        /// The model.
        model: String,
        /// The version.
        version: u64,
        /// One fingerprint.
        first: u64,
        /// The other one.
        second: u64,
    },
    /// The same version was counted in other columns.
    #[error("{model} version {version} has {found} in one document where another has {expected}")]
    OtherColumns {
        /// The model.
        model: String,
        /// The version.
        version: u64,
        /// The first column that differs, as one document has it.
        expected: String,
        /// As the other one has it.
        found: String,
    },
    /// The reference is not the one that was counted on.
    #[error("the reference profile is {found:016x}, but {model} version {version} was counted on {expected:016x}")]
    OtherReference {
        /// The model.
        model: String,
        /// The version.
        version: u64,
        /// The fingerprint of the live profile.
        expected: u64,
        /// The fingerprint of the reference.
        found: u64,
    },
    /// The reference has no fingerprint, because it is not consistent.
    #[error(transparent)]
    Reference(#[from] ProfileError),
}

impl Blamed for LiveProfileError {
    fn fault(&self) -> Fault {
        Fault::InvalidRequest
    }
}
