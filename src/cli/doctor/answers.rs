//! What answers of an MLflow server mean for whoever sets it up: an answer in, a finding out.
//!
//! The server says what it refuses, but seldom which of its variables would let it. Those are named here, as MLflow
//! 3.17 and 3.18 read them (`server/security.py`, `server/handlers.py`, `server/auth`).
//!
//! Invariant: nothing here asks anybody anything, and no secret comes in.

use super::finding::Finding;
use crate::config::MlflowSettings;
use crate::registry::mlflow::{Failure, Seen, WRONG_HOST};
use crate::registry::source::SourceError;
use reqwest::Url;
use std::time::{Duration, SystemTime};

/// Clocks that differ more than this are told: a webhook from the future is taken up to a minute ahead and no more.
pub(super) const SKEW: Duration = Duration::from_secs(crate::registry::hooks::verify::SKEW_AHEAD_SECONDS);
/// The first release whose registry is understood.
const OLDEST: (u32, u32) = (2, 9);
/// The first release that sends webhooks.
const WEBHOOKS_SINCE: (u32, u32) = (3, 3);

/// Who we are to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KnownAs {
    /// Nobody: there are no credentials.
    Nobody,
    /// A user with a password.
    User,
    /// Whoever has the token.
    Token,
}

/// The server, as findings name it.
#[derive(Clone, Debug)]
pub(super) struct Server {
    /// Its URL, with the path that its API is below.
    pub(super) url: Url,
    /// Who we are there.
    pub(super) known_as: KnownAs,
}

impl Server {
    /// The server that is configured.
    pub(super) fn new(settings: &MlflowSettings) -> Self {
        let known_as = match (&settings.username, &settings.token) {
            (Some(_), _) => KnownAs::User,
            (None, Some(_)) => KnownAs::Token,
            (None, None) => KnownAs::Nobody,
        };
        Self { url: settings.url.clone(), known_as }
    }

    /// Host and port as requests to it name them.
    pub(super) fn host(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        self.url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    /// Whether it is on this machine.
    pub(super) fn is_local(&self) -> bool {
        is_loopback(&self.url)
    }
}

/// Whether a URL names this machine.
pub(super) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.to_canonical().is_loopback())
}

/// What `/health` says.
pub(super) fn health(server: &Server, seen: &Result<Seen, SourceError>) -> Finding {
    const CHECK: &str = "registry";
    let at = &server.url;
    let seen = match seen {
        Ok(seen) => seen,
        Err(error) => return of_error(CHECK, error, server),
    };
    match seen.status {
        200 if seen.text == "OK" => Finding::ok(CHECK, format!("{at} answers within {} ms", seen.took.as_millis())),
        200..=299 => {
            let found = format!("{at}/health answers {:?}", seen.text);
            Finding::problem(
                CHECK,
                found,
                "check registry.mlflow.url: is it MLflow that answers there, or a login page?",
            )
            .expected("OK, as MLflow answers")
        }
        300..=399 => {
            let found = format!("{at}/health redirects ({})", seen.status);
            Finding::problem(CHECK, found, "set registry.mlflow.url to where it leads, https perhaps").expected("OK")
        }
        404 => wrong_path(CHECK, server, &format!("{at}/health is not there (404)")),
        status => refused(CHECK, (status, &seen.text), server),
    }
}

/// The release that `/version` says, and what follows from it.
pub(super) fn release(server: &Server, seen: &Result<Seen, SourceError>) -> (Finding, Option<(u32, u32)>) {
    const CHECK: &str = "registry release";
    let text = match seen {
        Ok(seen) if seen.status == 200 => seen.text.clone(),
        Ok(seen) => return (refused(CHECK, (seen.status, &seen.text), server), None),
        Err(error) => return (of_error(CHECK, error, server), None),
    };
    let mut numbers = text.split('.').map(str::parse);
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else {
        let found = format!("{text:?} is no release of MLflow");
        return (Finding::warning(CHECK, found, "check registry.mlflow.url").expected("such as 3.17.2"), None);
    };
    let release = (major, minor);
    let finding = if release < OLDEST {
        let expected = format!("MLflow {}.{} or later, which has aliases", OLDEST.0, OLDEST.1);
        Finding::problem(CHECK, format!("MLflow {text}"), "update the MLflow server").expected(expected)
    } else if release < WEBHOOKS_SINCE {
        let (major, minor) = WEBHOOKS_SINCE;
        Finding::ok(CHECK, format!("MLflow {text}; webhooks came with {major}.{minor}, polling works without them"))
    } else {
        Finding::ok(CHECK, format!("MLflow {text}"))
    };
    (finding, Some(release))
}

