//! From an ONNX graph's declared inputs and outputs to a [`Signature`].
//!
//! The declaration is read from the file and never asked of an engine: engines rename dimensions, drop what they
//! optimised away and disagree with one another, and a model must not change its face with the engine that runs it.
//!
//! What a declaration leaves open: a dimension without a value, or with a negative one (old exporters write -1), is
//! free without a name. An output of undeclared rank is shown as one free dimension, since the protocols have no way to
//! say "any rank"; the answer carries the true shape. An input of undeclared rank is refused, because no request could
//! be checked against it.
//!
//! Invariant: an input or output that an engine could not take or give as a plain tensor never gets into a signature.

use super::graph::{DeclaredDimension, Graph, ValueInfo, ValueKind};
use crate::tensor::{DataType, Dimension, MAX_RANK, Signature, TensorSpec};

/// An input or output that cannot be served, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unsupported {
    /// `input` or `output`.
    pub(crate) side: &'static str,
    pub(crate) name: String,
    /// What it is, and how to export it differently.
    pub(crate) reason: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Input,
    Output,
}

/// The signature that `graph` declares.
pub(crate) fn signature(graph: &Graph<'_>) -> Result<Signature, Unsupported> {
    let real_inputs = graph.inputs.iter().filter(|input| !graph.initialized.contains(input.name));
    Ok(Signature {
        inputs: real_inputs.map(|input| spec(input, Side::Input)).collect::<Result<_, _>>()?,
        outputs: graph.outputs.iter().map(|output| spec(output, Side::Output)).collect::<Result<_, _>>()?,
    })
}

fn spec(value: &ValueInfo<'_>, side: Side) -> Result<TensorSpec, Unsupported> {
    let unsupported = |reason: String| Unsupported {
        side: if side == Side::Input { "input" } else { "output" },
        name: value.name.to_owned(),
        reason,
    };
    let ValueKind::Tensor { element_type, shape } = &value.kind else {
        return Err(unsupported(not_a_tensor(&value.kind, side)));
    };
    let Some(datatype) = datatype(*element_type) else {
        return Err(unsupported(format!(
            "its element type, number {element_type} of TensorProto.DataType, has no counterpart in the protocols; \
             cast it inside the model"
        )));
    };
    let shape = match (shape, side) {
        (Some(shape), _) => shape.iter().map(dimension).collect::<Vec<_>>(),
        (None, Side::Output) => vec![Dimension::Free(String::new())],
        (None, Side::Input) => return Err(unsupported("it declares no shape; declare one when exporting".to_owned())),
    };
    if shape.len() > MAX_RANK {
        return Err(unsupported(format!("it has {} dimensions, at most {MAX_RANK} are served", shape.len())));
    }
    Ok(TensorSpec { name: value.name.to_owned(), datatype, shape })
}

fn not_a_tensor(kind: &ValueKind<'_>, side: Side) -> String {
    let what = kind.describe();
    match (kind, side) {
        (ValueKind::Sequence | ValueKind::Map, Side::Output) => format!(
            "it is {what}, only tensors are served; export the model without it, for scikit-learn classifiers with \
             options={{'zipmap': False}}"
        ),
        _ => format!("it is {what}, only tensors with a declared type are served; export the model with dense tensors"),
    }
}

fn dimension(declared: &DeclaredDimension<'_>) -> Dimension {
    match *declared {
        DeclaredDimension::Value(size) => usize::try_from(size).map_or_else(|_| free(""), Dimension::Fixed),
        // "?" is how some exporters write that a dimension has no name.
        DeclaredDimension::Name("?") | DeclaredDimension::Unset => free(""),
        DeclaredDimension::Name(name) => free(name),
    }
}

fn free(name: &str) -> Dimension {
    Dimension::Free(name.to_owned())
}

/// `TensorProto.DataType` as a datatype of the protocols. Complex numbers and the types below 8 bits have none, nor do
/// the 8-bit floating point types.
fn datatype(element_type: u64) -> Option<DataType> {
    Some(match element_type {
        1 => DataType::Fp32,
        2 => DataType::Uint8,
        3 => DataType::Int8,
        4 => DataType::Uint16,
        5 => DataType::Int16,
        6 => DataType::Int32,
        7 => DataType::Int64,
        8 => DataType::Bytes,
        9 => DataType::Bool,
        10 => DataType::Fp16,
        11 => DataType::Fp64,
        12 => DataType::Uint32,
        13 => DataType::Uint64,
        16 => DataType::Bf16,
        _ => return None,
    })
}
