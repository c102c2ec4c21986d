//! Drift split by a feature or by a header: the part of the traffic that shifted is found, the rest is left alone, and
//! whatever clients put into a header stays within bounds.

use crate::support::client::{Client, send};
use crate::support::gateway::Gateway;
use crate::support::load::Customers;
use crate::support::repository::Repository;
use crate::support::table::infer_body;
use crate::support::wait::until;
use reqwest::header::HeaderValue;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use tidegate::config::{SegmentSettings, SegmentSource};

const ORDER_VALUE: usize = 0;
const SESSION_MINUTES: usize = 6;
const PLAN: usize = 7;
/// About one standard deviation of `session_minutes`, and of `order_value`.
const MINUTES: f32 = 10.0;
const MONEY: f32 = 31.44;
const INFER: &str = "/v2/models/churn/infer";

async fn gateway(by: SegmentSource, max_values: usize, min_samples: u64) -> Gateway {
    Gateway::start(Repository::of(&["churn/1"]), |config| {
        config.drift.window = Duration::from_secs(3_600);
        config.drift.min_samples = min_samples;
        config.drift.segment = Some(SegmentSettings { by, max_values });
    })
    .await
}

fn feature(name: &str) -> SegmentSource {
    SegmentSource::Feature(name.to_owned())
}

fn header() -> SegmentSource {
    SegmentSource::Header("X-Tenant".to_owned())
}

async fn post(client: &Client, tenant: Option<&[u8]>, body: String) {
    let mut request = client.data("POST", INFER).body(body);
    if let Some(tenant) = tenant {
        request = request.header("x-tenant", HeaderValue::from_bytes(tenant).unwrap());
    }
    send(request).await.ok();
}

/// What `/drift` says once it has seen so many rows.
async fn judged(client: &Client, rows: u64) -> Value {
    until("the judge has seen the rows", async || {
        let version = client.drift("churn", "1").await;
        (version["samples"] == rows).then_some(version)
    })
    .await
}

/// Segments by their text.
fn segments(version: &Value) -> BTreeMap<String, &Value> {
    let segments = version["segments"].as_array().unwrap_or_else(|| panic!("no segments in {version}"));
    segments.iter().map(|segment| (segment["value"].as_str().unwrap().to_owned(), segment)).collect()
}

fn samples(version: &Value) -> BTreeMap<String, u64> {
    segments(version).into_iter().map(|(value, segment)| (value, segment["samples"].as_u64().unwrap())).collect()
}

