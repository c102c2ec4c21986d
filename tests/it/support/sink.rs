//! A receiver of alerts, as somebody would put behind a webhook.

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// A request that a sink got, and the status that it answered.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) alert: Value,
}

/// A sink that keeps what it gets.
pub(crate) struct Sink {
    pub(crate) url: String,
    deliveries: Arc<Mutex<Vec<Delivery>>>,
    _accepting: JoinSet<()>,
}

impl Sink {
    /// A sink that answers 500 to the first `failures` requests and 200 from then on.
    pub(crate) async fn start(failures: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/alerts", listener.local_addr().unwrap());
        let deliveries = Arc::new(Mutex::new(Vec::new()));
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, failures, Arc::clone(&deliveries)));
        Self { url, deliveries, _accepting: accepting }
    }

    /// Everything that came so far.
    pub(crate) fn deliveries(&self) -> Vec<Delivery> {
        self.deliveries.lock().unwrap().clone()
    }
}

async fn accept(listener: TcpListener, failures: usize, deliveries: Arc<Mutex<Vec<Delivery>>>) {
    let mut connections = JoinSet::new();
    loop {
        let (socket, _peer) = listener.accept().await.unwrap();
        let deliveries = Arc::clone(&deliveries);
        connections.spawn(async move {
            let service = service_fn(|request| take(request, failures, &deliveries));
            // A client that goes away ends its connection.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
        });
    }
}

async fn take(
    request: Request<Incoming>,
    failures: usize,
    deliveries: &Mutex<Vec<Delivery>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    assert_eq!(request.method(), "POST");
    let content_type = request.headers()["content-type"].to_str().unwrap().to_owned();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let alert = serde_json::from_slice(&body).unwrap();
    let mut deliveries = deliveries.lock().unwrap();
    let status = if deliveries.len() < failures { 500 } else { 200 };
    deliveries.push(Delivery { status, content_type, alert });
    Ok(Response::builder().status(status).body(Full::default()).unwrap())
}
