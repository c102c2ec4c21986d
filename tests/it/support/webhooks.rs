//! Webhooks as their senders make them.

use super::client::{Answer, Client, send};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use serde_json::json;
use sha2::Sha256;
use std::time::SystemTime;

/// A delivery that stands ready to be sent.
pub(crate) struct Standing {
    headers: Vec<(&'static str, String)>,
    body: String,
}

/// Seconds since 1970.
pub(crate) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

fn sign(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

impl Standing {
    /// The body is signed, the id is not.
    pub(crate) fn github((id, body): (&str, &str), secret: &str) -> Self {
        let signature: String = sign(secret.as_bytes(), body).iter().map(|byte| format!("{byte:02x}")).collect();
        let signature = format!("sha256={signature}");
        let headers = vec![("x-github-delivery", id.to_owned()), ("x-hub-signature-256", signature)];
        Self { headers, body: body.to_owned() }
    }

    /// Id, time and body are signed.
    fn signed(names: [&'static str; 3], (id, at, body): (&str, u64, &str), key: &[u8]) -> Self {
        let signature = format!("v1,{}", STANDARD.encode(sign(key, &format!("{id}.{at}.{body}"))));
        let headers = names.into_iter().zip([id.to_owned(), at.to_string(), signature]).collect();
        Self { headers, body: body.to_owned() }
    }

    /// The request to a gateway, which the sender knows by another name than localhost.
    pub(crate) fn request(&self, client: &Client, path: &str) -> reqwest::RequestBuilder {
        let request = client.control("POST", path).header("host", "gateway.internal:8002").body(self.body.clone());
        self.headers.iter().fold(request, |request, (name, value)| request.header(*name, value))
    }
}

/// An alias event of a model, as MLflow sends it now.
pub(crate) async fn deliver_mlflow(client: &Client, path: &str, (id, model): (&str, &str), secret: &str) -> Answer {
    let data = json!({ "name": model, "alias": "champion", "version": "7" });
    let body = json!({ "entity": "model_version_alias", "action": "created", "timestamp": "", "data": data });
    let names = ["x-mlflow-delivery-id", "x-mlflow-timestamp", "x-mlflow-signature"];
    let standing = Standing::signed(names, (id, unix_seconds(), &body.to_string()), secret.as_bytes());
    send(standing.request(client, path)).await
}

/// An event of GitHub.
pub(crate) async fn deliver_github(client: &Client, path: &str, event: (&str, &str), secret: &str) -> Answer {
    send(Standing::github(event, secret).request(client, path)).await
}

/// An event of Standard Webhooks: id, time, body.
pub(crate) async fn deliver_standard(client: &Client, path: &str, event: (&str, u64, &str), secret: &str) -> Answer {
    let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
    let names = ["webhook-id", "webhook-timestamp", "webhook-signature"];
    send(Standing::signed(names, event, &key).request(client, path)).await
}
