//! Hands every new connection to the worker with the fewest.
//!
//! One acceptor instead of a listening socket per worker: the kernel spreads connections over sockets by hash, so ten
//! clients may all land on one of two workers. Counting costs one atomic read per worker and connection, and few
//! connections still spread evenly.
//!
//! Invariant: at most `max_connections` are open; further ones wait in the kernel's queue, unanswered but not refused.

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

/// How long to wait after the system ran out of descriptors or memory: long enough for a connection to end.
const EXHAUSTED_WAIT: Duration = Duration::from_millis(50);

/// Accepted connections that may wait for their worker. A worker takes them at once unless it is inside an engine.
const HANDOVER_QUEUE: usize = 1024;

/// A connection on its way to a worker.
#[derive(Debug)]
pub struct Accepted {
    /// The socket, non-blocking, not yet registered with a runtime.
    pub socket: TcpStream,
    /// Counts the connection for as long as it is held.
    pub ticket: Ticket,
}

/// Counts one open connection against its worker and against the limit.
#[derive(Debug)]
pub struct Ticket {
    open: OpenConnections,
    _permit: OwnedSemaphorePermit,
}

/// The acceptor's view of one worker: the only sender of its queue, so that the worker knows by the queue's end that no
/// connection will follow.
#[derive(Debug)]
pub struct WorkerHandle {
    queue: mpsc::Sender<Accepted>,
    open: OpenConnections,
}

/// How many connections a worker has open.
#[derive(Clone, Debug, Default)]
pub struct OpenConnections(Arc<AtomicUsize>);

impl Drop for Ticket {
    fn drop(&mut self) {
        self.open.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl WorkerHandle {
    /// A handle, and the queue that its worker reads.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<Accepted>) {
        let (queue, accepted) = mpsc::channel(HANDOVER_QUEUE);
        (Self { queue, open: OpenConnections::default() }, accepted)
    }

    /// Its count of open connections, for whoever shows it.
    #[must_use]
    pub fn open_connections(&self) -> OpenConnections {
        self.open.clone()
    }
}

impl OpenConnections {
    /// Connections that are open now.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// Accepts until `stop` says so; then takes in what the system has accepted already, as its clients may have sent their
/// requests.
pub async fn accept(
    listener: TcpListener,
    workers: Vec<WorkerHandle>,
    max_connections: usize,
    stop: CancellationToken,
) {
    let permits = Arc::new(Semaphore::new(max_connections.min(Semaphore::MAX_PERMITS)));
    loop {
        let permit = tokio::select! {
            Ok(permit) = Arc::clone(&permits).acquire_owned() => permit,
            () = stop.cancelled() => return,
        };
        let socket = tokio::select! {
            socket = next_connection(&listener) => socket,
            () = stop.cancelled() => return empty_backlog(&listener, &permits, &workers).await,
        };
        hand_over(socket, permit, &workers).await;
    }
}

/// The next connection, however long the system has none to give. Loses nothing when it is dropped while waiting.
pub async fn next_connection(listener: &TcpListener) -> tokio::net::TcpStream {
    loop {
        match listener.accept().await {
            Ok((socket, _peer)) => return socket,
            Err(error) => recover(&error).await,
        }
    }
}

/// Waits after an error that the next call would meet again.
async fn recover(error: &std::io::Error) {
    if !is_of_one_connection(error) {
        tracing::warn!(cause = %error, "cannot accept connections for a moment");
        tokio::time::sleep(EXHAUSTED_WAIT).await;
    }
}

async fn empty_backlog(listener: &TcpListener, permits: &Arc<Semaphore>, workers: &[WorkerHandle]) {
    while let Ok(permit) = Arc::clone(permits).try_acquire_owned() {
        match tokio::time::timeout(Duration::ZERO, listener.accept()).await {
            Ok(Ok((socket, _peer))) => hand_over(socket, permit, workers).await,
            Ok(Err(_)) | Err(_) => return,
        }
    }
}

async fn hand_over(socket: tokio::net::TcpStream, permit: OwnedSemaphorePermit, workers: &[WorkerHandle]) {
    // Answers are small and complete: waiting to fill a packet only adds delay.
    let prepared = socket.set_nodelay(true).and_then(|()| socket.into_std());
    let (Ok(socket), Some(worker)) = (prepared, workers.iter().min_by_key(|worker| worker.open.count())) else {
        return;
    };
    worker.open.0.fetch_add(1, Ordering::Relaxed);
    let ticket = Ticket { open: worker.open.clone(), _permit: permit };
    // A worker ends after its queue does, so only one that panicked does not take the connection.
    let _ = worker.queue.send(Accepted { socket, ticket }).await;
}

fn is_of_one_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Error, ErrorKind};
    use std::time::Instant;

    #[tokio::test]
    async fn an_exhausted_system_is_waited_for_and_a_broken_connection_is_not() {
        // EMFILE, as Linux numbers it: no more descriptors.
        let exhausted = Error::from_raw_os_error(24);
        let started = Instant::now();
        recover(&exhausted).await;
        assert!(started.elapsed() >= EXHAUSTED_WAIT);
        let aborted = Error::from(ErrorKind::ConnectionAborted);
        tokio::select! {
            biased;
            () = recover(&aborted) => {}
            () = std::future::ready(()) => panic!("it waited"),
        }
    }
}
