//! Webhooks of a registry, as they come in over HTTP.
//!
//! The registry is a socket that closes every connection: how often somebody comes there is how often it is looked at.

use crate::support::client::{Answer, send};
use crate::support::gateway::{Gateway, settings};
use crate::support::repository::Repository;
use crate::support::wait::until;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use serde_json::json;
use sha2::Sha256;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

const SECRET: &str = "s3cr3t-shared-with-gateway";

/// A registry that does not answer.
struct Registry {
    url: String,
    looks: Arc<AtomicUsize>,
    _accepting: JoinSet<()>,
}

impl Registry {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (looks, mut accepting) = (Arc::new(AtomicUsize::new(0)), JoinSet::new());
        let counted = Arc::clone(&looks);
        accepting.spawn(async move {
            loop {
                drop(listener.accept().await);
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { url, looks, _accepting: accepting }
    }

    fn looks(&self) -> usize {
        self.looks.load(Ordering::Relaxed)
    }
}

/// A gateway that looks at its registry once an hour.
async fn gateway(registry: &Registry) -> Gateway {
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), SECRET).unwrap();
    let text = format!(
        "[registry.mlflow]\nurl = \"{}\"\npoll_interval = \"1h\"\nwebhook_secret = {{ file = \"{}\" }}\n\
         [models.churn]\nsource = \"models:/customer churn@champion\"\n",
        registry.url,
        secret.path().display()
    );
    let read = settings(&text);
    Gateway::start(Repository::of(&["breast-cancer/2"]), |config| {
        config.registry = read.registry;
        config.models = read.models;
    })
    .await
}

/// An alias event of a model, signed as MLflow does.
async fn deliver(gateway: &Gateway, path: &str, (id, model, secret): (&str, &str, &str)) -> Answer {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs().to_string();
    let data = json!({ "name": model, "alias": "champion", "version": "7" });
    let body =
        json!({ "entity": "model_version_alias", "action": "created", "timestamp": "", "data": data }).to_string();
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("{id}.{now}.{body}").as_bytes());
    let signature = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    let headers = [("x-mlflow-delivery-id", id), ("x-mlflow-timestamp", &now), ("x-mlflow-signature", &signature)];
    let request = headers
        .into_iter()
        .fold(gateway.client.control("POST", path), |request, (name, value)| request.header(name, value));
    // Whoever sends it knows the gateway by another name than localhost.
    send(request.header("host", "gateway.internal:8002").body(body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_webhook_has_its_model_looked_at_once_and_others_change_nothing() {
    let registry = Registry::start().await;
    let gateway = gateway(&registry).await;
    until("the first look is over", async || {
        let sources = gateway.client.get_admin("/api/v1/sources").await.ok().json();
        sources["sources"]["churn"]["problems"][0].as_str().map(drop)
    })
    .await;
    let before = registry.looks();
    let answered = |answer: Answer| (answer.status, answer.json()["repeated"].clone(), answer.json()["woken"].clone());

    let refused = deliver(&gateway, "/hooks/mlflow", ("1", "customer churn", "guessed")).await;
    assert!(refused.refused(401).contains("does not fit the secret"));
    deliver(&gateway, "/hooks/github", ("1", "customer churn", SECRET)).await.refused(404);
    let unknown = deliver(&gateway, "/hooks/mlflow", ("2", "example_model", SECRET)).await;
    assert_eq!(answered(unknown), (202, json!(false), json!(0)), "a test delivery is acknowledged");
    assert_eq!(registry.looks(), before);

    let first = deliver(&gateway, "/hooks/mlflow", ("3", "customer churn", SECRET)).await;
    assert_eq!(answered(first), (202, json!(false), json!(1)));
    until("the registry is looked at", async || (registry.looks() > before).then_some(())).await;
    let again = deliver(&gateway, "/hooks/mlflow", ("3", "customer churn", SECRET)).await;
    assert_eq!(answered(again), (202, json!(true), json!(0)));
    gateway.stop().await;
}
