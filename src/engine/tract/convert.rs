//! Values to tract's tensors and back.
//!
//! tract's own conversions go through `ndarray`; going from slice to slice copies each value once and allocates once.
//!
//! Invariant: bits are kept. Nothing is rounded, cast or reordered, strings excepted: they must be UTF-8.

use super::ENGINE;
use crate::engine::EngineError;
use crate::tensor::{ByteStrings, DataType, Shape, Tensor, TensorData};
use tract_onnx::prelude::{Datum, DatumType, Tensor as TractTensor, TractResult, tensor1};

/// tract's name for a datatype, if it has it.
pub(super) fn datum_type(datatype: DataType) -> Option<DatumType> {
    Some(match datatype {
        DataType::Bool => DatumType::Bool,
        DataType::Uint8 => DatumType::U8,
        DataType::Uint16 => DatumType::U16,
        DataType::Uint32 => DatumType::U32,
        DataType::Uint64 => DatumType::U64,
        DataType::Int8 => DatumType::I8,
        DataType::Int16 => DatumType::I16,
        DataType::Int32 => DatumType::I32,
        DataType::Int64 => DatumType::I64,
        DataType::Fp16 => DatumType::F16,
        DataType::Fp32 => DatumType::F32,
        DataType::Fp64 => DatumType::F64,
        DataType::Bytes => DatumType::String,
        DataType::Bf16 => return None,
    })
}

/// The input at `index` as tract wants it.
pub(super) fn to_tract(index: usize, input: &Tensor) -> Result<TractTensor, EngineError> {
    let shape = input.shape();
    let shape = shape.dimensions();
    let converted = match input.data() {
        TensorData::Bool(values) => TractTensor::from_shape(shape, values),
        TensorData::Uint8(values) => TractTensor::from_shape(shape, values),
        TensorData::Uint16(values) => TractTensor::from_shape(shape, values),
        TensorData::Uint32(values) => TractTensor::from_shape(shape, values),
        TensorData::Uint64(values) => TractTensor::from_shape(shape, values),
        TensorData::Int8(values) => TractTensor::from_shape(shape, values),
        TensorData::Int16(values) => TractTensor::from_shape(shape, values),
        TensorData::Int32(values) => TractTensor::from_shape(shape, values),
        TensorData::Int64(values) => TractTensor::from_shape(shape, values),
        TensorData::Fp16(values) => TractTensor::from_shape(shape, values),
        TensorData::Fp32(values) => TractTensor::from_shape(shape, values),
        TensorData::Fp64(values) => TractTensor::from_shape(shape, values),
        TensorData::Bytes(values) => return strings_to_tract(index, shape, values),
        TensorData::Bf16(_) => return Err(failed("there is no datatype BF16")),
    };
    converted.map_err(|error| failed(&format!("{error:#}")))
}

/// An output that is declared to be of `datatype`.
pub(super) fn from_tract(output: &TractTensor, datatype: DataType) -> Result<Tensor, EngineError> {
    let shape = Shape::try_new(output.shape()).map_err(|error| failed(&error.to_string()))?;
    let data = values(output, datatype).map_err(|error| failed(&format!("{error:#}")))?;
    Tensor::try_new(shape, data).map_err(|error| failed(&error.to_string()))
}

fn strings_to_tract(index: usize, shape: &[usize], values: &ByteStrings) -> Result<TractTensor, EngineError> {
    let texts = values.iter().map(|bytes| {
        let text = std::str::from_utf8(bytes).ok().filter(|text| !text.contains('\0'));
        text.map(str::to_owned).ok_or(EngineError::NotText { index })
    });
    let mut tensor = tensor1(&texts.collect::<Result<Vec<String>, _>>()?);
    tensor.set_shape(shape).map_err(|error| failed(&format!("{error:#}")))?;
    Ok(tensor)
}

fn values(output: &TractTensor, datatype: DataType) -> TractResult<TensorData> {
    Ok(match datatype {
        DataType::Bool => TensorData::Bool(slice(output)?),
        DataType::Uint8 => TensorData::Uint8(slice(output)?),
        DataType::Uint16 => TensorData::Uint16(slice(output)?),
        DataType::Uint32 => TensorData::Uint32(slice(output)?),
        DataType::Uint64 => TensorData::Uint64(slice(output)?),
        DataType::Int8 => TensorData::Int8(slice(output)?),
        DataType::Int16 => TensorData::Int16(slice(output)?),
        DataType::Int32 => TensorData::Int32(slice(output)?),
        DataType::Int64 => TensorData::Int64(slice(output)?),
        DataType::Fp16 => TensorData::Fp16(slice(output)?),
        DataType::Fp32 => TensorData::Fp32(slice(output)?),
        DataType::Fp64 => TensorData::Fp64(slice(output)?),
        DataType::Bytes => {
            TensorData::Bytes(output.try_as_plain_ram()?.as_slice::<String>()?.iter().map(String::as_bytes).collect())
        }
        DataType::Bf16 => return Err(tract_onnx::prelude::tract_data::TractError::msg("there is no datatype BF16")),
    })
}

fn slice<T: Datum + Copy>(output: &TractTensor) -> TractResult<Vec<T>> {
    Ok(output.try_as_plain_ram()?.as_slice::<T>()?.to_vec())
}

fn failed(reason: &str) -> EngineError {
    EngineError::RunFailed { engine: ENGINE, reason: reason.to_owned() }
}
