//! JSON written straight into the answer's buffer.
//!
//! Numbers go through a small buffer on the stack and one copy. Floats are the shortest text that reads back to the
//! same bits, in the form that `serde_json` writes too (both use `zmij`).
//!
//! Invariant: what is appended is a complete JSON value that [`Scanner`](super::Scanner) reads back to the same value,
//! except that infinities come back as NaN.

use super::string::plain_length;

const HEX_DIGITS: [u8; 16] = *b"0123456789abcdef";

/// Appends `text` in quotes.
pub(crate) fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    loop {
        let (plain, special) = rest.split_at(plain_length(rest));
        out.extend_from_slice(plain);
        let Some((&first, behind)) = special.split_first() else { break };
        escape(out, first);
        rest = behind;
    }
    out.push(b'"');
}

/// Appends a number, or `null` if it is not finite: JSON has no NaN and no infinity.
#[inline]
pub(crate) fn float<F: zmij::Float + Copy + Into<f64>>(out: &mut Vec<u8>, value: F) {
    if value.into().is_finite() {
        out.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
    } else {
        out.extend_from_slice(b"null");
    }
}

/// Appends an integer.
#[inline]
pub(crate) fn integer<I: itoa::Integer>(out: &mut Vec<u8>, value: I) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Appends `true` or `false`.
#[inline]
pub(crate) fn boolean(out: &mut Vec<u8>, value: bool) {
    out.extend_from_slice(if value { b"true" } else { b"false" });
}

/// Appends `values` in brackets, each by `write`.
///
/// # Errors
/// What `write` returns.
pub(crate) fn list<T, E>(
    out: &mut Vec<u8>,
    values: impl IntoIterator<Item = T>,
    mut write: impl FnMut(&mut Vec<u8>, T) -> Result<(), E>,
) -> Result<(), E> {
    out.push(b'[');
    for (index, value) in values.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(out, value)?;
    }
    out.push(b']');
    Ok(())
}

fn escape(out: &mut Vec<u8>, byte: u8) {
    let short = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x08 => b'b',
        0x0c => b'f',
        _ => {
            out.extend_from_slice(b"\\u00");
            out.push(HEX_DIGITS[usize::from(byte >> 4)]);
            out.push(HEX_DIGITS[usize::from(byte & 0xf)]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}
