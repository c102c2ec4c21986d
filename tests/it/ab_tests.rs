//! A/B tests end to end: the effect is the difference of what the two versions answered, and nothing moves.

use crate::rollout_command::{rollout, words};
use crate::rollouts::{entries, in_phase, order, shown};
use crate::support::client::{Answer, Client, send};
use crate::support::gateway::Gateway;
use crate::support::load::Customers;
use crate::support::repository::Repository;
use crate::support::table::infer_body;
use crate::support::wait::until;
use serde_json::Value;

/// Customers who ask once each.
const CUSTOMERS: usize = 600;
/// How far a mean that the gateway made may be from one that was made here, of as many numbers.
const ROUNDING: f64 = 1e-9;

/// The probabilities of the second class in an answer, as the single precision numbers that they are.
fn scores(answer: &Answer) -> Vec<f64> {
    let answer = answer.json();
    let outputs = answer["outputs"].as_array().unwrap();
    let probabilities = outputs.iter().find(|output| output["name"] == "probabilities").unwrap();
    let numbers = probabilities["data"].as_array().unwrap().chunks(2);
    numbers.map(|pair| f64::from(pair[1].as_f64().unwrap() as f32)).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The mean score of a version on rows, of requests that name it, which are in no test.
async fn mean_of(client: &Client, version: u64, rows: &[Vec<f32>]) -> f64 {
    let path = format!("/v2/models/churn/versions/{version}/infer");
    mean(&scores(&client.post(&path, infer_body(rows)).await.ok()))
}

/// A test of version 1 against version 2 that asks for the mean score.
async fn begun() -> Gateway {
    let gateway = Gateway::start(Repository::of(&["churn/1", "churn/2"]), |_config| {}).await;
    let client = &gateway.client;
    client.wait_until_serving("churn", "2").await;
    let body = r#"{"version": 1, "test": {"weight": 50, "question": "output/probabilities_1"}}"#;
    order(client, "start", body).await.ok();
    in_phase(client, "testing").await;
    until("half of the traffic goes to version 1", async || {
        (client.version("churn", "1").await["weight"] == 50.0).then_some(())
    })
    .await;
    gateway
}

#[tokio::test(flavor = "multi_thread")]
async fn the_effect_on_an_output_is_the_difference_of_the_mean_scores_of_the_two_versions() {
    let gateway = begun().await;
    let (client, mut customers) = (&gateway.client, Customers::new(11));
    let rows: Vec<Vec<f32>> = (0..CUSTOMERS).map(|_| customers.row()).collect();
    let mut answered = [Vec::new(), Vec::new()];
    for (customer, row) in rows.iter().enumerate() {
        let request = client.data("POST", "/v2/models/churn/infer").body(infer_body(std::slice::from_ref(row)));
        // By the key a customer's version is the same in every run.
        let answer = send(request.header("tidegate-routing-key", format!("customer {customer}"))).await.ok();
        let is_stable = answer.header("tidegate-model-version") == Some("2");
        answered[usize::from(is_stable)].extend(scores(&answer));
    }
    let truth = mean_of(client, 1, &rows).await - mean_of(client, 2, &rows).await;
    let [canary, stable] = answered;
    let test = until("all of them are counted", async || {
        let test = shown(client).await?["test"].clone();
        let counted = test["canary"].as_u64()? + test["stable"].as_u64()?;
        (counted == CUSTOMERS as u64).then_some(test)
    })
    .await;
    assert_eq!(test["unit"], "mean of output/probabilities_1");
    for (arm, scores) in [(&test["canary_arm"], &canary), (&test["stable_arm"], &stable)] {
        assert_eq!(arm["values"], scores.len());
        assert!((arm["mean"].as_f64().unwrap() - mean(scores)).abs() < ROUNDING, "{test:#}");
    }
    let number = |value: &Value| value.as_f64().unwrap();
    let effect = &test["effect"];
    let (value, low, high) =
        (number(&effect["value"]), number(&effect["interval"]["low"]), number(&effect["interval"]["high"]));
    println!("{value} ({low} to {high}) of {} and {} customers; of all rows {truth}", canary.len(), stable.len());
    assert!((value - (mean(&canary) - mean(&stable))).abs() < ROUNDING, "{value}, of the answers themselves other");
    assert!(low < truth && truth < high, "{truth} is not in {effect:#}");
    assert_eq!(shown(client).await.unwrap()["progress"], Value::Null, "nothing moves a test");

    let (code, out, _) = rollout(words(&["show", "churn", "--admin", &client.admin.to_string()]), &[]).await;
    assert!(code == Some(0) && out.contains("test       mean of output/probabilities_1: difference "), "{out}");
    assert!(out.contains(&format!("of {} values in {} requests", canary.len(), canary.len())), "{out}");
    order(client, "abort", "").await.ok();
    in_phase(client, "rolled_back").await;
    assert!(!entries(client).await.iter().any(|(kind, _)| kind == "decision"), "a test decides nothing");
    gateway.stop().await;
}
