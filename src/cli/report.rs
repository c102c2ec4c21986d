//! `tidegate report`: fetches a model's report from a running gateway and writes it.
//!
//! Invariant: the token is sent to the gateway that was named and shown nowhere.

use super::ReportArgs;
use super::admin_port::{TOKEN_VARIABLE, VIEWER_TOKEN_VARIABLE, gateway_url, place, refusal, token};
use clap::ValueEnum;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Client, StatusCode, Url, redirect};
use std::io::Write;
use std::time::Duration;

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
    // The one of who only looks is enough for a report.
    let token = token(args.token_file.as_deref(), &[VIEWER_TOKEN_VARIABLE, TOKEN_VARIABLE])?;
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
    let mut url = gateway_url("--url", &args.url)?;
    url.path_segments_mut().map_err(|()| "--url must be an address".to_owned())?.pop_if_empty().extend([
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

async fn fetch(url: Url, token: Option<String>) -> Result<Vec<u8>, String> {
    // A second client in one process finds a provider in place, and it is this one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // A gateway redirects nobody, and a token goes nowhere else.
    let client = Client::builder().timeout(TIMEOUT).no_proxy().redirect(redirect::Policy::none()).build();
    let client = client.map_err(|error| format!("cannot make an HTTP client: {error}"))?;
    let place = place(&url);
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
    if is_report { Ok(body.into()) } else { Err(refusal(&place, status, &body).to_string()) }
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
}
