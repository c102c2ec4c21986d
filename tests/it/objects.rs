//! Models come from a real S3 server.

use crate::support::gateway::{Gateway, settings};
use crate::support::mlflow::MlflowServer;
use crate::support::repository::{Repository, shipped};
use crate::support::s3::{BUCKET, KEY, S3Server};
use crate::support::wait::until;
use futures_util::{StreamExt, stream};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tidegate::config::Config;
use tidegate::registry::mlflow::{MlflowAccess, MlflowClient, MlflowSource};
use tidegate::registry::objects::{ObjectAddress, ObjectSource, Stores};
use tidegate::registry::roles::default_roles;
use tidegate::registry::source::{RemoteFile, Source, SourceError};

/// The settings of a gateway whose model comes from the server.
fn config(server: &S3Server, key: &str, model: &str) -> Config {
    settings(&format!("{}[models.{model}]\nsource = \"s3://{BUCKET}/{model}\"\n", server.settings(key)))
}

/// A gateway that serves one model of the server, and another of its own, so that it is ready.
async fn gateway(server: &S3Server, key: &str, model: &str) -> Gateway {
    let from = config(server, key, model);
    Gateway::start(Repository::of(&["breast-cancer/2"]), move |config| {
        (config.registry, config.models) = (from.registry, from.models);
    })
    .await
}

/// The model below a prefix, as a gateway asks for it.
fn source(server: &S3Server, prefix: &str) -> ObjectSource {
    let config = config(server, KEY, "any");
    let address: ObjectAddress = format!("s3://{BUCKET}/{prefix}").parse().unwrap();
    let store = Stores::new(config.registry.objects).open(&address.store).unwrap();
    // Far from now, so that nothing waits to be quiet.
    let clock = Arc::new(|| SystemTime::now() + Duration::from_secs(3_600));
    ObjectSource::new(store, address.prefix, default_roles(), clock)
}

/// What is told of a model's source.
async fn source_of(gateway: &Gateway, model: &str) -> Value {
    gateway.client.get_admin("/api/v1/sources").await.ok().json()["sources"][model].clone()
}

async fn problems(gateway: &Gateway, model: &str) -> String {
    source_of(gateway, model).await["problems"].to_string()
}

async fn until_told(gateway: &Gateway, model: &str, said: &[&str]) -> String {
    until(&format!("{said:?} is told"), async || {
        let problems = problems(gateway, model).await;
        said.iter().all(|said| problems.contains(said)).then_some(problems)
    })
    .await
}

async fn downloaded(source: &dyn Source, version: u64, file: &RemoteFile, start: u64) -> (u64, Vec<u8>) {
    let mut bytes = source.open(version, file, start).await.unwrap();
    let (position, mut found) = (bytes.position(), Vec::new());
    while let Some(piece) = bytes.next().await.unwrap() {
        found.extend_from_slice(&piece);
    }
    (position, found)
}

#[tokio::test]
async fn a_version_that_appears_is_served_and_a_moved_alias_too() {
    let server = S3Server::start().await;
    // Without a manifest: it is served once nothing changes any more.
    for name in ["model.onnx", "profile.json"] {
        server.put(&format!("churn/1/{name}"), fs::read(shipped().join("churn/1").join(name)).unwrap()).await;
    }
    let gateway = gateway(&server, KEY, "churn").await;
    gateway.client.wait_until_serving("churn", "1").await;
    server.put_version(&shipped().join("churn/2"), "churn/2", |_, bytes| bytes).await;
    gateway.client.wait_until_serving("churn", "2").await;
    server.put("churn/aliases.json", "{\"champion\": 1, \"challenger\": 2}").await;
    gateway.client.wait_until_serving("churn", "1").await;
    until("the challenger is warm", async || {
        let version = gateway.client.version("churn", "2").await;
        (version["state"] == "loaded" && version["weight"] == 0.0).then_some(())
    })
    .await;
    server.put("churn/aliases.json", "{\"champion\": 2}").await;
    gateway.client.wait_until_serving("churn", "2").await;
    let sources = source_of(&gateway, "churn").await;
    let lineage = &sources["lineage"]["2"];
    assert_eq!((&lineage["source"], &lineage["aliases"][0]), (&"s3://models/churn/2".into(), &"champion".into()));
    assert_eq!(problems(&gateway, "churn").await, "[]");
    gateway.stop().await;
    server.stop().await;
}

