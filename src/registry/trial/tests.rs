//! What makes a version pass, and what does not, on a graph that reads a table of two rows: 0 and 1 are in it.

use super::*;
use crate::engine::samples::{Dim, FLOAT, INT64, Model};
use crate::engine::{EngineChoice, Engines, LoadOptions, RuntimeSearch};
use crate::profile::{Column, Kind};
use crate::tensor::{DataType, Shape, TensorData};
use serde_json::{Value, json};
use std::fs;

/// `y = table[i]`, with 0.5 and 1e30 in the table.
struct Case {
    directory: tempfile::TempDir,
    graph: LoadedGraph,
}

impl Case {
    fn new() -> Self {
        let model = Model::new()
            .input("i", INT64, &[Dim::Named("N")])
            .floats("table", &[2], &[0.5, 1e30])
            .node("Gather", &["table", "i"], &["y"])
            .output("y", FLOAT, &[Dim::Named("N")]);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("model.onnx");
        fs::write(&path, model.bytes()).unwrap();
        let engines = Engines::discover(&RuntimeSearch::default());
        let graph = engines.load(&path, EngineChoice::Tract, &LoadOptions::default()).unwrap();
        Self { directory, graph }
    }

    fn with(self, file: &str, text: impl ToString) -> Self {
        fs::write(self.directory.path().join(file), text.to_string()).unwrap();
        self
    }

    fn read(&self, profile: Option<&Profile>, limit: u32) -> Result<Trial, RegistryError> {
        Trial::read(self.directory.path(), self.graph.signature(), profile, NonZeroU32::new(limit))
    }

    /// What is odd about a version that passes, or why it does not.
    fn outcome(&self, profile: Option<&Profile>) -> Result<Vec<String>, String> {
        let all = || {
            let trial = self.read(profile, 0)?;
            let mut instance = trial.open(&self.graph)?;
            trial.prove(instance.as_mut(), self.graph.signature())
        };
        all().map_err(|error: RegistryError| error.to_string())
    }
}

/// A profile whose only column has been these two numbers.
fn profile(low: f64, high: f64) -> Profile {
    let edges = vec![low, low.next_up(), high, high.next_up()];
    let column =
        Column { tensor: "i".into(), kind: Kind::Categorical, edges, counts: vec![9, 0, 9], ..Column::default() };
    Profile { inputs: vec![column], ..Profile::default() }
}

fn case(indices: &[i64], values: &Value) -> Value {
    let shape = [indices.len()];
    json!({
        "request": {"inputs": [{"name": "i", "shape": shape, "datatype": "INT64", "data": indices}]},
        "response": {"outputs": [{"name": "y", "shape": shape, "datatype": "FP32", "data": values}]},
    })
}

fn golden(cases: &[Value]) -> Value {
    json!({"format": 1, "cases": cases})
}

#[test]
fn a_model_that_fails_on_rows_like_those_it_would_get_is_refused() {
    assert_eq!(Case::new().outcome(None), Ok(Vec::new()), "zeros are in the table");
    assert_eq!(Case::new().outcome(Some(&profile(0.0, 1.0))), Ok(Vec::new()));
    let reason = Case::new().outcome(Some(&profile(1.0, 2.0))).unwrap_err();
    assert!(reason.starts_with("it fails on rows made up from its profile: tract"), "{reason}");
    assert_eq!(Case::new().with("input_example.json", "[1, 0]").outcome(None), Ok(Vec::new()));
    let reason = Case::new().with("input_example.json", "[1, 7]").outcome(None).unwrap_err();
    assert!(reason.starts_with("it fails on input_example.json: tract"), "{reason}");
}

#[test]
fn an_example_comes_before_the_profile_and_both_before_zeros() {
    let rows = |case: &Case, profile: Option<&Profile>, rows| {
        let inputs = case.read(profile, 4).unwrap().inputs(case.graph.signature(), rows).unwrap();
        let TensorData::Int64(values) = inputs[0].data() else { panic!("another type") };
        values.clone()
    };
    let case = Case::new();
    assert_eq!(rows(&case, None, 3), [0, 0, 0]);
    assert!(rows(&case, Some(&profile(0.0, 1.0)), 4).contains(&1));
    let case = case.with("input_example.json", "[1, 0, 1]");
    assert_eq!(rows(&case, Some(&profile(0.0, 1.0)), 1), [1]);
    assert_eq!(rows(&case, None, 64), [1, 0, 1, 1], "no more than a request may have");
    let case = case.with("serving_input_example.json", "what?");
    assert_eq!(rows(&case, None, 2), [1, 0], "what is not understood is passed over");
}

