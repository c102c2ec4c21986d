//! One connection that speaks HTTP/2.
//!
//! Its streams are children of the connection, kept in a set that it owns: a stream that the client resets, or whose
//! connection ends, takes its request along. Answers that need no model are given here; calls for predictions are received
//! here and run wherever there is least to do ([`spread`](super::spread)).
//!
//! A connection without a request in hand for `idle_timeout` is told to go away (GOAWAY), and is given a moment for it.
//! The worker's rounds see to that, so that no connection needs a timer or pings of ours; a client's pings are answered,
//! and keep its connection. How long answers wait to be written is not recorded: the protocol decides what is written when,
//! and an answer is seen no more once it is handed to it.
//!
//! Invariant: what one stream does wrong costs the others of its connection nothing.

use super::budget::{Budget, Share};
use super::call::CallError;
use super::paths::{self, PredictCall, Target};
use super::respond::{self, Answer};
use super::socket::Socket;
use super::spread::{Handed, InHand, Peers, Received};
use super::timing::Stopwatch;
use super::waiting::{Phase, Wait};
use super::worker::Worker;
use super::{Limits, body, inspect, predict};
use crate::observe::Phase as Timed;
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_LENGTH, HeaderValue};
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request};
use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio::time::Sleep;

/// Requests that a connection may have open. More than the 100 that RFC 9113, 6.5.2 advises at least, since one connection
/// may stand for hundreds of clients of a proxy.
const STREAMS: u32 = 256;
/// The largest head, bytes as RFC 9113, 6.5.2 counts them: the limit that most servers have.
const HEAD_LIMIT: u32 = 16 << 10;
/// What a client may send of one body before it hears that some was taken, bytes: a tenth of a second of 80 Mbit/s. Bodies
/// are taken at once, so this bounds what is on its way and not what is held.
const STREAM_WINDOW: u32 = 1 << 20;
/// The same for all bodies of a connection together.
const CONNECTION_WINDOW: u32 = 4 << 20;
/// The smallest window that a client may assume (RFC 9113, 6.9.2).
const LEAST_WINDOW: u32 = 65_535;
/// Streams that were opened and reset before they were looked at; one more ends the connection. Resetting at once is cheap
/// for a client and not for a server (CVE-2023-44487).
const RESET_UNSEEN: usize = 20;
/// Streams that may be reset because of what the client did wrong, in the life of a connection.
const RESET_FOR_ERRORS: usize = 1_024;
/// How long a connection without open requests has to close after it was told to go away, before it is closed.
const FAREWELL: Duration = Duration::from_secs(5);

/// What the requests of a connection share.
struct Connection {
    worker: Rc<Worker>,
    peers: Rc<Peers>,
    wait: Rc<Wait>,
    /// Requests that are received or answered.
    open: Cell<usize>,
    bodies: Rc<Budget>,
}

/// Counts a request as open; a connection with open requests is not idle.
struct Open(Rc<Connection>);

/// The tasks of a connection's streams. They hold it themselves, so it does not hold the set.
#[derive(Clone)]
struct Streams(Weak<RefCell<JoinSet<()>>>);

impl<F: Future<Output = ()> + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        if let Some(tasks) = self.0.upgrade() {
            tasks.borrow_mut().spawn_local(stream);
        }
    }
}

