//! `parameters` objects of a request, its inputs and its outputs.
//!
//! A request's `timeout` says how long it may take, in microseconds as Triton has it. Those that would have to change an
//! answer are refused by name, because an answer that silently ignores where the values are or what was asked for is wrong;
//! the others are hints and are skipped.
//!
//! Invariant: parameter values are strings, numbers or booleans.

use super::super::ProtocolError;
use super::super::json::Scanner;
use super::super::limits::quoted;
use crate::tensor::DataType;
use std::time::Duration;

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

/// How long a request may take.
const TIMEOUT: &str = "timeout";

/// Reads and checks a `parameters` object; `null` is an absent one. The time that a request may take, if it says so.
///
/// # Errors
/// [`ProtocolError::UnsupportedParameter`], [`ProtocolError::ReservedParameter`], and JSON of another type.
pub(super) fn read_parameters(scanner: &mut Scanner<'_>, owner: Owner) -> Result<Option<Duration>, ProtocolError> {
    let mut timeout = None;
    if scanner.null() {
        return Ok(timeout);
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
        if owner == Owner::Request && key == TIMEOUT && matches!(scanner.peek(), Some(b'0'..=b'9')) {
            let microseconds: u64 = scanner.whole_number("a time in microseconds")?.to_integer(DataType::Uint64)?;
            // Zero is Triton's default and means none.
            timeout = Some(Duration::from_micros(microseconds)).filter(|timeout| !timeout.is_zero());
            return Ok(());
        }
        match scanner.peek() {
            Some(b'"' | b'-' | b'0'..=b'9' | b't' | b'f') => Ok(scanner.skip_value()?),
            _ => Err(scanner.unexpected("a string, a number or a boolean as the parameter's value").into()),
        }
    })?;
    Ok(timeout)
}
