//! What cannot be loaded never replaces what serves, and says why.

use crate::answers::check_version;
use crate::support::client::Client;
use crate::support::gateway::Gateway;
use crate::support::process::{command, run};
use crate::support::repository::{Repository, age, held_out, shipped};
use crate::support::wait::until;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Duration;
use tidegate::registry::manifest::FileManifest;

/// Waits until a version is refused; the reason.
async fn reason_of(client: &Client, version: &str) -> String {
    until(&format!("version {version} is refused"), async || {
        let shown = client.version("churn", version).await;
        (shown["state"] == "failed").then(|| shown["reason"].as_str().unwrap().to_owned())
    })
    .await
}

fn spoil(staged: &Path, change: impl FnOnce(Vec<u8>) -> Vec<u8>) {
    let file = staged.join("model.onnx");
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, change(bytes)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn corrupt_truncated_and_empty_models_are_named_and_the_good_one_serves_on() {
    let gateway = Gateway::start(Repository::of(&["churn/1"]), |_config| {}).await;
    let client = &gateway.client;
    let good = shipped().join("churn/2");
    let half = |mut bytes: Vec<u8>| {
        bytes.truncate(bytes.len() / 2);
        bytes
    };
    gateway.repository.add_with(&good, "churn/2", |staged| spoil(staged, half));
    gateway.repository.add_with(&good, "churn/3", |staged| spoil(staged, |_bytes| Vec::new()));
    gateway.repository.add_with(&good, "churn/4", |staged| spoil(staged, |_bytes| b"<html>not found</html>".to_vec()));
    gateway
        .repository
        .add_with(&good, "churn/5", |staged| spoil(staged, |bytes| bytes.iter().map(|byte| !byte).collect()));
    for version in ["2", "3", "4", "5"] {
        let reason = reason_of(client, version).await;
        assert!(reason.contains("model.onnx") && reason.contains("not a valid ONNX model"), "{version}: {reason}");
        let error = client.put_split("churn", &format!("{{\"1\":50,\"{version}\":50}}")).await.refused(409);
        assert!(error.contains(version) && error.contains("not a valid ONNX model"), "{error}");
    }
    assert_eq!(client.version("churn", "1").await["weight"], 100.0);
    check_version(client, &shipped(), ("churn", "1"), "tract").await;
    // The same number with good files is taken.
    gateway.repository.remove("churn/5");
    gateway.repository.add(&good, "churn/5");
    until("version 5 is loaded at last", async || {
        let answer = client.put_split("churn", r#"{"5":100}"#).await;
        (answer.status == 200).then_some(())
    })
    .await;
    let answer = client.post("/v2/models/churn/infer", held_out("churn").infer_body(0..1)).await.ok();
    assert_eq!(answer.header("tidegate-model-version"), Some("5"));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_is_being_copied_never_answers_before_it_is_whole() {
    let gateway = Gateway::start(Repository::of(&["churn/1"]), |_config| {}).await;
    let client = &gateway.client;
    let body = held_out("churn").infer_body(0..1);
    let place = gateway.repository.path().join("churn/2");
    fs::create_dir(&place).unwrap();
    let bytes = fs::read(shipped().join("churn/2/model.onnx")).unwrap();
    let mut file = fs::File::create(place.join("model.onnx")).unwrap();
    let mut states = std::collections::BTreeSet::new();
    for piece in bytes.chunks(bytes.len() / 60 + 1) {
        file.write_all(piece).unwrap();
        let answer = client.post("/v2/models/churn/infer", body.clone()).await.ok();
        assert_eq!(answer.header("tidegate-model-version"), Some("1"));
        states.insert(client.version("churn", "2").await["state"].as_str().unwrap_or("unseen").to_owned());
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    assert!(states.contains("settling") && !states.contains("loaded"), "{states:?}");
    drop(file);
    client.wait_until_serving("churn", "2").await;
    check_version(client, &shipped(), ("churn", "2"), "tract").await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_over_the_memory_budget_is_refused_with_the_numbers() {
    // Room for the sessions of one version, two workers' and the lane's, and not for those of two.
    let budget = 9_u64 << 20;
    let gateway = Gateway::start(Repository::of(&["churn/1"]), |config| {
        config.repository.memory_budget = Some(budget);
    })
    .await;
    let client = &gateway.client;
    let in_use = client.version("churn", "1").await["memory_bytes"].as_u64().unwrap();
    assert!(in_use > 0 && in_use < budget, "{in_use}");
    gateway.repository.add(&shipped().join("churn/2"), "churn/2");
    let reason = reason_of(client, "2").await;
    for number in [budget, in_use] {
        assert!(reason.contains(&number.to_string()), "{number} is not in: {reason}");
    }
    assert!(reason.contains("memory_budget"), "{reason}");
    let answer = client.post("/v2/models/churn/infer", held_out("churn").infer_body(0..1)).await.ok();
    assert_eq!(answer.header("tidegate-model-version"), Some("1"));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_that_does_not_fit_costs_the_judgement_and_not_the_traffic() {
    let repository = Repository::empty();
    let profile = shipped().join("breast-cancer/1/profile.json");
    repository.add_with(&shipped().join("churn/1"), "churn/1", |staged| {
        fs::copy(&profile, staged.join("profile.json")).unwrap();
    });
    repository.add_with(&shipped().join("breast-cancer/1"), "breast-cancer/1", |staged| {
        fs::write(staged.join("profile.json"), "{\"format\":").unwrap();
    });
    repository.add_with(&shipped().join("digits/1"), "digits/1", |staged| {
        fs::remove_file(staged.join("profile.json")).unwrap();
    });
    let gateway = Gateway::start(repository, |_config| {}).await;
    let client = &gateway.client;
    for (model, part) in [("churn", "does not fit"), ("breast-cancer", "refused"), ("digits", "no profile.json")] {
        check_version(client, &shipped(), (model, "1"), "tract").await;
        let version = until("the judge has looked", async || {
            let version = client.drift(model, "1").await;
            (version["samples"].as_u64().unwrap_or(0) > 0).then_some(version)
        })
        .await;
        assert_eq!(version["verdict"], "no_reference", "{model}");
        assert!(version["reason"].as_str().unwrap().contains(part), "{model}: {}", version["reason"]);
        let features = version["features"].as_array().unwrap();
        assert!(!features.is_empty() && features.iter().all(|feature| feature["verdict"] == "no_reference"), "{model}");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_change_under_a_number_are_loaded_anew() {
    let gateway = Gateway::start(Repository::of(&["churn/1"]), |_config| {}).await;
    let client = &gateway.client;
    let loaded_at = client.version("churn", "1").await["loaded_at"].clone();
    let place = gateway.repository.path().join("churn/1/model.onnx");
    let fresh = gateway.repository.path().join("churn/1/.model.onnx.new");
    fs::copy(shipped().join("churn/2/model.onnx"), &fresh).unwrap();
    age(&fresh);
    fs::rename(&fresh, &place).unwrap();
    until("version 1 is loaded anew", async || {
        (client.version("churn", "1").await["loaded_at"] != loaded_at).then_some(())
    })
    .await;
    let expected = crate::support::table::Table::read(&shipped().join("churn/2/expected.csv"));
    let rows = held_out("churn");
    for (row, (_, found)) in
        crate::answers::infer(client, "/v2/models/churn/infer", rows.infer_body(0..20)).await.iter().enumerate()
    {
        assert!((found[0] - expected.numbers(row)[1]).abs() < 1e-4, "row {row}");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_with_a_manifest_is_loaded_when_it_is_whole_and_refused_when_it_is_another() {
    let gateway = Gateway::start(Repository::of(&["churn/1"]), |_config| {}).await;
    let (client, good) = (&gateway.client, shipped().join("churn/2"));
    let manifest = serde_json::to_vec(&FileManifest::of_directory(&good).unwrap()).unwrap();
    gateway.repository.add_with(&good, "churn/2", |staged| {
        fs::write(staged.join("manifest.json"), &manifest).unwrap();
        spoil(staged, |mut bytes| {
            bytes[100] ^= 1;
            bytes
        });
    });
    let reason = reason_of(client, "2").await;
    let is_named = reason.starts_with("model.onnx is not the file that manifest.json names: its SHA-256 is ");
    assert!(is_named && reason.contains(", expected "), "{reason}");
    // Its files are old and do not change, and all the same it is not loaded while one of them lacks.
    gateway.repository.add_with(&good, "churn/3", |staged| {
        fs::write(staged.join("manifest.json"), &manifest).unwrap();
        fs::remove_file(staged.join("profile.json")).unwrap();
    });
    gateway.repository.add_with(&good, "churn/4", |staged| fs::write(staged.join("manifest.json"), "{}").unwrap());
    assert!(reason_of(client, "4").await.contains("manifest.json is refused: missing field `format`"));
    assert_ne!(client.version("churn", "3").await["state"], "loaded");
    client.wait_until_serving("churn", "1").await;
    fs::copy(good.join("profile.json"), gateway.repository.path().join("churn/3/profile.json")).unwrap();
    client.wait_until_serving("churn", "3").await;
    gateway.stop().await;
}

#[test]
fn the_manifest_command_says_what_is_in_a_directory() {
    let repository = Repository::of(&["churn/1"]);
    let directory = repository.path().join("churn/1");
    let (status, out, err) = run(command(&["manifest", directory.to_str().unwrap()]));
    assert!(status.success() && out.contains("manifest.json: ") && out.contains(" files, "), "{out}{err}");
    let written = FileManifest::parse(&fs::read(directory.join("manifest.json")).unwrap()).unwrap();
    assert_eq!(written, FileManifest::of_directory(&directory).unwrap());
    fs::remove_file(directory.join("model.onnx")).unwrap();
    let (status, _, err) = run(command(&["manifest", directory.to_str().unwrap()]));
    assert!(!status.success() && err.contains("expected model.onnx among the files"), "{err}");
}
