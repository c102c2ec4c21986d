//! The routes of the admin port.
//!
//! | route | what |
//! |---|---|
//! | `GET /livez` | 200 while the process runs |
//! | `GET /readyz` | 200 when it should get traffic, else 503 |
//! | `GET /metrics` | Prometheus text |
//! | `GET /api/v1/models`, `/api/v1/models/{m}` | models, versions, splits |
//! | `PUT /api/v1/models/{m}/split` | `{"weights":{"1":90,"2":10}}`, percent in 0.01 steps; answers when it is live |
//! | `DELETE /api/v1/models/{m}/split` | the highest version serves again |
//! | `POST /api/v1/models/{m}/versions/{v}/retry` | a version that was refused is loaded again, if it is wanted; 202 |
//! | `GET /api/v1/models/{m}/drift` | distances, 95 % intervals and verdicts of every version; `?segment=…` leaves out the other segments |
//! | `GET /api/v1/models/{m}/profile` | what every version has counted since it was deployed, or `?version=N` alone |
//! | `GET /api/v1/models/{m}/report` | all of that with pictures, as JSON or as a page; `?format=json\|html`, `?version=`, `?names=true` |
//! | `GET /api/v1/rollouts`, `/api/v1/rollouts/{m}` | the latest rollout of each model: where it stands, why, what was last seen; figures of all of them |
//! | `POST /api/v1/rollouts/{m}/start` | begins one: `{"version":2}`, or with nothing to the version that is wanted; `"test":{"weight":50,"question":"errors"}` makes it a test that moves nothing |
//! | `POST /api/v1/rollouts/{m}/pause\|resume\|promote\|abort` | answers when it is done; `{"generation":7}` only if nothing changed since, of which an abort takes no notice |
//! | `GET /api/v1/rollouts/{m}/explain` | every entry of its journal, each decision made again; `?id=` of an earlier one |
//! | `GET /api/v1/sources` | models that come from a registry: when it last answered, downloads, lineage, what is wrong |
//! | `POST /hooks/{source}` | webhooks of registries, see [`hooks`]; 202 once verified |
//! | `GET /api/v1/hooks`, `/api/v1/hooks/{id}` | webhooks that were taken, the latest first, `?limit=`; one with its body |
//! | `POST /api/v1/hooks/{id}/replay` | takes one again, as if it came now |
//! | `GET /api/v1/alerts` | open alerts, then the latest resolved ones |
//! | `POST /api/v1/reload` | reads the configuration again |
//!
//! Invariant: every refusal is a 4xx with `{"error":…}` that says what was expected.

use super::{
    AdminError, Command, Desk, drift_view, hooks, inbox, metrics_page, profile_view, report, rollouts, split, views,
};
use crate::serve::respond::{self, Answer};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, StatusCode};
use std::sync::PoisonError;
use std::time::SystemTime;
use tokio::sync::oneshot;

/// Prometheus' text format.
const METRICS_TYPE: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// A path that came is quoted in errors up to this many characters.
pub(super) const QUOTED_PATH: usize = 200;

/// Answers one admin request.
pub(super) async fn answer(desk: &Desk, request: Request<Incoming>) -> Result<Answer, AdminError> {
    let path = request.uri().path().trim_end_matches('/').to_owned();
    let method = request.method().clone();
    match path.as_str() {
        "/livez" => return only(&method, &Method::GET, &path, "GET").map(|()| health(true)),
        "/readyz" => return only(&method, &Method::GET, &path, "GET").map(|()| health(desk.gate.is_ready())),
        _ => {}
    }
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    if let ["hooks", source] = segments.as_slice() {
        return hooks::answer(desk, (source, &path), request).await;
    }
    desk.access.check(&method, request.headers())?;
    match segments.as_slice() {
        ["metrics"] => only(&method, &Method::GET, &path, "GET").map(|()| metrics(desk)),
        ["api", "v1", "models"] => {
            only(&method, &Method::GET, &path, "GET")?;
            Ok(respond::value(&views::models(&desk.gate.catalog.snapshot(), &desk.state, &desk.rollouts.posted())))
        }
        ["api", "v1", "models", name, rest @ ..] => of_model(desk, (name, rest), (&method, &path), request).await,
        ["api", "v1", "rollouts", rest @ ..] => rollouts::answer(desk, (rest, &path), request).await,
        ["api", "v1", "sources"] => {
            only(&method, &Method::GET, &path, "GET")?;
            Ok(respond::value(&serde_json::json!({ "sources": desk.sources.views(SystemTime::now()) })))
        }
        ["api", "v1", "hooks", rest @ ..] => inbox::answer(desk, (rest, &path), &request).await,
        ["api", "v1", "alerts"] => only(&method, &Method::GET, &path, "GET").map(|()| alerts(desk)),
        ["api", "v1", "reload"] => {
            only(&method, &Method::POST, &path, "POST")?;
            reload(desk).await
        }
        _ => Err(unknown_path(&path)),
    }
}

