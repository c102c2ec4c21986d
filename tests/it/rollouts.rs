//! Rollouts of a directory's models, end to end: a good version goes all the way, a bad one loses its share, and people are
//! obeyed.

use crate::support::client::{Client, send};
use crate::support::gateway::{Gateway, settings};
use crate::support::load::Customers;
use crate::support::repository::{Repository, shipped};
use crate::support::wait::until;
use serde_json::Value;
use std::fs;
use std::path::Path;
use tidegate::config::Config;
use tokio::task::JoinSet;

/// Requests under way at a time.
const SENDERS: u64 = 4;

/// A plan of some seconds.
const QUICK: &str = "rollout = { steps = [20, 50], min_time = \"300ms\", min_samples = 100, bake = \"500ms\" }";
/// A plan that stays at its first step.
const SLOW: &str = "rollout = { steps = [50], min_time = \"10m\", max_time = \"1h\", bake = \"10m\" }";

/// Rows of one customer each without a key, by senders that end with it; every answer must be one.
pub(crate) struct Traffic {
    _senders: JoinSet<()>,
}

impl Traffic {
    pub(crate) fn start(client: &Client) -> Self {
        let mut senders = JoinSet::new();
        for sender in 0..SENDERS {
            let (client, mut customers) = (client.clone(), Customers::new(sender));
            senders.spawn(async move {
                loop {
                    client.post("/v2/models/churn/infer", customers.body(1)).await.ok();
                }
            });
        }
        Self { _senders: senders }
    }
}

fn with_plan(plan: &'static str) -> impl FnOnce(&mut Config) {
    move |config| {
        let wanted = settings(&format!("[models.churn]\n{plan}")).model("churn");
        config.models.insert("churn".to_owned(), wanted);
    }
}

pub(crate) async fn started(plan: &'static str) -> Gateway {
    Gateway::start(Repository::of(&["churn/1"]), with_plan(plan)).await
}

/// Version 1 in other bytes, under another number.
pub(crate) fn add_like_one(gateway: &Gateway, version: &str, change: impl FnOnce(&mut [u8])) {
    gateway.repository.add_with(&shipped().join("churn/1"), version, |staged: &Path| {
        let file = staged.join("model.onnx");
        let mut bytes = fs::read(&file).unwrap();
        let place = find(&bytes, b"tidegate");
        bytes[place] = b'T';
        change(&mut bytes);
        fs::write(&file, bytes).unwrap();
    });
}

fn find(bytes: &[u8], text: &[u8]) -> usize {
    bytes.windows(text.len()).position(|window| window == text).expect("the model has it")
}

/// Makes the last layer's bias NaN: a tensor's name, the tag of its bytes, and how many there are stand before it.
pub(crate) fn without_a_number(bytes: &mut [u8]) {
    let before = b"constant_8J\x08";
    let place = find(bytes, before) + before.len();
    bytes[place..place + 4].copy_from_slice(&f32::NAN.to_le_bytes());
}

async fn rollout(client: &Client) -> Option<Value> {
    let answer = client.get_admin("/api/v1/rollouts/churn").await;
    (answer.status == 200).then(|| answer.json())
}

pub(crate) async fn in_phase(client: &Client, phase: &str) -> Value {
    until(&format!("the rollout is {phase}"), async || {
        rollout(client).await.filter(|rollout| rollout["phase"]["name"] == phase)
    })
    .await
}

async fn order(client: &Client, order: &str, body: &'static str) -> crate::support::client::Answer {
    send(client.control("POST", &format!("/api/v1/rollouts/churn/{order}")).body(body)).await
}

