//! Values to ONNX Runtime's and back.
//!
//! Inputs are lent, not given: the value borrows the tensor's slice for as long as the run takes.
//!
//! Invariant: bits are kept. Nothing is rounded, cast or reordered, strings excepted: they must be UTF-8 without NUL.

use super::{ENGINE, run_failed};
use crate::engine::EngineError;
use crate::tensor::{ByteStrings, Shape, Tensor, TensorData};
use ort::session::SessionInputValue;

use ort::value::{
    DynValue, PrimitiveTensorElementType, Shape as OrtShape, Tensor as OrtTensor, TensorElementType, TensorRef,
};
use std::fmt::Debug;

/// The input at `index` as a session takes it, borrowing its values.
pub(super) fn to_session(index: usize, input: &Tensor) -> Result<SessionInputValue<'_>, EngineError> {
    let shape = input.shape();
    match input.data() {
        TensorData::Bool(values) => lend(shape, values),
        TensorData::Uint8(values) => lend(shape, values),
        TensorData::Uint16(values) => lend(shape, values),
        TensorData::Uint32(values) => lend(shape, values),
        TensorData::Uint64(values) => lend(shape, values),
        TensorData::Int8(values) => lend(shape, values),
        TensorData::Int16(values) => lend(shape, values),
        TensorData::Int32(values) => lend(shape, values),
        TensorData::Int64(values) => lend(shape, values),
        TensorData::Fp16(values) => lend(shape, values),
        TensorData::Bf16(values) => lend(shape, values),
        TensorData::Fp32(values) => lend(shape, values),
        TensorData::Fp64(values) => lend(shape, values),
        TensorData::Bytes(values) => give_strings(index, shape, values),
    }
}

/// An output that a session gave.
pub(super) fn from_session(output: &DynValue) -> Result<Tensor, EngineError> {
    match output.dtype().tensor_type() {
        Some(TensorElementType::Bool) => take(output, TensorData::Bool),
        Some(TensorElementType::Uint8) => take(output, TensorData::Uint8),
        Some(TensorElementType::Uint16) => take(output, TensorData::Uint16),
        Some(TensorElementType::Uint32) => take(output, TensorData::Uint32),
        Some(TensorElementType::Uint64) => take(output, TensorData::Uint64),
        Some(TensorElementType::Int8) => take(output, TensorData::Int8),
        Some(TensorElementType::Int16) => take(output, TensorData::Int16),
        Some(TensorElementType::Int32) => take(output, TensorData::Int32),
        Some(TensorElementType::Int64) => take(output, TensorData::Int64),
        Some(TensorElementType::Float16) => take(output, TensorData::Fp16),
        Some(TensorElementType::Bfloat16) => take(output, TensorData::Bf16),
        Some(TensorElementType::Float32) => take(output, TensorData::Fp32),
        Some(TensorElementType::Float64) => take(output, TensorData::Fp64),
        Some(TensorElementType::String) => take_strings(output),
        other => Err(failed(format!("an output is of type {other:?}"))),
    }
}

fn lend<T>(shape: Shape, values: &[T]) -> Result<SessionInputValue<'_>, EngineError>
where
    T: PrimitiveTensorElementType + Debug + Clone + 'static,
{
    let value = TensorRef::from_array_view((dimensions(shape), values)).map_err(|error| run_failed(&error))?;
    Ok(value.into())
}

/// Strings are copied twice: `ort` takes only owned ones, and the session makes objects of its own from those.
fn give_strings<'v>(index: usize, shape: Shape, values: &ByteStrings) -> Result<SessionInputValue<'v>, EngineError> {
    let texts = values.iter().map(|bytes| {
        let text = std::str::from_utf8(bytes).ok().filter(|text| !text.contains('\0'));
        text.map(str::to_owned).ok_or(EngineError::NotText { index })
    });
    let texts = texts.collect::<Result<Vec<String>, _>>()?;
    let value = OrtTensor::from_string_array((dimensions(shape), &texts[..])).map_err(|error| run_failed(&error))?;
    Ok(value.into())
}

/// The dimensions inline, as `ort` keeps them. One that did not fit would not agree with the number of values.
fn dimensions(shape: Shape) -> OrtShape {
    shape.dimensions().iter().map(|&dimension| i64::try_from(dimension).unwrap_or(i64::MAX)).collect()
}

fn take<T>(output: &DynValue, wrap: impl FnOnce(Vec<T>) -> TensorData) -> Result<Tensor, EngineError>
where
    T: PrimitiveTensorElementType + Clone,
{
    let (shape, values) = output.try_extract_tensor::<T>().map_err(|error| run_failed(&error))?;
    tensor(shape, wrap(values.to_vec()))
}

fn take_strings(output: &DynValue) -> Result<Tensor, EngineError> {
    let (shape, values) = output.try_extract_strings().map_err(|error| run_failed(&error))?;
    tensor(shape, TensorData::Bytes(values.iter().collect()))
}

fn tensor(dimensions: &[i64], data: TensorData) -> Result<Tensor, EngineError> {
    let mut shape = Shape::default();
    for &dimension in dimensions {
        let dimension = usize::try_from(dimension).map_err(|_negative| failed("an output has no shape".to_owned()))?;
        shape.try_push(dimension).map_err(|error| failed(error.to_string()))?;
    }
    Tensor::try_new(shape, data).map_err(|error| failed(error.to_string()))
}

fn failed(reason: String) -> EngineError {
    EngineError::RunFailed { engine: ENGINE, reason }
}
