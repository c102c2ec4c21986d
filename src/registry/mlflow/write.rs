//! What is written to an MLflow server: tags of a version, and where an alias points.
//!
//! Both routes set what they are given whatever was there, so that whoever was not answered may ask again. MLflow sends its
//! webhooks for either; who follows the model sees what it wrote and finds nothing to do.
//!
//! Invariant: nothing else of the registry is changed, and nothing is deleted.

use super::calls::API;
use super::client::MlflowClient;
use crate::registry::source::SourceError;
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;

impl MlflowClient {
    /// Sets tags of a version of a registered model, one after the other, in the order of their keys.
    ///
    /// # Errors
    /// What became of the first that was not set; those before it are.
    pub async fn write(&self, model: &str, version: u64, tags: &BTreeMap<String, String>) -> Result<(), SourceError> {
        for (key, value) in tags {
            let body = json!({ "name": model, "version": version.to_string(), "key": key, "value": value });
            let what = format!("tag {key:?} of version {version} of model {model:?}");
            self.set(&["model-versions", "set-tag"], &body, &what).await?;
        }
        Ok(())
    }

    /// Has an alias of a registered model point to a version.
    ///
    /// # Errors
    /// Why it does not.
    pub async fn set_alias(&self, model: &str, alias: &str, version: u64) -> Result<(), SourceError> {
        let body = json!({ "name": model, "alias": alias, "version": version.to_string() });
        self.set(&["registered-models", "alias"], &body, &format!("alias {alias:?} of model {model:?}")).await
    }

    async fn set(&self, route: &[&str], body: &Value, what: &str) -> Result<(), SourceError> {
        let url = self.url(&[&API, route].concat(), &[]);
        let answer = self.tell::<Value>(Method::POST, url, body).await?;
        answer.map(drop).map_err(|failure| failure.into_error(&self.origin(), what))
    }
}