#[tokio::test]
async fn what_is_not_as_its_manifest_says_is_refused_and_the_stable_version_serves_on() {
    let server = S3Server::start().await;
    let churn = shipped().join("churn/1");
    server.put_version(&churn, "churn/1", |_, bytes| bytes).await;
    let gateway = gateway(&server, KEY, "churn").await;
    gateway.client.wait_until_serving("churn", "1").await;
    let flipped = |path: &str, mut bytes: Vec<u8>| {
        bytes[100] ^= u8::from(path == "model.onnx");
        bytes
    };
    server.put_version(&churn, "churn/2", flipped).await;
    until_told(&gateway, "churn", &["version 2: model.onnx is not the file", "its SHA-256 is", "expected"]).await;
    let truncated = |path: &str, mut bytes: Vec<u8>| {
        bytes.truncate(if path == "model.onnx" { 100 } else { bytes.len() });
        bytes
    };
    server.put_version(&churn, "churn/3", truncated).await;
    until_told(&gateway, "churn", &["s3://models/churn/3", "model.onnx has 100 bytes, manifest.json says"]).await;
    server.put("churn/4/model.onnx", fs::read(churn.join("model.onnx")).unwrap()).await;
    server.put("churn/4/manifest.json", "{\"format\": 7, \"files\": []}").await;
    until_told(&gateway, "churn", &["s3://models/churn/4", "expected format 1, found 7"]).await;
    gateway.client.wait_until_serving("churn", "1").await;
    // Whoever repairs one need not say so.
    server.put_version(&churn, "churn/3", |_, bytes| bytes).await;
    gateway.client.wait_until_serving("churn", "3").await;
    gateway.stop().await;
    server.stop().await;
}

#[tokio::test]
async fn a_version_that_is_written_over_is_served_when_it_is_whole_again() {
    let server = S3Server::start().await;
    server.put_version(&shipped().join("churn/1"), "churn/7", |_, bytes| bytes).await;
    let gateway = gateway(&server, KEY, "churn").await;
    gateway.client.wait_until_serving("churn", "7").await;
    let before = source_of(&gateway, "churn").await["lineage"]["7"]["identity"].clone();
    let loaded = gateway.client.version("churn", "7").await;
    assert!(before.is_string() && loaded["loaded_at"].is_string(), "{before} {loaded}");
    server.put_version(&shipped().join("churn/2"), "churn/7", |_, bytes| bytes).await;
    until("the other files are loaded and serve", async || {
        let now = gateway.client.version("churn", "7").await;
        (now["loaded_at"] != loaded["loaded_at"] && now["state"] == "loaded" && now["weight"] == 100.0).then_some(())
    })
    .await;
    let sources = source_of(&gateway, "churn").await;
    assert!(sources["lineage"]["7"]["identity"] != before && sources["problems"] == serde_json::json!([]), "{sources}");
    gateway.stop().await;
    server.stop().await;
}

#[tokio::test]
async fn a_wrong_key_a_wrong_bucket_and_no_server_are_told_apart() {
    let server = S3Server::start().await;
    let wrong = "incorrect-horse-battery";
    let gateway = gateway(&server, wrong, "churn").await;
    let told = until_told(&gateway, "churn", &["SignatureDoesNotMatch", "registry.s3.secret_access_key"]).await;
    assert!(!told.contains(wrong) && !told.contains(KEY), "{told}");
    gateway.stop().await;
    let ask = async |address: &str, settings: Config| {
        let address: ObjectAddress = address.parse().unwrap();
        let store = Stores::new(settings.registry.objects).open(&address.store).unwrap();
        let source = ObjectSource::new(store, address.prefix, BTreeMap::new(), Arc::new(SystemTime::now));
        source.offer().await.unwrap_err()
    };
    let error = ask("s3://nobody/churn", config(&server, KEY, "any")).await;
    assert!(matches!(&error, SourceError::Absent { what, .. } if what.starts_with("s3://nobody")), "{error}");
    let error = ask(&format!("s3://{BUCKET}/nothing"), config(&server, KEY, "any")).await;
    assert!(matches!(&error, SourceError::Absent { what, .. } if what == "s3://models/nothing"), "{error}");
    let settings = config(&server, KEY, "any");
    server.stop().await;
    let error = ask(&format!("s3://{BUCKET}/churn"), settings).await;
    assert!(matches!(&error, SourceError::Unreachable { cause, .. } if cause.contains("refused")), "{error}");
}

