//! One worker: a thread's runtime and the connections on it.
//!
//! Connections are children of the worker, kept in a set that it owns: none outlives it, and none is waited for by
//! anybody else. When the process drains, each connection finishes the request it is in and closes.
//!
//! Invariant: everything in [`Worker`] is used by one thread alone.

use super::acceptor::Accepted;
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
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
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
}

impl Worker {
    /// The worker of this index. `seed` makes its draws differ from the other workers'.
    #[must_use]
    pub fn new(index: usize, gate: Arc<Gate>, seed: u64) -> Self {
        let random = RefCell::new(SmallRng::seed_from_u64(seed));
        Self { index, gate, random, outputs: RefCell::new(Vec::new()) }
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
    loop {
        tokio::select! {
            accepted = queue.recv() => match accepted {
                Some(accepted) => {
                    connections.spawn_local(serve_connection(Rc::clone(&worker), accepted, stop.clone()));
                }
                None => break,
            },
            Some(_) = connections.join_next() => {}
        }
    }
    while connections.join_next().await.is_some() {}
}

async fn serve_connection(worker: Rc<Worker>, accepted: Accepted, stop: CancellationToken) {
    let Accepted { socket, ticket } = accepted;
    let Ok(socket) = tokio::net::TcpStream::from_std(socket) else { return };
    let idle_timeout = worker.gate.limits.idle_timeout;
    let service = service_fn(move |request| {
        let worker = Rc::clone(&worker);
        async move { Ok::<_, Infallible>(answer(&worker, request).await) }
    });
    connection::drive(socket, service, idle_timeout, stop).await;
    drop(ticket);
}

async fn answer(worker: &Worker, request: Request<Incoming>) -> Response<Full<Bytes>> {
    // A clone shares the text, so the call can name the model while the request moves on.
    let uri = request.uri().clone();
    match paths::parse(request.method(), uri.path()) {
        Ok(paths::Target::Predict(call)) => predict::predict(worker, &call, request).await,
        Ok(paths::Target::Inspect(question)) => inspect::answer(&worker.gate, &question),
        Err(error) => respond::refusal(&error),
    }
}
