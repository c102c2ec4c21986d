//! Whether an output is the one that was expected.
//!
//! Expected values are JSON, as answers have them. Floats are compared as `|found - expected| ≤ absolute + relative ·
//! |expected|`, the rule of numpy's `isclose`, after the expected value was rounded to the output's type: what an answer
//! says of an FP32 value is short for that very value. Everything else is exact, whole numbers too unless a tolerance
//! is given. `null` stands for NaN and for the infinities, since JSON has neither and answers write `null` for both.
//!
//! Invariant: every value is compared, and the first difference is named with its place.

use crate::tensor::{DataType, Tensor, TensorData};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// How far a value may be from the expected one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tolerance {
    /// In units of the value.
    #[serde(default)]
    pub(super) absolute: f64,
    /// As a part of the expected value.
    #[serde(default)]
    pub(super) relative: f64,
}

/// An output as the file says it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExpectedOutput {
    pub(super) name: String,
    pub(super) datatype: String,
    pub(super) shape: Vec<usize>,
    /// Flat, or in lists within lists.
    pub(super) data: Vec<Value>,
    /// Allowed, as protocols allow it, and not looked at.
    #[serde(default, rename = "parameters")]
    _parameters: Option<Value>,
}

/// What holds for floats if nothing is said. Engines and their releases add in other orders: that moves the last digits
/// of an FP32 value, of which it has seven.
pub(super) const USUAL: Tolerance = Tolerance { absolute: 1e-6, relative: 1e-5 };

impl Tolerance {
    /// Whether both parts are numbers that a distance can be.
    pub(super) fn is_valid(self) -> bool {
        [self.absolute, self.relative].into_iter().all(|part| part.is_finite() && part >= 0.0)
    }

    fn allows(self, expected: f64, found: f64) -> bool {
        (found - expected).abs() <= self.absolute + self.relative * expected.abs()
    }
}

impl fmt::Display for Tolerance {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:e} + {:e} of the expected value", self.absolute, self.relative)
    }
}

/// Compares one output. `tolerance` is what the file gives, if it gives one.
///
/// # Errors
/// The first difference, for people.
pub(super) fn compare(expected: &ExpectedOutput, found: &Tensor, tolerance: Option<Tolerance>) -> Result<(), String> {
    let name = &expected.name;
    if expected.datatype != found.datatype().name() {
        return Err(format!("output \"{name}\": expected {}, found {}", expected.datatype, found.datatype()));
    }
    if expected.shape != found.shape().dimensions() {
        return Err(format!("output \"{name}\": expected shape {:?}, found {}", expected.shape, found.shape()));
    }
    let mut values = Vec::with_capacity(found.data().len());
    flatten(&expected.data, &mut values);
    if values.len() != found.data().len() {
        let (count, needed) = (values.len(), found.data().len());
        return Err(format!("output \"{name}\": expected data has {count} values, its shape needs {needed}"));
    }
    for (index, value) in values.into_iter().enumerate() {
        check(value, found.data(), index, tolerance)
            .map_err(|difference| format!("output \"{name}\", value {index}: {difference}"))?;
    }
    Ok(())
}

fn flatten<'v>(values: &'v [Value], into: &mut Vec<&'v Value>) {
    for value in values {
        match value {
            Value::Array(inner) => flatten(inner, into),
            value => into.push(value),
        }
    }
}

fn check(expected: &Value, found: &TensorData, index: usize, tolerance: Option<Tolerance>) -> Result<(), String> {
    macro_rules! whole {
        ($values:expr) => {
            check_whole(expected, i128::from($values[index]), tolerance)
        };
    }
    match found {
        TensorData::Bool(values) => check_exact(expected, &Value::Bool(values[index])),
        TensorData::Bytes(values) => {
            let found = String::from_utf8_lossy(values.get(index).unwrap_or_default()).into_owned();
            check_exact(expected, &Value::String(found))
        }
        TensorData::Uint8(values) => whole!(values),
        TensorData::Uint16(values) => whole!(values),
        TensorData::Uint32(values) => whole!(values),
        TensorData::Uint64(values) => whole!(values),
        TensorData::Int8(values) => whole!(values),
        TensorData::Int16(values) => whole!(values),
        TensorData::Int32(values) => whole!(values),
        TensorData::Int64(values) => whole!(values),
        TensorData::Fp16(_) | TensorData::Bf16(_) | TensorData::Fp32(_) | TensorData::Fp64(_) => {
            let mut number = [0.0];
            found.read_numbers(index, &mut number);
            check_float(expected, (number[0], found.datatype()), tolerance.unwrap_or(USUAL))
        }
    }
}

