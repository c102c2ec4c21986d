//! Probabilities as a tensor: the `ZipMap` that scikit-learn exports end in, taken out.
//!
//! skl2onnx ends a classifier, unless told otherwise, with `ai.onnx.ml.ZipMap`, which turns the probabilities `[N, C]`
//! into a sequence of N maps from class to probability. No protocol here can carry that, and building N maps costs more
//! than the model. Refusing would be honest but would refuse the default export of the most common library; so the
//! operator is replaced by `Identity`, its output keeps its name and becomes `tensor(float) [N, C]`, columns in the
//! order of the operator's class labels. `Identity` rather than renaming the value: the engines drop it again, and no
//! other node has to be touched.
//!
//! Source: `ZipMap` in the ONNX-ML operator list (float input, `[C]` or `[N, C]`; attributes `classlabels_int64s` and
//! `classlabels_strings`).
//!
//! Invariant: apart from the replaced nodes, their outputs' types and an operator set import that `Identity` needs, the
//! edited model is the original, byte for byte.

use super::graph::{DeclaredDimension, Graph, Node, ValueKind, number};
use super::wire::{Fields, Message, WireError};

/// `TensorProto.DataType.FLOAT`.
const FLOAT: u64 = 1;
/// The lowest operator set of the default domain that every supported ONNX Runtime still implements.
const IDENTITY_OPERATOR_SET: u64 = 9;

/// The model without the `ZipMap`s that make its outputs, or nothing if it has none.
pub(crate) fn without_zip_map(model: &[u8], graph: &Graph<'_>) -> Result<Option<Vec<u8>>, WireError> {
    let zipped = zipped_outputs(graph);
    if zipped.is_empty() {
        return Ok(None);
    }
    let mut edited = Message::default();
    let mut has_default_domain = false;
    for field in Fields::of(model) {
        let field = field?;
        edited = match field.number {
            number::MODEL_GRAPH => edited.message(number::MODEL_GRAPH, &edit_graph(field.fields()?, graph, &zipped)?),
            number::MODEL_OPSET_IMPORT => {
                has_default_domain |= imports_default_domain(field.fields()?)?;
                edited.raw(&field)
            }
            _ => edited.raw(&field),
        };
    }
    if !has_default_domain {
        let import =
            Message::default().bytes(number::OPSET_DOMAIN, b"").varint(number::OPSET_VERSION, IDENTITY_OPERATOR_SET);
        edited = edited.message(number::MODEL_OPSET_IMPORT, &import);
    }
    Ok(Some(edited.into_bytes()))
}

/// The outputs that a `ZipMap` makes, with that node.
fn zipped_outputs<'g, 'a>(graph: &'g Graph<'a>) -> Vec<(&'a str, &'g Node<'a>)> {
    let not_tensors = graph.outputs.iter().filter(|output| matches!(output.kind, ValueKind::Sequence | ValueKind::Map));
    not_tensors
        .filter_map(|output| Some((output.name, graph.producer(output.name)?)))
        .filter(|(_, node)| node.operator == "ZipMap" && node.domain == "ai.onnx.ml" && node.inputs.len() == 1)
        .collect()
}

fn imports_default_domain(import: Fields<'_>) -> Result<bool, WireError> {
    let mut domain = "";
    for field in import {
        let field = field?;
        if field.number == number::OPSET_DOMAIN {
            domain = field.text()?;
        }
    }
    Ok(domain.is_empty() || domain == "ai.onnx")
}

fn edit_graph(fields: Fields<'_>, graph: &Graph<'_>, zipped: &[(&str, &Node<'_>)]) -> Result<Message, WireError> {
    let mut edited = Message::default();
    for field in fields {
        let field = field?;
        // What makes or declares a value: the first output of a node, the name of an output.
        let value_number = match field.number {
            number::GRAPH_NODE => number::NODE_OUTPUT,
            number::GRAPH_OUTPUT => number::VALUE_NAME,
            _ => {
                edited = edited.raw(&field);
                continue;
            }
        };
        let value = field.fields()?.find_map(|inner| inner.ok().filter(|inner| inner.number == value_number));
        let value = value.map(|inner| inner.text()).transpose()?;
        let found = zipped.iter().find(|(output, _)| Some(*output) == value);
        edited = match found {
            None => edited.raw(&field),
            Some((_, node)) if field.number == number::GRAPH_NODE => {
                edited.message(number::GRAPH_NODE, &identity(node))
            }
            Some((output, node)) => edited.message(number::GRAPH_OUTPUT, &float_output(output, node, graph)?),
        };
    }
    Ok(edited)
}

fn identity(zip_map: &Node<'_>) -> Message {
    let mut node = Message::default()
        .bytes(number::NODE_NAME, zip_map.name.as_bytes())
        .bytes(number::NODE_OP_TYPE, b"Identity")
        .bytes(number::NODE_INPUT, zip_map.inputs[0].as_bytes());
    for output in &zip_map.outputs {
        node = node.bytes(number::NODE_OUTPUT, output.as_bytes());
    }
    node
}

fn float_output(name: &str, zip_map: &Node<'_>, graph: &Graph<'_>) -> Result<Message, WireError> {
    let mut shape = Message::default();
    for dimension in output_shape(zip_map, graph)? {
        let message = match dimension {
            DeclaredDimension::Value(size) => Message::default().varint(number::DIMENSION_VALUE, size.cast_unsigned()),
            DeclaredDimension::Name(name) => Message::default().bytes(number::DIMENSION_NAME, name.as_bytes()),
            DeclaredDimension::Unset => Message::default(),
        };
        shape = shape.message(number::SHAPE_DIMENSION, &message);
    }
    let tensor = Message::default().varint(number::TENSOR_ELEMENT_TYPE, FLOAT).message(number::TENSOR_SHAPE, &shape);
    Ok(Message::default()
        .bytes(number::VALUE_NAME, name.as_bytes())
        .message(number::VALUE_TYPE, &Message::default().message(number::TYPE_TENSOR, &tensor)))
}

/// The shape of the probabilities: as declared, else any number of rows and one column for each class label.
fn output_shape<'a>(zip_map: &Node<'a>, graph: &Graph<'a>) -> Result<Vec<DeclaredDimension<'a>>, WireError> {
    let declared = graph.values.iter().find(|value| value.name == zip_map.inputs[0]);
    if let Some(ValueKind::Tensor { shape: Some(shape), .. }) = declared.map(|value| &value.kind) {
        return Ok(shape.clone());
    }
    let classes = match zip_map.class_labels()? {
        0 => DeclaredDimension::Unset,
        count => DeclaredDimension::Value(count),
    };
    Ok(vec![DeclaredDimension::Unset, classes])
}
