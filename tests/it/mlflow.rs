//! Models come from a real MLflow registry.
//!
//! One server for all of it, because one takes longer to start than everything that is asked of it here.

use crate::support::gateway::Gateway;
use crate::support::mlflow::MlflowServer;
use crate::support::repository::Repository;
use crate::support::wait::until;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tidegate::config::{Config, MlflowSettings, Role, SourceSettings};
use tidegate::registry::mlflow::{MlModel, MlflowAccess, MlflowClient, MlflowSource, default_roles};
use tidegate::registry::source::{RemoteFile, Source, SourceError};
use tidegate::tensor::{DataType, Dimension, Signature, TensorSpec};

/// A name with a blank, as MLflow allows.
const NAME: &str = "breast cancer";

fn source(url: &str, uri: &str) -> MlflowSource {
    let access = MlflowAccess {
        url: url.parse().unwrap(),
        credentials: None,
        certificate_authority: None,
        timeout: Duration::from_secs(60),
    };
    MlflowSource::new(Arc::new(MlflowClient::new(access).unwrap()), uri.parse().unwrap(), default_roles())
}

async fn download(source: &MlflowSource, version: u64, file: &RemoteFile, start: u64) -> (u64, Vec<u8>) {
    let mut bytes = source.open(version, file, start).await.unwrap();
    let (begins, mut found) = (bytes.position(), Vec::new());
    while let Some(piece) = bytes.next().await.unwrap() {
        found.extend_from_slice(&piece);
    }
    (begins, found)
}

#[tokio::test]
async fn the_models_of_a_real_mlflow_server_are_offered_listed_and_downloaded() {
    let server = MlflowServer::start().await;
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/breast-cancer/1/model.onnx");
    let made = server.register(&model, NAME);
    let source = source(&server.url(), &format!("models:/{NAME}"));
    offers_say_roles_and_lineage(&source, &made).await;
    for version in [1, 2] {
        files_are_those_on_the_servers_disk(&source, version, &server).await;
    }
    every_name_of_a_version_leads_to_its_files(&server, &made).await;
    what_is_unknown_is_absent(&server).await;
    a_wrong_host_is_refused_with_what_helps(&server).await;
    server.set_alias(NAME, "champion", 2);
    let roles = source.offer().await.unwrap().roles;
    assert_eq!((roles.stable, roles.warm), (Some(2), BTreeSet::new()));
    server.stop().await;
}

async fn offers_say_roles_and_lineage(source: &MlflowSource, made: &[Value]) {
    let offer = source.offer().await.unwrap();
    assert_eq!((offer.roles.stable, &offer.roles.warm), (Some(1), &BTreeSet::from([2])));
    for (made, (version, alias)) in made.iter().zip([(1, "champion"), (2, "challenger")]) {
        let lineage = &offer.versions[&version];
        assert_eq!(lineage.aliases, [alias]);
        assert_eq!(
            (Some(lineage.source.as_str()), lineage.run_id.as_deref()),
            (made["source"].as_str(), made["run_id"].as_str())
        );
    }
    let tags = &offer.versions[&2].tags;
    assert_eq!(
        (tags["mlflow.source.git.commit"].as_str(), tags["approved by"].as_str()),
        ("0123abc", "Ada, \"Grace\"")
    );
    assert!(offer.versions[&1].tags.is_empty());
}

async fn files_are_those_on_the_servers_disk(source: &MlflowSource, version: u64, server: &MlflowServer) {
    let files = source.files(version).await.unwrap();
    let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
    for expected in ["MLmodel", "input_example.json", "model.onnx"] {
        assert!(paths.contains(&expected), "{expected} is not among {paths:?}");
    }
    assert!(!paths.contains(&"conda.yaml") && !paths.contains(&"requirements.txt"), "{paths:?}");
    // The weights of the second version are over MLflow's limit for the graph's own file.
    let weights: Vec<&&str> = paths.iter().filter(|path| path.ends_with(".data")).collect();
    assert_eq!(weights.len(), usize::from(version == 2), "{paths:?}");
    let mlmodel = files.iter().find(|file| file.path == "MLmodel").unwrap();
    let read = MlModel::parse(&download(source, version, mlmodel, 0).await.1).unwrap();
    the_mlmodel_agrees_with_the_graph(&read);
    let directory = server.artifacts(&format!("mlflow-artifacts:/0/models/{}/artifacts", read.model_id.unwrap()));
    for file in &files {
        let expected = fs::read(directory.join(&file.path)).unwrap();
        assert_eq!(file.size, Some(expected.len() as u64));
        for start in [0, 5] {
            // The artifacts are on the server's own disk, where it serves parts.
            let (begins, found) = download(source, version, file, start).await;
            assert_eq!((begins, found.as_slice()), (start, &expected[start as usize..]), "{}", file.path);
        }
    }
}

