//! Signatures read from ONNX files that are built here, byte by byte.

use super::samples::{
    Attribute, Dim, FLOAT, Folder, INT64, Model, STRING, affine, identity, node, sequence_of_maps, tensor_type,
    zipped_classifier,
};
use super::wire::Message;
use super::*;
use crate::tensor::{DataType, Dimension};
use proptest::prelude::*;

fn parse(bytes: &[u8]) -> Result<OnnxFile, EngineError> {
    let stamp = Stamp { length: 0, modified: None };
    OnnxFile::parse(Path::new("m/model.onnx"), stamp, bytes)
}

fn error(model: &Model) -> String {
    parse(&model.bytes()).unwrap_err().to_string()
}

#[test]
fn an_empty_file_is_not_a_model() {
    assert_eq!(parse(&[]).unwrap_err().to_string(), "m/model.onnx: not a valid ONNX model: it has no graph");
}

#[test]
fn a_text_file_is_not_a_model() {
    assert!(matches!(parse(b"version https://git-lfs.github.com/spec/v1\n"), Err(EngineError::Malformed { .. })));
}

#[test]
fn an_absent_file_is_named() {
    let error = OnnxFile::read(Path::new("nowhere/model.onnx")).unwrap_err();
    assert!(error.to_string().starts_with("nowhere/model.onnx: cannot be read: "), "{error}");
}

#[test]
fn dimensions_are_fixed_named_or_free() {
    let shape = [Dim::Named("N"), Dim::Of(3), Dim::Unset, Dim::Named("?"), Dim::Of(-1), Dim::Of(0)];
    let signature = parse(&identity(FLOAT, &shape).bytes()).unwrap().signature;
    let free = |name: &str| Dimension::Free(name.to_owned());
    let expected = vec![free("N"), Dimension::Fixed(3), free(""), free(""), free(""), Dimension::Fixed(0)];
    assert_eq!(signature.inputs[0].shape, expected);
}

#[test]
fn a_scalar_has_no_dimensions() {
    assert_eq!(parse(&identity(INT64, &[]).bytes()).unwrap().signature.inputs[0].shape, Vec::new());
}

#[test]
fn every_element_type_of_the_protocols_is_known_and_the_others_are_refused_by_name() {
    let names = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 16].map(|element_type| {
        parse(&identity(element_type, &[Dim::Unset]).bytes()).unwrap().signature.inputs[0].datatype.name()
    });
    let expected = "FP32 UINT8 INT8 UINT16 INT16 INT32 INT64 BYTES BOOL FP16 FP64 UINT32 UINT64 BF16"
        .split(' ')
        .collect::<Vec<_>>();
    assert_eq!(names.to_vec(), expected);
    for element_type in [0, 14, 15, 17, 18, 19, 20, 21, 22, 23, 24, u64::MAX] {
        let text = error(&identity(element_type, &[Dim::Unset]));
        assert!(text.contains("input \"x\"") && text.contains(&element_type.to_string()), "{text}");
    }
}

#[test]
fn weights_that_are_listed_as_inputs_are_not_inputs() {
    let model = affine().input("w", FLOAT, &[Dim::Of(3), Dim::Of(2)]);
    let signature = parse(&model.bytes()).unwrap().signature;
    assert_eq!(signature.describe_inputs(), "\"x\" FP32 [-1, 3]");
    assert_eq!(signature.describe_outputs(), "\"y\" FP32 [-1, 2]");
}

#[test]
fn an_output_without_a_shape_is_one_free_dimension_and_such_an_input_is_refused() {
    let typed = tensor_type(FLOAT, None);
    let open = Model::new().input("x", FLOAT, &[Dim::Of(1)]).node("Relu", &["x"], &["y"]).typed_output("y", &typed);
    assert_eq!(parse(&open.bytes()).unwrap().signature.outputs[0].shape, vec![Dimension::Free(String::new())]);
    let text = error(&open.typed_input("z", &typed));
    assert!(text.contains("input \"z\" cannot be served: it declares no shape"), "{text}");
}