/// Answers what is asked of one model.
async fn of_model(
    desk: &Desk,
    (name, rest): (&str, &[&str]),
    (method, path): (&Method, &str),
    request: Request<Incoming>,
) -> Result<Answer, AdminError> {
    match rest {
        [] => {
            only(method, &Method::GET, path, "GET")?;
            let snapshot = desk.gate.catalog.snapshot();
            let entry = snapshot.models.get(name).ok_or_else(|| unknown_model(name))?;
            let (source, posted) = (desk.sources.view(name, SystemTime::now()), desk.rollouts.posted());
            Ok(respond::value(&views::model(entry, source.as_ref(), &posted)))
        }
        ["drift"] => {
            only(method, &Method::GET, path, "GET")?;
            let snapshot = desk.gate.catalog.snapshot();
            let entry = snapshot.models.get(name).ok_or_else(|| unknown_model(name))?;
            let segment = drift_view::segment_of_query(request.uri().query());
            Ok(respond::value(&drift_view::drift(entry, &desk.board.latest(), segment.as_deref())))
        }
        ["profile"] => {
            only(method, &Method::GET, path, "GET")?;
            if !desk.gate.catalog.snapshot().models.contains_key(name) {
                return Err(unknown_model(name));
            }
            let body = profile_view::profile(name, request.uri().query(), &desk.board.live())?;
            Ok(respond::json(StatusCode::OK, body))
        }
        ["report"] => {
            only(method, &Method::GET, path, "GET")?;
            report::answer(desk, name, &request).await
        }
        ["split"] => split::answer(desk, name, path, request).await,
        ["versions", version, "retry"] => retry(desk, (name, version), (method, path)).await,
        _ => Err(unknown_path(path)),
    }
}

/// A path that is not there.
pub(super) fn unknown_path(path: &str) -> AdminError {
    AdminError::UnknownPath { path: path.chars().take(QUOTED_PATH).collect() }
}

fn alerts(desk: &Desk) -> Answer {
    let book = desk.alerts.lock().unwrap_or_else(PoisonError::into_inner);
    respond::value(&serde_json::json!({ "alerts": book.all().collect::<Vec<_>>() }))
}

/// Refuses any other method.
pub(super) fn only(found: &Method, wanted: &Method, path: &str, expected: &'static str) -> Result<(), AdminError> {
    if found == wanted {
        return Ok(());
    }
    Err(AdminError::WrongMethod {
        path: path.chars().take(QUOTED_PATH).collect(),
        expected,
        found: found.as_str().chars().take(20).collect(),
    })
}

pub(super) fn unknown_model(name: &str) -> AdminError {
    AdminError::UnknownModel { name: name.chars().take(QUOTED_PATH).collect() }
}

fn health(good: bool) -> Answer {
    let (status, body) =
        if good { (StatusCode::OK, r#"{"ok":true}"#) } else { (StatusCode::SERVICE_UNAVAILABLE, r#"{"ok":false}"#) };
    respond::json(status, body)
}

fn metrics(desk: &Desk) -> Answer {
    let mut answer = respond::json(StatusCode::OK, metrics_page::render(desk));
    answer.headers_mut().insert(CONTENT_TYPE, METRICS_TYPE);
    answer
}

/// Accepted and not done: whether the version loads this time is seen where its state is shown.
async fn retry(desk: &Desk, (name, text): (&str, &str), (method, path): (&Method, &str)) -> Result<Answer, AdminError> {
    only(method, &Method::POST, path, "POST")?;
    let reason = || format!("version \"{}\" is not a whole number", text.chars().take(20).collect::<String>());
    let version = text.parse().ok().filter(|version: &u64| version.to_string() == text);
    let version = version.ok_or_else(|| AdminError::BadQuery { reason: reason() })?;
    let (reply, outcome) = oneshot::channel();
    let command = Command::Retry { model: name.to_owned(), version, reply };
    desk.commands.try_send(command).map_err(|_full| AdminError::Busy)?;
    outcome.await.map_err(|_gone| AdminError::Busy)??;
    let body = serde_json::json!({ "model": name, "version": text, "retrying": true });
    Ok(respond::json(StatusCode::ACCEPTED, body.to_string()))
}

async fn reload(desk: &Desk) -> Result<Answer, AdminError> {
    let (reply, outcome) = oneshot::channel();
    desk.commands.try_send(Command::Reload { reply }).map_err(|_full| AdminError::Busy)?;
    match outcome.await {
        Ok(Ok(outcome)) => Ok(respond::value(&outcome)),
        Ok(Err(problems)) => Err(AdminError::BadConfig { problems }),
        Err(_gone) => Err(AdminError::Busy),
    }
}
