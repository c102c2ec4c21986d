//! One connection, from its socket to its end: for the data plane and the admin port alike.
//!
//! Invariant: a request that is being answered when the process stops is answered, and the connection then closes.

use super::respond::Answer;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
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
