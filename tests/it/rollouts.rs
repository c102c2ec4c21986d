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
/// Users who ask again and again.
const USERS: u64 = 8;

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

    /// Rows of so many users, one sender each, who give their name as the routing key.
    fn of_users(client: &Client, users: u64) -> Self {
        let mut senders = JoinSet::new();
        for user in 0..users {
            let (client, mut customers) = (client.clone(), Customers::new(user));
            senders.spawn(async move {
                loop {
                    let request = client.data("POST", "/v2/models/churn/infer").body(customers.body(1));
                    send(request.header("tidegate-routing-key", format!("user {user}"))).await.ok();
                }
            });
        }
        Self { _senders: senders }
    }
}

/// A call of code that is not optimised takes about as long as what is made on workers at most: where it is made would be
/// chance, and versions alike be told apart by their durations.
pub(crate) const ON_WORKERS: &str = "execution = { inline_limit = \"1h\" }";

pub(crate) fn with_plan(plan: &'static str) -> impl FnOnce(&mut Config) {
    move |config| {
        let wanted = settings(&format!("[models.churn]\n{ON_WORKERS}\n{plan}")).model("churn");
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

/// Makes the first score NaN: the last layer's bias is, and what would be its sigmoid is itself. The embedded engine makes a
/// number of a sigmoid of NaN.
pub(crate) fn without_a_number(bytes: &mut [u8]) {
    set_bias(bytes, f32::NAN);
    let place = find(bytes, b"Sigmoid");
    bytes[place..place + 7].copy_from_slice(b"Flatten");
}

/// Makes the first score 0 and the label 1, whatever is asked.
pub(crate) fn with_other_scores(bytes: &mut [u8]) {
    set_bias(bytes, -1e9);
}

/// Sets the last layer's first bias: a tensor's name, the tag of its bytes, and how many there are stand before it.
fn set_bias(bytes: &mut [u8], bias: f32) {
    let before = b"constant_8J\x08";
    let place = find(bytes, before) + before.len();
    bytes[place..place + 4].copy_from_slice(&bias.to_le_bytes());
}

pub(crate) async fn shown(client: &Client) -> Option<Value> {
    let answer = client.get_admin("/api/v1/rollouts/churn").await;
    (answer.status == 200).then(|| answer.json())
}

pub(crate) async fn in_phase(client: &Client, phase: &str) -> Value {
    until(&format!("the rollout is {phase}"), async || {
        shown(client).await.filter(|rollout| rollout["phase"]["name"] == phase)
    })
    .await
}

pub(crate) async fn order(client: &Client, order: &str, body: &'static str) -> crate::support::client::Answer {
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

/// A few users who ask again and again. Guards read each of their requests; evidence of a step is the first of each alone,
/// whose arm is as good as a fair draw, so that it multiplies no evidence by more than two. Of eight users that is at most
/// 2⁸ = e^5.5, and no metric of a step fails below e^6.4: what is wrong with the version a guard has to find, or nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_version_without_numbers_loses_its_share_by_its_guard_and_is_not_tried_again() {
    let gateway = started(SLOW).await;
    let client = gateway.client.clone();
    let traffic = Traffic::of_users(&client, USERS);
    add_like_one(&gateway, "churn/2", without_a_number);
    let ended = in_phase(&client, "rolled_back").await;
    assert_eq!(ended["weight"], 0.0);
    client.wait_until_serving("churn", "1").await;
    drop(traffic);
    let entries = entries(&client).await;
    let decisions: Vec<&Value> = entries.iter().filter(|(kind, _)| kind == "decision").map(|(_, says)| says).collect();
    let [decision] = decisions[..] else { panic!("{entries:#?}") };
    assert_eq!(decision["subject"], "guards", "{decision:#}");
    let metrics = decision["judgement"]["metrics"].as_array().unwrap();
    let failed: Vec<&Value> = metrics.iter().filter(|metric| metric["verdict"] == "fail").collect();
    assert!(failed.len() == 1 && failed[0]["metric"] == "guard/non_finite", "{failed:#?}");
    assert_eq!(ended["reason"], format!("guard/non_finite: {}", failed[0]["summary"].as_str().unwrap()));
    let segments = decision["counts"].as_array().unwrap().iter().flat_map(|part| part["segments"].as_array().unwrap());
    let events: u64 = segments
        .map(|segment| segment["canary"]["events"].as_u64().unwrap() + segment["stable"]["events"].as_u64().unwrap())
        .sum();
    assert!(events <= USERS, "no step could have decided: {decision:#}");
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
    let at_step = in_phase(client, "canary").await;
    let id = at_step["id"].as_str().unwrap().to_owned();
    let progress = until("it is known how far the step is", async || {
        Some(shown(client).await?["progress"].clone()).filter(|progress| progress.is_object())
    })
    .await;
    assert_eq!((&progress["min_requests"], &progress["min_seconds"]), (&500.into(), &600.0.into()));
    assert_eq!((&progress["next"]["name"], &progress["next_weight"]), (&"promoting".into(), &100.0.into()));
    let missing = progress["missing"].as_array().unwrap();
    assert!(missing.len() == 2 && missing[0] == "500 more requests of version 2 (0 of 500)", "{progress:#}");
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

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_somebody_promotes_is_compared_with_all_that_stable_did_until_then() {
    let gateway = started(SLOW).await;
    let client = gateway.client.clone();
    let traffic = Traffic::start(&client);
    add_like_one(&gateway, "churn/2", |_bytes| {});
    let counted = until("the guards have read answers of the stable version", async || {
        let shown = shown(&client).await?;
        shown["guards"]["metrics"][0]["stable"].as_u64().filter(|stable| *stable >= 100)
    })
    .await;
    order(&client, "promote", "").await.ok();
    in_phase(&client, "baking").await;
    drop(traffic);
    let entries = entries(&client).await;
    let promoted = entries.iter().position(|(kind, says)| kind == "ordered" && says["order"]["order"] == "promote");
    let (kind, says) = &entries[promoted.expect("the order is written down") - 1];
    let groups = says["counts"][0]["guards"]["stable"].as_array().expect("the part's counts");
    let stable: u64 = groups.iter().map(|group| group["answers"].as_u64().unwrap()).sum();
    assert!(kind == "counted" && stable >= counted, "{stable} of {counted} in {kind}: {says}");
    order(&client, "abort", "").await.ok();
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
        let shown = shown(client).await?;
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
                settings(&format!("[models.{model}]\nengine = \"tract\"\n{ON_WORKERS}\n{slow}")).model(model),
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
    assert_eq!(shown(&client).await.unwrap()["id"], id, "version 3 is the highest that was not rolled back");
    let by_hand = order(&client, "start", r#"{"version": 3}"#).await.ok().json();
    assert_eq!(aborted(&client, 3).await, by_hand["id"]);
    let Gateway { running, repository, .. } = gateway;
    assert!(running.stop().await, "something was still in flight");
    let gateway = Gateway::start(repository, plans).await;
    everybody_had_a_turn(&gateway, "after").await;
    let shown = shown(&gateway.client).await.unwrap();
    assert_eq!(shown["id"], by_hand["id"]);
    assert_eq!(shown["figures"]["rolled_back"], 3, "{shown:#}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_goes_back_to_a_lower_version_stays_there() {
    let plans = |config: &mut Config| {
        for model in ["churn", "probe"] {
            let plan = format!("[models.{model}]\nengine = \"tract\"\n{ON_WORKERS}\n{QUICK}");
            config.models.insert(model.to_owned(), settings(&plan).model(model));
        }
    };
    let repository = Repository::of(&["churn/1"]);
    for version in ["churn/3", "probe/1"] {
        repository.add(&shipped().join("churn/1"), version);
    }
    let gateway = Gateway::start(repository, plans).await;
    let client = gateway.client.clone();
    client.wait_until_serving("churn", "3").await;
    let traffic = Traffic::start(&client);
    let back = order(&client, "start", r#"{"version": 1}"#).await.ok().json();
    assert_eq!(in_phase(&client, "done").await["id"], back["id"]);
    drop(traffic);
    everybody_had_a_turn(&gateway, "probe").await;
    assert_eq!(shown(&client).await.unwrap()["id"], back["id"], "version 3 is the highest, and gave way");
    client.wait_until_serving("churn", "1").await;
    gateway.stop().await;
}
