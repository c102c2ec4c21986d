//! V1 bodies to tensors and back, and what is refused on the way.

use super::super::test_support::{JSON_DATATYPES, any_data, same, seeded, signature, spec, tensor};
use super::super::{AnswerHead, ProtocolError};
use super::*;
use crate::error::{Blamed, Fault};
use crate::tensor::{ByteStrings, DataType, Shape, Signature, Tensor, TensorData};
use proptest::prelude::*;

const HEAD: AnswerHead<'static> = AnswerHead { id: None, model_name: "m", model_version: "3" };

fn one_input() -> Signature {
    signature(vec![spec("x", DataType::Fp32, &[-1, 3])])
}

fn two_inputs() -> Signature {
    signature(vec![spec("a", DataType::Int64, &[-1]), spec("b", DataType::Fp32, &[-1, 2])])
}

fn read(body: &str, signature: &Signature) -> Result<Vec<Tensor>, ProtocolError> {
    decode_predict(body.as_bytes(), signature)
}

fn complaint(body: &str, signature: &Signature) -> String {
    let error = read(body, signature).unwrap_err();
    assert_eq!(error.fault(), Fault::InvalidRequest);
    error.to_string()
}

fn write(outputs: &[(&str, &Tensor)]) -> String {
    let mut out = Vec::new();
    encode_predict(&mut out, &HEAD, outputs.iter().copied()).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn a_body_without_instances_says_so() {
    assert_eq!(complaint("{}", &one_input()), "the request lacks the key \"instances\"");
    assert!(complaint("", &one_input()).starts_with("expected an object at byte 0"));
    assert!(complaint(r#"{"instances":1}"#, &one_input()).starts_with("expected a list of instances"));
    assert!(complaint(r#"{"inputs":{"x":[[1,2,3]]}}"#, &one_input()).contains("send rows as {\"instances\": […]}"));
    assert!(complaint(r#"{"instances":[],"instances":[]}"#, &one_input()).contains("came twice"));
    assert!(complaint(r#"{"instances":[]}]"#, &one_input()).starts_with("expected the end of the text"));
}

#[test]
fn no_instances_are_no_rows() {
    assert_eq!(read(r#"{"instances":[]}"#, &one_input()).unwrap(), [tensor(&[0, 3], TensorData::Fp32(vec![]))]);
}

#[test]
fn a_row_may_be_bare_or_keyed_by_the_inputs_name() {
    let expected = [tensor(&[2, 3], TensorData::Fp32(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]))];
    for body in [
        r#"{"instances":[[1,2,3],[4,5,6]]}"#,
        r#"{"signature_name":"serving_default","instances":[{"x":[1,2,3]},{"x":[4,5,6]}]}"#,
        r#"{"instances":[[1,2,3],{"x":[4,5,6]}]}"#,
    ] {
        assert_eq!(read(body, &one_input()).unwrap(), expected);
    }
}

#[test]
fn a_row_of_one_value_may_be_without_brackets() {
    let column = signature(vec![spec("x", DataType::Fp32, &[-1, 1])]);
    let expected = [tensor(&[2, 1], TensorData::Fp32(vec![1.0, 2.0]))];
    assert_eq!(read(r#"{"instances":[1,2]}"#, &column).unwrap(), expected);
    assert_eq!(read(r#"{"instances":[[1],2]}"#, &column).unwrap(), expected);
    let vector = signature(vec![spec("x", DataType::Bytes, &[-1])]);
    let strings: ByteStrings = ["a", ""].into_iter().collect();
    let expected = [tensor(&[2], TensorData::Bytes(strings))];
    assert_eq!(read(r#"{"instances":["a",""]}"#, &vector).unwrap(), expected);
    assert!(complaint(r#"{"instances":[["a"]]}"#, &vector).contains("expected a string"));
}

#[test]
fn a_row_of_the_wrong_length_is_named_by_its_index() {
    assert_eq!(
        complaint(r#"{"instances":[[1,2,3],[4,5]]}"#, &one_input()),
        "instance 1: input \"x\": expected a list of 3, found one of 2"
    );
    assert_eq!(
        complaint(r#"{"instances":[[1,2,3,4]]}"#, &one_input()),
        "instance 0: input \"x\": expected a list of 3, found one of 4"
    );
    assert!(complaint(r#"{"instances":[[]]}"#, &one_input()).ends_with("expected a list of 3, found one of 0"));
    assert!(complaint(r#"{"instances":[5]}"#, &one_input()).contains("expected a list of values at byte 14, found 5"));
    assert!(complaint(r#"{"instances":[[[1,2,3]]]}"#, &one_input()).contains("found a list"));
}

#[test]
fn free_inner_dimensions_are_settled_by_the_first_row() {
    let free = signature(vec![spec("x", DataType::Int32, &[-1, -1, 2])]);
    let rows = read(r#"{"instances":[[[1,2],[3,4]],[[5,6],[7,8]]]}"#, &free).unwrap();
    assert_eq!(rows, [tensor(&[2, 2, 2], TensorData::Int32((1..=8).collect()))]);
    let text = complaint(r#"{"instances":[[[1,2],[3,4]],[[5,6]]]}"#, &free);
    assert_eq!(text, "instance 1: input \"x\": expected a list of 2, found one of 1");
}

#[test]
fn several_inputs_need_objects_with_every_input_once() {
    let rows = read(r#"{"instances":[{"b":[1,2],"a":7},{"a":8,"b":[3,4]}]}"#, &two_inputs()).unwrap();
    assert_eq!(
        rows,
        [tensor(&[2], TensorData::Int64(vec![7, 8])), tensor(&[2, 2], TensorData::Fp32(vec![1.0, 2.0, 3.0, 4.0]))]
    );
    let at = |instances: &str| complaint(&format!(r#"{{"instances":[{instances}]}}"#), &two_inputs());
    assert_eq!(at("[1]"), "instance 0: expected an object keyed by input name at byte 14, found a list");
    assert!(at(r#"{"a":1,"b":[1,2]},{"a":1}"#).starts_with("instance 1: input \"b\" is missing"));
    assert!(at(r#"{"a":1,"a":1}"#).starts_with("instance 0: input \"a\" came twice"));
    assert!(at(r#"{"a":1,"c":1}"#).starts_with("instance 0: unknown input \"c\""));
    assert!(at(r#"{"a":1.5}"#).starts_with("instance 0: input \"a\": INT64 takes whole numbers"));
}

#[test]
fn models_that_take_no_rows_are_refused_with_the_reason() {
    let fixed = signature(vec![spec("x", DataType::Fp32, &[1, 3])]);
    assert!(complaint(r#"{"instances":[[1,2,3]]}"#, &fixed).contains("fixed shape [1, 3]"));
    let scalar = signature(vec![spec("x", DataType::Fp32, &[])]);
    assert!(complaint(r#"{"instances":[1]}"#, &scalar).contains("fixed shape []"));
    let half = signature(vec![spec("x", DataType::Fp16, &[-1])]);
    assert!(complaint(r#"{"instances":[1]}"#, &half).ends_with("datatype FP16 is not available through JSON"));
}

#[test]
fn one_output_is_a_list_of_its_rows() {
    let labels = tensor(&[2], TensorData::Int64(vec![4, 5]));
    assert_eq!(write(&[("y", &labels)]), r#"{"predictions":[4,5],"model_name":"m","model_version":"3"}"#);
    let column = tensor(&[2, 1], TensorData::Fp32(vec![0.5, f32::NAN]));
    assert!(write(&[("y", &column)]).starts_with(r#"{"predictions":[[0.5],[null]],"#));
    let cube = tensor(&[1, 2, 2], TensorData::Bool(vec![true, false, false, true]));
    assert!(write(&[("y", &cube)]).starts_with(r#"{"predictions":[[[true,false],[false,true]]],"#));
    let none = tensor(&[0, 3], TensorData::Fp32(Vec::new()));
    assert!(write(&[("y", &none)]).starts_with(r#"{"predictions":[],"#));
    assert!(write(&[]).starts_with(r#"{"predictions":[],"#));
}

#[test]
fn several_outputs_are_objects() {
    let labels = tensor(&[2], TensorData::Bytes(["a", "b"].into_iter().collect()));
    let floats = tensor(&[2, 2], TensorData::Fp64(vec![0.25, 0.75, 1.0, 0.0]));
    assert!(
        write(&[("label", &labels), ("p", &floats)])
            .starts_with(r#"{"predictions":[{"label":"a","p":[0.25,0.75]},{"label":"b","p":[1.0,0.0]}],"#)
    );
}

#[test]
fn outputs_that_are_not_rows_leave_the_buffer_alone() {
    let labels = tensor(&[2], TensorData::Int64(vec![4, 5]));
    let scalar = tensor(&[], TensorData::Fp32(vec![0.5]));
    let longer = tensor(&[3], TensorData::Int64(vec![1, 2, 3]));
    for output in [&scalar, &longer] {
        let mut out = b"kept".to_vec();
        let error = encode_predict(&mut out, &HEAD, [("a", &labels), ("b", output)]).unwrap_err();
        assert!(error.to_string().starts_with("output \"b\": the v1 protocol answers in rows"), "{error}");
        assert_eq!(out, b"kept");
    }
}

proptest! {
    #![proptest_config(seeded(256))]

    #[test]
    fn predictions_sent_back_as_instances_are_the_same_tensor(
        (shape, data) in (proptest::collection::vec(0_usize..4, 1..4), 0..JSON_DATATYPES.len())
            .prop_flat_map(|(dimensions, datatype)| {
                let shape = Shape::try_new(&dimensions).unwrap();
                (Just(dimensions), any_data(JSON_DATATYPES[datatype], shape.element_count().unwrap()))
            })
    ) {
        let expected = tensor(&shape, data);
        let mut declared: Vec<i64> = shape.iter().map(|&size| i64::try_from(size).unwrap()).collect();
        declared[0] = -1;
        let body = write(&[("x", &expected)]).replacen("\"predictions\"", "\"instances\"", 1);
        let found = read(&body, &signature(vec![spec("x", expected.datatype(), &declared)])).unwrap();
        prop_assert!(same(&found[0], &expected), "{:?} {:?}", found, expected);
    }

    #[test]
    fn damaged_requests_never_panic(
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..5)
    ) {
        let mut bytes = br#"{"instances":[{"b":[1.5,-2e1],"a":7},{"a":8,"b":[null,4]}]}"#.to_vec();
        for (index, byte) in damage {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(inputs) = decode_predict(&bytes, &two_inputs()) {
            prop_assert_eq!(two_inputs().check(&inputs), Ok(()));
        }
    }
}