/// The journal's entries by kind, once every decision in it was made again.
pub(crate) async fn entries(client: &Client) -> Vec<(String, Value)> {
    let explained = client.get_admin("/api/v1/rollouts/churn/explain").await.ok().json();
    let entries = explained["entries"].as_array().unwrap();
    for entry in entries {
        assert!(entry["replayed"].is_null() || entry["replayed"] == true, "{entry:#}");
    }
    let kind = |entry: &Value| (entry["entry"]["kind"].as_str().unwrap().to_owned(), entry["entry"]["says"].clone());
    entries.iter().map(kind).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_version_goes_to_all_traffic_step_by_step() {
    let gateway = started(QUICK).await;
    let client = gateway.client.clone();
    let traffic = Traffic::start(&client);
    add_like_one(&gateway, "churn/2", |_bytes| {});
    let done = in_phase(&client, "done").await;
    assert_eq!((&done["target"], &done["stable"], &done["weight"]), (&2.into(), &1.into(), &100.0.into()));
    client.wait_until_serving("churn", "2").await;
    drop(traffic);
    let entries = entries(&client).await;
    let moves: Vec<(&str, u64)> = entries
        .iter()
        .filter(|(kind, _)| kind == "moved")
        .map(|(_, says)| (says["to"]["name"].as_str().unwrap(), says["weight"].as_u64().unwrap()))
        .filter(|(phase, _)| !matches!(*phase, "loading" | "verifying" | "warming"))
        .collect();
    assert_eq!(moves, [("canary", 2_000), ("canary", 5_000), ("promoting", 10_000), ("baking", 10_000)]);
    let decisions = entries.iter().filter(|(kind, _)| kind == "decision").count();
    assert_eq!(decisions, 3, "one for each step and one after baking");
    let (_, began) = &entries[0];
    let (registered, sighted) = (began["registered_at"].as_u64().unwrap(), began["sighted_at"].as_u64().unwrap());
    assert!(registered <= sighted && sighted - registered < 60_000, "it was seen when it came, not written then");
    let figures = client.get_admin("/api/v1/rollouts/churn").await.ok().json()["figures"].clone();
    assert_eq!((&figures["promoted"], &figures["rolled_back"]), (&1.into(), &0.into()));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_without_numbers_loses_its_share_and_is_not_tried_again() {
    let gateway = started(SLOW).await;
    let client = gateway.client.clone();
    let traffic = Traffic::start(&client);
    add_like_one(&gateway, "churn/2", without_a_number);
    let ended = in_phase(&client, "rolled_back").await;
    // The guards see the numbers that are missing, the step the predictions that are others; either may be first.
    let reason = ended["reason"].as_str().unwrap();
    assert!(reason.contains("non_finite") || reason.contains("predictions/"), "{ended:#}");
    assert_eq!(ended["weight"], 0.0);
    client.wait_until_serving("churn", "1").await;
    drop(traffic);
    let entries = entries(&client).await;
    assert_eq!(entries.iter().filter(|(kind, _)| kind == "decision").count(), 1);
    let (_, end) = entries.last().unwrap();
    assert!(end["restore_ms"].as_u64().unwrap() < 5_000, "{end}");
    let id = ended["id"].clone();
    // Whoever wants it again says so, and that is another try.
    let again = order(&client, "start", r#"{"version": 2}"#).await.ok().json();
    assert_ne!(again["id"], id);
    order(&client, "abort", "").await.ok();
    in_phase(&client, "rolled_back").await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn people_are_obeyed_and_an_abort_always_wins() {
    let gateway = started(SLOW).await;
    let client = &gateway.client;
    assert!(order(client, "abort", "").await.refused(404).contains("no rollout"));
    add_like_one(&gateway, "churn/2", |_bytes| {});
    let shown = in_phase(client, "canary").await;
    let id = shown["id"].as_str().unwrap().to_owned();
    until("half of the traffic goes to it", async || {
        (client.version("churn", "2").await["weight"] == 50.0).then_some(())
    })
    .await;
    assert!(client.put_split("churn", r#"{"1":100}"#).await.refused(409).contains(&id));
    assert!(order(client, "pause", r#"{"generation": 1}"#).await.refused(409).contains("generation"));
    let paused = order(client, "pause", "").await.ok().json();
    assert_eq!(paused["pause"], "operator");
    assert!(order(client, "start", "").await.refused(409).contains("under way"));
    assert_eq!(order(client, "resume", "").await.ok().json()["pause"], Value::Null);
    let promoted = order(client, "promote", "").await.ok().json();
    assert_eq!(promoted["weight"], 100.0);
    in_phase(client, "baking").await;
    client.wait_until_serving("churn", "2").await;
    order(client, "abort", r#"{"generation": 1}"#).await.ok();
    let ended = in_phase(client, "rolled_back").await;
    assert!(ended["reason"].as_str().unwrap().contains("aborted by"), "{ended:#}");
    client.wait_until_serving("churn", "1").await;
    let kinds: Vec<String> = entries(client).await.into_iter().map(|(kind, _)| kind).collect();
    assert!(!kinds.contains(&"decision".to_owned()), "nothing was decided on evidence: {kinds:?}");
    client.put_split("churn", r#"{"1":100}"#).await.ok();
    gateway.stop().await;
}

/// Returns once a rollout of another model has begun, and so every model had its turn: one look goes through all of them.
async fn everybody_had_a_turn(gateway: &Gateway, probe: &str) {
    gateway.repository.add(&shipped().join("churn/1"), &format!("{probe}/2"));
    until("the other model's rollout begins", async || {
        let answer = gateway.client.get_admin(&format!("/api/v1/rollouts/{probe}")).await;
        (answer.status == 200).then_some(())
    })
    .await;
}

/// Aborts the rollout of a version once it has a share; its id.
async fn aborted(client: &Client, version: u64) -> Value {
    until(&format!("version {version} has a share"), async || {
        let shown = rollout(client).await?;
        (shown["target"] == version && shown["phase"]["name"] == "canary").then_some(())
    })
    .await;
    order(client, "abort", "").await.ok();
    let ended = in_phase(client, "rolled_back").await;
    assert_eq!(ended["target"], version);
    ended["id"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_turned_away_or_rolled_back_is_left_alone_also_rollouts_later_and_after_a_restart() {
    let state = tempfile::tempdir().unwrap();
    let place = state.path().to_owned();
    let plans = move |config: &mut Config| {
        let slow = SLOW.replace("bake", "newer = \"reject\", bake");
        for model in ["churn", "before", "after"] {
            config.models.insert(
                model.to_owned(),
                settings(&format!("[models.{model}]\nengine = \"tract\"\n{slow}")).model(model),
            );
        }
        config.state.path = place;
    };
    let repository = Repository::of(&["churn/1"]);
    for probe in ["before/1", "after/1"] {
        repository.add(&shipped().join("churn/1"), probe);
    }
    let gateway = Gateway::start(repository, plans.clone()).await;
    let client = gateway.client.clone();
    add_like_one(&gateway, "churn/2", |_bytes| {});
    in_phase(&client, "canary").await;
    add_like_one(&gateway, "churn/3", |_bytes| {});
    until("version 3 is turned away", async || {
        let entries = entries(&client).await;
        let is_newer = |(kind, says): &(String, Value)| kind == "newer" && says["action"] == "reject";
        entries.iter().any(is_newer).then_some(())
    })
    .await;
    aborted(&client, 2).await;
    add_like_one(&gateway, "churn/4", |_bytes| {});
    let id = aborted(&client, 4).await;
    everybody_had_a_turn(&gateway, "before").await;
    assert_eq!(rollout(&client).await.unwrap()["id"], id, "version 3 is the highest that was not rolled back");
    let by_hand = order(&client, "start", r#"{"version": 3}"#).await.ok().json();
    assert_eq!(aborted(&client, 3).await, by_hand["id"]);
    let Gateway { running, repository, .. } = gateway;
    assert!(running.stop().await, "something was still in flight");
    let gateway = Gateway::start(repository, plans).await;
    everybody_had_a_turn(&gateway, "after").await;
    let shown = rollout(&gateway.client).await.unwrap();
    assert_eq!(shown["id"], by_hand["id"]);
    assert_eq!(shown["figures"]["rolled_back"], 3, "{shown:#}");
    gateway.stop().await;
}
