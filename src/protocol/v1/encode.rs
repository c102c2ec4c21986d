//! Tensors to a predict answer's body, row by row.
//!
//! One output is a list of its rows; several are a list of objects keyed by output name, as TensorFlow Serving writes
//! them.
//!
//! Invariant: after an error the buffer is as it was before.

use super::super::json::write;
use super::super::values::{value_count, write_row};
use super::super::{AnswerHead, ProtocolError};
use crate::tensor::Tensor;

/// Appends the body of an answer: `{"predictions":[…],"model_name","model_version"}`. `outputs` are names and values.
/// A row of an output of rank 1 is a bare value, of higher rank nested lists. Floats that are not finite are `null`.
///
/// # Errors
/// [`ProtocolError::Output`] for outputs that are not rows, one per instance, and for values that JSON cannot carry.
pub fn encode_predict<'a>(
    out: &mut Vec<u8>,
    head: &AnswerHead<'_>,
    outputs: impl IntoIterator<Item = (&'a str, &'a Tensor), IntoIter: Clone>,
) -> Result<(), ProtocolError> {
    let start = out.len();
    out.extend_from_slice(b"{\"predictions\":");
    let written = write_predictions(out, outputs.into_iter());
    if written.is_err() {
        out.truncate(start);
        return written;
    }
    out.extend_from_slice(b",\"model_name\":");
    write::string(out, head.model_name);
    out.extend_from_slice(b",\"model_version\":");
    write::string(out, head.model_version);
    out.push(b'}');
    Ok(())
}

fn write_predictions<'a>(
    out: &mut Vec<u8>,
    outputs: impl Iterator<Item = (&'a str, &'a Tensor)> + Clone,
) -> Result<(), ProtocolError> {
    let rows = outputs.clone().next().map_or(0, |(_, tensor)| tensor.shape().rows());
    for (name, tensor) in outputs.clone() {
        let shape = tensor.shape();
        if shape.rank() == 0 || shape.rows() != rows {
            return Err(in_output(name, ProtocolError::NotRows { shape, rows }));
        }
    }
    if let (Some((name, tensor)), None) = (outputs.clone().next(), outputs.clone().nth(1)) {
        return write::list(out, 0..rows, |out, row| write_tensor_row(out, name, tensor, row));
    }
    write::list(out, 0..rows, |out, row| {
        out.push(b'{');
        for (index, (name, tensor)) in outputs.clone().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            write::string(out, name);
            out.push(b':');
            write_tensor_row(out, name, tensor, row)?;
        }
        out.push(b'}');
        Ok(())
    })
}

fn write_tensor_row(out: &mut Vec<u8>, name: &str, tensor: &Tensor, row: usize) -> Result<(), ProtocolError> {
    let shape = tensor.shape();
    let dimensions = &shape.dimensions()[1..];
    let width = value_count(dimensions);
    write_row(out, tensor.data(), row * width, dimensions).map_err(|source| in_output(name, source))
}

fn in_output(name: &str, source: ProtocolError) -> ProtocolError {
    ProtocolError::Output { name: name.to_owned(), source: Box::new(source) }
}
