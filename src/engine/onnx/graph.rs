//! The outline of an ONNX model: what goes in, what comes out, which operators stand in between.
//!
//! Only the outline is read. Weights are skipped where they lie, because the engine reads them itself and a copy here
//! would double the memory of a load.
//!
//! Source of the field numbers: `onnx.proto3` of ONNX 1.19 (`ModelProto`, `GraphProto`, `NodeProto`, `AttributeProto`,
//! `ValueInfoProto`, `TypeProto`).
//!
//! Invariant: everything borrows from the model's bytes; nothing is invented.

use super::wire::{Field, Fields, WireError};
use std::collections::HashSet;

/// Field numbers that are needed in more than one place.
pub(crate) mod number {
    pub(crate) const MODEL_GRAPH: u64 = 7;
    pub(crate) const MODEL_OPSET_IMPORT: u64 = 8;
    pub(crate) const OPSET_DOMAIN: u64 = 1;
    pub(crate) const OPSET_VERSION: u64 = 2;
    pub(crate) const GRAPH_NODE: u64 = 1;
    pub(crate) const GRAPH_OUTPUT: u64 = 12;
    pub(crate) const NODE_INPUT: u64 = 1;
    pub(crate) const NODE_OUTPUT: u64 = 2;
    pub(crate) const NODE_NAME: u64 = 3;
    pub(crate) const NODE_OP_TYPE: u64 = 4;
    pub(crate) const NODE_ATTRIBUTE: u64 = 5;
    pub(crate) const ATTRIBUTE_NAME: u64 = 1;
    pub(crate) const ATTRIBUTE_INTS: u64 = 8;
    pub(crate) const ATTRIBUTE_STRINGS: u64 = 9;
    pub(crate) const VALUE_NAME: u64 = 1;
    pub(crate) const VALUE_TYPE: u64 = 2;
    pub(crate) const TYPE_TENSOR: u64 = 1;
    pub(crate) const TENSOR_ELEMENT_TYPE: u64 = 1;
    pub(crate) const TENSOR_SHAPE: u64 = 2;
    pub(crate) const SHAPE_DIMENSION: u64 = 1;
    pub(crate) const DIMENSION_VALUE: u64 = 1;
    pub(crate) const DIMENSION_NAME: u64 = 2;
}

/// How deeply graphs may be nested, so that a hostile file cannot exhaust the stack. Real models stay below five.
const MAX_NESTING: usize = 32;

/// The main graph of a model.
#[derive(Clone, Debug, Default)]
pub(crate) struct Graph<'a> {
    pub(crate) nodes: Vec<Node<'a>>,
    pub(crate) inputs: Vec<ValueInfo<'a>>,
    pub(crate) outputs: Vec<ValueInfo<'a>>,
    /// Shapes and types of values in between, where the exporter wrote them down.
    pub(crate) values: Vec<ValueInfo<'a>>,
    /// Values that the model carries itself: an input of the same name is a weight, not an input.
    pub(crate) initialized: HashSet<&'a str>,
}

/// One operator of a graph.
#[derive(Clone, Debug, Default)]
pub(crate) struct Node<'a> {
    pub(crate) name: &'a str,
    pub(crate) operator: &'a str,
    pub(crate) domain: &'a str,
    pub(crate) inputs: Vec<&'a str>,
    pub(crate) outputs: Vec<&'a str>,
    attributes: Vec<&'a [u8]>,
}

/// A named value and its declared type.
#[derive(Clone, Debug)]
pub(crate) struct ValueInfo<'a> {
    pub(crate) name: &'a str,
    pub(crate) kind: ValueKind<'a>,
}

/// What a value is declared to be.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ValueKind<'a> {
    Tensor {
        /// `TensorProto.DataType`.
        element_type: u64,
        /// Absent when not even the rank is declared.
        shape: Option<Vec<DeclaredDimension<'a>>>,
    },
    Sequence,
    Map,
    Opaque,
    SparseTensor,
    Optional,
    Undeclared,
}

/// One dimension as the model declares it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeclaredDimension<'a> {
    Value(i64),
    Name(&'a str),
    Unset,
}

