//! The load of comparisons: so many connections, each with one request at a time, as fast as answers come or at a constant
//! rate, every answer checked.
//!
//! Why not a ready-made tool: the ones that are fast enough do not look at answers, and the ones that look are slower than
//! what they measure. The first answer to each body is parsed and compared with what is expected, number by number; later
//! ones are compared byte by byte with the one that was right, and parsed again only where they differ.
//!
//! ```sh
//! cargo run --release --example load -- '{"address": "127.0.0.1:8000", "path": "/v2/models/m/infer", "bodies": "b.ndjson",
//!     "expected": "e.ndjson", "pointer": "/outputs/1/data", "connections": 16, "seconds": 4}'
//! ```
//!
//! Prints one JSON object. One thread: it is to be given a processor of its own. An example of the package and not a binary,
//! since examples are built with the package's settings and lints but are never installed with it.
//!
//! Invariant: a request counts only when its whole answer has come, with the right status and with the right numbers.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::error::Error;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Interval;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// The largest answer that is read.
const MAX_ANSWER: usize = 16 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// Where the server listens.
    address: String,
    /// Where requests go.
    path: String,
    /// Bodies, one a line.
    bodies: String,
    /// For each body the expected numbers, a JSON list a line; without it only the status is checked.
    expected: Option<String>,
    /// Where the numbers are in an answer (RFC 6901); those of nested lists are taken in order.
    #[serde(default)]
    pointer: String,
    /// By how much a number may differ.
    #[serde(default = "default_tolerance")]
    tolerance: f64,
    connections: usize,
    seconds: f64,
    /// So many requests and no more, if that many can be made in the time.
    requests: Option<u64>,
    /// Seconds between two entries of the report's `counts`.
    every: Option<f64>,
    /// Requests a second that leave whatever comes back (open loop), and whose time counts from when they should have left;
    /// without it each connection sends its next request when the last was answered.
    rate: Option<f64>,
    /// Further headers.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// For each body further headers, a JSON object a line: what is signed differs from request to request.
    headers_of: Option<String>,
    /// The status of an answer that counts.
    #[serde(default = "default_status")]
    status: u16,
    /// Statuses that are no failure: of requests that a server may refuse when it has too many.
    #[serde(default)]
    refusals: Vec<u16>,
}

fn default_tolerance() -> f64 {
    1e-4
}

fn default_status() -> u16 {
    200
}

#[derive(Serialize)]
struct Report {
    requests: u64,
    seconds: f64,
    requests_per_second: f64,
    refused: u64,
    failed: u64,
    first_failure: Option<String>,
    p50_ms: f64,
    p99_ms: f64,
    p999_ms: f64,
    max_ms: f64,
    /// Over time, how many requests were answered rightly so far: seconds since 1970, requests.
    counts: Vec<(f64, u64)>,
}

struct Case {
    requests: Vec<Vec<u8>>,
    expected: Vec<Vec<f64>>,
    settings: Settings,
}

struct State {
    /// The next body.
    next: usize,
    /// The answers that were right, by body.
    known: Vec<Option<Vec<u8>>>,
    latency: Histogram<u64>,
    /// Requests that were sent so far.
    sent: u64,
    refused: u64,
    failed: u64,
    first_failure: Option<String>,
}

