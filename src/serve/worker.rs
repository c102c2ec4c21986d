//! One worker: a thread's runtime and the connections on it.
//!
//! Connections are children of the worker, kept in a set that it owns: none outlives it, and none is waited for by
//! anybody else. When the process drains, each connection finishes the requests it is in and closes. Beside them it runs
//! what other workers hand to it, and goes on with that until all of them are without connections.
//!
//! Invariant: everything in [`Worker`] is used by one thread alone.

use super::acceptor::Accepted;
use super::outbox::Outbox;
use super::socket::{Socket, Spoken};
use super::spread::{Exchange, Peers};
use super::turns::Turns;
use super::waiting::{Phase, Wait, Waiting};
use super::{Gate, body, connection, http2, inspect, paths, predict, respond};
use crate::tensor::Tensor;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use std::cell::RefCell;
use std::convert::Infallible;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// What one worker keeps between requests.
#[derive(Debug)]
pub struct Worker {
    /// Which worker this is: the index of its seats and shards.
    pub(super) index: usize,
    /// What all workers share.
    pub(super) gate: Arc<Gate>,
    /// Draws the points of requests without a routing key, and request ids.
    random: RefCell<SmallRng>,
    /// Output tensors of the last call, reused by the next.
    pub(super) outputs: RefCell<Vec<Tensor>>,
    /// Whose turn it is, when there is more than can be done at once.
    pub(super) turns: Turns,
    /// Its connections, and what they wait for.
    pub(super) waiting: Waiting,
    /// Answers that are sent at the end of a round.
    pub(super) outbox: Outbox,
}

impl Worker {
    /// The worker of this index. `seed` makes its draws differ from the other workers'.
    #[must_use]
    pub fn new(index: usize, gate: Arc<Gate>, seed: u64) -> Self {
        let random = RefCell::new(SmallRng::seed_from_u64(seed));
        let waiting = Waiting::new(&gate.limits);
        Self {
            index,
            gate,
            random,
            outputs: RefCell::new(Vec::new()),
            turns: Turns::new(),
            waiting,
            outbox: Outbox::default(),
        }
    }

    /// 64 random bits.
    pub(super) fn draw(&self) -> u64 {
        self.random.borrow_mut().next_u64()
    }
}

/// Serves connections until no more will come, here or at those who hand requests to it; `stop` lets each finish the
/// requests it is in and close.
pub async fn run(
    worker: Worker,
    mut queue: mpsc::Receiver<Accepted>,
    Exchange { peers, mut handed }: Exchange,
    stop: CancellationToken,
) {
    let worker = Rc::new(worker);
    // Held for connections alone: dropped with the last, which lets the other workers end.
    let mut peers = Some(Rc::new(peers));
    let (mut connections, mut handed_on) = (JoinSet::new(), JoinSet::new());
    let mut rounds = JoinSet::new();
    let of_rounds = Rc::clone(&worker);
    rounds.spawn_local(async move { of_rounds.outbox.end_rounds().await });
    let started = Instant::now();
    let mut round = tokio::time::interval(worker.waiting.round());
    round.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut is_open, mut is_joined, mut is_draining) = (true, true, false);
    while peers.is_some() || is_joined || !handed_on.is_empty() {
        tokio::select! {
            accepted = queue.recv(), if is_open => match (accepted, &peers) {
                (Some(accepted), Some(peers)) => {
                    connections.spawn_local(serve_connection(Rc::clone(&worker), Rc::clone(peers), accepted));
                }
                _ => is_open = false,
            },
            received = handed.recv(), if is_joined => match received {
                Some(received) => drop(handed_on.spawn_local(http2::answer_handed(Rc::clone(&worker), received))),
                None => is_joined = false,
            },
            Some(_) = connections.join_next() => {}
            Some(_) = handed_on.join_next() => {}
            never = poll_fn(|context| worker.turns.poll_rounds(context)) => match never {},
            _ = round.tick() => worker.waiting.go_round(started.elapsed()),
            () = stop.cancelled(), if !is_draining => {
                is_draining = true;
                worker.waiting.drain();
            }
        }
        if !is_open && connections.is_empty() {
            peers = None;
        }
    }
}

async fn serve_connection(worker: Rc<Worker>, peers: Rc<Peers>, accepted: Accepted) {
    let Accepted { socket, ticket } = accepted;
    let Ok(socket) = tokio::net::TcpStream::from_std(socket) else { return };
    let wait = worker.waiting.enter();
    let mut socket = Socket::new(socket, Rc::clone(&wait));
    match socket.spoken().await {
        Some(Spoken::Http1) => serve_http1(socket, &wait, worker).await,
        // In a box, or the task of every idle connection of HTTP/1.1 would have room for it.
        Some(Spoken::Http2) => Box::pin(http2::serve(socket, wait, worker, peers)).await,
        None => {}
    }
    drop(ticket);
}

async fn serve_http1(socket: Socket, wait: &Rc<Wait>, worker: Rc<Worker>) {
    let of_requests = (Rc::clone(&worker), Rc::clone(wait));
    let service = service_fn(move |request| {
        let (worker, wait) = of_requests.clone();
        async move {
            wait.enter(Phase::Ours);
            let answer = answer(&worker, request, &wait).await;
            wait.enter(Phase::Head);
            Ok::<_, Infallible>(answer)
        }
    });
    connection::drive_watched(socket, service, (wait, &worker.outbox)).await;
}

async fn answer(worker: &Worker, request: Request<Incoming>, wait: &Wait) -> Response<Full<Bytes>> {
    // A clone shares the text, so the call can name the model while the request moves on.
    let uri = request.uri().clone();
    match paths::parse(request.method(), uri.path()) {
        Ok(paths::Target::Predict(call)) => predict::predict(worker, &call, request, wait).await,
        Ok(paths::Target::Inspect(question)) => inspect::answer(&worker.gate, &question),
        Ok(paths::Target::Index) => {
            let (head, body) = request.into_parts();
            match body::read(&head.headers, body, &inspect::index_limits(&worker.gate.limits), wait).await {
                Ok(body) => inspect::index(&worker.gate, &body.bytes),
                Err(error) => respond::refusal(&error),
            }
        }
        Err(error) => respond::refusal(&error),
    }
}
