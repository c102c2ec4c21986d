//! What a person asks of a server who sets it up: does it live, which release is it, does its API let us in.
//!
//! `/health` and `/version` are outside of the API and exempt from what `server/security.py` checks (MLflow 3.5 and
//! later), so that they answer where every other call is refused. A server that stands behind a gate answers the gate's
//! way.
//!
//! Invariant: every question is a GET, and what is repeated of an answer is one short line.

use super::client::{LARGEST_REFUSAL, MlflowClient, origin_of, read_beginning};
use super::failure::{Failure, shown};
use crate::registry::source::SourceError;
use reqwest::header::DATE;
use reqwest::{Method, Url};
use serde::Deserialize;
use std::time::{Duration, Instant, SystemTime};

/// An answer as it came, whatever its status is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The HTTP status.
    pub status: u16,
    /// The beginning of its body, as one line.
    pub text: String,
    /// What the server's clock said, if it told.
    pub date: Option<SystemTime>,
    /// How long it took until the answer began.
    pub took: Duration,
}

/// What `server-info` says of the store; servers before MLflow 3 do not know the question.
#[derive(Debug, Default, Deserialize)]
struct Info {
    #[serde(default)]
    store_type: Option<String>,
}

/// A page of `registered-models/search`, of which only its being one counts.
#[derive(Debug, Deserialize)]
struct Page {}

impl MlflowClient {
    /// What the server answers at `/health`: `OK`.
    ///
    /// # Errors
    /// [`SourceError::Unreachable`] without an answer.
    pub async fn health(&self) -> Result<Seen, SourceError> {
        self.see(self.url(&["health"], &[])).await
    }

    /// What the server answers at `/version`: its release.
    ///
    /// # Errors
    /// [`SourceError::Unreachable`] without an answer.
    pub async fn release(&self) -> Result<Seen, SourceError> {
        self.see(self.url(&["version"], &[])).await
    }

    /// Whether the registry's API answers, asked for one model of any name; a refusal is an answer, too.
    ///
    /// # Errors
    /// [`SourceError::Unreachable`] without an answer, [`SourceError::Unexpected`] for one that is not MLflow's.
    pub async fn visit(&self) -> Result<Result<(), Failure>, SourceError> {
        let url = self.url(&["api", "2.0", "mlflow", "registered-models", "search"], &[("max_results", "1")]);
        Ok(self.ask::<Page>(url).await?.map(|Page {}| ()))
    }

    /// Where the server keeps what it knows: `SqlStore` or `FileStore`; nothing where it does not say.
    pub async fn store_type(&self) -> Option<String> {
        let url = self.url(&["api", "3.0", "mlflow", "server-info"], &[]);
        self.ask::<Info>(url).await.ok()?.ok()?.store_type
    }

    async fn see(&self, url: Url) -> Result<Seen, SourceError> {
        let (place, started) = (origin_of(&url), Instant::now());
        let mut answer = self.start(&place, self.request(Method::GET, url)?).await?;
        let took = started.elapsed();
        let date = answer.headers().get(DATE).and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
        let mut body = Vec::new();
        read_beginning(&mut answer, &mut body, LARGEST_REFUSAL).await;
        Ok(Seen { status: answer.status().as_u16(), text: shown(&String::from_utf8_lossy(&body)), date, took })
    }
}
