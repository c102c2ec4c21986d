//! Bodies of the Open Inference Protocol on generated tensors: what is written reads back.

use super::super::test_support::{JSON_DATATYPES, any_data, same, seeded, spec};
use super::super::{AnswerHead, encode_error};
use super::*;
use crate::tensor::{DataType, Shape, Signature, Tensor};
use proptest::prelude::*;

fn any_tensor() -> impl Strategy<Value = Tensor> {
    let shape = proptest::collection::vec(0_usize..5, 0..4);
    (shape, 0..JSON_DATATYPES.len()).prop_flat_map(|(dimensions, datatype)| {
        let shape = Shape::try_new(&dimensions).unwrap();
        let data = any_data(JSON_DATATYPES[datatype], shape.element_count().unwrap());
        data.prop_map(move |data| Tensor::try_new(shape, data).unwrap())
    })
}

/// An answer is a request, once its outputs are called inputs.
fn as_request(tensors: &[(String, Tensor)]) -> Vec<u8> {
    let head = AnswerHead { id: Some("7"), model_name: "m", model_version: "1" };
    let mut out = Vec::new();
    encode_infer(&mut out, &head, tensors.iter().map(|(name, tensor)| (name.as_str(), tensor))).unwrap();
    String::from_utf8(out).unwrap().replacen("\"outputs\":", "\"inputs\":", 1).into_bytes()
}

fn accepting(tensors: &[(String, Tensor)]) -> Signature {
    // The outermost dimension is fixed, as free ones of several inputs must agree.
    let shape = |tensor: &Tensor| -> Vec<i64> {
        let shape = tensor.shape();
        let sizes = shape.dimensions().iter().enumerate();
        sizes.map(|(axis, &size)| if axis == 0 { i64::try_from(size).unwrap() } else { -1 }).collect()
    };
    let inputs = tensors.iter().map(|(name, tensor)| spec(name, tensor.datatype(), &shape(tensor))).collect();
    Signature { inputs, outputs: Vec::new() }
}

fn named(tensors: Vec<Tensor>) -> Vec<(String, Tensor)> {
    tensors.into_iter().enumerate().map(|(index, tensor)| (format!("in \"{index}\""), tensor)).collect()
}

proptest! {
    #![proptest_config(seeded(256))]

    #[test]
    fn decoding_what_was_encoded_gives_the_same_tensors(
        tensors in proptest::collection::vec(any_tensor(), 0..4).prop_map(named)
    ) {
        let request = decode_infer(&as_request(&tensors), &accepting(&tensors)).unwrap();
        prop_assert_eq!(request.id.as_deref(), Some("7"));
        prop_assert_eq!(request.inputs.len(), tensors.len());
        for (found, (_, expected)) in request.inputs.iter().zip(&tensors) {
            prop_assert!(same(found, expected), "{:?} {:?}", found, expected);
        }
    }

    #[test]
    fn inputs_come_out_in_the_models_order_whatever_order_they_came_in(
        tensors in proptest::collection::vec(any_tensor(), 1..5).prop_map(named), turn in 0_usize..5,
    ) {
        let signature = accepting(&tensors);
        let mut turned = tensors.clone();
        turned.rotate_left(turn % tensors.len());
        let request = decode_infer(&as_request(&turned), &signature).unwrap();
        for (found, (_, expected)) in request.inputs.iter().zip(&tensors) {
            prop_assert!(same(found, expected));
        }
    }

    #[test]
    fn answers_are_json(tensors in proptest::collection::vec(any_tensor(), 0..3).prop_map(named), text: String) {
        let value: serde_json::Value = serde_json::from_slice(&as_request(&tensors)).unwrap();
        prop_assert_eq!(value["inputs"].as_array().unwrap().len(), tensors.len());
        let error: serde_json::Value = serde_json::from_slice(&encode_error(&text)).unwrap();
        prop_assert_eq!(error["error"].as_str(), Some(text.as_str()));
    }

    #[test]
    fn damaged_requests_never_panic(
        tensors in proptest::collection::vec(any_tensor(), 1..3).prop_map(named),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let signature = accepting(&tensors);
        let mut bytes = as_request(&tensors);
        for (index, byte) in damage {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(request) = decode_infer(&bytes, &signature) {
            prop_assert_eq!(signature.check(&request.inputs), Ok(()));
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        let signature = Signature { inputs: vec![spec("x", DataType::Fp32, &[-1, 2])], outputs: Vec::new() };
        prop_assert!(decode_infer(&bytes, &signature).is_err());
    }
}