fn the_mlmodel_agrees_with_the_graph(read: &MlModel) {
    assert_eq!(read.onnx.as_ref().unwrap().data, "model.onnx");
    let graph = |width| {
        let shape = vec![Dimension::Free("N".to_owned()), Dimension::Fixed(width)];
        let input = TensorSpec { name: "features".to_owned(), datatype: DataType::Fp32, shape };
        Signature { inputs: vec![input], outputs: Vec::new() }
    };
    let signature = read.signature.as_ref().unwrap();
    assert_eq!(signature.check(&graph(30)), Ok(()));
    assert!(signature.check(&graph(31)).unwrap_err().contains("[-1, 30]"));
}

async fn every_name_of_a_version_leads_to_its_files(server: &MlflowServer, made: &[Value]) {
    let logged = made[1]["source"].as_str().unwrap();
    for (uri, version) in
        [(format!("models:/{NAME}@challenger"), 2), (format!("models:/{NAME}/2"), 2), (logged.to_owned(), 1)]
    {
        let source = source(&server.url(), &uri);
        let offer = source.offer().await.unwrap();
        assert_eq!((offer.roles.stable, offer.versions.len()), (Some(version), 1), "{uri}");
        assert_eq!(offer.versions[&version].run_id.as_deref(), made[1]["run_id"].as_str());
        let files = source.files(version).await.unwrap();
        assert!(files.iter().any(|file| file.path.ends_with(".data")), "{uri}: {files:?}");
    }
}

async fn what_is_unknown_is_absent(server: &MlflowServer) {
    for uri in [
        "models:/nobody".to_owned(),
        "models:/nobody@champion".to_owned(),
        format!("models:/{NAME}@nobody"),
        format!("models:/{NAME}/99"),
        format!("models:/m-{}", "0".repeat(32)),
    ] {
        let error = source(&server.url(), &uri).offer().await.unwrap_err();
        assert!(matches!(error, SourceError::Absent { .. }), "{uri}: {error}");
    }
    let source = source(&server.url(), &format!("models:/{NAME}"));
    let gone = RemoteFile { path: "gone.onnx".to_owned(), ..RemoteFile::default() };
    let error = source.open(1, &gone, 0).await.err().unwrap();
    assert!(matches!(error, SourceError::Absent { .. }), "{error}");
    let elsewhere = source_below(server, "/elsewhere").offer().await.unwrap_err().to_string();
    assert!(elsewhere.contains("is the path of its URL right?"), "{elsewhere}");
}

fn source_below(server: &MlflowServer, path: &str) -> MlflowSource {
    source(&format!("{}{path}", server.url()), &format!("models:/{NAME}"))
}

async fn a_wrong_host_is_refused_with_what_helps(server: &MlflowServer) {
    let error = source(&server.url_of_another_host(), &format!("models:/{NAME}")).offer().await.unwrap_err();
    let SourceError::Refused { status: 403, message, .. } = &error else { panic!("{error}") };
    assert!(message.contains("MLFLOW_SERVER_ALLOWED_HOSTS") && message.contains("127.0.0.1:"), "{message}");
}

/// Models of the server, looked at every second.
fn follow(config: &mut Config, url: &str) {
    let poll_interval = Duration::from_secs(1);
    config.registry.mlflow = Some(MlflowSettings {
        url: url.parse().unwrap(),
        poll_interval,
        username: None,
        password: None,
        token: None,
        webhook_secret: None,
        ca_file: None,
        timeout: Duration::from_secs(60),
    });
    let roles = [("champion", Role::Stable), ("challenger", Role::Canary)];
    let roles = roles.map(|(alias, role)| (alias.to_owned(), role)).into();
    let mut settings = config.model("churn");
    settings.source = Some(SourceSettings { uri: "models:/churn".to_owned(), require_tags: Vec::new(), roles });
    config.models.insert("churn".to_owned(), settings);
}

