//! `tidegate profile`, as a user runs it, and what the gateway makes of its profiles.

use crate::support::gateway::Gateway;
use crate::support::process::{command, run};
use crate::support::repository::{Repository, held_out};

use arrow_array::{ArrayRef, Float64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use parquet::arrow::ArrowWriter;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use tidegate::profile::{Profile, Source};

fn profile(repository: &Repository, version: &str, more: &[&str]) -> (bool, String) {
    let rows = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/digits/heldout.csv");
    profile_of(repository, version, &rows, more)
}

fn profile_of(repository: &Repository, version: &str, rows: &Path, more: &[&str]) -> (bool, String) {
    let directory = repository.path().join(version);
    let mut arguments = vec!["profile", "--model", directory.to_str().unwrap(), "--data", rows.to_str().unwrap()];
    arguments.extend(more);
    let (status, out, error) = run(command(&arguments));
    (status.success(), out + &error)
}

fn written(repository: &Repository, version: &str) -> Profile {
    Profile::from_json(&fs::read(repository.path().join(version).join("profile.json")).unwrap()).unwrap()
}

/// Names and rows of a shipped model's held-out data.
fn table(model: &str) -> (Vec<String>, Vec<Vec<String>>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("models/{model}/heldout.csv"));
    let text = fs::read_to_string(path).unwrap();
    let mut lines = text.lines().map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>());
    (lines.next().unwrap(), lines.collect())
}

fn write_csv(path: &Path, names: &[String], rows: &[Vec<String>]) {
    let mut text = names.join(",") + "\n";
    rows.iter().for_each(|row| text.push_str(&(row.join(",") + "\n")));
    fs::write(path, text).unwrap();
}

