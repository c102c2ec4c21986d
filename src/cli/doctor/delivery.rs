//! What a registry says of its webhooks, and what a test delivery came to: an answer in, a finding out.
//!
//! MLflow has five variables that decide whether a webhook arrives, and names none of them when it does not. Which one
//! it is follows from what it says (`utils/validation.py`, `webhooks/ssrf.py`, `webhooks/delivery.py` and
//! `store/model_registry/dbmodels/models.py` of MLflow 3.17 and 3.18).
//!
//! Invariant: nothing here asks anybody anything. Of a URL its path and query are not shown unless they are ours,
//! because they may be what authorises a sender.

use super::answers::{Server, of_failure};
use super::finding::Finding;
use crate::registry::mlflow::{Failure, WantedWebhook, Webhook, WebhookEvent, WebhookTest};
use reqwest::Url;

/// The check of which webhooks there are.
pub(super) const CHECK: &str = "webhook";
/// The check of what comes of a delivery.
pub(super) const TEST: &str = "webhook test";

/// What a gateway wants to be woken by: aliases move, versions come, a tag that is required is set.
pub(super) const EVENTS: [(&str, &str); 4] = [
    ("MODEL_VERSION_ALIAS", "CREATED"),
    ("MODEL_VERSION_ALIAS", "DELETED"),
    ("MODEL_VERSION", "CREATED"),
    ("MODEL_VERSION_TAG", "SET"),
];

/// The same as the registry names them.
pub(super) fn events() -> Vec<WebhookEvent> {
    let event = |(entity, action): (&str, &str)| WebhookEvent { entity: entity.to_owned(), action: action.to_owned() };
    EVENTS.into_iter().map(event).collect()
}

/// How the registry's webhooks stand to the one that should be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// None is ours.
    Absent,
    /// One is ours, and differs in these things.
    Differs(Webhook, Vec<String>),
    /// One is ours, and as it should be, as far as is told: its secret never is.
    Right(Webhook),
}

/// Finds ours: the one that is sent to our URL, else the one that has our name.
pub(super) fn standing(found: Vec<Webhook>, wanted: &WantedWebhook) -> Standing {
    let is_sent_here = |webhook: &Webhook| is_same_url(&webhook.url, &wanted.url);
    let here = found.iter().position(is_sent_here);
    let Some(ours) = here.or_else(|| found.iter().position(|webhook| webhook.name == wanted.name)) else {
        return Standing::Absent;
    };
    let webhook = found.into_iter().nth(ours).expect("the position is of an element");
    let mut differs = Vec::new();
    if !is_sent_here(&webhook) {
        differs.push(format!("it is sent to {}", origin(&webhook.url)));
    }
    let lacking: Vec<String> =
        wanted.events.iter().filter(|event| !webhook.events.contains(event)).map(ToString::to_string).collect();
    if !lacking.is_empty() {
        differs.push(format!("it is not sent for {}", lacking.join(", ")));
    }
    if webhook.status != "ACTIVE" {
        differs.push(format!("it is {}", webhook.status));
    }
    if differs.is_empty() { Standing::Right(webhook) } else { Standing::Differs(webhook, differs) }
}

/// Why webhooks cannot be listed. `store` is what the server keeps them in, if it says so.
pub(super) fn not_listed(failure: &Failure, store: Option<&str>, server: &Server) -> Finding {
    if store == Some("FileStore") {
        let remedy = "nothing need be done: polling alone tells of changes; a server with a database \
                      (--backend-store-uri sqlite:///mlflow.db, postgresql://…) sends webhooks";
        let found = "the MLflow server keeps its registry in files (FileStore), and such a server never sends webhooks";
        return Finding::warning(CHECK, found, remedy).expected("a server with a database");
    }
    if failure.status == 500 {
        return lost_key(CHECK, "webhooks cannot be listed", failure);
    }
    if failure.status == 403 {
        let remedy = "give registry.mlflow.username a user that is an admin at MLflow for as long as the doctor runs, \
                      or make the webhook by hand: MLflow lets nobody else at webhooks";
        return Finding::warning(CHECK, format!("webhooks are closed to us (403): {}", failure.message), remedy);
    }
    of_failure(CHECK, failure, server)
}

/// Secrets of webhooks that cannot be read any more.
pub(super) fn lost_key(check: &str, what: &str, failure: &Failure) -> Finding {
    let remedy = "set MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY for the MLflow server to one key that stays (python -c \
                  \"from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())\"), start it again, \
                  delete the rows of its table `webhooks` that another key wrote, and run tidegate doctor --repair: \
                  unset, every process of the server makes a key of its own, and one row that cannot be read stops \
                  all webhooks of its events";
    let said = if failure.message.is_empty() { "" } else { ": " };
    let found = format!("{what}: it answers {}{said}{}", failure.status, failure.message);
    Finding::problem(check, found, remedy).expected("secrets of webhooks that every process of the server can read")
}

/// Why a webhook could not be made or changed.
pub(super) fn not_written(failure: &Failure, url: &Url, server: &Server) -> Finding {
    if failure.status == 500 {
        return lost_key(CHECK, "the webhook cannot be written", failure);
    }
    by_variable(CHECK, &failure.message, url).unwrap_or_else(|| of_failure(CHECK, failure, server))
}

