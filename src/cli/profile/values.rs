//! Fields of a text file as values of a tensor.
//!
//! Invariant: a field that is not exactly what the tensor holds is refused, never rounded to something else, except
//! that floats are rounded to the tensor's precision.

use crate::tensor::TensorData;

/// Appends a field's value, or says what was expected. An empty field is a missing value, where there can be one.
pub(super) fn push_field(data: &mut TensorData, field: &str) -> Result<(), &'static str> {
    fn integer<T: std::str::FromStr>(values: &mut Vec<T>, field: &str) -> Result<(), &'static str> {
        values.push(field.parse().map_err(|_invalid| "a whole number in range")?);
        Ok(())
    }
    let number = || if field.is_empty() { Ok(f64::NAN) } else { field.parse().map_err(|_invalid| "a number") };
    match data {
        TensorData::Bool(values) => values.push(match field {
            "1" | "true" | "True" => true,
            "0" | "false" | "False" => false,
            _ => return Err("true or false"),
        }),
        TensorData::Uint8(values) => integer(values, field)?,
        TensorData::Uint16(values) => integer(values, field)?,
        TensorData::Uint32(values) => integer(values, field)?,
        TensorData::Uint64(values) => integer(values, field)?,
        TensorData::Int8(values) => integer(values, field)?,
        TensorData::Int16(values) => integer(values, field)?,
        TensorData::Int32(values) => integer(values, field)?,
        TensorData::Int64(values) => integer(values, field)?,
        TensorData::Fp16(values) => values.push(half::f16::from_f64(number()?)),
        TensorData::Bf16(values) => values.push(half::bf16::from_f64(number()?)),
        TensorData::Fp32(values) => {
            values.push(if field.is_empty() { f32::NAN } else { field.parse().map_err(|_invalid| "a number")? });
        }
        TensorData::Fp64(values) => values.push(number()?),
        TensorData::Bytes(values) => values.push(field.as_bytes()),
    }
    Ok(())
}
