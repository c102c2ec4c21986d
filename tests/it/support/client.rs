//! A client of a gateway's two ports.

use super::wait::until;
use reqwest::header::HeaderMap;
use serde_json::Value;
use std::net::SocketAddr;

/// A whole answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error} in {}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The answer, which must be 200.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.status, 200, "{}", self.text);
        self
    }

    /// The text of a refusal, which must have this status and the one shape that refusals have.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(self.header("content-type"), Some("application/json"));
        let body = self.json();
        assert_eq!(body.as_object().map(serde_json::Map::len), Some(1), "{}", self.text);
        body["error"].as_str().unwrap_or_else(|| panic!("no error text in {}", self.text)).to_owned()
    }
}

/// A client of one gateway.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) http: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) requests: reqwest::Client,
}

impl Client {
    pub(crate) fn new(http: SocketAddr, admin: SocketAddr) -> Self {
        // A second client in one process finds a provider in place, and it is this one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let requests = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { http, admin, requests }
    }

    /// A request to the data port.
    pub(crate) fn data(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        self.requests.request(method.parse().unwrap(), format!("http://{}{path}", self.http))
    }

    /// A request to the admin port.
    pub(crate) fn control(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        self.requests.request(method.parse().unwrap(), format!("http://{}{path}", self.admin))
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        send(self.data("GET", path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> Answer {
        send(self.data("POST", path).body(body)).await
    }

    pub(crate) async fn get_admin(&self, path: &str) -> Answer {
        send(self.control("GET", path)).await
    }

    /// One version of a model as the admin API shows it; null if there is none.
    pub(crate) async fn version(&self, model: &str, version: &str) -> Value {
        let shown = self.get_admin(&format!("/api/v1/models/{model}")).await;
        if shown.status == 404 {
            return Value::Null;
        }
        let shown = shown.ok().json();
        let versions = shown["versions"].as_array().unwrap();
        versions.iter().find(|shown| shown["version"] == version).cloned().unwrap_or(Value::Null)
    }

    /// What `/drift` says of a version, once the judge has looked at it.
    pub(crate) async fn drift(&self, model: &str, version: &str) -> Value {
        until(&format!("version {version} of {model} is judged"), async || {
            let shown = self.get_admin(&format!("/api/v1/models/{model}/drift")).await.ok().json();
            let versions = shown["versions"].as_array().unwrap();
            versions.iter().find(|shown| shown["version"] == version).cloned()
        })
        .await
    }

    /// Asks for a split: `{"1":90,"2":10}`.
    pub(crate) async fn put_split(&self, model: &str, weights: &str) -> Answer {
        let path = format!("/api/v1/models/{model}/split");
        send(self.control("PUT", &path).body(format!("{{\"weights\":{weights}}}"))).await
    }

    /// Waits until the gateway wants traffic.
    pub(crate) async fn wait_until_ready(&self) {
        until("the gateway is ready", async || (self.get_admin("/readyz").await.status == 200).then_some(())).await;
    }

    /// Waits until a version gets all traffic that names none.
    pub(crate) async fn wait_until_serving(&self, model: &str, version: &str) {
        until(&format!("version {version} of {model} serves"), async || {
            (self.version(model, version).await["weight"] == 100.0).then_some(())
        })
        .await;
    }
}

/// Sends a request and reads the whole answer.
pub(crate) async fn send(request: reqwest::RequestBuilder) -> Answer {
    let answer = request.send().await.unwrap_or_else(|error| panic!("no answer: {error:?}"));
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    Answer { status, headers, text: answer.text().await.unwrap() }
}