fn column<'a>(segment: &'a Value, name: &str) -> &'a Value {
    let columns = segment["features"].as_array().unwrap();
    columns.iter().find(|column| column["name"] == name).unwrap_or_else(|| panic!("no {name} in {segment}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shift_of_one_plan_is_found_in_that_plan_alone() {
    let gateway = gateway(feature("plan"), 3, 200).await;
    let client = &gateway.client;
    let (mut customers, mut sent) = (Customers::new(21), BTreeMap::<u8, u64>::new());
    for _ in 0..30 {
        let mut rows: Vec<Vec<f32>> = (0..100).map(|_| customers.row()).collect();
        for row in &mut rows {
            let plan = row[PLAN] as u8;
            *sent.entry(plan).or_default() += 1;
            row[SESSION_MINUTES] += if plan == 0 { MINUTES } else { 0.0 };
        }
        client.post(INFER, infer_body(&rows)).await.ok();
    }
    let version = judged(client, 3_000).await;
    // The three most frequent plans; business is left to the others.
    let expected = [("0", sent[&0]), ("1", sent[&1]), ("2", sent[&2]), ("other", sent[&3])];
    assert_eq!(samples(&version), expected.map(|(plan, rows)| (plan.to_owned(), rows)).into());
    for (value, segment) in segments(&version) {
        let minutes = column(segment, "session_minutes");
        let wanted = if value == "0" { "drift" } else { "ok" };
        assert_eq!(minutes["verdict"], wanted, "{value}: {minutes}");
        assert!((minutes["psi"].as_f64().unwrap() > 0.2) == (value == "0"), "{value}: {minutes}");
        assert_eq!(minutes["samples"], segment["samples"]);
        assert!(["js", "tv", "psi_excess"].iter().all(|distance| minutes[distance].is_f64()), "{minutes}");
        let names = segment["features"].as_array().unwrap().iter().map(|column| column["name"].as_str().unwrap());
        assert!(names.clone().count() == 9 && !names.into_iter().any(|name| name == "plan"), "{segment}");
        assert_eq!(segment["outputs"].as_array().unwrap().len(), 3);
    }
    let page = client.get_admin("/api/v1/models/churn/drift?segment=0").await.ok().json();
    let shown = page["versions"][0]["segments"].as_array().unwrap();
    assert!(shown.len() == 1 && shown[0]["value"] == "0", "{shown:?}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shift_of_one_tenant_is_found_in_that_tenant_alone() {
    let gateway = gateway(header(), 16, 200).await;
    // Two connections, and so both workers.
    let clients = [gateway.client.clone(), Client::new(gateway.client.http, gateway.client.admin)];
    let mut customers = Customers::new(22);
    for round in 0..10 {
        for tenant in [Some(&b"acme"[..]), Some(b"globex"), None] {
            customers.shift = (tenant == Some(b"globex")).then_some((ORDER_VALUE, MONEY));
            post(&clients[round % 2], tenant, customers.body(60)).await;
        }
    }
    let version = judged(&gateway.client, 1_800).await;
    let expected = [("acme", 600), ("globex", 600), ("other", 600)];
    assert_eq!(samples(&version), expected.map(|(tenant, rows)| (tenant.to_owned(), rows)).into());
    for (value, segment) in segments(&version) {
        for column in segment["features"].as_array().unwrap() {
            let shifted = value == "globex" && column["name"] == "order_value";
            assert_eq!(column["verdict"], if shifted { "drift" } else { "ok" }, "{value}: {column}");
        }
        assert_eq!(segment["features"].as_array().unwrap().len(), 10);
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_clients_put_into_a_header_stays_within_bounds() {
    let gateway = gateway(header(), 2, 10).await;
    let client = &gateway.client;
    let mut customers = Customers::new(23);
    let forged = b"a\"} 9 \\n%41\xff\xfe{x=\"y\"}";
    let long = vec![b'x'; 4_000];
    for tenant in [&long[..], b"", &long[..129], forged, b"other", forged] {
        post(client, Some(tenant), customers.body(20)).await;
    }
    for number in 0..100 {
        post(client, Some(format!("tenant-{number}").as_bytes()), customers.body(1)).await;
    }
    let version = judged(client, 220).await;
    let shown = "a%22} 9 %5Cn%2541%FF%FE{x=%22y%22}";
    let expected = [(shown, 40), ("%6Fther", 20), ("other", 160)];
    assert_eq!(samples(&version), expected.map(|(tenant, rows)| (tenant.to_owned(), rows)).into());
    let page = client.get_admin("/metrics").await.ok().text;
    let samples = page.lines().filter(|line| line.starts_with("tidegate_segment_drift_psi{"));
    let mut series: Vec<&str> = samples.map(|line| line.rsplit_once(' ').unwrap().0).collect();
    series.sort_unstable();
    let series_of = |segment: &str| {
        format!(r#"tidegate_segment_drift_psi{{model="churn",version="1",feature="",segment="{segment}"}}"#)
    };
    assert_eq!(series, [series_of("%6Fther"), series_of(shown), series_of("other")]);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_divided_is_judged_undivided() {
    for by in [feature("order_value"), feature("absent"), SegmentSource::Header("authorization".into())] {
        let gateway = gateway(by.clone(), 16, 200).await;
        post(&gateway.client, Some(b"acme"), Customers::new(24).body(300)).await;
        let version = judged(&gateway.client, 300).await;
        assert!(version.get("segments").is_none(), "{by:?}");
        assert_eq!(version["features"][ORDER_VALUE]["verdict"], "ok");
        gateway.stop().await;
    }
}
