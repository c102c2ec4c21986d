//! `tidegate doctor`: looks at everything that a gateway needs, and says what is wrong with it and what to do.
//!
//! Settings, engines, ports, model directories, disks, the registry and its webhook, in this order, each with the same
//! code that serves. [`answers`] and [`delivery`] are what judges a registry, functions of what it answered; the other
//! modules ask. It may be run beside a gateway that runs, or before there is one.
//!
//! Invariant: nothing is changed, here or at the registry, but the registry's webhook with `--repair`; and no secret is
//! said.

mod answers;
mod delivery;
#[cfg(test)]
mod delivery_tests;
mod disk;
mod finding;
mod layout;
mod models;
mod ports;
mod print;
mod sources;
mod stores;
mod webhook;

use super::{DoctorArgs, say};
use crate::app::mlflow;
use crate::config::{Config, SourceSettings};
use answers::Server;
use finding::{Finding, Status};
use reqwest::Url;
use std::process::ExitCode;
use std::time::SystemTime;

/// The longest URL that MLflow keeps of a webhook.
const LONGEST_URL: usize = 500;
/// The longest name that MLflow takes for a webhook.
const LONGEST_NAME: usize = 63;
/// The checks of a registry that there is none of.
const REGISTRY: &str = "registry";

/// What is looked at, and what was found so far.
struct Look<'a> {
    args: &'a DoctorArgs,
    config: &'a Config,
    findings: Vec<Finding>,
}

/// Looks at everything and says what was found; success if nothing is a problem.
pub(super) fn run(args: &DoctorArgs) -> ExitCode {
    let findings = match super::serve::load_config(&args.serve) {
        Ok(config) => examine(args, &config),
        Err(problems) => {
            let remedy = "correct these settings; everything else waits for them";
            let findings = vec![
                Finding::problem("settings", problems, remedy),
                Finding::skipped("everything else", "the settings cannot be used"),
            ];
            findings.iter().for_each(|finding| tell(args, finding));
            findings
        }
    };
    say(&if args.json { print::json(&findings) } else { print::summary(&findings) });
    let is_problem = findings.iter().any(|finding| finding.status == Status::Problem);
    if is_problem { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn examine(args: &DoctorArgs, config: &Config) -> Vec<Finding> {
    let mut look = Look { args, config, findings: Vec::new() };
    let file = args.serve.config.as_ref().map(|path| path.display().to_string());
    look.note(Finding::ok(
        "settings",
        file.map_or_else(
            || "no file is named; the environment, flags and defaults hold".to_owned(),
            |name| format!("{name} is understood"),
        ),
    ));
    let engines = models::check_engines(&mut look);
    models::check(&mut look, &engines);
    match super::serve::control_runtime() {
        Ok(runtime) => runtime.block_on(ask(&mut look)),
        Err(reason) => look.note(Finding::problem("runtime", reason, "raise the limit on threads (ulimit -u)")),
    }
    look.findings
}

/// The checks that wait for somebody's answer.
async fn ask(look: &mut Look<'_>) {
    // A second client in one process finds a provider in place, and it is this one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    ports::check(look).await;
    disk::check_state(look).await;
    let needed = registry(look).await;
    stores::check(look).await;
    disk::check_cache(look, needed);
}

/// Looks at the registry; bytes that are still to be fetched from it.
async fn registry(look: &mut Look<'_>) -> u64 {
    let Some(settings) = &look.config.registry.mlflow else {
        look.note(Finding::skipped(REGISTRY, "registry.mlflow is not configured"));
        return 0;
    };
    let server = Server::new(settings);
    let mlflow = match mlflow::open_with(settings) {
        Ok(mlflow) => mlflow,
        Err(error) => {
            look.note(Finding::problem(
                REGISTRY,
                error.to_string(),
                "correct registry.mlflow.ca_file or registry.mlflow.url",
            ));
            return 0;
        }
    };
    let health = mlflow.client().health().await;
    look.note(answers::health(&server, &health));
    let Ok(seen) = health else {
        look.note(Finding::skipped("everything else of the registry", "it cannot be reached"));
        return 0;
    };
    look.note(answers::clock(SystemTime::now(), &seen));
    let (finding, release) = answers::release(&server, &mlflow.client().release().await);
    look.note(finding);
    let api = answers::api(&server, &mlflow.client().visit().await);
    let is_closed = api.status == Status::Problem;
    look.note(api);
    if is_closed {
        look.note(Finding::skipped("models and webhook of the registry", "its API does not answer us"));
        return 0;
    }
    let needed = sources::check(look, &mlflow, &server).await;
    webhook::check(look, &mlflow, &server, release).await;
    needed
}

impl Look<'_> {
    /// Takes in a finding, and says it unless an object is wanted.
    fn note(&mut self, finding: Finding) {
        tell(self.args, &finding);
        self.findings.push(finding);
    }

    /// The models that come from MLflow.
    fn sourced(&self) -> Vec<(String, SourceSettings)> {
        let models = self.config.models.iter();
        let sourced = models.filter_map(|(model, settings)| Some((model.clone(), settings.source.clone()?)));
        sourced.filter(|(_, source)| source.is_of_mlflow()).collect()
    }
}

fn tell(args: &DoctorArgs, finding: &Finding) {
    if !args.json {
        say(&print::lines(finding));
    }
}

/// Where the registry is to send webhooks, as it is typed.
///
/// # Errors
/// What is wrong with it.
pub(super) fn webhook_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text)
        .map_err(|error| format!("{error}; it must be an address such as http://gateway:8002/hooks/mlflow"))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err("it must begin with http:// or https:// and name a host".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err("it must have no user, password and fragment".to_owned());
    }
    if url.as_str().len() > LONGEST_URL {
        return Err(format!("it must have at most {LONGEST_URL} characters"));
    }
    Ok(url)
}

/// A name that MLflow takes for a webhook (`utils/validation.py`).
///
/// # Errors
/// What is wrong with it.
pub(super) fn webhook_name(text: &str) -> Result<String, String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let ends = |text: &str| !text.starts_with(['.', '_', '-']) && !text.ends_with(['.', '_', '-']);
    if (1..=LONGEST_NAME).contains(&text.len()) && text.bytes().all(is_plain) && ends(text) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "it must have 1 to {LONGEST_NAME} letters, digits, '.', '_' and '-', and begin and end with a letter or digit"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_names_of_webhooks_are_those_that_mlflow_takes() {
        assert_eq!(
            webhook_url("https://gate.example/hooks/mlflow").unwrap().as_str(),
            "https://gate.example/hooks/mlflow"
        );
        let long = format!("http://g/{}", "a".repeat(500));
        for wrong in ["gateway:8002", "ftp://g", "http://u:p@g/", "http://g/#x", &long, ""] {
            let error = webhook_url(wrong).unwrap_err();
            assert!(!error.contains("u:p"), "{error}");
        }
        assert!(["tidegate", "a", "gate-1.eu_west"].into_iter().all(|name| webhook_name(name).is_ok()));
        assert!(["", "-a", "a.", "a b", &"a".repeat(64)].into_iter().all(|name| webhook_name(name).is_err()));
    }
}
