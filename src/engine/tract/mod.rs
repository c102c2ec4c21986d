//! The embedded engine: tract.
//!
//! It is compiled in, so a model of plain tensor operators is served with nothing installed. The graph is optimised once
//! with its batch size left symbolic, and every instance spawns its own state from the shared plan; loading once for each
//! batch size would be a little faster per call and would need a cache of plans.
//!
//! A wrong answer is worse than a refusal, and tract 0.23 gives one in two cases, which are refused here first. It looks
//! operators up by name alone, so one of a foreign domain that shares its name with a standard one would be run as the
//! standard one. And a `TreeEnsembleClassifier` of two classes labels its rows by a score that it compares with nothing.
//!
//! Copies: the values of an input are copied once into memory aligned the way tract's kernels want it (strings once
//! each), the values of an output once into a plain vector. tract's tensors own their memory, so neither can be
//! borrowed.
//!
//! Invariant: a state in which a run failed is not run again, since the sizes of that run's dimensions stick to it.

mod convert;

use super::onnx::{OnnxFile, Operator};
use super::{Engine, EngineError, Instance, Plan, guard};
use crate::tensor::{DataType, Signature, Tensor, TensorSpec};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use tract_onnx::Onnx;
use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::{
    Datum, Framework, InferenceFact, InferenceModel, InferenceModelExt, IntoRunnable, SpecialOps, TDim, TVec,
    TractResult, TypedModel, TypedRunnableModel, TypedSimpleState, tract_data::TractError,
};
use tract_onnx::tract_core::ops::cast::cast;
use tract_onnx::tract_hir::infer::Factoid;

const ENGINE: &str = Engine::Tract.name();
/// Domains whose operators tract implements; elsewhere a known name means another operator.
const KNOWN_DOMAINS: [&str; 4] = ["", "ai.onnx", "ai.onnx.ml", "com.microsoft"];

/// A model as tract runs it.
#[derive(Debug)]
pub(super) struct TractPlan {
    model: Arc<TypedRunnableModel>,
    outputs: Arc<[DataType]>,
}

#[derive(Debug)]
struct TractInstance {
    model: Arc<TypedRunnableModel>,
    outputs: Arc<[DataType]>,
    /// Absent after a run that failed.
    state: Option<TypedSimpleState>,
}

/// What a load leaves to choice. Exporters differ, and no one way loads what all of them write.
#[derive(Clone, Copy, Debug)]
struct Reading {
    /// Whether outermost dimensions without a name are taken to be the same number of rows.
    rows_are_shared: bool,
    /// Whether the shapes that the exporter noted inside the graph are believed. Some are left over from an export with
    /// a fixed batch size.
    shapes_are_believed: bool,
}

const READINGS: [Reading; 4] = [
    Reading { rows_are_shared: false, shapes_are_believed: true },
    Reading { rows_are_shared: true, shapes_are_believed: true },
    Reading { rows_are_shared: false, shapes_are_believed: false },
    Reading { rows_are_shared: true, shapes_are_believed: false },
];

impl TractPlan {
    /// Loads `file`; `remedy` says how to get an engine with more operators.
    pub(super) fn load(file: &OnnxFile, remedy: &str) -> Result<Self, EngineError> {
        let framework = tract_onnx::onnx();
        check_operators(file, &framework, remedy)?;
        check_binary_trees(file, remedy)?;
        check_datatypes(file)?;
        let model = catch_unwind(AssertUnwindSafe(|| build(file, &framework, remedy))).unwrap_or_else(|panic| {
            let reason = guard::message(panic);
            Err(EngineError::Panicked { engine: ENGINE, doing: "loading the model", reason })
        })?;
        Ok(Self { model, outputs: file.signature.outputs.iter().map(|output| output.datatype).collect() })
    }
}

impl Plan for TractPlan {
    fn engine(&self) -> Engine {
        Engine::Tract
    }

    fn open(&self) -> Result<Box<dyn Instance>, EngineError> {
        let state = Some(self.model.spawn().map_err(|error| run_failed(&error))?);
        Ok(Box::new(TractInstance { model: Arc::clone(&self.model), outputs: Arc::clone(&self.outputs), state }))
    }
}

impl Instance for TractInstance {
    fn run(&mut self, inputs: &[Tensor], outputs: &mut Vec<Tensor>) -> Result<(), EngineError> {
        outputs.clear();
        let mut state = match self.state.take() {
            Some(state) => state,
            None => self.model.spawn().map_err(|error| run_failed(&error))?,
        };
        let mut values = TVec::with_capacity(inputs.len());
        for (index, input) in inputs.iter().enumerate() {
            values.push(convert::to_tract(index, input)?.into());
        }
        let results = state.run(values).map_err(|error| run_failed(&error))?;
        for (result, datatype) in results.iter().zip(&*self.outputs) {
            outputs.push(convert::from_tract(result, *datatype)?);
        }
        self.state = Some(state);
        Ok(())
    }
}

fn check_operators(file: &OnnxFile, framework: &Onnx, remedy: &str) -> Result<(), EngineError> {
    let is_known = |operator: &Operator| {
        KNOWN_DOMAINS.contains(&operator.domain.as_str()) && framework.op_register.0.contains_key(&operator.name)
    };
    let mut unknown: Vec<String> =
        file.operators.iter().filter(|operator| !is_known(operator)).map(Operator::qualified).collect();
    unknown.sort_unstable();
    unknown.dedup();
    if unknown.is_empty() {
        return Ok(());
    }
    Err(EngineError::UnsupportedOperators {
        path: file.path.clone(),
        operators: unknown.join(", "),
        remedy: remedy.to_owned(),
    })
}