impl<'a> Graph<'a> {
    /// Reads the main graph of a `ModelProto`.
    pub(crate) fn of_model(model: &'a [u8]) -> Result<Self, WireError> {
        let mut graph = None;
        for field in Fields::of(model) {
            let field = field?;
            if field.number == number::MODEL_GRAPH {
                graph = Some(Self::read(field.fields()?)?);
            }
        }
        graph.ok_or(WireError("it has no graph"))
    }

    fn read(fields: Fields<'a>) -> Result<Self, WireError> {
        let mut graph = Self::default();
        for field in fields {
            let field = field?;
            match field.number {
                number::GRAPH_NODE => graph.nodes.push(Node::read(field.fields()?)?),
                // TensorProto.name
                5 => graph.initialized.extend(last_text(field.fields()?, 8)?),
                11 => graph.inputs.push(ValueInfo::read(field.fields()?)?),
                number::GRAPH_OUTPUT => graph.outputs.push(ValueInfo::read(field.fields()?)?),
                13 => graph.values.push(ValueInfo::read(field.fields()?)?),
                // SparseTensorProto.values, which has the name
                15 => {
                    for inner in field.fields()? {
                        let inner = inner?;
                        if inner.number == 1 {
                            graph.initialized.extend(last_text(inner.fields()?, 8)?);
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(graph)
    }

    /// The node that computes `value`, if one does.
    pub(crate) fn producer(&self, value: &str) -> Option<&Node<'a>> {
        self.nodes.iter().find(|node| node.outputs.contains(&value))
    }

    /// Whether there is a value of this name in the graph.
    pub(crate) fn has_value(&self, name: &str) -> bool {
        self.initialized.contains(name)
            || self.inputs.iter().any(|input| input.name == name)
            || self.producer(name).is_some()
    }

    /// Calls `visit` with every node, those in the bodies of `If`, `Loop` and `Scan` included.
    pub(crate) fn visit_nodes(
        &self,
        visit: &mut impl FnMut(&Node<'a>) -> Result<(), WireError>,
    ) -> Result<(), WireError> {
        self.visit_nested(MAX_NESTING, visit)
    }

    fn visit_nested(
        &self,
        levels: usize,
        visit: &mut impl FnMut(&Node<'a>) -> Result<(), WireError>,
    ) -> Result<(), WireError> {
        for node in &self.nodes {
            visit(node)?;
            for body in node.bodies()? {
                let levels = levels.checked_sub(1).ok_or(WireError("graphs are nested too deeply"))?;
                body.visit_nested(levels, visit)?;
            }
        }
        Ok(())
    }
}

impl<'a> Node<'a> {
    fn read(fields: Fields<'a>) -> Result<Self, WireError> {
        let mut node = Self::default();
        for field in fields {
            let field = field?;
            match field.number {
                number::NODE_INPUT => node.inputs.push(field.text()?),
                number::NODE_OUTPUT => node.outputs.push(field.text()?),
                number::NODE_NAME => node.name = field.text()?,
                number::NODE_OP_TYPE => node.operator = field.text()?,
                number::NODE_ATTRIBUTE => node.attributes.push(field.bytes()?),
                7 => node.domain = field.text()?,
                _ => {}
            }
        }
        Ok(node)
    }

    /// The name to call this node by: exporters often leave it out, and engines then use its first output's.
    pub(crate) fn label(&self) -> &'a str {
        if self.name.is_empty() { self.outputs.first().copied().unwrap_or("") } else { self.name }
    }

    /// How many classes the attributes of a classifier or of a `ZipMap` list, 0 for any other operator.
    pub(crate) fn class_labels(&self) -> Result<i64, WireError> {
        let mut count = 0;
        for name in ["classlabels_int64s", "classlabels_strings"] {
            for field in self.attribute(name)?.into_iter().flatten() {
                let field = field?;
                count += match field.number {
                    number::ATTRIBUTE_STRINGS => 1,
                    // Packed, as protobuf 3 writes it, or one field for each label, as protobuf 2 does. A varint ends
                    // with the first byte below 128.
                    number::ATTRIBUTE_INTS => match field.bytes() {
                        Ok(packed) => packed.iter().map(|&byte| i64::from(byte < 0x80)).sum(),
                        Err(_) => 1,
                    },
                    _ => 0,
                };
            }
        }
        Ok(count)
    }

    /// The fields of the attribute called `name`, if there is one.
    fn attribute(&self, name: &str) -> Result<Option<Fields<'a>>, WireError> {
        for attribute in &self.attributes {
            if last_text(Fields::of(attribute), number::ATTRIBUTE_NAME)? == Some(name) {
                return Ok(Some(Fields::of(attribute)));
            }
        }
        Ok(None)
    }

    /// The graphs that this node's attributes carry.
    fn bodies(&self) -> Result<Vec<Graph<'a>>, WireError> {
        let mut bodies = Vec::new();
        for attribute in &self.attributes {
            for field in Fields::of(attribute) {
                let field = field?;
                // AttributeProto.g and .graphs
                if matches!(field.number, 6 | 11) {
                    bodies.push(Graph::read(field.fields()?)?);
                }
            }
        }
        Ok(bodies)
    }
}

impl<'a> ValueInfo<'a> {
    fn read(fields: Fields<'a>) -> Result<Self, WireError> {
        let mut value = Self { name: "", kind: ValueKind::Undeclared };
        for field in fields {
            let field = field?;
            match field.number {
                number::VALUE_NAME => value.name = field.text()?,
                number::VALUE_TYPE => value.kind = ValueKind::read(field.fields()?)?,
                _ => {}
            }
        }
        Ok(value)
    }
}

impl<'a> ValueKind<'a> {
    fn read(fields: Fields<'a>) -> Result<Self, WireError> {
        let mut kind = Self::Undeclared;
        for field in fields {
            let field = field?;
            kind = match field.number {
                number::TYPE_TENSOR => Self::read_tensor(&field)?,
                4 => Self::Sequence,
                5 => Self::Map,
                7 => Self::Opaque,
                8 => Self::SparseTensor,
                9 => Self::Optional,
                _ => kind,
            };
        }
        Ok(kind)
    }

    fn read_tensor(field: &Field<'a>) -> Result<Self, WireError> {
        let (mut element_type, mut shape) = (0, None);
        for field in field.fields()? {
            let field = field?;
            match field.number {
                number::TENSOR_ELEMENT_TYPE => element_type = field.varint()?,
                number::TENSOR_SHAPE => shape = Some(read_shape(field.fields()?)?),
                _ => {}
            }
        }
        Ok(Self::Tensor { element_type, shape })
    }

    /// What to call it in an error.
    pub(crate) fn describe(&self) -> &'static str {
        match self {
            Self::Tensor { .. } => "a tensor",
            Self::Sequence => "a sequence",
            Self::Map => "a map",
            Self::Opaque => "an opaque value",
            Self::SparseTensor => "a sparse tensor",
            Self::Optional => "an optional value",
            Self::Undeclared => "of no declared type",
        }
    }
}

fn read_shape<'a>(fields: Fields<'a>) -> Result<Vec<DeclaredDimension<'a>>, WireError> {
    let mut shape = Vec::new();
    for field in fields {
        let field = field?;
        if field.number != number::SHAPE_DIMENSION {
            continue;
        }
        let mut dimension = DeclaredDimension::Unset;
        for inner in field.fields()? {
            let inner = inner?;
            match inner.number {
                number::DIMENSION_VALUE => dimension = DeclaredDimension::Value(inner.varint()?.cast_signed()),
                number::DIMENSION_NAME => dimension = DeclaredDimension::Name(inner.text()?),
                _ => {}
            }
        }
        shape.push(dimension);
    }
    Ok(shape)
}

fn last_text<'a>(fields: Fields<'a>, number: u64) -> Result<Option<&'a str>, WireError> {
    let mut text = None;
    for field in fields {
        let field = field?;
        if field.number == number {
            text = Some(field.text()?);
        }
    }
    Ok(text)
}