/// Whether a release sends webhooks.
pub(super) fn has_webhooks(release: Option<(u32, u32)>) -> bool {
    release.is_none_or(|release| release >= WEBHOOKS_SINCE)
}

/// What the API says to a question that anybody may ask who may read.
pub(super) fn api(server: &Server, answer: &Result<Result<(), Failure>, SourceError>) -> Finding {
    const CHECK: &str = "registry api";
    match answer {
        Ok(Ok(())) => Finding::ok(CHECK, format!("it lets us in {}", known_as(server.known_as))),
        Ok(Err(failure)) => of_failure(CHECK, failure, server),
        Err(error @ SourceError::Unexpected { .. }) => {
            let remedy = "check registry.mlflow.url: is it MLflow that answers there, or a login page?";
            Finding::problem(CHECK, error.to_string(), remedy)
        }
        Err(error) => of_error(CHECK, error, server),
    }
}

/// How far the server's clock is from ours.
pub(super) fn clock(now: SystemTime, seen: &Seen) -> Finding {
    const CHECK: &str = "clock";
    let Some(date) = seen.date else { return Finding::skipped(CHECK, "the registry's answer has no Date header") };
    let ahead = date.duration_since(now).unwrap_or_default();
    let behind = now.duration_since(date).unwrap_or_default();
    let (apart, word) = if ahead > Duration::ZERO { (ahead, "ahead of") } else { (behind, "behind") };
    // A date has whole seconds, and was written some time before it was read.
    let apart = apart.saturating_sub(seen.took + Duration::from_secs(1));
    if apart <= SKEW {
        let seconds = apart.as_secs();
        return Finding::ok(CHECK, format!("the registry's is within {seconds} s of ours, as far as can be told"));
    }
    let found = format!("the registry's is {} s {word} ours", apart.as_secs());
    let remedy = "synchronise both clocks (NTP): a webhook that was signed too far from our time is refused";
    Finding::warning(CHECK, found, remedy).expected(format!("less than {} s", SKEW.as_secs()))
}

/// An error of a source as a finding.
pub(super) fn of_error(check: &str, error: &SourceError, server: &Server) -> Finding {
    match error {
        SourceError::Refused { status, message, .. } | SourceError::Failing { status, message, .. } => {
            refused(check, (*status, message), server)
        }
        SourceError::Unreachable { cause, .. } if is_about_certificates(cause) => {
            let remedy = "set registry.mlflow.ca_file to the certificates (PEM) that the server's is signed by";
            Finding::problem(check, error.to_string(), remedy).expected("a certificate that is trusted here")
        }
        SourceError::Unreachable { .. } => {
            let remedy = "check registry.mlflow.url, that the server runs, and that this machine may reach it";
            Finding::problem(check, error.to_string(), remedy)
        }
        SourceError::Absent { .. } => {
            Finding::problem(check, error.to_string(), "check models.<name>.source, and that it is registered there")
        }
        SourceError::NotWhole { .. } => {
            Finding::warning(check, error.to_string(), "wait for the upload to end, or complete it")
        }
        SourceError::Unexpected { reason, .. } if reason.contains("is the path of its URL right?") => {
            wrong_path(check, server, &error.to_string())
        }
        SourceError::Unexpected { .. } => {
            Finding::problem(check, error.to_string(), "check registry.mlflow.url and models.<name>.source")
        }
    }
}

/// A refusal as a finding.
pub(super) fn of_failure(check: &str, failure: &Failure, server: &Server) -> Finding {
    if failure.status == 404 && failure.code.is_none() {
        return wrong_path(check, server, "it has no such path (404)");
    }
    refused(check, (failure.status, &failure.message), server)
}

