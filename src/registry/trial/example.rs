//! The rows that MLflow keeps beside a model as an example of what it takes.
//!
//! Two files: `serving_input_example.json`, the body of a call of MLflow's scoring server, and `input_example.json`,
//! which is older and has the example alone (MLflow 2 and 3, `models/utils.py`). What is in them depends on what the
//! example was:
//!
//! | form | of |
//! |---|---|
//! | `{"inputs": …}`, a list or lists by name | tensors |
//! | `{"instances": [row, …]}` | tensors, row by row |
//! | `{"dataframe_split": {"columns": […], "data": [row, …]}}`, or its inside alone | a table |
//! | `{"dataframe_records": [{column: value, …}, …]}`, or its inside alone | a table |
//! | a list, or lists by name | tensors |
//!
//! A table goes into a model of one input as rows, whatever its columns are called, and into one of several column by
//! column, as MLflow's own wrapper of ONNX models does it. Nobody wrote these files for us: what is not understood is
//! said and passed over.
//!
//! Invariant: what is read fits the signature.

use crate::protocol::oip;
use crate::registry::beside;
use crate::tensor::{Dimension, Signature, Tensor, TensorSpec};
use serde_json::{Map, Value, json};
use std::path::Path;

/// The files, the plainer one first.
pub(super) const EXAMPLES: [&str; 2] = ["serving_input_example.json", "input_example.json"];
/// The longest file, bytes. Examples are a handful of rows; what is longer is passed over.
const EXAMPLE_LIMIT: u64 = 4 << 20;

