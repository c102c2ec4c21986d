//! One connection, from its socket to its end.
//!
//! Workers drive theirs with `drive_watched`, whose time-outs cost nothing per request; the admin port, whose connections
//! may be polled by any thread of its runtime, uses [`drive`].
//!
//! Invariant: a request that is being answered when the process stops is answered, and the connection then closes.

use super::respond::Answer;
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
/// was answered.
pub(super) async fn drive_watched<S>(socket: TcpStream, service: S, wait: &Rc<Wait>)
where
    S: Service<Request<Incoming>, Response = Answer, Error = Infallible>,
{
    let io = Watched { io: TokioIo::new(socket), wait: Rc::clone(wait) };
    // Head and body of an answer in one buffer and one plain write: a vectored one costs more than copying some hundred
    // bytes.
    let mut connection = pin!(http1::Builder::new().writev(false).serve_connection(io, service));
    let mut is_shutting_down = false;
    poll_fn(|context| {
        wait.register(context);
        if wait.is_overdue(Phase::Head) {
            return Poll::Ready(());
        }
        if wait.is_draining() && !is_shutting_down {
            is_shutting_down = true;
            connection.as_mut().graceful_shutdown();
        }
        connection.as_mut().poll(context).map(drop)
    })
    .await;
}

/// A socket that tells when the client takes what is written.
struct Watched {
    io: TokioIo<TcpStream>,
    wait: Rc<Wait>,
}

impl Read for Watched {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, into)
    }
}

impl Write for Watched {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(context, bytes);
        if matches!(written, Poll::Ready(Ok(1..))) {
            self.wait.progress();
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(context);
        if matches!(flushed, Poll::Ready(Ok(()))) {
            self.wait.written();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}
