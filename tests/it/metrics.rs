//! The metrics page counts exactly, in a format that Prometheus takes, under names that are promised.

use crate::support::client::{Client, send};
use crate::support::gateway::Gateway;
use crate::support::load::Customers;
use crate::support::repository::{Repository, held_out, shipped};
use crate::support::wait::until;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use tidegate::config::{SegmentSettings, SegmentSource};
use tidegate::telemetry::names;

/// A page, parsed as the text format 0.0.4 has it: samples by name and sorted labels.
#[derive(Default)]
struct Page {
    kinds: BTreeMap<String, String>,
    helps: BTreeSet<String>,
    samples: BTreeMap<(String, Labels), f64>,
}

type Labels = BTreeMap<String, String>;

impl Page {
    /// Parses strictly: every line is known, every family is described once and before its samples, in one piece.
    fn parse(text: &str) -> Self {
        let mut page = Self::default();
        let (mut family, mut ended) = (String::new(), BTreeSet::new());
        assert!(text.ends_with('\n'), "the last line is not ended");
        for line in text.lines().filter(|line| !line.is_empty()) {
            let name = match line.strip_prefix("# ") {
                Some(comment) => page.describe(comment),
                None => page.sample(line),
            };
            if name != family {
                assert!(!ended.contains(&name), "{name} comes in two pieces");
                ended.insert(std::mem::replace(&mut family, name));
            }
        }
        page
    }

    fn describe(&mut self, comment: &str) -> String {
        let mut words = comment.splitn(3, ' ');
        let (what, name, text) = (words.next().unwrap(), words.next().unwrap().to_owned(), words.next().unwrap());
        match what {
            "HELP" => assert!(self.helps.insert(name.clone()) && !text.is_empty(), "{comment}"),
            "TYPE" => {
                assert!(["counter", "gauge", "histogram"].contains(&text), "{comment}");
                assert!(self.kinds.insert(name.clone(), text.to_owned()).is_none(), "{comment}");
            }
            _ => panic!("unknown comment: {comment}"),
        }
        name
    }

    fn sample(&mut self, line: &str) -> String {
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
        let (name, labels) = match series.split_once('{') {
            Some((name, labels)) => (name, parse_labels(labels.strip_suffix('}').unwrap_or_else(|| panic!("{line}")))),
            None => (series, Labels::new()),
        };
        let plain = |character: char| character.is_ascii_alphanumeric() || character == '_';
        assert!(!name.is_empty() && name.chars().all(plain), "{line}");
        let value: f64 = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
        assert!(self.samples.insert((name.to_owned(), labels), value).is_none(), "twice: {line}");
        let is_part = |part: &&str| self.kinds.get(*part).is_some_and(|kind| kind == "histogram");
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end).filter(is_part));
        let family = family.unwrap_or(name).to_owned();
        assert!(self.kinds.contains_key(&family) && self.helps.contains(&family), "not described before: {line}");
        family
    }

    #[track_caller]
    fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let labels: Labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let key = (name.to_owned(), labels);
        *self.samples.get(&key).unwrap_or_else(|| panic!("no {key:?} in {:?}", self.samples.keys()))
    }

    /// A whole number.
    #[track_caller]
    fn count(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        whole(self.value(name, labels))
    }

    fn of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a Labels, f64)> + 'a {
        self.samples.iter().filter(move |((found, _), _)| found == name).map(|((_, labels), value)| (labels, *value))
    }
}

#[track_caller]
fn whole(value: f64) -> u64 {
    assert!(value.fract() == 0.0 && value >= 0.0, "{value} is no count");
    value as u64
}

/// Reads `name="value",name="value"` with the three escapes that the format has.
fn parse_labels(text: &str) -> Labels {
    let mut labels = Labels::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (name, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("no label: {text}"));
        let mut value = String::new();
        let mut characters = after.char_indices();
        let end = loop {
            match characters.next().unwrap_or_else(|| panic!("no closing quote: {text}")) {
                (at, '"') => break at,
                (_, '\\') => match characters.next() {
                    Some((_, 'n')) => value.push('\n'),
                    Some((_, escaped @ ('"' | '\\'))) => value.push(escaped),
                    other => panic!("unknown escape {other:?}: {text}"),
                },
                (_, character) => value.push(character),
            }
        };
        assert!(labels.insert(name.to_owned(), value).is_none(), "{name} twice: {text}");
        rest = &after[end + 1..];
        rest = rest.strip_prefix(',').unwrap_or_else(|| {
            assert!(rest.is_empty(), "{text}");
            rest
        });
    }
    labels
}

