//! What outlives the process: windows and alerts after a restart, and serving on when state cannot be kept.

use crate::support::client::Client;
use crate::support::load::{Customers, Stream};
use crate::support::process::{Process, command};
use crate::support::repository::{Repository, held_out};
use crate::support::wait::until;
use serde_json::Value;
use sqlx::Row;
use sqlx::sqlite::SqlitePool;
use std::fs;
use std::path::Path;
use std::time::SystemTime;

/// One standard deviation of `order_value` in the population.
const SIGMA: f32 = 31.44;
const ORDER_VALUE: usize = 0;

/// A gateway with its state in this directory, a short snapshot interval, and alerts that do not wait.
async fn start(repository: &Repository, state: &Path) -> Process {
    let mut command = command(&["--http", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--models"]);
    command.arg(repository.path()).arg("--state").arg(state);
    command.env("TIDEGATE_SNAPSHOT_INTERVAL", "1s").env("TIDEGATE_DRIFT_PENDING_FOR", "0s");
    Process::start_command(command).await
}

fn order_value(version: &Value) -> &Value {
    let features = version["features"].as_array().unwrap();
    features.iter().find(|column| column["name"] == "order_value").unwrap_or_else(|| panic!("{version}"))
}

fn since_deploy(version: &Value) -> u64 {
    order_value(version)["windows"]["since_deploy"]["samples"].as_u64().unwrap_or_else(|| panic!("{version}"))
}

async fn alerts(client: &Client) -> Vec<Value> {
    client.get_admin("/api/v1/alerts").await.ok().json()["alerts"].as_array().unwrap().clone()
}

async fn firing(client: &Client) -> Value {
    until("the feature's alert fires", async || {
        let all = alerts(client).await;
        all.into_iter().find(|alert| alert["state"] == "firing" && alert["feature"] == "order_value")
    })
    .await
}

/// Rows that the gateway says it has predicted.
async fn rows_served(client: &Client) -> u64 {
    let page = client.get_admin("/metrics").await.ok().text;
    let lines = page.lines().filter(|line| line.starts_with("tidegate_rows_total{"));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

/// Waits until the judge has seen every row.
async fn all_judged(client: &Client) -> Value {
    until("every row is judged", async || {
        let (rows, version) = (rows_served(client).await, client.drift("churn", "1").await);
        (rows > 0 && since_deploy(&version) == rows).then_some(version)
    })
    .await
}

fn unix_milliseconds() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    i64::try_from(now.as_millis()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_and_alert_ids_go_on_after_an_orderly_end() {
    let (repository, state) = (Repository::of(&["churn/1"]), tempfile::tempdir().unwrap());
    let process = start(&repository, state.path()).await;
    let stream = Stream::start(&process.client, 21);
    stream.shift(ORDER_VALUE, SIGMA);
    let before = firing(&process.client).await;
    drop(stream);
    let judged = all_judged(&process.client).await;
    process.stop().await;

    let process = start(&repository, state.path()).await;
    let client = &process.client;
    let version = client.drift("churn", "1").await;
    assert_eq!(since_deploy(&version), since_deploy(&judged));
    let (now, then) = (order_value(&version), order_value(&judged));
    assert_eq!(now["windows"]["24h"], then["windows"]["24h"]);
    assert_eq!((&now["verdict"], &now["alarm_since"]), (&then["verdict"], &then["alarm_since"]));
    assert_eq!(now["verdict"], "drift");
    let after = firing(client).await;
    assert_eq!((&after["id"], &after["started_at"]), (&before["id"], &before["started_at"]));
    // It goes on from there: what is served now is added, and the same incident ends.
    client.post("/v2/models/churn/infer", held_out("churn").infer_body(0..7)).await.ok();
    until("new rows are added to old ones", async || {
        (since_deploy(&client.drift("churn", "1").await) == since_deploy(&judged) + 7).then_some(())
    })
    .await;
    assert_eq!(rows_served(client).await, 7, "counters of the process start anew");
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_loses_no_more_than_one_snapshot_interval() {
    let (repository, state) = (Repository::of(&["churn/1"]), tempfile::tempdir().unwrap());
    let mut process = start(&repository, state.path()).await;
    let mut customers = Customers::new(22);
    customers.shift = Some((ORDER_VALUE, SIGMA));
    // One row of a request is evidence, so that it takes some requests to raise an alarm.
    for _ in 0..150 {
        process.client.post("/v2/models/churn/infer", customers.body(2)).await.ok();
    }
    all_judged(&process.client).await;
    let before = firing(&process.client).await;
    let judged_at = unix_milliseconds();
    let pool = SqlitePool::connect(&format!("sqlite://{}", state.path().join("tidegate.db").display())).await.unwrap();
    until("a snapshot holds all that", async || {
        let row = sqlx::query("SELECT MAX(at) FROM monitor_snapshots").fetch_one(&pool).await.unwrap();
        let at: Option<i64> = row.try_get(0).unwrap();
        at.filter(|at| *at > judged_at)
    })
    .await;
    pool.close().await;
    process.client.post("/v2/models/churn/infer", customers.body(50)).await.ok();
    process.signal("KILL");
    assert!(!process.ended().await.success());

    let process = start(&repository, state.path()).await;
    let restored = since_deploy(&process.client.drift("churn", "1").await);
    assert!((300..=350).contains(&restored), "{restored}");
    assert_eq!(firing(&process.client).await["id"], before["id"]);
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_database_is_put_aside_and_serving_goes_on() {
    let (repository, state) = (Repository::of(&["churn/1"]), tempfile::tempdir().unwrap());
    fs::write(state.path().join("tidegate.db"), "no database at all, but a text. ".repeat(200)).unwrap();
    let process = start(&repository, state.path()).await;
    process.client.post("/v2/models/churn/infer", held_out("churn").infer_body(0..5)).await.ok();
    assert!(process.log().contains("put aside"), "{}", process.log());
    let names: Vec<String> =
        fs::read_dir(state.path()).unwrap().map(|item| item.unwrap().file_name().into_string().unwrap()).collect();
    assert!(names.iter().any(|name| name.starts_with("tidegate.db.corrupt-")), "{names:?}");
    let shown = process.client.get_admin("/api/v1/models").await.ok().json();
    assert_eq!(shown["state"]["persistent"], true, "{shown}");
    all_judged(&process.client).await;
    process.stop().await;
    let process = start(&repository, state.path()).await;
    assert_eq!(since_deploy(&process.client.drift("churn", "1").await), 5, "the new one works");
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_directory_that_cannot_be_made_does_not_stop_serving() {
    let (repository, folder) = (Repository::of(&["churn/1"]), tempfile::tempdir().unwrap());
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let process = start(&repository, &file.join("state")).await;
    let client = &process.client;
    client.post("/v2/models/churn/infer", held_out("churn").infer_body(0..5)).await.ok();
    all_judged(client).await;
    let shown = client.get_admin("/api/v1/models").await.ok().json();
    assert_eq!(shown["state"]["persistent"], false, "{shown}");
    assert!(shown["state"]["reason"].as_str().unwrap().contains("file/state"), "{shown}");
    let page = client.get_admin("/metrics").await.ok().text;
    assert!(page.lines().any(|line| line == "tidegate_state_persistent 0"), "{page}");
    assert!(process.log().contains("state is not kept"), "{}", process.log());
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_window_is_shown_for_every_column() {
    let (repository, state) = (Repository::of(&["churn/1"]), tempfile::tempdir().unwrap());
    let process = start(&repository, state.path()).await;
    process.client.post("/v2/models/churn/infer", Customers::new(23).body(300)).await.ok();
    let version = all_judged(&process.client).await;
    let names = ["1m", "5m", "1h", "24h", "since_deploy", "decayed"];
    for name in names {
        assert!(version["windows"][name].is_object(), "{name}: {version}");
        let window = &order_value(&version)["windows"][name];
        // Decayed counts are a little less than what was counted.
        assert!((299..=300).contains(&window["samples"].as_u64().unwrap()), "{name}: {window}");
        assert!(window["psi"].as_f64().unwrap() < 0.2 && window["tv"].is_number(), "{name}: {window}");
    }
    assert_eq!(version["windows"].as_object().unwrap().len(), names.len());
    assert_eq!(version["windows"]["1h"]["resolution_seconds"], 450.0);
    let tumbling = order_value(&version)["tumbling"].as_object().unwrap();
    assert_eq!(tumbling.keys().collect::<Vec<_>>(), ["1h", "1m", "24h", "5m"]);
    assert_eq!((&version["failed"]["events"], &version["slow"]["trials"]), (&0.into(), &1.into()));
    process.stop().await;
}
