//! What is wrong with data is counted exactly, value by value and request by request, and none of it leaks into anything
//! else.

use crate::support::gateway::Gateway;
use crate::support::load::Customers;
use crate::support::repository::Repository;
use crate::support::table::infer_body;
use crate::support::wait::until;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

const INFER: &str = "/v2/models/churn/infer";
const REGION: usize = 9;

async fn gateway() -> Gateway {
    Gateway::start(Repository::of(&["churn/1"]), |config| {
        config.drift.window = Duration::from_secs(3_600);
        config.drift.min_samples = 100;
    })
    .await
}

/// What the page says of columns that no longer vary, by name.
fn constant_series(page: &str) -> BTreeMap<&str, &str> {
    let series = page.lines().filter_map(|line| line.strip_prefix("tidegate_feature_constant{model=\"churn\","));
    let series = series.map(|line| line.strip_prefix("version=\"1\",feature=\"").unwrap());
    series.map(|line| line.split_once("\"} ").unwrap()).collect()
}

fn column<'a>(version: &'a Value, side: &str, name: &str) -> &'a Value {
    let columns = version[side].as_array().unwrap();
    columns.iter().find(|column| column["name"] == name).unwrap_or_else(|| panic!("no {name} in {version}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn defects_of_the_window_are_shown_as_shares_and_counts() {
    let gateway = gateway().await;
    let (client, mut customers) = (&gateway.client, Customers::new(31));
    // One region for everybody; the other columns as they are.
    let mut rows: Vec<Vec<String>> = (0..98).map(|_| customers.row().iter().map(f32::to_string).collect()).collect();
    rows.iter_mut().for_each(|row| row[REGION] = "0".into());
    rows.push(["null", "1e9", "1", "1", "1", "0", "1", "77", "1", "0"].map(str::to_owned).into());
    rows.push(["null", "1", "-5", "1", "1", "0", "1", "78", "1", "0"].map(str::to_owned).into());
    client.post(INFER, infer_body(&rows)).await.ok();
    let version = until("the judge has seen the rows", async || {
        let version = client.drift("churn", "1").await;
        (version["samples"] == 100).then_some(version)
    })
    .await;
    let quality = |name: &str| column(&version, "features", name)["quality"].clone();
    let share = |name: &str, kind: &str| quality(name)[kind].as_f64().map(|share| (share * 1e6).round() / 1e6);
    assert_eq!((share("order_value", "missing"), share("purchase_frequency", "above_range")), (Some(0.02), Some(0.01)));
    assert_eq!((share("days_since_login", "below_range"), share("plan", "unseen_category")), (Some(0.01), Some(0.02)));
    assert_eq!((share("plan", "below_range"), share("order_value", "unseen_category")), (None, None));
    assert_eq!(
        quality("plan")["counts"],
        json!({ "missing": 0, "infinite": 0, "below_range": null, "above_range": null, "unseen_category": 2 })
    );
    let columns = version["features"].as_array().unwrap();
    let constant = columns.iter().filter(|column| column["quality"]["constant"] == true);
    assert_eq!(constant.map(|column| &column["name"]).collect::<Vec<_>>(), ["region"]);
    for output in version["outputs"].as_array().unwrap() {
        assert_eq!(output["quality"]["samples"], 100, "{output}");
        assert!(output["quality"]["missing"].is_f64() && output["quality"]["constant"].is_boolean(), "{output}");
    }
    let page = client.get_admin("/metrics").await.ok().text;
    let exported = constant_series(&page);
    assert_eq!(exported.len(), 13, "every feature and output: {exported:?}");
    let constant = exported.iter().filter(|(_, value)| **value == "1");
    assert_eq!(constant.map(|(name, _)| *name).collect::<Vec<_>>(), ["region"]);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_do_not_fit_are_counted_by_kind_and_nowhere_else() {
    let gateway = gateway().await;
    let (client, mut customers) = (&gateway.client, Customers::new(32));
    client.post(INFER, customers.body(50)).await.ok();
    let input = |shape: &str, datatype: &str, data: &str| {
        format!(r#"{{"inputs":[{{"name":"features","datatype":"{datatype}","shape":{shape},"data":[{data}]}}]}}"#)
    };
    let ten = "1,1,1,1,1,0,1,1,1,0";
    let refused = [
        input("[1,9]", "FP32", "1,1,1,1,1,0,1,1,1"),
        input("[2,10]", "FP32", ten),
        input("[1,10]", "INT64", ten),
        input("[1,10]", "FP32", &ten[1..]),
        "{".to_owned(),
        input("[1,10]", "FP32", ten).replace("features", "absent"),
    ];
    for body in refused {
        client.post(INFER, body).await.refused(400);
    }
    let version = until("the judge has seen the refusals", async || {
        let version = client.drift("churn", "1").await;
        (version["refused"]["events"] == 6).then_some(version)
    })
    .await;
    assert_eq!((&version["refused"]["trials"], &version["samples"]), (&json!(7), &json!(50)));
    let columns = ["features", "outputs"].into_iter().flat_map(|side| version[side].as_array().unwrap());
    assert!(columns.into_iter().all(|column| column["samples"] == 50), "{version}");
    let page = client.get_admin("/metrics").await.ok().text;
    assert!(constant_series(&page).is_empty(), "50 rows are too few to call a column constant unasked");
    for (kind, wanted) in [("wrong_shape", 2), ("wrong_type", 1), ("malformed", 3)] {
        let series =
            format!(r#"tidegate_data_quality_total{{model="churn",version="1",feature="",kind="{kind}"}} {wanted}"#);
        assert!(page.lines().any(|line| line == series), "no {series} in\n{page}");
    }
    gateway.stop().await;
}
