//! Both engines, run on the same models. What needs ONNX Runtime stands here and nowhere else, because a process has one:
//! `TIDEGATE_TEST_ORT` says where its library is, else the Python environment `target/python` is looked at, else those
//! parts say why they are left out.

mod loading;
mod running;

use super::onnx::Message;
use super::onnx::samples::{
    Attribute, Dim, FLOAT, Folder, INT64, Model, STRING, affine, identity, scaler, sequence_of_maps, tensor_type,
    zipped_classifier,
};
use super::*;
use crate::error::{Blamed, Fault};
use crate::tensor::{ByteStrings, Shape, TensorData};
use std::path::{Path, PathBuf};

/// Where the tests look for ONNX Runtime.
fn test_search() -> RuntimeSearch {
    let environment = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/python");
    RuntimeSearch {
        explicit: std::env::var_os("TIDEGATE_TEST_ORT").map(PathBuf::from),
        python_environments: vec![environment],
        ..RuntimeSearch::default()
    }
}

/// Both engines, where both are there.
fn engines() -> (Engines, Vec<EngineChoice>) {
    let engines = Engines::discover(&test_search());
    let mut choices = vec![EngineChoice::Tract];
    if engines.onnx_runtime().is_some() {
        choices.push(EngineChoice::OnnxRuntime);
    } else {
        println!("without ONNX Runtime: set TIDEGATE_TEST_ORT to its library ({:?})", engines.report());
    }
    (engines, choices)
}

/// Engines without ONNX Runtime, whatever the process has loaded.
fn tract_alone() -> Engines {
    Engines::discover(&RuntimeSearch::default())
}

fn load(engines: &Engines, model: &Model, choice: EngineChoice) -> Result<LoadedGraph, EngineError> {
    let folder = Folder::new();
    let path = folder.write("model.onnx", &model.bytes());
    engines.load(&path, choice, &LoadOptions::default())
}

fn refusal(engines: &Engines, model: &Model, choice: EngineChoice) -> String {
    load(engines, model, choice).unwrap_err().to_string()
}

/// Runs one instance of `model` on `inputs` with each engine and hands over the outputs: three times, because an instance
/// may keep values from one run to the next.
fn with_each_engine(model: &Model, inputs: &[Tensor], mut check: impl FnMut(&LoadedGraph, &[Tensor])) {
    let (engines, choices) = engines();
    for choice in choices {
        let graph = load(&engines, model, choice).unwrap();
        graph.signature().check(inputs).unwrap();
        let (mut instance, mut outputs) = (graph.instance().unwrap(), Vec::new());
        for _ in 0..3 {
            instance.run(inputs, &mut outputs).unwrap();
            check(&graph, &outputs);
        }
    }
}

fn tensor(shape: &[usize], data: TensorData) -> Tensor {
    Tensor::try_new(Shape::try_new(shape).unwrap(), data).unwrap()
}

fn floats(shape: &[usize], values: &[f32]) -> Tensor {
    tensor(shape, TensorData::Fp32(values.to_vec()))
}

fn strings(shape: &[usize], values: &[&[u8]]) -> Tensor {
    tensor(shape, TensorData::Bytes(values.iter().collect::<ByteStrings>()))
}

/// Two values of every datatype but BF16, at the edges of their ranges, with the number of their element type.
fn edge_values() -> Vec<(u64, TensorData)> {
    vec![
        (1, TensorData::Fp32(vec![f32::NEG_INFINITY, f32::MIN_POSITIVE / 2.0])),
        (2, TensorData::Uint8(vec![0, u8::MAX])),
        (3, TensorData::Int8(vec![i8::MIN, i8::MAX])),
        (4, TensorData::Uint16(vec![0, u16::MAX])),
        (5, TensorData::Int16(vec![i16::MIN, i16::MAX])),
        (6, TensorData::Int32(vec![i32::MIN, i32::MAX])),
        (7, TensorData::Int64(vec![i64::MIN, i64::MAX])),
        (8, TensorData::Bytes([b"".as_slice(), "Größe ✓".as_bytes()].into_iter().collect())),
        (9, TensorData::Bool(vec![true, false])),
        (10, TensorData::Fp16(vec![half::f16::MIN, half::f16::INFINITY])),
        (11, TensorData::Fp64(vec![f64::MIN, f64::EPSILON])),
        (12, TensorData::Uint32(vec![0, u32::MAX])),
        (13, TensorData::Uint64(vec![0, u64::MAX])),
    ]
}

/// Loads a model whose file stays.
fn load_kept(engines: &Engines, model: &Model, choice: EngineChoice) -> (Folder, LoadedGraph) {
    let folder = Folder::new();
    let path = folder.write("model.onnx", &model.bytes());
    let graph = engines.load(&path, choice, &LoadOptions::default()).unwrap();
    (folder, graph)
}
