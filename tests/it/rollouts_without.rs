//! Rollouts where something is missing: the files of the version before, a version that can be loaded, a second arm in the
//! same hour.

use crate::rollouts::{Traffic, add_like_one, entries, in_phase, shown, started, with_plan};
use crate::support::gateway::Gateway;
use crate::support::repository::{Repository, shipped};
use crate::support::wait::until;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::time::SystemTime;
use tidegate::config::Config;
use tidegate::observe::{HOURS, hour_of_week};
use tidegate::profile::Profile;

/// A plan of some seconds, in which the judge has looked before promotion and after.
const SECONDS: &str = "rollout = { steps = [50], min_time = \"2s\", min_samples = 100, bake = \"4s\" }";
/// A plan that bakes for longer than a version is missed before that is said.
const BAKING: &str = "rollout = { steps = [50], min_time = \"200ms\", min_samples = 50, bake = \"20s\" }";
const QUICK: &str = "rollout = { steps = [50], min_time = \"200ms\", min_samples = 50, bake = \"500ms\" }";

/// Gives the outputs' columns hours: of this and of the next one half of the rows each.
fn with_hours(staged: &Path) {
    let file = staged.join("profile.json");
    let mut profile = Profile::from_json(&fs::read(&file).unwrap()).unwrap();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let hour = hour_of_week(now);
    for column in &mut profile.outputs {
        let reference = column.reference();
        let mut groups = vec![0_u64; reference.group_count];
        for (group, count) in reference.groups.iter().zip(&reference.counts) {
            groups[usize::from(*group)] += count / 2;
        }
        let mut hours = vec![vec![0; groups.len()]; HOURS];
        hours[hour].clone_from(&groups);
        hours[(hour + 1) % HOURS].clone_from(&groups);
        column.hour_of_week = Some(hours);
    }
    fs::write(&file, profile.to_json().unwrap()).unwrap();
}

fn with(plan: &'static str, state: &Path) -> impl FnOnce(&mut Config) {
    let state = state.to_owned();
    move |config| {
        with_plan(plan)(config);
        config.state.path = state;
    }
}

fn decision<'a>(entries: &'a [(String, Value)], subject: &str) -> &'a Value {
    let of = |(kind, says): &&(String, Value)| kind == "decision" && says["subject"] == subject;
    &entries.iter().find(of).unwrap_or_else(|| panic!("{entries:#?}")).1
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_bakes_is_compared_with_the_hour_of_the_week_as_well() {
    let (repository, state) = (Repository::empty(), tempfile::tempdir().unwrap());
    repository.add_with(&shipped().join("churn/1"), "churn/1", with_hours);
    let gateway = Gateway::start(repository, with(SECONDS, state.path())).await;
    let traffic = Traffic::start(&gateway.client);
    add_like_one(&gateway, "churn/2", |_bytes| {});
    in_phase(&gateway.client, "done").await;
    drop(traffic);
    // Each decision was made again from its entry and came to the same.
    let entries = entries(&gateway.client).await;
    let hours = |subject: &str| -> Vec<Value> {
        let parts = decision(&entries, subject)["counts"].as_array().unwrap();
        parts.iter().map(|part| part["hour"].clone()).filter(|hour| !hour.is_null()).collect()
    };
    assert_eq!(hours("step"), Vec::<Value>::new(), "both arms are in the same hour");
    let known = hours("bake");
    assert!(!known.is_empty(), "{:#}", decision(&entries, "bake"));
    for hour in known {
        // The label, and two probabilities.
        let outputs: Vec<u64> = hour["outputs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|cells| cells.as_array().unwrap().iter().map(|count| count.as_u64().unwrap()).sum())
            .collect();
        assert!(outputs.len() == 3 && outputs.iter().all(|rows| (26_000..=27_000).contains(rows)), "{outputs:?}");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_without_the_version_before_what_bakes_is_guarded_and_says_so() {
    let (repository, state) = (Repository::of(&["churn/1"]), tempfile::tempdir().unwrap());
    let gateway = Gateway::start(repository, with(BAKING, state.path())).await;
    let traffic = Traffic::start(&gateway.client);
    add_like_one(&gateway, "churn/2", |_bytes| {});
    in_phase(&gateway.client, "baking").await;
    drop(traffic);
    let Gateway { running, repository, .. } = gateway;
    assert!(running.stop().await);
    fs::remove_dir_all(repository.path().join("churn/1")).unwrap();

    let gateway = Gateway::start(repository, with(BAKING, state.path())).await;
    let client = &gateway.client;
    client.wait_until_serving("churn", "2").await;
    let traffic = Traffic::start(client);
    let bereft = until("it says that the version before is gone", async || {
        shown(client).await.filter(|rollout| rollout["problem"].is_string())
    })
    .await;
    assert!(bereft["problem"].as_str().unwrap().contains("the files of version 1 are not there"), "{bereft:#}");
    assert_eq!((&bereft["phase"]["name"], &bereft["weight"]), (&"baking".into(), &100.0.into()));
    until("guards are read", async || shown(client).await.filter(|rollout| rollout["guards"].is_object())).await;
    let done = in_phase(client, "done").await;
    assert!(done["reason"].as_str().unwrap().contains("the files of version 1 are not there"), "{done:#}");
    drop(traffic);
    let entries = entries(client).await;
    let decided = decision(&entries, "bake");
    let parts = decided["counts"].as_array().unwrap();
    assert!(parts.iter().any(|part| part["segments"][0]["canary"]["events"].as_u64() > Some(0)), "{decided:#}");
    client.wait_until_serving("churn", "2").await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_cannot_be_loaded_has_a_rollout_that_failed_once() {
    let gateway = started(QUICK).await;
    let client = &gateway.client;
    gateway.repository.add_with(&shipped().join("churn/1"), "churn/2", |staged| {
        let file = staged.join("model.onnx");
        let bytes = fs::read(&file).unwrap();
        fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    });
    let failed = in_phase(client, "failed").await;
    assert_eq!((&failed["target"], &failed["weight"]), (&2.into(), &0.0.into()));
    let reason = client.version("churn", "2").await["reason"].as_str().unwrap().to_owned();
    assert!(failed["reason"].as_str().unwrap().contains(&reason), "{failed:#}");
    let kinds: Vec<String> = entries(client).await.into_iter().map(|(kind, _)| kind).collect();
    assert_eq!((kinds.first(), kinds.last()), (Some(&"started".to_owned()), Some(&"ended".to_owned())));
    client.wait_until_serving("churn", "1").await;

    let traffic = Traffic::start(client);
    add_like_one(&gateway, "churn/3", |_bytes| {});
    let done = in_phase(client, "done").await;
    drop(traffic);
    assert_eq!(done["target"], 3);
    let figures = &shown(client).await.unwrap()["figures"];
    assert_eq!((&figures["failed"], &figures["promoted"]), (&1.into(), &1.into()), "it is not tried at every look");
    gateway.stop().await;
}
