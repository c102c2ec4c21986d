//! The signature that MLflow keeps of a model, compared with the graph's.
//!
//! `types/schema.py` knows two kinds of fields. Tensor specs have numpy's name of a type and a shape with -1 for any size;
//! at most one of a side may be unnamed. Column specs have a type and stand for a column of a table, which MLflow hands
//! to a graph in one of two ways: every column as the input of its name, or, where the graph has one input, all of them
//! as its columns, numbers of 64 bits cast to 32 where the graph takes those (`onnx/__init__.py`).
//!
//! The comparison is to find a wrong file, not to repeat the graph's own checks: what one side does not say is no
//! difference.
//!
//! Invariant: a signature that was made from a graph agrees with it.

use crate::tensor::{DataType, Dimension, Signature, TensorSpec};
use serde_json::Value;

/// The most fields of a side that are read.
const MOST_FIELDS: usize = 10_000;

/// What a model takes and gives, as MLflow says it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MlSignature {
    /// What it takes; none where MLflow does not say.
    pub inputs: Option<Vec<MlSpec>>,
    /// What it gives; none where MLflow does not say.
    pub outputs: Option<Vec<MlSpec>>,
}

/// An input, an output or a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MlSpec {
    /// Its name; a single one may have none.
    pub name: Option<String>,
    /// The type of its values; none for one that no tensor has, such as a date or a map.
    pub datatype: Option<DataType>,
    /// The shape of a tensor, -1 for any size; none for a column.
    pub shape: Option<Vec<i64>>,
    /// Whether it must be there.
    pub required: bool,
}

impl MlSignature {
    /// Reads the value of `signature` in an `MLmodel`, whose parts are text in JSON.
    pub(super) fn read(value: &Value) -> Option<Self> {
        let side = |name: &str| {
            let part = value.get(name)?;
            // A file written by hand may have the list itself.
            let list = part.as_str().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_else(|| part.clone());
            Some(list.as_array()?.iter().take(MOST_FIELDS).filter_map(MlSpec::read).collect())
        };
        let signature = Self { inputs: side("inputs"), outputs: side("outputs") };
        (signature != Self::default()).then_some(signature)
    }

    /// Whether a graph takes and gives what this says.
    ///
    /// # Errors
    /// The first difference, for people: what MLflow says and what the graph says.
    pub fn check(&self, graph: &Signature) -> Result<(), String> {
        check_side("input", self.inputs.as_deref().unwrap_or_default(), &graph.inputs)?;
        check_side("output", self.outputs.as_deref().unwrap_or_default(), &graph.outputs)
    }
}

impl MlSpec {
    fn read(field: &Value) -> Option<Self> {
        let field = field.as_object()?;
        let name = field.get("name").and_then(Value::as_str).map(str::to_owned);
        let required = field.get("required").and_then(Value::as_bool).unwrap_or(true);
        let tensor = field.get("tensor-spec");
        let datatype = match tensor {
            Some(tensor) => tensor.get("dtype").and_then(Value::as_str).and_then(numpy_type),
            None => field.get("type").and_then(Value::as_str).and_then(column_type),
        };
        let shape = tensor.and_then(|tensor| {
            let sizes = tensor.get("shape")?.as_array()?;
            sizes.iter().map(Value::as_i64).collect::<Option<Vec<_>>>()
        });
        let shape = if tensor.is_some() { Some(shape?) } else { None };
        Some(Self { name, datatype, shape, required })
    }

    fn check(&self, side: &str, graph: &TensorSpec) -> Result<(), String> {
        let differs = |said: String, found: String| {
            Err(format!("{side} \"{}\" is {said} in its MLmodel and {found} in the graph", graph.name))
        };
        match self.datatype {
            Some(datatype) if datatype != graph.datatype && !self.is_cast(datatype, graph.datatype) => {
                return differs(datatype.to_string(), graph.datatype.to_string());
            }
            _ => {}
        }
        match &self.shape {
            Some(shape) if !fits(shape, &graph.shape) => {
                differs(format!("{shape:?}"), format!("{:?}", graph.wire_shape()))
            }
            _ => Ok(()),
        }
    }

    /// Whether MLflow casts a column of one type to another.
    fn is_cast(&self, said: DataType, graph: DataType) -> bool {
        self.shape.is_none() && (said, graph) == (DataType::Fp64, DataType::Fp32)
    }
}

