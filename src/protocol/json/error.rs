//! Where a JSON text stops being what is expected.
//!
//! Offsets are bytes from the start of the body, not lines and columns: bodies are made by programs and usually are
//! one line.
//!
//! Invariant: an error says the offset, what was expected and what came.

use crate::protocol::limits::MAX_DEPTH;
use crate::tensor::DataType;

/// Why a JSON text is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Something else than what is expected there.
    #[error("expected {expected} at byte {offset}, found {found}")]
    Unexpected {
        /// Bytes from the start of the body.
        offset: usize,
        /// What would be right.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// A bare `NaN` or `Infinity`, which some writers emit although JSON has no such token.
    #[error("{token} at byte {offset} is not JSON; null stands for a missing number")]
    NonFinite {
        /// Bytes from the start of the body.
        offset: usize,
        /// The token.
        token: &'static str,
    },
    /// Lists and objects within each other beyond the limit.
    #[error("nesting at byte {offset} is deeper than the limit of {MAX_DEPTH} levels")]
    TooDeep {
        /// Bytes from the start of the body.
        offset: usize,
    },
    /// Bytes of a string that are not UTF-8.
    #[error("the string is not UTF-8 at byte {offset}")]
    NotUtf8 {
        /// Bytes from the start of the body.
        offset: usize,
    },
    /// Half of a surrogate pair.
    #[error("the escape at byte {offset} is half of a surrogate pair")]
    LoneSurrogate {
        /// Bytes from the start of the body.
        offset: usize,
    },
    /// A number with a fraction or an exponent where the datatype has none.
    #[error("{datatype} takes whole numbers without fraction or exponent, {text} came at byte {offset}")]
    NotWhole {
        /// Bytes from the start of the body.
        offset: usize,
        /// The number as it came.
        text: String,
        /// What the tensor holds.
        datatype: DataType,
    },
    /// A number outside the datatype's range.
    #[error("{text} at byte {offset} is outside the range of {datatype}")]
    OutOfRange {
        /// Bytes from the start of the body.
        offset: usize,
        /// The number as it came.
        text: String,
        /// What the tensor holds.
        datatype: DataType,
    },
}
