//! The reference profile: what a version's inputs and outputs looked like in the data it was trained on.
//!
//! A profile travels with the model, beside its ONNX file, so that edges and counters can never disagree with the
//! version they judge. It is one JSON object, because people read it, other languages write it, and it is read once per
//! load. It holds counts on edges and never rows: training data does not leave where it is.
//!
//! # `profile.json`
//! | field | meaning |
//! |---|---|
//! | `format` | 2; 1 is read too, a higher number is refused |
//! | `rows` | rows the profile was built from |
//! | `source` | where they came from: `csv`, `parquet`, or `live` for traffic |
//! | `created` | when, in RFC 3339, if whoever made it said so |
//! | `frozen_from_traffic` | true for a profile that a gateway learned from its own traffic, else absent |
//! | `inputs`, `outputs` | lists of columns: of each tensor one for every value of a row, or its four statistics |
//!
//! A column is described by [`Column`], field by field. Numbers are written so that they read back exactly; there is no
//! NaN and no infinity anywhere. Unknown fields are refused, so that a misspelt optional field does not go unnoticed.
//! [`SCHEMA`] says the same as a JSON Schema. Format 1 had no `source`, `created`, `frozen_from_traffic`, `distinct` and
//! `hour_of_week`.
//!
//! Invariant: a [`Profile`] that came from [`Profile::from_json`] or a [`ProfileBuilder`] is consistent: counts fit
//! edges, edges rise and enclose the values, all rows are accounted for, names are unique.

mod builder;
mod column;
mod counting;
mod edges;
mod error;
mod fit;
mod groups;
mod learn;
mod merge;
mod moments;
mod seasons;
mod survey;
#[cfg(test)]
mod tests;
mod validate;

pub use builder::{ColumnKey, ColumnSpec, ProfileBuilder, ProfileOptions, Side};
pub use column::{Category, Column, Kind, Statistic};
pub use counting::ProfileCounter;
pub use error::ProfileError;
pub use groups::{Groups, group_label, ordered_groups, unordered_groups};
pub use learn::{LEARNED_BINS, LearnedColumn, learn};
pub use seasons::{HOURS, LEAST_HOUR_ROWS, hour_of_week};
pub use survey::{COLUMN_BYTES, DISTINCT_LIMIT, MEMORY_BYTES};

use crate::tensor::Signature;
use serde::{Deserialize, Serialize};
use std::hash::Hasher;
use twox_hash::XxHash64;

/// The format that this release writes, and the highest it reads.
pub const FORMAT: u32 = 2;

/// The format as a JSON Schema (draft 2020-12).
pub const SCHEMA: &str = include_str!("schema.json");

/// Where the rows of a profile came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A CSV file, or whatever format 1 was made from.
    #[default]
    Csv,
    /// A Parquet file.
    Parquet,
    /// A gateway's own traffic.
    Live,
}

/// A reference profile.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Version of the format; 2, also after format 1 was read.
    pub format: u32,
    /// Rows the profile was built from.
    pub rows: u64,
    /// Where they came from.
    #[serde(default)]
    pub source: Source,
    /// When the profile was made, in RFC 3339.
    #[serde(default)]
    pub created: Option<String>,
    /// Whether the profile was learned from traffic that nobody vouched for.
    #[serde(default)]
    pub frozen_from_traffic: bool,
    /// Columns of the model's inputs.
    pub inputs: Vec<Column>,
    /// Columns of the model's outputs.
    pub outputs: Vec<Column>,
}

#[derive(Deserialize)]
struct FormatOnly {
    format: u32,
}

impl Profile {
    /// Reads and validates `profile.json`.
    ///
    /// # Errors
    /// [`ProfileError`] for text that is not such an object, a newer format, and every inconsistency.
    pub fn from_json(text: &[u8]) -> Result<Self, ProfileError> {
        // The number first: a newer format may differ in anything else.
        let FormatOnly { format } = serde_json::from_slice(text).map_err(ProfileError::Json)?;
        if format > FORMAT {
            return Err(ProfileError::NewerFormat { found: format });
        }
        let mut profile: Self = serde_json::from_slice(text).map_err(ProfileError::Json)?;
        profile.validate()?;
        profile.format = FORMAT;
        Ok(profile)
    }

    /// Writes `profile.json`, one line per column, so that a change to one column is a change to one line.
    ///
    /// # Errors
    /// [`ProfileError`] when the profile, whose fields are public, is not consistent.
    pub fn to_json(&self) -> Result<Vec<u8>, ProfileError> {
        self.validate()?;
        let mut text = self.head()?.into_bytes();
        for (side, columns) in [("inputs", &self.inputs), ("outputs", &self.outputs)] {
            text.extend_from_slice(format!(",\n\"{side}\": [").as_bytes());
            for (index, column) in columns.iter().enumerate() {
                text.extend_from_slice(if index == 0 { b"\n" } else { b",\n" });
                serde_json::to_writer(&mut text, column).map_err(ProfileError::Json)?;
            }
            text.push(b']');
        }
        text.extend_from_slice(b"}\n");
        Ok(text)
    }

    /// Identifies the profile: equal for equal profiles, however their files are spaced. It tells counters of other edges
    /// apart; it does not protect against somebody who wants them to collide.
    ///
    /// # Errors
    /// As [`Self::to_json`].
    pub fn fingerprint(&self) -> Result<u64, ProfileError> {
        let mut hasher = XxHash64::with_seed(0);
        hasher.write(&self.to_json()?);
        Ok(hasher.finish())
    }

    /// One profile of the rows of several, which were counted on the same edges. Any order gives the same bytes.
    ///
    /// # Errors
    /// [`ProfileError::Unmergeable`] for the first column that differs, a profile that is there twice, and training data
    /// beside traffic; and what [`Self::validate`] finds.
    pub fn merge(profiles: &[Self]) -> Result<Self, ProfileError> {
        merge::merge(profiles)
    }

    /// Whether the profile describes a model of this signature: its tensors are those of the model and each has all its
    /// columns, kinds fit datatypes and edges are exact in the tensor's precision.
    ///
    /// # Errors
    /// The first column or tensor that does not fit, with what was expected and found.
    pub fn check(&self, signature: &Signature) -> Result<(), ProfileError> {
        fit::check_side("input", &self.inputs, &signature.inputs, &signature.describe_inputs())?;
        fit::check_side("output", &self.outputs, &signature.outputs, &signature.describe_outputs())
    }

    /// Whether the profile is consistent in itself.
    ///
    /// # Errors
    /// The first inconsistency.
    pub fn validate(&self) -> Result<(), ProfileError> {
        validate::validate(self)
    }

    /// The fields before the columns.
    fn head(&self) -> Result<String, ProfileError> {
        let source = serde_json::to_string(&self.source).map_err(ProfileError::Json)?;
        let mut head = format!("{{\"format\": {FORMAT}, \"rows\": {}, \"source\": {source}", self.rows);
        if let Some(created) = &self.created {
            let created = serde_json::to_string(created).map_err(ProfileError::Json)?;
            head.push_str(", \"created\": ");
            head.push_str(&created);
        }
        if self.frozen_from_traffic {
            head.push_str(", \"frozen_from_traffic\": true");
        }
        Ok(head)
    }
}

impl Default for Profile {
    /// A profile without rows and columns.
    fn default() -> Self {
        Self {
            format: FORMAT,
            rows: 0,
            source: Source::default(),
            created: None,
            frozen_from_traffic: false,
            inputs: Vec::new(),
            outputs: Vec::new(),
        }
    }
}
