//! One worker: a thread's runtime and the connections on it.
//!
//! Connections are children of the worker, kept in a set that it owns: none outlives it, and none is waited for by
//! anybody else. When the process drains, each connection finishes the request it is in and closes.
//!
//! Invariant: everything in [`Worker`] is used by one thread alone.

use super::acceptor::Accepted;
use super::turns::Turns;
use super::waiting::{Phase, Wait, Waiting};
use super::{Gate, connection, inspect, paths, predict, respond};
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
    waiting: Waiting,
}

impl Worker {
    /// The worker of this index. `seed` makes its draws differ from the other workers'.
    #[must_use]
    pub fn new(index: usize, gate: Arc<Gate>, seed: u64) -> Self {
        let random = RefCell::new(SmallRng::seed_from_u64(seed));
        let waiting = Waiting::new(&gate.limits);
        Self { index, gate, random, outputs: RefCell::new(Vec::new()), turns: Turns::new(), waiting }
    }

    /// 64 random bits.
    pub(super) fn draw(&self) -> u64 {
        self.random.borrow_mut().next_u64()
    }
}

/// Serves connections until no more will come; `stop` lets each finish the request it is in and close.
pub async fn run(worker: Worker, mut queue: mpsc::Receiver<Accepted>, stop: CancellationToken) {
    let worker = Rc::new(worker);
    let mut connections = JoinSet::new();
    let started = Instant::now();
    let mut round = tokio::time::interval(worker.waiting.round());
    round.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut is_open, mut is_draining) = (true, false);
    while is_open || !connections.is_empty() {
        tokio::select! {
            accepted = queue.recv(), if is_open => match accepted {
                Some(accepted) => drop(connections.spawn_local(serve_connection(Rc::clone(&worker), accepted))),
                None => is_open = false,
            },
            Some(_) = connections.join_next() => {}
            never = poll_fn(|context| worker.turns.poll_rounds(context)) => match never {},
            _ = round.tick() => worker.waiting.go_round(started.elapsed()),
            () = stop.cancelled(), if !is_draining => {
                is_draining = true;
                worker.waiting.drain();
            }
        }
    }
}

async fn serve_connection(worker: Rc<Worker>, accepted: Accepted) {
    let Accepted { socket, ticket } = accepted;
    let Ok(socket) = tokio::net::TcpStream::from_std(socket) else { return };
    let wait = worker.waiting.enter();
    let of_request = Rc::clone(&wait);
    let service = service_fn(move |request| {
        let (worker, wait) = (Rc::clone(&worker), Rc::clone(&of_request));
        async move {
            wait.enter(Phase::Ours);
            let answer = answer(&worker, request, &wait).await;
            wait.enter(Phase::Head);
            Ok::<_, Infallible>(answer)
        }
    });
    connection::drive_watched(socket, service, &wait).await;
    drop(ticket);
}

async fn answer(worker: &Worker, request: Request<Incoming>, wait: &Wait) -> Response<Full<Bytes>> {
    // A clone shares the text, so the call can name the model while the request moves on.
    let uri = request.uri().clone();
    match paths::parse(request.method(), uri.path()) {
        Ok(paths::Target::Predict(call)) => predict::predict(worker, &call, request, wait).await,
        Ok(paths::Target::Inspect(question)) => inspect::answer(&worker.gate, &question),
        Err(error) => respond::refusal(&error),
    }
}
