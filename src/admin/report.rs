//! `GET /api/v1/models/{m}/report`: what a model looks like, for programs or for people.
//!
//! `?format=` decides; without it a browser, which accepts `text/html`, gets the page, and everybody else JSON. A page of
//! a thousand features takes longer to make than a tick of the judge, so it is made on a thread for blocking work.
//!
//! Invariant: a parameter that is not known is refused, so that a misspelt one does not go unnoticed.

use super::api::{QUOTED_PATH, unknown_model};
use super::{AdminError, Desk};
use crate::catalog::{Entry, Model};
use crate::judge::VersionReport;
use crate::report::{Options, Report, Subject, report};
use crate::serve::respond::{self, Answer};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderValue, VARY};
use hyper::header::{REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS};
use hyper::{Request, StatusCode};
use percent_encoding::percent_decode_str;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The page may fetch and run nothing, and be shown in no frame.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Wanted {
    format: Option<Format>,
    version: Option<String>,
    names: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Json,
    Html,
}

/// Answers with the report of a model.
pub(super) async fn answer(desk: &Desk, name: &str, request: &Request<Incoming>) -> Result<Answer, AdminError> {
    let wanted = Wanted::from_query(request.uri().query().unwrap_or_default())?;
    let format = wanted.format.unwrap_or_else(|| preferred(request.headers()));
    let snapshot = desk.gate.catalog.snapshot();
    let entry = Arc::clone(snapshot.models.get(name).ok_or_else(|| unknown_model(name))?);
    let reports = desk.board.latest();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let body = tokio::task::spawn_blocking(move || {
        let report = made(&entry, &reports, &wanted, now)?;
        Ok::<_, AdminError>(match format {
            Format::Json => report.to_json(),
            Format::Html => report.to_html().into_bytes(),
        })
    });
    let body = body.await.map_err(|_stopped| AdminError::Busy)??;
    let mut answer = respond::json(StatusCode::OK, body);
    let headers = answer.headers_mut();
    headers.insert(VARY, HeaderValue::from_static("accept"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if format == Format::Html {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    }
    Ok(answer)
}

/// The report on the versions that are wanted, of those that are loaded and were looked at.
fn made(entry: &Entry, reports: &[VersionReport], wanted: &Wanted, now: Duration) -> Result<Report, AdminError> {
    let of_model = reports.iter().filter(|judged| judged.model == entry.name);
    let pairs = || of_model.clone().filter_map(|judged| Some((judged, entry.loaded.get(&judged.version)?)));
    let is_wanted = |model: &Model| wanted.version.as_ref().is_none_or(|version| *version == model.version_text);
    let subjects: Vec<Subject<'_>> = pairs()
        .filter(|(_, model)| is_wanted(model))
        .map(|(judged, model)| Subject {
            judged,
            columns: model.recorder.columns(),
            profile: model.profile.as_ref().ok(),
            weight: entry.arm_of(model.version).map_or(0.0, |arm| f64::from(arm.weight.hundredths()) / 100.0),
            refusals: model.recorder.totals().refusals,
        })
        .collect();
    match &wanted.version {
        Some(version) if subjects.is_empty() => {
            let known: Vec<&str> = pairs().map(|(_, model)| model.version_text.as_str()).collect();
            Err(AdminError::UnknownVersion {
                name: entry.name.clone(),
                version: version.chars().take(QUOTED_PATH).collect(),
                known: if known.is_empty() { "none yet".to_owned() } else { known.join(", ") },
            })
        }
        _ => Ok(report(&entry.name, &subjects, now, &Options { names: wanted.names })),
    }
}

impl Wanted {
    fn from_query(query: &str) -> Result<Self, AdminError> {
        let mut wanted = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = percent_decode_str(value).decode_utf8_lossy();
            match (key, &*value) {
                ("format", "json") => wanted.format = Some(Format::Json),
                ("format", "html") => wanted.format = Some(Format::Html),
                ("format", _) => return Err(refused("format", "json or html", &value)),
                ("names", "true") => wanted.names = true,
                ("names", "false") => wanted.names = false,
                ("names", _) => return Err(refused("names", "true or false", &value)),
                ("version", _) => wanted.version = Some(value.into_owned()),
                _ => return Err(refused("the query", "format, version or names", key)),
            }
        }
        Ok(wanted)
    }
}

fn refused(what: &str, expected: &str, found: &str) -> AdminError {
    let found: String = found.chars().take(QUOTED_PATH).collect();
    AdminError::BadQuery { reason: format!("{what} must be {expected}, not \"{found}\"") }
}

/// HTML for who names it before JSON, as browsers do; weights are not looked at, since nobody weighs these two.
fn preferred(headers: &HeaderMap) -> Format {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut types = values.flat_map(|value| value.split(',')).map(|one| one.split(';').next().unwrap_or("").trim());
    let first = types.find(|one| ["text/html", "application/json"].iter().any(|known| one.eq_ignore_ascii_case(known)));
    if first.is_some_and(|first| first.eq_ignore_ascii_case("text/html")) { Format::Html } else { Format::Json }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_get_the_page_and_programs_json() {
        let format =
            |accept: &'static str| preferred(&HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]));
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        for accept in [browser, "Text/HTML", "image/png, text/html;q=0.5, application/json"] {
            assert_eq!(format(accept), Format::Html, "{accept}");
        }
        for accept in ["*/*", "", "application/json, text/html", "text/htmlx", "text/plain"] {
            assert_eq!(format(accept), Format::Json, "{accept}");
        }
        assert_eq!(preferred(&HeaderMap::new()), Format::Json);
    }

    #[test]
    fn a_query_says_what_is_wanted_or_is_refused() {
        let all = Wanted { format: Some(Format::Html), version: Some("1 2".into()), names: true };
        assert_eq!(Wanted::from_query("format=html&version=1%202&names=true").unwrap(), all);
        assert_eq!(Wanted::from_query("").unwrap(), Wanted::default());
        assert_eq!(Wanted::from_query("&names=false&").unwrap(), Wanted::default());
        for (query, expected) in
            [("format=pdf", "json or html"), ("names=1", "true or false"), ("formt=html", "version")]
        {
            let error = Wanted::from_query(query).unwrap_err().to_string();
            assert!(error.contains(expected), "{query}: {error}");
        }
    }
}
