//! `tidegate golden`: answers of a model as it is now, as the answers that it must always give.
//!
//! Requests in, `golden.json` out. What the file says is described where it is read ([`registry`](crate::registry));
//! whoever makes it from a model that nobody has looked at makes its mistakes golden too, so the first thing to do with
//! it is to read it.
//!
//! Invariant: the file appears whole, and only if the model gives its answers a second time.

use super::{GoldenArgs, say};
use crate::config::EngineChoice;
use crate::engine::{Engines, Instance, LoadOptions, LoadedGraph, RuntimeSearch};
use crate::protocol::{AnswerHead, oip};
use crate::registry::{GOLDEN_FILE, GOLDEN_FORMAT, GOLDEN_LIMIT, MODEL_FILE, hold_golden};
use crate::tensor::{Signature, Tensor};
use serde_json::{Map, Value, json};
use std::fs;

/// Writes the golden answers of a version.
pub(super) fn run(args: &GoldenArgs) -> Result<(), String> {
    let file = args.model.join(MODEL_FILE);
    let engines = Engines::discover(&RuntimeSearch::from_environment(args.onnxruntime.clone()));
    let graph = engines
        .load(&file, EngineChoice::Auto, &LoadOptions::default())
        .map_err(|error| format!("cannot load {}: {error}", file.display()))?;
    let (requests, rows) = (requests(args)?, args.rows.display());
    let mut instance = graph.instance().map_err(|error| error.to_string())?;
    let cases = requests.into_iter().enumerate().map(|(index, request)| {
        case(instance.as_mut(), &graph, request).map_err(|reason| format!("{rows}, request {}: {reason}", index + 1))
    });
    let mut golden = json!({ "format": GOLDEN_FORMAT, "cases": cases.collect::<Result<Vec<Value>, String>>()? });
    if args.absolute.is_some() || args.relative.is_some() {
        let part = |part: Option<f64>| part.unwrap_or_default();
        golden["tolerance"] = json!({ "absolute": part(args.absolute), "relative": part(args.relative) });
    }
    write(args, &golden, &graph)
}

/// One request, or a list of them.
fn requests(args: &GoldenArgs) -> Result<Vec<Value>, String> {
    let path = args.rows.display();
    let unreadable = |error: std::io::Error| format!("cannot read {path}: {error}");
    let length = fs::metadata(&args.rows).map_err(unreadable)?.len();
    if length > GOLDEN_LIMIT {
        return Err(format!("{path} has {length} bytes, over the limit of {GOLDEN_LIMIT}"));
    }
    let text = fs::read(&args.rows).map_err(unreadable)?;
    match serde_json::from_slice(&text).map_err(|error| format!("{path}: {error}"))? {
        Value::Array(requests) => Ok(requests),
        request @ Value::Object(_) => Ok(vec![request]),
        _ => Err(format!("{path}: expected a request, or a list of them")),
    }
}

fn case(instance: &mut dyn Instance, graph: &LoadedGraph, request: Value) -> Result<Value, String> {
    let signature = graph.signature();
    let body = serde_json::to_vec(&request).map_err(|error| error.to_string())?;
    let asked = oip::decode_infer(&body, signature).map_err(|error| error.to_string())?;
    let mut outputs = Vec::new();
    instance.run(&asked.inputs, &mut outputs).map_err(|error| error.to_string())?;
    let response = response(signature, &asked.outputs, &outputs)?;
    Ok(json!({ "request": request, "response": response }))
}

/// The body of the answer, without who answered: another version must give it too.
fn response(signature: &Signature, wanted: &[usize], outputs: &[Tensor]) -> Result<Value, String> {
    let all: Vec<usize> = (0..outputs.len()).collect();
    let wanted = if wanted.is_empty() { &all } else { wanted };
    let named = wanted.iter().map(|&index| (signature.outputs[index].name.as_str(), &outputs[index]));
    let (mut body, head) = (Vec::new(), AnswerHead { id: None, model_name: "", model_version: "" });
    oip::encode_infer(&mut body, &head, named).map_err(|error| error.to_string())?;
    let mut answer: Map<String, Value> = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
    Ok(json!({ "outputs": answer.remove("outputs") }))
}

fn write(args: &GoldenArgs, golden: &Value, graph: &LoadedGraph) -> Result<(), String> {
    let path = args.model.join(GOLDEN_FILE);
    let failed = |error: std::io::Error| format!("cannot write {}: {error}", path.display());
    let staging = tempfile::Builder::new().prefix(".golden").tempdir_in(&args.model).map_err(failed)?;
    let staged = staging.path().join(GOLDEN_FILE);
    let mut text = serde_json::to_vec_pretty(golden).map_err(|error| error.to_string())?;
    text.push(b'\n');
    fs::write(&staged, text).map_err(failed)?;
    let cases = hold_golden(staging.path(), graph).map_err(|error| format!("asked a second time, {error}"))?;
    fs::rename(&staged, &path).map_err(failed)?;
    say(&format!("{}: {cases} cases (run on {})", path.display(), graph.engine_name()));
    Ok(())
}
