//! Whether a live profile is consistent in itself, and two of them with each other.
//!
//! A document is a file that anything may have written; after this, counters fit columns and every key is there once.
//!
//! Invariant: adding up what passes needs no further check.

use super::{LIVE_FORMAT, LiveColumn, LiveProfile, LiveProfileError, LiveVersion, Part};
use crate::observe::Side;

/// Characters of a name: models' and replicas' names are labels and parts of paths.
const NAME_LENGTH: usize = 128;

/// Checks a document whose versions and parts are sorted.
pub(super) fn validate(document: &LiveProfile) -> Result<(), LiveProfileError> {
    if document.format != LIVE_FORMAT {
        return Err(LiveProfileError::OtherFormat { found: document.format });
    }
    for version in &document.versions {
        validate_version(version)?;
    }
    match document.versions.windows(2).find(|pair| pair[0].key() == pair[1].key()) {
        Some(pair) => Err(wrong(&pair[0], "a version", "each once", "twice")),
        None => Ok(()),
    }
}

/// Whether two documents of one version were counted on the same edges.
pub(super) fn check_same_edges(left: &LiveVersion, right: &LiveVersion) -> Result<(), LiveProfileError> {
    let (model, version) = (left.model.clone(), left.version);
    if left.profile != right.profile {
        return Err(LiveProfileError::OtherProfile { model, version, first: left.profile, second: right.profile });
    }
    let differing = left.columns.iter().zip(&right.columns).find(|(left, right)| left != right);
    let count = |version: &LiveVersion| format!("{} columns", version.columns.len());
    let (expected, found) = match differing {
        Some((left, right)) => (describe(left), describe(right)),
        None if left.columns.len() == right.columns.len() => return Ok(()),
        None => (count(left), count(right)),
    };
    Err(LiveProfileError::OtherColumns { model, version, expected, found })
}

fn describe(column: &LiveColumn) -> String {
    let side = if column.side == Side::Input { "input" } else { "output" };
    format!("{side} \"{}\" with {} counters", column.name, column.counters)
}

fn validate_version(version: &LiveVersion) -> Result<(), LiveProfileError> {
    if !is_name(&version.model) {
        return Err(wrong(version, "model", "1 to 128 letters, digits, '.', '_' or '-'", &version.model));
    }
    for part in &version.parts {
        validate_part(version, part)?;
    }
    match version.parts.windows(2).find(|pair| pair[0].key() == pair[1].key()) {
        Some(pair) => {
            Err(wrong(version, "a part", "each once", format!("{} since {} twice", pair[0].replica, pair[0].epoch)))
        }
        None => Ok(()),
    }
}

fn validate_part(version: &LiveVersion, part: &Part) -> Result<(), LiveProfileError> {
    if !is_name(&part.replica) {
        return Err(wrong(version, "replica", "1 to 128 letters, digits, '.', '_' or '-'", &part.replica));
    }
    if part.epoch > part.at {
        return Err(wrong(version, "epoch", format!("at most {}, when the counters were read", part.at), part.epoch));
    }
    if part.evidence_rows > part.rows {
        return Err(wrong(version, "evidence_rows", format!("at most {}, the rows", part.rows), part.evidence_rows));
    }
    if part.counts.len() != version.columns.len() {
        let (expected, found) = (version.columns.len(), part.counts.len());
        return Err(wrong(version, "counts", format!("counters of {expected} columns"), found));
    }
    for (column, counts) in version.columns.iter().zip(&part.counts) {
        if counts.counts.len() != column.counters {
            return Err(wrong(version, "counts", describe(column), counts.counts.len()));
        }
    }
    Ok(())
}

fn is_name(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=NAME_LENGTH).contains(&text.len()) && text.bytes().all(fits)
}

fn wrong(
    version: &LiveVersion,
    field: &'static str,
    expected: impl ToString,
    found: impl ToString,
) -> LiveProfileError {
    const QUOTED: usize = 200;
    let quoted = |text: String| text.chars().take(QUOTED).collect();
    LiveProfileError::Inconsistent {
        place: quoted(format!("{} version {}", version.model, version.version)),
        field,
        expected: quoted(expected.to_string()),
        found: quoted(found.to_string()),
    }
}
