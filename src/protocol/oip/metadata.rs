//! Bodies of metadata and health answers.
//!
//! The protocol's text wants empty bodies for health; KServe's client parses them as JSON and fails on nothing. A body
//! harms no client, so there is one.
//!
//! Invariant: what a body says is an argument of its function; the extension list names only what works.

use crate::tensor::{Signature, TensorSpec};
use serde::Serialize;

#[derive(Serialize)]
struct ServerMetadata<'a> {
    name: &'static str,
    version: &'a str,
    extensions: [&'static str; 0],
}

#[derive(Serialize)]
struct ModelMetadata<'a> {
    name: &'a str,
    versions: Vec<&'a str>,
    platform: &'a str,
    inputs: Vec<TensorMetadata<'a>>,
    outputs: Vec<TensorMetadata<'a>>,
}

#[derive(Serialize)]
struct TensorMetadata<'a> {
    name: &'a str,
    datatype: &'static str,
    shape: Vec<i64>,
}

#[derive(Serialize)]
struct Live {
    live: bool,
}

#[derive(Serialize)]
struct Ready {
    ready: bool,
}

#[derive(Serialize)]
struct ModelReady<'a> {
    name: &'a str,
    ready: bool,
}

#[derive(Serialize)]
struct ModelList<'a> {
    models: Vec<&'a str>,
}

/// The body of `GET /v2`: the server's name, its `version`, and the protocol's extensions, of which none is served.
#[must_use]
pub fn encode_server_metadata(version: &str) -> Vec<u8> {
    to_json(&ServerMetadata { name: "tidegate", version, extensions: [] })
}

/// The body of `GET /v2/models/{model}`. Shapes have -1 for free dimensions, the batch dimension included.
#[must_use]
pub fn encode_model_metadata(
    name: &str,
    versions: &[impl AsRef<str>],
    platform: &str,
    signature: &Signature,
) -> Vec<u8> {
    to_json(&ModelMetadata {
        name,
        versions: versions.iter().map(AsRef::as_ref).collect(),
        platform,
        inputs: describe(&signature.inputs),
        outputs: describe(&signature.outputs),
    })
}

/// The body of `GET /v2/models` and `GET /v1/models`.
#[must_use]
pub fn encode_model_list(names: &[impl AsRef<str>]) -> Vec<u8> {
    to_json(&ModelList { models: names.iter().map(AsRef::as_ref).collect() })
}

/// The body of `GET /v2/health/live`.
#[must_use]
pub fn encode_live(live: bool) -> Vec<u8> {
    to_json(&Live { live })
}

/// The body of `GET /v2/health/ready`.
#[must_use]
pub fn encode_ready(ready: bool) -> Vec<u8> {
    to_json(&Ready { ready })
}

/// The body of `GET /v2/models/{model}/ready` and `GET /v1/models/{model}`.
#[must_use]
pub fn encode_model_ready(name: &str, ready: bool) -> Vec<u8> {
    to_json(&ModelReady { name, ready })
}

fn describe(specs: &[TensorSpec]) -> Vec<TensorMetadata<'_>> {
    specs
        .iter()
        .map(|spec| TensorMetadata { name: &spec.name, datatype: spec.datatype.name(), shape: spec.wire_shape() })
        .collect()
}

fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("structs of strings, numbers and lists always have a JSON form")
}