/// What came of a test.
pub(super) fn tested(test: &WebhookTest, url: &Url) -> Finding {
    let body = test.response_body.as_deref().unwrap_or_default();
    match test.response_status {
        Some(status) => answered(status, body, url),
        None => unanswered(test.error_message.as_deref().unwrap_or("it does not say why"), url),
    }
}

/// Whether a test says that the secrets differ.
pub(super) fn is_wrong_secret(test: &WebhookTest) -> bool {
    let body = test.response_body.as_deref().unwrap_or_default();
    test.response_status == Some(401) && !is_about_time(body)
}

fn answered(status: u16, body: &str, url: &Url) -> Finding {
    let found = format!("the registry's delivery to {url} was answered {status}: {body}");
    match status {
        200..=299 if body.contains("\"accepted\"") => {
            Finding::ok(TEST, format!("the registry's delivery to {url} arrived and is signed rightly ({status})"))
        }
        200..=299 => {
            let remedy = "check --webhook-url: something else than a gateway answers there";
            Finding::warning(TEST, found, remedy).expected("the answer of tidegate")
        }
        401 if is_about_time(body) => {
            let remedy = "synchronise the clocks of both machines (NTP)";
            Finding::problem(TEST, found, remedy).expected("a time that is ours")
        }
        401 => {
            let remedy = "run tidegate doctor --repair, which gives the webhook the secret of \
                          registry.mlflow.webhook_secret; if the gateway was started with another one, restart it";
            let found = format!("{found}; the secrets differ");
            Finding::problem(TEST, found, remedy).expected("a signature with registry.mlflow.webhook_secret")
        }
        404 => {
            let remedy = "check the path of --webhook-url, which is /hooks/mlflow on the admin port, and that the \
                          gateway there was started with registry.mlflow.webhook_secret and a model of the registry";
            Finding::problem(TEST, found, remedy).expected("202")
        }
        _ => {
            let remedy =
                "check what stands before the admin port: POST /hooks/mlflow must reach it, headers and body unchanged";
            Finding::problem(TEST, found, remedy).expected("202")
        }
    }
}

fn unanswered(said: &str, url: &Url) -> Finding {
    let found = format!("the registry's delivery to {url} did not arrive: {said}");
    if let Some(finding) = by_variable(TEST, said, url) {
        return finding;
    }
    let remedy = if said.contains("refused") {
        "start the gateway; nothing listens there, as the registry sees it. Inside a container 127.0.0.1 is the \
         container: set server.admin to an address that the registry reaches, with server.admin_token"
    } else if said.contains("imed out") || said.contains("imeout") {
        "look for a firewall or a network policy between the registry and the gateway's admin port"
    } else if said.contains("SSL") || said.contains("CERTIFICATE") {
        "give what answers at --webhook-url a certificate that the registry's machine trusts"
    } else {
        "check --webhook-url as the registry's machine sees it"
    };
    Finding::problem(TEST, found, remedy).expected("an answer of the gateway")
}

/// The variable of the server that stands in the way, if it is one.
fn by_variable(check: &str, said: &str, url: &Url) -> Option<Finding> {
    let host = url.host_str().unwrap_or_default();
    if said.contains("Invalid webhook URL scheme") {
        let scheme = url.scheme();
        let found = format!("the registry does not send webhooks to {scheme}:// addresses");
        let remedy = format!(
            "start the MLflow server with MLFLOW_WEBHOOK_ALLOWED_SCHEMES=http,https, or give --webhook-url an address \
             of another scheme than {scheme}, a proxy with TLS perhaps"
        );
        return Some(Finding::problem(check, found, remedy).expected("a scheme that the registry sends to"));
    }
    if said.contains("non-public") || said.contains("not a public IP") {
        let found = format!("the registry does not send webhooks to private addresses, and {host} is one");
        let remedy = "start the MLflow server with MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS=true, which allows all private \
                      addresses (there is no list), or leave it: polling alone tells of changes";
        return Some(Finding::problem(check, found, remedy).expected("an address that the registry sends to"));
    }
    if said.contains("Cannot resolve") || said.contains("Failed to resolve") {
        let found = format!("the registry's machine does not know the name {host}");
        let remedy = "give --webhook-url a name that is known where the MLflow server runs";
        return Some(Finding::problem(check, found, remedy));
    }
    None
}

/// Whether a refusal of ours is about the time of a delivery: the words of `HookError::Stale` and `Ahead`.
fn is_about_time(body: &str) -> bool {
    body.contains("(unix seconds)")
}

/// Equal as addresses: `http://h` and `http://h/` are one.
fn is_same_url(one: &str, other: &str) -> bool {
    matches!((Url::parse(one), Url::parse(other)), (Ok(one), Ok(other)) if one == other)
}

/// Scheme, host and port of somebody's URL.
fn origin(url: &str) -> String {
    Url::parse(url).map_or_else(|_none| "what is no URL".to_owned(), |url| url.origin().ascii_serialization())
}