#[test]
fn an_output_that_nothing_computes_is_refused() {
    let text = error(&affine().output("ghost", FLOAT, &[Dim::Unset]));
    assert_eq!(text, "m/model.onnx: not a valid ONNX model: it declares an output that nothing computes");
}

#[test]
fn inputs_that_are_not_dense_tensors_are_refused_by_name() {
    let empty = Message::default();
    for (number, what) in
        [(4, "a sequence"), (5, "a map"), (7, "an opaque value"), (8, "a sparse tensor"), (9, "an optional value")]
    {
        let text = error(&affine().typed_input("odd", &Message::default().message(number, &empty)));
        assert!(text.contains(&format!("input \"odd\" cannot be served: it is {what}")), "{text}");
    }
    assert!(error(&affine().typed_input("odd", &empty)).contains("of no declared type"));
}

#[test]
fn more_dimensions_than_a_shape_holds_are_refused() {
    assert!(error(&identity(FLOAT, &[Dim::Of(1); 9])).contains("it has 9 dimensions, at most 8 are served"));
}

#[test]
fn a_sequence_that_no_zip_map_makes_is_refused_with_the_way_to_export_it() {
    let model = Model::new()
        .input("x", FLOAT, &[Dim::Unset, Dim::Of(2)])
        .node("SequenceConstruct", &["x"], &["s"])
        .typed_output("s", &sequence_of_maps());
    let text = error(&model);
    assert!(text.contains("output \"s\"") && text.contains("options={'zipmap': False}"), "{text}");
}

#[test]
fn a_zip_map_becomes_a_probability_tensor_with_a_column_for_each_class() {
    let numbers = Attribute::Ints(vec![0, 1, 300]);
    let strings = Attribute::Strings(vec!["a", "b", "c"]);
    for labels in [numbers, strings] {
        let file = parse(&zipped_classifier(labels).bytes()).unwrap();
        let output = &file.signature.outputs[1];
        assert_eq!((output.name.as_str(), output.datatype), ("output_probability", DataType::Fp32));
        assert_eq!(output.wire_shape(), [-1, 3]);
        let names: Vec<&str> = file.operators.iter().map(|operator| operator.name.as_str()).collect();
        assert_eq!(names, ["MatMul", "Softmax", "ArgMax", "Identity"]);
        assert!(file.edited.is_some());
    }
}

#[test]
fn a_declared_shape_of_the_probabilities_is_kept() {
    let model =
        zipped_classifier(Attribute::Ints(vec![0, 1, 2])).note("probabilities", &[Dim::Named("rows"), Dim::Of(3)]);
    let file = parse(&model.bytes()).unwrap();
    let expected = vec![Dimension::Free("rows".to_owned()), Dimension::Fixed(3)];
    assert_eq!(file.signature.outputs[1].shape, expected);
}

#[test]
fn an_edited_model_differs_only_in_the_zip_map() {
    let original = zipped_classifier(Attribute::Ints(vec![0, 1, 2])).bytes();
    let edited = parse(&original).unwrap().edited.unwrap();
    let twice = parse(&edited).unwrap();
    assert_eq!(twice.edited, None);
    let fields = |bytes: &[u8]| {
        let model: Vec<Vec<u8>> = wire::Fields::of(bytes).map(|field| field.unwrap().raw.to_vec()).collect();
        let graph = wire::Fields::of(bytes).find_map(|field| field.ok().filter(|field| field.number == 7)).unwrap();
        let inner = graph.fields().unwrap().map(|field| field.unwrap().raw.to_vec()).collect::<Vec<_>>();
        (model, inner)
    };
    let ((model, graph), (edited_model, edited_graph)) = (fields(&original), fields(&edited));
    assert_eq!(model.len(), edited_model.len());
    let changed = graph.iter().zip(&edited_graph).filter(|(before, after)| before != after).count();
    assert_eq!((graph.len(), changed), (edited_graph.len(), 2));
}

