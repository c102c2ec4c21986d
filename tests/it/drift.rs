//! Drift and latency are judged in the serving process, and alerts of them fire, say what it is, and resolve.

use crate::support::client::{Client, send};
use crate::support::gateway::{Gateway, settings};
use crate::support::load::{Customers, Stream};
use crate::support::repository::Repository;
use crate::support::sink::{Delivery, Sink};
use crate::support::wait::until;
use serde_json::Value;
use std::time::Duration;
use tidegate::cli::draws::FEATURE_NAMES;
use tidegate::config::{Config, DriftSettings};

/// One standard deviation of `order_value` in the population.
const SIGMA: f32 = 31.44;
const ORDER_VALUE: usize = 0;

async fn gateway_with_sinks(drift: &str, sinks: &[&Sink]) -> Gateway {
    let sinks: String =
        sinks.iter().map(|sink| format!("[[alerts.sinks]]\ntype = \"webhook\"\nurl = \"{}\"\n", sink.url)).collect();
    let given = settings(&format!("[drift]\n{drift}\n{sinks}"));
    Gateway::start(Repository::of(&["churn/1"]), |config| {
        config.drift = given.drift;
        config.alerts = given.alerts;
    })
    .await
}

async fn alerts(client: &Client) -> Vec<Value> {
    client.get_admin("/api/v1/alerts").await.ok().json()["alerts"].as_array().unwrap().clone()
}