#[expect(clippy::print_stdout, reason = "the report is the output of this program")]
fn main() -> Outcome<()> {
    let text = std::env::args().nth(1).ok_or("usage: load SETTINGS.json-text")?;
    let case = Rc::new(Case::new(serde_json::from_str(&text)?)?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = tokio::task::LocalSet::new().block_on(&runtime, run(case))?;
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

impl Case {
    fn new(settings: Settings) -> Outcome<Self> {
        let mut head = format!("POST {} HTTP/1.1\r\nhost: {}\r\n", settings.path, settings.address);
        let lines = |headers: &BTreeMap<String, String>| -> String {
            headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect()
        };
        head.push_str(&lines(&settings.headers));
        let bodies = std::fs::read_to_string(&settings.bodies)?;
        let own = match &settings.headers_of {
            Some(path) => std::fs::read_to_string(path)?
                .lines()
                .map(|line| Ok(lines(&serde_json::from_str(line)?)))
                .collect::<Outcome<_>>()?,
            None => vec![String::new(); bodies.lines().count()],
        };
        let request = |(body, own): (&str, &String)| {
            let length = body.len();
            format!("{head}{own}content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
        };
        let requests: Vec<Vec<u8>> = bodies.lines().zip(&own).map(request).collect();
        if own.len() != bodies.lines().count() {
            return Err(format!("{} bodies and headers of {}", bodies.lines().count(), own.len()).into());
        }
        let expected = match &settings.expected {
            Some(path) => std::fs::read_to_string(path)?.lines().map(serde_json::from_str).collect::<Result<_, _>>()?,
            None => Vec::new(),
        };
        if requests.is_empty() || settings.expected.is_some() && expected.len() != requests.len() {
            return Err(format!("{} bodies and {} expected answers", requests.len(), expected.len()).into());
        }
        Ok(Self { requests, expected, settings })
    }

    /// What is wrong with an answer to a body, if anything.
    fn fault(&self, body: usize, answer: &[u8]) -> Option<String> {
        let expected = self.expected.get(body)?;
        let text = || String::from_utf8_lossy(&answer[..answer.len().min(300)]).into_owned();
        let Ok(value) = serde_json::from_slice::<serde_json::Value>(answer) else { return Some(text()) };
        let mut found = Vec::new();
        value.pointer(&self.settings.pointer).into_iter().for_each(|value| numbers(value, &mut found));
        let is_right = found.len() == expected.len()
            && found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() <= self.settings.tolerance);
        (!is_right).then(|| format!("expected {expected:?}, got {}", text()))
    }
}

fn numbers(value: &serde_json::Value, found: &mut Vec<f64>) {
    match value {
        serde_json::Value::Array(values) => values.iter().for_each(|value| numbers(value, found)),
        other => found.push(other.as_f64().unwrap_or(f64::NAN)),
    }
}

async fn run(case: Rc<Case>) -> Outcome<Report> {
    let state = Rc::new(RefCell::new(State {
        next: 0,
        known: vec![None; case.requests.len()],
        latency: Histogram::new_with_bounds(1, 600_000_000_000, 3)?,
        sent: 0,
        refused: 0,
        failed: 0,
        first_failure: None,
    }));
    let started = Instant::now();
    let end = started + Duration::from_secs_f64(case.settings.seconds);
    let mut connections = JoinSet::new();
    for _ in 0..case.settings.connections {
        let (case, state) = (Rc::clone(&case), Rc::clone(&state));
        connections.spawn_local(async move {
            if let Err(error) = connection(&case, &state, (started, end)).await {
                state.borrow_mut().fail(error.to_string());
            }
        });
    }
    let mut ticks = case.settings.every.map(|every| tokio::time::interval(Duration::from_secs_f64(every)));
    let mut counts = Vec::new();
    loop {
        tokio::select! {
            ended = connections.join_next() => match ended {
                Some(ended) => ended?,
                None => break,
            },
            () = tick(&mut ticks) => {
                counts.push((SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64(), state.borrow().latency.len()));
            }
        }
    }
    let (state, seconds) = (state.borrow(), started.elapsed().as_secs_f64());
    let milliseconds = |quantile: f64| state.latency.value_at_quantile(quantile) as f64 / 1e6;
    Ok(Report {
        requests: state.latency.len(),
        seconds,
        requests_per_second: state.latency.len() as f64 / seconds,
        refused: state.refused,
        failed: state.failed,
        first_failure: state.first_failure.clone(),
        p50_ms: milliseconds(0.5),
        p99_ms: milliseconds(0.99),
        p999_ms: milliseconds(0.999),
        max_ms: state.latency.max() as f64 / 1e6,
        counts,
    })
}

/// The next tick; never where there are none.
async fn tick(ticks: &mut Option<Interval>) {
    match ticks {
        Some(ticks) => drop(ticks.tick().await),
        None => std::future::pending().await,
    }
}

impl State {
    fn fail(&mut self, text: String) {
        self.failed += 1;
        self.first_failure.get_or_insert(text);
    }
}

async fn connection(case: &Case, state: &RefCell<State>, (started, end): (Instant, Instant)) -> Outcome<()> {
    let mut socket = TcpStream::connect(&case.settings.address).await?;
    socket.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(64 << 10);
    while Instant::now() < end {
        let Some((body, due)) = state.borrow_mut().next_request(case, started).filter(|(_, due)| *due < end) else {
            break;
        };
        // A timer is up to a millisecond late, which is not the server's doing; a connection that was not free in time is.
        let began = if due > Instant::now() {
            tokio::time::sleep_until(due.into()).await;
            Instant::now()
        } else {
            due
        };
        socket.write_all(&case.requests[body]).await?;
        let answer = read_answer(&mut socket, &mut buffer, case.settings.status).await?;
        let taken = began.elapsed();
        state.borrow_mut().note(case, body, answer, taken);
    }
    Ok(())
}

impl State {
    /// The next body, and when its request should leave; nothing when there are to be no more.
    fn next_request(&mut self, case: &Case, started: Instant) -> Option<(usize, Instant)> {
        if case.settings.requests.is_some_and(|requests| self.sent >= requests) {
            return None;
        }
        let body = self.next;
        self.next = (body + 1) % case.requests.len();
        let due = case
            .settings
            .rate
            .filter(|rate| *rate > 0.0)
            .map(|rate| started + Duration::from_secs_f64(self.sent as f64 / rate));
        self.sent += 1;
        Some((body, due.unwrap_or_else(Instant::now)))
    }

    /// Counts an answer, or what is wrong with it.
    fn note(&mut self, case: &Case, body: usize, answer: Answer, taken: Duration) {
        let fault = match (&answer, &self.known[body]) {
            (Err((status, _)), _) if case.settings.refusals.contains(status) => {
                self.refused += 1;
                return;
            }
            (Err((_, text)), _) => Some(text.clone()),
            (Ok(answer), Some(known)) if answer == known => None,
            (Ok(answer), _) => case.fault(body, answer),
        };
        if let Some(fault) = fault {
            return self.fail(fault);
        }
        if self.known[body].is_none() {
            self.known[body] = answer.ok();
        }
        self.latency.saturating_record(u64::try_from(taken.as_nanos()).unwrap_or(u64::MAX));
    }
}

/// The body of an answer that counts; else the status and the whole answer.
type Answer = Result<Vec<u8>, (u16, String)>;

/// Reads one answer.
async fn read_answer(socket: &mut TcpStream, buffer: &mut Vec<u8>, counts: u16) -> Outcome<Answer> {
    buffer.clear();
    let head = loop {
        more(socket, buffer).await?;
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
    };
    let text = std::str::from_utf8(&buffer[..head])?.to_ascii_lowercase();
    let header = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let status: u16 = text.get(9..12).and_then(|status| status.parse().ok()).ok_or("an answer without a status")?;
    let body = match (header("content-length:"), header("transfer-encoding:")) {
        (Some(length), _) => {
            let end = head + length.parse::<usize>()?;
            while buffer.len() < end {
                more(socket, buffer).await?;
            }
            buffer[head..end].to_vec()
        }
        (None, Some("chunked")) => read_chunks(socket, buffer, head).await?,
        _ => return Err("an answer without a length".into()),
    };
    Ok(if status == counts { Ok(body) } else { Err((status, format!("{text}{}", String::from_utf8_lossy(&body)))) })
}

async fn read_chunks(socket: &mut TcpStream, buffer: &mut Vec<u8>, mut at: usize) -> Outcome<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = loop {
            match buffer[at..].windows(2).position(|window| window == b"\r\n") {
                Some(end) => break at + end,
                None => more(socket, buffer).await?,
            }
        };
        let size = usize::from_str_radix(std::str::from_utf8(&buffer[at..line])?.trim(), 16)?;
        let end = line + 2 + size + 2;
        while buffer.len() < end {
            more(socket, buffer).await?;
        }
        if size == 0 {
            return Ok(body);
        }
        body.extend_from_slice(&buffer[line + 2..line + 2 + size]);
        at = end;
    }
}

async fn more(socket: &mut TcpStream, buffer: &mut Vec<u8>) -> Outcome<()> {
    if buffer.len() > MAX_ANSWER {
        return Err("an answer over the limit".into());
    }
    match socket.read_buf(buffer).await? {
        0 => Err("the server closed the connection".into()),
        _ => Ok(()),
    }
}
