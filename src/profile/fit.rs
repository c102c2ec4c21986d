//! Whether a profile fits the model it lies beside.
//!
//! A profile that covers only part of a model would let the rest drift unseen behind a verdict that says `ok`, so every
//! tensor must have all of its columns: one for each value of a row, or its statistics. Tensors without a fixed width
//! can only have the latter, and strings without a fixed width have none.
//!
//! Invariant: a profile that fits has a layout for every column in the precision of its tensor.

use super::{Column, Kind, ProfileError, Statistic};
use crate::tensor::{DataType, TensorSpec};

/// Statistics that stand for a row of a wide tensor.
const STATISTICS: [Statistic; 4] = [Statistic::Norm, Statistic::Mean, Statistic::Zeros, Statistic::Nonfinite];

/// Checks the columns of one side, `input` or `output`, against its tensors.
pub(super) fn check_side(
    side: &'static str,
    columns: &[Column],
    specs: &[TensorSpec],
    described: &str,
) -> Result<(), ProfileError> {
    for column in columns {
        let Some(spec) = specs.iter().find(|spec| spec.name == column.tensor) else {
            return Err(ProfileError::UnknownTensor {
                column: column.name.clone(),
                tensor: column.tensor.clone(),
                expected: described.to_owned(),
            });
        };
        check_column(column, spec)?;
    }
    specs.iter().try_for_each(|spec| check_tensor(side, columns, spec))
}

fn check_column(column: &Column, spec: &TensorSpec) -> Result<(), ProfileError> {
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
    let is_flag = spec.datatype == DataType::Bool && column.statistic.is_none();
    let fits = match column.kind {
        Kind::String => spec.datatype == DataType::Bytes,
        Kind::Boolean | Kind::Categorical => spec.datatype != DataType::Bytes,
        Kind::Numeric | Kind::Discrete => spec.datatype != DataType::Bytes && !is_flag,
    };
    if !fits {
        return Err(ProfileError::KindMismatch {
            column: column.name.clone(),
            kind: column.kind,
            tensor: column.tensor.clone(),
            datatype: spec.datatype,
        });
    }
    column.layout(spec.datatype).map(|_| ())
}

/// Whether the tensor has all its columns. Places are unique, and indexes within a row are checked before this.
fn check_tensor(side: &'static str, columns: &[Column], spec: &TensorSpec) -> Result<(), ProfileError> {
    let of_tensor = || columns.iter().filter(|column| column.tensor == spec.name);
    let found = of_tensor().count();
    let values = of_tensor().filter(|column| column.statistic.is_none()).count();
    let has = |statistic: &Statistic| of_tensor().any(|column| column.statistic == Some(*statistic));
    let reduced = if spec.datatype == DataType::Bytes { found == 0 } else { found == 4 && STATISTICS.iter().all(has) };
    let (complete, expected) = match spec.row_width() {
        Some(1) => (values == 1 && found == 1 || reduced, "1 for its value".to_owned()),
        Some(width) => {
            let expected = format!("{width} for the values of a row, or the four statistics of a row");
            (values == width && found == width || reduced, expected)
        }
        None => (reduced, "the four statistics of a row, or none for strings".to_owned()),
    };
    if complete {
        Ok(())
    } else {
        Err(ProfileError::IncompleteTensor { side, tensor: spec.name.clone(), expected, found })
    }
}
