//! Live profiles: what a version has counted since it was deployed, as a document that can be kept, sent and merged.
//!
//! Every replica behind a load balancer sees a part of the traffic, and each can only judge its own. Counters are
//! integers on the same edges, so the traffic of all of them is the sum of their counters; adding is all there is to
//! merging. What would spoil a sum is to count something twice: a file that is merged again, or an older reading of the
//! same replica. A document is therefore a set of *parts*, each under the name of its replica and the time at which its
//! counters began (the epoch), and merging is the union of the sets. Of two readings of the same part the one with more
//! rows counts, for counters only grow. Sums are taken when somebody asks, see [`LiveVersion::total`].
//!
//! A part goes on after a restart when its counters do: the epoch is that of the first start whose rows it contains. A
//! replica that crashed goes on from its last snapshot and may have fewer rows than a reading that was taken before the
//! crash; until it has more again, that reading counts. Rows may be missed by that, never counted twice.
//!
//! # The document
//! ```json
//! {"format":1,"versions":[
//! {"model":"churn","version":"1","profile":"8f0c…16 digits",
//! "columns":[{"name":"order_value","side":"input","counters":69},…],
//! "parts":[{"replica":"gw-1","epoch":1790000000000,"at":1790000300000,"rows":900,"evidence_rows":90,"counts":["RYAB…",…]}]}]}
//! ```
//! | field | meaning |
//! |---|---|
//! | `format` | 1; a higher number is refused |
//! | `model`, `version` | what was counted; each pair is there once |
//! | `profile` | fingerprint of the reference profile whose edges were counted on, see [`fingerprint`](crate::profile::Profile::fingerprint) |
//! | `columns` | every recorded column: `name`, `side` (`input` or `output`), how many `counters` it has |
//! | `replica`, `epoch` | who counted, and since when, unix milliseconds; each pair is there once |
//! | `at` | when the counters were read, unix milliseconds |
//! | `rows`, `evidence_rows` | rows predicted, and rows that entered the alarms |
//! | `counts` | the counters of each column, in the order of `columns` |
//!
//! Counters of a column are Base64 of LEB128 numbers: how many counters there are, then each as its difference from the
//! one before (zigzag, the first from 0) in the order of [`Slots`](crate::sketch::Slots), then likewise plain zigzag
//! numbers for its sums, of which there are [`SUMS`] or none. Bins of a reference have about equal counts, so differences
//! are short: a feature of 64 bins takes about 240 bytes whatever its traffic.
//!
//! Neither edges nor the reference's counts are repeated: they are in `profile.json`, beside the model that every replica
//! serves, and a copy could only contradict it. The fingerprint says which one it is; [`LiveVersion::compare`] takes it.
//!
//! Here and not in the room of reference profiles, because it is what recorders count, in the bytes of their snapshots.
//!
//! Invariant: a [`LiveProfile`] is in canonical order with every key once. Merging is commutative, associative and
//! idempotent, and equal documents are equal text.

mod compare;
mod counts;
mod error;
#[cfg(test)]
mod tests;
mod validate;

pub use compare::ComparedColumn;
pub use counts::ColumnCounts;
pub use error::LiveProfileError;

use super::Side;
use crate::sketch::SUMS;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;

/// The format that is written, and the only one that is read.
pub const LIVE_FORMAT: u32 = 1;

/// What versions have counted since they were deployed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LiveProfile {
    /// Version of the format; 1.
    pub format: u32,
    /// Every version, by model and number.
    pub versions: Vec<LiveVersion>,
}

/// What one version has counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LiveVersion {
    /// The model.
    pub model: String,
    /// The version.
    #[serde(with = "counts::decimal")]
    pub version: u64,
    /// Identifies the reference profile whose edges were counted on, or without one the signature.
    #[serde(with = "counts::hexadecimal")]
    pub profile: u64,
    /// Every recorded column.
    pub columns: Vec<LiveColumn>,
    /// What each replica counted, by replica and epoch.
    pub parts: Vec<Part>,
}

/// A column that was recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LiveColumn {
    /// The feature's or output's name.
    pub name: String,
    /// Input or output.
    #[serde(with = "counts::side")]
    pub side: Side,
    /// How many counters it has; 1, of its values, without a reference.
    pub counters: usize,
}

/// What one replica has counted since an epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Who counted.
    pub replica: String,
    /// When counting began, unix milliseconds.
    pub epoch: u64,
    /// When the counters were read, unix milliseconds.
    pub at: u64,
    /// Rows predicted.
    pub rows: u64,
    /// Rows that entered the alarms.
    pub evidence_rows: u64,
    /// Every column's counters.
    pub counts: Vec<ColumnCounts>,
}

impl LiveProfile {
    /// A document of these versions.
    ///
    /// # Errors
    /// What [`Self::from_json`] refuses, but for the text.
    pub fn new(versions: Vec<LiveVersion>) -> Result<Self, LiveProfileError> {
        Self { format: LIVE_FORMAT, versions }.validated()
    }

