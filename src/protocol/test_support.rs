//! Signatures and tensors that several tests of this room use.

use crate::tensor::{ByteStrings, DataType, Dimension, Shape, Signature, Tensor, TensorData, TensorSpec};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// Datatypes that JSON carries.
pub(super) const JSON_DATATYPES: [DataType; 12] = [
    DataType::Bool,
    DataType::Uint8,
    DataType::Uint16,
    DataType::Uint32,
    DataType::Uint64,
    DataType::Int8,
    DataType::Int16,
    DataType::Int32,
    DataType::Int64,
    DataType::Fp32,
    DataType::Fp64,
    DataType::Bytes,
];

/// The same cases in every run; a failing one is printed, not stored.
pub(super) fn seeded(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, rng_seed: RngSeed::Fixed(20), failure_persistence: None, ..ProptestConfig::default() }
}

pub(super) fn spec(name: &str, datatype: DataType, shape: &[i64]) -> TensorSpec {
    let dimension = |&size: &i64| usize::try_from(size).map_or(Dimension::Free(String::new()), Dimension::Fixed);
    TensorSpec { name: name.to_owned(), datatype, shape: shape.iter().map(dimension).collect() }
}

pub(super) fn signature(inputs: Vec<TensorSpec>) -> Signature {
    let outputs = vec![spec("label", DataType::Int64, &[-1]), spec("probabilities", DataType::Fp32, &[-1, 2])];
    Signature { inputs, outputs }
}

pub(super) fn tensor(shape: &[usize], data: TensorData) -> Tensor {
    Tensor::try_new(Shape::try_new(shape).unwrap(), data).unwrap()
}

/// Values of `datatype`, the special ones among them; NaN for floats, never infinite.
pub(super) fn any_data(datatype: DataType, count: usize) -> BoxedStrategy<TensorData> {
    use proptest::collection::vec;
    match datatype {
        DataType::Bool => vec(any::<bool>(), count).prop_map(TensorData::Bool).boxed(),
        DataType::Uint8 => vec(any::<u8>(), count).prop_map(TensorData::Uint8).boxed(),
        DataType::Uint16 => vec(any::<u16>(), count).prop_map(TensorData::Uint16).boxed(),
        DataType::Uint32 => vec(any::<u32>(), count).prop_map(TensorData::Uint32).boxed(),
        DataType::Uint64 => vec(any::<u64>(), count).prop_map(TensorData::Uint64).boxed(),
        DataType::Int8 => vec(any::<i8>(), count).prop_map(TensorData::Int8).boxed(),
        DataType::Int16 => vec(any::<i16>(), count).prop_map(TensorData::Int16).boxed(),
        DataType::Int32 => vec(any::<i32>(), count).prop_map(TensorData::Int32).boxed(),
        DataType::Int64 => vec(any::<i64>(), count).prop_map(TensorData::Int64).boxed(),
        DataType::Fp32 => {
            let values = any::<u32>().prop_map(f32::from_bits);
            let values = values.prop_map(|value| if value.is_infinite() { 0.0 } else { value });
            vec(values, count).prop_map(TensorData::Fp32).boxed()
        }
        DataType::Fp64 => {
            let values = any::<u64>().prop_map(f64::from_bits);
            let values = values.prop_map(|value| if value.is_infinite() { 0.0 } else { value });
            vec(values, count).prop_map(TensorData::Fp64).boxed()
        }
        DataType::Bytes => {
            vec(any::<String>(), count).prop_map(|texts| TensorData::Bytes(ByteStrings::from_iter(texts))).boxed()
        }
        DataType::Fp16 | DataType::Bf16 => unreachable!("JSON does not carry {datatype}"),
    }
}

/// Whether the tensors are the same, bit for bit, except that any NaN is any other.
pub(super) fn same(left: &Tensor, right: &Tensor) -> bool {
    let same_data = match (left.data(), right.data()) {
        (TensorData::Fp32(left), TensorData::Fp32(right)) => {
            left.iter().zip(right).all(|(l, r)| l.to_bits() == r.to_bits() || (l.is_nan() && r.is_nan()))
        }
        (TensorData::Fp64(left), TensorData::Fp64(right)) => {
            left.iter().zip(right).all(|(l, r)| l.to_bits() == r.to_bits() || (l.is_nan() && r.is_nan()))
        }
        (left, right) => left == right,
    };
    left.shape() == right.shape() && left.datatype() == right.datatype() && same_data
}
