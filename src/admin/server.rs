//! Accepts and answers on the admin port.
//!
//! Invariant: at most 256 connections, each a child of [`serve`]: none outlives it.

use super::{AdminError, Desk, api};
use crate::serve::acceptor::next_connection;
use crate::serve::connection;
use crate::serve::respond::{self, Answer};
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Connections that are open at a time: people, a few scrapers, probes.
const CONNECTION_LIMIT: usize = 256;
/// The longest wait for a request head, also on a connection that is kept: whoever has no token holds a place no longer.
/// Scrapers come again in a new connection.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long open connections may finish after the stop; the data plane has drained by then.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// Serves the admin port until `stop` says so.
pub async fn serve(listener: TcpListener, desk: Arc<Desk>, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            socket = next_connection(&listener), if connections.len() < CONNECTION_LIMIT => {
                connections.spawn(serve_connection(socket, Arc::clone(&desk), stop.clone()));
            }
            Some(_) = connections.join_next() => {}
            () = stop.cancelled() => break,
        }
    }
    let finished = async { while connections.join_next().await.is_some() {} };
    // Who is still connected after the grace is cut off when the set is dropped.
    let _ = tokio::time::timeout(STOP_GRACE, finished).await;
}

/// Who is at the other end of a connection; an extension of its requests.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(SocketAddr);

impl Peer {
    /// The address, as a journal names it.
    pub(super) fn text(&self) -> String {
        self.0.to_string()
    }
}

async fn serve_connection(socket: tokio::net::TcpStream, desk: Arc<Desk>, stop: CancellationToken) {
    let peer = socket.peer_addr().ok().map(Peer);
    let service = service_fn(move |mut request: Request<Incoming>| {
        let desk = Arc::clone(&desk);
        peer.map(|peer| request.extensions_mut().insert(peer));
        async move { Ok::<_, Infallible>(answer(&desk, request).await) }
    });
    connection::drive(socket, service, IDLE_TIMEOUT, stop).await;
}

async fn answer(desk: &Desk, request: Request<Incoming>) -> Answer {
    let outcome: Result<Answer, AdminError> = api::answer(desk, request).await;
    outcome.unwrap_or_else(|error| respond::refusal(&error))
}
