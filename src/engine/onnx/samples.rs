//! Small ONNX models, built in code, for the tests of this room.
//!
//! Files made by an exporter would be opaque and would need it to change them; these say what is in them. Field numbers
//! are those of `onnx.proto3`.

use super::graph::number;
use super::wire::Message;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// `TensorProto.DataType`.
pub(crate) const FLOAT: u64 = 1;
pub(crate) const INT64: u64 = 7;
pub(crate) const STRING: u64 = 8;

/// A dimension of a declared shape.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Dim {
    Of(i64),
    Named(&'static str),
    Unset,
}

/// A model that is being put together.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    graph: Message,
    operator_sets: Vec<(&'static str, u64)>,
}

/// An attribute of a node.
#[derive(Clone, Debug)]
pub(crate) enum Attribute {
    Int(i64),
    Ints(Vec<i64>),
    Floats(Vec<f32>),
    Strings(Vec<&'static str>),
    Body(Message),
}

/// A folder that is deleted with the value.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Model {
    pub(crate) fn new() -> Self {
        let graph = Message::default().bytes(2, b"test");
        Self { graph, operator_sets: vec![("", 17), ("ai.onnx.ml", 3)] }
    }

    pub(crate) fn importing(mut self, operator_sets: &[(&'static str, u64)]) -> Self {
        self.operator_sets = operator_sets.to_vec();
        self
    }

    pub(crate) fn input(self, name: &str, element_type: u64, shape: &[Dim]) -> Self {
        self.field(11, &value(name, &tensor_type(element_type, Some(shape))))
    }

    pub(crate) fn output(self, name: &str, element_type: u64, shape: &[Dim]) -> Self {
        self.field(number::GRAPH_OUTPUT, &value(name, &tensor_type(element_type, Some(shape))))
    }

    /// An output whose `TypeProto` is given.
    pub(crate) fn typed_output(self, name: &str, of_type: &Message) -> Self {
        self.field(number::GRAPH_OUTPUT, &value(name, of_type))
    }

    /// An input whose `TypeProto` is given.
    pub(crate) fn typed_input(self, name: &str, of_type: &Message) -> Self {
        self.field(11, &value(name, of_type))
    }

    /// A shape noted inside the graph.
    pub(crate) fn note(self, name: &str, shape: &[Dim]) -> Self {
        self.field(13, &value(name, &tensor_type(FLOAT, Some(shape))))
    }

    pub(crate) fn node(self, operator: &str, inputs: &[&str], outputs: &[&str]) -> Self {
        self.node_in("", operator, (inputs, outputs), &[])
    }

    pub(crate) fn node_in(
        self,
        domain: &str,
        operator: &str,
        (inputs, outputs): (&[&str], &[&str]),
        attributes: &[(&str, Attribute)],
    ) -> Self {
        self.field(number::GRAPH_NODE, &node(domain, operator, (inputs, outputs), attributes))
    }

    pub(crate) fn floats(self, name: &str, dimensions: &[u64], values: &[f32]) -> Self {
        let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let tensor = tensor_header(name, FLOAT, dimensions).bytes(9, &raw);
        self.field(5, &tensor)
    }

    /// A weight whose values are in another file.
    pub(crate) fn external_floats(self, name: &str, dimensions: &[u64], file: &str) -> Self {
        let location = Message::default().bytes(1, b"location").bytes(2, file.as_bytes());
        let tensor = tensor_header(name, FLOAT, dimensions).message(13, &location).varint(14, 1);
        self.field(5, &tensor)
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut model = Message::default().varint(1, 8).bytes(2, b"tidegate tests");
        for (domain, version) in &self.operator_sets {
            let import = Message::default()
                .bytes(number::OPSET_DOMAIN, domain.as_bytes())
                .varint(number::OPSET_VERSION, *version);
            model = model.message(number::MODEL_OPSET_IMPORT, &import);
        }
        model.message(number::MODEL_GRAPH, &self.graph).into_bytes()
    }

    /// The `GraphProto` alone, to be the body of a node.
    pub(crate) fn graph(&self) -> Message {
        self.graph.clone()
    }

    pub(crate) fn field(mut self, number: u64, message: &Message) -> Self {
        self.graph = self.graph.message(number, message);
        self
    }
}

impl Folder {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("tidegate-engine-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path.canonicalize().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file, with the folders it is in.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder that is left over harms nothing.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// `x` as `y`, unchanged.
pub(crate) fn identity(element_type: u64, shape: &[Dim]) -> Model {
    Model::new().input("x", element_type, shape).node("Identity", &["x"], &["y"]).output("y", element_type, shape)
}

/// `y = x · w + b`, from three features to two values: x0 + x2 + 0.5 and x1 - x2 - 0.5.
pub(crate) fn affine() -> Model {
    Model::new()
        .input("x", FLOAT, &[Dim::Named("N"), Dim::Of(3)])
        .floats("w", &[3, 2], &[1.0, 0.0, 0.0, 1.0, 1.0, -1.0])
        .floats("b", &[2], &[0.5, -0.5])
        .node("MatMul", &["x", "w"], &["product"])
        .node("Add", &["product", "b"], &["y"])
        .output("y", FLOAT, &[Dim::Named("N"), Dim::Of(2)])
}

/// A classifier of two features and three classes as skl2onnx exports it: a label, and a sequence of maps.
pub(crate) fn zipped_classifier(labels: Attribute) -> Model {
    let attribute = match labels {
        Attribute::Strings(_) => "classlabels_strings",
        _ => "classlabels_int64s",
    };
    Model::new()
        .input("x", FLOAT, &[Dim::Unset, Dim::Of(2)])
        .floats("w", &[2, 3], &[0.0, 1.0, 2.0, 3.0, 1.0, 0.0])
        .node("MatMul", &["x", "w"], &["scores"])
        .node("Softmax", &["scores"], &["probabilities"])
        .node_in(
            "",
            "ArgMax",
            (&["scores"], &["output_label"]),
            &[("axis", Attribute::Int(1)), ("keepdims", Attribute::Int(0))],
        )
        .node_in("ai.onnx.ml", "ZipMap", (&["probabilities"], &["output_probability"]), &[(attribute, labels)])
        .output("output_label", INT64, &[Dim::Unset])
        .typed_output("output_probability", &sequence_of_maps())
}

/// A standard scaler, which tract does not have: `(x - 1) · 2`.
pub(crate) fn scaler() -> Model {
    Model::new()
        .input("x", FLOAT, &[Dim::Unset, Dim::Of(2)])
        .node_in(
            "ai.onnx.ml",
            "Scaler",
            (&["x"], &["y"]),
            &[("offset", Attribute::Floats(vec![1.0, 1.0])), ("scale", Attribute::Floats(vec![2.0, 2.0]))],
        )
        .output("y", FLOAT, &[Dim::Unset, Dim::Of(2)])
}

pub(crate) fn node(
    domain: &str,
    operator: &str,
    (inputs, outputs): (&[&str], &[&str]),
    attributes: &[(&str, Attribute)],
) -> Message {
    let mut node = Message::default();
    for input in inputs {
        node = node.bytes(number::NODE_INPUT, input.as_bytes());
    }
    for output in outputs {
        node = node.bytes(number::NODE_OUTPUT, output.as_bytes());
    }
    node = node
        .bytes(number::NODE_NAME, format!("{operator}_of_{}", inputs.first().unwrap_or(&"nothing")).as_bytes())
        .bytes(number::NODE_OP_TYPE, operator.as_bytes())
        .bytes(7, domain.as_bytes());
    for (name, attribute) in attributes {
        node = node.message(number::NODE_ATTRIBUTE, &attribute.message(name));
    }
    node
}

/// `TypeProto` of a dense tensor.
pub(crate) fn tensor_type(element_type: u64, shape: Option<&[Dim]>) -> Message {
    let mut tensor = Message::default().varint(number::TENSOR_ELEMENT_TYPE, element_type);
    if let Some(shape) = shape {
        let mut dimensions = Message::default();
        for dimension in shape {
            let message = match dimension {
                Dim::Of(size) => Message::default().varint(number::DIMENSION_VALUE, size.cast_unsigned()),
                Dim::Named(name) => Message::default().bytes(number::DIMENSION_NAME, name.as_bytes()),
                Dim::Unset => Message::default(),
            };
            dimensions = dimensions.message(number::SHAPE_DIMENSION, &message);
        }
        tensor = tensor.message(number::TENSOR_SHAPE, &dimensions);
    }
    Message::default().message(number::TYPE_TENSOR, &tensor)
}

/// `TypeProto` of `seq(map(int64, tensor(float)))`.
pub(crate) fn sequence_of_maps() -> Message {
    let map = Message::default().varint(1, INT64).message(2, &tensor_type(FLOAT, Some(&[])));
    let map_type = Message::default().message(5, &map);
    Message::default().message(4, &Message::default().message(1, &map_type))
}

impl Attribute {
    fn message(&self, name: &str) -> Message {
        let message = Message::default().bytes(number::ATTRIBUTE_NAME, name.as_bytes());
        match self {
            Self::Int(value) => message.varint(3, value.cast_unsigned()).varint(20, 2),
            Self::Ints(values) => values
                .iter()
                .fold(message, |message, value| message.varint(number::ATTRIBUTE_INTS, value.cast_unsigned()))
                .varint(20, 7),
            Self::Floats(values) => {
                let packed: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
                message.bytes(7, &packed).varint(20, 6)
            }
            Self::Strings(values) => values
                .iter()
                .fold(message, |message, value| message.bytes(number::ATTRIBUTE_STRINGS, value.as_bytes()))
                .varint(20, 8),
            Self::Body(graph) => message.message(6, graph).varint(20, 5),
        }
    }
}

fn value(name: &str, of_type: &Message) -> Message {
    Message::default().bytes(number::VALUE_NAME, name.as_bytes()).message(number::VALUE_TYPE, of_type)
}

fn tensor_header(name: &str, element_type: u64, dimensions: &[u64]) -> Message {
    let header = dimensions.iter().fold(Message::default(), |message, size| message.varint(1, *size));
    header.varint(2, element_type).bytes(8, name.as_bytes())
}
