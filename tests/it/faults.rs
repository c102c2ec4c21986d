//! A registry, its network and this machine fail in every way there is: no bad load, the stable version serves on, and
//! what was wanted comes once it can, without anybody's help.

use crate::support::client::Client;
use crate::support::gateway::{Gateway, settings};
use crate::support::process::{Process, command};
use crate::support::registry::{Fault, FaultKind, Registry};
use crate::support::repository::{Repository, held_out, shipped};
use crate::support::wait::until;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

const GRAPH: &str = "/model.onnx";

/// The files of a shipped version.
fn files(version: &str) -> Vec<(&'static str, Vec<u8>)> {
    let directory = shipped().join("churn").join(version);
    ["model.onnx", "profile.json"].map(|name| (name, fs::read(directory.join(name)).unwrap())).to_vec()
}

/// A registry whose `champion` is version 1.
async fn registry() -> Registry {
    let registry = Registry::start().await;
    registry.put(1, files("1"));
    registry.set_alias("champion", 1);
    registry
}

fn config_text(registry: &Registry) -> String {
    format!(
        "[registry.mlflow]\nurl = \"{}\"\npoll_interval = \"1s\"\ntimeout = \"1s\"\n\
         [models.churn]\nsource = \"models:/churn\"\nengine = \"tract\"\n",
        registry.url()
    )
}

async fn gateway(registry: &Registry) -> Gateway {
    let mut read = settings(&config_text(registry));
    read.registry.mlflow.as_mut().unwrap().poll_interval = Duration::from_millis(50);
    let gateway = Gateway::start(Repository::of(&["breast-cancer/2"]), |config| {
        config.registry = read.registry;
        config.models = read.models;
    })
    .await;
    gateway.client.wait_until_serving("churn", "1").await;
    gateway
}

/// A version answers, with what it must.
async fn answers(client: &Client, version: u64) {
    let answer = client.post("/v2/models/churn/infer", held_out("churn").infer_body(0..1)).await.ok();
    assert_eq!(answer.header("tidegate-model-version"), Some(version.to_string().as_str()), "{}", answer.text);
    let expected = if version == 1 { "1" } else { "2" };
    let table = fs::read_to_string(shipped().join("churn").join(expected).join("expected.csv")).unwrap();
    let wanted: f64 = table.lines().nth(1).unwrap().rsplit(',').next().unwrap().parse().unwrap();
    let found = answer.json()["outputs"][1]["data"][1].as_f64().unwrap();
    assert!((found - wanted).abs() < 1e-4, "expected {wanted}, found {found}");
}

