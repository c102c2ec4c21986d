//! Rollouts of models from a real MLflow server, on ONNX Runtime, under traffic: the good one becomes champion, each bad one
//! loses its share for the one thing that is wrong with it.
//!
//! One server and one gateway for all of them, because a server takes longer to start than a rollout.

use crate::support::client::Client;
use crate::support::library::onnxruntime;
use crate::support::mlflow::MlflowServer;
use crate::support::process::{Process, command};
use crate::support::python::environment;
use crate::support::wait::until;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;
use tokio::task::JoinSet;

/// A model, the file that its challenger is of, and what is wrong with that one.
const CASES: [(&str, &str, &str, Option<&str>); 5] = [
    ("good", "base", "same", None),
    ("failing", "base", "errors", Some("errors")),
    ("shifted", "base", "shifted", Some("predictions/score")),
    ("absurd", "base", "nan", Some("guard/non_finite")),
    ("slow", "heavy", "slow", Some("latency")),
];

/// Requests under way at a time.
const SENDERS: u64 = 4;

/// Half of the traffic until something is found, or until so many requests that what is wrong must have been found.
fn settings(server: &MlflowServer, directory: &Path) -> String {
    let mut text = format!("[registry.mlflow]\nurl = \"{}\"\npoll_interval = \"1s\"\n", server.url());
    writeln!(text, "[registry.cache]\npath = \"{}\"", directory.join("cache").display()).unwrap();
    for (name, _, _, fault) in CASES {
        let samples = if fault.is_some() { 20_000 } else { 300 };
        let steps = if fault.is_some() { "[50]" } else { "[10, 50]" };
        writeln!(text, "[models.{name}]\nsource = \"models:/{name}\"\nengine = \"onnxruntime\"").unwrap();
        let times = "min_time = \"1s\", max_time = \"10m\", bake = \"2s\"";
        writeln!(text, "rollout = {{ steps = {steps}, min_samples = {samples}, {times} }}").unwrap();
    }
    text
}

/// Rows whose first feature is uniform between 0 and 1, and whose others are about zero, by senders that end with it.
struct Traffic {
    _senders: JoinSet<()>,
}

impl Traffic {
    fn start(client: &Client, model: &'static str) -> Self {
        let mut senders = JoinSet::new();
        for sender in 0..SENDERS {
            let client = client.clone();
            senders.spawn(async move {
                let mut random = StdRng::seed_from_u64(sender);
                loop {
                    let mut row = vec![random.random::<f32>()];
                    // Twelve uniform numbers have a variance of one.
                    let mut normal = || (0..12).map(|_| random.random::<f32>()).sum::<f32>() - 6.0;
                    row.extend((0..7).map(|_| normal()));
                    let body = serde_json::json!({"inputs": [
                        {"name": "features", "shape": [1, 8], "datatype": "FP32", "data": row}]});
                    // Some fail, as they shall.
                    client.post(&format!("/v2/models/{model}/infer"), body.to_string()).await;
                }
            });
        }
        Self { _senders: senders }
    }
}

/// The model's rollout once it has ended.
async fn ended(client: &Client, model: &str) -> Value {
    until(&format!("the rollout of {model} ends"), async || {
        let answer = client.get_admin(&format!("/api/v1/rollouts/{model}")).await;
        let rollout = (answer.status == 200).then(|| answer.json())?;
        rollout["ended_at"].is_u64().then_some(rollout)
    })
    .await
}

