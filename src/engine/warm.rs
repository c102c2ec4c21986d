//! Running a model before the first request does.
//!
//! The first runs of a model are slow: engines allocate their buffers, lay out weights and touch pages. Zeros are used
//! as values because they are valid wherever an input is an index, and empty strings because they are valid text. The
//! caller measures the time, since this room has no clock.
//!
//! Invariant: the inputs fit the signature.

use super::{EngineError, Instance};
use crate::tensor::{ByteStrings, DataType, Dimension, Shape, Signature, Tensor, TensorData, TensorError};

/// Inputs of zeros and empty strings that fit `signature`, with `rows` for the outermost free dimensions and for every
/// dimension of the same name, and 1 for other free dimensions.
///
/// # Errors
/// [`TensorError::TooManyElements`] when `rows` rows do not fit in memory's address range.
pub fn synthesize_inputs(signature: &Signature, rows: usize) -> Result<Vec<Tensor>, TensorError> {
    let row_names: Vec<&str> = signature
        .inputs
        .iter()
        .filter_map(|spec| match spec.shape.first() {
            Some(Dimension::Free(name)) if !name.is_empty() => Some(name.as_str()),
            _ => None,
        })
        .collect();
    let inputs = signature.inputs.iter().map(|spec| {
        let mut shape = Shape::default();
        for (axis, dimension) in spec.shape.iter().enumerate() {
            shape.try_push(match dimension {
                Dimension::Fixed(size) => *size,
                Dimension::Free(name) if axis == 0 || row_names.contains(&name.as_str()) => rows,
                Dimension::Free(_) => 1,
            })?;
        }
        Tensor::try_new(shape, zeros(spec.datatype, shape.element_count()?))
    });
    inputs.collect()
}

/// Runs `instance` once on inputs of `rows` rows that nobody sent.
///
/// # Errors
/// [`EngineError::RunFailed`] when the model fails on them. That condemns the model only if all its inner dimensions are
/// fixed: with a free one, 1 may be a size that the model cannot work with.
pub fn warm(instance: &mut dyn Instance, signature: &Signature, rows: usize) -> Result<(), EngineError> {
    let inputs = synthesize_inputs(signature, rows)
        .map_err(|error| EngineError::RunFailed { engine: "warm-up", reason: error.to_string() })?;
    instance.run(&inputs, &mut Vec::new())
}

fn zeros(datatype: DataType, count: usize) -> TensorData {
    match datatype {
        DataType::Bool => TensorData::Bool(vec![false; count]),
        DataType::Uint8 => TensorData::Uint8(vec![0; count]),
        DataType::Uint16 => TensorData::Uint16(vec![0; count]),
        DataType::Uint32 => TensorData::Uint32(vec![0; count]),
        DataType::Uint64 => TensorData::Uint64(vec![0; count]),
        DataType::Int8 => TensorData::Int8(vec![0; count]),
        DataType::Int16 => TensorData::Int16(vec![0; count]),
        DataType::Int32 => TensorData::Int32(vec![0; count]),
        DataType::Int64 => TensorData::Int64(vec![0; count]),
        DataType::Fp16 => TensorData::Fp16(vec![half::f16::ZERO; count]),
        DataType::Bf16 => TensorData::Bf16(vec![half::bf16::ZERO; count]),
        DataType::Fp32 => TensorData::Fp32(vec![0.0; count]),
        DataType::Fp64 => TensorData::Fp64(vec![0.0; count]),
        DataType::Bytes => TensorData::Bytes((0..count).map(|_| b"").collect::<ByteStrings>()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::TensorSpec;

    fn spec(datatype: DataType, shape: &[Dimension]) -> TensorSpec {
        TensorSpec { name: format!("{datatype}"), datatype, shape: shape.to_vec() }
    }

    fn free(name: &str) -> Dimension {
        Dimension::Free(name.into())
    }

    #[test]
    fn a_model_without_inputs_needs_none() {
        assert_eq!(synthesize_inputs(&Signature::default(), 3), Ok(Vec::new()));
    }

    #[test]
    fn every_datatype_gets_inputs_that_pass_the_check() {
        let datatypes = "BOOL UINT8 UINT16 UINT32 UINT64 INT8 INT16 INT32 INT64 FP16 BF16 FP32 FP64 BYTES".split(' ');
        let inputs = datatypes
            .map(|name| spec(name.parse().unwrap(), &[free("N"), Dimension::Fixed(2), free("length"), free("")]));
        let signature = Signature { inputs: inputs.collect(), outputs: Vec::new() };
        let tensors = synthesize_inputs(&signature, 3).unwrap();
        assert_eq!(tensors.len(), 14);
        assert_eq!(signature.check(&tensors), Ok(()));
        assert_eq!(tensors[0].shape().dimensions(), [3, 2, 1, 1]);
    }

    #[test]
    fn a_dimension_named_like_the_rows_of_another_input_has_as_many() {
        let inputs = vec![
            spec(DataType::Fp32, &[free("N"), Dimension::Fixed(4)]),
            spec(DataType::Int64, &[Dimension::Fixed(1), free("N")]),
        ];
        let signature = Signature { inputs, outputs: Vec::new() };
        assert_eq!(signature.check(&synthesize_inputs(&signature, 7).unwrap()), Ok(()));
    }

    #[test]
    fn rows_beyond_the_address_range_are_an_error() {
        let signature =
            Signature { inputs: vec![spec(DataType::Fp32, &[free(""), Dimension::Fixed(2)])], outputs: Vec::new() };
        assert!(matches!(synthesize_inputs(&signature, usize::MAX), Err(TensorError::TooManyElements { .. })));
    }
}
