//! The one place that turns outcomes into HTTP: statuses, headers, bodies.
//!
//! Rooms say whose fault an error is; here that becomes a status. Bodies of errors are `{"error":"…"}` with exactly
//! `application/json`, because clients compare the whole header. "Not ready" is 503 and not the 4xx of the protocol's
//! text: load balancers act on 503, and every client takes any non-200 for no.
//!
//! Invariant: the text of an internal error goes to the log, at most once a second, and never to the caller.

use crate::catalog::ArmLabel;
use crate::error::{Blamed, Fault};
use crate::telemetry::limit::{LineLimit, uptime_seconds};
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};

/// An answer on its way out.
pub type Answer = Response<Full<Bytes>>;

/// Carries the version that made an answer.
pub static MODEL_VERSION: HeaderName = HeaderName::from_static("tidegate-model-version");
/// Carries how the version was chosen.
pub static ARM: HeaderName = HeaderName::from_static("tidegate-arm");
/// Carries the request's id, the client's or ours.
pub static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The status of a fault.
#[must_use]
pub fn status_of(fault: Fault) -> StatusCode {
    match fault {
        Fault::InvalidRequest => StatusCode::BAD_REQUEST,
        Fault::Unauthorized => StatusCode::UNAUTHORIZED,
        Fault::Forbidden => StatusCode::FORBIDDEN,
        Fault::NotFound => StatusCode::NOT_FOUND,
        Fault::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Fault::TooSlow => StatusCode::REQUEST_TIMEOUT,
        Fault::Conflict => StatusCode::CONFLICT,
        Fault::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Fault::UnsupportedMedia => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Fault::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Fault::Contended => StatusCode::TOO_MANY_REQUESTS,
        Fault::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Fault::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// A JSON body with a status.
#[must_use]
pub fn json(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, JSON);
    answer
}

/// Any value as a JSON body with status 200.
#[must_use]
pub fn value(value: &impl serde::Serialize) -> Answer {
    match serde_json::to_vec(value) {
        Ok(body) => json(StatusCode::OK, body),
        Err(error) => {
            tracing::error!(cause = %error, "an answer could not be written as JSON");
            error_body(StatusCode::INTERNAL_SERVER_ERROR, "internal error; the server's log has the cause")
        }
    }
}

/// `{"error": text}` with a status.
#[must_use]
pub fn error_body(status: StatusCode, text: &str) -> Answer {
    json(status, serde_json::json!({ "error": text }).to_string())
}

/// The answer to a request that failed.
#[must_use]
pub fn refusal(error: &dyn Blamed) -> Answer {
    let fault = error.fault();
    if fault == Fault::Internal {
        log_failure(error);
    }
    let mut answer = error_body(status_of(fault), &error.public_text());
    // What is left of a body that was not read cannot be told from the next request.
    if matches!(fault, Fault::TooLarge | Fault::TooSlow) {
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if let Some(wait) = error.retry_after() {
        // Whole seconds, as the header has them: at least one, since none would be no wait.
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    }
    answer
}

/// Logs an internal error, unless one was logged in the same second: a model that always fails fails at the pace of its
/// callers, and every answer is counted anyway.
fn log_failure(error: &dyn Blamed) {
    static LIMIT: LineLimit = LineLimit::new(1);
    if let Some(suppressed) = LIMIT.admit(uptime_seconds()) {
        tracing::error!(cause = %error, suppressed, "request failed");
    }
}

/// Says which version made an answer, and how it was chosen.
pub fn name_version(answer: &mut Answer, version: &str, arm: ArmLabel) {
    if let Ok(version) = HeaderValue::from_str(version) {
        answer.headers_mut().insert(&MODEL_VERSION, version);
    }
    answer.headers_mut().insert(&ARM, HeaderValue::from_static(arm.name()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::captured::CapturedLog;

    #[derive(Debug, thiserror::Error)]
    #[error("the disk said {0}")]
    struct Secret(&'static str);

    impl Blamed for Secret {
        fn fault(&self) -> Fault {
            Fault::Internal
        }
    }

    #[tokio::test]
    async fn an_internal_error_does_not_tell_its_cause() {
        use http_body_util::BodyExt;
        let answer = refusal(&Secret("no"));
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(answer.headers()[CONTENT_TYPE], "application/json");
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(&body[..], br#"{"error":"internal error; the server's log has the cause"}"#);
    }

    #[test]
    fn a_storm_of_internal_errors_is_no_storm_of_log_lines() {
        let log = CapturedLog::default();
        let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).with_ansi(false).finish();
        tracing::subscriber::with_default(subscriber, || {
            // At a line a second this would take 5,000 s to write them all.
            for _ in 0..5_000 {
                assert_eq!(refusal(&Secret("no")).status(), StatusCode::INTERNAL_SERVER_ERROR);
            }
        });
        let lines = log.text();
        assert!(lines.lines().count() < 1_000, "{}", lines.lines().count());
    }
}
