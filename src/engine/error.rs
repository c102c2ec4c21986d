//! Why a model cannot be loaded or run.
//!
//! Whoever reads one of these chose or made the model, so the text names the file, the tensor, node or operator at
//! fault, and the way out. Loading and running are blamed differently: a load that fails is told to whoever asked for
//! it ([`Fault::Unavailable`]), a run that fails happens to a caller whose request fitted the signature, who can do
//! nothing about it and learns only that the model failed ([`Fault::Internal`]).
//!
//! Invariant: what an engine said about a failed run stays in the log.

use crate::error::{Blamed, Fault};
use std::path::PathBuf;

/// Why a model cannot be loaded or run.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The file cannot be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Unreadable {
        /// The model file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file is not an ONNX model.
    #[error("{}: not a valid ONNX model: {reason}", path.display())]
    Malformed {
        /// The model file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Weights in a file that may not be read, or is not what it should be.
    #[error("{}: the values of \"{tensor}\" cannot be read from {location:?}: {reason}", path.display())]
    ExternalData {
        /// The model file.
        path: PathBuf,
        /// The weight.
        tensor: String,
        /// Where it is said to lie.
        location: String,
        /// What is wrong with that.
        reason: String,
    },
    /// The file changed after it was loaded, so another instance of it would be another model.
    #[error("{}: was replaced after it was loaded; load it as a new version", path.display())]
    Replaced {
        /// The model file.
        path: PathBuf,
    },
    /// An input or output that cannot be served.
    #[error("{}: {side} \"{name}\" cannot be served: {reason}", path.display())]
    UnsupportedTensor {
        /// The model file.
        path: PathBuf,
        /// `input` or `output`.
        side: &'static str,
        /// The tensor's name.
        name: String,
        /// What it is, and how to export it differently.
        reason: String,
    },
    /// Operators that the embedded engine does not have.
    #[error("{}: the embedded engine does not have {operators}; {remedy}", path.display())]
    UnsupportedOperators {
        /// The model file.
        path: PathBuf,
        /// Operator types with their domains, separated by commas.
        operators: String,
        /// How to get an engine that has them.
        remedy: String,
    },
    /// An operator that the engine has, used in a way it does not support.
    #[error("{}: {engine} cannot use operator {operator} of node \"{node}\": {reason}", path.display())]
    OperatorFailed {
        /// The model file.
        path: PathBuf,
        /// The engine's name.
        engine: &'static str,
        /// The operator type with its domain.
        operator: String,
        /// The node's name.
        node: String,
        /// What the engine says, outermost first.
        reason: String,
    },
    /// The engine refuses the model.
    #[error("{}: {engine} cannot load it: {reason}", path.display())]
    LoadFailed {
        /// The model file.
        path: PathBuf,
        /// The engine's name.
        engine: &'static str,
        /// What the engine says.
        reason: String,
    },
    /// ONNX Runtime was asked for by name and is not there.
    #[error("{}: engine \"onnxruntime\" is set, and ONNX Runtime was not found; {remedy}", path.display())]
    RuntimeMissing {
        /// The model file.
        path: PathBuf,
        /// How to get it.
        remedy: String,
    },
    /// Both engines were tried, and neither can load the model.
    #[error("no engine can load the model. ONNX Runtime: {onnx_runtime}. Embedded: {tract}")]
    NoEngine {
        /// Why ONNX Runtime cannot.
        onnx_runtime: Box<EngineError>,
        /// Why the embedded engine cannot.
        tract: Box<EngineError>,
    },
    /// The model failed on a request that fits its signature.
    #[error("{engine} failed to run the model: {reason}")]
    RunFailed {
        /// The engine's name.
        engine: &'static str,
        /// What the engine says.
        reason: String,
    },
    /// The engine panicked.
    #[error("{engine} panicked while it was {doing}: {reason}")]
    Panicked {
        /// The engine's name.
        engine: &'static str,
        /// `loading the model` or `running the model`.
        doing: &'static str,
        /// The panic's message.
        reason: String,
    },
    /// A string that an engine cannot take: ONNX strings are UTF-8 text without NUL.
    #[error("input {index} holds a string that is not UTF-8 text without NUL bytes, which ONNX models cannot take")]
    NotText {
        /// The position of the input, from 0.
        index: usize,
    },
}

/// What engines say when memory is short, which is nothing that a model could be blamed for.
const SHORT_OF_MEMORY: [&str; 2] = ["bad_alloc", "Failed to allocate memory"];

impl EngineError {
    /// Whether the same model would be refused again by the same engine: not what the disk or the machine did.
    #[must_use]
    pub fn is_of_the_model(&self) -> bool {
        match self {
            Self::Unreadable { .. } | Self::Replaced { .. } | Self::RuntimeMissing { .. } => false,
            Self::LoadFailed { reason, .. } | Self::RunFailed { reason, .. } | Self::OperatorFailed { reason, .. } => {
                !SHORT_OF_MEMORY.iter().any(|text| reason.contains(text))
            }
            Self::NoEngine { onnx_runtime, tract } => onnx_runtime.is_of_the_model() && tract.is_of_the_model(),
            _ => true,
        }
    }
}

impl Blamed for EngineError {
    fn fault(&self) -> Fault {
        match self {
            Self::NotText { .. } => Fault::InvalidRequest,
            Self::RunFailed { .. } | Self::Panicked { .. } | Self::Replaced { .. } => Fault::Internal,
            _ => Fault::Unavailable,
        }
    }

    fn public_text(&self) -> String {
        match self.fault() {
            Fault::Internal => "the model failed on this request; the server's log has the cause".to_owned(),
            _ => self.to_string(),
        }
    }
}
