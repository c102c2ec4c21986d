//! What several replicas count is what one would have counted: over HTTP, through `tidegate merge`, and in Prometheus.

use crate::support::client::Client;
use crate::support::gateway::Gateway;
use crate::support::load::Customers;
use crate::support::process::{Process, command, run};
use crate::support::repository::{Repository, held_out, shipped};
use crate::support::wait::until;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tidegate::observe::live::{LiveProfile, Part};
use tidegate::profile::Profile;

/// Features whose bins are exported: one with an order, one without.
const EXPORTED: [&str; 2] = ["order_value", "plan"];

/// Runs `tidegate merge`: whether it did, and what it said.
fn merge(arguments: &[&str]) -> (bool, String) {
    let all: Vec<&str> = ["merge"].into_iter().chain(arguments.iter().copied()).collect();
    let (status, out, error) = run(command(&all));
    (status.success(), out + &error)
}

/// Merges files into one, which must succeed.
fn merged(files: &[&Path], output: &Path) -> Vec<u8> {
    let mut arguments: Vec<&str> = files.iter().map(|file| file.to_str().unwrap()).collect();
    arguments.extend(["-o", output.to_str().unwrap()]);
    let (done, said) = merge(&arguments);
    assert!(done && said.is_empty(), "{said}");
    fs::read(output).unwrap()
}

fn total(document: &[u8]) -> Part {
    let mut document = LiveProfile::from_json(document).unwrap();
    assert_eq!(document.versions.len(), 1);
    document.versions.remove(0).total()
}

/// The live profile once the judge has seen so many rows.
async fn live_profile(client: &Client, rows: u64) -> Vec<u8> {
    until(&format!("{rows} rows are in the live profile"), async || {
        let shown = client.get_admin("/api/v1/models/churn/profile?version=1").await;
        let document = (shown.status == 200).then(|| shown.text.into_bytes())?;
        (total(&document).rows == rows).then_some(document)
    })
    .await
}

async fn replica() -> Gateway {
    Gateway::start(Repository::of(&["churn/1"]), |config| {
        config.drift.bins_exported = EXPORTED.map(str::to_owned).into();
    })
    .await
}

