//! Calls that take long are made away from the workers: others are answered meanwhile, what cannot be answered in time is
//! refused, and every answer is the caller's own.

use crate::answers::check_version;
use crate::support::client::{Answer, send};
use crate::support::gateway::Gateway;
use crate::support::python::environment;
use crate::support::repository::{Repository, held_out, shipped};
use std::time::Duration;
use tidegate::config::ExecutionSettings;

/// Long calls get what other tests leave of the machine, which may be little.
const PATIENCE: Duration = Duration::from_secs(900);
/// Values of a row of the slow model.
const SIZE: usize = 256;

/// The shipped versions, and beside them a model whose calls take some tens of milliseconds.
fn with_slow_model(versions: &[&str]) -> Repository {
    let repository = Repository::of(versions);
    let staged = tempfile::tempdir().unwrap();
    let path = staged.path().join("model.onnx");
    environment().run_script("tests/python/slow_model.py", &[path.to_str().unwrap(), &SIZE.to_string(), "200"]);
    repository.add(staged.path(), "slow/1");
    repository
}

/// A request of one row, all of whose values are `value`.
fn body_of(value: f32) -> String {
    let values = vec![value.to_string(); SIZE].join(",");
    format!(r#"{{"inputs":[{{"name":"x","datatype":"FP32","shape":[1,{SIZE}],"data":[{values}]}}]}}"#)
}

fn sum_in(answer: &Answer) -> f64 {
    answer.json()["outputs"][0]["data"][0].as_f64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_shipped_model_answers_the_same_away_from_the_workers() {
    let gateway = Gateway::start(Repository::of(&["churn/1", "breast-cancer/2", "digits/1"]), |config| {
        config.execution =
            ExecutionSettings { inline_limit: Duration::ZERO, timeout: PATIENCE, ..ExecutionSettings::default() };
    })
    .await;
    for (model, version) in [("churn", "1"), ("breast-cancer", "2"), ("digits", "1")] {
        check_version(&gateway.client, &shipped(), (model, version), "tract").await;
    }
    let page = gateway.client.get_admin("/metrics").await.ok().text;
    let waited = page
        .lines()
        .find(|line| line.starts_with("tidegate_request_duration_seconds_count") && line.contains(r#"phase="queue""#));
    let count: u64 = waited.and_then(|line| line.rsplit(' ').next()).unwrap().parse().unwrap();
    assert!(count > 0, "{waited:?}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn short_requests_are_answered_while_long_ones_run_and_those_that_are_too_many_are_refused() {
    let repository = tokio::task::block_in_place(|| with_slow_model(&["churn/1"]));
    let gateway = Gateway::start(repository, |config| {
        config.server.workers = Some(1);
        config.execution =
            ExecutionSettings { instances: Some(1), queue: 6, timeout: PATIENCE, ..ExecutionSettings::default() };
    })
    .await;
    let client = &gateway.client;
    let mut long = tokio::task::JoinSet::new();
    for index in 0..16_u8 {
        let request = client.data("POST", "/v2/models/slow/infer").body(body_of(f32::from(index)));
        long.spawn(async move { (index, send(request).await) });
    }
    let (mut short, mut answers) = (0, Vec::new());
    while answers.len() < 16 {
        client.post("/v2/models/churn/infer", held_out("churn").infer_body(short..short + 1)).await.ok();
        short += 1;
        while let Some(answer) = long.try_join_next() {
            answers.push(answer.unwrap());
        }
    }
    assert!(short >= 3, "{short} short requests were answered while the long ones ran");
    let (mut answered, mut refused) = (0, 0);
    for (index, answer) in answers {
        if answer.status == 200 {
            assert!((sum_in(&answer) - f64::from(index) * SIZE as f64).abs() < 1e-3, "{index}: {}", answer.text);
            answered += 1;
        } else {
            let text = answer.refused(429);
            assert!(text.contains("more requests than it can answer"), "{text}");
            assert!(answer.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
            refused += 1;
        }
    }
    // Six wait at least, whenever the first is taken from the queue; as they are worked off there is room for more.
    assert!(answered >= 6 && answered + refused == 16, "{answered} answered, {refused} refused");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_cannot_be_answered_in_its_time_is_told_so() {
    let repository = tokio::task::block_in_place(|| with_slow_model(&[]));
    let gateway = Gateway::start(repository, |config| config.execution.timeout = PATIENCE).await;
    let with_time = |time: &str| {
        let request = gateway.client.data("POST", "/v2/models/slow/infer").header("tidegate-timeout", time);
        send(request.body(body_of(1.0)))
    };
    // A call has been measured, so that it is known beforehand.
    let answer = with_time("1ms").await;
    assert!(answer.refused(429).contains("more requests than it can answer"));
    with_time("10m").await.ok();
    assert!(with_time("soon").await.refused(400).contains("tidegate-timeout"));
    let parameters = format!(r#"{{"parameters":{{"timeout":1000}},{}"#, &body_of(1.0)[1..]);
    gateway.client.post("/v2/models/slow/infer", parameters).await.refused(429);
    gateway.stop().await;
}
