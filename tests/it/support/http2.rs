//! A client of the data port that sends everything over one HTTP/2 connection, and bodies in pieces if a test wants.

use super::client::Answer;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection {
    requests: SendRequest<Pieces>,
    /// Ends with the connection.
    driving: JoinSet<()>,
}

/// A request whose answer is still to come.
#[derive(Debug)]
pub(crate) struct Sent {
    /// Sends more of the body, which ends when this is dropped.
    pub(crate) body: Option<mpsc::Sender<Bytes>>,
    answer: JoinSet<hyper::Result<Response<Incoming>>>,
}

/// A body in pieces, whose length is not known beforehand.
#[derive(Debug)]
pub(crate) struct Pieces(mpsc::Receiver<Bytes>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

impl Connection {
    pub(crate) async fn open(to: SocketAddr) -> Self {
        let socket = TcpStream::connect(to).await.unwrap();
        let (requests, connection) = handshake(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
        let mut driving = JoinSet::new();
        driving.spawn(async move { drop(connection.await) });
        Self { requests, driving }
    }

    /// Begins a request: its head, and this much of its body.
    pub(crate) async fn begin(&self, method: Method, path: &str, piece: impl Into<Bytes>) -> Sent {
        let (body, pieces) = mpsc::channel(16);
        send(&body, piece.into()).await;
        let request =
            Request::builder().method(method).uri(format!("http://gateway{path}")).body(Pieces(pieces)).unwrap();
        let mut requests = self.requests.clone();
        let mut answer = JoinSet::new();
        answer.spawn(async move {
            requests.ready().await?;
            requests.send_request(request).await
        });
        Sent { body: Some(body), answer }
    }

    /// Sends a whole request, and reads the whole answer.
    pub(crate) async fn post(&self, path: &str, body: impl Into<Bytes>) -> Answer {
        self.begin(Method::POST, path, body).await.finish("").await
    }

    /// Waits until the other side has closed it.
    pub(crate) async fn closed(mut self) {
        let ended = tokio::time::timeout(super::wait::PATIENCE, self.driving.join_next()).await;
        assert!(matches!(ended, Ok(Some(Ok(())))), "{ended:?}");
    }
}

impl Sent {
    /// Ends the body with this piece, and reads the whole answer.
    pub(crate) async fn finish(mut self, piece: impl Into<Bytes>) -> Answer {
        if let Some(body) = self.body.take() {
            send(&body, piece.into()).await;
        }
        self.answered().await
    }

    /// Reads the whole answer, however much of the body was sent.
    pub(crate) async fn answered(mut self) -> Answer {
        let answer = self.answer.join_next().await.unwrap().unwrap();
        let (head, body) = answer.unwrap_or_else(|error| panic!("no answer: {error:?}")).into_parts();
        let whole = body.collect().await.unwrap_or_else(|error| panic!("half an answer: {error:?}")).to_bytes();
        let text = String::from_utf8(whole.to_vec()).unwrap();
        Answer { status: head.status.as_u16(), headers: head.headers, text }
    }
}

/// Sends a piece, unless it is empty: only broken clients send many of those, and are cut off. A refusal may have come
/// before all of a body was wanted.
async fn send(body: &mpsc::Sender<Bytes>, piece: Bytes) {
    if !piece.is_empty() {
        let _ = body.send(piece).await;
    }
}
