//! Calls that take long are made away from the workers: others are answered meanwhile, what cannot be answered in time is
//! refused, and every answer is the caller's own.

use crate::answers::check_version;
use crate::support::client::{Answer, send};
use crate::support::gateway::Gateway;
use crate::support::python::environment;
use crate::support::repository::{Repository, age, held_out, shipped};
use serde_json::json;
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

#[tokio::test(flavor = "multi_thread")]
async fn calls_on_a_worker_take_turns_and_those_that_would_be_late_are_refused() {
    let repository = tokio::task::block_in_place(|| with_slow_model(&[]));
    let gateway = Gateway::start(repository, |config| {
        config.server.workers = Some(1);
        config.execution = ExecutionSettings { inline_limit: PATIENCE, timeout: PATIENCE, ..Default::default() };
    })
    .await;
    let shown = gateway.client.version("slow", "1").await;
    assert_eq!(shown["execution"]["place"], "inline", "{shown}");
    let call = shown["execution"]["call_seconds"].as_f64().unwrap();
    // No time was named: all of them have time enough.
    assert_eq!(send_together(&gateway, None).await, [12, 0, 0]);
    // Time for one call, and for hardly more.
    let time = format!("{}us", (call * 1.2e6).round());
    let mut counts = [0; 3];
    while counts[1] == 0 {
        let [answered, refused, late] = send_together(&gateway, Some(&time)).await;
        counts = [counts[0] + answered, counts[1] + refused, counts[2] + late];
    }
    let hopeless = gateway.client.data("POST", "/v2/models/slow/infer").header("tidegate-timeout", "1us");
    send(hopeless.body(body_of(1.0))).await.refused(429);
    let page = gateway.client.get_admin("/metrics").await.ok().text;
    let refused = format!(r#"code="429"}} {}"#, counts[1] + 1);
    assert!(page.lines().any(|line| line.starts_with("tidegate_requests_total") && line.ends_with(&refused)), "{page}");
    assert!(page.contains(r#"tidegate_queue_length{model="slow",version="1"} 0"#), "{page}");
    gateway.stop().await;
}

/// Sends twelve requests at once, and counts those that were answered, with their own sums, refused, and late.
async fn send_together(gateway: &Gateway, time: Option<&str>) -> [usize; 3] {
    let mut sent = tokio::task::JoinSet::new();
    for index in 0..12_u8 {
        let mut request = gateway.client.data("POST", "/v2/models/slow/infer").body(body_of(f32::from(index)));
        if let Some(time) = time {
            request = request.header("tidegate-timeout", time);
        }
        sent.spawn(async move { (index, send(request).await) });
    }
    let mut counts = [0; 3];
    for (index, answer) in sent.join_all().await {
        match answer.status {
            200 => {
                assert!((sum_in(&answer) - f64::from(index) * SIZE as f64).abs() < 1e-3, "{index}: {}", answer.text);
                counts[0] += 1;
            }
            504 => counts[2] += 1,
            _ => {
                answer.refused(429);
                assert!(answer.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
                counts[1] += 1;
            }
        }
    }
    counts
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_of_triton_says_how_its_model_runs_and_the_settings_overrule_it() {
    let repository = tokio::task::block_in_place(|| with_slow_model(&[]));
    let text = "max_batch_size: 4\ndynamic_batching { max_queue_delay_microseconds: 200 preserve_ordering: true }\n\
                instance_group [{ count: 3 kind: KIND_GPU }]\n";
    let path = repository.path().join("slow/config.pbtxt");
    std::fs::write(&path, text).unwrap();
    age(&path);
    let gateway = Gateway::start(repository, |config| {
        config.execution = ExecutionSettings { timeout: PATIENCE, ..ExecutionSettings::default() };
        let mut slow = config.model("slow");
        slow.execution.instances = Some(2);
        config.models.insert("slow".to_owned(), slow);
    })
    .await;
    let shown = gateway.client.get_admin("/api/v1/models/slow").await.ok().json();
    let not_used = ["dynamic_batching.preserve_ordering", "instance_group.kind KIND_GPU (runs on the CPU)"];
    assert_eq!(shown["config_not_used"], json!(not_used));
    let execution = &shown["versions"][0]["execution"];
    assert_eq!((&execution["place"], &execution["from_values"]), (&json!("executor"), &json!(0)));
    assert_eq!((&execution["max_batch"], &execution["batch_delay_seconds"]), (&json!(4), &json!(0.0002)));
    assert_eq!((&execution["instances"], &execution["queue"]), (&json!(2), &json!(256)));
    // Requests that are together are answered apart.
    assert_eq!(send_together(&gateway, None).await, [12, 0, 0]);
    gateway.stop().await;
}
