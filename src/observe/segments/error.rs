//! Why a version's drift cannot be split as it was asked for.
//!
//! Invariant: none of these costs the version its drift judgement, let alone its traffic.

use crate::profile::Kind;

/// Why there are no segments.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SegmentError {
    /// Nothing to compare segments with.
    #[error("there is no reference to compare segments with")]
    NoReference,
    /// A feature that the version does not have.
    #[error("it has no feature \"{name}\"")]
    UnknownFeature {
        /// The name.
        name: String,
    },
    /// A feature with too many values to tell apart.
    #[error(
        "feature \"{name}\" is {kind}; segments are by a feature of few values: boolean, discrete, categorical or string"
    )]
    ManyValues {
        /// The name.
        name: String,
        /// What it is.
        kind: Kind,
    },
    /// No name of a header.
    #[error("\"{name}\" is not the name of a header")]
    HeaderName {
        /// The name.
        name: String,
    },
    /// A header whose values nobody may see.
    #[error("header \"{name}\" holds secrets, which segments would show")]
    SecretHeader {
        /// The name.
        name: String,
    },
    /// Too many counters.
    #[error("the segments would take {needed} bytes, over the limit of {limit}; lower drift.segment.max_values")]
    OverMemory {
        /// Bytes that it would take.
        needed: usize,
        /// Bytes that it may.
        limit: usize,
    },
}