/// The inputs of the example beside a model, and the file they are of; with what is to be said of files that were
/// passed over.
pub(super) fn read(directory: &Path, signature: &Signature) -> (Option<(&'static str, Vec<Tensor>)>, Vec<String>) {
    let mut passed_over = Vec::new();
    for file in EXAMPLES {
        let inputs = match beside::read(directory, file, EXAMPLE_LIMIT) {
            Ok(None) => continue,
            Ok(Some(text)) => inputs(&text, signature),
            Err(error) => Err(error.to_string()),
        };
        match inputs {
            Ok(inputs) => return (Some((file, inputs)), passed_over),
            Err(reason) => passed_over.push(format!("{file} is not understood: {reason}")),
        }
    }
    (None, passed_over)
}

/// The tensors of an example, in the signature's order.
fn inputs(text: &[u8], signature: &Signature) -> Result<Vec<Tensor>, String> {
    let example: Value = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let lists = lists(example, signature)?;
    let input = |(spec, data): (&TensorSpec, Value)| {
        let shape = shape(&data, spec);
        let data = if data.is_array() { data } else { json!([data]) };
        json!({ "name": spec.name, "datatype": spec.datatype.name(), "shape": shape, "data": data })
    };
    let inputs: Vec<Value> = signature.inputs.iter().zip(lists).map(input).collect();
    // As if somebody had sent it: what reads requests knows every type and limit.
    let body = serde_json::to_vec(&json!({ "inputs": inputs })).map_err(|error| error.to_string())?;
    let inputs = oip::decode_infer(&body, signature).map_err(|error| error.to_string())?.inputs;
    if inputs.iter().any(|input| input.shape().rows() == 0) { Err("it has no rows".to_owned()) } else { Ok(inputs) }
}

/// The values of each input, in the signature's order.
fn lists(example: Value, signature: &Signature) -> Result<Vec<Value>, String> {
    let mut members = match example {
        Value::Object(members) => members,
        other => return rows_or_values(other, signature),
    };
    let is_input = signature.inputs.iter().any(|spec| spec.name == "inputs");
    if let Some(inputs) = (!is_input).then(|| members.remove("inputs")).flatten() {
        return match inputs {
            Value::Object(by_name) => by_name_of(by_name, signature),
            values => only(values, signature),
        };
    }
    for key in ["instances", "dataframe_records"] {
        if let Some(rows) = members.remove(key) {
            return rows_or_values(rows, signature);
        }
    }
    match members.remove("dataframe_split") {
        Some(Value::Object(table)) => table_of(table, signature),
        Some(_) => Err("expected an object as dataframe_split".to_owned()),
        None if members.contains_key("columns") && members.contains_key("data") => table_of(members, signature),
        None => by_name_of(members, signature),
    }
}

/// The values of the only input.
fn only(values: Value, signature: &Signature) -> Result<Vec<Value>, String> {
    match signature.inputs.as_slice() {
        [_] => Ok(vec![values]),
        _ => Err(format!("expected values by name for {}", signature.describe_inputs())),
    }
}

fn by_name_of(mut by_name: Map<String, Value>, signature: &Signature) -> Result<Vec<Value>, String> {
    let missing = |name: &str| format!("it has no input \"{name}\"; the model expects {}", signature.describe_inputs());
    let of_input = |spec: &TensorSpec| by_name.remove(&spec.name).ok_or_else(|| missing(&spec.name));
    signature.inputs.iter().map(of_input).collect()
}

/// Rows that are objects, of which each key becomes a column; else the values of the only input.
fn rows_or_values(value: Value, signature: &Signature) -> Result<Vec<Value>, String> {
    let Value::Array(rows) = value else { return only(value, signature) };
    let Some(Value::Object(first)) = rows.first() else { return only(Value::Array(rows), signature) };
    let columns: Vec<Value> = first.keys().cloned().map(Value::String).collect();
    let cells = |row: &Value| -> Vec<Value> {
        columns.iter().map(|column| row.get(column.as_str().unwrap_or_default()).cloned().unwrap_or_default()).collect()
    };
    let data: Vec<Value> = rows.iter().map(|row| Value::Array(cells(row))).collect();
    table_of(
        Map::from_iter([("columns".to_owned(), Value::Array(columns)), ("data".to_owned(), json!(data))]),
        signature,
    )
}

fn table_of(mut table: Map<String, Value>, signature: &Signature) -> Result<Vec<Value>, String> {
    let (Some(Value::Array(columns)), Some(Value::Array(rows))) = (table.remove("columns"), table.remove("data"))
    else {
        return Err("expected the lists columns and data".to_owned());
    };
    let place = |spec: &TensorSpec| columns.iter().position(|column| column.as_str() == Some(&spec.name));
    let places: Option<Vec<usize>> = signature.inputs.iter().map(place).collect();
    match places {
        Some(places) => Ok(places
            .into_iter()
            .map(|place| rows.iter().map(|row| row.get(place).cloned().unwrap_or_default()).collect())
            .collect()),
        None if signature.inputs.len() == 1 => Ok(vec![Value::Array(rows)]),
        None => Err(format!("its columns are not the model's inputs, {}", signature.describe_inputs())),
    }
}

/// How the lists are nested, with the one dimension that an example of one row, or of one column, leaves out.
fn shape(values: &Value, spec: &TensorSpec) -> Vec<usize> {
    let mut shape = Vec::new();
    let mut inner = values;
    while let Value::Array(list) = inner {
        shape.push(list.len());
        match list.first() {
            Some(first) => inner = first,
            None => break,
        }
    }
    if shape.is_empty() {
        return vec![1; spec.shape.len()];
    }
    if shape.len() + 1 == spec.shape.len() {
        let is_one_row = spec.shape[1..].iter().zip(&shape).all(|(declared, found)| match declared {
            Dimension::Fixed(size) => size == found,
            Dimension::Free(_) => true,
        });
        if spec.shape.last() == Some(&Dimension::Fixed(1)) && !(is_one_row && shape[shape.len() - 1] == 1) {
            shape.push(1);
        } else if is_one_row {
            shape.insert(0, 1);
        }
    }
    shape
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::{DataType, TensorData};
    use proptest::prelude::*;

    fn spec(name: &str, datatype: DataType, inner: &[usize]) -> TensorSpec {
        let inner = inner.iter().map(|&size| Dimension::Fixed(size));
        let shape = std::iter::once(Dimension::Free("N".to_owned())).chain(inner).collect();
        TensorSpec { name: name.to_owned(), datatype, shape }
    }

    fn one() -> Signature {
        Signature { inputs: vec![spec("x", DataType::Fp32, &[2])], outputs: Vec::new() }
    }

    fn columns() -> Signature {
        let inputs = vec![spec("age", DataType::Int64, &[1]), spec("plan", DataType::Bytes, &[1])];
        Signature { inputs, outputs: Vec::new() }
    }

    fn read(text: &str, signature: &Signature) -> Result<Vec<Tensor>, String> {
        inputs(text.as_bytes(), signature)
    }

    #[test]
    fn every_form_of_two_rows_is_the_same_two_rows() {
        for text in [
            r#"{"inputs": [[1.0, 2], [3, null]]}"#,
            r#"{"inputs": {"x": [[1.0, 2], [3, null]]}}"#,
            r#"{"instances": [[1.0, 2], [3, null]]}"#,
            r#"{"instances": [{"a": 1.0, "b": 2}, {"a": 3, "b": null}]}"#,
            r#"{"dataframe_split": {"index": [0, 1], "columns": ["a", "b"], "data": [[1.0, 2], [3, null]]}}"#,
            r#"{"columns": [0, 1], "data": [[1.0, 2], [3, null]]}"#,
            r#"{"dataframe_records": [{"a": 1.0, "b": 2}, {"a": 3}]}"#,
            r#"{"x": [[1.0, 2], [3, null]]}"#,
            "[[1.0, 2], [3, null]]",
        ] {
            let inputs = read(text, &one()).unwrap_or_else(|reason| panic!("{text}: {reason}"));
            assert_eq!(inputs[0].shape().dimensions(), [2, 2], "{text}");
            let TensorData::Fp32(values) = inputs[0].data() else { panic!("{text}") };
            assert!(values[..3] == [1.0, 2.0, 3.0] && values[3].is_nan(), "{text}: {values:?}");
        }
    }

    #[test]
    fn tables_go_into_inputs_by_the_names_of_their_columns() {
        for text in [
            r#"{"dataframe_split": {"columns": ["plan", "age"], "data": [["a", 1], ["b", 2]]}}"#,
            r#"{"inputs": {"age": [1, 2], "plan": ["a", "b"]}}"#,
            r#"[{"age": 1, "plan": "a"}, {"age": 2, "plan": "b"}]"#,
            r#"{"age": [[1], [2]], "plan": [["a"], ["b"]]}"#,
        ] {
            let inputs = read(text, &columns()).unwrap_or_else(|reason| panic!("{text}: {reason}"));
            assert_eq!(inputs[0].data(), &TensorData::Int64(vec![1, 2]), "{text}");
            assert_eq!(inputs[1].data(), &TensorData::Bytes(["a", "b"].iter().collect()), "{text}");
        }
    }

    #[test]
    fn one_row_may_come_without_its_list() {
        assert_eq!(read("[1, 2]", &one()).unwrap()[0].shape().dimensions(), [1, 2]);
        let inputs = read(r#"{"age": 7, "plan": "a"}"#, &columns()).unwrap();
        assert_eq!(inputs[0].shape().dimensions(), [1, 1]);
        assert_eq!(read(r#"{"age": [7], "plan": ["a"]}"#, &columns()).unwrap()[0].shape().dimensions(), [1, 1]);
    }

    #[test]
    fn what_does_not_fit_says_why() {
        for (text, part) in [
            ("{", "EOF"),
            ("[[1, 2, 3]]", "the model expects [-1, 2]"),
            (r#"{"y": [[1, 2]]}"#, "no input \"x\""),
            (r#"{"inputs": []}"#, "shape"),
            (r#"{"inputs": [["a", "b"]]}"#, "expected a number"),
            (r#"{"dataframe_split": 7}"#, "expected an object"),
            (r#"{"dataframe_split": {}}"#, "columns and data"),
            ("7", "the model expects [-1, 2]"),
        ] {
            let reason = read(text, &one()).unwrap_err();
            assert!(reason.contains(part), "{text}: {reason}");
        }
        let reason = read(r#"{"columns": ["age"], "data": [[1]]}"#, &columns()).unwrap_err();
        assert!(reason.contains("its columns are not the model's inputs"), "{reason}");
        assert!(read("[[], []]", &one()).is_err());
    }

    #[test]
    fn the_first_file_that_is_understood_counts() {
        let directory = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| std::fs::write(directory.path().join(file), text).unwrap();
        assert_eq!(super::read(directory.path(), &one()), (None, Vec::new()));
        write("input_example.json", "[[1, 2]]");
        assert_eq!(super::read(directory.path(), &one()).0.unwrap().0, "input_example.json");
        write("serving_input_example.json", r#"{"inputs": "a"}"#);
        let (found, passed_over) = super::read(directory.path(), &one());
        assert_eq!((found.unwrap().0, passed_over.len()), ("input_example.json", 1));
        write("serving_input_example.json", r#"{"inputs": [[3, 4]]}"#);
        assert_eq!(super::read(directory.path(), &one()).0.unwrap().0, "serving_input_example.json");
    }

    proptest! {
        #[test]
        fn no_example_is_too_odd(text in r#"[\[\]{}:,a-c"0-9. xinputsdata]{0,60}"#) {
            for signature in [one(), columns(), Signature::default()] {
                if let Ok(inputs) = read(&text, &signature) {
                    prop_assert_eq!(signature.check(&inputs), Ok(()));
                }
            }
        }
    }
}
