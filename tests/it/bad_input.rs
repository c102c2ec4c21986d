//! Bad input costs its sender a 4xx that says what was expected and what came, and nobody anything else.
//!
//! Nothing of it is counted into the sketches, nothing is logged above info, and no other request notices.

use crate::support::client::{Answer, Client, send};
use crate::support::gateway::Gateway;
use crate::support::process::{Process, command};
use crate::support::repository::{Repository, held_out};
use crate::support::wait::until;
use std::io::Write;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const BODY_LIMIT: usize = 16 << 10;
const INFER: &str = "/v2/models/churn/infer";
const PREDICT: &str = "/v1/models/churn:predict";
const TEN: &str = "1,2,3,4,5,6,7,1,1,1";

/// A bad request: path, body, status, and what the text of the refusal names.
struct Case(&'static str, String, u16, &'static [&'static str]);

fn input(name: &str, datatype: &str, shape: &str, data: &str) -> String {
    format!(r#"{{"inputs":[{{"name":"{name}","datatype":"{datatype}","shape":{shape},"data":[{data}]}}]}}"#)
}

fn bad_bodies() -> Vec<Case> {
    let good = input("features", "FP32", "[1,10]", TEN);
    let with = |data: &str| input("features", "FP32", "[1,10]", data);
    let mut cases = vec![
        Case(INFER, String::new(), 400, &["expected", "end"]),
        Case(INFER, "not json".into(), 400, &["expected", "byte 0"]),
        Case(INFER, "[]".into(), 400, &["expected", "object"]),
        Case(INFER, "{}".into(), 400, &["inputs"]),
        Case(INFER, good[..good.len() - 1].into(), 400, &["expected", "end"]),
        Case(INFER, format!("{good}x"), 400, &["expected", "byte"]),
        Case(INFER, format!("{good}{good}"), 400, &["expected", "byte"]),
        Case(INFER, input("absent", "FP32", "[1,10]", TEN), 400, &["absent", "features"]),
        Case(INFER, input("features", "FP64", "[1,10]", TEN), 400, &["FP64", "FP32", "features"]),
        Case(INFER, input("features", "FLOAT", "[1,10]", TEN), 400, &["FLOAT", "FP32"]),
        Case(INFER, input("features", "FP32", "[1,9]", "1,2,3,4,5,6,7,8,9"), 400, &["[1, 9]", "10"]),
        Case(INFER, input("features", "FP32", "[10]", TEN), 400, &["[10]"]),
        Case(INFER, input("features", "FP32", "[2,10]", TEN), 400, &["[2, 10]", "20", "10"]),
        Case(INFER, input("features", "FP32", "[1,10]", "1,2,3"), 400, &["10", "3"]),
        Case(INFER, input("features", "FP32", "[1,10]", &format!("{TEN},9")), 400, &["10", "more"]),
        Case(INFER, input("features", "FP32", "[-1,10]", TEN), 400, &["-1"]),
        Case(INFER, input("features", "FP32", "[1.5,10]", TEN), 400, &["1.5"]),
        Case(INFER, input("features", "FP32", "[99999999999,99999999999]", TEN), 400, &["99999999999"]),
        Case(INFER, with("NaN,2,3,4,5,6,7,1,1,1"), 400, &["NaN", "null"]),
        Case(INFER, with("Infinity,2,3,4,5,6,7,1,1,1"), 400, &["Infinity", "null"]),
        Case(INFER, with("-Infinity,2,3,4,5,6,7,1,1,1"), 400, &["Infinity"]),
        Case(INFER, with("\"1\",2,3,4,5,6,7,1,1,1"), 400, &["number", "string"]),
        Case(INFER, with("true,2,3,4,5,6,7,1,1,1"), 400, &["number", "true"]),
        Case(INFER, with("01,2,3,4,5,6,7,1,1,1"), 400, &["expected"]),
        Case(INFER, with("[1,2],3,4,5,6,7,1,1,1,1"), 400, &["[1, 10]"]),
        Case(INFER, format!(r#"{{"inputs":[],"deep":{}"#, "[".repeat(5_000)), 400, &["deep", "limit"]),
        Case(INFER, with(&"[".repeat(5_000)), 400, &["limit"]),
        Case(PREDICT, "{}".into(), 400, &["instances"]),
        Case(PREDICT, r#"{"instances":[[1,2,3]]}"#.into(), 400, &["10", "3"]),
        Case(PREDICT, format!(r#"{{"instances":[[{TEN}],[{TEN},1]]}}"#), 400, &["10"]),
        Case(PREDICT, format!(r#"{{"instances":[{{"absent":[{TEN}]}}]}}"#), 400, &["absent", "features"]),
        Case(PREDICT, format!(r#"{{"inputs":[[{TEN}]]}}"#), 400, &["instances"]),
        Case(PREDICT, r#"{"instances":[[1,2,3,4,5,6,7,1,1,NaN]]}"#.into(), 400, &["NaN"]),
        Case("/v2/models/absent/infer", good.clone(), 404, &["absent", "churn"]),
        Case("/v1/models/absent:predict", good.clone(), 404, &["absent", "churn"]),
        Case("/v2/models/churn/versions/9/infer", good.clone(), 404, &["9", "1"]),
        Case("/v2/models/churn/explain", good.clone(), 404, &["/v2/models/churn/explain", "infer"]),
        Case("/v2/models/churn", good.clone(), 405, &["GET", "POST"]),
        Case("/nowhere", good, 404, &["/nowhere"]),
    ];
    cases.push(Case(INFER, "x".repeat(BODY_LIMIT + 1), 413, &["16384", "max_body"]));
    cases
}

async fn small_gateway() -> (Process, Repository, tempfile::NamedTempFile) {
    let repository = Repository::of(&["churn/1"]);
    let mut config = tempfile::NamedTempFile::new().unwrap();
    write!(config, "[server]\nmax_body = {BODY_LIMIT}\n").unwrap();
    let mut command = command(&["--http", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--config"]);
    command.arg(config.path()).arg("--models").arg(repository.path());
    (Process::start_command(command).await, repository, config)
}

/// The rows that every feature and every output has seen, once the judge has looked.
async fn samples_at_least(client: &Client, rows: u64) -> Vec<u64> {
    let version = until(&format!("{rows} rows are seen"), async || {
        let version = client.drift("churn", "1").await;
        (version["samples"].as_u64().unwrap_or(0) >= rows).then_some(version)
    })
    .await;
    let columns = ["features", "outputs"].into_iter().flat_map(|side| version[side].as_array().unwrap());
    let mut samples: Vec<u64> = columns.map(|column| column["samples"].as_u64().unwrap()).collect();
    samples.push(version["samples"].as_u64().unwrap());
    samples
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_bad_input_is_refused_with_a_reason_and_leaves_no_trace() {
    let (process, _repository, _config) = small_gateway().await;
    let client = &process.client;
    let rows = held_out("churn");
    client.post(INFER, rows.infer_body(0..7)).await.ok();
    assert_eq!(samples_at_least(client, 7).await, vec![7; 10 + 3 + 1]);
    for Case(path, body, status, parts) in bad_bodies() {
        let shown: String = body.chars().take(120).collect();
        let answer = client.post(path, body).await;
        assert_eq!(answer.status, status, "{path} {shown}: {}", answer.text);
        let error = answer.refused(status);
        for part in parts {
            assert!(error.contains(part), "{path} {shown}: \"{part}\" is not in: {error}");
        }
        assert!(error.len() < 1000, "{path} {shown}: {} bytes of error", error.len());
    }
    bad_heads(client).await;
    bad_framing(client).await;
    // One row went with the encoding that is none, one goes now so that the judge is known to have looked after all.
    client.post(INFER, rows.infer_body(7..8)).await.ok();
    assert_eq!(samples_at_least(client, 9).await, vec![9; 10 + 3 + 1], "a refused request was counted");
    let log = process.log();
    assert!(!log.contains("WARN") && !log.contains("ERROR") && !log.contains("panicked"), "{log}");
    process.stop().await;
}

/// Methods, encodings and bytes that are no text.
async fn bad_heads(client: &Client) {
    let good = held_out("churn").infer_body(0..1);
    let error = send(client.data("GET", INFER)).await.refused(405);
    assert!(error.contains("POST") && error.contains("GET"), "{error}");
    send(client.data("DELETE", "/v2")).await.refused(405);
    send(client.data("PUT", PREDICT).body(good.clone())).await.refused(405);
    for encoding in ["gzip", "br", "identity, gzip"] {
        let error = send(client.data("POST", INFER).header("content-encoding", encoding).body(good.clone())).await;
        assert!(error.refused(415).contains(encoding), "{encoding}");
    }
    send(client.data("POST", INFER).header("content-encoding", "identity").body(good)).await.ok();
    client.post(INFER, vec![b'{', 0xff, b'"', 0xfe, b'"', b'}']).await.refused(400);
    let name = vec![b'{', b'"', 0xff, b'"', b':', b'1', b'}'];
    client.post(INFER, name).await.refused(400);
}

/// Bodies over the limit that do not say so beforehand, and bodies that end early.
async fn bad_framing(client: &Client) {
    let mut head = format!("POST {INFER} HTTP/1.1\r\nhost: gateway\r\ntransfer-encoding: chunked\r\n\r\n");
    let piece = "x".repeat(1024);
    for _ in 0..=BODY_LIMIT / piece.len() {
        head.push_str(&format!("{:x}\r\n{piece}\r\n", piece.len()));
    }
    let answer = exchange(client, head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("max_body") && answer.contains("connection: close"), "{answer}");
    let declared = format!("POST {INFER} HTTP/1.1\r\nhost: gateway\r\ncontent-length: {}\r\n\r\n", 1_u64 << 40);
    let answer = exchange(client, declared.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    let early = format!("POST {INFER} HTTP/1.1\r\nhost: gateway\r\ncontent-length: 100\r\n\r\n{{\"inputs\"");
    exchange(client, early.as_bytes()).await;
    exchange(client, b"this is not HTTP\r\n\r\n").await;
    exchange(client, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc").await;
}

/// Sends bytes, says that there are no more, and reads until the other side closes or has answered a refusal.
async fn exchange(client: &Client, bytes: &[u8]) -> String {
    let mut socket = TcpStream::connect(client.http).await.unwrap();
    // A server that refuses may close before it has read everything; what it said is still to be read.
    let _ = socket.write_all(bytes).await;
    let _ = socket.shutdown().await;
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_port_refuses_in_the_same_way() {
    let gateway = Gateway::start(Repository::of(&["churn/1"]), |_config| {}).await;
    let client = &gateway.client;
    assert!(client.get_admin("/api/v1/nothing").await.refused(404).contains("/api/v1/nothing"));
    assert!(client.get_admin("/api/v1/models/absent").await.refused(404).contains("absent"));
    assert!(client.get_admin("/api/v1/models/absent/drift").await.refused(404).contains("absent"));
    assert!(send(client.control("POST", "/metrics")).await.refused(405).contains("GET"));
    assert!(client.get_admin("/api/v1/reload").await.refused(405).contains("POST"));
    let foreign = client.control("GET", "/api/v1/models").header("host", "evil.example");
    assert!(send(foreign).await.refused(403).contains("evil.example"));
    let page = client.control("GET", "/api/v1/models").header("origin", "http://evil.example");
    assert!(send(page).await.refused(403).contains("evil.example"));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn null_is_a_missing_value_and_counted_as_such() {
    let gateway = Gateway::start(Repository::of(&["churn/1"]), |_config| {}).await;
    let body = input("features", "FP32", "[2,10]", &format!("{TEN},null,2,3,4,5,6,7,1,1,1"));
    let answer: Answer = gateway.client.post(INFER, body).await.ok();
    assert_eq!(answer.json()["outputs"][0]["shape"], serde_json::json!([2]));
    let page = gateway.client.get_admin("/metrics").await.ok().text;
    let missing = page.lines().find(|line| line.contains("order_value") && line.contains("missing"));
    assert!(missing.is_some_and(|line| line.ends_with(" 1")), "{page}");
    gateway.stop().await;
}
