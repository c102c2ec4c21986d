//! The registry's webhook to this gateway: compared, repaired if that is asked for, tested.
//!
//! A test changes nothing at the registry and wakes nobody here, since it is about a model that nobody has; so it is
//! made without being asked for, and it is the only way to learn whether both sides have the same secret.
//!
//! Invariant: without `--repair` nothing is made or changed, and nothing is ever deleted.

use super::Look;
use super::answers::{Server, has_webhooks, is_loopback, of_error, of_failure};
use super::delivery::{self, CHECK, Standing, TEST};
use super::finding::{Finding, Status};
use super::ports::{Holder, holder};
use crate::app::mlflow::Mlflow;
use crate::config::{Config, MlflowSettings};
use crate::registry::mlflow::webhooks::Told;
use crate::registry::mlflow::{MlflowClient, WantedWebhook, Webhook, WebhookTest};
use crate::registry::source::SourceError;
use reqwest::Url;

/// The path of MLflow's webhooks on the admin port.
const PATH: &str = "/hooks/mlflow";
/// How often webhooks are listed: each process of the server answers for itself, by default four, and a key that is not
/// set shows where another process has written.
const LISTINGS: usize = 6;
/// How long a change takes until every process of the server sends by it.
const CACHED: &str = "each process of the server begins to send by it within 60 s (MLFLOW_WEBHOOK_CACHE_TTL)";

/// What is needed to look after the webhook.
struct Desk<'a> {
    client: &'a MlflowClient,
    server: &'a Server,
    wanted: WantedWebhook,
    url: Url,
    repair: bool,
}

/// Looks after the webhook.
pub(super) async fn check(look: &mut Look<'_>, mlflow: &Mlflow, server: &Server, release: Option<(u32, u32)>) {
    let Some(settings) = &look.config.registry.mlflow else { return };
    let url = match url(look.args.webhook_url.as_ref(), look.config, server) {
        Ok(url) => url,
        Err(finding) => return look.note(finding),
    };
    let Some(secret) = &settings.webhook_secret else { return look.note(without_secret(look, settings)) };
    if !has_webhooks(release) {
        return look.note(Finding::skipped(CHECK, "this release of MLflow has none; polling alone tells of changes"));
    }
    let (name, secret) = (look.args.webhook_name.clone(), secret.expose().to_owned());
    let wanted = WantedWebhook { name, url: url.to_string(), events: delivery::events(), secret };
    let desk = Desk { client: mlflow.client(), server, wanted, url, repair: look.args.repair };
    let (finding, webhook) = desk.put_right().await;
    let is_problem = finding.status == Status::Problem;
    look.note(finding);
    match webhook {
        Some(webhook) if !is_problem => desk.test(look, &webhook).await,
        _ => look.note(Finding::skipped(TEST, "there is no webhook that could be tested")),
    }
}

/// Where the registry is to send: what was given, else the admin port.
fn url(given: Option<&Url>, config: &Config, server: &Server) -> Result<Url, Finding> {
    if let Some(given) = given {
        return Ok(given.clone());
    }
    let admin = config.server.admin;
    if admin.port() == 0 || admin.ip().is_unspecified() {
        let why =
            format!("give --webhook-url: server.admin is {admin}, which does not say where the registry reaches us");
        return Err(Finding::skipped(CHECK, why));
    }
    let url = Url::parse(&format!("http://{admin}{PATH}")).expect("an address makes a URL");
    if is_loopback(&url) && !server.is_local() {
        let found = format!(
            "server.admin is {admin}, which {} cannot reach: webhooks cannot arrive, polling works without them",
            server.host()
        );
        let remedy = "set server.admin to an address that the registry reaches, with server.admin_token, or give \
                      --webhook-url of a proxy that passes /hooks/mlflow on; or leave it";
        return Err(Finding::warning(CHECK, found, remedy));
    }
    Ok(url)
}

fn without_secret(look: &Look<'_>, settings: &MlflowSettings) -> Finding {
    let polling =
        format!("polling every {} alone tells of changes", humantime::format_duration(settings.poll_interval));
    if look.args.repair || look.args.webhook_url.is_some() {
        let remedy =
            "set registry.mlflow.webhook_secret = { env = \"NAME\" } or { file = \"PATH\" } and restart the gateway";
        return Finding::problem(CHECK, format!("registry.mlflow.webhook_secret is not set; {polling}"), remedy);
    }
    Finding::skipped(CHECK, format!("registry.mlflow.webhook_secret is not set: {polling}"))
}

