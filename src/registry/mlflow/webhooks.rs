//! The webhooks of an MLflow server: which there are, one made or changed, one tested.
//!
//! Since MLflow 3.3, for servers with a database. Enum names are in upper case here and in lower case in deliveries.
//! What a webhook is signed with is never told; whether it is the right one shows in a test alone. Every process of a
//! server that was not given `MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY` makes a key of its own and cannot read what another
//! one wrote, so that lists are asked for over a connection of their own each time, which any of the processes may
//! take.
//!
//! Invariant: nothing here is changed but by [`MlflowClient::create_webhook`] and [`MlflowClient::update_webhook`], and
//! no `Debug` has a secret.

use super::client::{MlflowClient, origin_of};
use super::failure::{Failure, shown};
use crate::registry::source::SourceError;
use reqwest::Method;
use reqwest::header::{CONNECTION, HeaderValue};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// The most pages of webhooks that are read.
const MOST_PAGES: usize = 20;
/// Webhooks on a page.
const PAGE: &str = "100";

/// An answer or a refusal, where there is either.
pub type Told<T> = Result<Result<T, Failure>, SourceError>;

/// What a webhook is sent for, in the words of the REST API: `MODEL_VERSION_ALIAS`, `CREATED`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WebhookEvent {
    /// What something happened to.
    pub entity: String,
    /// What happened.
    pub action: String,
}

/// A webhook of the server.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Webhook {
    /// The server's name for it.
    #[serde(rename = "webhook_id")]
    pub id: String,
    /// People's name for it.
    #[serde(default)]
    pub name: String,
    /// Where it is sent.
    #[serde(default)]
    pub url: String,
    /// What it is sent for.
    #[serde(default)]
    pub events: Vec<WebhookEvent>,
    /// `ACTIVE` or `DISABLED`.
    #[serde(default)]
    pub status: String,
}

/// A webhook as it should be.
#[derive(Clone, PartialEq, Eq)]
pub struct WantedWebhook {
    /// People's name for it.
    pub name: String,
    /// Where it is sent.
    pub url: String,
    /// What it is sent for.
    pub events: Vec<WebhookEvent>,
    /// What it is signed with.
    pub secret: String,
}

/// What became of a test delivery.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct WebhookTest {
    /// Whether the receiver answered with a status below 400.
    #[serde(default)]
    pub success: bool,
    /// What the receiver answered, if it did.
    #[serde(default)]
    pub response_status: Option<u16>,
    /// Its body.
    #[serde(default)]
    pub response_body: Option<String>,
    /// Why there is no answer.
    #[serde(default)]
    pub error_message: Option<String>,
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    webhooks: Vec<Webhook>,
    #[serde(default)]
    next_page_token: String,
}

#[derive(Deserialize)]
struct One {
    webhook: Webhook,
}

#[derive(Deserialize)]
struct Tested {
    result: WebhookTest,
}

impl fmt::Display for WebhookEvent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.entity.to_lowercase(), self.action.to_lowercase())
    }
}

impl fmt::Debug for WantedWebhook {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("WantedWebhook");
        shown.field("name", &self.name).field("events", &self.events).finish_non_exhaustive()
    }
}

impl WantedWebhook {
    fn body(&self) -> Value {
        serde_json::json!({
            "name": self.name, "url": self.url, "events": self.events, "secret": self.secret, "status": "ACTIVE",
        })
    }
}

impl MlflowClient {
    /// Every webhook of the server.
    ///
    /// # Errors
    /// [`SourceError`] without an answer, or with one that is not MLflow's.
    pub async fn webhooks(&self) -> Told<Vec<Webhook>> {
        let (mut found, mut token) = (Vec::new(), String::new());
        for _ in 0..MOST_PAGES {
            let pairs = [("max_results", PAGE), ("page_token", token.as_str())];
            let query: Vec<_> = pairs.into_iter().filter(|(_, value)| !value.is_empty()).collect();
            let url = self.url(&ROUTE, &query);
            let place = origin_of(&url);
            let request = self.request(Method::GET, url)?.header(CONNECTION, HeaderValue::from_static("close"));
            let page: Page = match self.answer(place, request).await? {
                Ok(page) => page,
                Err(failure) => return Ok(Err(failure)),
            };
            found.extend(page.webhooks);
            if page.next_page_token.is_empty() {
                return Ok(Ok(found));
            }
            token = page.next_page_token;
        }
        let reason = format!("expected at most {MOST_PAGES} pages of webhooks, found more");
        Err(SourceError::Unexpected { place: self.origin(), reason })
    }

    /// Makes a webhook.
    ///
    /// # Errors
    /// [`SourceError`] without an answer, or with one that is not MLflow's.
    pub async fn create_webhook(&self, wanted: &WantedWebhook) -> Told<Webhook> {
        let made = self.tell::<One>(Method::POST, self.url(&ROUTE, &[]), &wanted.body()).await?;
        Ok(made.map(|one| one.webhook))
    }

    /// Changes a webhook to what is wanted, its secret included.
    ///
    /// # Errors
    /// [`SourceError`] without an answer, or with one that is not MLflow's.
    pub async fn update_webhook(&self, id: &str, wanted: &WantedWebhook) -> Told<Webhook> {
        let url = self.url(&[&ROUTE[..], &[id]].concat(), &[]);
        Ok(self.tell::<One>(Method::PATCH, url, &wanted.body()).await?.map(|one| one.webhook))
    }

    /// Has the server send an example to a webhook's receiver, and tells what came of it.
    ///
    /// # Errors
    /// [`SourceError`] without an answer, or with one that is not MLflow's.
    pub async fn test_webhook(&self, id: &str) -> Told<WebhookTest> {
        let url = self.url(&[&ROUTE[..], &[id, "test"]].concat(), &[]);
        let tested = self.tell::<Tested>(Method::POST, url, &serde_json::json!({})).await?;
        Ok(tested.map(|Tested { result }| WebhookTest {
            response_body: result.response_body.as_deref().map(shown),
            error_message: result.error_message.as_deref().map(shown),
            ..result
        }))
    }
}

/// The first parts of the routes.
const ROUTE: [&str; 4] = ["api", "2.0", "mlflow", "webhooks"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_mlflow_are_read_with_fields_that_are_absent() {
        let page = r#"{"webhooks":[{"webhook_id":"w1","name":"n","url":"http://g/hooks/mlflow","status":"ACTIVE",
            "more":1,            "events":[{"entity":"MODEL_VERSION_ALIAS","action":"CREATED"}]},{"webhook_id":"w2"}]}"#;
        let page: Page = serde_json::from_str(page).unwrap();
        assert_eq!(page.webhooks[0].events[0].to_string(), "model_version_alias.created");
        assert_eq!((page.webhooks[1].status.as_str(), page.next_page_token.as_str()), ("", ""));
        let tested: Tested = serde_json::from_str(r#"{"result":{"success":true,"response_status":202}}"#).unwrap();
        assert_eq!((tested.result.response_status, tested.result.error_message), (Some(202), None));
    }

    #[test]
    fn a_secret_is_sent_and_never_shown() {
        let (name, url) = ("tidegate".to_owned(), "http://g/hooks/mlflow".to_owned());
        let wanted = WantedWebhook { name, url, events: Vec::new(), secret: "s3cr3t".to_owned() };
        assert_eq!(wanted.body()["secret"], "s3cr3t");
        assert!(!format!("{wanted:?}").contains("s3cr3t"));
    }
}