/// Answers the requests of a connection until it ends.
pub(super) async fn serve(socket: Socket, wait: Rc<Wait>, worker: Rc<Worker>, peers: Rc<Peers>) {
    let tasks = Rc::new(RefCell::new(JoinSet::new()));
    let max_body = worker.gate.limits.max_body;
    let builder = builder(max_body, Streams(Rc::downgrade(&tasks)));
    let bodies = Budget::new(max_body);
    let connection = Rc::new(Connection { worker, peers, wait: Rc::clone(&wait), open: Cell::new(0), bodies });
    let service = service_fn(move |request| {
        // Not in the future, which may have to wait for its turn: what has arrived counts.
        let open = Open::new(&connection);
        let in_hand = connection.peers.arrived();
        async move { Ok::<_, Infallible>(answer(&open.0, request, in_hand).await) }
    });
    let mut serving = pin!(builder.serve_connection(socket, service));
    let mut farewell = None;
    poll_fn(|context| {
        wait.register(context);
        if wait.is_overdue(Phase::Head) && farewell.is_some() {
            return Poll::Ready(());
        }
        if farewell.is_none() && (wait.is_draining() || wait.is_overdue(Phase::Head)) {
            serving.as_mut().graceful_shutdown();
            wait.progress();
            farewell = Some(Farewell::new(wait.since()));
        }
        if serving.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        let mut tasks = tasks.borrow_mut();
        while tasks.try_join_next().is_some() {}
        let is_done = tasks.is_empty();
        let is_over = farewell.as_mut().is_some_and(|farewell| farewell.is_over(context, wait.since(), is_done));
        if is_over { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

fn builder(max_body: usize, streams: Streams) -> http2::Builder<Streams> {
    // Nobody need be allowed to send more of a body than a body may have.
    let stream_window = u32::try_from(max_body).unwrap_or(u32::MAX).clamp(LEAST_WINDOW, STREAM_WINDOW);
    let mut builder = http2::Builder::new(streams);
    builder
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEAD_LIMIT)
        .initial_stream_window_size(stream_window)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_pending_accept_reset_streams(RESET_UNSEEN)
        .max_local_error_reset_streams(RESET_FOR_ERRORS);
    builder
}

async fn answer(connection: &Connection, request: Request<Incoming>, in_hand: InHand) -> Answer {
    let is_head = request.method() == Method::HEAD;
    // A clone shares the text, so the call can name the model while the request moves on.
    let uri = request.uri().clone();
    let answer = match paths::parse(request.method(), uri.path()) {
        Ok(Target::Predict(call)) => predict(connection, &call, request, in_hand).await,
        Ok(Target::Inspect(question)) => inspect::answer(&connection.worker.gate, &question),
        Ok(Target::Index) => {
            let (head, body) = request.into_parts();
            let limits = inspect::index_limits(&connection.worker.gate.limits);
            let share = connection.bodies.share();
            match receive((connection, &share), (&head.headers, body), &limits).await {
                Ok(body) => inspect::index(&connection.worker.gate, &body.bytes),
                Err(error) => respond::refusal(&error),
            }
        }
        Err(error) => respond::refusal(&error),
    };
    if is_head { head_of(answer) } else { answer }
}

/// Receives a call for predictions, and answers it here or has it answered.
async fn predict(
    connection: &Connection,
    call: &PredictCall<'_>,
    request: Request<Incoming>,
    in_hand: InHand,
) -> Answer {
    let worker = &connection.worker;
    let mut watch = Stopwatch::start(Instant::now());
    let _in_flight = worker.gate.recorder.enter(worker.index);
    let (head, body) = request.into_parts();
    // Until it is answered: what is in hand counts.
    let share = connection.bodies.share();
    let body = match receive((connection, &share), (&head.headers, body), &worker.gate.limits).await {
        Ok(body) => body,
        Err(error) => return predict::refuse(worker, call, &head.headers, &error),
    };
    if body.had_to_wait {
        watch.received(Instant::now());
    }
    let Some(place) = connection.peers.elsewhere() else {
        let (answer, _) = predict::answer(worker, call, (&head.headers, &body.bytes), watch).await;
        // The protocol decides when answers leave, and what left has been counted.
        worker.outbox.settle();
        return answer;
    };
    drop(in_hand);
    worker.gate.recorder.record_handed_on(worker.index);
    let answer = place.take(Received { uri: head.uri, headers: head.headers, body: body.bytes, watch }).await;
    // Only a bug ends a request that somebody waits for.
    answer.unwrap_or_else(|_closed| predict::refuse(worker, call, &HeaderMap::new(), &CallError::GivenUp))
}

/// Reads a body, within what its connection may hold.
async fn receive(
    (connection, share): (&Connection, &Share),
    (headers, body): (&HeaderMap, Incoming),
    limits: &Limits,
) -> Result<body::Body, body::BodyError> {
    let wait = connection.worker.waiting.enter();
    let mut reading = pin!(body::read(headers, share.counting(body), limits, &wait));
    poll_fn(|context| {
        wait.register(context);
        reading.as_mut().poll(context)
    })
    .await
}

/// Answers a call that another worker received. Ends early when nobody waits for the answer any more.
pub(super) async fn answer_handed(worker: Rc<Worker>, handed: Handed) {
    let Handed { received, mut reply, in_hand: _in_hand } = handed;
    let Received { uri, headers, body, mut watch } = received;
    watch.end(Timed::Queue, Instant::now());
    // It was parsed by the worker that received it; borrowing from the path again costs less than taking names along.
    let Ok(Target::Predict(call)) = paths::parse(&Method::POST, uri.path()) else { return };
    tokio::select! {
        biased;
        () = reply.closed() => {}
        (answer, _) = predict::answer(&worker, &call, (&headers, &body), watch) => {
            worker.outbox.settle();
            drop(reply.send(answer));
        }
    }
}

/// The answer to HEAD: as to GET, without the body. HTTP/1.1 sees to that itself.
fn head_of(answer: Answer) -> Answer {
    let (mut head, body) = answer.into_parts();
    if let Some(length) = body.size_hint().exact() {
        head.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    Answer::from_parts(head, Full::default())
}

impl Open {
    fn new(connection: &Rc<Connection>) -> Self {
        if connection.open.replace(connection.open.get() + 1) == 0 {
            connection.wait.enter(Phase::Ours);
        }
        Self(Rc::clone(connection))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let Connection { open, wait, .. } = &*self.0;
        open.set(open.get() - 1);
        if open.get() == 0 {
            wait.enter(Phase::Head);
        }
    }
}

/// The time that a connection has to close once it was told to go away.
struct Farewell {
    pause: Pin<Box<Sleep>>,
    /// When the client last took something, as seen at the last look.
    since: Duration,
}

impl Farewell {
    fn new(since: Duration) -> Self {
        Self { pause: Box::pin(tokio::time::sleep(FAREWELL)), since }
    }

    /// Whether a whole pause has gone by in which the client took nothing, and at the end of which `is_done`: nothing is
    /// left to be answered. Otherwise another begins.
    fn is_over(&mut self, context: &mut Context<'_>, since: Duration, is_done: bool) -> bool {
        while self.pause.as_mut().poll(context).is_ready() {
            if is_done && since == self.since {
                return true;
            }
            self.since = since;
            self.pause.as_mut().reset(tokio::time::Instant::now() + FAREWELL);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Gate, spread};
    use super::*;
    use crate::catalog::Publisher;
    use crate::observe::ServerRecorder;
    use bytes::Bytes;
    use hyper::Uri;
    use std::sync::Arc;

    fn worker(index: usize) -> Rc<Worker> {
        let (retired, _to_retire) = std::sync::mpsc::sync_channel(1);
        let catalog = Publisher::new(retired, Duration::ZERO).catalog();
        let second = Duration::from_secs(1);
        let limits = Limits { max_body: 1 << 10, body_timeout: second, idle_timeout: second };
        let gate = Gate { catalog, recorder: ServerRecorder::new(2), limits, draining: false.into() };
        Rc::new(Worker::new(index, Arc::new(gate), 1))
    }

    /// A call that was handed from the first of two workers to the second, and where its answer comes.
    fn handed() -> (Handed, tokio::sync::oneshot::Receiver<Answer>) {
        let mut exchanges = spread::exchanges(2);
        let (mut there, here) = (exchanges.remove(1), exchanges.remove(0));
        let _arrived = (here.peers.arrived(), here.peers.arrived());
        let (uri, watch) = (Uri::from_static("/v2/models/absent/infer"), Stopwatch::start(Instant::now()));
        let received = Received { uri, headers: HeaderMap::new(), body: Bytes::new(), watch };
        let answer = here.peers.elsewhere().unwrap().take(received);
        (there.handed.try_recv().unwrap(), answer)
    }

    #[tokio::test]
    async fn a_call_that_was_handed_on_is_answered_and_counted_where_it_runs() {
        let worker = worker(1);
        let (handed, answer) = handed();
        answer_handed(Rc::clone(&worker), handed).await;
        assert_eq!(answer.await.unwrap().status(), hyper::StatusCode::NOT_FOUND);
        let refusals = worker.gate.recorder.refusals();
        assert!(refusals.len() == 1 && refusals[0].2 == 1, "{refusals:?}");
    }

    #[tokio::test]
    async fn a_call_that_nobody_waits_for_any_more_is_not_made() {
        let worker = worker(1);
        let (handed, answer) = handed();
        drop(answer);
        answer_handed(Rc::clone(&worker), handed).await;
        assert_eq!(worker.gate.recorder.refusals(), []);
    }
}
