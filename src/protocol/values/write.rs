//! Typed buffers into JSON lists.
//!
//! Invariant: a value that JSON cannot carry is refused, never replaced; the exception is a float that is not finite,
//! which becomes `null`, JSON's only word for "no number".

use super::super::ProtocolError;
use super::super::json::write;
use super::value_count;
use crate::tensor::{ByteStrings, TensorData};
use std::ops::Range;

/// Bytes that one value usually takes in an answer, with its comma.
const USUAL_BYTES: usize = 12;

/// Appends the values of `range`, counted in row-major order, as a flat list.
///
/// # Errors
/// [`ProtocolError::NotInJson`] for the 16-bit floats, [`ProtocolError::NotText`] for byte strings that are not UTF-8.
pub(in crate::protocol) fn write_values(
    out: &mut Vec<u8>,
    data: &TensorData,
    range: Range<usize>,
) -> Result<(), ProtocolError> {
    out.reserve(range.len() * USUAL_BYTES + 2);
    match data {
        TensorData::Bool(values) => numbers(out, &values[range], write::boolean),
        TensorData::Uint8(values) => numbers(out, &values[range], write::integer),
        TensorData::Uint16(values) => numbers(out, &values[range], write::integer),
        TensorData::Uint32(values) => numbers(out, &values[range], write::integer),
        TensorData::Uint64(values) => numbers(out, &values[range], write::integer),
        TensorData::Int8(values) => numbers(out, &values[range], write::integer),
        TensorData::Int16(values) => numbers(out, &values[range], write::integer),
        TensorData::Int32(values) => numbers(out, &values[range], write::integer),
        TensorData::Int64(values) => numbers(out, &values[range], write::integer),
        TensorData::Fp32(values) => numbers(out, &values[range], write::float),
        TensorData::Fp64(values) => numbers(out, &values[range], write::float),
        TensorData::Bytes(values) => write::list(out, range, |out, index| text(out, values, index)),
        TensorData::Fp16(_) | TensorData::Bf16(_) => Err(ProtocolError::NotInJson { datatype: data.datatype() }),
    }
}

/// Appends one row: the values from `start` on as lists nested by `dimensions`, outermost first; a bare value if there
/// are none.
///
/// # Errors
/// As [`write_values`].
pub(in crate::protocol) fn write_row(
    out: &mut Vec<u8>,
    data: &TensorData,
    start: usize,
    dimensions: &[usize],
) -> Result<(), ProtocolError> {
    match dimensions {
        [] => write_bare(out, data, start),
        [length] => write_values(out, data, start..start + length),
        [length, inner @ ..] => {
            let width = value_count(inner);
            write::list(out, 0..*length, |out, index| write_row(out, data, start + index * width, inner))
        }
    }
}

/// Appends the value at `index` without brackets.
fn write_bare(out: &mut Vec<u8>, data: &TensorData, index: usize) -> Result<(), ProtocolError> {
    let bracket = out.len();
    write_values(out, data, index..index + 1)?;
    out.remove(bracket);
    out.pop();
    Ok(())
}

fn numbers<T: Copy>(
    out: &mut Vec<u8>,
    values: &[T],
    mut write: impl FnMut(&mut Vec<u8>, T),
) -> Result<(), ProtocolError> {
    write::list(out, values.iter().copied(), |out, value| {
        write(out, value);
        Ok(())
    })
}

fn text(out: &mut Vec<u8>, values: &ByteStrings, index: usize) -> Result<(), ProtocolError> {
    let bytes = values.get(index).unwrap_or_default();
    let text = std::str::from_utf8(bytes).ok().ok_or(ProtocolError::NotText { index })?;
    write::string(out, text);
    Ok(())
}
