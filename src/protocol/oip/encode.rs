//! Tensors to an infer answer's body.
//!
//! `data` is flat, as Triton writes it; clients reshape by `shape`. Written straight into the caller's buffer, which a
//! server can reuse.
//!
//! Invariant: after an error the buffer is as it was before.

use super::super::json::write;
use super::super::values::write_values;
use super::super::{AnswerHead, ProtocolError};
use crate::tensor::Tensor;

/// Appends the body of an answer: `{"id"?,"model_name","model_version","outputs":[…]}`. `outputs` are names and values
/// in the order of the answer. Floats that are not finite are written as `null`.
///
/// # Errors
/// [`ProtocolError::Output`] for values that JSON cannot carry: 16-bit floats, byte strings that are not UTF-8.
pub fn encode_infer<'a>(
    out: &mut Vec<u8>,
    head: &AnswerHead<'_>,
    outputs: impl IntoIterator<Item = (&'a str, &'a Tensor)>,
) -> Result<(), ProtocolError> {
    let start = out.len();
    out.push(b'{');
    if let Some(id) = head.id {
        out.extend_from_slice(b"\"id\":");
        write::string(out, id);
        out.push(b',');
    }
    out.extend_from_slice(b"\"model_name\":");
    write::string(out, head.model_name);
    out.extend_from_slice(b",\"model_version\":");
    write::string(out, head.model_version);
    out.extend_from_slice(b",\"outputs\":");
    let written = write::list(out, outputs, |out, (name, tensor)| write_output(out, name, tensor));
    match written {
        Ok(()) => out.push(b'}'),
        Err(_) => out.truncate(start),
    }
    written
}

fn write_output(out: &mut Vec<u8>, name: &str, tensor: &Tensor) -> Result<(), ProtocolError> {
    out.extend_from_slice(b"{\"name\":");
    write::string(out, name);
    out.extend_from_slice(b",\"datatype\":\"");
    out.extend_from_slice(tensor.datatype().name().as_bytes());
    out.extend_from_slice(b"\",\"shape\":");
    write::list(out, tensor.shape().dimensions(), |out, &size| {
        write::integer(out, size);
        Ok::<(), ProtocolError>(())
    })?;
    out.extend_from_slice(b",\"data\":");
    write_values(out, tensor.data(), 0..tensor.data().len())
        .map_err(|source| ProtocolError::Output { name: name.to_owned(), source: Box::new(source) })?;
    out.push(b'}');
    Ok(())
}