/// Traffic of every sort, its numbers known.
async fn traffic(client: &Client) {
    let (rows, mut customers) = (held_out("churn"), Customers::new(9));
    client.put_split("churn", r#"{"1":100,"2":0}"#).await.ok();
    for _ in 0..7 {
        client.post("/v2/models/churn/infer", rows.infer_body(0..3)).await.ok();
    }
    for _ in 0..2 {
        client.post("/v1/models/churn:predict", rows.predict_body(0..4)).await.ok();
    }
    client.post("/v2/models/churn/versions/2/infer", rows.infer_body(0..5)).await.ok();
    for _ in 0..3 {
        client.post("/v2/models/churn/infer", "{}").await.refused(400);
    }
    client.post("/v2/models/absent/infer", "{}").await.refused(404);
    client.post("/v1/models/absent:predict", "{}").await.refused(404);
    let encoded = client.data("POST", "/v2/models/churn/infer").header("content-encoding", "gzip").body("{}");
    send(encoded).await.refused(415);
    // Enough rows for a verdict, one of them with defects.
    client.post("/v2/models/churn/infer", customers.body(250)).await.ok();
    let odd = r#"{"inputs":[{"name":"features","datatype":"FP32","shape":[1,10],"data":[null,1e9,1,1,1,0,1,77,1,0]}]}"#;
    client.post("/v2/models/churn/infer", odd).await.ok();
}

/// Rows of version 1 that [`traffic`] sends: 7 × 3 + 2 × 4 + 250 + 1.
const ROWS: u64 = 280;

async fn page_after_traffic(client: &Client) -> String {
    traffic(client).await;
    until("the judge has seen the traffic", async || {
        (client.drift("churn", "1").await["samples"] == ROWS).then_some(())
    })
    .await;
    let answer = client.get_admin("/metrics").await.ok();
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    answer.text
}

async fn gateway() -> Gateway {
    Gateway::start(Repository::of(&["churn/1", "churn/2"]), |config| {
        // One alert, so that its state is on the page.
        config.latency.rule = tidegate::config::LatencyRuleChoice::P99;
        config.latency.p99_limit = std::time::Duration::from_micros(1);
        config.latency.min_requests = 1;
        // So that every metric is on it.
        config.drift.bins_exported = vec!["order_value".to_owned(), "plan".to_owned()];
        config.latency.pending_for = std::time::Duration::ZERO;
        // Segments that have enough rows to be on the page.
        let by = SegmentSource::Feature("auto_renew".into());
        config.drift.segment = Some(SegmentSettings { by, max_values: 2 });
        config.drift.min_samples = 100;
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_and_row_is_counted_once_under_its_labels() {
    let gateway = gateway().await;
    let page = Page::parse(&page_after_traffic(&gateway.client).await);
    let requests = |version: &str, arm: &str, protocol: &str, code: &str| {
        let model = if version.is_empty() { "" } else { "churn" };
        let labels = [("model", model), ("version", version), ("arm", arm), ("protocol", protocol), ("code", code)];
        page.count("tidegate_requests_total", &labels)
    };
    let counts = [
        (requests("1", "stable", "oip", "200"), 9),
        (requests("1", "stable", "v1", "200"), 2),
        (requests("1", "stable", "oip", "400"), 3),
        (requests("2", "pinned", "oip", "200"), 1),
        (requests("", "", "oip", "404"), 1),
        (requests("", "", "v1", "404"), 1),
        (requests("", "", "oip", "415"), 1),
    ];
    for (index, (found, wanted)) in counts.iter().enumerate() {
        assert_eq!(found, wanted, "count {index}");
    }
    let total: u64 = page.of("tidegate_requests_total").map(|(_, value)| whole(value)).sum();
    assert_eq!(total, 18, "something was counted under other labels");
    let of = |version: &'static str| [("model", "churn"), ("version", version)];
    let exact = [
        ("tidegate_rows_total", of("1"), ROWS),
        ("tidegate_rows_total", of("2"), 5),
        ("tidegate_split_weight", of("1"), 1),
        ("tidegate_split_weight", of("2"), 0),
    ];
    for (name, labels, wanted) in exact {
        assert_eq!(page.count(name, &labels), wanted, "{name} {labels:?}");
    }
    let quality = |feature: &str, kind: &str| {
        let labels = [("model", "churn"), ("version", "1"), ("feature", feature), ("kind", kind)];
        page.value("tidegate_data_quality_total", &labels) >= 1.0
    };
    assert!(quality("order_value", "missing") && quality("purchase_frequency", "above_range"));
    assert!(quality("plan", "unseen_category"));
    bins(&page);
    let refused = |kind| {
        let labels = [("model", "churn"), ("version", "1"), ("feature", ""), ("kind", kind)];
        page.count("tidegate_data_quality_total", &labels)
    };
    assert_eq!(["wrong_shape", "wrong_type", "malformed"].map(refused), [0, 0, 3]);
    let segments: BTreeSet<&str> =
        page.of("tidegate_segment_drift_psi").map(|(labels, _)| labels["segment"].as_str()).collect();
    assert_eq!(segments, BTreeSet::from(["0", "1"]), "the other segment has no rows");
    histograms(&page);
    let firing = page.of("tidegate_alert_state").find(|(labels, _)| labels["rule"] == "latency");
    assert!(firing.is_some_and(|(_, state)| state > 0.0));
    gateway.stop().await;
}

/// Bins of the chosen features: every group of the reference, and all rows in one of them.
fn bins(page: &Page) {
    let profile = std::fs::read(shipped().join("churn/1/profile.json")).unwrap();
    let profile = tidegate::profile::Profile::from_json(&profile).unwrap();
    for feature in ["order_value", "plan"] {
        let column = profile.inputs.iter().find(|column| column.name == feature).unwrap();
        let groups = column.reference().group_count;
        let of = |name: &str| -> Vec<(String, f64)> {
            let series = page.of(name);
            let of_feature = series.filter(|(labels, _)| labels["version"] == "1" && labels["feature"] == feature);
            of_feature.map(|(labels, value)| (labels["bin"].clone(), value)).collect()
        };
        let (counts, shares) = (of("tidegate_feature_bin_total"), of("tidegate_feature_bin_reference"));
        assert_eq!((counts.len(), shares.len()), (groups, groups), "{feature}: {counts:?}");
        assert!(counts.iter().zip(&shares).all(|(count, share)| count.0 == share.0), "{counts:?} {shares:?}");
        assert!((shares.iter().map(|(_, share)| share).sum::<f64>() - 1.0).abs() < 1e-12, "{shares:?}");
        assert_eq!(whole(counts.iter().map(|(_, count)| count).sum()), ROWS, "{feature}");
        let defect = if feature == "plan" { "unseen" } else { "missing" };
        assert!(counts.iter().any(|(bin, count)| bin == defect && *count > 0.0), "{counts:?}");
    }
    assert!(
        page.of("tidegate_feature_bin_total").all(|(labels, _)| ["order_value", "plan"].contains(&&*labels["feature"]))
    );
}

/// Durations: as many as predictions by a version, cumulative, and the phases no longer than the whole.
fn histograms(page: &Page) {
    let name = "tidegate_request_duration_seconds";
    let mut sums = BTreeMap::new();
    for phase in ["total", "decode", "compute", "encode", "own"] {
        let labels = [("model", "churn"), ("version", "1"), ("phase", phase)];
        let count = page.count(&format!("{name}_count"), &labels);
        // Three more were refused: how fast a client's mistake is told says nothing about the model.
        assert_eq!(count, 11, "{phase}");
        sums.insert(phase, page.value(&format!("{name}_sum"), &labels));
        let bucket = format!("{name}_bucket");
        let mut buckets: Vec<(f64, f64)> = page
            .of(&bucket)
            .filter(|(found, _)| labels.iter().all(|(name, value)| found[*name] == *value))
            .map(|(labels, count)| (labels["le"].parse().unwrap(), count))
            .collect();
        buckets.sort_by(|left, right| left.0.total_cmp(&right.0));
        assert!(buckets.len() > 10 && buckets.is_sorted_by(|left, right| left.1 <= right.1), "{buckets:?}");
        let (bound, last) = *buckets.last().unwrap();
        assert!(bound.is_infinite() && whole(last) == count, "{buckets:?}");
    }
    // Each sum is exact to a nanosecond and was written as seconds: adding them up rounds, and they may make the whole.
    assert!(sums["decode"] + sums["compute"] + sums["encode"] <= sums["total"] + 1e-8, "{sums:?}");
    // Only what could not be run at once has waited.
    let queue: f64 = page
        .of(&format!("{name}_sum"))
        .filter(|(labels, _)| labels["phase"] == "queue" && labels["version"] == "1")
        .map(|(_, sum)| sum)
        .sum();
    assert!((sums["own"] + queue + sums["compute"] - sums["total"]).abs() < 1e-8, "{sums:?} {queue}");
    assert!(sums.values().all(|sum| *sum > 0.0), "{sums:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_never_go_back_when_a_version_is_loaded_anew() {
    let gateway = Gateway::start(Repository::of(&["churn/1", "churn/2"]), |config| {
        config.repository.bake = std::time::Duration::ZERO;
    })
    .await;
    let client = &gateway.client;
    let rows = async || {
        let page = Page::parse(&client.get_admin("/metrics").await.ok().text);
        page.count("tidegate_rows_total", &[("model", "churn"), ("version", "1")])
    };
    for round in 1..=3 {
        client.put_split("churn", r#"{"1":100}"#).await.ok();
        client.post("/v2/models/churn/infer", held_out("churn").infer_body(0..10)).await.ok();
        assert_eq!(rows().await, round * 10, "round {round}");
        client.put_split("churn", r#"{"2":100}"#).await.ok();
        until("version 1 is unloaded", async || {
            (client.version("churn", "1").await["state"] == "on_disk").then_some(())
        })
        .await;
        assert_eq!(rows().await, round * 10, "round {round}, unloaded");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_has_every_metric_of_its_kind_and_no_other() {
    let gateway = gateway().await;
    let page = Page::parse(&page_after_traffic(&gateway.client).await);
    let kind_of = |metric: &names::Metric| format!("{:?}", metric.kind).to_lowercase();
    // Its models come from a directory; those of a registry have these, see the tests of MLflow and of webhooks.
    let of_registries = [names::REGISTRY_SYNC_AGE.name, names::HOOK_DELIVERIES.name];
    let is_of_a_rollout =
        |name: &str| ["tidegate_rollout", "tidegate_shadow"].iter().any(|start| name.starts_with(start));
    let of_directories =
        names::ALL.iter().filter(|metric| !of_registries.contains(&metric.name) && !is_of_a_rollout(metric.name));
    let promised: BTreeMap<String, String> =
        of_directories.map(|metric| (metric.name.to_owned(), kind_of(metric))).collect();
    assert_eq!(page.kinds, promised);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn promtool_finds_nothing_to_say() {
    let gateway = gateway().await;
    let page = page_after_traffic(&gateway.client).await;
    gateway.stop().await;
    let command = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut promtool = match command {
        Ok(promtool) => promtool,
        Err(error) => {
            // The format itself is checked by the parser above wherever promtool is not at hand.
            assert!(std::env::var_os("CI").is_none(), "promtool cannot be run ({error}); Debian has it in prometheus");
            crate::support::python::say(&format!("promtool cannot be run ({error}); the page is checked without it"));
            return;
        }
    };
    promtool.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success() && said.trim().is_empty(), "{said}");
}

#[test]
fn the_readme_names_every_metric() {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let missing: Vec<&str> =
        names::ALL.iter().map(|metric| metric.name).filter(|name| !readme.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "README.md does not name {missing:?}");
}
