//! Bodies of the Open Inference Protocol to tensors and back, and what is refused on the way.

use super::super::test_support::{JSON_DATATYPES, signature, spec, tensor};
use super::super::{AnswerHead, ProtocolError, encode_error};
use super::*;
use crate::error::{Blamed, Fault};
use crate::tensor::{ByteStrings, DataType, Signature, Tensor, TensorData, TensorError};

fn one_input() -> Signature {
    signature(vec![spec("x", DataType::Fp32, &[-1, 3])])
}

fn of(datatype: DataType, shape: &[i64]) -> Signature {
    signature(vec![spec("x", datatype, shape)])
}

/// A request with one input `x`.
fn with_data(datatype: DataType, shape: &str, data: &str) -> String {
    format!(r#"{{"inputs":[{{"name":"x","shape":{shape},"datatype":"{datatype}","data":{data}}}]}}"#)
}

fn read(body: &str, signature: &Signature) -> Result<InferRequest, ProtocolError> {
    decode_infer(body.as_bytes(), signature)
}

fn complaint(body: &str, signature: &Signature) -> String {
    let error = read(body, signature).unwrap_err();
    assert_eq!(error.fault(), Fault::InvalidRequest);
    error.to_string()
}

fn head() -> AnswerHead<'static> {
    AnswerHead { id: None, model_name: "m", model_version: "3" }
}