fn refused(check: &str, (status, message): (u16, &str), server: &Server) -> Finding {
    let said = if message.is_empty() { "no reason given" } else { message };
    let found = format!("it answers {status}: {said}");
    let host = server.host();
    match status {
        403 if message.contains(WRONG_HOST) => {
            let remedy = format!(
                "start the MLflow server with MLFLOW_SERVER_ALLOWED_HOSTS={host} (or --allowed-hosts {host}), \
                 separated by commas from the hosts that others use; /health and /version are exempt, \
                 so that probes pass all the same"
            );
            let found = format!("it answers 403: {WRONG_HOST}");
            Finding::problem(check, found, remedy).expected(format!("that the server takes {host:?} for its own name"))
        }
        401 => {
            let (expected, remedy) = credentials(server.known_as);
            Finding::problem(check, found, remedy).expected(expected)
        }
        403 => Finding::problem(check, found, forbidden(server.known_as)).expected("that we may read"),
        503 if message.contains("serve-artifacts") => {
            let remedy = "start the MLflow server with --serve-artifacts (or MLFLOW_SERVE_ARTIFACTS=true)";
            let found = "it answers 503: it runs with --no-serve-artifacts and hands out no files";
            Finding::problem(check, found, remedy).expected("that files come through the server")
        }
        404 => wrong_path(check, server, &found),
        408 | 429 | 500..=599 => Finding::problem(check, found, "look at the MLflow server's log"),
        _ => Finding::problem(check, found, "check registry.mlflow.url and the MLflow server's log"),
    }
}

fn wrong_path(check: &str, server: &Server, found: &str) -> Finding {
    let path = server.url.path();
    let remedy = format!(
        "check the path of registry.mlflow.url, which is {path:?}: it must be the server's --static-prefix \
         (_MLFLOW_STATIC_PREFIX), and what a gate before it adds; without either there is none"
    );
    Finding::problem(check, found, remedy).expected("MLflow's routes below that path")
}

fn credentials(known_as: KnownAs) -> (&'static str, &'static str) {
    match known_as {
        KnownAs::Nobody => (
            "no login, or credentials in the settings",
            "set registry.mlflow.username and registry.mlflow.password, or registry.mlflow.token for a gate that \
             wants one",
        ),
        KnownAs::User => (
            "that the server knows this user and password",
            "check registry.mlflow.username and registry.mlflow.password; a gate may want registry.mlflow.token \
             instead",
        ),
        KnownAs::Token => (
            "that the server takes the token",
            "check registry.mlflow.token; MLflow's own login (--app-name basic-auth) wants registry.mlflow.username \
             and registry.mlflow.password instead",
        ),
    }
}

fn forbidden(known_as: KnownAs) -> &'static str {
    match known_as {
        KnownAs::User => {
            "give the user of registry.mlflow.username READ on the registered model, in MLflow's permissions"
        }
        KnownAs::Token => "give whom registry.mlflow.token stands for READ on the registered model",
        KnownAs::Nobody => "set registry.mlflow.username and registry.mlflow.password, or registry.mlflow.token",
    }
}

fn known_as(known_as: KnownAs) -> &'static str {
    match known_as {
        KnownAs::Nobody => "without a login",
        KnownAs::User => "as registry.mlflow.username",
        KnownAs::Token => "with registry.mlflow.token",
    }
}

fn is_about_certificates(cause: &str) -> bool {
    ["certificate", "UnknownIssuer", "UnknownCA"].iter().any(|word| cause.contains(word))
}

#[cfg(test)]
mod tests {
    use super::super::finding::Status;
    use super::*;

    fn server(url: &str, known_as: KnownAs) -> Server {
        Server { url: url.parse().unwrap(), known_as }
    }

    fn seen(status: u16, text: &str) -> Seen {
        Seen { status, text: text.to_owned(), date: None, took: Duration::from_millis(5) }
    }

    fn failure(status: u16, code: Option<&str>, message: &str) -> Failure {
        Failure { status, code: code.map(str::to_owned), message: message.to_owned(), retry_after: None }
    }

    #[test]
    fn a_healthy_server_is_ok_and_a_gate_is_not() {
        let server = server("http://mlflow:5000/registry", KnownAs::Nobody);
        let of = |status, text: &str| health(&server, &Ok(seen(status, text)));
        assert_eq!(of(200, "OK").status, Status::Ok);
        for (status, text, named) in [
            (200, "<html>Sign in", "login page"),
            (302, "", "where it leads"),
            (404, "", "_MLFLOW_STATIC_PREFIX"),
            (401, "", "registry.mlflow.token"),
            (502, "", "log"),
        ] {
            let finding = of(status, text);
            assert_eq!(finding.status, Status::Problem);
            assert!(finding.remedy.clone().unwrap().contains(named), "{status}: {finding:?}");
        }
    }

