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

/// A version in a repository's index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct IndexEntry<'a> {
    /// The model's name.
    pub name: &'a str,
    /// The version.
    pub version: &'a str,
    /// Whether it can be asked.
    pub state: IndexState,
    /// Why it is in that state; empty if there is nothing to say.
    pub reason: &'a str,
}

/// The states of Triton's model repository extension that occur here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum IndexState {
    /// It can be asked.
    Ready,
    /// It is on its way.
    Loading,
    /// It cannot.
    Unavailable,
}

/// The body of `POST /v2/repository/index`: a list, as Triton's clients read it.
#[must_use]
pub fn encode_repository_index(entries: &[IndexEntry<'_>]) -> Vec<u8> {
    to_json(&entries)
}

/// Whether a request for the index wants only what is ready. Clients send no body, or an object; keys other than
/// `ready` are passed over.
///
/// # Errors
/// What was expected and what came, for people.
pub fn decode_index_request(body: &[u8]) -> Result<bool, String> {
    #[derive(serde::Deserialize)]
    struct IndexRequest {
        #[serde(default)]
        ready: Option<bool>,
    }
    if body.trim_ascii().is_empty() {
        return Ok(false);
    }
    serde_json::from_slice(body)
        .map(|request: IndexRequest| request.ready.unwrap_or(false))
        .map_err(|error| format!("expected no body, or {{\"ready\":true}}: {error}"))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_for_the_index_may_say_that_it_wants_what_is_ready() {
        for (body, ready) in [
            ("", false),
            (" \n", false),
            ("{}", false),
            ("{\"ready\":null}", false),
            ("{\"ready\":true,\"x\":1}", true),
        ] {
            assert_eq!(decode_index_request(body.as_bytes()), Ok(ready), "{body}");
        }
        for body in ["{", "7", "{\"ready\":1}"] {
            assert!(decode_index_request(body.as_bytes()).unwrap_err().starts_with("expected no body, or"), "{body}");
        }
    }

    #[test]
    fn the_index_is_a_list_with_every_member() {
        let entry = IndexEntry { name: "m", version: "3", state: IndexState::Unavailable, reason: "corrupt" };
        let ready = IndexEntry { state: IndexState::Ready, reason: "", ..entry };
        let text = String::from_utf8(encode_repository_index(&[entry, ready])).unwrap();
        assert_eq!(
            text,
            r#"[{"name":"m","version":"3","state":"UNAVAILABLE","reason":"corrupt"},{"name":"m","version":"3","state":"READY","reason":""}]"#
        );
    }
}
