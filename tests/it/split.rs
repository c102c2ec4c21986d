//! A split sends each arm its share: exact at the ends, sticky by routing key, nested while it grows.

use crate::support::client::{Client, send};
use crate::support::gateway::Gateway;
use crate::support::repository::{Repository, held_out};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;
use tidegate::catalog::Entry;
use tidegate::route::{point_of_draw, point_of_key};
use tokio::task::JoinSet;

const SENDERS: usize = 8;

async fn two_versions() -> Gateway {
    Gateway::start(Repository::of(&["churn/1", "churn/2"]), |_config| {}).await
}

/// The version that answers each routing key, asked over HTTP; without a key for empty ones.
async fn versions_of(client: &Client, keys: &[String]) -> Vec<String> {
    let rows = held_out("churn");
    let body = rows.infer_body(0..1);
    let mut senders = JoinSet::new();
    for sender in 0..SENDERS {
        let (client, body) = (client.clone(), body.clone());
        let keys: Vec<(usize, String)> = keys.iter().cloned().enumerate().skip(sender).step_by(SENDERS).collect();
        senders.spawn(async move {
            let mut versions = Vec::new();
            for (index, key) in keys {
                let mut request = client.data("POST", "/v2/models/churn/infer").body(body.clone());
                if !key.is_empty() {
                    request = request.header("tidegate-routing-key", key);
                }
                let answer = send(request).await.ok();
                let version = answer.header("tidegate-model-version").unwrap().to_owned();
                assert_eq!(answer.json()["model_version"], version.as_str());
                versions.push((index, version));
            }
            versions
        });
    }
    let mut versions: Vec<(usize, String)> = senders.join_all().await.concat();
    versions.sort();
    assert_eq!(versions.len(), keys.len());
    versions.into_iter().map(|(_, version)| version).collect()
}

