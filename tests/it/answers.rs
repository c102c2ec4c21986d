//! Every shipped version answers every held-out row as scikit-learn does, over both protocols and on both engines.
//!
//! `expected.csv` holds scikit-learn's own answers in double precision. Probabilities may differ by 1e-4, a regression
//! by 1e-4 of its size, labels not at all.

use crate::support::client::Client;
use crate::support::gateway::Gateway;
use crate::support::process::Process;
use crate::support::python;
use crate::support::repository::{Repository, shipped, versions_in};
use crate::support::table::Table;
use serde_json::Value;
use std::path::Path;

const TOLERANCE: f64 = 1e-4;
/// Rows that are also sent alone.
const SINGLE_ROWS: usize = 20;
/// Rows of a large batch.
const BATCH_ROWS: usize = 64;

/// What the gateway answered to some rows: per row the label, if any, and the numbers.
type Predictions = Vec<(Option<i64>, Vec<f64>)>;

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_engine_answers_as_scikit_learn_does() {
    let versions: Vec<(String, String)> =
        versions_in(&shipped()).into_iter().filter(|(model, _)| model != "diabetes").collect();
    assert!(versions.len() >= 5, "{versions:?}");
    let names: Vec<String> = versions.iter().map(|(model, version)| format!("{model}/{version}")).collect();
    let repository = Repository::of(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let gateway = Gateway::start(repository, |_config| {}).await;
    for (model, version) in &versions {
        check_version(&gateway.client, &shipped(), (model, version), "tract").await;
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn onnx_runtime_answers_as_scikit_learn_does() {
    let library = crate::support::library::onnxruntime(python::environment());
    let arguments =
        ["--onnxruntime", library.to_str().unwrap(), "--models", shipped().to_str().unwrap()].map(String::from);
    let process = Process::start(&arguments.each_ref().map(String::as_str)).await;
    let versions = versions_in(&shipped());
    assert!(versions.iter().any(|(model, _)| model == "diabetes"), "{versions:?}");
    for (model, version) in &versions {
        check_version(&process.client, &shipped(), (model, version), "onnxruntime").await;
    }
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_no_engine_here_runs_is_reported_by_name_and_the_others_serve() {
    let gateway = Gateway::start(Repository::of(&["diabetes/1", "churn/1"]), |_config| {}).await;
    let client = &gateway.client;
    let shown = client.version("diabetes", "1").await;
    assert_eq!(shown["state"], "failed");
    let reason = shown["reason"].as_str().unwrap();
    for part in ["TreeEnsembleRegressor", "Scaler", "ONNX Runtime"] {
        assert!(reason.contains(part), "{part} is not in: {reason}");
    }
    let rows = crate::support::repository::held_out("diabetes");
    for (path, body) in
        [("/v2/models/diabetes/infer", rows.infer_body(0..1)), ("/v1/models/diabetes:predict", rows.predict_body(0..1))]
    {
        let error = client.post(path, body).await.refused(503);
        assert!(error.contains("diabetes") && error.contains("TreeEnsembleRegressor"), "{error}");
    }
    assert_eq!(client.get("/v2/models/diabetes/ready").await.status, 503);
    assert_eq!(client.get("/v2/models/churn/ready").await.status, 200);
    let churn = crate::support::repository::held_out("churn");
    client.post("/v2/models/churn/infer", churn.infer_body(0..3)).await.ok();
    gateway.stop().await;
}

/// Compares a version's answers over both protocols, in batches and alone, with `expected.csv` in `repository`.
pub(crate) async fn check_version(client: &Client, repository: &Path, (model, version): (&str, &str), engine: &str) {
    let rows = Table::read(&repository.join(model).join("heldout.csv"));
    let expected = Table::read(&repository.join(model).join(version).join("expected.csv"));
    assert_eq!(rows.rows.len(), expected.rows.len(), "{model}");
    client.put_split(model, &format!("{{\"{version}\":100}}")).await.ok();
    assert_eq!(client.version(model, version).await["engine"], engine, "{model} {version}");
    let named = format!("/v2/models/{model}/versions/{version}/infer");
    let unnamed = format!("/v2/models/{model}/infer");
    let v1 = format!("/v1/models/{model}:predict");
    let count = rows.rows.len();
    let mut checked = 0;
    for start in (0..count).step_by(BATCH_ROWS) {
        let batch = start..count.min(start + BATCH_ROWS);
        let answers = [
            infer(client, &named, rows.infer_body(batch.clone())).await,
            infer(client, &unnamed, rows.infer_body(batch.clone())).await,
            predict(client, &v1, rows.predict_body(batch.clone())).await,
        ];
        for predictions in answers {
            assert_eq!(predictions.len(), batch.len(), "{model} {version}");
            for (row, prediction) in batch.clone().zip(&predictions) {
                compare(&expected, row, prediction, &format!("{model} {version} on {engine}, row {row} in a batch"));
                checked += 1;
            }
        }
    }
    assert_eq!(checked, 3 * count);
    for row in 0..SINGLE_ROWS.min(count) {
        let alone = [
            infer(client, &unnamed, rows.infer_body(row..row + 1)).await,
            predict(client, &v1, rows.predict_body(row..row + 1)).await,
        ];
        for predictions in alone {
            assert_eq!(predictions.len(), 1);
            compare(&expected, row, &predictions[0], &format!("{model} {version} on {engine}, row {row} alone"));
        }
    }
}

fn compare(expected: &Table, row: usize, (label, numbers): &(Option<i64>, Vec<f64>), what: &str) {
    let mut wanted = expected.numbers(row);
    if expected.names[0] == "label" {
        let wanted_label: i64 = expected.rows[row][0].parse().unwrap();
        assert_eq!(*label, Some(wanted_label), "{what}");
        wanted.remove(0);
        assert_eq!(numbers.len(), wanted.len(), "{what}");
        for (found, wanted) in numbers.iter().zip(&wanted) {
            assert!((found - wanted).abs() <= TOLERANCE, "{what}: probability {found}, scikit-learn {wanted}");
        }
    } else {
        assert_eq!((*label, numbers.len()), (None, 1), "{what}");
        let (found, wanted) = (numbers[0], wanted[0]);
        assert!((found / wanted - 1.0).abs() <= TOLERANCE, "{what}: value {found}, scikit-learn {wanted}");
    }
}

/// Sends a body of the Open Inference Protocol and puts the answer's tensors together by row.
pub(crate) async fn infer(client: &Client, path: &str, body: String) -> Predictions {
    let answer = client.post(path, body).await.ok().json();
    let outputs = answer["outputs"].as_array().unwrap();
    let rows = usize::try_from(outputs[0]["shape"][0].as_u64().unwrap()).unwrap();
    let mut predictions = vec![(None, Vec::new()); rows];
    for output in outputs {
        let data = output["data"].as_array().unwrap();
        assert_eq!(data.len() % rows, 0, "{output}");
        for (index, value) in data.iter().enumerate() {
            let (label, numbers): &mut (Option<i64>, Vec<f64>) = &mut predictions[index / (data.len() / rows)];
            if output["datatype"] == "INT64" {
                *label = Some(value.as_i64().unwrap());
            } else {
                numbers.push(value.as_f64().unwrap());
            }
        }
    }
    predictions
}

/// Sends a body of KServe V1.
async fn predict(client: &Client, path: &str, body: String) -> Predictions {
    let answer = client.post(path, body).await.ok().json();
    let numbers = |row: &Value| row.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect();
    let rows = answer["predictions"].as_array().unwrap();
    rows.iter()
        .map(|row| match row {
            Value::Object(row) => (row["label"].as_i64(), numbers(&row["probabilities"])),
            row => (None, numbers(row)),
        })
        .collect()
}
