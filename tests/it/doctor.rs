//! `tidegate doctor` names what is wrong, against real MLflow servers that are set up wrongly.
//!
//! A server is started for each way of being set up, not for each thing that is wrong with it, because one takes longer
//! to start than everything that is asked of it here.

use crate::support::gateway::{Gateway, settings};
use crate::support::mlflow::{MlflowServer, Setup};
use crate::support::process::{command, run};
use crate::support::repository::Repository;
use serde_json::{Value, json};
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

const SECRET: &str = "s3cr3t-shared-with-gateway";
const PASSWORD: &str = "correct-horse-battery";
/// A Fernet key: 32 bytes in URL-safe base64.
const KEY: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
/// Lets webhooks go to this machine over HTTP.
const OPEN: [(&str, &str); 2] =
    [("MLFLOW_WEBHOOK_ALLOWED_SCHEMES", "http,https"), ("MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS", "true")];

/// A place with a configuration, and what a doctor says of it.
struct Case {
    directory: tempfile::TempDir,
}

/// What a doctor said.
struct Report(Value);

impl Case {
    /// Settings of a gateway with a model of a registry; `more` follows `[registry.mlflow]`.
    fn new(url: &str, more: &str, models: &str) -> Self {
        let case = Self { directory: tempfile::tempdir().unwrap() };
        for (name, secret) in [("secret", SECRET), ("password", PASSWORD)] {
            fs::write(case.path(name), secret).unwrap();
        }
        fs::create_dir(case.path("models")).unwrap();
        let (repository, secret) = (case.path("models"), case.path("secret"));
        let text = format!(
            "[repository]\npath = {repository:?}\n[registry.cache]\npath = {:?}\n\
             [registry.mlflow]\nurl = \"{url}\"\nwebhook_secret = {{ file = {secret:?} }}\n{more}\n{models}\n",
            case.path("cache"),
        );
        fs::write(case.path("tidegate.toml"), text).unwrap();
        case
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn text(&self) -> String {
        fs::read_to_string(self.path("tidegate.toml")).unwrap()
    }

    /// Runs the doctor; its exit code must agree with what it says.
    async fn doctor(&self, arguments: &[&str]) -> Report {
        let config = self.path("tidegate.toml");
        let mut doctor = command(&["doctor", "--json", "--config", config.to_str().unwrap()]);
        doctor.args(arguments);
        let (status, out, err) = tokio::task::spawn_blocking(move || run(doctor)).await.unwrap();
        let report: Value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error} in {out}{err}"));
        assert_eq!(status.code(), Some(if report["healthy"] == true { 0 } else { 1 }), "{out}");
        for secret in [SECRET, PASSWORD] {
            assert!(!out.contains(secret) && !err.contains(secret), "{out}{err}");
        }
        Report(report)
    }
}

impl Report {
    /// What is said of a check.
    fn of(&self, check: &str) -> &Value {
        let checks = self.0["checks"].as_array().unwrap();
        checks.iter().find(|finding| finding["check"] == check).unwrap_or_else(|| panic!("no {check} in {:#}", self.0))
    }

    fn is_ok(&self, check: &str) -> &str {
        let finding = self.of(check);
        assert_eq!(finding["status"], "ok", "{finding:#}");
        finding["found"].as_str().unwrap()
    }

    /// What it says to do about a problem.
    fn problem(&self, check: &str) -> &str {
        self.remedy(check, "problem")
    }

    fn remedy(&self, check: &str, status: &str) -> &str {
        let finding = self.of(check);
        assert_eq!(finding["status"], status, "{finding:#}");
        finding["remedy"].as_str().unwrap()
    }
}

fn admin_port() -> String {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    free.local_addr().unwrap().to_string()
}

fn churn() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models/churn/2/model.onnx")
}

/// A gateway with the settings of a case, and flags that name its ports.
async fn gateway(case: &Case) -> (Gateway, Vec<String>) {
    let read = settings(&case.text());
    let gateway = Gateway::start(Repository::of(&["breast-cancer/2"]), |config| {
        config.registry = read.registry;
        config.models = read.models;
    })
    .await;
    let flags = ["--http".to_owned(), gateway.running.http().to_string()].into_iter();
    let flags = flags.chain(["--admin".to_owned(), gateway.running.admin().to_string()]).collect();
    (gateway, flags)
}

/// Every webhook of a server.
async fn webhooks(server: &MlflowServer) -> Value {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client.get(format!("{}/api/2.0/mlflow/webhooks", server.url())).send().await.unwrap();
    serde_json::from_str::<Value>(&answer.text().await.unwrap()).unwrap()["webhooks"].clone()
}

