//! A predict request's rows to one tensor per input.
//!
//! Rows of several inputs arrive interleaved; each input has a buffer of its own that its part of every row is
//! appended to. Unlike OIP's `data`, rows must be nested exactly as the model declares, because the nesting is the
//! only shape there is.
//!
//! Invariant: after each instance every input has the same number of rows.

use super::super::ProtocolError;
use super::super::json::Scanner;
use super::super::limits::{USUAL_BYTES_PER_VALUE, quoted};
use super::super::values::{Values, typed_values};
use crate::tensor::{Dimension, MAX_RANK, Shape, Signature, Tensor, TensorData, TensorError, TensorSpec};

/// One input while its rows arrive.
struct Column<'s> {
    spec: &'s TensorSpec,
    data: TensorData,
    rows: usize,
    /// Sizes of the dimensions behind the first; a free one is settled by the first list there.
    row_shape: [Option<usize>; MAX_RANK],
}

/// Reads the body of `POST /v1/models/{model}:predict`: `{"instances":[…]}`.
///
/// An instance is an object keyed by input name or, for a model of one input, that input's row: a bare value if the
/// row has one value, nested lists otherwise. The tensors are in the order of [`Signature::inputs`]. Other keys of the
/// request are skipped.
///
/// # Errors
/// Text that is not JSON, rows that do not fit `signature`, and models whose inputs have no free first dimension.
pub fn decode_predict(body: &[u8], signature: &Signature) -> Result<Vec<Tensor>, ProtocolError> {
    let mut scanner = Scanner::new(body);
    let capacity = body.len() / USUAL_BYTES_PER_VALUE / signature.inputs.len().max(1);
    let mut columns = signature.inputs.iter().map(|spec| Column::new(spec, capacity)).collect::<Result<Vec<_>, _>>()?;
    let mut rows = None;
    scanner.object(|scanner, key| match key {
        "instances" if rows.is_some() => {
            Err(ProtocolError::DuplicateKey { key: "instances", offset: scanner.offset() })
        }
        "instances" => {
            rows = Some(read_instances(scanner, signature, &mut columns)?);
            Ok(())
        }
        "inputs" => Err(ProtocolError::ColumnForm),
        _ => Ok(scanner.skip_value()?),
    })?;
    scanner.finish()?;
    let rows = rows.ok_or(ProtocolError::MissingKey { key: "instances", place: "the request" })?;
    let inputs = columns.into_iter().map(|column| column.finish(rows)).collect::<Result<Vec<_>, _>>()?;
    signature.check(&inputs)?;
    Ok(inputs)
}

/// Reads the list of instances; how many there were.
fn read_instances(
    scanner: &mut Scanner<'_>,
    signature: &Signature,
    columns: &mut [Column<'_>],
) -> Result<usize, ProtocolError> {
    let mut rows = 0;
    scanner.list("a list of instances", |scanner| {
        read_instance(scanner, signature, (columns, rows))
            .map_err(|source| ProtocolError::Instance { index: rows, source: Box::new(source) })?;
        rows += 1;
        Ok::<(), ProtocolError>(())
    })?;
    Ok(rows)
}

fn read_instance(
    scanner: &mut Scanner<'_>,
    signature: &Signature,
    (columns, rows): (&mut [Column<'_>], usize),
) -> Result<(), ProtocolError> {
    if scanner.peek() != Some(b'{') {
        return match columns {
            [column] => column.read_row(scanner),
            _ => Err(scanner.unexpected("an object keyed by input name").into()),
        };
    }
    scanner.object(|scanner, key| {
        let column = columns
            .iter_mut()
            .find(|column| column.spec.name == key)
            .ok_or_else(|| TensorError::UnknownInput { name: quoted(key), expected: signature.describe_inputs() })?;
        if column.rows > rows {
            return Err(TensorError::DuplicateInput { name: column.spec.name.clone() }.into());
        }
        column.read_row(scanner)
    })?;
    match columns.iter().find(|column| column.rows == rows) {
        None => Ok(()),
        Some(column) => {
            let name = column.spec.name.clone();
            Err(TensorError::MissingInput { name, expected: signature.describe_inputs() }.into())
        }
    }
}

impl<'s> Column<'s> {
    fn new(spec: &'s TensorSpec, capacity: usize) -> Result<Self, ProtocolError> {
        if !spec.is_batched() {
            let shape = format!("{:?}", spec.wire_shape());
            return Err(ProtocolError::NotBatched { name: spec.name.clone(), shape });
        }
        if spec.shape.len() > MAX_RANK {
            return Err(TensorError::RankOverLimit { rank: spec.shape.len() }.into());
        }
        let mut row_shape = [None; MAX_RANK];
        for (size, dimension) in row_shape.iter_mut().zip(&spec.shape[1..]) {
            *size = match dimension {
                Dimension::Fixed(size) => Some(*size),
                Dimension::Free(_) => None,
            };
        }
        Ok(Self { spec, data: TensorData::with_capacity(spec.datatype, capacity), rows: 0, row_shape })
    }

    fn read_row(&mut self, scanner: &mut Scanner<'_>) -> Result<(), ProtocolError> {
        let row_shape = &mut self.row_shape[..self.spec.shape.len() - 1];
        let is_one_value = row_shape.iter().all(|size| *size == Some(1));
        let read = typed_values(&mut self.data).and_then(|values| {
            if row_shape.is_empty() || (is_one_value && scanner.peek() != Some(b'[')) {
                Ok(values.read_one(scanner)?)
            } else {
                read_nested(scanner, values, row_shape)
            }
        });
        self.rows += 1;
        read.map_err(|source| ProtocolError::Input { name: self.spec.name.clone(), source: Box::new(source) })
    }

    fn finish(self, rows: usize) -> Result<Tensor, ProtocolError> {
        let mut shape = Shape::vector(rows);
        for size in &self.row_shape[..self.spec.shape.len() - 1] {
            shape.try_push(size.unwrap_or(0))?;
        }
        Ok(Tensor::try_new(shape, self.data)?)
    }
}

/// Reads lists nested as `sizes` says, outermost first; at least one.
fn read_nested(
    scanner: &mut Scanner<'_>,
    values: &mut dyn Values,
    sizes: &mut [Option<usize>],
) -> Result<(), ProtocolError> {
    let Some((size, inner)) = sizes.split_first_mut() else {
        return Ok(values.read_one(scanner)?);
    };
    let mut found = 0;
    if inner.is_empty() {
        scanner.open(b'[', "a list of values")?;
        let before = values.count();
        if !scanner.close(b']') {
            values.read_list(scanner, usize::MAX)?;
        }
        found = values.count() - before;
    } else {
        scanner.list("a list of lists", |scanner| {
            found += 1;
            read_nested(scanner, values, inner)
        })?;
    }
    let expected = *size.get_or_insert(found);
    if expected == found { Ok(()) } else { Err(ProtocolError::ListLength { expected, found }) }
}
