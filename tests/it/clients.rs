//! Clients that people have today work as they are.

use crate::support::gateway::Gateway;
use crate::support::python;
use crate::support::repository::{Repository, shipped};
use crate::support::wait::PATIENCE;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::timeout;

#[tokio::test(flavor = "multi_thread")]
async fn triton_s_http_client_reads_metadata_and_predicts() {
    let python = python::environment();
    let gateway = Gateway::start(Repository::of(&["churn/1", "breast-cancer/1"]), |_config| {}).await;
    let rows = shipped().join("churn/heldout.csv");
    let expected = shipped().join("churn/1/expected.csv");
    let (address, rows, expected) =
        (gateway.client.http.to_string(), rows.to_str().unwrap(), expected.to_str().unwrap());
    let said =
        tokio::task::block_in_place(|| python.run_script("tests/python/triton_client.py", &[&address, rows, expected]));
    assert_eq!(said.trim(), "all as expected");
    gateway.stop().await;
}

/// KServe's client reads a body from every one of these and fails without one.
#[tokio::test(flavor = "multi_thread")]
async fn health_and_metadata_have_bodies_that_parse() {
    let gateway = Gateway::start(Repository::of(&["churn/1"]), |_config| {}).await;
    let client = &gateway.client;
    for (path, wanted) in [
        ("/", json!({ "status": "alive" })),
        ("/v2/health/live", json!({ "live": true })),
        ("/v2/health/ready", json!({ "ready": true })),
        ("/v2/models/churn/ready", json!({ "name": "churn", "ready": true })),
        ("/v2/models/churn/versions/1/ready", json!({ "name": "churn", "ready": true })),
        ("/v1/models", json!({ "models": ["churn"] })),
        ("/v1/models/churn", json!({ "name": "churn", "ready": true })),
        ("/v2", json!({ "name": "tidegate", "version": env!("CARGO_PKG_VERSION"), "extensions": [] })),
    ] {
        let answer = client.get(path).await.ok();
        assert_eq!(answer.header("content-type"), Some("application/json"), "{path}");
        assert_eq!(answer.json(), wanted, "{path}");
    }
    let metadata = client.get("/v2/models/churn").await.ok().json();
    let tensor =
        |name: &str, datatype: &str, shape: &[i64]| json!({ "name": name, "datatype": datatype, "shape": shape });
    assert_eq!(metadata["name"], "churn");
    assert_eq!(metadata["versions"], json!(["1"]));
    assert!(metadata["platform"].as_str().is_some_and(|platform| platform.contains("onnx")), "{metadata}");
    assert_eq!(metadata["inputs"], json!([tensor("features", "FP32", &[-1, 10])]));
    assert_eq!(
        metadata["outputs"],
        json!([tensor("label", "INT64", &[-1]), tensor("probabilities", "FP32", &[-1, 2])])
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_are_echoed_and_outputs_can_be_chosen() {
    let gateway = Gateway::start(Repository::of(&["churn/1"]), |_config| {}).await;
    let client = &gateway.client;
    let body = json!({
        "id": "a \"quoted\" id",
        "inputs": [{ "name": "features", "datatype": "FP32", "shape": [1, 10], "data": [[38.94, 1, 40.22, 29.11, 0, 0, 6.3, 1, 1, 3]] }],
        "outputs": [{ "name": "probabilities" }],
    });
    let request = client.data("POST", "/v2/models/churn/infer").header("x-request-id", "mine").body(body.to_string());
    let answer = crate::support::client::send(request).await.ok();
    assert_eq!(answer.header("x-request-id"), Some("mine"));
    let answer = answer.json();
    assert_eq!(answer["id"], body["id"]);
    let outputs = answer["outputs"].as_array().unwrap();
    assert_eq!(
        (outputs.len(), &outputs[0]["name"], &outputs[0]["shape"]),
        (1, &json!("probabilities"), &json!([1, 2]))
    );
    let unnamed = client.post("/v2/models/churn/infer", body.to_string()).await.ok();
    assert_eq!(unnamed.header("x-request-id").map(str::len), Some(16));
    gateway.stop().await;
}

/// Linux's own limit is 4096, the library's was 128.
#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_connections_at_once_wait_for_their_turn_and_none_has_to_try_again() {
    let gateway = Gateway::start(Repository::of(&["churn/1"]), |config| config.server.max_connections = 1).await;
    let address = gateway.client.http;
    let mut waiting = Vec::new();
    // The client of the tests may hold the one connection; all of these are then established by the system alone.
    for number in 0..500 {
        let connected = timeout(PATIENCE, TcpStream::connect(address)).await;
        waiting.push(connected.unwrap_or_else(|_late| panic!("connection {number} found no place")).unwrap());
    }
    drop(waiting);
    gateway.client.get("/v2/health/live").await.ok();
    gateway.stop().await;
}