fn written(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, bytes).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_merge_to_what_one_would_have_counted_in_any_order_and_once() {
    let (one, two, all) = (replica().await, replica().await, replica().await);
    let table = held_out("churn");
    for (rows, gateway) in [(0..120, &one), (120..170, &two), (170..400, &one), (400..500, &two)] {
        gateway.client.post("/v2/models/churn/infer", table.infer_body(rows.clone())).await.ok();
        all.client.post("/v2/models/churn/infer", table.infer_body(rows)).await.ok();
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let first = written(path, "one.json", &live_profile(&one.client, 350).await);
    let second = written(path, "two.json", &live_profile(&two.client, 150).await);
    let together = merged(&[&first, &second], &path.join("together.json"));
    assert_eq!(merged(&[&second, &first], &path.join("reversed.json")), together);
    // A file that was merged before changes nothing, nor does one that comes twice.
    let again = merged(&[&first, &path.join("together.json"), &first, &second], &path.join("again.json"));
    assert_eq!(again, together);
    let (found, wanted) = (total(&together), total(&live_profile(&all.client, 500).await));
    assert_eq!((found.rows, found.evidence_rows), (500, 4));
    assert_eq!((found.rows, found.evidence_rows), (wanted.rows, wanted.evidence_rows));
    assert_eq!(found.counts, wanted.counts);
    // An older reading of the same replica adds nothing either.
    one.client.post("/v2/models/churn/infer", table.infer_body(0..30)).await.ok();
    let later = written(path, "later.json", &live_profile(&one.client, 380).await);
    assert_eq!(total(&merged(&[&later, &path.join("together.json")], &path.join("newer.json"))).rows, 530);
    let bytes_per_feature = fs::read(&first).unwrap().len() / 13;
    assert!(bytes_per_feature <= 300, "{bytes_per_feature} bytes per feature, names included");
    for gateway in [one, two, all] {
        gateway.stop().await;
    }
}

/// Series of the exported bins as `promtool` takes them, of one replica.
fn input_series(page: &str, instance: &str) -> String {
    let of_bins = page.lines().filter(|line| line.starts_with("tidegate_feature_bin_"));
    let series = of_bins.map(|line| {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let series = series.replacen('{', &format!("{{instance=\"{instance}\","), 1);
        format!("      - series: '{series}'\n        values: \"{value}x10\"\n")
    });
    series.collect()
}

/// PSI from the pages of all replicas, as the recording rule has it.
fn psi_of_pages(pages: &[String], feature: &str) -> f64 {
    let value = |page: &String, name: &str, bin: &str| -> f64 {
        let label = |key: &str, value: &str| format!("{key}=\"{value}\"");
        let has = |line: &&str| {
            line.starts_with(name) && line.contains(&label("feature", feature)) && line.contains(&label("bin", bin))
        };
        page.lines().find(has).map_or(0.0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
    };
    let mut bins: Vec<String> = (0..20).map(|bin: u32| bin.to_string()).collect();
    bins.extend(["rare", "missing", "infinite", "unseen"].map(str::to_owned));
    let counts = |bin: &String| pages.iter().map(|page| value(page, "tidegate_feature_bin_total", bin)).sum::<f64>();
    let all: f64 = bins.iter().map(counts).sum();
    let term = |bin: &String| {
        let expected = value(&pages[0], "tidegate_feature_bin_reference", bin).max(1e-4);
        let found = (counts(bin) / all).max(1e-4);
        (expected - found) * (expected / found).ln()
    };
    bins.iter().map(term).sum()
}

/// What `tidegate merge` says of each exported feature: its name and PSI.
fn psi_of_merge(files: &[&Path]) -> Vec<(String, f64)> {
    let reference = shipped().join("churn/1/profile.json");
    let mut arguments: Vec<&str> = files.iter().map(|file| file.to_str().unwrap()).collect();
    arguments.extend(["--reference", reference.to_str().unwrap(), "--json"]);
    let (done, said) = merge(&arguments);
    assert!(done, "{said}");
    let shown: Value = serde_json::from_str(&said).unwrap();
    let version = &shown["versions"][0];
    assert_eq!((&version["model"], &version["version"], &version["parts"]), (&"churn".into(), &"1".into(), &2.into()));
    let columns = version["columns"].as_array().unwrap();
    assert_eq!(columns.len(), 13);
    let exported = columns.iter().filter(|column| EXPORTED.contains(&column["name"].as_str().unwrap()));
    exported.map(|column| (column["name"].as_str().unwrap().to_owned(), column["psi"].as_f64().unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_and_merge_find_the_same_psi_over_two_replicas() {
    let (one, two) = (replica().await, replica().await);
    let mut customers = Customers::new(31);
    one.client.post("/v2/models/churn/infer", customers.body(700)).await.ok();
    customers.shift = Some((0, 31.44));
    two.client.post("/v2/models/churn/infer", customers.body(300)).await.ok();
    let folder = tempfile::tempdir().unwrap();
    let first = written(folder.path(), "one.json", &live_profile(&one.client, 700).await);
    let second = written(folder.path(), "two.json", &live_profile(&two.client, 300).await);
    let of_merge = psi_of_merge(&[&first, &second]);
    let mut pages = Vec::new();
    for gateway in [&one, &two] {
        pages.push(gateway.client.get_admin("/metrics").await.ok().text);
    }
    assert_eq!(of_merge.len(), EXPORTED.len());
    assert!(of_merge[0].1 > 0.05, "{of_merge:?}");
    for (feature, psi) in &of_merge {
        let of_pages = psi_of_pages(&pages, feature);
        assert!((of_pages - psi).abs() < 1e-9, "{feature}: {of_pages} {psi}");
    }
    check_rules(folder.path(), &pages, &of_merge);
    one.stop().await;
    two.stop().await;
}

/// Evaluates the recording rules on both pages.
fn check_rules(folder: &Path, pages: &[String], expected: &[(String, f64)]) {
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/rules.yml");
    let series: String =
        pages.iter().enumerate().map(|(index, page)| input_series(page, &format!("replica-{index}"))).collect();
    let checks: String = expected
        .iter()
        .map(|(feature, psi)| {
            let rule = format!("model_version_feature:tidegate_feature_psi:total{{feature=\"{feature}\"}}");
            format!(
                "      - expr: 'abs({rule} - {psi:?}) < bool 1e-9'\n        eval_time: 5m\n        exp_samples:\n          - \
                 labels: '{{model=\"churn\",version=\"1\",feature=\"{feature}\"}}'\n            value: 1\n"
            )
        })
        .collect();
    let test = format!(
        "rule_files: [\"{}\"]\nevaluation_interval: 1m\ntests:\n  - interval: 1m\n    input_series:\n{series}    \
         promql_expr_test:\n{checks}",
        rules.display()
    );
    let file = written(folder, "rules_test.yml", test.as_bytes());
    match Command::new("promtool").args(["test", "rules"]).arg(file).output() {
        Ok(output) => {
            let said = [output.stdout, output.stderr].concat();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
        }
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "promtool is needed in continuous integration: {error}");
            crate::support::python::say(&format!("promtool cannot be run ({error}); the rules are not evaluated"));
        }
    }
}

async fn start(repository: &Repository, state: &Path) -> Process {
    let mut command = command(&["--http", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--models"]);
    command.arg(repository.path()).arg("--state").arg(state);
    Process::start_command(command).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_goes_on_after_a_restart_and_an_older_file_of_it_counts_nothing_twice() {
    let (repository, state) = (Repository::of(&["churn/1"]), tempfile::tempdir().unwrap());
    let (folder, table) = (tempfile::tempdir().unwrap(), held_out("churn"));
    let process = start(&repository, state.path()).await;
    process.client.post("/v2/models/churn/infer", table.infer_body(0..60)).await.ok();
    let before = written(folder.path(), "before.json", &live_profile(&process.client, 60).await);
    process.stop().await;

    let process = start(&repository, state.path()).await;
    process.client.post("/v2/models/churn/infer", table.infer_body(60..100)).await.ok();
    let after = written(folder.path(), "after.json", &live_profile(&process.client, 100).await);
    process.stop().await;
    for order in [[&before, &after], [&after, &before]] {
        let together = merged(&[order[0], order[1]], &folder.path().join("together.json"));
        assert_eq!(together, fs::read(&after).unwrap());
    }
    assert_eq!(total(&fs::read(&after).unwrap()).evidence_rows, 2);

    // Without its state the replica is another one, whose counters are added.
    let elsewhere = tempfile::tempdir().unwrap();
    let process = start(&repository, elsewhere.path()).await;
    process.client.post("/v2/models/churn/infer", table.infer_body(0..7)).await.ok();
    let other = written(folder.path(), "other.json", &live_profile(&process.client, 7).await);
    process.stop().await;
    let together = merged(&[&before, &other, &after], &folder.path().join("together.json"));
    assert_eq!(total(&together).rows, 107);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_merged_is_refused_and_named() {
    let gateway = Gateway::start(Repository::of(&["churn/1", "churn/2"]), |_config| {}).await;
    let client = &gateway.client;
    client.put_split("churn", r#"{"1":50,"2":50}"#).await.ok();
    let folder = tempfile::tempdir().unwrap();
    let both = until("both versions are looked at", async || {
        let shown = client.get_admin("/api/v1/models/churn/profile").await.ok().text;
        (LiveProfile::from_json(shown.as_bytes()).unwrap().versions.len() == 2).then_some(shown)
    })
    .await;
    let shown = client.get_admin("/api/v1/models/churn/profile?version=3").await;
    assert!(shown.refused(404).contains("version 3 of \"churn\""));
    client.get_admin("/api/v1/models/churn/profile?what=1").await.refused(400);
    client.get_admin("/api/v1/models/nothing/profile").await.refused(404);
    gateway.stop().await;

    let both_file = written(folder.path(), "both.json", both.as_bytes());
    let reference = shipped().join("churn/1/profile.json");
    let one = LiveProfile::from_json(both.as_bytes()).unwrap().versions.remove(0);
    let other_edges = LiveProfile::new(vec![tidegate::observe::live::LiveVersion { profile: 5, ..one }]).unwrap();
    let other = written(folder.path(), "other.json", &other_edges.to_json().unwrap());
    let cut = written(folder.path(), "cut.json", &both.as_bytes()[..both.len() / 2]);
    let empty = written(folder.path(), "empty.json", b"{}");
    let (both, other, cut, empty) =
        (both_file.to_str().unwrap(), other.to_str().unwrap(), cut.to_str().unwrap(), empty.to_str().unwrap());
    let reference = reference.to_str().unwrap();
    let cases: [(&[&str], &str); 8] = [
        (&[both, other], "other.json: churn version 1 was counted on two profiles"),
        (&[both, cut], "cut.json: not a profile"),
        (&[both, empty], "empty.json: neither a live profile"),
        (&[both, reference], "they are compared with --reference, not merged"),
        (&[both, "/nowhere.json"], "/nowhere.json: "),
        (&[other, "--reference", reference], "but churn version 1 was counted on 0000000000000005"),
        (&[both, "--reference", both], "--reference takes a profile.json"),
        (&[reference, reference], "the same profile is there twice"),
    ];
    for (arguments, expected) in cases {
        let (done, said) = merge(arguments);
        assert!(!done && said.contains(expected), "{arguments:?}: {said}");
    }
    // A reference belongs to one of the versions; the other is named.
    let (done, said) = merge(&[both, "--reference", reference]);
    assert!(done && said.contains("churn version 2") && said.contains("counted on another profile"), "{said}");
    assert!(said.contains("order_value"), "{said}");
}

#[test]
fn reference_profiles_of_parts_add_up_in_any_order() {
    let folder = tempfile::tempdir().unwrap();
    let whole = Profile::from_json(&fs::read(shipped().join("churn/1/profile.json")).unwrap()).unwrap();
    let mut other = whole.clone();
    other.rows += 100;
    for column in other.inputs.iter_mut().chain(&mut other.outputs) {
        column.rows += 100;
        column.missing += 60;
        column.counts[0] += 40;
        column.mean = column.mean.map(|mean| mean * 0.999);
    }
    let first = written(folder.path(), "first.json", &whole.to_json().unwrap());
    let second = written(folder.path(), "second.json", &other.to_json().unwrap());
    let together = merged(&[&first, &second], &folder.path().join("together.json"));
    assert_eq!(merged(&[&second, &first], &folder.path().join("reversed.json")), together);
    let merged = Profile::from_json(&together).unwrap();
    assert_eq!(merged.rows, 2 * whole.rows + 100);
    let (column, part) = (&merged.inputs[0], &whole.inputs[0]);
    assert_eq!((column.missing, column.counts[0]), (2 * part.missing + 60, 2 * part.counts[0] + 40));
    other.inputs[3].edges[5] += 1e-3;
    let moved = written(folder.path(), "moved.json", &other.to_json().unwrap());
    let (done, said) = merge(&[first.to_str().unwrap(), moved.to_str().unwrap()]);
    let name = &whole.inputs[3].name;
    assert!(!done && said.contains(&format!("column \"{name}\"")) && said.contains("moved.json"), "{said}");
}
