//! How the process starts, takes in changes and ends.

use crate::support::client::{Client, send};
use crate::support::gateway::Gateway;
use crate::support::process::{Process, command, run};
use crate::support::repository::{Repository, held_out, shipped};
use crate::support::wait::{PATIENCE, until};
use std::fs;
use std::path::Path;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Puts a file in place whole: a reload may read it at any moment, and half a file of settings is another one.
fn write(path: &Path, text: &str) -> String {
    let fresh = path.with_extension("new");
    fs::write(&fresh, text).unwrap();
    fs::rename(&fresh, path).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn all_mistakes_are_reported_together_with_their_places_and_nothing_starts() {
    let folder = tempfile::tempdir().unwrap();
    let text = "[server]\nworkers = 0\nhtpp = \"127.0.0.1:1\"\n\n[drift]\nwindow = \"soon\"\n\n[models.churn]\nsplit = { \"1\" = 50, \"2\" = 49 }\n";
    let file = write(&folder.path().join("tidegate.toml"), text);
    let mut command = command(&["--config", &file, "--http", "nowhere", "--log-level", "loud"]);
    command.env("TIDEGATE_MAX_BODY", "much").env("TIDEGATE_WORKRES", "2");
    let (status, out, err) = run(command);
    assert_eq!(status.code(), Some(1), "{err}");
    assert!(out.is_empty(), "{out}");
    for part in [
        ":2: server.workers",
        ":3: server: unknown key \"htpp\"",
        "did you mean \"http\"?",
        ":6: drift.window",
        ":9: models.churn.split",
        "99 %",
        "environment variable TIDEGATE_MAX_BODY: server.max_body",
        "environment variable TIDEGATE_WORKRES",
        "did you mean TIDEGATE_WORKERS?",
        "flag --http: server.http",
        "flag --log-level: log.level",
    ] {
        assert!(err.contains(part), "\"{part}\" is not in:\n{err}");
    }
    assert!(!err.contains("listening"), "{err}");
}

#[test]
fn wrong_flags_and_missing_files_end_with_a_reason() {
    for (arguments, part) in [
        (&["--colour"][..], "--colour"),
        (&["fly"], "fly"),
        (&["--config", "/nonexistent/tidegate.toml"], "/nonexistent/tidegate.toml"),
        (&["profile", "--model", "/nonexistent", "--data", "rows.csv"], "/nonexistent"),
    ] {
        let (status, _, err) = run(command(arguments));
        assert!(!status.success() && err.contains(part), "{arguments:?}: {status} {err}");
    }
    let (status, out, _) = run(command(&["--version"]));
    assert!(status.success() && out.contains(env!("CARGO_PKG_VERSION")), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn flags_override_the_environment_and_the_environment_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let (in_file, in_variable, in_flag) =
        (Repository::of(&["churn/1"]), Repository::of(&["churn/1"]), Repository::of(&["churn/2"]));
    let text = format!(
        "[repository]\npath = {:?}\n[drift]\nwindow = \"7s\"\n[log]\nformat = \"json\"\n",
        in_file.path().to_str().unwrap()
    );
    let file = write(&folder.path().join("tidegate.toml"), &text);
    let mut command = command(&["serve", "--models", in_flag.path().to_str().unwrap(), "--log-format", "text"]);
    command.env("TIDEGATE_CONFIG", &file).env("TIDEGATE_MODELS", in_variable.path());
    command.env("TIDEGATE_HTTP", "127.0.0.1:0").env("TIDEGATE_ADMIN", "127.0.0.1:0");
    let process = Process::start_command(command).await;
    let client = &process.client;
    assert_eq!(client.version("churn", "2").await["weight"], 100.0);
    assert!(client.version("churn", "1").await.is_null());
    assert_eq!(client.drift("churn", "2").await["window"], "7s");
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_is_a_clear_error() {
    let holder = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let taken = holder.local_addr().unwrap().to_string();
    let models = shipped();
    for (flag, other, setting) in [("--http", "--admin", "server.http"), ("--admin", "--http", "server.admin")] {
        let command = command(&[flag, &taken, other, "127.0.0.1:0", "--models", models.to_str().unwrap()]);
        let (status, _, err) = run(command);
        assert_eq!(status.code(), Some(1), "{err}");
        assert!(err.contains(&taken) && err.contains(setting) && err.contains("in use"), "{err}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_file_applies_on_hangup_and_on_request_and_a_bad_one_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let repository = Repository::of(&["churn/1", "churn/2"]);
    let path = folder.path().join("tidegate.toml");
    let text = |window: &str, share: u8, more: &str| {
        format!(
            "[drift]\nwindow = \"{window}\"\n[models.churn]\nsplit = {{ \"1\" = {}, \"2\" = {share} }}\n{more}",
            100 - share
        )
    };
    let file = write(&path, &text("1h", 10, ""));
    let process = Process::start(&["--config", &file, "--models", repository.path().to_str().unwrap()]).await;
    let client = &process.client;
    shows(client, "1h", 10.0).await;

    write(&path, &text("2h", 20, ""));
    process.signal("HUP");
    shows(client, "2h", 20.0).await;

    write(&path, &text("3h", 30, "[server]\nmax_body = \"1MiB\"\n"));
    let outcome = send(client.control("POST", "/api/v1/reload")).await.ok().json();
    assert_eq!(outcome["needs_restart"], serde_json::json!(["server.max_body"]));
    shows(client, "3h", 30.0).await;

    write(&path, &text("4h", 40, "[latency]\nwindow = 1\nwidth = 2\n"));
    let error = send(client.control("POST", "/api/v1/reload")).await.refused(400);
    assert!(error.contains(":6: latency.window") && error.contains("width"), "{error}");
    let said = || process.log().matches("the old one stays").count();
    until("the log says why", async || (said() == 1).then_some(())).await;
    process.signal("HUP");
    until("the log says why again", async || (said() == 2).then_some(())).await;
    write(&path, "not toml at all");
    send(client.control("POST", "/api/v1/reload")).await.refused(400);
    fs::remove_file(&path).unwrap();
    let error = send(client.control("POST", "/api/v1/reload")).await.refused(400);
    assert!(error.contains("tidegate.toml"), "{error}");
    shows(client, "3h", 30.0).await;
    client.post("/v2/models/churn/infer", held_out("churn").infer_body(0..1)).await.ok();
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn monitoring_is_switched_by_a_reload_while_requests_and_phases_are_counted_on() {
    let gateway = Gateway::start(Repository::of(&["churn/1"]), |_config| {}).await;
    let (client, rows) = (&gateway.client, held_out("churn"));
    let identity = client.version("churn", "1").await["loaded_at"].clone();
    // Rows that are sent, and those that are counted as values after it.
    for (monitoring, sent, counted) in [(true, 0..5, 5), (false, 5..12, 5), (true, 12..15, 8)] {
        let config = gateway.next_config.lock().unwrap().clone();
        let mut config = config.unwrap();
        config.models.get_mut("churn").unwrap().monitoring = monitoring;
        *gateway.next_config.lock().unwrap() = Ok(config);
        send(client.control("POST", "/api/v1/reload")).await.ok();
        let requests = sent.end;
        for row in sent {
            client.post("/v2/models/churn/infer", rows.infer_body(row..row + 1)).await.ok();
        }
        let model = client.get_admin("/api/v1/models/churn").await.ok().json();
        assert_eq!(model["monitoring"], monitoring);
        let phases = &model["versions"][0]["phases"];
        assert_eq!(phases["own"]["requests"], requests, "{phases}");
        assert!(phases["own"]["p99_seconds"].as_f64() <= phases["total"]["p99_seconds"].as_f64(), "{phases}");
        let page = client.get_admin("/metrics").await.ok().text;
        let wanted = format!("tidegate_rows_total{{model=\"churn\",version=\"1\"}} {requests}\n");
        assert!(page.contains(&wanted), "{page}");
        until(&format!("{counted} rows have been looked at"), async || {
            (client.drift("churn", "1").await["samples"] == counted).then_some(())
        })
        .await;
    }
    assert_eq!(client.version("churn", "1").await["loaded_at"], identity, "the version was loaded anew");
    gateway.stop().await;
}

/// Waits until the window and the share of version 2 are these.
async fn shows(client: &Client, window: &str, share: f64) {
    until(&format!("window {window} and {share} % are live"), async || {
        let (judged, version) = (client.drift("churn", "2").await, client.version("churn", "2").await);
        (judged["window"] == window && version["weight"] == share).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_flight_is_finished_before_the_end() {
    let repository = Repository::of(&["churn/1"]);
    let mut process = Process::start(&["--models", repository.path().to_str().unwrap()]).await;
    let client = process.client.clone();
    let body = held_out("churn").infer_body(0..5);
    let (first, second) = body.split_at(body.len() / 2);
    let mut slow = TcpStream::connect(client.http).await.unwrap();
    let head =
        format!("POST /v2/models/churn/infer HTTP/1.1\r\nhost: gateway\r\ncontent-length: {}\r\n\r\n", body.len());
    slow.write_all(head.as_bytes()).await.unwrap();
    slow.write_all(first.as_bytes()).await.unwrap();
    until("the slow request is in flight", async || {
        let page = client.get_admin("/metrics").await.ok().text;
        page.lines().any(|line| line == "tidegate_requests_in_flight 1").then_some(())
    })
    .await;
    // A connection that has had its answer and is kept open must not hold up the end.
    client.post("/v2/models/churn/infer", body.clone()).await.ok();
    process.signal("TERM");
    until("readiness is off", async || (client.get_admin("/readyz").await.status == 503).then_some(())).await;
    assert_eq!(client.get_admin("/livez").await.status, 200);
    until("no new connection is taken", async || TcpStream::connect(client.http).await.err().map(drop)).await;
    assert!(process.is_running(), "{}", process.log());
    slow.write_all(second.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(PATIENCE, slow.read_to_end(&mut answer)).await.unwrap().unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("\"model_version\":\"1\""), "{answer}");
    let status = process.ended().await;
    assert_eq!(status.code(), Some(0), "{}", process.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_never_finished_does_not_keep_the_process_beyond_its_deadline() {
    let repository = Repository::of(&["churn/1"]);
    let mut command = command(&["--http", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--models"]);
    command.arg(repository.path()).env("TIDEGATE_DRAIN_TIMEOUT", "300ms");
    let mut process = Process::start_command(command).await;
    let mut stuck = TcpStream::connect(process.client.http).await.unwrap();
    stuck
        .write_all(b"POST /v2/models/churn/infer HTTP/1.1\r\nhost: gateway\r\ncontent-length: 9\r\n\r\n{")
        .await
        .unwrap();
    until("the stuck request is in flight", async || {
        let page = process.client.get_admin("/metrics").await.ok().text;
        page.lines().any(|line| line == "tidegate_requests_in_flight 1").then_some(())
    })
    .await;
    process.signal("TERM");
    let status = process.ended().await;
    assert_eq!(status.code(), Some(0), "{}", process.log());
    assert!(process.log().contains("still in flight"), "{}", process.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_repository_lives_but_is_not_ready_until_a_model_comes() {
    let repository = Repository::empty();
    let gateway = command(&["--http", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--models"]);
    let process = Process::start_unready(gateway, repository.path()).await;
    let client = &process.client;
    assert_eq!(client.get_admin("/livez").await.status, 200);
    assert_eq!(client.get_admin("/readyz").await.status, 503);
    assert_eq!(client.get("/v2/health/live").await.status, 200);
    assert_eq!(client.get("/v2/health/ready").await.status, 503);
    client.post("/v2/models/churn/infer", held_out("churn").infer_body(0..1)).await.refused(404);
    repository.add(&shipped().join("churn/1"), "churn/1");
    client.wait_until_ready().await;
    client.post("/v2/models/churn/infer", held_out("churn").infer_body(0..1)).await.ok();
    process.stop().await;
}