/// Waits for the tags that the registry is told, and for the alias; the tags.
async fn written_back(server: &MlflowServer, model: &str, (champion, state): (u64, &str)) -> BTreeMap<String, String> {
    until(&format!("MLflow is told of {model}"), async || {
        let (aliases, tags) = server.aliases_and_tags(model, 2).await;
        let is_told = tags.get("tidegate.rollout.state").is_some_and(|told| told == state);
        (is_told && aliases["champion"] == champion).then_some(tags)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_challenger_becomes_champion_and_bad_ones_lose_their_share() {
    let server = MlflowServer::start().await;
    let directory = tempfile::tempdir().unwrap();
    let script = "tests/python/rollout_models.py";
    environment().run_script(script, &["write", directory.path().to_str().unwrap()]);
    for (name, stable, target, _) in CASES {
        let file = |name: &str| directory.path().join(format!("{name}.onnx"));
        server.register_pair(name, &file(stable), &file(target));
    }
    let config = directory.path().join("tidegate.toml");
    std::fs::write(&config, settings(&server, directory.path())).unwrap();
    let library = onnxruntime(environment());
    let mut starting = command(&["serve", "--config", config.to_str().unwrap()]);
    starting.args(["--http", "127.0.0.1:0", "--admin", "127.0.0.1:0"]).arg("--onnxruntime").arg(library);
    let gateway = Process::start_command(starting).await;
    for (model, _, _, fault) in CASES {
        let traffic = Traffic::start(&gateway.client, model);
        let rollout = ended(&gateway.client, model).await;
        let (phase, champion) = if fault.is_some() { ("rolled_back", 1) } else { ("done", 2) };
        assert_eq!(rollout["phase"]["name"], phase, "{model}: {rollout:#}\n{}", gateway.log());
        gateway.client.wait_until_serving(model, &champion.to_string()).await;
        drop(traffic);
        let reason = rollout["reason"].as_str().unwrap();
        assert!(reason.contains(fault.unwrap_or("")), "{model}: {reason}");
        let tags = written_back(&server, model, (champion, phase)).await;
        let weight = if fault.is_some() { "0" } else { "100" };
        assert_eq!(tags["tidegate.rollout.weight"], weight, "{tags:?}");
        let verdict = if fault.is_some() { "fail" } else { "pass" };
        assert_eq!(tags["tidegate.rollout.verdict"], verdict, "{tags:?}");
        decisions_can_be_made_again(&gateway.client, model).await;
        let created = server.created(model, 2).await;
        lead_time_is_since(&gateway.client, model, created).await;
    }
    gateway.stop().await;
    server.stop().await;
}

/// Lead time counts from when MLflow registered the version until all traffic went to it, and is that of promotions alone.
async fn lead_time_is_since(client: &Client, model: &str, created: u64) {
    let explained = client.get_admin(&format!("/api/v1/rollouts/{model}/explain")).await.ok().json();
    let entries = explained["entries"].as_array().unwrap();
    let of_kind = |kind: &str| entries.iter().filter(|entry| entry["entry"]["kind"] == kind).collect::<Vec<_>>();
    let began = &of_kind("started")[0]["entry"]["says"];
    assert_eq!(began["registered_at"], created, "{began:#}");
    let ended = &of_kind("ended")[0]["entry"]["says"];
    let baking = of_kind("moved").into_iter().find(|entry| entry["entry"]["says"]["to"]["name"] == "baking");
    let baking = baking.filter(|_| ended["outcome"]["name"] == "done");
    let lead = baking.map(|entry| entry["at"].as_u64().unwrap() - created);
    assert_eq!(ended["lead_ms"].as_u64(), lead);
    assert!(lead.is_none_or(|lead| lead > began["sighted_at"].as_u64().unwrap() - created), "{lead:?}");
    let figures = client.get_admin(&format!("/api/v1/rollouts/{model}")).await.ok().json()["figures"].clone();
    let of_figures = Duration::from_secs_f64(figures["lead_seconds"].as_f64().unwrap());
    assert_eq!(of_figures.as_millis(), u128::from(lead.unwrap_or(0)), "{figures:#}");
}

async fn decisions_can_be_made_again(client: &Client, model: &str) {
    let explained = client.get_admin(&format!("/api/v1/rollouts/{model}/explain")).await.ok().json();
    let entries = explained["entries"].as_array().unwrap();
    let replayed: Vec<&Value> =
        entries.iter().map(|entry| &entry["replayed"]).filter(|replayed| !replayed.is_null()).collect();
    assert!(!replayed.is_empty() && replayed.iter().all(|replayed| **replayed == true), "{explained:#}");
}