fn feature<'a>(version: &'a Value, name: &str) -> &'a Value {
    let columns = ["features", "outputs"].into_iter().flat_map(|side| version[side].as_array().unwrap());
    columns.into_iter().find(|column| column["name"] == name).unwrap_or_else(|| panic!("no {name} in {version}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shifted_feature_drifts_alone_and_its_alert_fires_and_resolves_everywhere() {
    let (steady, failing) = (Sink::start(0).await, Sink::start(2).await);
    let drift = "window = \"3s\"\npending_for = \"2s\"\nresolve_after = \"1s\"";
    let gateway = gateway_with_sinks(drift, &[&steady, &failing]).await;
    let client = &gateway.client;
    let before = client.drift("churn", "1").await;
    assert_eq!(before["verdict"], "not_enough_data", "{before}");
    let stream = Stream::start(client, 11);
    let version = until("unshifted rows are found in order", async || {
        let version = client.drift("churn", "1").await;
        let columns = ["features", "outputs"].into_iter().flat_map(|side| version[side].as_array().unwrap());
        (version["samples"].as_u64().unwrap() >= 600 && columns.into_iter().all(|column| column["verdict"] == "ok"))
            .then_some(version.clone())
    })
    .await;
    assert_eq!(version["verdict"], "ok");
    assert!(alerts(client).await.is_empty());

    stream.shift(ORDER_VALUE, SIGMA);
    let firing =
        until("the alert fires", async || alerts(client).await.into_iter().find(|alert| alert["state"] == "firing"))
            .await;
    check_alert(&firing);
    let version = client.drift("churn", "1").await;
    let drifted = feature(&version, "order_value");
    assert_eq!(drifted["verdict"], "drift");
    assert!(drifted["psi"].as_f64().unwrap() > 0.1 && drifted["ks"].as_f64().unwrap() > 0.1, "{drifted}");
    assert_eq!(version["verdict"], "ok", "one feature of ten is no drift of the version");
    until("both sinks have the alert", async || {
        let took = |sink: &Sink| sink.deliveries().iter().any(|delivery| delivery.status == 200);
        (took(&steady) && took(&failing)).then_some(())
    })
    .await;

    stream.stop_shifting();
    let resolved = until("the alert resolves", async || {
        alerts(client).await.into_iter().find(|alert| alert["state"] == "resolved")
    })
    .await;
    assert_eq!((&resolved["id"], &resolved["feature"]), (&firing["id"], &firing["feature"]));
    assert!(resolved["resolved_at"].as_str().unwrap() > resolved["started_at"].as_str().unwrap(), "{resolved}");
    until("both sinks know that it is over", async || {
        let told = |sink: &Sink| sink.deliveries().last().is_some_and(|delivery| delivery.alert["state"] == "resolved");
        (told(&steady) && told(&failing)).then_some(())
    })
    .await;
    let all = alerts(client).await;
    assert!(all.iter().all(|alert| alert["feature"] == "order_value"), "no other feature drifted: {all:?}");
    check_deliveries(&steady.deliveries(), &firing, &[("firing", 200), ("resolved", 200)]);
    let retried = [("firing", 500), ("firing", 500), ("firing", 200), ("resolved", 200)];
    check_deliveries(&failing.deliveries(), &firing, &retried);
    drop(stream);
    gateway.stop().await;
}

fn check_alert(firing: &Value) {
    for (key, wanted) in
        [("rule", "feature_drift"), ("model", "churn"), ("version", "1"), ("feature", "order_value"), ("window", "3s")]
    {
        assert_eq!(firing[key], wanted, "{firing}");
    }
    assert!(["warning", "critical"].contains(&firing["severity"].as_str().unwrap()), "{firing}");
    assert!((firing["threshold"].as_f64().unwrap() - DriftSettings::default().effect_floor).abs() < 1e-12);
    assert!(firing["value"].as_f64().unwrap() > 0.1 && firing["samples"].as_u64().unwrap() >= 20, "{firing}");
    assert!(firing["started_at"].as_str().unwrap().ends_with('Z') && firing.get("resolved_at").is_none(), "{firing}");
    assert!(firing["summary"].as_str().unwrap().contains("order_value"), "{firing}");
    let alarm = &firing["evidence"]["alarm"];
    assert_eq!(alarm["cause"], "drift");
    assert!(alarm["evidence"].as_f64().unwrap() >= alarm["threshold"].as_f64().unwrap(), "{firing}");
    assert!(alarm["effect_lower"].as_f64().unwrap() > alarm["effect_floor"].as_f64().unwrap(), "{firing}");
}

fn check_deliveries(found: &[Delivery], firing: &Value, wanted: &[(&str, u16)]) {
    let states: Vec<(&str, u16)> =
        found.iter().map(|delivery| (delivery.alert["state"].as_str().unwrap(), delivery.status)).collect();
    assert_eq!(states, wanted);
    for delivery in found {
        assert_eq!(delivery.content_type, "application/json");
        assert_eq!((&delivery.alert["id"], &delivery.alert["feature"]), (&firing["id"], &firing["feature"]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_of_half_of_the_features_or_of_a_critical_one_is_drift_of_the_version() {
    let gateway = Gateway::start(Repository::of(&["churn/1"]), |config| {
        *config = Config {
            server: config.server.clone(),
            repository: config.repository.clone(),
            state: config.state.clone(),
            ..settings(
                "[drift]\nwindow = \"3s\"\npending_for = \"0s\"\n[models.churn.drift]\ncritical = [\"order_value\"]",
            )
        };
    })
    .await;
    let stream = Stream::start(&gateway.client, 12);
    stream.shift(ORDER_VALUE, SIGMA);
    let alert = until("the version's alert fires", async || {
        let alerts = alerts(&gateway.client).await;
        alerts.into_iter().find(|alert| alert["rule"] == "version_drift" && alert["state"] == "firing")
    })
    .await;
    assert_eq!(alert["severity"], "critical");
    assert_eq!(alert["evidence"]["features"], serde_json::json!(["order_value"]));
    assert_eq!(gateway.client.drift("churn", "1").await["verdict"], "drift");
    drop(stream);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_drift_page_has_the_promised_shape() {
    let gateway = gateway_with_sinks("window = \"1h\"", &[]).await;
    let client = &gateway.client;
    client.post("/v2/models/churn/infer", Customers::new(5).body(300)).await.ok();
    let version = until("the judge has looked", async || {
        let version = client.drift("churn", "1").await;
        (version["samples"] == 300).then_some(version)
    })
    .await;
    let page = client.get_admin("/api/v1/models/churn/drift").await.ok().json();
    assert_eq!(page["model"], "churn");
    assert_eq!(page["versions"].as_array().unwrap().len(), 1);
    for (key, wanted) in [("version", "1"), ("arm", "stable"), ("window", "1h"), ("verdict", "ok")] {
        assert_eq!(version[key], wanted, "{version}");
    }
    let names = |side: &str| -> Vec<String> {
        version[side].as_array().unwrap().iter().map(|column| column["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names("features"), FEATURE_NAMES);
    assert_eq!(names("outputs"), ["label", "probabilities_0", "probabilities_1"]);
    for column in ["features", "outputs"].into_iter().flat_map(|side| version[side].as_array().unwrap()) {
        assert_eq!(column["samples"], 300, "{column}");
        assert_eq!(column["verdict"], "ok", "{column}");
        let has_order = !["plan", "region"].contains(&column["name"].as_str().unwrap());
        for distance in ["psi", "js", "tv", "l_infinity", "hellinger", "chi_square", "ks", "wasserstein"] {
            let (value, interval) = (&column[distance], &column["intervals"][distance]);
            let exists = has_order || !["ks", "wasserstein"].contains(&distance);
            assert!(
                value.is_null() != exists && value.as_f64().is_none_or(|value| (0.0..1.0).contains(&value)),
                "{column}"
            );
            assert_eq!(interval.is_object(), exists, "{distance}: {column}");
            let ends = ["low", "high"].map(|end| interval[end].as_f64().unwrap_or_default());
            assert!(0.0 <= ends[0] && ends[0] <= ends[1] && (ends[1] > 0.0) == exists, "{distance}: {column}");
        }
        assert_eq!(column["wasserstein_error"].is_f64(), has_order, "{column}");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_99th_percentile_above_its_limit_is_an_alert_once_there_are_enough_requests() {
    let gateway = Gateway::start(Repository::of(&["churn/1"]), |config| {
        config.latency =
            settings("[latency]\nrule = \"p99\"\np99_limit = \"1us\"\nwindow = \"10m\"\npending_for = \"0s\"\nresolve_after = \"0s\"")
                .latency;
    })
    .await;
    let client = &gateway.client;
    let mut customers = Customers::new(3);
    for _ in 0..999 {
        client.post("/v2/models/churn/infer", customers.body(1)).await.ok();
    }
    until("the judge has seen 999 requests", async || {
        (client.drift("churn", "1").await["samples"] == 999).then_some(())
    })
    .await;
    assert!(!alerts(client).await.iter().any(|alert| alert["rule"] == "latency"), "999 requests are not enough");
    client.post("/v2/models/churn/infer", customers.body(1)).await.ok();
    let alert = until("the latency alert fires", async || {
        alerts(client).await.into_iter().find(|alert| alert["rule"] == "latency" && alert["state"] == "firing")
    })
    .await;
    assert_eq!((&alert["model"], &alert["version"], &alert["samples"]), (&"churn".into(), &"1".into(), &1000.into()));
    assert!((alert["threshold"].as_f64().unwrap() - 1e-6).abs() < 1e-12 && alert["value"].as_f64().unwrap() > 1e-6);
    assert!(alert.get("feature").is_none(), "{alert}");
    // A higher limit takes it back, without a restart.
    {
        let mut next = gateway.next_config.lock().unwrap();
        let config = next.as_mut().unwrap();
        config.models.get_mut("churn").unwrap().latency.p99_limit = Duration::from_secs(3600);
    }
    send(client.control("POST", "/api/v1/reload")).await.ok();
    until("the latency alert resolves", async || {
        let alerts = alerts(client).await;
        alerts.iter().any(|found| found["id"] == alert["id"] && found["state"] == "resolved").then_some(())
    })
    .await;
    gateway.stop().await;
}
