//! Whether a version from a registry can stand in for the one that serves, and whether bytes that could not once still
//! cannot.
//!
//! What it was compared with is part of what is remembered: beside another version, or the same one with another signature,
//! the same bytes get their try. See `catalog/stand_in.rs` for when it is asked.
//!
//! Invariant: the answer depends on the two signatures alone, whatever engine runs either.

use super::manifest::Digest;
use crate::catalog::{LoadOrder, Predecessor};
use crate::store::QuarantineRow;
use crate::tensor::Signature;
use std::fmt;

/// Characters of a signature's digest that tell it from another.
const SHOWN_DIGEST: usize = 16;

/// A version that cannot stand in for the one that serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// The version that serves.
    pub instead_of: u64,
    /// Whether it has the same number: its files were replaced.
    pub is_the_same: bool,
    /// What clients would notice, for people.
    pub difference: String,
    /// What refused it, as it is remembered.
    pub refused_by: String,
}

impl fmt::Display for Misfit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { instead_of, difference, .. } = self;
        let before = if self.is_the_same { "what it was before, " } else { "" };
        write!(formatter, "it cannot stand in for {before}version {instead_of}: {difference}; ")?;
        formatter.write_str("models.<name>.allow_signature_change permits it")
    }
}

/// Compares what was read with what serves.
///
/// # Errors
/// What clients would notice.
pub(super) fn compare(order: &LoadOrder, signature: &Signature) -> Result<(), Misfit> {
    let Predecessor::Serving { version, signature: before } = &order.predecessor else { return Ok(()) };
    signature.can_replace(before).map_err(|difference| Misfit {
        instead_of: *version,
        is_the_same: *version == order.version,
        difference,
        refused_by: refused_by(*version, before),
    })
}

/// Whether bytes that were refused for that reason still are.
pub(super) fn still_holds(row: &QuarantineRow, instead_of: u64, predecessor: &Predecessor) -> bool {
    match predecessor {
        Predecessor::Nobody => false,
        Predecessor::Serving { version, signature } => row.engine == refused_by(*version, signature),
        Predecessor::Any(others) => others.contains(&instead_of),
    }
}

/// What refused bytes for not standing in for this version.
fn refused_by(version: u64, signature: &Signature) -> String {
    let digest = Digest::of(format!("{signature:?}").as_bytes());
    let shown: String = digest.as_str().chars().take(SHOWN_DIGEST).collect();
    format!("version {version}, signature {shown}")
}