#[tokio::test]
async fn lists_of_more_than_one_page_are_whole() {
    const MANY: usize = 1_100;
    let server = S3Server::start().await;
    let paths = (1..=MANY).flat_map(|number| [format!("wide/{number}/model.onnx"), format!("deep/1/{number:04}.data")]);
    let puts = paths.chain(["deep/1/model.onnx".to_owned()]).map(|path| {
        let server = &server;
        async move { server.put(&path, "x").await }
    });
    stream::iter(puts).buffer_unordered(16).collect::<Vec<()>>().await;
    let wide = source(&server, "wide").offer().await.unwrap();
    assert_eq!(wide.roles.stable, Some(MANY as u64));
    let deep = source(&server, "deep");
    assert_eq!(deep.offer().await.unwrap().roles.stable, Some(1));
    let files = deep.files(1).await.unwrap();
    assert_eq!((files.len(), files[0].path.as_str()), (MANY + 1, "0001.data"));
    server.stop().await;
}

#[tokio::test]
async fn bytes_are_those_that_were_listed_from_any_place_on() {
    let server = S3Server::start().await;
    let bytes: Vec<u8> = (0..200_000_u32).map(|number| (number % 251) as u8).collect();
    server.put("m/1/model.onnx", bytes.clone()).await;
    let source = source(&server, "m");
    source.offer().await.unwrap();
    let files = source.files(1).await.unwrap();
    let file = &files[0];
    for start in [0, 1, 150_000] {
        assert_eq!(downloaded(&source, 1, file, start).await, (start, bytes[start as usize..].to_vec()));
    }
    let mut other = bytes.clone();
    other[0] ^= 1;
    server.put("m/1/model.onnx", other).await;
    let error = source.open(1, file, 1).await.err().unwrap();
    assert!(matches!(&error, SourceError::NotWhole { reason, .. } if reason.contains("overwritten")), "{error}");
    server.stop().await;
}

#[tokio::test]
async fn artifacts_of_mlflow_that_are_in_a_store_are_read_there() {
    let (mlflow, server) = (MlflowServer::start().await, S3Server::start().await);
    for (path, text) in [("MLmodel", "{}"), ("model.onnx", "graph"), ("data/w", "weights"), ("conda.yaml", "x")] {
        server.put(&format!("runs/7/{path}"), text).await;
    }
    let requests = reqwest::Client::builder().no_proxy().build().unwrap();
    let source_uri = format!("s3://{BUCKET}/runs/7");
    for (call, body) in [
        ("registered-models/create", serde_json::json!({ "name": "churn" })),
        ("model-versions/create", serde_json::json!({ "name": "churn", "source": source_uri })),
        ("registered-models/alias", serde_json::json!({ "name": "churn", "alias": "champion", "version": "1" })),
    ] {
        let url = format!("{}/api/2.0/mlflow/{call}", mlflow.url());
        let answer = requests.post(url).json(&body).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{call}: {}", answer.text().await.unwrap());
    }
    let access = MlflowAccess {
        url: mlflow.url().parse().unwrap(),
        credentials: None,
        certificate_authority: None,
        timeout: Duration::from_secs(60),
    };
    let stores = Arc::new(Stores::new(config(&server, KEY, "any").registry.objects));
    let client = Arc::new(MlflowClient::new(access).unwrap());
    let source = MlflowSource::new(client, "models:/churn".parse().unwrap(), default_roles()).with_stores(stores);
    assert_eq!(source.offer().await.unwrap().roles.stable, Some(1));
    let files = source.files(1).await.unwrap();
    let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, ["MLmodel", "data/w", "model.onnx"], "without what is Python's");
    assert_eq!(downloaded(&source, 1, &files[1], 2).await, (2, b"ights".to_vec()));
    mlflow.stop().await;
    server.stop().await;
}
