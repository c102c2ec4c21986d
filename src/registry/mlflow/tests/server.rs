//! A server of a few answers, which keeps what it was asked.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// What an answer is made of.
pub(super) type Answer = Response<Full<Bytes>>;
/// A request.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) path: String,
    pub(super) query: String,
    pub(super) headers: hyper::HeaderMap,
    pub(super) body: String,
}

impl Asked {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// The server; it ends with the value.
pub(super) struct Server {
    pub(super) url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    _accepting: JoinSet<()>,
}

impl Server {
    /// Starts a server whose answers a function makes of requests.
    pub(super) async fn start(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, Arc::new(answer), Arc::clone(&asked)));
        Self { url, asked, _accepting: accepting }
    }

    /// Every request so far.
    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

async fn accept(
    listener: TcpListener,
    answer: Arc<impl Fn(&Asked) -> Answer + Send + Sync + 'static>,
    asked: Arc<Mutex<Vec<Asked>>>,
) {
    let mut connections = JoinSet::new();
    loop {
        let (socket, _peer) = listener.accept().await.unwrap();
        let (answer, asked) = (Arc::clone(&answer), Arc::clone(&asked));
        connections.spawn(async move {
            let service = service_fn(|request: Request<Incoming>| async {
                let (head, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let one = Asked {
                    path: head.uri.path().to_owned(),
                    query: head.uri.query().unwrap_or_default().to_owned(),
                    headers: head.headers,
                    body: String::from_utf8_lossy(&body).into_owned(),
                };
                let answered = answer(&one);
                asked.lock().unwrap().push(one);
                Ok::<_, Infallible>(answered)
            });
            // A client that goes away ends its connection.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
        });
    }
}

/// An answer of a status and a body.
pub(super) fn answer(status: u16, body: impl Into<Bytes>) -> Answer {
    Response::builder().status(status).body(Full::new(body.into())).unwrap()
}

/// An answer with a header.
pub(super) fn answer_with(status: u16, (name, value): (&str, &str), body: impl Into<Bytes>) -> Answer {
    Response::builder().status(status).header(name, value).body(Full::new(body.into())).unwrap()
}

/// What MLflow says to what it does not know.
pub(super) fn unknown() -> Answer {
    answer(404, r#"{"error_code":"RESOURCE_DOES_NOT_EXIST","message":"not found"}"#)
}