#[test]
fn a_body_that_is_no_request_says_what_is_missing() {
    assert_eq!(complaint("", &one_input()), "expected an object at byte 0, found the end of the text");
    assert_eq!(complaint("[]", &one_input()), "expected an object at byte 0, found a list");
    assert_eq!(complaint("{}", &one_input()), "the request lacks the key \"inputs\"");
    assert_eq!(
        complaint(r#"{"inputs":[]}"#, &one_input()),
        "input \"x\" is missing; the model expects \"x\" FP32 [-1, 3]"
    );
    assert_eq!(complaint(r#"{"inputs":[{}]}"#, &one_input()), "an input lacks the key \"name\"");
    assert_eq!(
        complaint(r#"{"inputs":[{"name":"x"}]}"#, &one_input()),
        "input \"x\": an input lacks the key \"datatype\""
    );
    assert_eq!(
        complaint(r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,3]}]}"#, &one_input()),
        "input \"x\": an input lacks the key \"data\""
    );
    assert!(complaint(r#"{"inputs":[]} x"#, &one_input()).starts_with("expected the end of the text"));
}

#[test]
fn a_plain_request_is_read() {
    let request = read(&with_data(DataType::Fp32, "[2,3]", "[1, 2.5,-3e-1 ,null,0,1]"), &one_input()).unwrap();
    assert_eq!(request.id, None);
    assert!(request.outputs.is_empty());
    let TensorData::Fp32(values) = request.inputs[0].data() else { panic!("another datatype") };
    assert_eq!(values[..3], [1.0, 2.5, -0.3]);
    assert!(values[3].is_nan());
}

#[test]
fn keys_may_come_in_any_order_and_unknown_ones_are_skipped() {
    let body = r#"{"outputs":[{"name":"probabilities","color":[1]},{"name":"label"}],"later":{"deep":[{}]},
        "inputs":[{"data":[[1,2,3]],"extra":null,"shape":[1,3],"datatype":"FP32","parameters":{"hint":1},"name":"x"}],
        "parameters":{"timeout":1000,"priority":0,"sequence_id":"a","binary_data_output":true},"id":"é\n"}"#;
    let request = read(body, &one_input()).unwrap();
    assert_eq!(request.id.as_deref(), Some("é\n"));
    assert_eq!(request.outputs, [1, 0]);
    assert_eq!(request.inputs, [tensor(&[1, 3], TensorData::Fp32(vec![1.0, 2.0, 3.0]))]);
}

#[test]
fn null_is_the_same_as_an_absent_member() {
    let data = with_data(DataType::Fp32, "[1,3]", "[1,2,3]");
    let body = data.replacen('{', r#"{"id":null,"parameters":null,"outputs":null,"#, 1);
    assert_eq!(read(&body, &one_input()).unwrap(), read(&data, &one_input()).unwrap());
}

#[test]
fn data_may_be_nested_as_the_shape_or_less() {
    let signature = of(DataType::Int32, &[-1, 2, 2]);
    let expected = [tensor(&[2, 2, 2], TensorData::Int32((1..=8).collect()))];
    for data in
        ["[1,2,3,4,5,6,7,8]", "[[1,2,3,4],[5,6,7,8]]", "[[[1,2],[3,4]],[[5,6],[7,8]]]", "[[1,2],[3,4],[5,6],[7,8]]"]
    {
        assert_eq!(read(&with_data(DataType::Int32, "[2,2,2]", data), &signature).unwrap().inputs, expected);
    }
}

#[test]
fn lists_that_do_not_fit_the_shape_are_refused() {
    let signature = of(DataType::Int32, &[-1, -1]);
    for (shape, data) in [
        ("[3,2]", "[[1,2,3],[4,5,6]]"),
        ("[2,2]", "[[1,2,3],[4]]"),
        ("[2,2]", "[[1],[2,3,4]]"),
        ("[2,3]", "[[1,2,3],[4],[5,6]]"),
    ] {
        let text = complaint(&with_data(DataType::Int32, shape, data), &signature);
        assert!(text.contains("which does not fit shape"), "{text}");
    }
    let text = complaint(&with_data(DataType::Int32, "[1,2]", "[1,[2]]"), &signature);
    assert_eq!(text, "input \"x\": expected a whole number at byte 66, found a list");
}

#[test]
fn the_number_of_values_must_be_what_the_shape_says() {
    let short = complaint(&with_data(DataType::Fp32, "[2,3]", "[1,2,3,4,5]"), &one_input());
    assert_eq!(short, "input \"x\": shape [2, 3] needs 6 values, 5 came");
    let long = complaint(&with_data(DataType::Fp32, "[2,3]", "[1,2,3,4,5,6,7]"), &one_input());
    assert_eq!(long, "input \"x\": shape [2, 3] needs 6 values, more came");
    let none = complaint(&with_data(DataType::Fp32, "[2,3]", "[]"), &one_input());
    assert_eq!(none, "input \"x\": shape [2, 3] needs 6 values, 0 came");
}

#[test]
fn tensors_without_values_are_legal() {
    let signature = of(DataType::Fp32, &[-1, -1]);
    for (shape, data) in [("[0,3]", "[]"), ("[2,0]", "[[],[]]"), ("[2,0]", "[]")] {
        assert!(read(&with_data(DataType::Fp32, shape, data), &signature).unwrap().inputs[0].data().is_empty());
    }
}

#[test]
fn a_shape_that_lies_reserves_no_more_than_the_body_could_hold() {
    let signature = of(DataType::Fp64, &[-1, -1]);
    let text = complaint(&with_data(DataType::Fp64, "[1000000000,1000000]", "[1,2]"), &signature);
    assert_eq!(text, "input \"x\": shape [1000000000, 1000000] needs 1000000000000000 values, 2 came");
    let text = complaint(&with_data(DataType::Fp64, "[18446744073709551615,2]", "[1]"), &signature);
    assert!(text.ends_with("has more elements than can be addressed"), "{text}");
    let text = complaint(&with_data(DataType::Fp64, "[1000000000000,0]", "[]"), &signature);
    assert_eq!(text, "input \"x\": shape [1000000000000, 0] has no values; its sizes may be at most 65536");
    let text = complaint(&with_data(DataType::Fp64, "[0,65536,65536,65536,65536,65536]", "[[]]"), &signature);
    assert!(text.contains("the model expects [-1, -1]"), "{text}");
}

#[test]
fn sizes_are_whole_numbers_from_zero_on() {
    let at = |shape| complaint(&with_data(DataType::Fp32, shape, "[1,2,3]"), &one_input());
    assert_eq!(at("[-1,3]"), "expected a size: a whole number from 0 on at byte 32, found -1");
    assert!(at("[1.0,3]").contains("without fraction"));
    assert!(at("3").starts_with("expected a shape: a list of sizes"));
    assert!(at("[1,1,1,1,1,1,1,1,3]").contains("over the limit of 8"));
    assert_eq!(at("[3]"), "input \"x\" has shape [3], the model expects [-1, 3]");
}

#[test]
fn datatypes_must_be_the_models() {
    let text = complaint(&with_data(DataType::Fp64, "[1,3]", "[1,2,3]"), &one_input());
    assert_eq!(text, "input \"x\" has datatype FP64, the model expects FP32");
    let text = complaint(r#"{"inputs":[{"name":"x","datatype":"fp32"}]}"#, &one_input());
    assert!(text.starts_with("unknown datatype \"fp32\""), "{text}");
}

#[test]
fn values_must_be_of_the_datatype() {
    for (datatype, data) in [
        (DataType::Bool, "[1]"),
        (DataType::Int8, "[128]"),
        (DataType::Int64, "[1.5]"),
        (DataType::Int64, "[null]"),
        (DataType::Uint32, "[-1]"),
        (DataType::Fp32, "[\"1\"]"),
        (DataType::Fp32, "[true]"),
        (DataType::Fp32, "[1e40]"),
        (DataType::Fp64, "[NaN]"),
        (DataType::Bytes, "[1]"),
        (DataType::Bytes, "[null]"),
    ] {
        let text = complaint(&with_data(datatype, "[1]", data), &of(datatype, &[-1]));
        assert!(text.starts_with("input \"x\": "), "{text}");
    }
}

#[test]
fn every_datatype_that_json_carries_is_read() {
    let data = |datatype| match datatype {
        DataType::Bool => r"[true,false]",
        DataType::Bytes => r#"["","a\tb"]"#,
        _ => "[0,1]",
    };
    for datatype in JSON_DATATYPES {
        let request = read(&with_data(datatype, "[2]", data(datatype)), &of(datatype, &[-1])).unwrap();
        assert_eq!(request.inputs[0].datatype(), datatype);
    }
}

#[test]
fn sixteen_bit_floats_are_not_available_through_json() {
    for datatype in [DataType::Fp16, DataType::Bf16] {
        let text = complaint(&with_data(datatype, "[1]", "[1]"), &of(datatype, &[-1]));
        assert_eq!(text, format!("input \"x\": datatype {datatype} is not available through JSON"));
    }
}

#[test]
fn names_are_unique_and_known() {
    let x = r#"{"name":"x","shape":[1,3],"datatype":"FP32","data":[1,2,3]}"#;
    assert_eq!(complaint(&format!(r#"{{"inputs":[{x},{x}]}}"#), &one_input()), "input \"x\" came twice");
    let text = complaint(r#"{"inputs":[{"name":"y"}]}"#, &one_input());
    assert_eq!(text, "unknown input \"y\"; the model expects \"x\" FP32 [-1, 3]");
    let with_outputs = |outputs: &str| format!(r#"{{"inputs":[{x}],"outputs":{outputs}}}"#);
    let text = complaint(&with_outputs(r#"[{"name":"z"}]"#), &one_input());
    assert_eq!(text, "unknown output \"z\"; the model has \"label\" INT64 [-1], \"probabilities\" FP32 [-1, 2]");
    let text = complaint(&with_outputs(r#"[{"name":"label"},{"name":"label"}]"#), &one_input());
    assert_eq!(text, "output \"label\" is asked for twice");
    assert!(complaint(&with_outputs("[{}]"), &one_input()).contains("a requested output lacks the key \"name\""));
    assert!(read(&with_outputs("[]"), &one_input()).unwrap().outputs.is_empty());
}

#[test]
fn a_long_name_is_not_echoed() {
    let name = "é".repeat(100_000);
    assert!(complaint(&format!(r#"{{"inputs":[{{"name":"{name}"}}]}}"#), &one_input()).len() < 400);
}

#[test]
fn keys_that_are_read_may_not_come_twice() {
    for body in [
        r#"{"id":"a","id":"b"}"#,
        r#"{"inputs":[],"inputs":[]}"#,
        r#"{"outputs":[],"outputs":[]}"#,
        r#"{"parameters":{},"parameters":{}}"#,
        r#"{"inputs":[{"name":"x","name":"x"}]}"#,
        r#"{"inputs":[{"shape":[1],"shape":[1]}]}"#,
        r#"{"inputs":[{"datatype":"FP32","datatype":"FP32"}]}"#,
        r#"{"inputs":[{"data":[],"data":[]}]}"#,
        r#"{"inputs":[{"parameters":{},"parameters":{}}]}"#,
        r#"{"outputs":[{"name":"label","name":"label"}]}"#,
        r#"{"outputs":[{"parameters":{},"parameters":{}}]}"#,
    ] {
        let error = read(body, &one_input()).unwrap_err();
        assert!(matches!(error, ProtocolError::DuplicateKey { .. }), "{error}");
    }
}

#[test]
fn parameters_that_would_change_the_meaning_are_refused() {
    let input = |parameters: &str| format!(r#"{{"inputs":[{{"parameters":{parameters}}}]}}"#);
    for name in ["binary_data_size", "shared_memory_region"] {
        let text = complaint(&input(&format!(r#"{{"{name}":4}}"#)), &one_input());
        assert_eq!(text, format!("parameter \"{name}\" is not supported here; values travel as JSON in \"data\""));
    }
    assert!(complaint(r#"{"outputs":[{"parameters":{"classification":3}}]}"#, &one_input()).contains("not supported"));
    assert!(complaint(r#"{"parameters":{"triton_x":1}}"#, &one_input()).contains("reserved"));
    for value in ["null", "[1]", "{}", "NaN"] {
        let text = complaint(&input(&format!(r#"{{"a":{value}}}"#)), &one_input());
        assert!(text.contains("at byte 30"), "{text}");
    }
}

#[test]
fn deep_nesting_is_refused() {
    let data = "[".repeat(100_000);
    let text = complaint(&with_data(DataType::Fp32, "[1,3]", &data), &one_input());
    assert!(text.contains("deeper than the limit of 32 levels"), "{text}");
}

#[test]
fn several_inputs_come_out_in_the_models_order() {
    let signature = signature(vec![spec("a", DataType::Int64, &[-1]), spec("b", DataType::Bytes, &[-1])]);
    let body = r#"{"inputs":[{"name":"b","shape":[2],"datatype":"BYTES","data":["\u0041","B"]},
        {"name":"a","shape":[2],"datatype":"INT64","data":[7,-7]}]}"#;
    let strings: ByteStrings = ["A", "B"].into_iter().collect();
    assert_eq!(
        read(body, &signature).unwrap().inputs,
        [tensor(&[2], TensorData::Int64(vec![7, -7])), tensor(&[2], TensorData::Bytes(strings))]
    );
    let text = complaint(r#"{"inputs":[{"name":"b","shape":[0],"datatype":"BYTES","data":[]}]}"#, &signature);
    assert_eq!(text, "input \"a\" is missing; the model expects \"a\" INT64 [-1], \"b\" BYTES [-1]");
}

#[test]
fn an_answer_is_written_flat_with_null_for_what_is_no_number() {
    let label = tensor(&[2], TensorData::Int64(vec![0, -1]));
    let floats = tensor(&[2, 2], TensorData::Fp32(vec![0.1, 1.0, f32::NAN, f32::NEG_INFINITY]));
    let mut out = b"kept".to_vec();
    let head = AnswerHead { id: Some("a\"b"), ..head() };
    encode_infer(&mut out, &head, [("label", &label), ("p", &floats)]).unwrap();
    assert_eq!(
        String::from_utf8(out).unwrap(),
        concat!(
            r#"kept{"id":"a\"b","model_name":"m","model_version":"3","outputs":["#,
            r#"{"name":"label","datatype":"INT64","shape":[2],"data":[0,-1]},"#,
            r#"{"name":"p","datatype":"FP32","shape":[2,2],"data":[0.1,1.0,null,null]}]}"#
        )
    );
}

#[test]
fn an_answer_that_json_cannot_carry_leaves_the_buffer_alone() {
    let strings: ByteStrings = [&b"a"[..], b"\xff"].into_iter().collect();
    let half = TensorData::Fp16(vec![half::f16::ONE]);
    for (output, expected) in [
        (tensor(&[2], TensorData::Bytes(strings)), "output \"y\": value 1 is not UTF-8, so JSON cannot carry it"),
        (tensor(&[1], half), "output \"y\": datatype FP16 is not available through JSON"),
    ] {
        let mut out = b"kept".to_vec();
        let error = encode_infer(&mut out, &head(), [("y", &output)]).unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert_eq!(out, b"kept");
    }
}

#[test]
fn an_answer_without_outputs_is_an_empty_list() {
    let mut out = Vec::new();
    encode_infer(&mut out, &head(), std::iter::empty::<(&str, &Tensor)>()).unwrap();
    assert_eq!(out, br#"{"model_name":"m","model_version":"3","outputs":[]}"#);
}

#[test]
fn metadata_bodies_are_what_clients_read() {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    assert_eq!(text(encode_server_metadata("0.1.0")), r#"{"name":"tidegate","version":"0.1.0","extensions":[]}"#);
    assert_eq!(
        text(encode_model_metadata("m", &["1", "3"], "onnx_tract", &one_input())),
        concat!(
            r#"{"name":"m","versions":["1","3"],"platform":"onnx_tract","#,
            r#""inputs":[{"name":"x","datatype":"FP32","shape":[-1,3]}],"outputs":["#,
            r#"{"name":"label","datatype":"INT64","shape":[-1]},"#,
            r#"{"name":"probabilities","datatype":"FP32","shape":[-1,2]}]}"#
        )
    );
    assert_eq!(text(encode_model_list(&["a", "b"])), r#"{"models":["a","b"]}"#);
    assert_eq!(text(encode_live(true)), r#"{"live":true}"#);
    assert_eq!(text(encode_ready(false)), r#"{"ready":false}"#);
    assert_eq!(text(encode_model_ready("m", true)), r#"{"name":"m","ready":true}"#);
    assert_eq!(text(encode_error("a \"b\"\n")), r#"{"error":"a \"b\"\n"}"#);
}

#[test]
fn errors_of_the_signature_keep_their_type() {
    let error = read(r#"{"inputs":[]}"#, &one_input()).unwrap_err();
    assert!(matches!(error, ProtocolError::Tensor(source) if matches!(*source, TensorError::MissingInput { .. })));
}