fn check_exact(expected: &Value, found: &Value) -> Result<(), String> {
    if expected == found { Ok(()) } else { Err(format!("expected {expected}, found {found}")) }
}

fn check_whole(expected: &Value, found: i128, tolerance: Option<Tolerance>) -> Result<(), String> {
    let wanted = expected.as_i64().map(i128::from).or_else(|| expected.as_u64().map(i128::from));
    let Some(wanted) = wanted else { return Err(format!("expected {expected}, which is no whole number")) };
    let differ = |allowed: String| Err(format!("expected {wanted}, found {found}, tolerance {allowed}"));
    match tolerance {
        _ if wanted == found => Ok(()),
        Some(tolerance) if tolerance.allows(wanted as f64, found as f64) => Ok(()),
        Some(tolerance) => differ(tolerance.to_string()),
        None => differ("none".to_owned()),
    }
}

fn check_float(expected: &Value, (found, datatype): (f64, DataType), tolerance: Tolerance) -> Result<(), String> {
    let wanted = match expected {
        Value::Null => None,
        Value::Number(number) => number.as_f64(),
        other => return Err(format!("expected {other}, which is neither a number nor null")),
    };
    let Some(wanted) = wanted else {
        return if found.is_finite() {
            Err(format!("expected no finite number (null), found {found}"))
        } else {
            Ok(())
        };
    };
    let rounded = match datatype {
        DataType::Fp32 => f64::from(wanted as f32),
        DataType::Fp16 => half::f16::from_f64(wanted).to_f64(),
        DataType::Bf16 => half::bf16::from_f64(wanted).to_f64(),
        _ => wanted,
    };
    if found.is_finite() && tolerance.allows(rounded, found) {
        return Ok(());
    }
    Err(format!("expected {expected}, found {found}, tolerance {tolerance}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::{ByteStrings, Shape};
    use proptest::prelude::*;
    use serde_json::json;

    fn outcome(expected: Value, found: TensorData, tolerance: Option<(f64, f64)>) -> Result<(), String> {
        let shape = Shape::vector(found.len());
        let expected = json!({
            "name": "y", "datatype": found.datatype().name(), "shape": shape.dimensions(), "data": expected
        });
        let tolerance = tolerance.map(|(absolute, relative)| Tolerance { absolute, relative });
        let expected: ExpectedOutput = serde_json::from_value(expected).unwrap();
        compare(&expected, &Tensor::try_new(shape, found).unwrap(), tolerance)
    }

    #[test]
    fn the_place_both_values_and_the_tolerance_are_named() {
        let difference = outcome(json!([1.0, 2.0]), TensorData::Fp32(vec![1.0, 2.5]), Some((0.25, 0.0))).unwrap_err();
        assert_eq!(
            difference,
            "output \"y\", value 1: expected 2.0, found 2.5, tolerance 2.5e-1 + 0e0 of the expected value"
        );
        let difference = outcome(json!(["a", "b"]), TensorData::Bytes(["a", "c"].iter().collect()), None).unwrap_err();
        assert_eq!(difference, "output \"y\", value 1: expected \"b\", found \"c\"");
    }

    #[test]
    fn the_tolerance_is_absolute_and_relative() {
        let near = |found: f64, absolute, relative| {
            outcome(json!([100.0]), TensorData::Fp64(vec![found]), Some((absolute, relative))).is_ok()
        };
        assert!(near(100.5, 0.5, 0.0) && !near(100.6, 0.5, 0.0));
        assert!(near(101.0, 0.0, 0.01) && !near(101.1, 0.0, 0.01) && near(99.0, 0.0, 0.01));
        assert!(near(101.5, 0.5, 0.01) && !near(101.6, 0.5, 0.01));
    }

    #[test]
    fn whole_numbers_texts_and_truths_are_exact() {
        assert!(outcome(json!([5]), TensorData::Int64(vec![6]), None).is_err());
        assert!(outcome(json!([5]), TensorData::Int64(vec![6]), Some((1.0, 0.0))).is_ok());
        assert!(outcome(json!([u64::MAX]), TensorData::Uint64(vec![u64::MAX]), None).is_ok());
        assert!(outcome(json!([u64::MAX - 1]), TensorData::Uint64(vec![u64::MAX]), None).is_err());
        assert!(outcome(json!([1.5]), TensorData::Int8(vec![1]), None).unwrap_err().contains("no whole number"));
        assert!(outcome(json!([true]), TensorData::Bool(vec![false]), Some((9.0, 9.0))).is_err());
        assert!(outcome(json!([1]), TensorData::Bool(vec![true]), None).is_err());
        assert!(outcome(json!([1]), TensorData::Bytes(["1"].iter().collect::<ByteStrings>()), None).is_err());
    }

    #[test]
    fn null_is_whatever_is_not_finite() {
        let found = vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
        assert_eq!(outcome(json!([null, null, null]), TensorData::Fp32(found), None), Ok(()));
        assert!(outcome(json!([null]), TensorData::Fp32(vec![0.0]), None).is_err());
        assert!(outcome(json!([1.0]), TensorData::Fp32(vec![f32::NAN]), Some((1e300, 1e300))).is_err());
        assert!(outcome(json!(["NaN"]), TensorData::Fp32(vec![f32::NAN]), None).is_err());
    }

    #[test]
    fn type_shape_and_number_of_values_must_agree() {
        let found = Tensor::try_new(Shape::matrix(2, 1), TensorData::Fp32(vec![1.0, 2.0])).unwrap();
        let against = |datatype: &str, shape: &[usize], data: Value| {
            let expected = json!({"name": "y", "datatype": datatype, "shape": shape, "data": data, "parameters": {}});
            compare(&serde_json::from_value(expected).unwrap(), &found, None)
        };
        assert_eq!(against("FP32", &[2, 1], json!([[1.0], [2.0]])), Ok(()));
        assert!(against("FP64", &[2, 1], json!([1.0, 2.0])).unwrap_err().contains("expected FP64, found FP32"));
        assert!(against("FP32", &[2], json!([1.0, 2.0])).unwrap_err().contains("expected shape [2], found [2, 1]"));
        assert!(against("FP32", &[2, 1], json!([1.0])).unwrap_err().contains("has 1 values, its shape needs 2"));
    }

    proptest! {
        /// An answer written by this server holds against the values it was written of, without any tolerance.
        #[test]
        fn what_is_written_holds_against_itself(
            single in proptest::collection::vec(any::<f32>(), 0..9), double in proptest::collection::vec(any::<f64>(), 0..9),
        ) {
            let json = |text: String| serde_json::from_str::<Value>(&text).unwrap();
            let text = |number: String, finite: bool| if finite { number } else { "null".to_owned() };
            let written: Vec<String> = single.iter().map(|value| text(format!("{value:?}"), value.is_finite())).collect();
            let expected = json(format!("[{}]", written.join(",")));
            prop_assert_eq!(outcome(expected, TensorData::Fp32(single), Some((0.0, 0.0))), Ok(()));
            let written: Vec<String> = double.iter().map(|value| text(format!("{value:?}"), value.is_finite())).collect();
            let expected = json(format!("[{}]", written.join(",")));
            prop_assert_eq!(outcome(expected, TensorData::Fp64(double), Some((0.0, 0.0))), Ok(()));
        }

        /// The rule is symmetric in the sign, and never looser than it says.
        #[test]
        fn a_distance_is_allowed_exactly_within_the_tolerance(
            expected in -1e6..1e6_f64, distance in -10.0..10.0_f64, absolute in 0.0..5.0_f64, relative in 0.0..1e-3_f64,
        ) {
            let found = expected + distance;
            let is_near = (found - expected).abs() <= absolute + relative * expected.abs();
            let held = outcome(json!([expected]), TensorData::Fp64(vec![found]), Some((absolute, relative)));
            prop_assert_eq!(held.is_ok(), is_near);
        }
    }
}
