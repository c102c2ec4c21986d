//! A version without a profile learns a reference from its own traffic, says so, and remembers it.

use crate::support::client::Client;
use crate::support::load::{Customers, Stream};
use crate::support::process::{Process, command};
use crate::support::repository::{Repository, shipped};
use crate::support::wait::until;
use serde_json::Value;
use std::fs;
use std::path::Path;

/// One standard deviation of `order_value` in the population.
const SIGMA: f32 = 31.44;
const ORDER_VALUE: usize = 0;
/// As it is called without a profile that names it.
const FEATURE: &str = "features[0]";

/// A shipped version whose profile is changed first.
fn without_profile(version: &str, change: impl FnOnce(&Path)) -> Repository {
    let repository = Repository::empty();
    repository.add_with(&shipped().join(version), version, |staged| change(&staged.join("profile.json")));
    repository
}

/// A gateway that learns from 400 rows and keeps its state in this directory.
async fn start(repository: &Repository, state: &Path) -> Process {
    let mut command = command(&["--http", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--models"]);
    command.arg(repository.path()).arg("--state").arg(state);
    command.env("TIDEGATE_SNAPSHOT_INTERVAL", "1s").env("TIDEGATE_DRIFT_LEARN_ROWS", "400");
    command.env("TIDEGATE_DRIFT_WINDOW", "3s").env("TIDEGATE_DRIFT_PENDING_FOR", "0s");
    Process::start_command(command).await
}

async fn learned(client: &Client) -> Value {
    until("the reference is learned", async || {
        let version = client.drift("churn", "1").await;
        (version["reference"] == "learned").then_some(version)
    })
    .await
}

fn verdict<'a>(version: &'a Value, name: &str) -> &'a Value {
    let columns = ["features", "outputs"].into_iter().flat_map(|side| version[side].as_array().unwrap());
    columns.into_iter().find(|column| column["name"] == name).map(|column| &column["verdict"]).unwrap()
}

/// Rows that the gateway says it has predicted.
async fn rows_served(client: &Client) -> u64 {
    let page = client.get_admin("/metrics").await.ok().text;
    let lines = page.lines().filter(|line| line.starts_with("tidegate_rows_total{"));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reference_is_learned_from_the_first_rows_judged_by_and_kept_over_a_restart() {
    let repository = without_profile("churn/1", |profile| fs::remove_file(profile).unwrap());
    let state = tempfile::tempdir().unwrap();
    let process = start(&repository, state.path()).await;
    let client = &process.client;
    let mut customers = Customers::new(31);
    client.post("/v2/models/churn/infer", customers.body(399)).await.ok();
    let version = until("the rows are counted", async || {
        let version = client.drift("churn", "1").await;
        version["reason"].as_str().unwrap().starts_with("learning: 399 of 400 rows; ").then_some(version)
    })
    .await;
    assert_eq!((&version["verdict"], &version["reference"]), (&"no_reference".into(), &Value::Null), "{version}");
    assert!(version["reason"].as_str().unwrap().contains("there is no profile.json"), "{version}");
    assert_eq!(client.version("churn", "1").await["profile"].get("learned"), None);

    client.post("/v2/models/churn/infer", customers.body(2)).await.ok();
    let version = learned(client).await;
    let note = "learned from the first 401 rows; there is no profile.json beside the model";
    assert_eq!((&version["reference_note"], &version["reason"]), (&note.into(), &Value::Null), "{version}");
    let profile = client.version("churn", "1").await["profile"].clone();
    assert_eq!((&profile["rows"], &profile["features"]), (&401.into(), &10.into()), "{profile}");
    assert_eq!((&profile["source"], &profile["learned"]), (&"live".into(), &true.into()), "{profile}");
    assert!(profile["created"].as_str().unwrap().ends_with('Z'), "{profile}");
    assert_eq!(rows_served(client).await, 401, "no counter forgets what was served before");

    let stream = Stream::start(client, 32);
    until("traffic like the first rows is in order", async || {
        let version = client.drift("churn", "1").await;
        (version["verdict"] == "ok" && verdict(&version, FEATURE) == "ok").then_some(())
    })
    .await;
    stream.shift(ORDER_VALUE, SIGMA);
    until("a shifted feature drifts", async || {
        (verdict(&client.drift("churn", "1").await, FEATURE) == "drift").then_some(())
    })
    .await;
    drop(stream);
    assert_eq!(process.log().matches("the reference is learned from traffic and frozen").count(), 1);
    process.stop().await;

    let process = start(&repository, state.path()).await;
    let version = learned(&process.client).await;
    assert_eq!(version["reference_note"], note, "{version}");
    assert_eq!(process.client.version("churn", "1").await["profile"], profile);
    assert!(!process.log().contains("learned from traffic and frozen"), "{}", process.log());
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_of_its_own_is_preferred_and_a_refused_one_is_spoken_of() {
    let repository = without_profile("churn/1", |profile| fs::write(profile, "{\"format\":").unwrap());
    let state = tempfile::tempdir().unwrap();
    let process = start(&repository, state.path()).await;
    let client = &process.client;
    let refused = "profile.json is refused";
    let reason = client.drift("churn", "1").await["reason"].clone();
    assert!(reason.as_str().unwrap().contains(refused), "{reason}");
    client.post("/v2/models/churn/infer", Customers::new(33).body(500)).await.ok();
    let version = learned(client).await;
    let note = version["reference_note"].as_str().unwrap();
    assert!(note.starts_with("learned from the first 500 rows; ") && note.contains(refused), "{note}");
    let profile = client.version("churn", "1").await["profile"].clone();
    assert!(profile["missing"].as_str().unwrap().contains(refused), "{profile}");

    repository.remove("churn/1");
    repository.add(&shipped().join("churn/1"), "churn/1");
    let version = until("the profile that came is the reference", async || {
        let version = client.drift("churn", "1").await;
        (version["reference"] == "profile").then_some(version)
    })
    .await;
    assert_eq!(version["reference_note"], Value::Null);
    process.stop().await;
    let process = start(&repository, state.path()).await;
    assert_eq!(process.client.drift("churn", "1").await["reference"], "profile");
    assert_eq!(process.client.version("churn", "1").await["profile"]["learned"], false);
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn canaries_do_not_learn_and_a_version_begins_once_it_is_stable() {
    let repository = without_profile("churn/1", |_kept| {});
    repository.add_with(&shipped().join("churn/2"), "churn/2", |staged| {
        fs::remove_file(staged.join("profile.json")).unwrap();
    });
    let state = tempfile::tempdir().unwrap();
    let process = start(&repository, state.path()).await;
    let client = &process.client;
    client.put_split("churn", r#"{"1":90,"2":10}"#).await.ok();
    client.post("/v2/models/churn/versions/2/infer", Customers::new(34).body(450)).await.ok();
    let version = until("the rows are counted", async || {
        let version = client.drift("churn", "2").await;
        (version["samples"] == 450).then_some(version)
    })
    .await;
    assert_eq!(version["reason"], "there is no profile.json beside the model", "{version}");
    assert_eq!((&version["arm"], &version["reference"]), (&"canary".into(), &Value::Null), "{version}");
    client.put_split("churn", r#"{"2":100}"#).await.ok();
    until("the stable version learns from what it has served", async || {
        let note = client.drift("churn", "2").await["reference_note"].clone();
        (note.as_str()?.starts_with("learned from the first 450 rows")).then_some(())
    })
    .await;
    process.stop().await;
}
