//! Questions about the server and its models: liveness, readiness, metadata.
//!
//! Answered from the snapshot on the worker that got the question. Health answers carry a body although the protocol's
//! text wants none: KServe's client reads it, and it harms nobody.
//!
//! Invariant: nothing here changes anything.

use super::Gate;
use super::paths::Question;
use super::respond::{self, Answer};
use crate::catalog::{CatalogError, Entry, Model};
use crate::protocol::oip;
use hyper::StatusCode;
use std::sync::Arc;

/// Answers a question.
pub(super) fn answer(gate: &Gate, question: &Question<'_>) -> Answer {
    match question {
        Question::Alive => respond::json(StatusCode::OK, &br#"{"status":"alive"}"#[..]),
        Question::ServerMetadata => {
            respond::json(StatusCode::OK, oip::encode_server_metadata(env!("CARGO_PKG_VERSION")))
        }
        Question::Live => respond::json(StatusCode::OK, oip::encode_live(true)),
        Question::Ready => {
            let ready = gate.is_ready();
            respond::json(ready_status(ready), oip::encode_ready(ready))
        }
        Question::Models => respond::json(StatusCode::OK, oip::encode_model_list(&gate.catalog.snapshot().names())),
        Question::ModelMetadata(name, version) => {
            respond_or_refuse(gate.catalog.find(name, |entry| metadata(entry, version.as_deref())))
        }
        Question::ModelReady(name, version) => respond_or_refuse(gate.catalog.find(name, |entry| {
            let ready = choose(entry, version.as_deref()).is_ok();
            Ok(respond::json(ready_status(ready), oip::encode_model_ready(name, ready)))
        })),
    }
}

fn metadata(entry: &Entry, version: Option<&str>) -> Result<Answer, CatalogError> {
    let model = choose(entry, version)?;
    let versions: Vec<String> = entry.loaded.keys().map(u64::to_string).collect();
    let body = oip::encode_model_metadata(&entry.name, &versions, model.platform(), model.signature());
    Ok(respond::json(StatusCode::OK, body))
}

/// The named version, else the stable one.
fn choose(entry: &Entry, version: Option<&str>) -> Result<Arc<Model>, CatalogError> {
    match version {
        Some(version) => entry.pinned(version).map(|picked| picked.model),
        None => entry.stable().map(Arc::clone).ok_or_else(|| entry.not_ready()),
    }
}

fn ready_status(ready: bool) -> StatusCode {
    if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

fn respond_or_refuse(outcome: Result<Answer, CatalogError>) -> Answer {
    outcome.unwrap_or_else(|error| respond::refusal(&error))
}
