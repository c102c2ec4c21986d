//! What a refusal of MLflow means.
//!
//! MLflow answers `{"error_code": …, "message": …}` with a status of its own choosing (`exceptions.py`), whatever stands
//! before it answers as it likes. Both become a [`SourceError`] here, without a socket, so that every case is a test.
//!
//! Invariant: what an error repeats of an answer is at most 300 characters, without control characters.

use crate::registry::source::SourceError;
pub(super) use crate::registry::source::shown;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use serde_json::Value;
use std::time::Duration;

/// The longest wait that an answer may ask for.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3_600);
/// What `server/security.py` of MLflow 3.5 and later answers to a name it was not told of.
pub const WRONG_HOST: &str = "Invalid Host header";

/// An answer whose status is not of success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The HTTP status.
    pub status: u16,
    /// MLflow's name for what is wrong; none where MLflow did not answer.
    pub code: Option<String>,
    /// What the answer says.
    pub message: String,
    /// When it wants to be asked again.
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// Reads an answer's status, headers and the beginning of its body.
    pub(super) fn read(status: u16, headers: &HeaderMap, body: &[u8]) -> Self {
        let said: Option<Value> = serde_json::from_slice(body).ok();
        let field = |name: &str| said.as_ref()?.get(name)?.as_str().map(shown);
        let code = field("error_code");
        let message = field("message").unwrap_or_else(|| shown(&String::from_utf8_lossy(body)));
        Self { status, code, message, retry_after: retry_after(headers) }
    }

    /// What it means for whoever asked `place` (scheme and host) for `what`.
    pub(super) fn into_error(self, place: &str, what: &str) -> SourceError {
        let place = place.to_owned();
        let Self { status, code, message, retry_after } = self;
        match status {
            401 | 403 => SourceError::Refused { message: with_help(status, message, &place), place, status },
            404 if code.is_some() => SourceError::Absent { what: what.to_owned(), message },
            404 => {
                let reason =
                    format!("asked for {what}, it has no such path (404): is the path of its URL right? {message}");
                SourceError::Unexpected { place, reason }
            }
            408 | 429 | 500..=599 => SourceError::Failing { place, status, message, retry_after },
            300..=399 => {
                let reason =
                    format!("asked for {what}, it redirects to another place ({status}), which is not followed");
                SourceError::Unexpected { place, reason }
            }
            _ => {
                let code = code.unwrap_or_else(|| "no error_code".to_owned());
                SourceError::Unexpected { place, reason: format!("asked for {what}, {status} {code}: {message}") }
            }
        }
    }

    /// Whether it says that an alias points nowhere, which MLflow calls a bad parameter:
    /// `get_model_version_by_alias` of its `sqlalchemy_store.py`.
    pub(super) fn is_unknown_alias(&self) -> bool {
        self.status == 400 && self.code.as_deref() == Some("INVALID_PARAMETER_VALUE") && self.message.contains("alias")
    }
}

/// A health probe passes all the same, since `/health` is exempt; so what helps is said here.
fn with_help(status: u16, message: String, place: &str) -> String {
    if status == 403 && message.contains(WRONG_HOST) {
        let host = place.rsplit_once("//").map_or(place, |(_, host)| host);
        return format!(
            "{message}; start the MLflow server with MLFLOW_SERVER_ALLOWED_HOSTS (or --allowed-hosts) naming {host}"
        );
    }
    if message.is_empty() { "no reason given".to_owned() } else { message }
}

/// Seconds alone: MLflow and what usually stands before it write no dates.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::source::SHOWN;
    use proptest::prelude::*;
    use reqwest::header::HeaderValue;

    const PLACE: &str = "http://registry:5000";

    fn error(status: u16, body: &str) -> SourceError {
        Failure::read(status, &HeaderMap::new(), body.as_bytes()).into_error(PLACE, "model \"m\"")
    }

    #[test]
    fn what_is_unknown_is_absent_and_a_path_that_is_unknown_is_not() {
        let body = r#"{"error_code":"RESOURCE_DOES_NOT_EXIST","message":"Registered Model with name=m not found"}"#;
        let message = "Registered Model with name=m not found".to_owned();
        assert_eq!(error(404, body), SourceError::Absent { what: "model \"m\"".to_owned(), message });
        let SourceError::Unexpected { reason, .. } = error(404, "<html>Not Found</html>") else { panic!() };
        assert!(reason.contains("is the path of its URL right?"), "{reason}");
    }

    #[test]
    fn an_unknown_alias_is_a_bad_parameter_to_mlflow() {
        let read = |status, body: &str| Failure::read(status, &HeaderMap::new(), body.as_bytes());
        let body = r#"{"error_code":"INVALID_PARAMETER_VALUE","message":"Registered model alias x not found."}"#;
        assert!(read(400, body).is_unknown_alias());
        let other = r#"{"error_code":"INVALID_PARAMETER_VALUE","message":"Missing value for name"}"#;
        assert!(!read(400, other).is_unknown_alias() && !read(500, body).is_unknown_alias());
        assert!(
            matches!(error(400, other), SourceError::Unexpected { reason, .. } if reason.contains("Missing value"))
        );
    }

    #[test]
    fn a_wrong_host_is_refused_with_what_helps() {
        let SourceError::Refused { message, status: 403, .. } =
            error(403, "Invalid Host header - possible DNS rebinding attack detected")
        else {
            panic!()
        };
        assert!(message.contains("MLFLOW_SERVER_ALLOWED_HOSTS") && message.ends_with("registry:5000"), "{message}");
        let denied = error(403, r#"{"error_code":"PERMISSION_DENIED","message":"Permission denied"}"#);
        let refused = |status, message: &str| SourceError::Refused {
            place: PLACE.to_owned(),
            status,
            message: message.to_owned(),
        };
        assert_eq!(denied, refused(403, "Permission denied"));
        assert_eq!(error(401, ""), refused(401, "no reason given"));
    }

    #[test]
    fn what_is_busy_says_when_to_come_again() {
        let headers = |value| HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(value))]);
        for (value, expected) in [("7", Some(7)), ("999999999", Some(3_600)), ("Fri, 27 Nov 2026", None), ("-1", None)]
        {
            for status in [429, 500, 503, 504] {
                let error = Failure::read(status, &headers(value), b"busy").into_error(PLACE, "x");
                let retry_after = expected.map(Duration::from_secs);
                let place = PLACE.to_owned();
                assert_eq!(error, SourceError::Failing { place, status, message: "busy".to_owned(), retry_after });
                assert!(error.may_pass());
            }
        }
    }

    #[test]
    fn a_redirect_is_not_followed_elsewhere() {
        assert!(matches!(error(302, ""), SourceError::Unexpected { reason, .. } if reason.contains("redirects")));
    }

    proptest! {
        #[test]
        fn any_answer_is_told_in_one_short_line(status in 300_u16..600, body in any::<Vec<u8>>()) {
            let text = Failure::read(status, &HeaderMap::new(), &body).message;
            prop_assert!(text.chars().count() <= SHOWN && !text.contains(char::is_control));
        }
    }
}
