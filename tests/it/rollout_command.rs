//! `tidegate rollout` as a person and a script use it, and the routes behind it before there is any rollout.

use crate::rollouts::{Traffic, add_like_one, in_phase, started, without_a_number};
use crate::support::admin::{AdminPort, Asked};
use crate::support::client::send;
use crate::support::gateway::{Gateway, settings};
use crate::support::process::{command, run};
use crate::support::repository::{Repository, shipped};
use crate::support::wait::until;
use serde_json::{Value, json};
use std::path::Path;

/// What a command came to: its exit code, standard output and standard error.
pub(crate) type Came = (Option<i32>, String, String);

pub(crate) fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Runs the command on a thread of its own, so that the port in this process can answer.
pub(crate) async fn rollout(arguments: Vec<String>, variables: &'static [(&'static str, &'static str)]) -> Came {
    let running = tokio::task::spawn_blocking(move || {
        let words: Vec<&str> = ["rollout"].into_iter().chain(arguments.iter().map(String::as_str)).collect();
        let mut command = command(&words);
        command.envs(variables.iter().copied());
        let (status, out, error) = run(command);
        (status.code(), out, error)
    });
    running.await.unwrap()
}

fn view() -> Value {
    json!({
        "id": "3f9a1c", "model": "churn", "target": 2, "digest": null, "stable": 1, "generation": 7,
        "phase": { "name": "canary", "step": 1 }, "pause": "gate", "weight": 5.0, "started_at": 1_000, "since": 2_000,
        "ended_at": null, "reason": "step 1 passed", "progress": progress(), "judgement": null, "guards": null, "shadow": null, "test": null,
        "problem": null,
    })
}

fn progress() -> Value {
    json!({
        "next": { "name": "canary", "step": 2 }, "next_weight": 25.0, "requests": 480, "min_requests": 500,
        "seconds": 61.5, "min_seconds": 60.0, "max_seconds": 3_600.0, "on_timeout": "hold",
        "missing": ["20 more requests of version 2 (480 of 500)"],
    })
}

fn explanation(is_identical: bool) -> Value {
    let metric = json!({
        "metric": "errors", "verdict": "fail", "ln_evidence": 9.5, "ln_threshold": 6.9, "tolerance": 0.001,
        "effect": { "value": 0.01, "interval": { "low": 0.004, "high": 0.016 } }, "canary": 3_000, "stable": 57_000,
        "summary": "1.5 % of the answers are errors, of stable's 0.5 %",
    });
    let decision = json!({ "kind": "decision", "says": { "judgement": { "verdict": "fail", "metrics": [metric] } } });
    let entry =
        json!({ "sequence": 4, "at": 3_000, "summary": "rolled back", "entry": decision, "replayed": is_identical });
    json!({ "rollout": view(), "entries": [entry] })
}

