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
//! Where versions are swapped meanwhile, two of them taking turns under rising numbers, each answer is held against the
//! version that it names: see [`tally`].
//!
//! Prints one JSON object. One thread: it is to be given a processor of its own. An example of the package and not a binary,
//! since examples are built with the package's settings and lints but are never installed with it.
//!
//! Invariant: a request counts only when its whole answer has come, with the right status and with the right numbers.

mod answer;
mod tally;

use answer::read_answer;
use serde::Deserialize;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tally::{Moment, Report, Tally};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Interval;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// How often it is looked whether the load is to end early.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

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
    /// The same of even versions, where `expected` is of odd ones.
    expected_even: Option<String>,
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
    /// In the open loop: waits without sleeping, so that requests leave to the microsecond and not to the millisecond
    /// of a timer; takes a whole processor.
    #[serde(default)]
    spin: bool,
    /// A file that ends the load early by being there.
    until: Option<String>,
    /// A file for when each right answer's request should have left, and how long it took: see [`tally`].
    timeline: Option<String>,
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

struct Case {
    requests: Vec<Vec<u8>>,
    /// Of even versions and of odd ones, by body; the latter also where versions do not matter.
    expected: [Vec<Vec<f64>>; 2],
    settings: Settings,
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
        let read = |path: &Option<String>| -> Outcome<Vec<Vec<f64>>> {
            let Some(path) = path else { return Ok(Vec::new()) };
            let lines = std::fs::read_to_string(path)?;
            let expected = lines.lines().map(serde_json::from_str).collect::<Result<Vec<_>, _>>()?;
            let counts = || format!("{} bodies and {} expected answers", requests.len(), expected.len());
            if expected.len() == requests.len() { Ok(expected) } else { Err(counts().into()) }
        };
        if requests.is_empty() {
            return Err("there are no bodies".into());
        }
        let expected = [read(&settings.expected_even)?, read(&settings.expected)?];
        Ok(Self { requests, expected, settings })
    }

    /// Whether answers are to name their version.
    fn is_versioned(&self) -> bool {
        self.settings.expected_even.is_some()
    }

    /// What is wrong with an answer to a body, if anything; `is_odd` says what it is held against.
    fn fault(&self, is_odd: bool, body: usize, answer: &[u8]) -> Option<String> {
        let expected = self.expected[usize::from(is_odd)].get(body)?;
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
    let tally = Rc::new(RefCell::new(Tally::new(&case)?));
    let mut connections = JoinSet::new();
    for _ in 0..case.settings.connections {
        let (case, tally) = (Rc::clone(&case), Rc::clone(&tally));
        connections.spawn_local(async move {
            if let Err(error) = connection(&case, &tally).await {
                tally.borrow_mut().fail(error.to_string());
            }
        });
    }
    let mut ticks = case.settings.every.map(|every| tokio::time::interval(Duration::from_secs_f64(every)));
    let mut looks = case.settings.until.as_ref().map(|_| tokio::time::interval(LOOK_INTERVAL));
    loop {
        tokio::select! {
            ended = connections.join_next() => match ended {
                Some(ended) => ended?,
                None => break,
            },
            () = tick(&mut ticks) => tally.borrow_mut().count(),
            () = tick(&mut looks) => if case.settings.until.as_ref().is_some_and(|path| Path::new(path).exists()) {
                tally.borrow_mut().end = Instant::now();
            },
        }
    }
    tally.borrow_mut().report()
}

/// The next tick; never where there are none.
async fn tick(ticks: &mut Option<Interval>) {
    match ticks {
        Some(ticks) => drop(ticks.tick().await),
        None => std::future::pending().await,
    }
}

async fn connection(case: &Case, tally: &RefCell<Tally>) -> Outcome<()> {
    let mut socket = TcpStream::connect(&case.settings.address).await?;
    socket.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(64 << 10);
    loop {
        let Some((body, due)) = tally.borrow_mut().next_request(case) else { return Ok(()) };
        let left = leave(case, due).await;
        let newest = tally.borrow().newest;
        socket.write_all(&case.requests[body]).await?;
        let answer = read_answer(&mut socket, &mut buffer, case.settings.status).await?;
        tally.borrow_mut().note(case, body, answer, Moment { left, taken: left.elapsed(), newest });
    }
}

/// Waits until a request is to leave; answers from when on its time counts.
async fn leave(case: &Case, due: Instant) -> Instant {
    // A timer is up to a millisecond late, which is not the server's doing; a connection that was not free in time is.
    if due <= Instant::now() {
        return due;
    }
    if case.settings.spin {
        while Instant::now() < due {
            tokio::task::yield_now().await;
        }
    } else {
        tokio::time::sleep_until(due.into()).await;
    }
    Instant::now()
}
