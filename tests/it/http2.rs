//! HTTP/2 on the data port: many requests at once on one connection, spread over the workers, each answered as if it were
//! alone; what one does wrong costs the others nothing.

use crate::support::gateway::Gateway;
use crate::support::http2::{Connection, Sent};
use crate::support::python::say;
use crate::support::repository::{Repository, held_out};
use crate::support::wait::{PATIENCE, until};
use hyper::Method;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const INFER: &str = "/v2/models/churn/infer";
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The frame that follows the preface, without any settings.
const NO_SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];

async fn gateway(adjust: impl FnOnce(&mut tidegate::config::Config)) -> Gateway {
    Gateway::start(Repository::of(&["churn/1"]), adjust).await
}

/// The values of an answer, without what differs between two answers to one question.
fn outputs(text: &str) -> serde_json::Value {
    let mut answer: serde_json::Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    answer["outputs"].take()
}

/// Begins this many requests and waits until the gateway has all their heads; the rest of each body.
async fn half_sent(gateway: &Gateway, connection: &Connection, count: usize) -> Vec<(Sent, String)> {
    let mut sent = Vec::new();
    for row in 0..count {
        let mut half = held_out("churn").infer_body(row..row + 1);
        let rest = half.split_off(half.len() / 2);
        sent.push((connection.begin(Method::POST, INFER, half).await, rest));
    }
    let recorder = &gateway.running.gate().recorder;
    until("all are in flight", async || (recorder.in_flight() == count as u64).then_some(())).await;
    sent
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_is_answered_the_same_over_both_protocols() {
    let gateway = gateway(|_config| {}).await;
    let curl = |arguments: &[&str]| {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--max-time", "60", "--noproxy", "*"]).args(arguments);
        tokio::task::block_in_place(|| command.output())
    };
    match curl(&["--version"]) {
        Ok(output) if String::from_utf8_lossy(&output.stdout).contains("HTTP2") => {}
        other => {
            assert!(
                std::env::var_os("CI").is_none(),
                "curl with HTTP/2 is needed in continuous integration: {other:?}"
            );
            say("there is no curl with HTTP/2; it is not tried");
            return gateway.stop().await;
        }
    }
    let (url, body) = (format!("http://{}{INFER}", gateway.client.http), held_out("churn").infer_body(0..3));
    let expected = outputs(&gateway.client.post(INFER, body.clone()).await.ok().text);
    // One request each: curl up to 7.88 breaks off when it is to use such a connection again.
    for (option, version) in [("--http2-prior-knowledge", "2"), ("--http1.1", "1.1")] {
        let output = curl(&[option, &url, "--data", &body, "--write-out", "\n%{http_version} %{http_code}"]).unwrap();
        assert!(output.status.success(), "{option}: {output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let (answer, status) = text.split_once('\n').unwrap();
        assert_eq!((outputs(answer), status), (expected.clone(), format!("{version} 200").as_str()));
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_requests_at_once_on_one_connection_each_get_their_own_answer() {
    let gateway = gateway(|_config| {}).await;
    let rows = held_out("churn");
    let connection = Arc::new(Connection::open(gateway.client.http).await);
    let mut expected = Vec::new();
    for row in 0..40 {
        expected.push(outputs(&gateway.client.post(INFER, rows.infer_body(row..row + 1)).await.ok().text));
    }
    // More than may be open at once: the client's protocol holds the others back.
    let mut asking = JoinSet::new();
    for request in 0..600 {
        let (connection, row) = (Arc::clone(&connection), request % expected.len());
        let body = rows.infer_body(row..row + 1);
        asking.spawn(async move { (row, connection.post(INFER, body).await.ok()) });
    }
    let mut answered = 0;
    while let Some(answer) = asking.join_next().await {
        let (row, answer) = answer.unwrap();
        assert_eq!(outputs(&answer.text), expected[row], "row {row}");
        assert_eq!(answer.header("tidegate-model-version"), Some("1"));
        answered += 1;
    }
    assert_eq!(answered, 600);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_one_connection_are_answered_by_several_workers_and_each_is_counted_once() {
    let gateway = gateway(|_config| {}).await;
    let connection = Connection::open(gateway.client.http).await;
    let sent = half_sent(&gateway, &connection, 20).await;
    assert_eq!(gateway.running.gate().recorder.handed_on(), 0, "nothing is whole yet");
    for (request, rest) in sent {
        request.finish(rest).await.ok();
    }
    // While the first is placed, nineteen others are in hand here and none there; the last is alone and stays.
    let handed_on = gateway.running.gate().recorder.handed_on();
    assert!((1..20).contains(&handed_on), "{handed_on}");
    let page = gateway.client.get_admin("/metrics").await.ok().text;
    assert!(page.lines().any(|line| line == format!("tidegate_requests_handed_on_total {handed_on}")), "{page}");
    let total = |line: &&str| line.starts_with("tidegate_requests_total") && line.contains(r#"model="churn""#);
    let totals: Vec<&str> = page.lines().filter(total).collect();
    assert!(totals.len() == 1 && totals[0].ends_with(" 20"), "{totals:?}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_flight_is_finished_before_the_end_also_where_it_is_handed_on() {
    let gateway = gateway(|_config| {}).await;
    let (connection, gate) = (Connection::open(gateway.client.http).await, Arc::clone(gateway.running.gate()));
    let sent = half_sent(&gateway, &connection, 20).await;
    let mut stopping = JoinSet::new();
    stopping.spawn(gateway.running.stop());
    until("the port is closed", async || TcpStream::connect(gateway.client.http).await.err().map(drop)).await;
    for (request, rest) in sent {
        assert!(request.finish(rest).await.ok().text.contains("\"model_version\":\"1\""));
    }
    assert!(gate.recorder.handed_on() >= 1, "workers without connections took none");
    connection.closed().await;
    assert!(stopping.join_next().await.unwrap().unwrap(), "something was still in flight");
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_too_large_or_too_slow_cost_their_stream_alone() {
    let gateway = gateway(|config| {
        config.server.max_body = 64 << 10;
        config.server.body_timeout = Duration::from_millis(200);
    })
    .await;
    let connection = Connection::open(gateway.client.http).await;
    let body = held_out("churn").infer_body(0..1);
    let slow = connection.begin(Method::POST, INFER, "{").await;
    let large = connection.post(INFER, vec![b'x'; (64 << 10) + 1]).await;
    assert!(large.refused(413).contains("max_body") && large.header("connection").is_none(), "{large:?}");
    connection.post(INFER, body.clone()).await.ok();
    let late = slow.answered().await;
    assert!(late.refused(408).contains("body_timeout"), "{late:?}");
    connection.post(INFER, body).await.ok();
    assert_eq!(connection.begin(Method::GET, "/nowhere", "").await.finish("").await.status, 404);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_holds_no_more_bodies_than_its_budget_and_the_one_too_many_is_told() {
    const MOST: usize = 4 << 20;
    let gateway = gateway(|config| config.server.max_body = MOST).await;
    let connection = Connection::open(gateway.client.http).await;
    let mut sent = Vec::new();
    for _ in 0..5 {
        sent.push(connection.begin(Method::POST, INFER, vec![b' '; MOST - 1]).await);
    }
    let mut statuses = JoinSet::new();
    for request in sent {
        statuses.spawn(async move { request.finish("x").await });
    }
    let mut counts = std::collections::BTreeMap::new();
    while let Some(answer) = statuses.join_next().await {
        let answer = answer.unwrap();
        *counts.entry(answer.status).or_insert(0) += 1;
        if answer.status == 429 {
            assert!(answer.refused(429).contains("16777216") && answer.header("retry-after") == Some("1"));
        }
    }
    assert_eq!(counts.values().sum::<i32>(), 5);
    assert!(counts.keys().all(|status| [400, 429].contains(status)), "{counts:?}");
    connection.post(INFER, held_out("churn").infer_body(0..1)).await.ok();
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_reset_takes_its_request_along_and_nothing_else() {
    let gateway = gateway(|_config| {}).await;
    let recorder = &gateway.running.gate().recorder;
    let connection = Connection::open(gateway.client.http).await;
    let mut sent = half_sent(&gateway, &connection, 8).await;
    let (kept, rest) = sent.pop().unwrap();
    drop(sent);
    until("seven are gone", async || (recorder.in_flight() == 1).then_some(())).await;
    kept.finish(rest).await.ok();
    let sent = half_sent(&gateway, &connection, 8).await;
    drop((sent, connection));
    until("those of a connection that ended are gone", async || (recorder.in_flight() == 0).then_some(())).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_on_which_nothing_happens_end_whatever_they_began_with() {
    let gateway = gateway(|config| config.server.idle_timeout = Duration::from_millis(200)).await;
    let settings = [PREFACE, &NO_SETTINGS].concat();
    for first in [&PREFACE[..0], &PREFACE[..1], &PREFACE[..10], PREFACE, &settings, b"POST / HT"] {
        let mut socket = TcpStream::connect(gateway.client.http).await.unwrap();
        socket.write_all(first).await.unwrap();
        let mut said = Vec::new();
        let ended = tokio::time::timeout(PATIENCE, socket.read_to_end(&mut said)).await;
        assert!(ended.is_ok(), "it was kept after {:?}", String::from_utf8_lossy(first));
        assert_eq!(said.is_empty(), first.len() < PREFACE.len(), "{said:?}");
    }
    let connection = Connection::open(gateway.client.http).await;
    connection.post(INFER, held_out("churn").infer_body(0..1)).await.ok();
    connection.closed().await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn first_bytes_that_come_one_by_one_reach_the_protocol_whole() {
    let gateway = gateway(|_config| {}).await;
    let (first, put) = ("GET /v2 HTTP/1.1\r\nhost: gateway\r\n\r\n", "PUT / HTTP/1.1\r\nhost: gateway\r\n\r\n");
    let last = "GET /v2/health/live HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n\r\n";
    let pipelined = [first, put, last].concat();
    for is_slow in [false, true] {
        let answer = exchange(&gateway, pipelined.as_bytes(), is_slow).await;
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 3, "{answer}");
        assert!(answer.contains("405 ") && answer.ends_with(r#"{"live":true}"#), "{answer}");
        let answer = exchange(&gateway, [put, last].concat().as_bytes(), is_slow).await;
        assert!(answer.starts_with("HTTP/1.1 405 ") && answer.ends_with(r#"{"live":true}"#), "{answer}");
        // What follows the preface is no HTTP/2: the server says its settings and what is wrong, and goes.
        let answer = exchange(&gateway, &[PREFACE, last.as_bytes()].concat(), is_slow).await;
        assert!(answer.len() > 9 && answer.as_bytes()[3..5] == [4, 0], "the first frame is SETTINGS: {answer:?}");
    }
    gateway.stop().await;
}

/// Sends bytes, all at once or one by one, and reads until the other side closes.
async fn exchange(gateway: &Gateway, bytes: &[u8], is_slow: bool) -> String {
    let mut socket = TcpStream::connect(gateway.client.http).await.unwrap();
    socket.set_nodelay(true).unwrap();
    for piece in bytes.chunks(if is_slow { 1 } else { bytes.len() }) {
        // The other side may have closed already: it has seen enough.
        let _ = socket.write_all(piece).await;
    }
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_on_which_nothing_is_asked_do_not_hold_up_the_end() {
    let gateway = gateway(|config| config.server.drain_timeout = PATIENCE).await;
    let mut silent = TcpStream::connect(gateway.client.http).await.unwrap();
    // Says that it speaks HTTP/2, and never again anything: not even that it has seen that it should go.
    let mut dead = TcpStream::connect(gateway.client.http).await.unwrap();
    dead.write_all(&[PREFACE, &NO_SETTINGS].concat()).await.unwrap();
    dead.read_exact(&mut [0; 9]).await.unwrap();
    let idle = Connection::open(gateway.client.http).await;
    idle.post(INFER, held_out("churn").infer_body(0..1)).await.ok();
    gateway.stop().await;
    assert_eq!(silent.read(&mut [0]).await.unwrap(), 0);
    idle.closed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn head_is_answered_as_get_without_the_body() {
    let gateway = gateway(|_config| {}).await;
    let connection = Connection::open(gateway.client.http).await;
    let get = connection.begin(Method::GET, "/v2", "").await.finish("").await.ok();
    let head = connection.begin(Method::HEAD, "/v2", "").await.finish("").await.ok();
    assert!(head.text.is_empty());
    assert_eq!(head.header("content-length"), Some(get.text.len().to_string().as_str()));
    gateway.stop().await;
}