fn share_of_two(versions: &[String]) -> f64 {
    versions.iter().filter(|version| *version == "2").count() as f64 / versions.len() as f64
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_percent_is_ten_percent_over_a_hundred_thousand_requests() {
    let gateway = two_versions().await;
    gateway.client.put_split("churn", r#"{"1":90,"2":10}"#).await.ok();
    let catalog = &gateway.running.gate().catalog;
    let mut random = StdRng::seed_from_u64(10);
    let version_at = |point: u16| catalog.find("churn", |entry: &Entry| entry.pick(point)).unwrap().model.version;
    for (what, points) in [
        ("draws", (0..100_000).map(|_| point_of_draw(random.next_u64())).collect::<Vec<u16>>()),
        ("keys", (0..100_000).map(|user| point_of_key("churn", format!("user-{user}").as_bytes())).collect()),
    ] {
        let share = points.iter().filter(|point| version_at(**point) == 2).count() as f64 / 1000.0;
        assert!((share - 10.0).abs() < 0.3, "{what}: {share} % went to version 2");
    }
    // Over HTTP the gateway draws by itself: 5 standard deviations of 3,000 draws are 2.7 points.
    let versions = versions_of(&gateway.client, &vec![String::new(); 3000]).await;
    let share = 100.0 * share_of_two(&versions);
    assert!((share - 10.0).abs() < 2.74, "{share} % over HTTP");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_routing_key_keeps_its_arm_and_whoever_is_in_stays_in() {
    let gateway = two_versions().await;
    let keys: Vec<String> = (0..800).map(|user| format!("customer {user}")).collect();
    let mut inside: Vec<bool> = vec![false; keys.len()];
    for (percent, rest) in [(1, 99), (5, 95), (50, 50), (75, 25), (100, 0)] {
        gateway.client.put_split("churn", &format!("{{\"1\":{rest},\"2\":{percent}}}")).await.ok();
        let versions = versions_of(&gateway.client, &keys).await;
        if percent <= 5 {
            assert_eq!(versions_of(&gateway.client, &keys).await, versions, "the same keys at {percent} %");
        }
        for (index, version) in versions.iter().enumerate() {
            assert!(version == "2" || !inside[index], "{} was in before {percent} % and is out", keys[index]);
            inside[index] |= version == "2";
        }
        assert!(inside.contains(&true), "nobody of {} is in at {percent} %", keys.len());
        assert!(percent == 100 || inside.contains(&false), "everybody is in at {percent} %");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn zero_and_a_hundred_percent_are_exact_and_arms_are_named() {
    let gateway = two_versions().await;
    let client = &gateway.client;
    for (weights, wanted) in [(r#"{"1":100,"2":0}"#, "1"), (r#"{"1":0,"2":100}"#, "2"), (r#"{"1":100.0}"#, "1")] {
        let shown = client.put_split("churn", weights).await.ok().json();
        assert_eq!(shown["model"], "churn");
        assert!(shown["generation"].as_u64().unwrap() > 0);
        let versions = versions_of(client, &vec![String::new(); 400]).await;
        assert!(versions.iter().all(|version| version == wanted), "{weights}");
    }
    let shown = client.put_split("churn", r#"{"1":87.45,"2":12.55}"#).await.ok().json();
    assert_eq!(shown["weights"], serde_json::json!({ "1": 87.45, "2": 12.55 }));
    let mut arms = BTreeMap::new();
    let body = held_out("churn").infer_body(0..1);
    for _ in 0..200 {
        let answer = client.post("/v2/models/churn/infer", body.clone()).await.ok();
        let version = answer.header("tidegate-model-version").unwrap().to_owned();
        *arms.entry((version, answer.header("tidegate-arm").unwrap().to_owned())).or_insert(0) += 1;
    }
    let names: Vec<(&str, &str)> = arms.keys().map(|(version, arm)| (version.as_str(), arm.as_str())).collect();
    assert_eq!(names, [("1", "stable"), ("2", "canary")], "{arms:?}");
    assert_eq!(client.version("churn", "1").await["weight"], 87.45);
    assert_eq!(client.version("churn", "2").await["arm"], "canary");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_split_is_refused_and_changes_nothing() {
    let gateway = two_versions().await;
    let client = &gateway.client;
    client.put_split("churn", r#"{"1":90,"2":10}"#).await.ok();
    for (weights, parts) in [
        (r#"{"1":90,"2":9}"#, &["100", "99"][..]),
        (r#"{"1":90,"2":10.01}"#, &["100", "100.01"]),
        ("{}", &["at least one"]),
        (r#"{"1":90,"7":10}"#, &["7", "does not exist", "1, 2"]),
        (r#"{"1":99.999,"2":0.001}"#, &["0.01", "99.999"]),
        (r#"{"1":110,"2":-10}"#, &["0 to 100", "110"]),
        (r#"{"one":100}"#, &["one", "whole number"]),
        (r#"{"1":"100"}"#, &["string"]),
        (r#"{"1":null}"#, &["null"]),
        (r#"[100]"#, &["expected"]),
        (r#"{"1":100"#, &["EOF"]),
        (r#"{"1":100},"mode":"fast""#, &["mode"]),
    ] {
        let error = client.put_split("churn", weights).await.refused(400);
        for part in parts {
            assert!(error.contains(part), "{weights}: {part} is not in: {error}");
        }
    }
    assert!(client.put_split("absent", r#"{"1":100}"#).await.refused(404).contains("absent"));
    send(client.control("POST", "/api/v1/models/churn/split").body("{}")).await.refused(405);
    send(client.control("PUT", "/api/v1/models/churn/split").body("x".repeat(70_000))).await.refused(400);
    assert_eq!(client.version("churn", "1").await["weight"], 90.0);
    assert_eq!(client.version("churn", "2").await["weight"], 10.0);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_split_the_highest_version_serves_and_with_one_only_the_named_are_loaded() {
    let repository = Repository::of(&["churn/1", "churn/2"]);
    repository.add(&crate::support::repository::shipped().join("churn/1"), "churn/3");
    let gateway = Gateway::start(repository, |config| {
        let mut settings = config.model("churn");
        settings.split = Some(BTreeMap::from([(1, 7500), (2, 2500)]));
        config.models.insert("churn".to_owned(), settings);
    })
    .await;
    let client = &gateway.client;
    let states = async || {
        let mut states = Vec::new();
        for version in ["1", "2", "3"] {
            let shown = client.version("churn", version).await;
            states.push((shown["state"].as_str().unwrap().to_owned(), shown["weight"].as_f64().unwrap()));
        }
        states
    };
    let state = |name: &str, weight: f64| (name.to_owned(), weight);
    assert_eq!(states().await, [state("loaded", 75.0), state("loaded", 25.0), state("on_disk", 0.0)]);
    let path = "/api/v1/models/churn/split";
    send(client.control("DELETE", path)).await.ok();
    client.wait_until_serving("churn", "3").await;
    client.put_split("churn", r#"{"2":100}"#).await.ok();
    assert_eq!(client.version("churn", "2").await["weight"], 100.0);
    let shown = send(client.control("DELETE", path)).await.ok().json();
    assert_eq!(shown["weights"], serde_json::json!({ "3": 100.0 }));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_names_a_version_gets_it_whatever_the_split() {
    let gateway = two_versions().await;
    let client = &gateway.client;
    client.put_split("churn", r#"{"1":0,"2":100}"#).await.ok();
    let body = held_out("churn").infer_body(0..1);
    for version in ["1", "2"] {
        let answer = client.post(&format!("/v2/models/churn/versions/{version}/infer"), body.clone()).await.ok();
        assert_eq!(answer.header("tidegate-model-version"), Some(version));
        assert_eq!(answer.header("tidegate-arm"), Some("pinned"));
        assert_eq!(answer.json()["model_version"], version);
    }
    for version in ["3", "01x", "latest"] {
        let path = format!("/v2/models/churn/versions/{version}/infer");
        let error = client.post(&path, body.clone()).await.refused(404);
        assert!(error.contains(version) && error.contains("1, 2"), "{error}");
        client.get(&format!("/v2/models/churn/versions/{version}")).await.refused(404);
    }
    gateway.stop().await;
}
