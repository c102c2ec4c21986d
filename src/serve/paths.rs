//! What a method and a path ask for.
//!
//! The routes of the Open Inference Protocol v2 (`/v2/…`) and of KServe V1 (`/v1/…`), matched by hand: a dozen fixed
//! shapes need no router, and this way the model's name is a slice of the path.
//!
//! Invariant: a path that exists with another method is 405, one that does not exist is 404, and nothing else is either.

use crate::error::{Blamed, Fault};
use hyper::Method;
use percent_encoding::percent_decode_str;
use std::borrow::Cow;

/// The protocols of the data plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// Open Inference Protocol v2 as JSON.
    OpenInference,
    /// KServe V1.
    KserveV1,
}

/// A call for predictions.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PredictCall<'a> {
    /// How the body is written.
    pub(super) protocol: Protocol,
    /// The model's name.
    pub(super) model: Cow<'a, str>,
    /// The version, if the path names one.
    pub(super) version: Option<Cow<'a, str>>,
}

/// A question about the server or a model.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Question<'a> {
    /// `GET /`.
    Alive,
    /// `GET /v2`.
    ServerMetadata,
    /// `GET /v2/health/live`.
    Live,
    /// `GET /v2/health/ready`.
    Ready,
    /// `GET /v2/models` and `/v1/models`.
    Models,
    /// `GET /v2/models/{m}[/versions/{v}]`.
    ModelMetadata(Cow<'a, str>, Option<Cow<'a, str>>),
    /// `GET /v2/models/{m}[/versions/{v}]/ready` and `/v1/models/{m}`.
    ModelReady(Cow<'a, str>, Option<Cow<'a, str>>),
}

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target<'a> {
    /// Predictions.
    Predict(PredictCall<'a>),
    /// `POST /v2/repository/index`.
    Index,
    /// Anything else.
    Inspect(Question<'a>),
}

/// Why a path leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum PathError {
    /// No such path.
    #[error("no such path: {path}; predictions go to /v2/models/<model>/infer or /v1/models/<model>:predict")]
    Unknown {
        /// The path that came.
        path: String,
    },
    /// The path exists, but not for this method.
    #[error("{path} takes {expected}, not {found}")]
    WrongMethod {
        /// The path that came.
        path: String,
        /// The method it takes.
        expected: &'static str,
        /// The method that came.
        found: String,
    },
}

impl Blamed for PathError {
    fn fault(&self) -> Fault {
        match self {
            Self::Unknown { .. } => Fault::NotFound,
            Self::WrongMethod { .. } => Fault::MethodNotAllowed,
        }
    }
}

/// A path that came is quoted in errors up to this many characters.
const QUOTED_PATH: usize = 200;

/// What `method` and `path` ask for.
///
/// # Errors
/// [`PathError`] when there is no such path, or not for this method.
pub(super) fn parse<'a>(method: &Method, path: &'a str) -> Result<Target<'a>, PathError> {
    let target = find(path).ok_or_else(|| PathError::Unknown { path: quoted(path) })?;
    let allowed = match target {
        Target::Predict(_) | Target::Index => method == Method::POST,
        Target::Inspect(_) => method == Method::GET || method == Method::HEAD,
    };
    if allowed {
        return Ok(target);
    }
    let expected = if matches!(target, Target::Inspect(_)) { "GET" } else { "POST" };
    Err(PathError::WrongMethod { path: quoted(path), expected, found: quoted(method.as_str()) })
}

fn find(path: &str) -> Option<Target<'_>> {
    let trimmed = path.strip_suffix('/').unwrap_or(path);
    let (protocol, rest) = match trimmed.split_at_checked(3) {
        Some(("/v2", rest)) => (Protocol::OpenInference, rest),
        Some(("/v1", rest)) => (Protocol::KserveV1, rest),
        _ => return trimmed.is_empty().then_some(Target::Inspect(Question::Alive)),
    };
    if rest == "/models" {
        return Some(Target::Inspect(Question::Models));
    }
    match (protocol, rest.strip_prefix("/models/")) {
        (Protocol::OpenInference, Some(model)) => find_v2_model(model),
        (Protocol::KserveV1, Some(model)) => find_v1_model(model),
        (Protocol::OpenInference, None) => {
            let question = match rest {
                "" => Question::ServerMetadata,
                "/health/live" => Question::Live,
                "/health/ready" => Question::Ready,
                "/repository/index" => return Some(Target::Index),
                _ => return None,
            };
            Some(Target::Inspect(question))
        }
        (Protocol::KserveV1, None) => None,
    }
}

