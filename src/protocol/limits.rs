//! Limits of what is read from the wire, each with its reason, in one place so that they are read together.
//!
//! The size of a body is not among them: whoever reads the socket stops there, before these bytes exist.
//!
//! Invariant: no limit is written anywhere else in this room.

/// The deepest nesting of lists and objects in a JSON text.
///
/// Nesting is read by recursion, so an unlimited depth would let a few kilobytes of `[` exhaust the stack. An OIP
/// tensor needs 3 levels around its data and at most [`MAX_RANK`](crate::tensor::MAX_RANK) within.
pub const MAX_DEPTH: usize = 32;

/// The most characters of a caller's text that an error repeats, so that a body of megabytes is not echoed.
pub const MAX_QUOTED_CHARACTERS: usize = 80;

/// The largest dimension of a tensor without values.
///
/// Values bound every other shape, since each takes bytes of the body; `[1000000000000, 0]` takes none and would send
/// whoever goes through its rows on a long way.
pub const MAX_EMPTY_DIMENSION: usize = 1 << 16;

/// The fewest bytes that a value and its separator take in JSON. A shape that lies reserves no more than the body
/// could hold.
pub(crate) const MIN_BYTES_PER_VALUE: usize = 2;

/// Bytes that a value and its separator usually take in JSON, for buffers whose final size is not known beforehand.
pub(crate) const USUAL_BYTES_PER_VALUE: usize = 10;

/// At most [`MAX_QUOTED_CHARACTERS`] of `text`, for an error.
pub(crate) fn quoted(text: &str) -> String {
    match text.char_indices().nth(MAX_QUOTED_CHARACTERS) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}
