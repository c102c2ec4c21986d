//! A registry with faults that are switched on and off: what MLflow answers, over sockets, as far as the gateway asks.
//!
//! Faults are those of networks and servers, so they are made with the bytes themselves and not with a server library: an
//! answer that ends too early, one that never ends, one that comes a byte at a time. The real server is in `mlflow.rs`.
//!
//! Invariant: without a fault it answers as MLflow does, and every file is what was put there.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// What goes wrong with requests whose path has `path` in it.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) path: &'static str,
    pub(crate) kind: FaultKind,
}

/// How it goes wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) enum FaultKind {
    /// This status, whatever was asked.
    Status(u16),
    /// The connection is closed at once.
    Closed,
    /// So many bytes of the body, and the connection is closed.
    Truncated(usize),
    /// So many bytes of the body, and then nothing; the connection stays open.
    Stalled(usize),
    /// A byte, a pause shorter than any time-out, a byte, …
    Trickle,
}

#[derive(Default)]
struct Content {
    aliases: BTreeMap<String, u64>,
    /// By version and path.
    files: BTreeMap<u64, BTreeMap<String, Vec<u8>>>,
    fault: Option<Fault>,
    /// Requests that met the fault since it was set.
    met: usize,
}

/// A registry of one model.
pub(crate) struct Registry {
    address: std::net::SocketAddr,
    content: Arc<Mutex<Content>>,
    serving: Option<JoinSet<()>>,
}

impl Registry {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, content) = (listener.local_addr().unwrap(), Arc::default());
        let serving = Some(serve(listener, &content));
        Self { address, content, serving }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Puts a version there.
    pub(crate) fn put(&self, version: u64, files: impl IntoIterator<Item = (&'static str, Vec<u8>)>) {
        let files = files.into_iter().map(|(path, bytes)| (path.to_owned(), bytes)).collect();
        self.content.lock().unwrap().files.insert(version, files);
    }

    /// Points an alias to a version.
    pub(crate) fn set_alias(&self, alias: &str, version: u64) {
        self.content.lock().unwrap().aliases.insert(alias.to_owned(), version);
    }

    /// From now on this goes wrong; nothing does with none.
    pub(crate) fn fault(&self, fault: Option<Fault>) {
        let mut content = self.content.lock().unwrap();
        (content.fault, content.met) = (fault, 0);
    }

    /// How many requests met the fault.
    pub(crate) fn met(&self) -> usize {
        self.content.lock().unwrap().met
    }

    /// Ends it: connections break, and new ones are refused.
    pub(crate) async fn stop(&mut self) {
        let mut serving = self.serving.take().unwrap();
        serving.shutdown().await;
    }

    /// Starts it again where it was.
    pub(crate) async fn restart(&mut self) {
        let listener =
            super::wait::until("the registry's port is free", async || TcpListener::bind(self.address).await.ok())
                .await;
        self.serving = Some(serve(listener, &self.content));
    }
}

fn serve(listener: TcpListener, content: &Arc<Mutex<Content>>) -> JoinSet<()> {
    let mut serving = JoinSet::new();
    let content = Arc::clone(content);
    serving.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((socket, _)) = listener.accept().await {
            let content = Arc::clone(&content);
            connections.spawn(async move { drop(connection(socket, &content).await) });
        }
    });
    serving
}

/// One request and its answer.
async fn connection(mut socket: TcpStream, content: &Mutex<Content>) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if socket.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let head = String::from_utf8(head).unwrap();
    let target = head.split(' ').nth(1).unwrap().to_owned();
    let start = head.lines().find_map(|line| line.to_lowercase().strip_prefix("range: bytes=").map(str::to_owned));
    let start = start.map_or(0, |range| range.trim_end_matches('-').parse().unwrap());
    let (fault, answer) = {
        let mut content = content.lock().unwrap();
        let fault = content.fault.clone().filter(|fault| target.contains(fault.path)).map(|fault| fault.kind);
        content.met += usize::from(fault.is_some());
        (fault, content.answer(&target))
    };
    write(&mut socket, fault, answer, start).await
}

async fn write(
    socket: &mut TcpStream,
    fault: Option<FaultKind>,
    answer: Option<Vec<u8>>,
    start: usize,
) -> std::io::Result<()> {
    let (mut status, mut body) = match answer {
        Some(body) => (200, body),
        None => {
            (404, json!({ "error_code": "RESOURCE_DOES_NOT_EXIST", "message": "not here" }).to_string().into_bytes())
        }
    };
    match fault {
        Some(FaultKind::Closed) => return Ok(()),
        Some(FaultKind::Status(broken)) => (status, body) = (broken, b"out of order".to_vec()),
        _ => {}
    }
    let (total, mut range) = (body.len(), String::new());
    if status == 200 && start > 0 && start < total {
        body.drain(..start);
        (status, range) = (206, format!("content-range: bytes {start}-{}/{total}\r\n", total - 1));
    }
    let length = body.len();
    let head = format!("HTTP/1.1 {status} -\r\n{range}content-length: {length}\r\nconnection: close\r\n\r\n");
    socket.write_all(head.as_bytes()).await?;
    match fault {
        Some(FaultKind::Truncated(bytes)) => socket.write_all(&body[..bytes.min(length - 1)]).await,
        Some(FaultKind::Stalled(bytes)) => {
            socket.write_all(&body[..bytes.min(length)]).await?;
            std::future::pending().await
        }
        Some(FaultKind::Trickle) => {
            for byte in body {
                socket.write_all(&[byte]).await?;
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
            Ok(())
        }
        _ => socket.write_all(&body).await,
    }
}

impl Content {
    /// What MLflow answers to a GET; nothing for what is not there.
    fn answer(&self, target: &str) -> Option<Vec<u8>> {
        let url = reqwest::Url::parse(&format!("http://registry{target}")).unwrap();
        let query: BTreeMap<_, _> = url.query_pairs().into_owned().collect();
        let version = || query.get("version").and_then(|version| version.parse::<u64>().ok());
        let path = url.path();
        if let Some(file) = path.strip_prefix("/api/2.0/mlflow-artifacts/artifacts/models/") {
            let (version, file) = file.split_once('/')?;
            return self.files.get(&version.parse().ok()?)?.get(file).cloned();
        }
        let answer: Value = match path {
            "/api/2.0/mlflow/registered-models/get" => {
                let alias =
                    |(alias, version): (&String, &u64)| json!({ "alias": alias, "version": version.to_string() });
                let aliases: Vec<Value> = self.aliases.iter().map(alias).collect();
                json!({ "registered_model": { "name": query.get("name"), "aliases": aliases } })
            }
            "/api/2.0/mlflow/model-versions/get" => {
                let version = version().filter(|version| self.files.contains_key(version))?;
                json!({ "model_version": { "version": version.to_string(), "status": "READY", "source": "the test" } })
            }
            "/api/2.0/mlflow/model-versions/get-download-uri" => {
                json!({ "artifact_uri": format!("mlflow-artifacts:/models/{}", version()?) })
            }
            "/api/2.0/mlflow-artifacts/artifacts" => {
                let version = query.get("path")?.strip_prefix("models/")?.parse().ok()?;
                let files = self.files.get(&version)?.iter();
                let file = |(path, bytes): (&String, &Vec<u8>)| json!({ "path": path, "is_dir": false, "file_size": bytes.len() });
                json!({ "files": files.map(file).collect::<Vec<Value>>() })
            }
            _ => return None,
        };
        Some(answer.to_string().into_bytes())
    }
}
