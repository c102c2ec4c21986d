//! `tidegate report`: fetches a model's report from a running gateway and writes it.
//!
//! Invariant: the token is sent to the gateway that was named and shown nowhere.

use super::ReportArgs;
use clap::ValueEnum;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Client, StatusCode, Url, redirect};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

/// Where a token may be, if no file is named; the same variables that the gateway reads.
const TOKEN_VARIABLE: &str = "TIDEGATE_ADMIN_TOKEN";
/// Where the one of who only looks may be, which is enough for a report.
const VIEWER_TOKEN_VARIABLE: &str = "TIDEGATE_ADMIN_VIEWER_TOKEN";

/// A gateway that has not answered by then does not.
const TIMEOUT: Duration = Duration::from_secs(60);

/// What the report is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// A page that stands alone, with pictures.
    Html,
    /// Everything as JSON.
    Json,
}

/// Fetches and writes a report.
pub(super) fn run(args: &ReportArgs) -> Result<(), String> {
    let url = report_url(args)?;
    let token = token(args.token_file.as_deref())?;
    let report = super::serve::control_runtime()?.block_on(fetch(url, token))?;
    match &args.output {
        Some(path) => {
            std::fs::write(path, &report).map_err(|error| format!("cannot write {}: {error}", path.display()))
        }
        None => {
            let mut out = std::io::stdout().lock();
            out.write_all(&report)
                .and_then(|()| out.flush())
                .map_err(|error| format!("cannot write the report: {error}"))
        }
    }
}

fn report_url(args: &ReportArgs) -> Result<Url, String> {
    let unusable = |reason: &str| format!("--url {}: {reason}, such as http://127.0.0.1:8002", args.url);
    let mut url = Url::parse(&args.url).map_err(|error| unusable(&format!("{error}; it must be an address")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(unusable("it must begin with http:// or https://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!("a token does not stand in --url: use {TOKEN_VARIABLE} or --token-file"));
    }
    url.path_segments_mut().map_err(|()| unusable("it must be an address"))?.pop_if_empty().extend([
        "api",
        "v1",
        "models",
        &args.model,
        "report",
    ]);
    url.query_pairs_mut().append_pair("format", if args.format == Format::Html { "html" } else { "json" });
    if let Some(version) = &args.version {
        url.query_pairs_mut().append_pair("version", version);
    }
    if args.names {
        url.query_pairs_mut().append_pair("names", "true");
    }
    Ok(url)
}

fn token(file: Option<&Path>) -> Result<Option<String>, String> {
    let in_variable = |name| std::env::var(name).ok().filter(|token| !token.is_empty());
    let Some(path) = file else {
        return Ok([VIEWER_TOKEN_VARIABLE, TOKEN_VARIABLE].into_iter().find_map(in_variable));
    };
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    match text.trim() {
        "" => Err(format!("{} is empty; it should hold the admin token", path.display())),
        token => Ok(Some(token.to_owned())),
    }
}

async fn fetch(url: Url, token: Option<String>) -> Result<Vec<u8>, String> {
    // A second client in one process finds a provider in place, and it is this one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // A gateway redirects nobody, and a token goes nowhere else.
    let client = Client::builder().timeout(TIMEOUT).no_proxy().redirect(redirect::Policy::none()).build();
    let client = client.map_err(|error| format!("cannot make an HTTP client: {error}"))?;
    let place = format!("{}://{}", url.scheme(), url.authority());
    let mut request = client.get(url).header(ACCEPT, "text/html, application/json");
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let unreachable = |error: reqwest::Error| {
        let cause = error.without_url();
        let cause = std::error::Error::source(&cause).map_or_else(|| cause.to_string(), ToString::to_string);
        format!("cannot fetch the report from {place}: {cause}; is a gateway running, and is this its admin address?")
    };
    let answer = request.send().await.map_err(unreachable)?;
    let status = answer.status();
    let is_report = status == StatusCode::OK && answer.headers().contains_key(CONTENT_TYPE);
    let body = answer.bytes().await.map_err(unreachable)?;
    if is_report { Ok(body.into()) } else { Err(refusal(&place, status, &body)) }
}

/// Why there is no report, in the gateway's words if it was one.
fn refusal(place: &str, status: StatusCode, body: &[u8]) -> String {
    let error = serde_json::from_slice::<serde_json::Value>(body).ok();
    let reason = error.as_ref().and_then(|error| error["error"].as_str()).map(str::to_owned);
    match (status, reason) {
        (StatusCode::UNAUTHORIZED, _) => {
            format!(
                "{place} wants its admin token: set {TOKEN_VARIABLE} or give --token-file, and check that it is right"
            )
        }
        (_, Some(reason)) => format!("{place} answered {status}: {reason}"),
        (_, None) => format!("{place} answered {status}; is this the admin address of a gateway?"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(url: &str, model: &str) -> ReportArgs {
        ReportArgs {
            url: url.to_owned(),
            model: model.to_owned(),
            version: Some("2".to_owned()),
            format: Format::Html,
            names: false,
            output: None,
            token_file: None,
        }
    }

    #[test]
    fn the_address_is_made_of_what_was_given_whatever_the_model_is_called() {
        let url = |base: &str| report_url(&args(base, "a b/c?d")).unwrap().to_string();
        let path = "/api/v1/models/a%20b%2Fc%3Fd/report?format=html&version=2";
        assert_eq!(url("http://127.0.0.1:8002"), format!("http://127.0.0.1:8002{path}"));
        assert_eq!(url("https://gate.example/admin/"), format!("https://gate.example/admin{path}"));
    }

    #[test]
    fn what_is_no_address_is_refused_with_an_example() {
        for wrong in ["127.0.0.1:8002", "localhost", "ftp://x", ""] {
            let error = report_url(&args(wrong, "m")).unwrap_err();
            assert!(error.contains("http://127.0.0.1:8002"), "{error}");
        }
        assert!(report_url(&args("http://u:p@h", "m")).unwrap_err().contains("--token-file"));
    }

    #[test]
    fn a_refusal_is_told_in_the_gateways_words() {
        let told = |status, body: &str| refusal("http://g", status, body.as_bytes());
        assert!(told(StatusCode::NOT_FOUND, r#"{"error":"unknown model \"x\""}"#).ends_with("unknown model \"x\""));
        assert!(told(StatusCode::OK, "hello").contains("is this the admin address"));
        assert!(told(StatusCode::UNAUTHORIZED, "{}").contains(TOKEN_VARIABLE));
    }
}
