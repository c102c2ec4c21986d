//! `parameters` objects of a request, its inputs and its outputs.
//!
//! None of them changes an answer yet. Those that would have to are refused by name, because an answer that silently
//! ignores where the values are or what was asked for is wrong; the others are hints and are skipped.
//!
//! Invariant: parameter values are strings, numbers or booleans.

use super::super::ProtocolError;
use super::super::json::Scanner;
use super::super::limits::quoted;

/// What the parameters belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    Request,
    Input,
    Output,
}

/// Where values are instead of in `data`.
const ELSEWHERE: [&str; 4] =
    ["binary_data_size", "shared_memory_region", "shared_memory_byte_size", "shared_memory_offset"];

/// Triton's extension that answers with the best classes instead of the values.
const CLASSIFICATION: &str = "classification";

/// Reads and checks a `parameters` object; `null` is an absent one.
///
/// # Errors
/// [`ProtocolError::UnsupportedParameter`], [`ProtocolError::ReservedParameter`], and JSON of another type.
pub(super) fn read_parameters(scanner: &mut Scanner<'_>, owner: Owner) -> Result<(), ProtocolError> {
    if scanner.null() {
        return Ok(());
    }
    scanner.object(|scanner, key| {
        if key.starts_with("triton_") {
            return Err(ProtocolError::ReservedParameter { name: quoted(key) });
        }
        let unsupported = match owner {
            Owner::Request => None,
            Owner::Input => ELSEWHERE.into_iter().find(|name| *name == key),
            Owner::Output => ELSEWHERE.into_iter().chain([CLASSIFICATION]).find(|name| *name == key),
        };
        if let Some(name) = unsupported {
            return Err(ProtocolError::UnsupportedParameter { name });
        }
        match scanner.peek() {
            Some(b'"' | b'-' | b'0'..=b'9' | b't' | b'f') => Ok(scanner.skip_value()?),
            _ => Err(scanner.unexpected("a string, a number or a boolean as the parameter's value").into()),
        }
    })
}
