//! What tidegate is measured against: a server of one model that does nothing else.
//!
//! Two modes. `bare` reads a request and sends back bytes that were made beforehand: what HTTP costs on this machine.
//! `full` is what somebody writes who wants this one model served and has no other wishes: hyper, serde_json with typed
//! structs, ONNX Runtime with one thread; no splits, no versions, no metrics, no ids, no checks beyond what the parser does.
//! One thread, as the gateway gets in the comparison.
//!
//! ```sh
//! cargo run --release --example reference -- full 127.0.0.1:9000 MODEL.onnx LIBONNXRUNTIME.so
//! cargo run --release --example reference -- bare 127.0.0.1:9000 ANSWER.json
//! ```
//!
//! An example of the package, so that it is built as the gateway is: same compiler, optimisation and versions.
//!
//! Invariant: nothing is cached between requests, and `full` computes every answer.

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use ort::session::{Session, builder::GraphOptimizationLevel};
use ort::value::TensorRef;
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::error::Error;
use std::rc::Rc;
use tokio::task::JoinSet;

type Outcome<T> = Result<T, Box<dyn Error>>;

#[derive(Deserialize)]
struct InferRequest {
    inputs: Vec<Input>,
}

#[derive(Deserialize)]
struct Input {
    shape: Vec<i64>,
    data: Vec<f32>,
}

#[derive(Serialize)]
struct InferAnswer<'a> {
    model_name: &'a str,
    model_version: &'a str,
    outputs: Vec<Output<'a>>,
}

#[derive(Serialize)]
struct Output<'a> {
    name: &'a str,
    datatype: &'static str,
    shape: Vec<i64>,
    data: Data<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Data<'a> {
    Integers(&'a [i64]),
    Floats(&'a [f32]),
}

enum Mode {
    Bare(Bytes),
    Full(Box<RefCell<Session>>),
}

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (address, mode) = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["bare", address, answer] => (address, Mode::Bare(std::fs::read(answer)?.into())),
        ["full", address, model, library] => (address, Mode::Full(Box::new(RefCell::new(open(model, library)?)))),
        _ => return Err("usage: reference bare ADDRESS ANSWER.json | full ADDRESS MODEL.onnx LIBONNXRUNTIME.so".into()),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, serve(address.to_owned(), Rc::new(mode)))
}

fn open(model: &str, library: &str) -> Outcome<Session> {
    ort::init_from(library)?;
    let environment = ort::init().with_telemetry(false).build()?;
    let mut builder = Session::builder(&environment)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_intra_threads(1)?
        .with_inter_threads(1)?
        .with_intra_op_spinning(false)?;
    Ok(builder.commit_from_file(model)?)
}

#[expect(clippy::print_stderr, reason = "says where it listens, once")]
async fn serve(address: String, mode: Rc<Mode>) -> Outcome<()> {
    let listener = tokio::net::TcpListener::bind(address).await?;
    eprintln!("listening on {}", listener.local_addr()?);
    let mut connections = JoinSet::new();
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        let mode = Rc::clone(&mode);
        while connections.try_join_next().is_some() {}
        connections.spawn_local(async move {
            let service = service_fn(move |request| {
                let mode = Rc::clone(&mode);
                async move { answer(request, &mode).await }
            });
            // A client that goes away ends its connection and nothing else.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
        });
    }
}

async fn answer(request: Request<Incoming>, mode: &Mode) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let body = request.into_body().collect().await?.to_bytes();
    let (status, body) = match mode {
        Mode::Bare(answer) => (StatusCode::OK, answer.clone()),
        Mode::Full(session) => match infer(&body, &mut session.borrow_mut()) {
            Ok(answer) => (StatusCode::OK, answer),
            Err(error) => (StatusCode::BAD_REQUEST, error.to_string().into()),
        },
    };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

fn infer(body: &[u8], session: &mut Session) -> Outcome<Bytes> {
    let request: InferRequest = serde_json::from_slice(body)?;
    let input = request.inputs.first().ok_or("no input")?;
    let outputs = session.run(ort::inputs![TensorRef::from_array_view((&input.shape[..], &input.data[..]))?])?;
    let (label_shape, labels) = outputs["label"].try_extract_tensor::<i64>()?;
    let (score_shape, scores) = outputs["probabilities"].try_extract_tensor::<f32>()?;
    let outputs = vec![
        Output { name: "label", datatype: "INT64", shape: label_shape.to_vec(), data: Data::Integers(labels) },
        Output { name: "probabilities", datatype: "FP32", shape: score_shape.to_vec(), data: Data::Floats(scores) },
    ];
    Ok(serde_json::to_vec(&InferAnswer { model_name: "breast-cancer", model_version: "1", outputs })?.into())
}
