//! The admin port of a gateway that runs, as commands ask it.
//!
//! Invariant: a token is sent to the gateway that was named and shown nowhere.

use reqwest::{Client, Method, StatusCode, Url, redirect};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

/// Where a token may be, if no file is named; the same variables that the gateway reads.
pub(super) const TOKEN_VARIABLE: &str = "TIDEGATE_ADMIN_TOKEN";
/// Where the one of who only looks may be.
pub(super) const VIEWER_TOKEN_VARIABLE: &str = "TIDEGATE_ADMIN_VIEWER_TOKEN";

/// A gateway that has not answered by then does not.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The largest answer that is read. A journal with the counts of every decision is some megabytes.
const LARGEST_ANSWER: usize = 256 << 20;

/// Why an answer is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum PortError {
    /// There is no gateway, or it broke off.
    #[error("{place} does not answer: {cause}; is a gateway running, and is this its admin address?")]
    Unreachable {
        /// Scheme, host and port.
        place: String,
        /// What the system says.
        cause: String,
    },
    /// It cannot do it now.
    #[error("{place} answered {status}: {reason}")]
    Unavailable {
        /// Scheme, host and port.
        place: String,
        /// Its status.
        status: u16,
        /// What it says.
        reason: String,
    },
    /// It does not do it.
    #[error("{place} answered {status}: {reason}")]
    Refused {
        /// Scheme, host and port.
        place: String,
        /// Its status.
        status: u16,
        /// What it says.
        reason: String,
    },
    /// The request cannot be made.
    #[error("{0}")]
    Unusable(String),
}

/// A gateway, and who we are there.
pub(super) struct AdminPort {
    url: Url,
    token: Option<String>,
    client: Client,
}

impl AdminPort {
    /// The gateway at an address.
    ///
    /// # Errors
    /// Why there is no HTTP client.
    pub(super) fn new(url: Url, token: Option<String>) -> Result<Self, String> {
        // A second client in one process finds a provider in place, and it is this one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // A gateway redirects nobody, and a token goes nowhere else.
        let client = Client::builder().timeout(TIMEOUT).no_proxy().redirect(redirect::Policy::none()).build();
        let client = client.map_err(|error| format!("cannot make an HTTP client: {error}"))?;
        Ok(Self { url, token, client })
    }

    /// Sends a request to a path, each part as it is, and reads the JSON that comes.
    ///
    /// # Errors
    /// Why there is no answer, in the gateway's words if it gave any.
    pub(super) async fn ask(
        &self,
        method: Method,
        (path, query): (&[&str], &[(&str, &str)]),
        body: Option<&Value>,
    ) -> Result<Value, PortError> {
        let mut url = self.url.clone();
        let unusable = || PortError::Unusable(format!("{} is no address of a gateway", place(&self.url)));
        url.path_segments_mut().map_err(|()| unusable())?.pop_if_empty().extend(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut request = self.client.request(method, url);
        request = self.token.iter().fold(request, |request, token| request.bearer_auth(token));
        request = body.into_iter().fold(request, |request, body| request.json(body));
        let mut answer = request.send().await.map_err(|error| self.unreachable(error))?;
        let mut text = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(|error| self.unreachable(error))? {
            if text.len() + piece.len() > LARGEST_ANSWER {
                return Err(PortError::Unusable(format!("the answer is over {LARGEST_ANSWER} bytes")));
            }
            text.extend_from_slice(&piece);
        }
        let read = serde_json::from_slice(&text);
        match (answer.status().is_success(), read) {
            (true, Ok(value)) => Ok(value),
            _ => Err(refusal(&place(&self.url), answer.status(), &text)),
        }
    }

    fn unreachable(&self, error: reqwest::Error) -> PortError {
        let cause = error.without_url();
        let cause = std::error::Error::source(&cause).map_or_else(|| cause.to_string(), ToString::to_string);
        PortError::Unreachable { place: place(&self.url), cause }
    }
}

/// Why an answer is not what was asked for, in the gateway's words if it was one.
pub(super) fn refusal(place: &str, status: StatusCode, body: &[u8]) -> PortError {
    let said = serde_json::from_slice::<Value>(body).ok();
    let said = said.as_ref().and_then(|said| said["error"].as_str()).map(str::to_owned);
    let reason = match (status, said) {
        (StatusCode::UNAUTHORIZED, _) => {
            format!("it wants its admin token: set {TOKEN_VARIABLE} or give --token-file, and check that it is right")
        }
        (_, Some(said)) => said,
        (_, None) => "is this the admin address of a gateway?".to_owned(),
    };
    let (place, code) = (place.to_owned(), status.as_u16());
    if status.is_server_error() {
        PortError::Unavailable { place, status: code, reason }
    } else {
        PortError::Refused { place, status: code, reason }
    }
}

/// Scheme, host and port.
pub(super) fn place(url: &Url) -> String {
    format!("{}://{}", url.scheme(), url.authority())
}

/// The address of a gateway, from a URL. `flag` is where it was given.
///
/// # Errors
/// What is wrong with it.
pub(super) fn gateway_url(flag: &str, text: &str) -> Result<Url, String> {
    let unusable = |reason: &str| format!("{flag} {text}: {reason}, such as http://127.0.0.1:8002");
    let url = Url::parse(text).map_err(|error| unusable(&format!("{error}; it must be an address")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(unusable("it must begin with http:// or https://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!("a token does not stand in {flag}: use {TOKEN_VARIABLE} or --token-file"));
    }
    Ok(url)
}

/// The token in a file, or else in the first of these variables that has one.
///
/// # Errors
/// Why the file has none.
pub(super) fn token(file: Option<&Path>, variables: &[&str]) -> Result<Option<String>, String> {
    let in_variable = |name: &&str| std::env::var(name).ok().filter(|token| !token.is_empty());
    let Some(path) = file else {
        return Ok(variables.iter().find_map(in_variable));
    };
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    match text.trim() {
        "" => Err(format!("{} is empty; it should hold the admin token", path.display())),
        token => Ok(Some(token.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_in_the_gateways_words_and_one_that_may_pass_is_another() {
        let told = |status, body: &str| refusal("http://g", status, body.as_bytes());
        let unknown = told(StatusCode::NOT_FOUND, r#"{"error":"unknown model \"x\""}"#);
        assert!(matches!(&unknown, PortError::Refused { status: 404, .. }));
        assert_eq!(unknown.to_string(), "http://g answered 404: unknown model \"x\"");
        assert!(told(StatusCode::OK, "hello").to_string().ends_with("is this the admin address of a gateway?"));
        assert!(told(StatusCode::UNAUTHORIZED, "{}").to_string().contains(TOKEN_VARIABLE));
        let busy = told(StatusCode::SERVICE_UNAVAILABLE, r#"{"error":"try again"}"#);
        assert!(matches!(busy, PortError::Unavailable { status: 503, .. }));
    }

    #[test]
    fn what_is_no_address_is_refused_with_an_example() {
        for wrong in ["127.0.0.1:8002", "localhost", "ftp://x", ""] {
            let error = gateway_url("--url", wrong).unwrap_err();
            assert!(error.contains("http://127.0.0.1:8002"), "{error}");
        }
        assert!(gateway_url("--url", "http://u:p@h").unwrap_err().contains("--token-file"));
    }
}
