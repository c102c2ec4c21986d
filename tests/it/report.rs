//! A model's report: as JSON, as a page, and through the command.

use crate::support::client::{Answer, send};
use crate::support::gateway::Gateway;
use crate::support::load::{Customers, Stream};
use crate::support::process::{command, run};
use crate::support::repository::Repository;
use crate::support::wait::until;
use std::fs;
use std::path::Path;
use std::time::Duration;
use tidegate::config::Config;
use tidegate::report::Report;

const PATH: &str = "/api/v1/models/churn/report";

/// One standard deviation of `order_value` in the population, and its place among the features.
const SIGMA: f32 = 31.44;
const ORDER_VALUE: usize = 0;

fn a_short_window(config: &mut Config) {
    config.drift.window = Duration::from_secs(3);
}

async fn with_accept(gateway: &Gateway, path: &str, accept: &str) -> Answer {
    send(gateway.client.control("GET", path).header("accept", accept)).await
}

fn read(text: &str) -> Report {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"))
}

/// Runs the command on a thread of its own, so that the gateway in this process can answer.
async fn command_report(arguments: Vec<String>, token: Option<&'static str>) -> (bool, String, String) {
    let running = tokio::task::spawn_blocking(move || {
        let words: Vec<&str> = ["report"].into_iter().chain(arguments.iter().map(String::as_str)).collect();
        let mut command = command(&words);
        token.map(|token| command.env("TIDEGATE_ADMIN_TOKEN", token));
        let (status, out, error) = run(command);
        (status.success(), out, error)
    });
    running.await.unwrap()
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drifted_feature_leads_the_report_with_its_picture_and_its_past() {
    let gateway = Gateway::start(Repository::of(&["churn/1"]), a_short_window).await;
    let client = &gateway.client;
    let stream = Stream::start(client, 21);
    stream.shift(ORDER_VALUE, SIGMA);
    let report = until("the report leads with the shifted feature", async || {
        let report = read(&client.get_admin(PATH).await.ok().text);
        let column = report.versions.first()?.columns.first()?;
        (column.name == "order_value" && column.alarm.is_some() && column.drift.iter().any(Option::is_some))
            .then_some(report)
    })
    .await;
    let version = &report.versions[0];
    assert_eq!((report.format, report.model.as_str(), version.version.as_str()), (1, "churn", "1"));
    assert_eq!((version.arm.as_str(), version.weight, version.columns.len()), ("stable", 100.0, 13));
    assert!(version.reference.as_ref().is_some_and(|reference| reference.rows > 0), "{:?}", version.reference);
    assert!(version.answers.requests > 0 && version.answers.p99_seconds.is_some_and(|p99| p99 > 0.0));
    let drifted = &version.columns[0];
    assert!(drifted.distances.iter().all(|distance| distance.low.is_some()), "{:?}", drifted.distances);
    let live: u64 = drifted.groups.iter().map(|group| group.live).sum();
    assert_eq!(live, drifted.samples);
    assert!(drifted.drift.iter().flatten().any(|&excess| excess > 0.1), "{:?}", drifted.drift);

    let page = with_accept(&gateway, PATH, "text/html,application/xhtml+xml,*/*;q=0.8").await.ok();
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(page.header("content-security-policy").is_some_and(|policy| policy.contains("default-src 'none'")));
    assert!(page.text.starts_with("<!doctype html>") && page.text.contains("order_value"));
    assert_eq!(page.text.matches("<details").count(), 13);
    drop(stream);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_for_is_given_or_refused_with_the_reason() {
    let gateway = Gateway::start(Repository::of(&["churn/1", "churn/2"]), a_short_window).await;
    let client = &gateway.client;
    client.put_split("churn", r#"{"1":50,"2":50}"#).await.ok();
    client.drift("churn", "1").await;
    client.drift("churn", "2").await;
    client.post("/v2/models/churn/infer", Customers::new(3).body(50)).await.ok();
    let report = read(&client.get_admin(PATH).await.ok().text);
    let versions: Vec<&str> = report.versions.iter().map(|version| version.version.as_str()).collect();
    assert_eq!(versions, ["1", "2"]);
    let report = read(&client.get_admin(&format!("{PATH}?version=2&format=json")).await.ok().text);
    assert_eq!((report.versions.len(), report.versions[0].weight), (1, 50.0));
    let page = with_accept(&gateway, &format!("{PATH}?format=html"), "application/json").await.ok();
    assert!(page.text.starts_with("<!doctype html>"), "what the query says goes before what the header says");
    let json = with_accept(&gateway, &format!("{PATH}?format=json"), "text/html").await.ok();
    assert_eq!(json.header("content-type"), Some("application/json"));

    let refused = |status: u16, path: String| async move { client.get_admin(&path).await.refused(status) };
    assert!(refused(400, format!("{PATH}?format=pdf")).await.contains("json or html"));
    assert!(refused(400, format!("{PATH}?verison=2")).await.contains("verison"));
    assert!(refused(404, format!("{PATH}?version=7")).await.ends_with("there is of: 1, 2"));
    assert!(refused(404, "/api/v1/models/none/report".to_owned()).await.contains("unknown model"));
    assert!(send(client.control("POST", PATH)).await.refused(405).contains("GET"));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn categories_are_named_only_when_asked_and_nothing_else_of_the_data_ever() {
    let gateway = Gateway::start(Repository::of(&["churn/1"]), a_short_window).await;
    let client = &gateway.client;
    client.post("/v2/models/churn/infer", Customers::new(5).body(300)).await.ok();
    until("the judge has looked", async || (client.drift("churn", "1").await["samples"] == 300).then_some(())).await;
    let labels = |report: Report| -> Vec<String> {
        let columns = report.versions.into_iter().flat_map(|version| version.columns);
        let region = columns.into_iter().find(|column| column.name == "region").unwrap();
        region.groups.into_iter().map(|group| group.label).collect()
    };
    let unnamed = labels(read(&client.get_admin(PATH).await.ok().text));
    assert!(unnamed.iter().all(|label| label.starts_with("categor")), "{unnamed:?}");
    let named = labels(read(&client.get_admin(&format!("{PATH}?names=true")).await.ok().text));
    assert!(named.len() == unnamed.len() && named.iter().all(|label| !label.starts_with("categor")), "{named:?}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_fetches_the_report_with_the_token_and_says_why_when_it_cannot() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let gateway = Gateway::start(Repository::of(&["churn/1"]), a_short_window).await;
    gateway.client.drift("churn", "1").await;
    let url = format!("http://{}", gateway.client.admin);
    let page = file("report.html");
    let (done, out, error) = command_report(words(&["--url", &url, "--model", "churn", "--output", &page]), None).await;
    assert!(done && out.is_empty(), "{out}{error}");
    assert!(fs::read_to_string(&page).unwrap().contains("<bdi>churn</bdi>"));
    let (done, out, error) =
        command_report(words(&["--url", &url, "--model", "churn", "--format", "json", "--version", "1"]), None).await;
    assert!(done, "{error}");
    assert_eq!(read(&out).versions.len(), 1);

    let failing = |arguments: Vec<String>| async move {
        let (done, out, error) = command_report(arguments, None).await;
        assert!(!done && out.is_empty(), "{out}");
        error
    };
    assert!(failing(words(&["--url", &url, "--model", "none"])).await.contains("unknown model"));
    assert!(failing(words(&["--url", "nowhere", "--model", "churn"])).await.contains("http://127.0.0.1:8002"));
    let data = format!("http://{}", gateway.client.http);
    assert!(failing(words(&["--url", &data, "--model", "churn"])).await.contains("404"));
    let nowhere = Path::new(&file("none")).join("report.html");
    let nowhere = nowhere.to_str().unwrap().to_owned();
    let error = failing(words(&["--url", &url, "--model", "churn", "--output", &nowhere])).await;
    assert!(error.contains("cannot write") && error.contains("report.html"), "{error}");
    gateway.stop().await;
    let error = failing(words(&["--url", &url, "--model", "churn"])).await;
    assert!(error.contains(&url) && error.contains("is a gateway running"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_with_a_token_gives_its_report_to_who_has_it() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    fs::write(&file, "open-sesame\n").unwrap();
    let state = tempfile::tempdir().unwrap();
    let repository = Repository::of(&["churn/1"]);
    let mut start = command(&["serve", "--http", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--models"]);
    start.arg(repository.path()).arg("--state").arg(state.path()).env("TIDEGATE_ADMIN_TOKEN", "open-sesame");
    start.env("TIDEGATE_ADMIN_VIEWER_TOKEN", "peep-sesame");
    let gateway = crate::support::process::Process::start_command(start).await;
    let url = format!("http://{}", gateway.client.admin);
    let arguments = words(&["--url", &url, "--model", "churn", "--format", "json"]);
    let (done, out, error) = command_report(arguments.clone(), None).await;
    assert!(!done && out.is_empty() && error.contains("--token-file"), "{error}");
    let (done, _, error) = command_report(arguments.clone(), Some("closed-sesame")).await;
    assert!(!done && error.contains("--token-file") && !error.contains("closed-sesame"), "{error}");
    let (done, _, error) = command_report(arguments.clone(), Some("open-sesame")).await;
    assert!(done, "{error}");
    let (done, _, error) = command_report(arguments.clone(), Some("peep-sesame")).await;
    assert!(done, "who may look may have a report: {error}");
    let with_file = [arguments, words(&["--token-file", file.to_str().unwrap()])].concat();
    let (done, _, error) = command_report(with_file, None).await;
    assert!(done, "{error}");
    gateway.stop().await;
}
