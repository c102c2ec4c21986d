//! One connection that speaks HTTP/1.1, from its socket to its end.
//!
//! Workers drive theirs with `drive_watched`, whose time-outs cost nothing per request; the admin port, whose connections
//! may be polled by any thread of its runtime, uses [`drive`].
//!
//! Invariant: a request that is being answered when the process stops is answered, and the connection then closes.

use super::outbox::{Outbox, Outgoing};
use super::respond::Answer;
use super::socket::{Ahead, Socket};
use super::waiting::{Phase, Wait};
use hyper::Request;
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio_util::sync::CancellationToken;

/// Answers requests until the client is done, no request head has come whole for `idle_timeout`, or `stop` says so. What
/// ends a connection is the client's business and is not told: a reset, a time-out, bytes that are no HTTP.
pub async fn drive<S>(socket: TcpStream, service: S, idle_timeout: Duration, stop: CancellationToken)
where
    S: Service<Request<Incoming>, Response = Answer, Error = Infallible>,
{
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(idle_timeout)
        .serve_connection(TokioIo::new(socket), service);
    tokio::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => {}
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}

/// As [`drive`], for a connection whose worker watches over it: until `wait` says that it is overdue or the last request
/// was answered. Answers are sent with the rounds of `outbox`.
pub(super) async fn drive_watched<S>(socket: Socket, service: S, (wait, outbox): (&Rc<Wait>, &Outbox))
where
    S: Service<Request<Incoming>, Response = Answer, Error = Infallible>,
{
    let (socket, ahead) = socket.into_parts();
    let (incoming, outgoing) = socket.into_split();
    let outgoing = Outgoing::new(outgoing, Rc::clone(wait));
    let io = Watched { ahead, incoming: TokioIo::new(incoming), outgoing: Rc::clone(&outgoing), outbox };
    let mut connection = pin!(builder().serve_connection(io, service));
    let mut is_shutting_down = false;
    poll_fn(|context| {
        wait.register(context);
        if wait.is_overdue(Phase::Head) || matches!(outgoing.poll_blocked(context), Poll::Ready(Err(_))) {
            return Poll::Ready(());
        }
        let mut ended = connection.as_mut().poll(context);
        if ended.is_pending() && wait.is_draining() && !is_shutting_down {
            // Only now: a connection that was told to end before it was looked at would not see the request in it.
            is_shutting_down = true;
            connection.as_mut().graceful_shutdown();
            ended = connection.as_mut().poll(context);
        }
        if wait.is_ours() && outgoing.poll_peer_gone(context).is_ready() {
            return Poll::Ready(());
        }
        ended.map(drop)
    })
    .await;
    // A connection that ends in an error is not shut down: what was answered before is sent all the same.
    outgoing.send();
}

/// HTTP/1 as workers speak it.
fn builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    // Head and body of an answer in one buffer and one plain write: a vectored one costs more than copying some hundred
    // bytes.
    builder.writev(false);
    // Else hyper would look for the stream's end while a request is answered, and allocate a buffer of 8 KiB for that
    // with every request. Whether a peer has gone that waits for a long call is seen in `drive_watched`.
    builder.half_close(true);
    builder
}

/// A socket whose answers are sent in rounds.
struct Watched<'o> {
    ahead: Ahead,
    incoming: TokioIo<OwnedReadHalf>,
    outgoing: Rc<Outgoing>,
    outbox: &'o Outbox,
}

impl Read for Watched<'_> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let Self { ahead, incoming, .. } = &mut *self;
        ahead.poll_read(Pin::new(incoming), context, into)
    }
}

impl Write for Watched<'_> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.outgoing.poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let made = self.outgoing.wait().answer_in_round();
        self.outgoing.poll_flush((self.outbox, made), context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.poll_shutdown(context)
    }
}
