//! Signatures against tensors that fit and tensors that do not.

use super::*;

fn spec(name: &str, datatype: DataType, shape: Vec<Dimension>) -> TensorSpec {
    TensorSpec { name: name.into(), datatype, shape }
}

fn floats(shape: &[usize]) -> Tensor {
    let shape = Shape::try_new(shape).unwrap();
    Tensor::try_new(shape, TensorData::Fp32(vec![0.0; shape.element_count().unwrap()])).unwrap()
}

fn free(symbol: &str) -> Dimension {
    Dimension::Free(symbol.into())
}

#[test]
fn a_scalar_has_one_element_and_an_empty_dimension_has_none() {
    assert_eq!(Shape::default().element_count(), Ok(1));
    assert_eq!(Shape::matrix(0, 30).element_count(), Ok(0));
}

#[test]
fn a_ninth_dimension_is_refused() {
    assert_eq!(Shape::try_new(&[1; 9]), Err(TensorError::RankOverLimit { rank: 9 }));
}

#[test]
fn a_product_that_overflows_is_refused() {
    let shape = Shape::try_new(&[usize::MAX, 2]).unwrap();
    assert!(matches!(shape.element_count(), Err(TensorError::TooManyElements { .. })));
}

#[test]
fn a_tensor_needs_as_many_values_as_its_shape_says() {
    let error = Tensor::try_new(Shape::matrix(2, 3), TensorData::Fp32(vec![0.0; 5])).unwrap_err();
    assert_eq!(error.to_string(), "shape [2, 3] needs 6 values, 5 came");
}

#[test]
fn datatype_names_are_read_back_and_case_matters() {
    for name in [
        "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "BF16", "FP32",
        "FP64", "BYTES",
    ] {
        assert_eq!(name.parse::<DataType>().unwrap().name(), name);
    }
    assert!("fp32".parse::<DataType>().is_err());
}

#[test]
fn byte_strings_keep_empty_strings_and_order() {
    let strings: ByteStrings = ["", "a", "", "bcd"].into_iter().collect();
    let back: Vec<&[u8]> = strings.iter().collect();
    assert_eq!(back, [&b""[..], b"a", b"", b"bcd"]);
    assert_eq!(strings.get(4), None);
}

#[test]
fn a_signature_names_what_differs() {
    let signature = Signature {
        inputs: vec![spec("x", DataType::Fp32, vec![free("N"), Dimension::Fixed(3)])],
        outputs: Vec::new(),
    };
    assert_eq!(signature.check(&[floats(&[5, 3])]), Ok(()));
    assert_eq!(
        signature.check(&[floats(&[5, 4])]).unwrap_err().to_string(),
        "input \"x\" has shape [5, 4], the model expects [-1, 3]"
    );
    assert_eq!(
        signature.check(&[]).unwrap_err().to_string(),
        "input \"x\" is missing; the model expects \"x\" FP32 [-1, 3]"
    );
}

#[test]
fn inputs_that_share_a_named_dimension_must_agree() {
    let signature = Signature {
        inputs: vec![spec("a", DataType::Fp32, vec![free("N")]), spec("b", DataType::Fp32, vec![free("N")])],
        outputs: Vec::new(),
    };
    assert_eq!(signature.check(&[floats(&[2]), floats(&[2])]), Ok(()));
    assert!(matches!(
        signature.check(&[floats(&[2]), floats(&[3])]),
        Err(TensorError::DimensionConflict { first: 2, second: 3, .. })
    ));
}

#[test]
fn unnamed_rows_must_agree_and_the_error_names_both_inputs() {
    let column = |name: &str, symbol: &str| spec(name, DataType::Fp32, vec![free(symbol), free("")]);
    let signature = |symbols: [&str; 2]| Signature {
        inputs: vec![
            spec("scale", DataType::Fp32, vec![Dimension::Fixed(4)]),
            column("age", symbols[0]),
            column("price", symbols[1]),
        ],
        outputs: Vec::new(),
    };
    let tensors = |first: usize, second: usize| [floats(&[4]), floats(&[first, 1]), floats(&[second, 7])];
    for symbols in [["", ""], ["N", ""], ["", "N"]] {
        assert_eq!(signature(symbols).check(&tensors(2, 2)), Ok(()), "{symbols:?}");
        let error = signature(symbols).check(&tensors(2, 3)).unwrap_err();
        assert_eq!(error.to_string(), "inputs disagree on rows: \"age\" has 2 and \"price\" has 3");
    }
    assert_eq!(signature(["queries", "documents"]).check(&tensors(2, 3)), Ok(()));
}

#[test]
fn the_rows_of_a_request_are_those_of_its_free_outermost_dimension() {
    let table = spec("table", DataType::Fp32, vec![free("N"), Dimension::Fixed(2)]);
    let fixed = spec("fixed", DataType::Fp32, vec![Dimension::Fixed(9)]);
    let rows = |inputs: &[TensorSpec], tensors: &[Tensor]| {
        Signature { inputs: inputs.to_vec(), outputs: Vec::new() }.rows(tensors)
    };
    assert_eq!(rows(&[], &[]), 1);
    assert_eq!(rows(std::slice::from_ref(&fixed), &[floats(&[9])]), 1);
    assert_eq!(rows(&[fixed, table.clone()], &[floats(&[9]), floats(&[5, 2])]), 5);
    assert_eq!(rows(&[table], &[floats(&[0, 2])]), 0);
}

#[test]
fn outputs_are_held_to_number_type_shape_and_the_rows_of_the_inputs() {
    let signature = Signature {
        inputs: vec![spec("x", DataType::Fp32, vec![free("N"), Dimension::Fixed(2)])],
        outputs: vec![
            spec("scores", DataType::Fp32, vec![free("N"), Dimension::Fixed(3)]),
            spec("any", DataType::Fp32, vec![free("M")]),
        ],
    };
    let inputs = [floats(&[4, 2])];
    let gives = |outputs: &[Tensor]| signature.gives(&inputs, outputs);
    assert!(gives(&[floats(&[4, 3]), floats(&[9])]), "a name that no input has agrees with anything");
    assert!(!gives(&[floats(&[5, 3]), floats(&[9])]), "rows");
    assert!(!gives(&[floats(&[4, 2]), floats(&[9])]), "width");
    assert!(!gives(&[floats(&[4, 3, 1]), floats(&[9])]), "rank");
    assert!(!gives(&[floats(&[4, 3])]) && !gives(&[]), "number");
    let labels = Tensor::try_new(Shape::vector(9), TensorData::Int64(vec![0; 9])).unwrap();
    assert!(!gives(&[floats(&[4, 3]), labels]), "type");
    assert!(Signature::default().gives(&[], &[]));
}