fn check_side(side: &str, said: &[MlSpec], graph: &[TensorSpec]) -> Result<(), String> {
    let find = |spec: &MlSpec| graph.iter().find(|graph| spec.name.as_deref() == Some(&graph.name));
    let are_columns = said.iter().all(|spec| spec.shape.is_none());
    if let ([graph], true) = (graph, are_columns && !said.is_empty())
        && said.iter().all(|spec| find(spec).is_none())
    {
        return check_columns(side, said, graph);
    }
    for spec in said {
        match (find(spec), &spec.name, graph) {
            (Some(graph), _, _) => spec.check(side, graph)?,
            (None, None, [graph]) => spec.check(side, graph)?,
            (None, Some(name), _) if spec.required && !are_columns => {
                let names: Vec<&str> = graph.iter().map(|graph| graph.name.as_str()).collect();
                let names = names.join(", ");
                return Err(format!("{side} \"{name}\" is in its MLmodel, and the graph has {names}"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The columns of a table as those of one tensor.
fn check_columns(side: &str, said: &[MlSpec], graph: &TensorSpec) -> Result<(), String> {
    let width = graph.row_width().filter(|_| graph.is_batched());
    match width {
        Some(width) if side == "input" && width != said.len() => Err(format!(
            "its MLmodel has {} columns and {side} \"{}\" of the graph has {width} values a row",
            said.len(),
            graph.name
        )),
        _ => Ok(()),
    }
}

/// Whether two shapes may be of the same tensor: where both say a size they say the same.
fn fits(said: &[i64], graph: &[Dimension]) -> bool {
    let same = |(&said, graph): (&i64, &Dimension)| match graph {
        Dimension::Fixed(size) => said < 0 || usize::try_from(said).is_ok_and(|said| said == *size),
        Dimension::Free(_) => true,
    };
    said.len() == graph.len() && said.iter().zip(graph).all(same)
}

/// numpy's names. Text of any length is `object` or `str…`.
fn numpy_type(name: &str) -> Option<DataType> {
    Some(match name {
        "bool" => DataType::Bool,
        "uint8" => DataType::Uint8,
        "uint16" => DataType::Uint16,
        "uint32" => DataType::Uint32,
        "uint64" => DataType::Uint64,
        "int8" => DataType::Int8,
        "int16" => DataType::Int16,
        "int32" => DataType::Int32,
        "int64" => DataType::Int64,
        "float16" => DataType::Fp16,
        "bfloat16" => DataType::Bf16,
        "float32" => DataType::Fp32,
        "float64" => DataType::Fp64,
        "object" | "str" | "bytes" => DataType::Bytes,
        text if text.starts_with("str") || text.starts_with("<U") => DataType::Bytes,
        _ => return None,
    })
}

/// MLflow's names of the types of columns; compound ones, dates and vectors are no tensor's.
fn column_type(name: &str) -> Option<DataType> {
    Some(match name {
        "boolean" => DataType::Bool,
        "integer" => DataType::Int32,
        "long" => DataType::Int64,
        "float" => DataType::Fp32,
        "double" => DataType::Fp64,
        "string" | "binary" => DataType::Bytes,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn signature(inputs: &Value, outputs: &Value) -> MlSignature {
        MlSignature::read(&json!({ "inputs": inputs.to_string(), "outputs": outputs.to_string() })).unwrap()
    }

    fn graph(inputs: &[(&str, DataType, &[i64])]) -> Signature {
        let spec = |&(name, datatype, shape): &(&str, DataType, &[i64])| {
            let dimension =
                |&size: &i64| usize::try_from(size).map_or(Dimension::Free(String::new()), Dimension::Fixed);
            TensorSpec { name: name.to_owned(), datatype, shape: shape.iter().map(dimension).collect() }
        };
        Signature { inputs: inputs.iter().map(spec).collect(), outputs: Vec::new() }
    }

    fn tensor(name: &str, dtype: &str, shape: &[i64]) -> Value {
        json!({ "name": name, "type": "tensor", "tensor-spec": { "dtype": dtype, "shape": shape } })
    }

    fn check(fields: &[Value], inputs: &[(&str, DataType, &[i64])]) -> Result<(), String> {
        signature(&json!(fields), &Value::Null).check(&graph(inputs))
    }

    #[test]
    fn tensors_are_compared_by_name_type_and_shape() {
        let features: &[(&str, DataType, &[i64])] = &[("features", DataType::Fp32, &[-1, 30])];
        let with = |name: &str, dtype: &str, shape: &[i64]| check(&[tensor(name, dtype, shape)], features);
        assert_eq!(with("features", "float32", &[-1, 30]), Ok(()));
        assert_eq!(with("features", "float32", &[-1, -1]), Ok(()));
        assert_eq!(with("features", "datetime64", &[8, 30]), Ok(()));
        let error = with("features", "float64", &[-1, 30]).unwrap_err();
        assert_eq!(error, "input \"features\" is FP64 in its MLmodel and FP32 in the graph");
        let error = with("features", "float32", &[-1, 31]).unwrap_err();
        assert_eq!(error, "input \"features\" is [-1, 31] in its MLmodel and [-1, 30] in the graph");
        assert!(with("features", "float32", &[-1]).is_err());
        let error = with("x", "float32", &[-1, 30]).unwrap_err();
        assert_eq!(error, "input \"x\" is in its MLmodel, and the graph has features");
    }

    #[test]
    fn one_tensor_without_a_name_is_the_graphs_only_one() {
        let unnamed = json!({ "type": "tensor", "tensor-spec": { "dtype": "int64", "shape": [-1, 2] } });
        let fields = std::slice::from_ref(&unnamed);
        assert_eq!(check(fields, &[("a", DataType::Int64, &[-1, 2])]), Ok(()));
        assert!(check(fields, &[("a", DataType::Int64, &[-1, 3])]).is_err());
        assert_eq!(check(fields, &[("a", DataType::Int64, &[1]), ("b", DataType::Int64, &[1])]), Ok(()));
    }

    #[test]
    fn columns_are_inputs_of_their_name_or_one_inputs_columns() {
        let column = |name: &str, kind: &str| json!({ "name": name, "type": kind, "required": true });
        let table = [column("age", "long"), column("plan", "string")];
        let one: &[i64] = &[-1, 1];
        assert_eq!(check(&table, &[("age", DataType::Int64, one), ("plan", DataType::Bytes, one)]), Ok(()));
        assert!(check(&table, &[("age", DataType::Fp32, one), ("plan", DataType::Bytes, one)]).is_err());
        let numbers = [column("a", "double"), column("b", "double")];
        assert_eq!(check(&numbers, &[("x", DataType::Fp32, &[-1, 2])]), Ok(()));
        let error = check(&numbers, &[("x", DataType::Fp32, &[-1, 3])]).unwrap_err();
        assert_eq!(error, "its MLmodel has 2 columns and input \"x\" of the graph has 3 values a row");
    }

    #[test]
    fn what_is_odd_is_passed_over() {
        let fields = json!([
            { "name": "when", "type": "datetime" },
            { "name": "map", "type": "object", "properties": {} },
            { "type": "tensor", "tensor-spec": { "dtype": "float32", "shape": ["N"] } },
            7,
        ]);
        let read = signature(&fields, &Value::Null).inputs.unwrap();
        assert_eq!(read.iter().map(|spec| spec.datatype).collect::<Vec<_>>(), [None, None]);
        assert_eq!(MlSignature::read(&Value::Null), None);
        assert_eq!(MlSignature::read(&json!({ "inputs": null, "outputs": "no JSON" })), None);
        assert!(MlSignature::read(&json!({ "inputs": [{ "type": "long" }] })).is_some());
    }

    proptest! {
        #[test]
        fn a_signature_made_from_a_graph_agrees_with_it(
            inputs in prop::collection::vec(("[a-z]{1,3}", 0_usize..4, prop::collection::vec(-1_i64..4, 0..4)), 0..4)
        ) {
            let types = [("float32", DataType::Fp32), ("int64", DataType::Int64), ("object", DataType::Bytes), ("bool", DataType::Bool)];
            let mut inputs = inputs;
            inputs.sort();
            inputs.dedup_by(|left, right| left.0 == right.0);
            let fields: Vec<_> = inputs.iter().map(|(name, at, shape)| tensor(name, types[*at].0, shape)).collect();
            let specs: Vec<_> = inputs.iter().map(|(name, at, shape)| (name.as_str(), types[*at].1, shape.as_slice())).collect();
            prop_assert_eq!(check(&fields, &specs), Ok(()));
        }
    }
}