#[tokio::test]
async fn a_moved_alias_is_served_unless_clients_would_notice_and_what_was_served_outlives_the_registry() {
    let server = MlflowServer::start().await;
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/churn/2/model.onnx");
    let made = server.register(&model, "churn");
    let kept = tempfile::tempdir().unwrap();
    let start = |url: String| {
        let path = kept.path().to_owned();
        Gateway::start(Repository::of(&["breast-cancer/2"]), move |config| {
            follow(config, &url);
            config.registry.cache.path = Some(path.join("cache"));
            config.state.path = path.join("state");
        })
    };
    let gateway = start(server.url()).await;
    gateway.client.wait_until_serving("churn", "1").await;
    until("the challenger is warm", async || {
        let version = gateway.client.version("churn", "2").await;
        (version["state"] == "loaded" && version["weight"] == 0.0).then_some(())
    })
    .await;
    server.set_alias("churn", "champion", 2);
    gateway.client.wait_until_serving("churn", "2").await;
    let sources = gateway.client.get_admin("/api/v1/sources").await.ok().json();
    let churn = &sources["sources"]["churn"];
    assert_eq!(churn["problems"], serde_json::json!([]), "{sources}");
    assert_eq!(churn["lineage"]["2"]["tags"]["mlflow.source.git.commit"], "0123abc");
    assert_eq!(churn["lineage"]["2"]["run_id"], made[1]["run_id"]);
    let page = gateway.client.get_admin("/metrics").await.ok().text;
    assert!(page.contains("tidegate_registry_sync_age_seconds{model=\"churn\"}"), "{page}");
    // It lacks an output that the one gives which serves by now.
    server.set_alias("churn", "champion", 1);
    let held = first_is_held(&gateway).await;
    gateway.stop().await;
    let url = server.url();
    server.stop().await;
    let gateway = start(url).await;
    gateway.client.wait_until_serving("churn", "2").await;
    let version = gateway.client.version("churn", "2").await;
    assert_eq!(
        (&version["warmed_on"], &version["warnings"]),
        (&"serving_input_example.json".into(), &serde_json::json!([]))
    );
    let lineage = &version["lineage"];
    assert_eq!((&lineage["run_id"], &lineage["tags"]["approved by"]), (&made[1]["run_id"], &"Ada, \"Grace\"".into()));
    until("the registry's absence is told", async || {
        let sources = gateway.client.get_admin("/api/v1/sources").await.ok().json();
        sources["sources"]["churn"]["problems"][0].as_str().is_some_and(|text| text.contains("reached")).then_some(())
    })
    .await;
    assert_eq!(first_is_held(&gateway).await, held, "also by another process");
    gateway.stop().await;
}

/// Waits until version 1 is held because it cannot stand in for version 2, which serves; what is said of it.
async fn first_is_held(gateway: &Gateway) -> Value {
    let client = &gateway.client;
    let shown = until("the version is held", async || {
        let shown = client.version("churn", "1").await;
        (shown["state"] == "failed").then_some(shown)
    })
    .await;
    let reason = shown["reason"].as_str().unwrap();
    assert!(reason.starts_with("it cannot stand in for version 2: output \"table_out\" is gone"), "{shown}");
    assert_eq!(shown["quarantine"]["instead_of"], "2", "{shown}");
    assert_eq!(shown["quarantine"]["digest"].as_str().unwrap().len(), 64, "{shown}");
    let index = client.post("/v2/repository/index", "").await.ok().json();
    let row = index.as_array().unwrap().iter().find(|row| row["name"] == "churn" && row["version"] == "1").unwrap();
    assert_eq!((&row["state"], &row["reason"]), (&"UNAVAILABLE".into(), &shown["reason"]), "{index}");
    assert_eq!(client.version("churn", "2").await["weight"], 100.0);
    shown["quarantine"].clone()
}
