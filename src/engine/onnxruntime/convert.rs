//! Values to ONNX Runtime's and back.
//!
//! Inputs are lent, not given: the value borrows the tensor's slice for as long as the run takes.
//!
//! Invariant: bits are kept. Nothing is rounded, cast or reordered, strings excepted: they must be UTF-8 without NUL.

use super::{ENGINE, run_failed};
use crate::engine::EngineError;
use crate::tensor::{ByteStrings, DataType, Shape, Tensor, TensorData};
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

/// Copies an input into a value of its shape and type.
pub(super) fn copy_in(index: usize, input: &Tensor, value: &mut SessionInputValue<'static>) -> Result<(), EngineError> {
    let SessionInputValue::Owned(value) = value else { return Err(failed("a kept input is not owned".to_owned())) };
    match input.data() {
        TensorData::Bool(values) => copy(values, value),
        TensorData::Uint8(values) => copy(values, value),
        TensorData::Uint16(values) => copy(values, value),
        TensorData::Uint32(values) => copy(values, value),
        TensorData::Uint64(values) => copy(values, value),
        TensorData::Int8(values) => copy(values, value),
        TensorData::Int16(values) => copy(values, value),
        TensorData::Int32(values) => copy(values, value),
        TensorData::Int64(values) => copy(values, value),
        TensorData::Fp16(values) => copy(values, value),
        TensorData::Bf16(values) => copy(values, value),
        TensorData::Fp32(values) => copy(values, value),
        TensorData::Fp64(values) => copy(values, value),
        TensorData::Bytes(_) => Err(EngineError::NotText { index }),
    }
}

fn copy<T>(values: &[T], value: &mut DynValue) -> Result<(), EngineError>
where
    T: PrimitiveTensorElementType + Copy,
{
    let (_, kept) = value.try_extract_tensor_mut::<T>().map_err(|error| run_failed(&error))?;
    if kept.len() != values.len() {
        return Err(failed(format!("a kept input has {} values, {} came", kept.len(), values.len())));
    }
    kept.copy_from_slice(values);
    Ok(())
}

/// Puts an output in its place among the tensors of the last run, in whose memory it fits mostly.
pub(super) fn take_into(output: &DynValue, outputs: &mut Vec<Tensor>, index: usize) -> Result<(), EngineError> {
    if index >= outputs.len() {
        outputs.push(from_session(output)?);
        return Ok(());
    }
    let empty = Tensor::try_new(Shape::vector(0), TensorData::Bool(Vec::new()));
    let Ok(empty) = empty else { return Err(failed("an empty tensor is none".to_owned())) };
    let old = std::mem::replace(&mut outputs[index], empty);
    outputs[index] = match (old.into_data(), output.dtype().tensor_type()) {
        (TensorData::Int64(values), Some(TensorElementType::Int64)) => refill(output, values, TensorData::Int64)?,
        (TensorData::Fp32(values), Some(TensorElementType::Float32)) => refill(output, values, TensorData::Fp32)?,
        (TensorData::Fp64(values), Some(TensorElementType::Float64)) => refill(output, values, TensorData::Fp64)?,
        _ => from_session(output)?,
    };
    Ok(())
}

fn refill<T>(output: &DynValue, mut old: Vec<T>, wrap: impl FnOnce(Vec<T>) -> TensorData) -> Result<Tensor, EngineError>
where
    T: PrimitiveTensorElementType + Copy,
{
    let (shape, values) = output.try_extract_tensor::<T>().map_err(|error| run_failed(&error))?;
    old.clear();
    old.extend_from_slice(values);
    tensor(shape, wrap(old))
}

/// The type of a tensor's elements; none for strings, which are no plain memory.
pub(super) fn element_type(datatype: DataType) -> Option<TensorElementType> {
    Some(match datatype {
        DataType::Bool => TensorElementType::Bool,
        DataType::Uint8 => TensorElementType::Uint8,
        DataType::Uint16 => TensorElementType::Uint16,
        DataType::Uint32 => TensorElementType::Uint32,
        DataType::Uint64 => TensorElementType::Uint64,
        DataType::Int8 => TensorElementType::Int8,
        DataType::Int16 => TensorElementType::Int16,
        DataType::Int32 => TensorElementType::Int32,
        DataType::Int64 => TensorElementType::Int64,
        DataType::Fp16 => TensorElementType::Float16,
        DataType::Bf16 => TensorElementType::Bfloat16,
        DataType::Fp32 => TensorElementType::Float32,
        DataType::Fp64 => TensorElementType::Float64,
        DataType::Bytes => return None,
    })
}

/// Bytes of a tensor's values, at most.
pub(super) fn bytes(tensor: &Tensor) -> usize {
    tensor.data().len().saturating_mul(size_of::<f64>())
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
pub(super) fn dimensions(shape: Shape) -> OrtShape {
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
