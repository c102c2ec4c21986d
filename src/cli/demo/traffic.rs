//! The demo's client: predictions at a steady pace, and what the admin API says.
//!
//! Open loop: a row is due every 25 ms whatever the answers do, so a stall shows as rows that are late, not as fewer rows.
//!
//! Invariant: every answer is checked to name one version in its header and in its body.

use super::PACE;
use crate::cli::draws::FEATURES;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// The longest wait for the gateway to be ready, in looks.
const READY_LOOKS: usize = 200;
/// Between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// A client of the demo's gateway.
pub(super) struct Traffic {
    client: reqwest::Client,
    predict_url: String,
    admin_url: String,
    due: Option<Instant>,
    /// Requests sent.
    pub(super) sent: usize,
    /// Requests that were not answered with a prediction.
    pub(super) failed: usize,
    /// Answers by version and arm.
    pub(super) served: BTreeMap<(String, String), u64>,
    /// The version of the latest answer.
    pub(super) latest_version: String,
}

/// One prediction.
pub(super) struct Answer {
    pub(super) version: String,
    arm: String,
    pub(super) body: Value,
}

impl Traffic {
    pub(super) fn new(http: SocketAddr, admin: SocketAddr) -> Result<Self, String> {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build().map_err(text)?;
        Ok(Self {
            client,
            predict_url: format!("http://{http}/v2/models/churn/infer"),
            admin_url: format!("http://{admin}"),
            due: None,
            sent: 0,
            failed: 0,
            served: BTreeMap::new(),
            latest_version: String::new(),
        })
    }

    /// Sends a row when it is due and counts the answer.
    pub(super) async fn send_paced(&mut self, row: &[f32; FEATURES]) -> Result<(), String> {
        let due = self.due.map_or_else(Instant::now, |due| due + PACE);
        // After a pause between acts the pace starts anew instead of catching up.
        let due = if due.elapsed() > Duration::from_secs(1) { Instant::now() } else { due };
        self.due = Some(due);
        tokio::time::sleep_until(due.into()).await;
        self.sent += 1;
        match self.predict(row, None).await {
            Ok(Answer { version, arm, .. }) => {
                self.latest_version.clone_from(&version);
                *self.served.entry((version, arm)).or_default() += 1;
            }
            Err(reason) => {
                self.failed += 1;
                crate::cli::say(&format!("request failed: {reason}"));
            }
        }
        Ok(())
    }

    pub(super) async fn predict(&self, row: &[f32; FEATURES], key: Option<&str>) -> Result<Answer, String> {
        let body = json!({
            "inputs": [{ "name": "features", "datatype": "FP32", "shape": [1, FEATURES], "data": row }],
        });
        let mut request = self.client.post(&self.predict_url).json(&body);
        if let Some(key) = key {
            request = request.header("tidegate-routing-key", key);
        }
        let answer = request.send().await.map_err(text)?;
        let header = |name: &str| {
            answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
        };
        let (version, arm, status) = (header("tidegate-model-version"), header("tidegate-arm"), answer.status());
        let body: Value = answer.json().await.map_err(text)?;
        if !status.is_success() || string_at(&body, "model_version") != version {
            return Err(format!("status {status}, version {version} in the header, body {body}"));
        }
        Ok(Answer { version, arm, body })
    }

    pub(super) fn served_by(&self, version: &str, arm: &str) -> u64 {
        self.served.get(&(version.to_owned(), arm.to_owned())).copied().unwrap_or(0)
    }

    pub(super) async fn wait_until_ready(&self) -> Result<(), String> {
        for _ in 0..READY_LOOKS {
            let answer = self.client.get(format!("{}/readyz", self.admin_url)).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        Err("the gateway did not become ready".to_owned())
    }

    pub(super) async fn split(&self, split: &Value) -> Result<(), String> {
        self.admin(self.client.put(self.url("/api/v1/models/churn/split")).json(split)).await.map(drop)
    }

    pub(super) async fn follow_highest(&self) -> Result<(), String> {
        self.admin(self.client.delete(self.url("/api/v1/models/churn/split"))).await.map(drop)
    }

    pub(super) async fn drift(&self) -> Result<Value, String> {
        self.admin(self.client.get(self.url("/api/v1/models/churn/drift"))).await
    }

    pub(super) async fn alerts(&self) -> Result<Vec<Value>, String> {
        let answer = self.admin(self.client.get(self.url("/api/v1/alerts"))).await?;
        Ok(answer["alerts"].as_array().cloned().unwrap_or_default())
    }

    async fn admin(&self, request: reqwest::RequestBuilder) -> Result<Value, String> {
        let answer = request.send().await.map_err(text)?;
        let status = answer.status();
        let body: Value = answer.json().await.map_err(text)?;
        if status.is_success() { Ok(body) } else { Err(format!("the admin API answered {status}: {body}")) }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.admin_url)
    }
}

/// A string inside a JSON object, empty if there is none.
pub(super) fn string_at(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