/// Changes a webhook behind the doctor's back.
async fn change_webhook(server: &MlflowServer, id: &str, change: Value) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("{}/api/2.0/mlflow/webhooks/{id}", server.url());
    assert_eq!(client.patch(url).json(&change).send().await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_made_tested_and_kept_right_until_the_servers_key_changes() {
    let variables = [OPEN[0], OPEN[1], ("MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY", KEY)];
    let server = MlflowServer::start_with(&Setup { variables: &variables, ..Setup::default() }).await;
    server.register(&churn(), "churn");
    let case = Case::new(&server.url(), "", "[models.churn]\nsource = \"models:/churn\"");
    let (gateway, flags) = gateway(&case).await;
    let beside: Vec<&str> = flags.iter().map(String::as_str).collect();
    let repairing = [&beside[..], &["--repair"]].concat();

    let before = case.doctor(&beside).await;
    assert!(before.is_ok("port server.http").contains("a gateway that runs"));
    assert!(before.is_ok("port server.admin").contains("a gateway that runs"));
    assert!(before.is_ok("registry release").starts_with("MLflow 3."));
    assert!(before.is_ok("source churn").contains("serves version 1, kept warm: 2"));
    assert!(before.remedy("webhook", "warning").contains("--repair"));
    assert_eq!((before.of("webhook test")["status"].as_str(), webhooks(&server).await), (Some("skipped"), Value::Null));

    let repaired = case.doctor(&repairing).await;
    assert!(
        repaired.is_ok("webhook").contains("is made") && repaired.is_ok("webhook").contains("MLFLOW_WEBHOOK_CACHE_TTL")
    );
    assert!(repaired.is_ok("webhook test").contains("(202)"));
    let made = webhooks(&server).await;
    assert_eq!(made.as_array().unwrap().len(), 1, "{made}");
    let again = case.doctor(&repairing).await;
    assert!(again.is_ok("webhook").contains("is sent to") && again.is_ok("webhook test").contains("(202)"));
    assert_eq!(webhooks(&server).await, made, "a second repair changes nothing");
    assert_eq!(again.0["counts"]["problem"], 0, "{:#}", again.0);

    let id = made[0]["webhook_id"].as_str().unwrap().to_owned();
    what_differs_is_told_and_repaired(&case, &server, (&id, &beside, &repairing)).await;
    gateway.stop().await;
    without_a_gateway_nothing_listens(&case).await;
    let setup = Setup { variables: &OPEN, arguments: &["--no-serve-artifacts"] };
    let server = server.restart_with(&setup).await;
    what_a_changed_server_refuses_is_named(&case, &server).await;
    server.stop().await;
}

async fn what_differs_is_told_and_repaired(
    case: &Case,
    server: &MlflowServer,
    (id, beside, repairing): (&str, &[&str], &[&str]),
) {
    change_webhook(server, id, json!({ "secret": "another" })).await;
    let forged = case.doctor(beside).await;
    assert!(forged.problem("webhook test").contains("registry.mlflow.webhook_secret"));
    assert!(forged.of("webhook test")["found"].as_str().unwrap().contains("the secrets differ"));
    assert!(case.doctor(repairing).await.is_ok("webhook test").contains("was given ours"));
    assert!(case.doctor(beside).await.is_ok("webhook test").contains("(202)"));

    let event = json!([{ "entity": "MODEL_VERSION", "action": "CREATED" }]);
    change_webhook(server, id, json!({ "status": "DISABLED", "events": event, "url": "http://127.0.0.1:9/x" })).await;
    let disabled = case.doctor(beside).await;
    let found = disabled.of("webhook")["found"].as_str().unwrap();
    for told in ["is DISABLED", "model_version_alias.created", "sent to http://127.0.0.1:9"] {
        assert!(found.contains(told), "{found}");
    }
    let mended = case.doctor(repairing).await;
    assert!(mended.is_ok("webhook").contains("is changed") && mended.is_ok("webhook test").contains("(202)"));
    let kept = webhooks(server).await;
    assert_eq!((kept.as_array().unwrap().len(), &kept[0]["status"]), (1, &json!("ACTIVE")));
}

async fn without_a_gateway_nothing_listens(case: &Case) {
    // Another port than the gateway had: the webhook, known by its name, is to be sent there.
    let (http, admin) = (admin_port(), admin_port());
    let report = case.doctor(&["--http", &http, "--admin", &admin, "--repair"]).await;
    assert!(report.is_ok("port server.admin").contains("is free"));
    assert!(report.remedy("webhook test", "warning").contains("start the gateway"));
}

async fn what_a_changed_server_refuses_is_named(case: &Case, server: &MlflowServer) {
    let text = case.text();
    let moved = text
        .lines()
        .map(|line| if line.starts_with("url") { format!("url = {:?}", server.url()) } else { line.to_owned() });
    fs::write(case.path("tidegate.toml"), moved.collect::<Vec<_>>().join("\n")).unwrap();
    let admin = admin_port();
    let report = case.doctor(&["--http", "127.0.0.1:0", "--admin", &admin]).await;
    assert!(report.problem("webhook").contains("MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY"));
    assert!(report.problem("source churn/1").contains("--serve-artifacts"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_defaults_names_the_variable_that_each_refusal_comes_from() {
    let server = MlflowServer::start().await;
    let made = server.register(&churn(), "churn");
    let model = |source: &str| format!("[models.churn]\nsource = \"{source}\"");
    let case = Case::new(&server.url(), "", &model("models:/churn@champion"));
    let admin = admin_port();
    let flags = ["--http", "127.0.0.1:0", "--admin", &admin, "--repair"];

    let http = case.doctor(&flags).await;
    assert!(http.problem("webhook").contains("MLFLOW_WEBHOOK_ALLOWED_SCHEMES=http,https"));
    assert!(http.is_ok("source churn/1").contains("can be fetched"));
    assert!(http.is_ok("clock").contains("within"));
    let url = format!("https://{admin}/hooks/mlflow");
    let https = case.doctor(&[&flags[..], &["--webhook-url", &url]].concat()).await;
    assert!(https.problem("webhook").contains("MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS=true"));
    assert_eq!(webhooks(&server).await, Value::Null);

    let wrong_host = Case::new(&server.url_of_another_host(), "", &model("models:/churn")).doctor(&flags).await;
    let host = server.url_of_another_host();
    let host = host.trim_start_matches("http://").split('/').next().unwrap();
    assert!(wrong_host.is_ok("registry").contains("answers"), "health is exempt");
    assert!(wrong_host.problem("registry api").contains(&format!("MLFLOW_SERVER_ALLOWED_HOSTS={host} ")));
    let wrong_path =
        Case::new(&format!("{}/elsewhere", server.url()), "", &model("models:/churn")).doctor(&flags).await;
    assert!(wrong_path.problem("registry").contains("--static-prefix"));

    for (uri, named) in [("models:/churn@nobody", "set the alias"), ("models:/nobody", "register it")] {
        let absent = Case::new(&server.url(), "", &model(uri)).doctor(&flags).await;
        assert!(absent.problem("source churn").contains(named), "{uri}");
    }
    let roles = format!("{}\nroles = {{ production = \"stable\" }}", model("models:/churn"));
    assert!(
        Case::new(&server.url(), "", &roles).doctor(&flags).await.problem("source churn").contains("\"production\"")
    );
    fs::remove_file(server.artifacts(made[0]["uri"].as_str().unwrap()).join("model.onnx")).unwrap();
    assert!(case.doctor(&flags).await.problem("source churn/1").contains("READY"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_keeps_files_is_told_to_send_nothing() {
    let variables = [("MLFLOW_ALLOW_FILE_STORE", "true")];
    let arguments = ["--backend-store-uri", "./files"];
    let server = MlflowServer::start_with(&Setup { variables: &variables, arguments: &arguments }).await;
    let case = Case::new(&server.url(), "", "");
    let report = case.doctor(&["--http", "127.0.0.1:0", "--admin", &admin_port(), "--repair"]).await;
    assert!(report.remedy("webhook", "warning").contains("polling alone"));
    assert!(report.of("webhook")["found"].as_str().unwrap().contains("FileStore"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_wants_a_login_names_the_settings_of_one() {
    let variables = [("MLFLOW_AUTH_ADMIN_PASSWORD", PASSWORD), ("MLFLOW_FLASK_SERVER_SECRET_KEY", "any")];
    let server =
        MlflowServer::start_with(&Setup { variables: &variables, arguments: &["--app-name", "basic-auth"] }).await;
    let flags = ["--http", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    let nobody = Case::new(&server.url(), "", "").doctor(&flags).await;
    assert!(nobody.problem("registry api").contains("set registry.mlflow.username and registry.mlflow.password"));
    let case = |user: &str, file: &str| {
        let case = Case::new(&server.url(), "", "");
        let login = format!("username = \"{user}\"\npassword = {{ file = {:?} }}\n", case.path(file));
        fs::write(case.path("tidegate.toml"), format!("{}{login}", case.text())).unwrap();
        case
    };
    let stranger = case("admin", "secret").doctor(&flags).await;
    assert!(stranger.problem("registry api").contains("check registry.mlflow.username"));
    let known = case("admin", "password").doctor(&flags).await;
    assert!(known.is_ok("registry api").contains("as registry.mlflow.username"));
    server.stop().await;
}

#[test]
fn settings_engines_models_and_ports_are_told_without_a_registry() {
    let repository = Repository::of(&["churn/2"]);
    fs::create_dir_all(repository.path().join("broken/1")).unwrap();
    fs::write(repository.path().join("broken/1/model.onnx"), "no graph").unwrap();
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let held = holder.local_addr().unwrap().to_string();
    let path = repository.path().to_str().unwrap();
    let (status, out, _) = run(command(&["doctor", "--models", path, "--http", &held, "--admin", "127.0.0.1:0"]));
    assert_eq!(status.code(), Some(1), "{out}");
    for told in
        ["model churn/2", "loads on", "model broken/1", "port server.http", "is held by something else", "2 problem(s)"]
    {
        assert!(out.contains(told), "{told} is not in:\n{out}");
    }
    let (status, out, _) = run(command(&["doctor", "--http", "nowhere", "--workers", "0"]));
    assert!(status.code() == Some(1) && out.contains("--http") && out.contains("--workers"), "{out}");
    let (status, _, err) = run(command(&["doctor", "--webhook-url", "gateway:8002"]));
    assert!(status.code() == Some(2) && err.contains("--webhook-url"), "{err}");
}