#[test]
fn a_model_of_machine_learning_operators_alone_gets_the_operator_set_of_identity() {
    let model = Model::new()
        .importing(&[("ai.onnx.ml", 3)])
        .input("x", FLOAT, &[Dim::Unset, Dim::Of(2)])
        .node_in("ai.onnx.ml", "Normalizer", (&["x"], &["p"]), &[])
        .node_in("ai.onnx.ml", "ZipMap", (&["p"], &["z"]), &[("classlabels_int64s", Attribute::Ints(vec![0, 1]))])
        .typed_output("z", &sequence_of_maps());
    let edited = parse(&model.bytes()).unwrap().edited.unwrap();
    let imports = wire::Fields::of(&edited).filter(|field| field.as_ref().unwrap().number == 8).count();
    assert_eq!(imports, 2);
}

#[test]
fn operators_in_the_bodies_of_control_flow_are_found() {
    let body = Message::default().message(1, &node("custom", "Inner", (&["x"], &["inner"]), &[]));
    let attributes = [("then_branch", Attribute::Body(body.clone())), ("else_branch", Attribute::Body(body))];
    let model = identity(FLOAT, &[Dim::Unset]).node_in("", "If", (&["c"], &["d"]), &attributes);
    let operators = parse(&model.bytes()).unwrap().operators;
    let names: Vec<String> = operators.iter().map(Operator::qualified).collect();
    assert_eq!(names, ["Identity", "If", "custom.Inner", "custom.Inner"]);
}

#[test]
fn graphs_nested_without_end_are_refused() {
    let mut body = Message::default();
    for _ in 0..100 {
        body =
            Message::default().message(1, &node("", "If", (&["c"], &["d"]), &[("then_branch", Attribute::Body(body))]));
    }
    let model = identity(FLOAT, &[]).node_in("", "If", (&["c"], &["e"]), &[("then_branch", Attribute::Body(body))]);
    assert!(error(&model).contains("graphs are nested too deeply"));
}

#[test]
fn a_file_that_is_written_again_is_noticed() {
    let folder = Folder::new();
    let path = folder.write("model.onnx", &identity(STRING, &[]).bytes());
    let file = OnnxFile::read(&path).unwrap();
    file.check_unchanged().unwrap();
    folder.write("model.onnx", &affine().bytes());
    assert!(matches!(file.check_unchanged(), Err(EngineError::Replaced { .. })));
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(file.check_unchanged(), Err(EngineError::Unreadable { .. })));
}

#[test]
fn weights_that_are_written_again_are_noticed() {
    let folder = Folder::new();
    let text = |key: &str, value: &str| Message::default().bytes(1, key.as_bytes()).bytes(2, value.as_bytes());
    let weight = Message::default().varint(1, 4).varint(2, 1).bytes(8, b"w").varint(14, 1);
    let weight = weight.message(13, &text("location", "data/w")).message(13, &text("length", "16"));
    folder.write("data/w", &[0; 16]);
    let path = folder.write("model.onnx", &identity(FLOAT, &[]).field(5, &weight).bytes());
    let file = OnnxFile::read(&path).unwrap();
    file.check_unchanged().unwrap();
    let weights = folder.write("data/w", &[1; 17]);
    match file.check_unchanged() {
        Err(EngineError::Replaced { path }) => assert_eq!(path, weights),
        other => panic!("{other:?}"),
    }
}

proptest! {
    #[test]
    fn a_damaged_model_is_read_or_refused_but_never_panics(position in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>()) {
        let mut bytes = zipped_classifier(Attribute::Ints(vec![0, 1, 2])).bytes();
        let position = position.index(bytes.len());
        bytes[position] = byte;
        bytes.truncate(cut.index(bytes.len() + 1));
        if let Ok(file) = parse(&bytes) {
            prop_assert!(file.signature.inputs.iter().chain(&file.signature.outputs).all(|spec| spec.shape.len() <= crate::tensor::MAX_RANK));
        }
    }
}
