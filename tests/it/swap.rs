//! Versions swap and splits change under load without a failed request and without an answer from the past.
//!
//! A version is *possibly live* from just before whatever makes it so (its rename into place, the request for a split)
//! until the admin API has shown that it no longer is. An answer's version must have been possibly live at some moment
//! between the request and the answer: a version is picked in between, and both ends are known here alone. Versions with
//! odd numbers are one model and those with even numbers another, so that an answer also shows what computed it.

use crate::answers::infer;
use crate::support::client::{Client, send};
use crate::support::gateway::Gateway;
use crate::support::repository::{Repository, held_out, shipped};
use crate::support::table::Table;
use crate::support::wait::until;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const SWAPS: u64 = 50;
const SPLITS: u64 = 50;
/// A request every so often, whatever became of those before.
const PACE: Duration = Duration::from_millis(5);
/// Requests in flight beyond which a machine that cannot keep the pace is given time.
const MOST_IN_FLIGHT: usize = 512;

struct Sample {
    sent: Instant,
    answered: Instant,
    row: usize,
    /// The version, or what went wrong.
    outcome: Result<(u64, Vec<f64>), String>,
}

/// When each version was possibly live.
#[derive(Default)]
struct Timeline {
    live: BTreeSet<u64>,
    spans: BTreeMap<u64, Vec<(Instant, Option<Instant>)>>,
}

impl Timeline {
    /// The versions that are live since some moment from `before` on, and seen to be so now.
    fn changed(&mut self, before: Instant, live: impl IntoIterator<Item = u64>) {
        let (now, live) = (Instant::now(), live.into_iter().collect::<BTreeSet<u64>>());
        for version in live.difference(&self.live) {
            self.spans.entry(*version).or_default().push((before, None));
        }
        for version in self.live.difference(&live) {
            self.spans.get_mut(version).unwrap().last_mut().unwrap().1 = Some(now);
        }
        self.live = live;
    }

    fn allows(&self, sample: &Sample, version: u64) -> bool {
        let spans = self.spans.get(&version).map(Vec::as_slice).unwrap_or_default();
        spans.iter().any(|(start, end)| *start <= sample.answered && end.is_none_or(|end| sample.sent <= end))
    }
}

/// A load of varied rows, at a constant pace.
struct Load {
    samples: Arc<Mutex<Vec<Sample>>>,
    stop: Arc<AtomicBool>,
    task: JoinSet<()>,
}

impl Load {
    fn start(client: &Client, rows: Table) -> Self {
        let (samples, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let mut task = JoinSet::new();
        let bodies: Vec<String> = (0..rows.rows.len()).map(|row| rows.infer_body(row..row + 1)).collect();
        task.spawn(keep_pace(client.clone(), bodies, Arc::clone(&samples), Arc::clone(&stop)));
        Self { samples, stop, task }
    }

    /// Waits until a version has answered something that was asked from now on.
    async fn wait_for_answer_by(&self, wanted: u64) {
        let since = Instant::now();
        until(&format!("version {wanted} answers"), async || {
            let samples = self.samples.lock().unwrap();
            let recent = samples.iter().rev().take_while(|sample| sample.answered >= since);
            recent
                .filter(|sample| sample.sent >= since)
                .any(|sample| matches!(sample.outcome, Ok((version, _)) if version == wanted))
                .then_some(())
        })
        .await;
    }

    async fn finish(mut self) -> Vec<Sample> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.join_next().await.unwrap().unwrap();
        std::mem::take(&mut *self.samples.lock().unwrap())
    }
}

async fn keep_pace(client: Client, bodies: Vec<String>, samples: Arc<Mutex<Vec<Sample>>>, stop: Arc<AtomicBool>) {
    let mut requests = JoinSet::new();
    let mut ticks = tokio::time::interval(PACE);
    for number in 0.. {
        ticks.tick().await;
        if stop.load(Ordering::Relaxed) {
            break;
        }
        while requests.len() >= MOST_IN_FLIGHT {
            requests.join_next().await;
        }
        let row = number % bodies.len();
        let (client, body, samples) = (client.clone(), bodies[row].clone(), Arc::clone(&samples));
        requests.spawn(async move {
            let sent = Instant::now();
            let outcome = ask(&client, body).await;
            samples.lock().unwrap().push(Sample { sent, answered: Instant::now(), row, outcome });
        });
    }
    while let Some(ended) = requests.join_next().await {
        ended.unwrap();
    }
}

/// The version that answered, by header and body alike, and the probabilities.
async fn ask(client: &Client, body: String) -> Result<(u64, Vec<f64>), String> {
    let request = client.data("POST", "/v2/models/churn/infer").body(body);
    let answer = request.send().await.map_err(|error| format!("{error:?}"))?;
    let status = answer.status();
    let header = answer.headers().get("tidegate-model-version").map(|value| value.to_str().unwrap().to_owned());
    let text = answer.text().await.map_err(|error| format!("{error:?}"))?;
    if !status.is_success() {
        return Err(format!("{status}: {text}"));
    }
    let body: serde_json::Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    if header.as_deref() != body["model_version"].as_str() {
        return Err(format!("header {header:?}, body {text}"));
    }
    let version = header.and_then(|version| version.parse().ok()).ok_or("no version")?;
    let outputs = body["outputs"].as_array().ok_or("no outputs")?;
    let probabilities = outputs.iter().find(|output| output["name"] == "probabilities").ok_or("no probabilities")?;
    let numbers = probabilities["data"].as_array().ok_or("no data")?;
    Ok((version, numbers.iter().filter_map(serde_json::Value::as_f64).collect()))
}