impl Desk<'_> {
    /// Compares, and with `--repair` makes or changes; what was found, and the webhook if it can be tested.
    async fn put_right(&self) -> (Finding, Option<Webhook>) {
        let found = match self.list().await {
            Ok(found) => found,
            Err(finding) => return (finding, None),
        };
        let url = &self.url;
        match (delivery::standing(found, &self.wanted), self.repair) {
            (Standing::Right(webhook), _) => {
                let found = format!("{:?} is sent to {url} for what is needed", webhook.name);
                (Finding::ok(CHECK, found), Some(webhook))
            }
            (Standing::Absent, false) => {
                let events = self.wanted.events.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                let remedy = format!("run it with --repair, which makes one for {events}; or leave it: polling works");
                (Finding::warning(CHECK, format!("none is sent to {url}"), remedy), None)
            }
            (Standing::Differs(webhook, differs), false) => {
                let found = format!("{:?} is there, but {}", webhook.name, differs.join(", and "));
                (Finding::warning(CHECK, found, format!("run it with --repair, which has it sent to {url}")), None)
            }
            (Standing::Absent, true) => {
                let made = self.client.create_webhook(&self.wanted).await;
                self.written(made, &format!("{:?} is made and sent to {url}; {CACHED}", self.wanted.name)).await
            }
            (Standing::Differs(webhook, differs), true) => {
                let was = differs.join(", and ");
                let changed = self.client.update_webhook(&webhook.id, &self.wanted).await;
                let said = format!("{:?} is changed and sent to {url}; before, {was}; {CACHED}", webhook.name);
                self.written(changed, &said).await
            }
        }
    }

    /// What came of making or changing one; whether all processes of the server can read it.
    async fn written(&self, outcome: Told<Webhook>, said: &str) -> (Finding, Option<Webhook>) {
        match outcome {
            Ok(Ok(webhook)) => match self.list().await {
                Ok(_) => (Finding::ok(CHECK, said), Some(webhook)),
                Err(finding) => (finding, None),
            },
            Ok(Err(failure)) => (delivery::not_written(&failure, &self.url, self.server), None),
            Err(error) => (of_error(CHECK, &error, self.server), None),
        }
    }

    async fn list(&self) -> Result<Vec<Webhook>, Finding> {
        let mut found = Vec::new();
        for _ in 0..LISTINGS {
            found = match self.client.webhooks().await {
                Ok(Ok(found)) => found,
                Ok(Err(failure)) => {
                    let store = self.client.store_type().await;
                    return Err(delivery::not_listed(&failure, store.as_deref(), self.server));
                }
                Err(error) => return Err(of_error(CHECK, &error, self.server)),
            };
        }
        Ok(found)
    }

    async fn test(&self, look: &mut Look<'_>, webhook: &Webhook) {
        let admin = look.config.server.admin;
        let is_ours = self.url.port_or_known_default() == Some(admin.port()) && is_loopback(&self.url);
        if is_ours && holder(admin).await == Holder::Nobody {
            let found = format!("nothing listens at {admin}, so that no delivery can arrive");
            return look.note(Finding::warning(TEST, found, "start the gateway, and run the doctor beside it"));
        }
        let finding = match self.ask(webhook).await {
            Ok(test) if self.repair && delivery::is_wrong_secret(&test) => self.give_secret(webhook).await,
            Ok(test) => delivery::tested(&test, &self.url),
            Err(finding) => finding,
        };
        look.note(finding);
    }

    /// Gives the webhook our secret, and tests it again.
    async fn give_secret(&self, webhook: &Webhook) -> Finding {
        let (finding, webhook) =
            self.written(self.client.update_webhook(&webhook.id, &self.wanted).await, "it has our secret now").await;
        let Some(webhook) = webhook else { return finding };
        match self.ask(&webhook).await {
            Ok(test) => {
                let finding = delivery::tested(&test, &self.url);
                let found = format!("it had another secret and was given ours; {}; {CACHED}", finding.found);
                Finding { found, ..finding }
            }
            Err(finding) => finding,
        }
    }

    async fn ask(&self, webhook: &Webhook) -> Result<WebhookTest, Finding> {
        match self.client.test_webhook(&webhook.id).await {
            Ok(Ok(test)) => Ok(test),
            Ok(Err(failure)) if failure.status == 500 => {
                Err(delivery::lost_key(TEST, "the webhook cannot be tested", &failure))
            }
            Ok(Err(failure)) => Err(of_failure(TEST, &failure, self.server)),
            Err(error @ SourceError::Unreachable { .. }) => {
                let remedy = "look for a firewall or a network policy between the registry and the gateway's admin \
                              port; the registry tries several times before it gives up (registry.mlflow.timeout is \
                              how long we wait)";
                Err(Finding::problem(TEST, format!("the registry does not say what came of it: {error}"), remedy))
            }
            Err(error) => Err(of_error(TEST, &error, self.server)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::answers::KnownAs;
    use super::*;

    fn at(admin: &str, registry: &str) -> Result<String, Finding> {
        let mut config = Config::default();
        config.server.admin = admin.parse().unwrap();
        let server = Server { url: registry.parse().unwrap(), known_as: KnownAs::Nobody };
        url(None, &config, &server).map(|url| url.to_string())
    }

    #[test]
    fn webhooks_are_sent_to_the_admin_port_if_that_can_be_reached() {
        let local = "http://localhost:5000";
        assert_eq!(at("127.0.0.1:8002", local).unwrap(), "http://127.0.0.1:8002/hooks/mlflow");
        assert_eq!(at("[::1]:8002", local).unwrap(), "http://[::1]:8002/hooks/mlflow");
        assert_eq!(at("10.0.0.7:8002", "http://mlflow").unwrap(), "http://10.0.0.7:8002/hooks/mlflow");
        let unreachable = at("127.0.0.1:8002", "http://mlflow:5000").unwrap_err();
        assert_eq!(unreachable.status, Status::Warning);
        assert!(
            unreachable.found.contains("polling works") && unreachable.remedy.unwrap().contains("server.admin_token")
        );
        for unclear in ["0.0.0.0:8002", "127.0.0.1:0"] {
            let finding = at(unclear, local).unwrap_err();
            assert!(finding.status == Status::Skipped && finding.found.contains("--webhook-url"), "{finding:?}");
        }
    }
}
