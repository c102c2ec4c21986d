//! Questions about the server and its models: liveness, readiness, metadata, what is in the repository.
//!
//! Answered from the snapshot on the worker that got the question. Health answers carry a body although the protocol's
//! text wants none: KServe's client reads it, and it harms nobody.
//!
//! Invariant: nothing here changes anything.

use super::paths::Question;
use super::respond::{self, Answer};
use super::{Gate, Limits};
use crate::catalog::{CatalogError, Entry, Model, Snapshot, VersionStatus};
use crate::protocol::oip::{self, IndexEntry, IndexState};
use hyper::StatusCode;
use std::sync::Arc;

/// The longest body of a request for the index.
const INDEX_BODY: usize = 4 << 10;

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

/// What holds for the body of a request for the index.
pub(super) fn index_limits(limits: &Limits) -> Limits {
    Limits { max_body: limits.max_body.min(INDEX_BODY), ..*limits }
}

/// Answers a request for the index: every version that is known, or only those that can be asked, and why the others
/// cannot.
pub(super) fn index(gate: &Gate, body: &[u8]) -> Answer {
    match oip::decode_index_request(body) {
        Ok(only_ready) => respond::json(StatusCode::OK, encode_index(&gate.catalog.snapshot(), only_ready)),
        Err(reason) => respond::error_body(StatusCode::BAD_REQUEST, &reason),
    }
}

fn encode_index(snapshot: &Snapshot, only_ready: bool) -> Vec<u8> {
    let entries = snapshot.names().into_iter().filter_map(|name| snapshot.models.get(name));
    let versions =
        entries.flat_map(|entry| entry.versions.iter().map(|(version, status)| (&entry.name, version, status)));
    let numbered: Vec<_> =
        versions.map(|(name, version, status)| (name, version.to_string(), stands(status))).collect();
    let rows =
        numbered.iter().map(|(name, version, (state, reason))| IndexEntry { name, version, state: *state, reason });
    let rows: Vec<IndexEntry<'_>> = rows.filter(|row| !only_ready || row.state == IndexState::Ready).collect();
    oip::encode_repository_index(&rows)
}

/// How a version stands, in the words of the extension, and why.
fn stands(status: &VersionStatus) -> (IndexState, String) {
    match status {
        VersionStatus::Loaded { note, .. } => (IndexState::Ready, note.clone().unwrap_or_default()),
        VersionStatus::Loading => (IndexState::Loading, String::new()),
        VersionStatus::Settling => (IndexState::Loading, "its files are still changing".to_owned()),
        VersionStatus::OnDisk => (IndexState::Unavailable, "it is not asked for".to_owned()),
        VersionStatus::Missing => (IndexState::Unavailable, "it is not in the repository".to_owned()),
        VersionStatus::Failed { reason, .. } => (IndexState::Unavailable, reason.clone()),
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