fn find_v2_model(rest: &str) -> Option<Target<'_>> {
    let (name, rest) = rest.split_once('/').unwrap_or((rest, ""));
    let (version, verb) = match rest.strip_prefix("versions/") {
        Some(rest) => {
            let (version, verb) = rest.split_once('/').unwrap_or((rest, ""));
            (Some(decoded(version)?), verb)
        }
        None => (None, rest),
    };
    let model = decoded(name)?;
    match verb {
        "infer" => Some(Target::Predict(PredictCall { protocol: Protocol::OpenInference, model, version })),
        "" => Some(Target::Inspect(Question::ModelMetadata(model, version))),
        "ready" => Some(Target::Inspect(Question::ModelReady(model, version))),
        _ => None,
    }
}

fn find_v1_model(rest: &str) -> Option<Target<'_>> {
    if rest.contains('/') {
        return None;
    }
    match rest.strip_suffix(":predict") {
        Some(name) => {
            let model = decoded(name)?;
            Some(Target::Predict(PredictCall { protocol: Protocol::KserveV1, model, version: None }))
        }
        None => Some(Target::Inspect(Question::ModelReady(decoded(rest)?, None))),
    }
}

/// A path segment without its percent signs; clients quote names. Nothing when it is empty or no UTF-8.
fn decoded(segment: &str) -> Option<Cow<'_, str>> {
    if segment.is_empty() {
        return None;
    }
    percent_decode_str(segment).decode_utf8().ok()
}

fn quoted(text: &str) -> String {
    text.chars().take(QUOTED_PATH).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(path: &str) -> Result<Target<'_>, PathError> {
        parse(&Method::GET, path)
    }

    fn post(path: &str) -> Result<Target<'_>, PathError> {
        parse(&Method::POST, path)
    }

    fn predict<'a>(protocol: Protocol, model: &'a str, version: Option<&'a str>) -> Target<'a> {
        Target::Predict(PredictCall { protocol, model: model.into(), version: version.map(Cow::from) })
    }

    #[test]
    fn paths_without_meaning_are_not_found() {
        for path in
            ["/v3", "/v2/", "//", "/v2/model", "/v2/models//infer", "/v2/models/m/versions//infer", "/v1", "/v2x"]
        {
            let outcome = get(path);
            let known = path == "/v2/";
            assert_eq!(outcome.is_ok(), known, "{path}: {outcome:?}");
        }
        for path in ["/v1/models/a/b:predict", "/v2/models/m/explain", "/v2/models/%ff/infer"] {
            assert!(matches!(post(path), Err(PathError::Unknown { .. })), "{path}");
        }
    }

    #[test]
    fn calls_for_predictions_are_found_with_and_without_a_version() {
        assert_eq!(post("/v2/models/m/infer"), Ok(predict(Protocol::OpenInference, "m", None)));
        assert_eq!(post("/v2/models/m/versions/12/infer"), Ok(predict(Protocol::OpenInference, "m", Some("12"))));
        assert_eq!(post("/v1/models/m:predict"), Ok(predict(Protocol::KserveV1, "m", None)));
    }

    #[test]
    fn quoted_names_are_decoded() {
        assert_eq!(
            post("/v2/models/breast%2Dcancer/infer"),
            Ok(predict(Protocol::OpenInference, "breast-cancer", None))
        );
    }

    #[test]
    fn a_known_path_with_another_method_says_which_it_takes() {
        let error = get("/v2/models/m/infer").unwrap_err();
        assert_eq!(error.to_string(), "/v2/models/m/infer takes POST, not GET");
        assert_eq!(error.fault(), Fault::MethodNotAllowed);
        assert_eq!(post("/v2/health/live").unwrap_err().fault(), Fault::MethodNotAllowed);
        assert_eq!(get("/v2/repository/index").unwrap_err().fault(), Fault::MethodNotAllowed);
        assert_eq!(post("/v2/repository/index"), Ok(Target::Index));
    }

    #[test]
    fn questions_are_found() {
        assert_eq!(get("/v2/health/ready"), Ok(Target::Inspect(Question::Ready)));
        assert_eq!(get("/v2/models"), Ok(Target::Inspect(Question::Models)));
        assert_eq!(get("/v2/models/m"), Ok(Target::Inspect(Question::ModelMetadata("m".into(), None))));
        assert_eq!(
            get("/v2/models/m/versions/3/ready"),
            Ok(Target::Inspect(Question::ModelReady("m".into(), Some("3".into()))))
        );
        assert_eq!(get("/v1/models/m"), Ok(Target::Inspect(Question::ModelReady("m".into(), None))));
        assert_eq!(get("/"), Ok(Target::Inspect(Question::Alive)));
    }
}