fn answer(what: &str) -> (u16, Value) {
    match what {
        "GET /api/v1/rollouts" => (200, json!({ "rollouts": [view()] })),
        "GET /api/v1/rollouts/churn/explain" => (200, explanation(true)),
        "GET /api/v1/rollouts/churn/explain?id=0dd" => (200, explanation(false)),
        "POST /api/v1/rollouts/churn/promote" => (409, json!({ "error": "the rollout is at generation 8" })),
        "POST /api/v1/rollouts/churn/resume" => (503, json!({ "error": "try again" })),
        "GET /api/v1/rollouts/a%20b%2Fc" => (404, json!({ "error": "unknown model \"a b/c\"" })),
        _ => (200, view()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_gateway_says_is_told_to_people_and_to_programs() {
    let port = AdminPort::start(answer).await;
    let admin = port.address.to_string();
    let (code, out, error) = rollout(words(&["list", "--admin", &admin]), &[]).await;
    assert_eq!(code, Some(0), "{error}");
    assert!(out.starts_with("MODEL  VERSIONS  PHASE") && out.contains("canary, step 2, waits: gate"), "{out}");
    let (code, out, _) = rollout(words(&["show", "churn", "--admin", &admin]), &[]).await;
    for said in [
        "to go on   its plan wants somebody's word",
        "progress   480 of 500 requests needed, 1m 1s of at least 1m; next is canary, step 3 at 25 %; without a verdict after",
        "to go on   20 more requests of version 2 (480 of 500)",
    ] {
        assert!(code == Some(0) && out.contains(said), "{said} is not in\n{out}");
    }
    let (code, out, _) = rollout(words(&["show", "churn", "--json", "--admin", &admin]), &[]).await;
    assert_eq!((code, serde_json::from_str::<Value>(&out).unwrap()), (Some(0), view()));

    let (code, out, _) = rollout(words(&["explain", "churn", "--admin", &admin]), &[]).await;
    assert_eq!(code, Some(0));
    for said in ["#4 1970-01-01T00:00:03Z  rolled back", "0.01 [0.004, 0.016]", "1.5 % of the answers", ": identical"] {
        assert!(out.contains(said), "{said} is not in\n{out}");
    }
    let (code, out, error) = rollout(words(&["explain", "churn", "--id", "0dd", "--admin", &admin]), &[]).await;
    assert!(code == Some(1) && out.contains("NOT IDENTICAL") && error.contains("1 decisions do not follow"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_sent_as_they_are_given_and_a_token_with_them() {
    let port = AdminPort::start(answer).await;
    let admin = format!("http://{}", port.address);
    let with_token = &[("TIDEGATE_ADMIN_TOKEN", "operate"), ("TIDEGATE_ADMIN_VIEWER_TOKEN", "look")];
    let start = ["start", "churn", "--version", "3", "--test", "errors", "--weight", "50", "--admin", &admin];
    assert_eq!(rollout(words(&start), with_token).await.0, Some(0));
    assert_eq!(rollout(words(&["abort", "churn", "--admin", &admin]), with_token).await.0, Some(0));
    assert_eq!(
        rollout(words(&["list", "--admin", &admin]), &[("TIDEGATE_ADMIN_VIEWER_TOKEN", "look")]).await.0,
        Some(0)
    );
    let asked = port.take_asked();
    let shown: Vec<(&str, Option<&str>)> =
        asked.iter().map(|asked| (asked.what.as_str(), asked.authorization.as_deref())).collect();
    assert_eq!(
        shown,
        [
            ("POST /api/v1/rollouts/churn/start", Some("Bearer operate")),
            ("POST /api/v1/rollouts/churn/abort", Some("Bearer operate")),
            ("GET /api/v1/rollouts", Some("Bearer look"))
        ]
    );
    let body = json!({ "version": 3, "test": { "question": "errors", "weight": 50.0 } });
    assert_eq!(serde_json::from_str::<Value>(&asked[0].body).unwrap(), body);
    assert_eq!(asked[1].body, "{}");

    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(file("token"), "from-a-file\n").unwrap();
    std::fs::write(file("tidegate.toml"), format!("[server]\nadmin = \"{}\"\n", port.address)).unwrap();
    let of_config = ["pause", "churn", "--config", &file("tidegate.toml"), "--token-file", &file("token")];
    assert_eq!(rollout(words(&of_config), &[]).await.0, Some(0));
    let Asked { what, authorization, .. } = port.take_asked().remove(0);
    let expected = ("POST /api/v1/rollouts/churn/pause", Some("Bearer from-a-file"));
    assert_eq!((what.as_str(), authorization.as_deref()), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exit_code_says_whether_trying_again_may_help() {
    let port = AdminPort::start(answer).await;
    let admin = port.address.to_string();
    let refused = rollout(words(&["promote", "churn", "--generation", "7", "--admin", &admin]), &[]).await;
    assert!(refused.0 == Some(1) && refused.2.contains("answered 409: the rollout is at generation 8"), "{refused:?}");
    assert_eq!(port.take_asked()[0].body, "{\"generation\":7}");
    let unknown = rollout(words(&["show", "a b/c", "--admin", &admin]), &[]).await;
    assert!(unknown.0 == Some(1) && unknown.2.contains("unknown model"), "{unknown:?}");
    let busy = rollout(words(&["resume", "churn", "--admin", &admin]), &[]).await;
    assert!(busy.0 == Some(3) && busy.2.contains("answered 503: try again"), "{busy:?}");
    assert_eq!(rollout(words(&["resume"]), &[]).await.0, Some(2));
    drop(port);
    let gone = rollout(words(&["list", "--admin", &admin]), &[]).await;
    assert!(gone.0 == Some(3) && gone.2.contains("is a gateway running"), "{gone:?}");
    let (code, _, error) = rollout(words(&["list"]), &[("TIDEGATE_ADMIN", "nowhere")]).await;
    assert!(code == Some(1) && error.contains("TIDEGATE_ADMIN") && error.contains("--admin ADDR"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_without_a_rollout_says_so_and_refuses_what_makes_no_sense() {
    let gateway = Gateway::start(Repository::of(&["churn/1"]), |_config| {}).await;
    let client = &gateway.client;
    assert_eq!(client.get_admin("/api/v1/rollouts").await.ok().json(), json!({ "rollouts": [] }));
    let admin = client.admin.to_string();
    let (code, out, _) = rollout(words(&["list", "--admin", &admin]), &[]).await;
    assert_eq!((code, out.as_str()), (Some(0), "no model has had a rollout\n"));
    assert_eq!(client.get_admin("/api/v1/models/churn").await.ok().json()["rollout"], Value::Null);
    assert!(!client.get_admin("/metrics").await.ok().text.contains("tidegate_rollout_state"));

    assert!(client.get_admin("/api/v1/rollouts/churn").await.refused(404).contains("has no rollout"));
    assert!(client.get_admin("/api/v1/rollouts/nobody").await.refused(404).contains("unknown model"));
    assert!(client.get_admin("/api/v1/rollouts/churn/undo").await.refused(404).contains("no such path"));
    assert!(client.get_admin("/api/v1/rollouts/churn/abort").await.refused(405).contains("POST"));
    assert!(client.get_admin("/api/v1/rollouts/churn/explain?of=1").await.refused(400).contains("id="));
    let order = async |path: &str, body: &'static str| {
        send(client.control("POST", &format!("/api/v1/rollouts/{path}")).body(body)).await
    };
    assert!(order("nobody/start", "").await.refused(404).contains("unknown model"));
    assert!(order("churn/pause", "{\"version\":2}").await.refused(400).contains("unknown field `version`"));
    assert!(order("churn/start", "[").await.refused(400).contains("\"test\""));
    assert!(
        order("churn/start", "{\"test\":{\"weight\":100,\"question\":\"errors\"}}")
            .await
            .refused(400)
            .contains("below 100")
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_only_look_gives_no_orders() {
    let directory = tempfile::tempdir().unwrap();
    let secret = |name: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, name).unwrap();
        format!("{{ file = \"{}\" }}", Path::display(&path))
    };
    let text = format!("[server]\nadmin_token = {}\nadmin_viewer_token = {}\n", secret("operate"), secret("look"));
    let tokens = settings(&text).server;
    let gateway = Gateway::start(Repository::of(&["churn/1"]), |config| {
        config.server.admin_token = tokens.admin_token;
        config.server.admin_viewer_token = tokens.admin_viewer_token;
    })
    .await;
    let admin = gateway.client.admin.to_string();
    let viewer = &[("TIDEGATE_ADMIN_VIEWER_TOKEN", "look")];
    assert_eq!(rollout(words(&["list", "--admin", &admin]), viewer).await.0, Some(0));
    let (code, _, error) =
        rollout(words(&["abort", "churn", "--admin", &admin]), &[("TIDEGATE_ADMIN_TOKEN", "look")]).await;
    assert!(code == Some(1) && error.contains("may look (GET) and change nothing"), "{error}");
    let (code, _, error) = rollout(words(&["list", "--admin", &admin]), &[]).await;
    assert!(code == Some(1) && error.contains("--token-file"), "{error}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_is_told_what_to_do_from_the_command_line_and_explains_who_said_what() {
    let plan = "[models.churn]\nrollout = { steps = [50], min_time = \"10m\", max_time = \"1h\" }\n";
    let wanted = settings(plan).model("churn");
    let gateway = Gateway::start(Repository::of(&["churn/1"]), |config| {
        config.models.insert("churn".to_owned(), wanted);
    })
    .await;
    let (client, admin) = (&gateway.client, gateway.client.admin.to_string());
    client.wait_until_serving("churn", "1").await;
    gateway.repository.add(&shipped().join("churn/2"), "churn/2");
    let phase = async || client.get_admin("/api/v1/models/churn").await.ok().json()["rollout"]["phase"]["name"].clone();
    until("version 2 has a share", async || (phase().await == "canary").then_some(())).await;
    let command = async |given: &[&str]| rollout(words(&[given, &["--admin", &admin]].concat()), &[]).await;

    let (code, out, error) = command(&["show", "churn"]).await;
    assert!(code == Some(0) && out.contains("canary, step 1") && out.contains("share      50 %"), "{out}{error}");
    assert!(
        out.contains("progress   0 of 500 requests needed, ") && out.contains("; next is promoting at 100 %"),
        "{out}"
    );
    let (code, out, error) = command(&["pause", "churn"]).await;
    assert!(code == Some(0) && out.contains("to go on   somebody paused it"), "{out}{error}");
    let (code, _, error) = command(&["resume", "churn", "--generation", "1"]).await;
    assert!(code == Some(1) && error.contains("answered 409") && error.contains("look again"), "{error}");
    assert_eq!(command(&["resume", "churn"]).await.0, Some(0));
    assert_eq!(command(&["abort", "churn"]).await.0, Some(0));
    until("version 2 has lost its share", async || (phase().await == "rolled_back").then_some(())).await;
    assert_eq!(command(&["abort", "churn"]).await.0, Some(1), "there is nothing left to take away");

    let (code, out, error) = command(&["explain", "churn"]).await;
    assert!(code == Some(0), "{out}{error}");
    for order in ["pause", "resume", "abort"] {
        let said = |line: &str| {
            let by = line.contains("somebody without a token at 127.0.0.1:");
            by && line.ends_with(&format!("said: {order}"))
        };
        assert!(out.lines().any(said), "{order} is not in\n{out}");
    }
    let page = client.get_admin("/metrics").await.ok().text;
    for series in [
        "tidegate_rollout_state{model=\"churn\",version=\"2\",phase=\"rolled_back\"} 1",
        "tidegate_rollout_weight{model=\"churn\",version=\"2\"} 0",
        "tidegate_rollouts_total{model=\"churn\",outcome=\"rolled_back\"} 1",
    ] {
        assert!(page.lines().any(|line| line == series), "{series} is not in\n{page}");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_explanation_that_was_kept_is_made_again_without_its_gateway() {
    let gateway = started("rollout = { steps = [50], min_time = \"10m\", max_time = \"1h\" }").await;
    let client = gateway.client.clone();
    let traffic = Traffic::start(&client);
    add_like_one(&gateway, "churn/2", without_a_number);
    in_phase(&client, "rolled_back").await;
    drop(traffic);
    let mut kept = client.get_admin("/api/v1/rollouts/churn/explain").await.ok().json();
    gateway.stop().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("kept.json").to_str().unwrap().to_owned();
    let again = async |text: String, more: &[&str]| {
        std::fs::write(&file, text).unwrap();
        rollout(words(&[&["explain", "--from", &file], more].concat()), &[]).await
    };
    let (code, out, error) = again(kept.to_string(), &[]).await;
    assert!(code == Some(0) && out.contains("made again from these counts: identical"), "{out}{error}");

    let entries = kept["entries"].as_array_mut().unwrap();
    let decision = entries.iter_mut().find(|entry| entry["entry"]["kind"] == "decision").unwrap();
    for counted in ["guards", "counts"] {
        decision["entry"]["says"][counted] = json!([]);
    }
    let (code, out, error) = again(kept.to_string(), &["--json"]).await;
    let shown: Value = serde_json::from_str(&out).unwrap();
    let mut judged = shown["entries"].as_array().unwrap().iter().filter(|entry| entry["replayed"] == false);
    assert_eq!(judged.next().unwrap()["judged"]["verdict"], "not_enough_data", "nothing was counted");
    assert!(code == Some(1) && error.contains("1 decisions do not follow"), "{error}");

    kept["entries"][0]["entry"]["kind"] = json!("dreamt");
    for text in [kept.to_string(), "{}".to_owned()] {
        let (code, _, error) = again(text, &[]).await;
        assert!(code == Some(1) && error.contains("kept.json"), "{error}");
    }
}