fn check_binary_trees(file: &OnnxFile, remedy: &str) -> Result<(), EngineError> {
    let wrong = |operator: &&Operator| operator.name == "TreeEnsembleClassifier" && operator.classes == 2;
    match file.operators.iter().find(wrong) {
        None => Ok(()),
        Some(operator) => {
            Err(operator_failed(file, operator, format!("its labels of two classes are wrong; {remedy}")))
        }
    }
}

fn check_datatypes(file: &OnnxFile) -> Result<(), EngineError> {
    let sides = [("input", &file.signature.inputs), ("output", &file.signature.outputs)];
    for (side, spec) in sides.iter().flat_map(|(side, specs)| specs.iter().map(move |spec| (*side, spec))) {
        if convert::datum_type(spec.datatype).is_none() {
            return Err(EngineError::UnsupportedTensor {
                path: file.path.clone(),
                side,
                name: spec.name.clone(),
                reason: format!("the embedded engine has no datatype {}", spec.datatype),
            });
        }
    }
    Ok(())
}

fn build(file: &OnnxFile, framework: &Onnx, remedy: &str) -> Result<Arc<TypedRunnableModel>, EngineError> {
    let proto = read_proto(file, framework).map_err(|error| load_failed(file, &error, remedy))?;
    let mut first_error = None;
    for reading in READINGS {
        match build_with(file, &proto, framework, reading) {
            Ok(model) => return Ok(model),
            // Later readings are guesses; what went wrong with the plain one is what the model's author can mend.
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    Err(first_error.map_or_else(
        || EngineError::Malformed { path: file.path.clone(), reason: "nothing to load" },
        |error| load_failed(file, &error, remedy),
    ))
}

fn read_proto(file: &OnnxFile, framework: &Onnx) -> TractResult<ModelProto> {
    match &file.edited {
        Some(bytes) => framework.proto_model_for_read(&mut bytes.as_slice()),
        None => framework.proto_model_for_path(&file.path),
    }
}

fn build_with(
    file: &OnnxFile,
    proto: &ModelProto,
    framework: &Onnx,
    reading: Reading,
) -> TractResult<Arc<TypedRunnableModel>> {
    let framework = framework.clone().with_ignore_value_info(!reading.shapes_are_believed);
    let parsed = framework.parse(proto, file.folder().to_str())?;
    if !parsed.unresolved_inputs.is_empty() {
        return Err(TractError::msg(format!("nothing computes {}", parsed.unresolved_inputs.join(", "))));
    }
    let mut model = parsed.model;
    declare_inputs(&mut model, &file.signature, reading)?;
    let mut model = model.into_typed()?;
    for (index, output) in file.signature.outputs.iter().enumerate() {
        settle_output(&mut model, index, output)?;
    }
    model.into_optimized()?.into_runnable()
}

/// Gives every free dimension of the inputs a symbol, so that shapes can be worked out from them.
fn declare_inputs(model: &mut InferenceModel, signature: &Signature, reading: Reading) -> TractResult<()> {
    let symbols = model.symbols.clone();
    let rows = symbols.new_with_prefix("rows");
    for (index, spec) in signature.inputs.iter().enumerate() {
        let declared = model.input_fact(index)?.clone();
        let dimensions = declared.shape.dims().enumerate().map(|(axis, dimension)| match dimension.concretize() {
            Some(known) => known,
            None if axis == 0 && reading.rows_are_shared => TDim::from(&rows),
            None => TDim::from(symbols.new_with_prefix("free")),
        });
        let dimensions: TVec<TDim> = dimensions.collect();
        let datum_type = convert::datum_type(spec.datatype)
            .ok_or_else(|| TractError::msg(format!("there is no datatype {}", spec.datatype)))?;
        model.set_input_fact(index, InferenceFact::dt_shape(datum_type, dimensions))?;
    }
    Ok(())
}

/// Makes the output at `index` be of its declared datatype. tract computes with shapes in a type of their own, symbols
/// included, which become 64-bit integers only by a cast inside the graph, where the symbols' values are known.
fn settle_output(model: &mut TypedModel, index: usize, spec: &TensorSpec) -> TractResult<()> {
    let found = model.output_fact(index)?.datum_type;
    if Some(found) == convert::datum_type(spec.datatype) {
        return Ok(());
    }
    if found != TDim::datum_type() || spec.datatype != DataType::Int64 {
        let (name, declared) = (&spec.name, spec.datatype);
        return Err(TractError::msg(format!("output \"{name}\" is declared {declared}, but computes {found:?}")));
    }
    let outlet = model.output_outlets()?[index];
    let integers = model.wire_node(format!("{}.as_integers", spec.name), cast(i64::datum_type()), &[outlet])?;
    model.outputs[index] = integers[0];
    Ok(())
}

fn run_failed(error: &TractError) -> EngineError {
    EngineError::RunFailed { engine: ENGINE, reason: format!("{error:#}") }
}

/// Names the node at fault, where what tract says contains the name of one.
fn load_failed(file: &OnnxFile, error: &TractError, remedy: &str) -> EngineError {
    let reason = format!("{error:#}; {remedy}");
    let outermost = error.to_string();
    let is_named = |operator: &&Operator| {
        let node = &operator.node;
        !node.is_empty()
            && (outermost.contains(&format!("\"{node}\"")) || outermost.contains(&format!("node {node} (")))
    };
    match file.operators.iter().find(is_named) {
        Some(operator) => operator_failed(file, operator, reason),
        None => EngineError::LoadFailed { path: file.path.clone(), engine: ENGINE, reason },
    }
}

fn operator_failed(file: &OnnxFile, operator: &Operator, reason: String) -> EngineError {
    EngineError::OperatorFailed {
        path: file.path.clone(),
        engine: ENGINE,
        operator: operator.qualified(),
        node: operator.node.clone(),
        reason,
    }
}
