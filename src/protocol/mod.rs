//! Bytes to request and response values, and back: pure, without sockets or HTTP types.
//!
//! A request's numbers go from the body straight into the typed buffer that an engine takes. A general JSON tree in
//! between would allocate per value and cost more than a small model's whole inference; so the room has a scanner of
//! its own and each protocol says which value it expects where. Bodies that are not on the hot path (metadata,
//! readiness) go through `serde_json`.
//!
//! Invariant: no input makes this room panic, and none makes it reserve more memory than a small multiple of the
//! body's length.

mod error;
mod json;
mod limits;
pub mod oip;
#[cfg(test)]
mod test_support;
pub mod v1;
mod values;

pub use error::ProtocolError;
pub use json::JsonError;
pub use limits::{MAX_DEPTH, MAX_EMPTY_DIMENSION, MAX_QUOTED_CHARACTERS};

/// The body of every error answer, `{"error":"…"}`, as the clients of both protocols read it.
#[must_use]
pub fn encode_error(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 16);
    out.extend_from_slice(b"{\"error\":");
    json::write::string(&mut out, text);
    out.push(b'}');
    out
}

/// Which model answered what: what the answers of both protocols say besides the values.
#[derive(Clone, Copy, Debug)]
pub struct AnswerHead<'a> {
    /// The request's `id`, echoed. The v1 protocol has none.
    pub id: Option<&'a str>,
    /// The model's name.
    pub model_name: &'a str,
    /// The version that answered; the protocols write it as a string.
    pub model_version: &'a str,
}
