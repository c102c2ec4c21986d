//! Webhooks of registries, as they come in over HTTP, and what is kept of them.
//!
//! The registry is a socket that closes every connection: how often somebody comes there is how often it is looked at.

use crate::support::client::{Answer, Client, send};
use crate::support::gateway::{Gateway, settings};
use crate::support::repository::Repository;
use crate::support::wait::until;
use crate::support::webhooks::{Standing, deliver_github, deliver_mlflow, deliver_standard, unix_seconds};
use serde_json::{Value, json};
use sqlx::sqlite::SqlitePool;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

const SECRET: &str = "s3cr3t-shared-with-gateway";
/// What Standard Webhooks' libraries are tested with.
const STANDARD_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A registry that does not answer.
struct Registry {
    url: String,
    looks: Arc<AtomicUsize>,
    _accepting: JoinSet<()>,
}

impl Registry {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (looks, mut accepting) = (Arc::new(AtomicUsize::new(0)), JoinSet::new());
        let counted = Arc::clone(&looks);
        accepting.spawn(async move {
            loop {
                drop(listener.accept().await);
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { url, looks, _accepting: accepting }
    }

    fn looks(&self) -> usize {
        self.looks.load(Ordering::Relaxed)
    }
}

/// A gateway that looks at its registry once an hour, for two models, with its state in `state`; `more` are further
/// settings, in which `SECRET`, `STANDARD`, `OPERATOR` and `VIEWER` are files that hold one.
async fn gateway(registry: &Registry, state: &Path, more: &str) -> Gateway {
    let directory = tempfile::tempdir().unwrap();
    let mut text = format!(
        "{more}\n[registry.mlflow]\nurl = \"{}\"\npoll_interval = \"1h\"\nwebhook_secret = SECRET\n\
         [models.churn]\nsource = \"models:/customer churn@champion\"\n[models.fraud]\nsource = \"models:/fraud\"\n",
        registry.url
    );
    let secrets = [("SECRET", SECRET), ("STANDARD", STANDARD_SECRET), ("OPERATOR", "operate"), ("VIEWER", "look")];
    for (name, secret) in secrets {
        let file = directory.path().join(name.to_lowercase());
        std::fs::write(&file, secret).unwrap();
        text = text.replace(name, &format!("{{ file = \"{}\" }}", file.display()));
    }
    let read = settings(&text);
    Gateway::start(Repository::of(&["breast-cancer/2"]), |config| {
        config.registry = read.registry;
        config.models = read.models;
        config.server.admin_token = read.server.admin_token;
        config.server.admin_viewer_token = read.server.admin_viewer_token;
        config.state.path = state.to_owned();
    })
    .await
}

/// Status, whether it came before, and how many were woken.
fn told(answer: &Answer) -> (u16, Value, Value) {
    let body = answer.json();
    (answer.status, body["repeated"].clone(), body["woken"].clone())
}

async fn first_looks_are_over(client: &Client) {
    until("the first looks are over", async || {
        let sources = client.get_admin("/api/v1/sources").await.ok().json();
        ["churn", "fraud"].iter().all(|model| sources["sources"][model]["problems"][0].is_string()).then_some(())
    })
    .await;
}

/// The deliveries that are kept, once there are so many.
async fn kept(client: &Client, count: usize) -> Vec<Value> {
    until(&format!("{count} deliveries are kept"), async || {
        let shown = client.get_admin("/api/v1/hooks").await.ok().json();
        shown["deliveries"].as_array().filter(|deliveries| deliveries.len() == count).cloned()
    })
    .await
}

/// A sample of `tidegate_hook_deliveries_total`.
async fn counted(client: &Client, source: &str, outcome: &str, reason: &str) -> u64 {
    let page = client.get_admin("/metrics").await.ok().text;
    let labels = format!("{{source=\"{source}\",outcome=\"{outcome}\",reason=\"{reason}\"}} ");
    let line = page.lines().find_map(|line| line.strip_prefix(&format!("tidegate_hook_deliveries_total{labels}")));
    line.unwrap_or_else(|| panic!("no {labels}in {page}")).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_webhook_has_its_model_looked_at_once_and_others_change_nothing() {
    let (registry, state) = (Registry::start().await, tempfile::tempdir().unwrap());
    let gateway = gateway(&registry, state.path(), "").await;
    let client = &gateway.client;
    first_looks_are_over(client).await;
    let before = registry.looks();

    let refused = deliver_mlflow(client, "/hooks/mlflow", ("1", "customer churn"), "guessed").await;
    assert!(refused.refused(401).contains("does not fit the secret"));
    deliver_mlflow(client, "/hooks/github", ("1", "customer churn"), SECRET).await.refused(404);
    let unknown = deliver_mlflow(client, "/hooks/mlflow", ("2", "example_model"), SECRET).await;
    assert_eq!(told(&unknown), (202, json!(false), json!(0)), "a test delivery is acknowledged");
    assert_eq!(registry.looks(), before);

    let first = deliver_mlflow(client, "/hooks/mlflow", ("3", "customer churn"), SECRET).await;
    assert_eq!(told(&first), (202, json!(false), json!(1)));
    until("the registry is looked at", async || (registry.looks() > before).then_some(())).await;
    let again = deliver_mlflow(client, "/hooks/mlflow", ("3", "customer churn"), SECRET).await;
    assert_eq!(told(&again), (202, json!(true), json!(0)));
    for (outcome, reason, count) in [("accepted", "", 2), ("repeated", "", 1), ("refused", "signature", 1)] {
        assert_eq!(counted(client, "mlflow", outcome, reason).await, count, "{outcome}");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_senders_wake_the_models_that_they_are_for() {
    let (registry, state) = (Registry::start().await, tempfile::tempdir().unwrap());
    let more = "[registry.hooks.forge]\nkind = \"github\"\nsecret = SECRET\nmodels = [\"churn\"]\n\
                [registry.hooks.any-forge]\nkind = \"github\"\nsecret = SECRET\n\
                [registry.hooks.events]\nkind = \"standard\"\nsecret = STANDARD\n";
    let gateway = gateway(&registry, state.path(), more).await;
    let client = &gateway.client;
    let pushed = json!({ "repository": { "full_name": "team/models" } }).to_string();
    let one = deliver_github(client, "/hooks/forge", ("1", &pushed), SECRET).await;
    assert_eq!(told(&one), (202, json!(false), json!(1)));
    let all = deliver_github(client, "/hooks/any-forge", ("1", &pushed), SECRET).await;
    assert_eq!(told(&all), (202, json!(false), json!(2)), "ids are those of a sender");
    let named = json!({ "type": "model.promoted", "data": { "name": "fraud" } }).to_string();
    let at = unix_seconds();
    let one = deliver_standard(client, "/hooks/events", ("msg_1", at, &named), STANDARD_SECRET).await;
    assert_eq!(told(&one), (202, json!(false), json!(1)));
    let late = deliver_standard(client, "/hooks/events", ("msg_2", at - 301, &named), STANDARD_SECRET).await;
    assert!(late.refused(401).contains("late"));
    deliver_github(client, "/hooks/forge", ("2", &pushed), "guessed").await.refused(401);
    deliver_github(client, "/hooks/events", ("2", &pushed), SECRET).await.refused(401);
    assert_eq!(counted(client, "events", "refused", "time").await, 1);
    assert_eq!(counted(client, "events", "refused", "header").await, 1);
    assert_eq!(counted(client, "forge", "refused", "signature").await, 1);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_and_bodies_without_end_are_refused_however_they_are_signed() {
    let (registry, state) = (Registry::start().await, tempfile::tempdir().unwrap());
    let gateway =
        gateway(&registry, state.path(), "[registry.hooks.forge]\nkind = \"github\"\nsecret = SECRET\n").await;
    let client = &gateway.client;
    let request = |body: &str| Standing::github(("1", body), SECRET).request(client, "/hooks/forge");
    let own = format!("http://{}", client.admin);
    for origin in ["http://evil.example", "null", &own] {
        let refused = send(request("{}").header("origin", origin)).await.refused(403);
        assert!(refused.contains("Origin"), "{refused}");
    }
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(1 << 20));
    assert!(send(request(&long)).await.refused(413).contains("1048576"));
    assert!(send(request("[]")).await.refused(400).contains("JSON object"));
    assert_eq!(told(&send(request("{}")).await), (202, json!(false), json!(2)), "a refused one may come again");
    assert_eq!(counted(client, "forge", "refused", "origin").await, 3);
    assert_eq!(counted(client, "forge", "refused", "body").await, 2);
    kept(client, 1).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_is_kept_and_can_be_taken_again() {
    let (registry, state) = (Registry::start().await, tempfile::tempdir().unwrap());
    let gateway = gateway(&registry, state.path(), "").await;
    let client = &gateway.client;
    assert_eq!(client.get_admin("/api/v1/hooks").await.ok().json(), json!({ "deliveries": [] }));
    deliver_mlflow(client, "/hooks/mlflow", ("a", "customer churn"), "guessed").await.refused(401);
    deliver_mlflow(client, "/hooks/mlflow", ("a", "customer churn"), SECRET).await;
    deliver_mlflow(client, "/hooks/mlflow", ("a", "customer churn"), SECRET).await;
    deliver_mlflow(client, "/hooks/mlflow", ("b", "example_model"), SECRET).await;
    let list = kept(client, 2).await;
    assert_eq!(
        [&list[0]["delivery_id"], &list[0]["models"], &list[0]["woken"], &list[0]["id"]],
        [&json!("b"), &json!(["example_model"]), &json!(0), &json!(2)]
    );
    assert_eq!([&list[1]["delivery_id"], &list[1]["source"], &list[1]["kind"]], ["a", "mlflow", "mlflow"]);
    assert_eq!((&list[1]["woken"], &list[1]["replay_of"], list[1].get("body")), (&json!(1), &Value::Null, None));
    let one = client.get_admin("/api/v1/hooks/1").await.ok().json();
    let body: Value = serde_json::from_str(one["body"].as_str().unwrap()).unwrap();
    assert_eq!((&body["data"]["name"], &one["body_is_whole"]), (&json!("customer churn"), &json!(true)));
    assert!(!one.to_string().contains("signature") && !one.to_string().contains("v1,"), "{one}");

    first_looks_are_over(client).await;
    let before = registry.looks();
    let again = send(client.control("POST", "/api/v1/hooks/1/replay")).await;
    assert_eq!((again.status, again.json()), (202, json!({ "accepted": true, "replay_of": 1, "woken": 1 })));
    until("the registry is looked at", async || (registry.looks() > before).then_some(())).await;
    let list = kept(client, 3).await;
    assert_eq!((&list[0]["delivery_id"], &list[0]["replay_of"]), (&json!("a"), &json!(1)));
    assert_eq!(client.get_admin("/api/v1/hooks?limit=1").await.ok().json()["deliveries"], json!([list[0]]));

    for path in ["/api/v1/hooks/4", "/api/v1/hooks/01", "/api/v1/hooks/a", "/api/v1/hooks/1/body"] {
        client.get_admin(path).await.refused(404);
    }
    client.get_admin("/api/v1/hooks?limit=0").await.refused(400);
    client.get_admin("/api/v1/hooks/1/replay").await.refused(405);
    send(client.control("POST", "/api/v1/hooks/9/replay")).await.refused(404);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_is_known_again_after_a_restart() {
    let (registry, state) = (Registry::start().await, tempfile::tempdir().unwrap());
    let first = gateway(&registry, state.path(), "").await;
    let taken = deliver_mlflow(&first.client, "/hooks/mlflow", ("a", "fraud"), SECRET).await;
    assert_eq!(told(&taken), (202, json!(false), json!(1)));
    let before = kept(&first.client, 1).await;
    first.stop().await;

    let second = gateway(&registry, state.path(), "").await;
    assert_eq!(kept(&second.client, 1).await, before);
    let copy = deliver_mlflow(&second.client, "/hooks/mlflow", ("a", "fraud"), SECRET).await;
    assert_eq!(told(&copy), (202, json!(true), json!(0)));
    let other = deliver_mlflow(&second.client, "/hooks/mlflow", ("b", "fraud"), SECRET).await;
    assert_eq!(told(&other), (202, json!(false), json!(1)));
    second.stop().await;

    // A sender that is no longer there: what it sent is shown, and cannot be taken again.
    let more = "[registry.hooks.forge]\nkind = \"github\"\nsecret = SECRET\n";
    let third = gateway(&registry, state.path(), more).await;
    deliver_github(&third.client, "/hooks/forge", ("c", "{}"), SECRET).await;
    kept(&third.client, 3).await;
    third.stop().await;
    let fourth = gateway(&registry, state.path(), "").await;
    assert_eq!(kept(&fourth.client, 3).await[0]["models"], Value::Null, "a forge names no model");
    let refused = send(fourth.client.control("POST", "/api/v1/hooks/3/replay")).await.refused(409);
    assert!(refused.contains("\"forge\""), "{refused}");
    fourth.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_sees_everything_and_changes_nothing() {
    let (registry, state) = (Registry::start().await, tempfile::tempdir().unwrap());
    let more = "[server]\nadmin_token = OPERATOR\nadmin_viewer_token = VIEWER\n";
    let gateway = gateway(&registry, state.path(), more).await;
    let client = &gateway.client;
    let taken = deliver_mlflow(client, "/hooks/mlflow", ("a", "fraud"), SECRET).await;
    assert_eq!(told(&taken), (202, json!(false), json!(1)), "a webhook needs its signature and no token");
    let ask = async |method: &str, path: &str, token: &str| send(client.control(method, path).bearer_auth(token)).await;
    until("the delivery is kept", async || (ask("GET", "/api/v1/hooks/1", "look").await.status == 200).then_some(()))
        .await;
    for path in ["/metrics", "/api/v1/models", "/api/v1/models/breast-cancer/drift", "/api/v1/hooks", "/api/v1/sources"]
    {
        ask("GET", path, "look").await.ok();
        ask("GET", path, "operate").await.ok();
        ask("GET", path, "guess").await.refused(401);
        client.get_admin(path).await.refused(401);
    }
    for (method, path) in [
        ("POST", "/api/v1/hooks/1/replay"),
        ("POST", "/api/v1/reload"),
        ("PUT", "/api/v1/models/breast-cancer/split"),
        ("DELETE", "/api/v1/models/breast-cancer/split"),
    ] {
        let refused = ask(method, path, "look").await.refused(403);
        assert!(refused.contains("server.admin_token"), "{refused}");
        ask(method, path, "guess").await.refused(401);
    }
    assert_eq!(ask("POST", "/api/v1/hooks/1/replay", "operate").await.status, 202);
    ask("DELETE", "/api/v1/models/breast-cancer/split", "operate").await.ok();
    client.get_admin("/livez").await.ok();
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_place_for_state_webhooks_are_taken_and_the_inbox_says_why_it_is_not_there() {
    let (registry, file) = (Registry::start().await, tempfile::NamedTempFile::new().unwrap());
    let cache = tempfile::tempdir().unwrap();
    let more = format!("[registry.cache]\npath = \"{}\"\n", cache.path().display());
    let gateway = gateway(&registry, &file.path().join("state"), &more).await;
    let client = &gateway.client;
    let taken = deliver_mlflow(client, "/hooks/mlflow", ("a", "fraud"), SECRET).await;
    assert_eq!(told(&taken), (202, json!(false), json!(1)));
    for (method, path) in [("GET", "/api/v1/hooks"), ("GET", "/api/v1/hooks/1"), ("POST", "/api/v1/hooks/1/replay")] {
        let refused = send(client.control(method, path)).await.refused(503);
        assert!(refused.contains("not kept") && refused.contains("state directory"), "{refused}");
    }
    let page = client.get_admin("/metrics").await.ok().text;
    assert!(page.contains("tidegate_dropped_total{queue=\"hook_inbox\"} 0"), "{page}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_hangs_delays_no_acknowledgement_and_what_cannot_be_kept_is_counted() {
    let (registry, state) = (Registry::start().await, tempfile::tempdir().unwrap());
    let gateway = gateway(&registry, state.path(), "").await;
    let client = &gateway.client;
    deliver_mlflow(client, "/hooks/mlflow", ("before", "fraud"), SECRET).await;
    kept(client, 1).await;
    let pool = SqlitePool::connect(&format!("sqlite://{}", state.path().join("tidegate.db").display())).await.unwrap();
    let mut other = pool.acquire().await.unwrap();
    sqlx::query("BEGIN EXCLUSIVE").execute(&mut *other).await.unwrap();
    let mut sent = 0;
    until("more wait than may", async || {
        for _ in 0..50 {
            sent += 1;
            let taken = deliver_mlflow(client, "/hooks/mlflow", (&sent.to_string(), "fraud"), SECRET).await;
            assert_eq!(told(&taken), (202, json!(false), json!(1)));
        }
        let page = client.get_admin("/metrics").await.ok().text;
        let dropped = page.lines().find_map(|line| line.strip_prefix("tidegate_dropped_total{queue=\"hook_inbox\"} "));
        (dropped.unwrap().parse::<u64>().unwrap() > 0).then_some(())
    })
    .await;
    kept(client, 1).await;
    sqlx::query("ROLLBACK").execute(&mut *other).await.unwrap();
    drop(other);
    pool.close().await;
    until("deliveries are kept again", async || {
        sent += 1;
        deliver_mlflow(client, "/hooks/mlflow", (&sent.to_string(), "fraud"), SECRET).await;
        let shown = client.get_admin("/api/v1/hooks?limit=1").await.ok().json();
        (shown["deliveries"][0]["delivery_id"] != "before").then_some(())
    })
    .await;
    gateway.stop().await;
}
