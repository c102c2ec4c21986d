//! What a version must show before it gets traffic, seen from outside: golden answers, quarantine, the repository's
//! index.

use crate::support::client::{Client, send};
use crate::support::gateway::Gateway;
use crate::support::http2::Connection;
use crate::support::process::{Process, command, run};
use crate::support::repository::{Repository, held_out, shipped};
use crate::support::wait::until;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// Golden answers of so many rows: what `answered` is, with the first label as given.
fn golden(request: &str, answered: &Value, label: Option<i64>) -> String {
    let mut response = answered.clone();
    if let Some(label) = label {
        response["outputs"][0]["data"][0] = json!(label);
    }
    json!({"format": 1, "cases": [{"request": serde_json::from_str::<Value>(request).unwrap(), "response": response}]})
        .to_string()
}

/// The index, as a client of Triton asks for it.
async fn index(client: &Client, body: &'static str) -> Vec<Value> {
    let answer = client.post("/v2/repository/index", body).await.ok();
    answer.json().as_array().unwrap().clone()
}

async fn refused(client: &Client, version: &str) -> Value {
    until(&format!("version {version} is refused"), async || {
        let shown = client.version("churn", version).await;
        (shown["state"] == "failed").then_some(shown)
    })
    .await
}

async fn retry(client: &Client, version: &str) -> crate::support::client::Answer {
    send(client.control("POST", &format!("/api/v1/models/churn/versions/{version}/retry"))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_with_a_false_golden_answer_never_serves_and_its_index_says_why() {
    let gateway = Gateway::start(Repository::of(&["churn/1"]), |_config| {}).await;
    let client = &gateway.client;
    let body = held_out("churn").infer_body(0..3);
    let answered = client.post("/v2/models/churn/infer", body.clone()).await.ok().json();
    let good = shipped().join("churn/1");
    gateway.repository.add_with(&good, "churn/2", |staged| {
        fs::write(staged.join("golden.json"), golden(&body, &answered, Some(5))).unwrap();
    });
    let shown = refused(client, "2").await;
    let reason = "golden.json, case 1: output \"label\", value 0: expected 5, found";
    assert!(shown["reason"].as_str().unwrap().starts_with(reason), "{shown}");
    assert_eq!(shown["quarantine"]["digest"].as_str().unwrap().len(), 64, "{shown}");
    let answer = client.post("/v2/models/churn/infer", body.clone()).await.ok();
    assert_eq!(answer.header("tidegate-model-version"), Some("1"));
    assert_eq!(client.version("churn", "1").await["quarantine"], Value::Null);

    let all = index(client, "").await;
    let states: Vec<_> =
        all.iter().map(|row| (row["version"].as_str().unwrap(), row["state"].as_str().unwrap())).collect();
    assert_eq!(states, [("1", "READY"), ("2", "UNAVAILABLE")]);
    assert!(all.iter().all(|row| row["name"] == "churn"), "{all:?}");
    assert!(all[1]["reason"].as_str().unwrap().starts_with(reason), "{all:?}");
    assert_eq!(index(client, r#"{"ready":true}"#).await, all[..1]);
    let error = client.post("/v2/repository/index", "[").await.refused(400);
    assert!(error.contains("{\"ready\":true}"), "{error}");
    client.get("/v2/repository/index").await.refused(405);
    client.post("/v2/repository/index", " ".repeat(5_000)).await.refused(413);
    let http2 = Connection::open(client.http).await;
    let ready = http2.post("/v2/repository/index", r#"{"ready":true}"#).await.ok();
    assert_eq!(ready.json().as_array().unwrap(), &all[..1]);
    http2.post("/v2/repository/index", "[").await.refused(400);

    // With the answers that it gives, the same model serves.
    gateway.repository.add_with(&good, "churn/3", |staged| {
        fs::write(staged.join("golden.json"), golden(&body, &answered, None)).unwrap();
    });
    client.wait_until_serving("churn", "3").await;
    gateway.stop().await;
}

/// A gateway with its state in this directory.
async fn start(repository: &Repository, state: &Path) -> Process {
    let mut command = command(&["--http", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--models"]);
    command.arg(repository.path()).arg("--state").arg(state);
    Process::start_command(command).await
}

#[tokio::test(flavor = "multi_thread")]
async fn quarantine_outlives_the_process_and_ends_when_somebody_asks_for_a_retry() {
    let (repository, state) = (Repository::of(&["churn/1"]), tempfile::tempdir().unwrap());
    repository.add_with(&shipped().join("churn/2"), "churn/2", |staged| {
        fs::write(staged.join("model.onnx"), "no graph").unwrap();
    });
    let process = start(&repository, state.path()).await;
    let first = refused(&process.client, "2").await;
    process.stop().await;

    let process = start(&repository, state.path()).await;
    let client = &process.client;
    let second = refused(client, "2").await;
    assert_eq!((&second["reason"], &second["quarantine"]), (&first["reason"], &first["quarantine"]));
    assert!(process.log().contains("these bytes were refused before and are not loaded again"), "{}", process.log());
    assert_eq!(client.version("churn", "1").await["weight"], 100.0);

    let error = retry(client, "1").await.refused(409);
    assert_eq!(error, "version 1 of model \"churn\" was not refused; refused are: 2");
    retry(client, "two").await.refused(400);
    send(client.control("POST", "/api/v1/models/nobody/versions/1/retry")).await.refused(404);
    send(client.control("GET", "/api/v1/models/churn/versions/2/retry")).await.refused(405);
    let answer = retry(client, "2").await;
    assert_eq!((answer.status, &answer.json()["retrying"]), (202, &json!(true)));
    until("it is refused anew", async || {
        let log = process.log();
        // Once recalled, once by the engine.
        (log.matches("version could not be loaded").count() == 2).then_some(())
    })
    .await;
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_is_warmed_with_its_example_and_an_odd_one_is_passed_over() {
    let gateway = Gateway::start(Repository::of(&["churn/1"]), |_config| {}).await;
    let client = &gateway.client;
    let rows = "[[38.94,1,40.22,29.11,0,0,6.3,1,1,3]]";
    for (version, example) in [("2", format!("{{\"inputs\":{rows}}}")), ("3", "what?".to_owned())] {
        gateway.repository.add_with(&shipped().join("churn/2"), &format!("churn/{version}"), |staged| {
            fs::write(staged.join("serving_input_example.json"), &example).unwrap();
        });
        client.wait_until_serving("churn", version).await;
        let shown = client.version("churn", version).await;
        let warmed_on = if version == "2" { "serving_input_example.json" } else { "rows made up from its profile" };
        assert_eq!((&shown["warnings"], &shown["warmed_on"]), (&json!([]), &json!(warmed_on)));
    }
    gateway.stop().await;
}

#[test]
fn golden_answers_are_written_from_requests_and_held() {
    let directory = tempfile::tempdir().unwrap();
    let (model, rows) = (directory.path().join("1"), directory.path().join("rows.json"));
    fs::create_dir(&model).unwrap();
    fs::copy(shipped().join("churn/1/model.onnx"), model.join("model.onnx")).unwrap();
    let request = held_out("churn").infer_body(0..4);
    let write = |requests: String, more: &[&str]| {
        fs::write(&rows, requests).unwrap();
        let arguments = ["golden", "--model", model.to_str().unwrap(), "--rows", rows.to_str().unwrap()];
        run(command(&[&arguments[..], more].concat()))
    };
    let (status, out, err) = write(format!("[{request},{request}]"), &["--absolute", "0.001"]);
    assert!(status.success() && out.contains("golden.json: 2 cases (run on tract)"), "{out}{err}");
    let golden: Value = serde_json::from_slice(&fs::read(model.join("golden.json")).unwrap()).unwrap();
    assert_eq!((&golden["format"], &golden["tolerance"]), (&json!(1), &json!({"absolute": 0.001, "relative": 0.0})));
    let names: Vec<_> =
        golden["cases"][1]["response"]["outputs"].as_array().unwrap().iter().map(|output| &output["name"]).collect();
    assert_eq!(names, ["label", "probabilities"]);
    let (status, _, err) = write(format!("[{request},7]"), &[]);
    assert!(!status.success() && err.contains("request 2"), "{err}");
    assert!(fs::read_dir(&model).unwrap().count() == 2, "nothing is left over");
}