/// The same rows as Parquet, with a column of labels and one of times, a row per hour.
fn write_parquet(path: &Path, names: &[String], rows: &[Vec<String>]) {
    let column = |index: usize| -> ArrayRef {
        Arc::new(rows.iter().map(|row| row[index].parse::<f64>().ok()).collect::<Float64Array>())
    };
    let labels: ArrayRef = Arc::new(StringArray::from_iter_values(rows.iter().map(|_| "benign")));
    let hours = 0..i64::try_from(rows.len()).unwrap();
    let times: ArrayRef = Arc::new(TimestampMillisecondArray::from_iter_values(hours.map(|row| row * 3_600_000)));
    let mut columns = vec![("when", times)];
    columns.extend(names.iter().enumerate().map(|(index, name)| (name.as_str(), column(index))));
    columns.push(("label", labels));
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = ArrowWriter::try_new(fs::File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_input_that_is_too_wide_is_profiled_and_judged_by_statistics_of_its_rows() {
    let repository = Repository::of(&["digits/1"]);
    let (done, said) = profile(&repository, "digits/1", &["--max-features", "20"]);
    assert!(done && said.contains("450 rows, 4 features, 11 outputs"), "{said}");
    let gateway = Gateway::start(repository, |config| {
        config.drift.max_features = 20;
        config.drift.min_samples = 100;
    })
    .await;
    gateway.client.post("/v2/models/digits/infer", held_out("digits").infer_body(0..450)).await.ok();
    let version = crate::support::wait::until("the rows are judged", async || {
        let version = gateway.client.drift("digits", "1").await;
        (version["verdict"] == "ok").then_some(version)
    })
    .await;
    let names: Vec<&str> =
        version["features"].as_array().unwrap().iter().map(|column| column["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["features.norm", "features.mean", "features.zeros", "features.nonfinite"]);
    assert_eq!(version["samples"], 450);
    gateway.stop().await;
}

#[test]
fn rows_that_do_not_fit_the_model_are_named_and_nothing_is_written() {
    let repository = Repository::of(&["churn/1", "breast-cancer/1"]);
    let before = fs::read(repository.path().join("churn/1/profile.json")).unwrap();
    let (done, said) = profile(&repository, "churn/1", &[]);
    assert!(!done && said.contains("missing \"order_value\", ") && said.contains("and 54 more"), "{said}");
    assert_eq!(fs::read(repository.path().join("churn/1/profile.json")).unwrap(), before);

    let (names, rows) = table("breast-cancer");
    let file = repository.path().join("rows.csv");
    let mut swapped = names.clone();
    swapped.swap(0, 1);
    write_csv(&file, &swapped, &rows);
    let (done, said) = profile_of(&repository, "breast-cancer/1", &file, &[]);
    assert!(!done && said.contains(&format!("\"{}\" where \"{}\" belongs", names[1], names[0])), "{said}");
    // Said anew, the names are taken.
    let (done, said) = profile_of(&repository, "breast-cancer/1", &file, &["--features", &swapped.join(",")]);
    assert!(done, "{said}");
    assert_eq!(written(&repository, "breast-cancer/1").inputs[0].name, names[1]);
}

#[test]
fn a_file_that_cannot_be_read_twice_or_has_a_wrong_field_is_refused() {
    let repository = Repository::of(&["breast-cancer/1"]);
    let (done, said) = profile_of(&repository, "breast-cancer/1", Path::new("-"), &[]);
    assert!(!done && said.contains("which standard input and pipes cannot be"), "{said}");
    let (names, mut rows) = table("breast-cancer");
    let file = repository.path().join("rows.csv");
    rows[2][4] = "many".to_owned();
    write_csv(&file, &names, &rows);
    let (done, said) = profile_of(&repository, "breast-cancer/1", &file, &[]);
    let expected = format!("line 4, column \"{}\": expected a number, found \"many\"", names[4]);
    assert!(!done && said.contains(&expected), "{said}");
    write_csv(&file, &names, &[]);
    let (done, said) = profile_of(&repository, "breast-cancer/1", &file, &[]);
    assert!(!done && said.contains("the file has no rows"), "{said}");
    let (done, said) = profile_of(&repository, "breast-cancer/1", &file, &["--format", "parquet"]);
    assert!(!done && said.contains("as Parquet"), "{said}");
    let (done, said) = profile_of(&repository, "breast-cancer/1", &file, &["--critical", "nothing"]);
    assert!(!done && said.contains("no column \"nothing\" to mark as critical"), "{said}");
}

#[test]
fn parquet_gives_the_profile_that_csv_gives() {
    let repository = Repository::of(&["breast-cancer/1"]);
    let (names, mut rows) = table("breast-cancer");
    rows[0][1] = String::new();
    let csv = repository.path().join("rows.csv");
    write_csv(&csv, &names, &rows);
    let (done, said) = profile_of(&repository, "breast-cancer/1", &csv, &[]);
    assert!(done, "{said}");
    let of_csv = written(&repository, "breast-cancer/1");
    assert_eq!((of_csv.source, of_csv.inputs[1].missing, of_csv.frozen_from_traffic), (Source::Csv, 1, false));
    let file = repository.path().join("rows.parquet");
    write_parquet(&file, &names, &rows);
    let (done, said) = profile_of(&repository, "breast-cancer/1", &file, &[]);
    assert!(!done && said.contains("not a feature: \"when\", \"label\""), "{said}");
    let (done, said) = profile_of(&repository, "breast-cancer/1", &file, &["--ignore", "label,when"]);
    assert!(done, "{said}");
    let of_parquet = written(&repository, "breast-cancer/1");
    assert_eq!(of_parquet.source, Source::Parquet);
    assert_eq!((of_parquet.inputs, of_parquet.outputs), (of_csv.inputs, of_csv.outputs));

    let more = ["--ignore", "label", "--time", "when"];
    let (done, said) = profile_of(&repository, "breast-cancer/1", &file, &more);
    assert!(done && said.contains("168 of 168 hours of the week have fewer than 200 rows"), "{said}");
    let timed = written(&repository, "breast-cancer/1");
    let hours = timed.inputs[0].hour_of_week.as_ref().unwrap();
    // The first row is of 1970-01-01 00:00, a Thursday.
    assert_eq!((hours.len(), hours[72].iter().sum::<u64>()), (168, rows.len().div_ceil(168) as u64));
    assert_eq!(hours.iter().flatten().sum::<u64>(), rows.len() as u64);
}

#[test]
fn the_schema_is_printed_and_knows_the_format() {
    let (status, out, _) = run(command(&["profile", "--schema"]));
    let schema: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert!(status.success());
    assert_eq!(schema["properties"]["format"]["enum"], serde_json::json!([1, 2]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_of_some_columns_is_refused_and_the_version_serves_without_judgement() {
    let repository = Repository::of(&["churn/1"]);
    let path = repository.path().join("churn/1/profile.json");
    let mut partial = Profile::from_json(&fs::read(&path).unwrap()).unwrap();
    partial.inputs.remove(3);
    fs::write(&path, partial.to_json().unwrap()).unwrap();
    let gateway = Gateway::start(repository, |_config| {}).await;
    gateway.client.post("/v2/models/churn/infer", held_out("churn").infer_body(0..20)).await.ok();
    let version = crate::support::wait::until("the judge has looked", async || {
        let version = gateway.client.drift("churn", "1").await;
        (version["samples"].as_u64().unwrap_or(0) > 0).then_some(version)
    })
    .await;
    assert_eq!(version["verdict"], "no_reference");
    let reason = version["reason"].as_str().unwrap();
    assert!(reason.contains("9 columns in the profile; expected 10"), "{reason}");
    gateway.stop().await;
}