#[test]
fn golden_answers_that_hold_let_a_version_pass() {
    let known = json!([1e30, 0.5]);
    let file = golden(&[case(&[0], &json!([0.5])), case(&[1, 0], &known), case(&[], &json!([]))]);
    assert_eq!(Case::new().with(GOLDEN_FILE, file).outcome(None), Ok(Vec::new()));
    let mut near = golden(&[case(&[0], &json!([0.51]))]);
    assert!(Case::new().with(GOLDEN_FILE, &near).outcome(None).is_err());
    near["tolerance"] = json!({"absolute": 0.1});
    assert_eq!(Case::new().with(GOLDEN_FILE, &near).outcome(None), Ok(Vec::new()));
    near["cases"][0]["tolerance"] = json!({"relative": 1e-3});
    assert!(Case::new().with(GOLDEN_FILE, &near).outcome(None).is_err(), "a case's own stands in its place");
}

#[test]
fn the_first_golden_answer_that_does_not_hold_is_named_with_its_place() {
    let file = golden(&[case(&[0], &json!([0.5])), case(&[0, 0], &json!([0.5, 0.75]))]);
    let reason = Case::new().with(GOLDEN_FILE, file).outcome(None).unwrap_err();
    assert_eq!(
        reason,
        "golden.json, case 2: output \"y\", value 1: expected 0.75, found 0.5, tolerance 1e-6 + 1e-5 of the expected value"
    );
    let reason = Case::new().with(GOLDEN_FILE, golden(&[case(&[5], &json!([0.5]))])).outcome(None).unwrap_err();
    assert!(reason.starts_with("golden.json, case 1: tract"), "{reason}");
}

#[test]
fn golden_answers_that_cannot_be_asked_refuse_the_version() {
    let refused = |change: &dyn Fn(&mut Value), part: &str| {
        let mut file = golden(&[case(&[0], &json!([0.5]))]);
        change(&mut file);
        let reason = Case::new().with(GOLDEN_FILE, &file).outcome(None).unwrap_err();
        assert!(reason.starts_with("golden.json") && reason.contains(part), "{part}: {reason}");
    };
    refused(&|file| file["format"] = json!(2), "expected format 1, found 2");
    refused(&|file| file["cases"] = json!([]), "expected 1 to 256 cases, found 0");
    refused(&|file| file["cases"] = json!(vec![case(&[0], &json!([0.5])); 257]), "found 257");
    refused(&|file| file["tolerence"] = json!({}), "unknown field `tolerence`");
    refused(&|file| file["cases"][0]["tolerance"] = json!({"absolut": 1}), "unknown field `absolut`");
    refused(&|file| file["cases"][0]["tolerance"] = json!({"absolute": -1}), "from 0 on");
    refused(&|file| file["cases"][0]["response"]["outputs"] = json!([]), "names no outputs");
    refused(&|file| file["cases"][0]["response"]["outputs"][0]["name"] = json!("z"), "expected an output \"z\"");
    refused(&|file| file["cases"][0]["request"]["inputs"][0]["datatype"] = json!("FP32"), "does not fit the model");
    refused(&|file| file["cases"][0]["request"] = json!(7), "does not fit the model");
    let twice = |file: &mut Value| {
        let output = file["cases"][0]["response"]["outputs"][0].clone();
        file["cases"][0]["response"]["outputs"].as_array_mut().unwrap().push(output);
    };
    refused(&twice, "is there twice");
    for text in ["", "[]", "{\"format\": 1", &" ".repeat(GOLDEN_LIMIT as usize + 1)] {
        let reason = Case::new().with(GOLDEN_FILE, text).outcome(None).unwrap_err();
        assert!(reason.starts_with("golden.json"), "{reason}");
    }
}

#[test]
fn outputs_that_are_not_what_the_graph_declares_are_told_and_not_refused() {
    let spec = |shape: &[Dimension]| TensorSpec { name: "y".into(), datatype: DataType::Fp32, shape: shape.to_vec() };
    let signature = |shape: &[Dimension]| Signature { inputs: Vec::new(), outputs: vec![spec(shape)] };
    let tensor = |value: f32| Tensor::try_new(Shape::matrix(1, 1), TensorData::Fp32(vec![value])).unwrap();
    let declared = signature(&[Dimension::Free("N".into()), Dimension::Fixed(1)]);
    assert_eq!(oddities(&declared, &[tensor(1.0)], &[tensor(2.0)]), [""; 0]);
    let found = oddities(&declared, &[tensor(1.0)], &[tensor(f32::NAN)]);
    assert_eq!(found, ["output \"y\" is not finite, and all inputs are"]);
    assert_eq!(oddities(&declared, &[tensor(f32::NAN)], &[tensor(f32::NAN)]), [""; 0], "what went in came out");
    for shape in [&[Dimension::Free("N".into())][..], &[Dimension::Fixed(1), Dimension::Fixed(2)]] {
        let found = oddities(&signature(shape), &[], &[tensor(1.0)]);
        assert!(found.len() == 1 && found[0].contains("has shape [1, 1], the graph declares"), "{found:?}");
    }
}