/// The shipped version that a number stands for.
fn original(version: u64) -> u64 {
    if version % 2 == 1 { 1 } else { 2 }
}

fn expected_of(version: u64) -> Table {
    Table::read(&shipped().join(format!("churn/{version}/expected.csv")))
}

#[tokio::test(flavor = "multi_thread")]
async fn swaps_and_splits_under_load_lose_nothing_and_answer_from_what_is_live() {
    let expected = [expected_of(1), expected_of(2)];
    let rows = held_out("churn");
    let apart = (0..rows.rows.len())
        .filter(|&row| (expected[0].numbers(row)[1] - expected[1].numbers(row)[1]).abs() > 1e-3)
        .count();
    assert!(apart * 10 > rows.rows.len() * 8, "the two models hardly differ: nothing could be told from answers");

    let start = Instant::now();
    let gateway = Gateway::start(Repository::of(&["churn/1"]), |config| {
        config.repository.bake = Duration::from_secs(1);
    })
    .await;
    let client = &gateway.client;
    let mut timeline = Timeline::default();
    timeline.changed(start, [1]);
    let load = Load::start(client, rows);
    for version in 2..=SWAPS + 1 {
        let before = Instant::now();
        gateway.repository.add(&shipped().join(format!("churn/{}", original(version))), &format!("churn/{version}"));
        client.wait_until_serving("churn", &version.to_string()).await;
        timeline.changed(before, [version]);
        load.wait_for_answer_by(version).await;
    }
    let (low, high) = (SWAPS, SWAPS + 1);
    for (change, percent) in (0..SPLITS).zip([10, 1, 0, 50, 100, 5, 99, 0].into_iter().cycle()) {
        let before = Instant::now();
        let weights = format!("{{\"{low}\":{},\"{high}\":{percent}}}", 100 - percent);
        client.put_split("churn", &weights).await.ok();
        timeline
            .changed(before, [(low, 100 - percent), (high, percent)].iter().filter(|arm| arm.1 > 0).map(|arm| arm.0));
        load.wait_for_answer_by(if percent >= 50 { high } else { low }).await;
        assert_eq!(timeline.live.len(), if percent % 100 == 0 { 1 } else { 2 }, "change {change}");
    }
    let samples = load.finish().await;
    check(&samples, &timeline, &expected);
    let swaps = gateway.client.get_admin("/api/v1/models/churn").await.json()["swaps"].as_u64().unwrap();
    assert!(swaps >= SWAPS, "{swaps}");
    gateway.stop().await;
}

fn check(samples: &[Sample], timeline: &Timeline, expected: &[Table; 2]) {
    let mut versions = BTreeSet::new();
    for sample in samples {
        let (version, probabilities) = match &sample.outcome {
            Ok(answer) => answer,
            Err(reason) => panic!("a request of {} failed: {reason}", samples.len()),
        };
        assert!(timeline.allows(sample, *version), "version {version} answered while it was not live");
        let table = if original(*version) == 1 { &expected[0] } else { &expected[1] };
        let wanted = &table.numbers(sample.row)[1..];
        assert_eq!(probabilities.len(), wanted.len());
        for (found, wanted) in probabilities.iter().zip(wanted) {
            assert!((found - wanted).abs() < 1e-4, "version {version}, row {}: {found} for {wanted}", sample.row);
        }
        versions.insert(*version);
    }
    assert_eq!(versions.len() as u64, SWAPS + 1, "every version answered something");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lost_its_share_is_unloaded_after_the_bake_and_can_come_back() {
    let gateway = Gateway::start(Repository::of(&["churn/1", "churn/2"]), |config| {
        config.repository.bake = Duration::from_millis(300);
    })
    .await;
    let client = &gateway.client;
    let rows = held_out("churn");
    client.wait_until_serving("churn", "2").await;
    client.put_split("churn", r#"{"1":100}"#).await.ok();
    until("version 2 is unloaded", async || (client.version("churn", "2").await["state"] == "on_disk").then_some(()))
        .await;
    let refused = client.post("/v2/models/churn/versions/2/infer", rows.infer_body(0..1)).await.refused(404);
    assert!(refused.contains("loaded: 1"), "{refused}");
    send(client.control("DELETE", "/api/v1/models/churn/split")).await.ok();
    client.wait_until_serving("churn", "2").await;
    assert_eq!(infer(client, "/v2/models/churn/versions/2/infer", rows.infer_body(0..2)).await.len(), 2);
    // A version whose files go away serves on, from memory; so does a model that has no files at all any more.
    gateway.repository.remove("churn/2");
    client.wait_until_serving("churn", "1").await;
    gateway.repository.remove("churn/1");
    until("the loss of its files shows", async || {
        client.version("churn", "1").await["reason"]
            .as_str()
            .map(|reason| assert!(reason.contains("memory"), "{reason}"))
    })
    .await;
    client.post("/v2/models/churn/infer", rows.infer_body(0..2)).await.ok();
    gateway.stop().await;
}
