//! The reference profile: what a version's inputs and outputs looked like in the data it was trained on.
//!
//! A profile travels with the model, beside its ONNX file, so that edges and counters can never disagree with the
//! version they judge. It is one JSON object, because people read it, other languages write it, and it is read once per
//! load. It holds counts on edges and never rows: training data does not leave where it is.
//!
//! # `profile.json`
//! | field | meaning |
//! |---|---|
//! | `format` | 1; a higher number is refused |
//! | `rows` | rows the profile was built from |
//! | `inputs`, `outputs` | lists of columns |
//!
//! A column is described by [`Column`], field by field. Numbers are written so that they read back exactly; there is no
//! NaN and no infinity anywhere. Unknown fields are refused, so that a misspelt optional field does not go unnoticed.
//!
//! Invariant: a [`Profile`] that came from [`Profile::from_json`] or a [`ProfileBuilder`] is consistent: counts fit
//! edges, edges rise and enclose the values, all rows are accounted for, names are unique.

mod builder;
mod column;
mod edges;
mod error;
mod groups;
mod moments;
#[cfg(test)]
mod tests;
mod validate;

pub use builder::{ColumnKey, ColumnSpec, ProfileBuilder, ProfileOptions, Side};
pub use column::{Category, Column, Kind, Statistic};
pub use error::ProfileError;
pub use groups::{Groups, ordered_groups, unordered_groups};

use crate::tensor::{DataType, Signature, TensorSpec};
use serde::Deserialize;

/// The format that this release writes, and the highest it reads.
pub const FORMAT: u32 = 1;

/// A reference profile.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Version of the format; 1.
    pub format: u32,
    /// Rows the profile was built from.
    pub rows: u64,
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
        let profile: Self = serde_json::from_slice(text).map_err(ProfileError::Json)?;
        profile.validate()?;
        Ok(profile)
    }

    /// Writes `profile.json`, one line per column, so that a change to one column is a change to one line.
    ///
    /// # Errors
    /// [`ProfileError`] when the profile, whose fields are public, is not consistent.
    pub fn to_json(&self) -> Result<Vec<u8>, ProfileError> {
        self.validate()?;
        let mut text = format!("{{\"format\": {}, \"rows\": {}", self.format, self.rows).into_bytes();
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

    /// Whether the profile describes a model of this signature: its tensors exist, each column lies within a row, kinds
    /// fit datatypes and edges are exact in the tensor's precision.
    ///
    /// # Errors
    /// The first column that does not fit, with what was expected and found.
    pub fn check(&self, signature: &Signature) -> Result<(), ProfileError> {
        check_side(&self.inputs, &signature.inputs, &signature.describe_inputs())?;
        check_side(&self.outputs, &signature.outputs, &signature.describe_outputs())
    }

    /// Whether the profile is consistent in itself.
    ///
    /// # Errors
    /// The first inconsistency.
    pub fn validate(&self) -> Result<(), ProfileError> {
        validate::validate(self)
    }
}

fn check_side(columns: &[Column], specs: &[TensorSpec], described: &str) -> Result<(), ProfileError> {
    for column in columns {
        let Some(spec) = specs.iter().find(|spec| spec.name == column.tensor) else {
            return Err(ProfileError::UnknownTensor {
                column: column.name.clone(),
                tensor: column.tensor.clone(),
                expected: described.to_owned(),
            });
        };
        // Of a tensor with free inner dimensions the model does not say how wide a row is.
        let width = if column.statistic.is_some() { Some(1) } else { spec.row_width() };
        if let Some(width) = width.filter(|&width| column.index >= width) {
            return Err(ProfileError::IndexOutOfRow {
                column: column.name.clone(),
                tensor: column.tensor.clone(),
                expected: width,
                found: column.index,
            });
        }
        if (column.kind == Kind::String) != (spec.datatype == DataType::Bytes) {
            return Err(ProfileError::KindMismatch {
                column: column.name.clone(),
                kind: column.kind,
                tensor: column.tensor.clone(),
                datatype: spec.datatype,
            });
        }
        column.layout(spec.datatype)?;
    }
    Ok(())
}