async fn problem(client: &Client) -> String {
    until("the problem is told", async || {
        let sources = client.get_admin("/api/v1/sources").await.ok().json();
        sources["sources"]["churn"]["problems"][0].as_str().map(str::to_owned)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_goes_wrong_at_the_registry_the_stable_version_serves_and_the_next_comes_afterwards() {
    let registry = registry().await;
    let gateway = gateway(&registry).await;
    let cases = [
        ("registered-models", FaultKind::Status(500), "answered 500: out of order"),
        ("registered-models", FaultKind::Closed, "cannot be reached"),
        ("registered-models", FaultKind::Truncated(20), "cannot be reached"),
        ("registered-models", FaultKind::Stalled(20), "cannot be reached"),
        ("get-download-uri", FaultKind::Status(503), "answered 503: out of order"),
        ("artifacts?path", FaultKind::Status(500), "answered 500: out of order"),
        (GRAPH, FaultKind::Status(500), "answered 500: out of order"),
        (GRAPH, FaultKind::Closed, "cannot be reached"),
        (GRAPH, FaultKind::Truncated(1_000), "cannot be reached"),
        (GRAPH, FaultKind::Stalled(1_000), "cannot be reached"),
        ("/profile.json", FaultKind::Status(404), "is not there"),
    ];
    let mut serving = 1;
    for (path, kind, told) in cases {
        let next = serving + 1;
        registry.put(next, files("2"));
        registry.fault(Some(Fault { path, kind }));
        registry.set_alias("champion", next);
        let problem = problem(&gateway.client).await;
        assert!(problem.contains(told), "{path} {kind:?}: {problem}");
        assert!(registry.met() > 0, "{path} {kind:?}");
        answers(&gateway.client, serving).await;
        registry.fault(None);
        gateway.client.wait_until_serving("churn", &next.to_string()).await;
        answers(&gateway.client, next).await;
        serving = next;
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_stops_is_waited_for() {
    let mut registry = registry().await;
    let gateway = gateway(&registry).await;
    registry.put(2, files("2"));
    registry.stop().await;
    registry.set_alias("champion", 2);
    assert!(problem(&gateway.client).await.contains("cannot be reached"));
    answers(&gateway.client, 1).await;
    registry.restart().await;
    gateway.client.wait_until_serving("churn", "2").await;
    answers(&gateway.client, 2).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_without_an_end_does_not_keep_another_version_from_coming() {
    let registry = registry().await;
    let gateway = gateway(&registry).await;
    registry.put(2, files("2"));
    registry.put(3, files("2"));
    // It would take half an hour, and no read ever takes long.
    registry.fault(Some(Fault { path: "/models/2/model.onnx", kind: FaultKind::Trickle }));
    registry.set_alias("champion", 2);
    until("version 2 is being fetched", async || (registry.met() > 0).then_some(())).await;
    answers(&gateway.client, 1).await;
    registry.set_alias("champion", 3);
    gateway.client.wait_until_serving("churn", "3").await;
    answers(&gateway.client, 3).await;
    gateway.stop().await;
}

/// A protocol buffer's field of bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    assert!(bytes.len() < 128 && number < 16);
    [&[number << 3 | 2, u8::try_from(bytes.len()).unwrap()], bytes].concat()
}

/// A graph with one weight more, whose bytes are said to be elsewhere. Parts of a message add up, so that it is appended.
fn with_weight_at(entries: &[(&str, &str)]) -> Vec<(&'static str, Vec<u8>)> {
    let entries = entries
        .iter()
        .flat_map(|(key, value)| field(13, &[field(1, key.as_bytes()), field(2, value.as_bytes())].concat()));
    // One value of FLOAT, in an external place.
    let tensor = [vec![1 << 3, 1, 2 << 3, 1], field(8, b"w"), entries.collect(), vec![14 << 3, 1]].concat();
    let mut files = files("2");
    files[0].1.extend(field(7, &field(5, &tensor)));
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn what_must_not_be_loaded_is_not_and_says_why() {
    let registry = registry().await;
    let gateway = gateway(&registry).await;
    let mut flipped = files("2");
    flipped[0].1[0] ^= 1;
    let mut cut = files("2");
    cut[0].1.truncate(3_000);
    let cases = [
        (flipped, ""),
        (cut, ""),
        (with_weight_at(&[("location", "weights.data")]), "weights.data"),
        (with_weight_at(&[("location", "../../../../etc/passwd")]), "../../../../etc/passwd"),
        (with_weight_at(&[("location", "/etc/passwd")]), "/etc/passwd"),
        (with_weight_at(&[("location", "profile.json"), ("length", "100000000")]), "profile.json"),
    ];
    for (version, (files, told)) in (2_u64..).zip(cases) {
        registry.put(version, files);
        registry.set_alias("champion", version);
        let version = version.to_string();
        let shown = until(&format!("version {version} is refused"), async || {
            let shown = gateway.client.version("churn", &version).await;
            (shown["state"] == "failed").then_some(shown)
        })
        .await;
        assert!(shown["reason"].as_str().unwrap().contains(told), "{shown}");
        answers(&gateway.client, 1).await;
    }
    registry.put(20, files("2"));
    registry.set_alias("champion", 20);
    gateway.client.wait_until_serving("churn", "20").await;
    answers(&gateway.client, 20).await;
    gateway.stop().await;
}

/// The real binary, with its state in this directory.
async fn process(directory: &Path) -> Process {
    let mut command = command(&["serve", "--http", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--config"]);
    command.arg(directory.join("tidegate.toml")).env("TIDEGATE_STATE", directory.join("state"));
    command.env("TIDEGATE_MODELS", directory.join("none")).stdin(Stdio::null());
    Process::start_command(command).await
}

/// Ends it as a lack of memory does.
async fn kill(mut process: Process) {
    process.signal("KILL");
    assert!(!process.ended().await.success());
}

/// The version that serves, which answers as it must.
async fn serving(client: &Client) -> u64 {
    let version = until("some version serves", async || {
        let shown = client.get_admin("/api/v1/models/churn").await;
        let shown = (shown.status == 200).then(|| shown.json())?;
        let versions = shown["versions"].as_array().unwrap().clone();
        let serving = versions.into_iter().find(|version| version["weight"] == 100.0)?;
        serving["version"].as_str().unwrap().parse::<u64>().ok()
    })
    .await;
    answers(client, version).await;
    version
}

/// Where a process is killed.
enum Phase {
    /// While the registry does not answer this.
    Waiting(&'static str, usize),
    /// Once it has logged this.
    Logged(&'static str),
    /// So long after the alias was moved.
    After(Duration),
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_killed_anywhere_serves_what_is_whole_and_goes_on() {
    let registry = registry().await;
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("none")).unwrap();
    fs::write(directory.path().join("tidegate.toml"), config_text(&registry)).unwrap();
    let first = process(directory.path()).await;
    first.client.wait_until_serving("churn", "1").await;
    kill(first).await;
    let mut random = SmallRng::seed_from_u64(11);
    let phases = [
        Phase::Waiting("registered-models", 0),
        Phase::Waiting("get-download-uri", 10),
        Phase::Waiting("artifacts?path", 10),
        Phase::Waiting(GRAPH, 0),
        Phase::Waiting(GRAPH, 3_000),
        Phase::Waiting(GRAPH, 6_584),
        Phase::Waiting("/profile.json", 0),
        Phase::Waiting("/profile.json", 15_553),
        Phase::Logged("version fetched"),
        Phase::Logged("version loaded and warm"),
    ];
    let at_random = (0..10).map(|_| Phase::After(Duration::from_millis(random.random_range(0..1_300))));
    let mut stable = 1;
    for phase in phases.into_iter().chain(at_random) {
        let next = stable + 1;
        registry.put(next, files("2"));
        let process = self::process(directory.path()).await;
        assert_eq!(serving(&process.client).await, stable);
        if let Phase::Waiting(path, bytes) = phase {
            registry.fault(Some(Fault { path, kind: FaultKind::Stalled(bytes) }));
        }
        registry.set_alias("champion", next);
        match phase {
            Phase::Waiting(..) => {
                until("the registry does not answer", async || (registry.met() > 0).then_some(())).await;
            }
            Phase::Logged(text) => {
                let fetched =
                    || process.log().lines().any(|line| line.contains(text) && line.contains(&next.to_string()));
                until(text, async || fetched().then_some(())).await;
            }
            Phase::After(delay) => tokio::time::sleep(delay).await,
        }
        kill(process).await;
        // It starts while the registry answers nothing.
        registry.fault(Some(Fault { path: "/", kind: FaultKind::Closed }));
        let process = self::process(directory.path()).await;
        let found = serving(&process.client).await;
        assert!(found == stable || found == next, "{found} serves, of {stable} and {next}");
        registry.fault(None);
        process.client.wait_until_serving("churn", &next.to_string()).await;
        answers(&process.client, next).await;
        kill(process).await;
        stable = next;
    }
}
