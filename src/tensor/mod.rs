//! Typed n-dimensional values and the signature of a model.
//!
//! The lowest room that protocols, engines and sketches all agree on. Values are kept in typed vectors in row-major
//! order, exactly as the wire and the engines want them, so that nothing is converted in between. Shapes are small
//! inline arrays: a request allocates for its values, never for its dimensions.
//!
//! Invariant: a [`Tensor`] always has exactly as many elements as its shape says.

mod compatibility;
mod data;
mod shape;
mod signature;
#[cfg(test)]
mod tests;

pub use data::{ByteStrings, DataType, Tensor, TensorData};
pub use shape::{MAX_RANK, Shape};
pub use signature::{Dimension, Signature, TensorSpec};

use crate::error::{Blamed, Fault};

/// Why values, shapes and signatures do not fit together. Always the caller's to mend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TensorError {
    /// A shape has more dimensions than any model here may have.
    #[error("a shape of {rank} dimensions is over the limit of {MAX_RANK}")]
    RankOverLimit {
        /// Dimensions that came.
        rank: usize,
    },
    /// The product of the dimensions does not fit in memory's address range.
    #[error("shape {shape} has more elements than can be addressed")]
    TooManyElements {
        /// The shape that came, as text.
        shape: String,
    },
    /// The number of values differs from what the shape says.
    #[error("shape {shape} needs {expected} values, {found} came")]
    CountMismatch {
        /// The shape that came.
        shape: Shape,
        /// The product of its dimensions.
        expected: usize,
        /// Values that came.
        found: usize,
    },
    /// A required input is absent.
    #[error("input \"{name}\" is missing; the model expects {expected}")]
    MissingInput {
        /// The absent input.
        name: String,
        /// All inputs of the model, as text.
        expected: String,
    },
    /// An input that the model does not have.
    #[error("unknown input \"{name}\"; the model expects {expected}")]
    UnknownInput {
        /// The name that came.
        name: String,
        /// All inputs of the model, as text.
        expected: String,
    },
    /// The same input came twice.
    #[error("input \"{name}\" came twice")]
    DuplicateInput {
        /// The name that came twice.
        name: String,
    },
    /// An output that the model does not have.
    #[error("unknown output \"{name}\"; the model has {expected}")]
    UnknownOutput {
        /// The name that was asked for.
        name: String,
        /// All outputs of the model, as text.
        expected: String,
    },
    /// An input of another datatype than the model takes.
    #[error("input \"{name}\" has datatype {found}, the model expects {expected}")]
    WrongDataType {
        /// The input.
        name: String,
        /// What the model takes.
        expected: DataType,
        /// What came.
        found: DataType,
    },
    /// An input whose shape the model does not accept.
    #[error("input \"{name}\" has shape {found}, the model expects {expected}")]
    WrongShape {
        /// The input.
        name: String,
        /// What the model accepts, -1 for a free dimension.
        expected: String,
        /// What came.
        found: Shape,
    },
    /// Two inputs that must agree in a named dimension do not.
    #[error("inputs disagree on dimension {symbol}: {first} and, in \"{name}\", {second}")]
    DimensionConflict {
        /// The model's name for the dimension.
        symbol: String,
        /// The size that came first.
        first: usize,
        /// The input that disagrees.
        name: String,
        /// Its size.
        second: usize,
    },
    /// A datatype's name that is not one of the protocol's.
    #[error(
        "unknown datatype \"{name}\"; expected one of BOOL, UINT8, UINT16, UINT32, UINT64, INT8, INT16, INT32, INT64, FP16, BF16, FP32, FP64, BYTES"
    )]
    UnknownDataType {
        /// The name that came.
        name: String,
    },
}

impl Blamed for TensorError {
    fn fault(&self) -> Fault {
        Fault::InvalidRequest
    }
}
