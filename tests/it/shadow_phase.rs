//! The shadow phase of a rollout, end to end: a version answers copies before it answers anybody, and one that must not
//! answer anybody never does.

use crate::rollouts::{Traffic, add_like_one, entries, in_phase, started, with_other_scores};
use crate::support::gateway::Gateway;
use crate::support::wait::until;
use serde_json::Value;

const PLAN: &str = "rollout = { shadow = { share = 100, min_time = \"200ms\", min_samples = 60, max_disagreement = 0.01 }, \
                    steps = [20], min_time = \"10m\", max_time = \"1h\" }";

/// The phases that a journal has, in order, with the target's share.
fn moves(entries: &[(String, Value)]) -> Vec<(&str, u64)> {
    let moves = entries.iter().filter(|(kind, _)| kind == "moved");
    moves.map(|(_, says)| (says["to"]["name"].as_str().unwrap(), says["weight"].as_u64().unwrap())).collect()
}

/// The decision that was made on copies.
fn decision(entries: &[(String, Value)]) -> &Value {
    let made = entries.iter().filter(|(kind, says)| kind == "decision" && says["subject"] == "shadow");
    let made: Vec<&Value> = made.map(|(_, says)| says).collect();
    assert_eq!(made.len(), 1, "{made:?}");
    made[0]
}

async fn versions_answered(gateway: &Gateway) -> Vec<String> {
    let page = gateway.client.get_admin("/metrics").await.ok().text;
    let requests = page.lines().filter(|line| line.starts_with("tidegate_requests_total{model=\"churn\""));
    let versions = requests.filter_map(|line| line.split("version=\"").nth(1)?.split('"').next());
    versions.map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_says_the_same_on_copies_gets_its_first_share() {
    let gateway = started(PLAN).await;
    let client = gateway.client.clone();
    let traffic = Traffic::start(&client);
    add_like_one(&gateway, "churn/2", |_bytes| {});
    let shown = in_phase(&client, "canary").await;
    drop(traffic);
    let shadow = &shown["shadow"];
    assert!(shadow["compared"].as_u64().is_some_and(|compared| compared >= 60), "{shown:#}");
    assert_eq!((&shadow["failed"], &shadow["label_agreement"]), (&0.into(), &1.0.into()), "{shown:#}");
    assert_eq!(shadow["largest_difference"], 0.0);
    // Each decision was made again and came to the same.
    let entries = entries(&client).await;
    let moves = moves(&entries);
    assert!(moves.contains(&("shadow", 0)) && moves.last() == Some(&("canary", 2_000)), "{moves:?}");
    let decided = decision(&entries);
    assert_eq!(decided["judgement"]["verdict"], "pass", "{decided:#}");
    assert!(decided["copies"]["counts"]["compared"].as_u64().is_some_and(|compared| compared >= 60), "{decided:#}");
    // The mirror went with its phase.
    until("no request is copied any more", async || {
        let catalog = &gateway.running.gate().catalog;
        let copied =
            catalog.find("churn", |entry| Ok(entry.serving.as_ref().is_some_and(|serving| serving.mirror.is_some())));
        (!copied.unwrap()).then_some(())
    })
    .await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_says_something_else_on_copies_never_answers_anybody() {
    let gateway = started(PLAN).await;
    let client = gateway.client.clone();
    let traffic = Traffic::start(&client);
    add_like_one(&gateway, "churn/2", with_other_scores);
    let shown = in_phase(&client, "rolled_back").await;
    let reason = shown["reason"].as_str().unwrap();
    assert!(reason.starts_with("shadow/labels: copies whose label is another: "), "{shown:#}");
    let entries = entries(&client).await;
    let moves = moves(&entries);
    assert!(moves.iter().all(|(_, weight)| *weight == 0) && moves.contains(&("shadow", 0)), "{moves:?}");
    assert_eq!(decision(&entries)["judgement"]["verdict"], "fail");
    let answered = versions_answered(&gateway).await;
    assert!(answered.contains(&"1".to_owned()) && !answered.contains(&"2".to_owned()), "{answered:?}");
    drop(traffic);
    gateway.stop().await;
}
