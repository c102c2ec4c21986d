//! An admin port that answers as told and keeps what it was asked.

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Method, path and query.
    pub(crate) what: String,
    pub(crate) authorization: Option<String>,
    pub(crate) body: String,
}

/// The port; it ends with the value.
pub(crate) struct AdminPort {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    _accepting: JoinSet<()>,
}

impl AdminPort {
    /// A port whose answers a function makes of method, path and query.
    pub(crate) async fn start(answer: impl Fn(&str) -> (u16, Value) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, Arc::new(answer), Arc::clone(&asked)));
        Self { address, asked, _accepting: accepting }
    }

    /// Every request since this was last asked.
    pub(crate) fn take_asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

async fn accept(
    listener: TcpListener,
    answer: Arc<impl Fn(&str) -> (u16, Value) + Send + Sync + 'static>,
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
                let what = format!("{} {}", head.method, head.uri);
                let (status, said) = answer(&what);
                let authorization = head.headers.get("authorization");
                asked.lock().unwrap().push(Asked {
                    what,
                    authorization: authorization.map(|value| value.to_str().unwrap().to_owned()),
                    body: String::from_utf8_lossy(&body).into_owned(),
                });
                let answer = Response::builder().status(status).header("content-type", "application/json");
                Ok::<_, Infallible>(answer.body(Full::new(Bytes::from(said.to_string()))).unwrap())
            });
            // A client that goes away ends its connection.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
        });
    }
}
