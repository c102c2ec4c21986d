//! Reads one header of a delivery.
//!
//! These headers are read before anybody is trusted. A second value, or one that is no plain text, is an attempt at
//! having two readers see two things, so neither is looked past.
//!
//! Invariant: whatever is returned came once, within its limit and in its form, and is the sender's text byte by byte.

use super::HookError;
use hyper::HeaderMap;

/// The longest id of a delivery, bytes. Senders use UUIDs (36) and ids such as `msg_2KWPBgLlAfxdpx2AI54pPJ85f4W` (31).
pub(super) const LONGEST_ID: usize = 256;
/// The longest of the other headers, bytes: twenty-one signatures of one delivery, or a secret in full.
pub(super) const LONGEST_VALUE: usize = 1_024;

/// The one value of a header, of at most [`LONGEST_VALUE`] bytes.
pub(super) fn value<'a>(headers: &'a HeaderMap, header: &'static str) -> Result<&'a str, HookError> {
    bounded(headers, header, LONGEST_VALUE)
}

/// The id of a delivery: visible ASCII, at most [`LONGEST_ID`] bytes.
pub(super) fn id<'a>(headers: &'a HeaderMap, header: &'static str) -> Result<&'a str, HookError> {
    let id = bounded(headers, header, LONGEST_ID)?;
    let is_plain = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_graphic());
    is_plain.then_some(id).ok_or(HookError::Malformed {
        header,
        expected: "an id of visible ASCII without spaces",
        found: id.len(),
    })
}

/// The id of a delivery that is signed as `id.time.body`. A full stop in it would let the same signature stand for
/// another id, time and body, cut elsewhere; Standard Webhooks forbids it for that reason.
pub(super) fn signed_id<'a>(headers: &'a HeaderMap, header: &'static str) -> Result<&'a str, HookError> {
    let id = id(headers, header)?;
    (!id.contains('.')).then_some(id).ok_or(HookError::Malformed {
        header,
        expected: "an id without a full stop",
        found: id.len(),
    })
}

/// A time in unix seconds: as it was written, because that is what is signed, and as a number.
pub(super) fn time<'a>(headers: &'a HeaderMap, header: &'static str) -> Result<(&'a str, u64), HookError> {
    let text = value(headers, header)?;
    // `parse` alone would take a plus sign.
    let is_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = is_digits.then(|| text.parse().ok()).flatten();
    seconds.map(|seconds| (text, seconds)).ok_or(HookError::Malformed {
        header,
        expected: "a time in unix seconds, digits only",
        found: text.len(),
    })
}

fn bounded<'a>(headers: &'a HeaderMap, header: &'static str, longest: usize) -> Result<&'a str, HookError> {
    let mut values = headers.get_all(header).iter();
    let value = values.next().ok_or(HookError::Missing { header })?;
    let others = values.count();
    if others > 0 {
        return Err(HookError::Repeated { header, found: others + 1 });
    }
    let found = value.len();
    if found > longest {
        return Err(HookError::TooLong { header, found });
    }
    value.to_str().map_err(|_opaque| HookError::Malformed { header, expected: "visible ASCII", found })
}