    /// Reads and validates a document.
    ///
    /// # Errors
    /// [`LiveProfileError`] for text that is no such object, another format, and every inconsistency.
    pub fn from_json(text: &[u8]) -> Result<Self, LiveProfileError> {
        #[derive(Deserialize)]
        struct FormatOnly {
            format: u32,
        }
        // The number first: a newer format may differ in anything else.
        let FormatOnly { format } = serde_json::from_slice(text).map_err(LiveProfileError::Json)?;
        if format != LIVE_FORMAT {
            return Err(LiveProfileError::OtherFormat { found: format });
        }
        serde_json::from_slice::<Self>(text).map_err(LiveProfileError::Json)?.validated()
    }

    /// Writes the document, one line per version, list of columns and part. Equal documents are equal text.
    ///
    /// # Errors
    /// [`LiveProfileError`] when the document, whose fields are public, is not consistent.
    pub fn to_json(&self) -> Result<Vec<u8>, LiveProfileError> {
        let canonical = self.clone().validated()?;
        let mut text = format!("{{\"format\":{LIVE_FORMAT},\"versions\":[").into_bytes();
        for (index, version) in canonical.versions.iter().enumerate() {
            text.extend_from_slice(if index == 0 { b"\n{" } else { b",\n{" });
            version.write_json(&mut text).map_err(LiveProfileError::Json)?;
        }
        text.extend_from_slice(b"]}\n");
        Ok(text)
    }

    /// The union of several documents: of each part the reading with the most rows.
    ///
    /// # Errors
    /// [`LiveProfileError::OtherProfile`] and [`LiveProfileError::OtherColumns`] when a version was counted on other
    /// edges, and what [`Self::new`] refuses.
    pub fn merge(documents: &[Self]) -> Result<Self, LiveProfileError> {
        let mut merged: Vec<LiveVersion> = Vec::new();
        for version in documents.iter().flat_map(|document| &document.versions) {
            match merged.iter_mut().find(|known| known.key() == version.key()) {
                Some(known) => known.absorb(version)?,
                None => merged.push(version.clone()),
            }
        }
        Self::new(merged)
    }

    fn validated(mut self) -> Result<Self, LiveProfileError> {
        for version in &mut self.versions {
            version.parts.sort_by(|left, right| left.key().cmp(&right.key()));
        }
        self.versions.sort_by(|left, right| left.key().cmp(&right.key()));
        validate::validate(&self)?;
        Ok(self)
    }
}

impl LiveVersion {
    /// The counters of all parts together. Counts stay at the highest number instead of passing it; sums wrap.
    #[must_use]
    pub fn total(&self) -> Part {
        let none = self.columns.iter().map(|column| ColumnCounts::zero(column.counters)).collect();
        let empty = Part { replica: String::new(), epoch: u64::MAX, at: 0, rows: 0, evidence_rows: 0, counts: none };
        self.parts.iter().fold(empty, |mut total, part| {
            total.epoch = total.epoch.min(part.epoch);
            total.at = total.at.max(part.at);
            total.rows = total.rows.saturating_add(part.rows);
            total.evidence_rows = total.evidence_rows.saturating_add(part.evidence_rows);
            total.counts.iter_mut().zip(&part.counts).for_each(|(total, counts)| total.add(counts));
            total
        })
    }

    fn key(&self) -> (&str, u64) {
        (&self.model, self.version)
    }

    fn absorb(&mut self, other: &Self) -> Result<(), LiveProfileError> {
        validate::check_same_edges(self, other)?;
        for part in &other.parts {
            match self.parts.iter_mut().find(|known| known.key() == part.key()) {
                Some(known) if known.age(part) == Ordering::Less => known.clone_from(part),
                Some(_) => {}
                None => self.parts.push(part.clone()),
            }
        }
        Ok(())
    }

    fn write_json(&self, text: &mut Vec<u8>) -> serde_json::Result<()> {
        text.extend_from_slice(b"\"model\":");
        serde_json::to_writer(&mut *text, &self.model)?;
        text.extend_from_slice(
            format!(",\"version\":\"{}\",\"profile\":\"{:016x}\"", self.version, self.profile).as_bytes(),
        );
        text.extend_from_slice(b",\n\"columns\":");
        serde_json::to_writer(&mut *text, &self.columns)?;
        text.extend_from_slice(b",\n\"parts\":[");
        for (index, part) in self.parts.iter().enumerate() {
            text.extend_from_slice(if index == 0 { b"\n" } else { b",\n" });
            serde_json::to_writer(&mut *text, part)?;
        }
        text.extend_from_slice(b"]}");
        Ok(())
    }
}

impl Part {
    fn key(&self) -> (&str, u64) {
        (&self.replica, self.epoch)
    }

    /// Which of two readings of one part is the later: counters only grow. Whatever else differs decides at last, so that
    /// the choice does not depend on the order of files.
    fn age(&self, other: &Self) -> Ordering {
        let order = |part: &Self| (part.rows, part.at, part.evidence_rows);
        order(self).cmp(&order(other)).then_with(|| self.counts.cmp(&other.counts))
    }
}
