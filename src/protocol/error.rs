//! What is wrong with a request's bytes, or why a result cannot be written.
//!
//! Large causes are boxed: results of this room are returned per list and per value, and an error of a hundred bytes
//! would be paid for by every success.
//!
//! Invariant: every variant is the caller's to mend, and none repeats more than a short piece of the caller's text.

use super::JsonError;
use super::limits::MAX_EMPTY_DIMENSION;
use crate::error::{Blamed, Fault};
use crate::tensor::{DataType, Shape, TensorError};

/// Why bytes are not a request that the model takes, or why tensors cannot be written as an answer.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// The text is not JSON, or holds another kind of value than is expected there.
    #[error(transparent)]
    Json(Box<JsonError>),
    /// The values do not fit the model's signature.
    #[error(transparent)]
    Tensor(Box<TensorError>),
    /// Something within one input.
    #[error("input \"{name}\": {source}")]
    Input {
        /// The input.
        name: String,
        /// What is wrong with it.
        source: Box<ProtocolError>,
    },
    /// Something within one instance of a v1 request.
    #[error("instance {index}: {source}")]
    Instance {
        /// The instance, counted from zero.
        index: usize,
        /// What is wrong with it.
        source: Box<ProtocolError>,
    },
    /// Something within one output of the answer.
    #[error("output \"{name}\": {source}")]
    Output {
        /// The output.
        name: String,
        /// What is wrong with it.
        source: Box<ProtocolError>,
    },
    /// A required key is absent.
    #[error("{place} lacks the key \"{key}\"")]
    MissingKey {
        /// The absent key.
        key: &'static str,
        /// Where it is expected.
        place: &'static str,
    },
    /// A key came twice in one object.
    #[error("the key \"{key}\" came twice; the second ends before byte {offset}")]
    DuplicateKey {
        /// The key.
        key: &'static str,
        /// The byte behind the second one.
        offset: usize,
    },
    /// A parameter that would change the meaning of the request and is not implemented.
    #[error("parameter \"{name}\" is not supported here; values travel as JSON in \"data\"")]
    UnsupportedParameter {
        /// The parameter.
        name: &'static str,
    },
    /// A parameter whose name Triton keeps for itself.
    #[error("parameter \"{name}\" is refused: names that start with \"triton_\" are reserved")]
    ReservedParameter {
        /// The parameter.
        name: String,
    },
    /// A datatype that has no JSON form.
    #[error("datatype {datatype} is not available through JSON")]
    NotInJson {
        /// The datatype.
        datatype: DataType,
    },
    /// More values than the shape says. How many more is not counted.
    #[error("shape {shape} needs {expected} values, more came")]
    TooManyValues {
        /// The shape that came.
        shape: Shape,
        /// The product of its dimensions.
        expected: usize,
    },
    /// A shape without values and with a size that nothing in the body backs.
    #[error("shape {shape} has no values; its sizes may be at most {MAX_EMPTY_DIMENSION}")]
    EmptyOverLimit {
        /// The shape that came.
        shape: Shape,
    },
    /// Lists in `data` whose lengths contradict the shape or each other.
    #[error("a nested list holds {found} values, which does not fit shape {shape}")]
    UnevenNesting {
        /// The shape that came.
        shape: Shape,
        /// Values in the list that does not fit.
        found: usize,
    },
    /// An output was asked for twice.
    #[error("output \"{name}\" is asked for twice")]
    DuplicateOutput {
        /// The output.
        name: String,
    },
    /// A list of another length than the model's input has.
    #[error("expected a list of {expected}, found one of {found}")]
    ListLength {
        /// What the model takes, or what earlier lists had.
        expected: usize,
        /// What came.
        found: usize,
    },
    /// The v1 protocol's column form.
    #[error("the column form \"inputs\" is not supported; send rows as {{\"instances\": […]}}")]
    ColumnForm,
    /// A model that takes no rows, asked for through a protocol of rows.
    #[error(
        "the v1 protocol sends rows, but input \"{name}\" has the fixed shape {shape} without a free first dimension; use the v2 protocol"
    )]
    NotBatched {
        /// The input.
        name: String,
        /// Its declared shape.
        shape: String,
    },
    /// Outputs that do not have one row per instance.
    #[error(
        "the v1 protocol answers in rows, but the output has shape {shape} where {rows} rows are expected; use the v2 protocol"
    )]
    NotRows {
        /// The output's shape.
        shape: Shape,
        /// Rows of the first output.
        rows: usize,
    },
    /// A byte string that is not text.
    #[error("value {index} is not UTF-8, so JSON cannot carry it")]
    NotText {
        /// The value, counted from zero in row-major order.
        index: usize,
    },
}

impl From<Box<JsonError>> for ProtocolError {
    fn from(source: Box<JsonError>) -> Self {
        Self::Json(source)
    }
}

impl From<TensorError> for ProtocolError {
    fn from(source: TensorError) -> Self {
        Self::Tensor(Box::new(source))
    }
}

impl Blamed for ProtocolError {
    fn fault(&self) -> Fault {
        Fault::InvalidRequest
    }
}