    #[test]
    fn a_wrong_host_names_the_variable_and_the_very_host() {
        let said = "Invalid Host header - possible DNS rebinding attack detected";
        for (url, host) in [("http://mlflow.ml.svc:5000/a", "mlflow.ml.svc:5000"), ("https://mlflow", "mlflow")] {
            let finding = api(&server(url, KnownAs::Nobody), &Ok(Err(failure(403, None, said))));
            let remedy = finding.remedy.unwrap();
            assert!(remedy.contains(&format!("MLFLOW_SERVER_ALLOWED_HOSTS={host} ")), "{remedy}");
            assert!(remedy.contains(&format!("--allowed-hosts {host})")), "{remedy}");
        }
    }

    #[test]
    fn a_refused_login_names_the_settings_that_were_used() {
        for (known_as, named) in [
            (KnownAs::Nobody, "set registry.mlflow.username and registry.mlflow.password"),
            (KnownAs::User, "check registry.mlflow.username and registry.mlflow.password"),
            (KnownAs::Token, "check registry.mlflow.token"),
        ] {
            let finding =
                api(&server("http://m", known_as), &Ok(Err(failure(401, None, "You are not authenticated."))));
            assert!(finding.remedy.clone().unwrap().starts_with(named), "{finding:?}");
        }
        let denied = failure(403, Some("PERMISSION_DENIED"), "Permission denied");
        let finding = api(&server("http://m", KnownAs::User), &Ok(Err(denied)));
        assert!(finding.remedy.unwrap().contains("READ on the registered model"));
    }

    #[test]
    fn releases_are_told_apart() {
        let of = |text: &str| {
            let (finding, release) = release(&server("http://m", KnownAs::Nobody), &Ok(seen(200, text)));
            (finding.status, has_webhooks(release))
        };
        assert_eq!(of("3.17.2"), (Status::Ok, true));
        assert_eq!(of("3.2.0rc1"), (Status::Ok, false));
        assert_eq!(of("2.8.1"), (Status::Problem, false));
        assert_eq!(of("<html>"), (Status::Warning, true));
    }

    #[test]
    fn clocks_may_differ_by_less_than_what_webhooks_are_refused_for() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let of = |date| clock(now, &Seen { date, ..seen(200, "OK") });
        assert_eq!(of(None).status, Status::Skipped);
        for seconds in [0, 1, 59] {
            assert_eq!(of(Some(now - Duration::from_secs(seconds))).status, Status::Ok);
        }
        let late = of(Some(now - Duration::from_secs(400)));
        assert_eq!((late.status, late.found.contains("behind")), (Status::Warning, true), "{late:?}");
        let early = of(Some(now + Duration::from_secs(90)));
        assert_eq!((early.status, early.found.contains("ahead of")), (Status::Warning, true), "{early:?}");
    }

    #[test]
    fn errors_of_a_source_name_what_to_look_at() {
        let server = server("https://mlflow/registry", KnownAs::Nobody);
        let place = || "https://mlflow".to_owned();
        let of = |error: SourceError| of_error("source m", &error, &server).remedy.unwrap();
        let unreachable = |cause: &str| SourceError::Unreachable { place: place(), cause: cause.to_owned() };
        assert!(of(unreachable("invalid peer certificate: UnknownIssuer")).contains("registry.mlflow.ca_file"));
        assert!(of(unreachable("connection refused")).contains("registry.mlflow.url"));
        let message =
            "Endpoint: /api disabled due to the mlflow server running with `--no-serve-artifacts`.".to_owned();
        let failing = SourceError::Failing { place: place(), status: 503, message, retry_after: None };
        assert!(of(failing).contains("--serve-artifacts"));
        let reason = "asked for x, it has no such path (404): is the path of its URL right? ".to_owned();
        assert!(of(SourceError::Unexpected { place: place(), reason }).contains("--static-prefix"));
    }

    #[test]
    fn this_machine_is_known_by_its_names() {
        for url in ["http://localhost:5000", "http://127.0.0.2", "http://[::1]:5000"] {
            assert!(server(url, KnownAs::Nobody).is_local(), "{url}");
        }
        for url in ["http://mlflow", "http://10.0.0.1", "http://localhost.example"] {
            assert!(!server(url, KnownAs::Nobody).is_local(), "{url}");
        }
    }
}
