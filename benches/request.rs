//! A whole request in process, and each of its parts: decode, engine, record, encode.
//!
//! No socket and no HTTP: what is left is the work that this crate does per request, on the version that the loader
//! makes of `models/`, with the embedded engine. The parts are also measured alone, so that a change of the whole can be
//! put down to one of them; `whole` is their sum plus what moving between them costs.
//!
//! Bodies are made of the held-out rows and change from one iteration to the next: one row again and again would let the
//! branch predictor learn its digits, its bins and its answer, and flatter the result.
//!
//! Run with `cargo bench --bench request`; a filter such as `-- churn/64` picks some.
//!
//! Invariant: nothing measured is left out of what serving a request does between a whole body and a whole answer.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::fmt::Write as _;
use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tidegate::catalog::{LoadOrder, Model, Predecessor};
use tidegate::config::{Config, EngineChoice};
use tidegate::engine::{Engines, RuntimeSearch};
use tidegate::observe::{Evidence, PHASES, Protocol, StatusLabel};
use tidegate::protocol::{AnswerHead, oip};
use tidegate::registry::directory::fingerprint;
use tidegate::registry::load::Loader;
use tidegate::tensor::Tensor;

/// `breast-cancer` has 30 features, `churn` 10, of which some are counts and codes.
const MODELS: [&str; 2] = ["breast-cancer", "churn"];

/// Rows of a body.
const BATCHES: [usize; 2] = [1, 64];

/// Different bodies that the iterations go through: coprime with the numbers of held-out rows, so that batches differ.
const BODIES: usize = 127;

/// The only worker.
const WORKER: usize = 0;

/// What the measured parts need.
struct Case {
    model: Arc<Model>,
    bodies: Vec<Vec<u8>>,
    inputs: Vec<Vec<Tensor>>,
    outputs: Vec<Vec<Tensor>>,
}

/// Goes through indices of bodies, round and round.
#[derive(Default)]
struct Turn(usize);

impl Turn {
    fn next(&mut self) -> usize {
        self.0 = (self.0 + 1) % BODIES;
        self.0
    }
}

fn load(name: &str) -> Arc<Model> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let seen = fingerprint(&repository.join(name).join("1")).expect("the repository can be read");
    let (fingerprint, _) = seen.expect("version 1 is in the repository");
    let mut settings = Config::default().model(name);
    settings.engine = EngineChoice::Tract;
    let loader = Loader {
        fetched: "nowhere".into(),
        repository,
        engines: Arc::new(Engines::discover(&RuntimeSearch::default())),
        workers: 1,
        executor: Arc::default(),
        memory_budget: u64::MAX,
        quarantine: Arc::default(),
    };
    let settings = Arc::new(settings);
    let order = LoadOrder {
        model: name.to_owned(),
        version: 1,
        fingerprint,
        settings,
        config: Arc::default(),
        memory_in_use: 0,
        predecessor: Predecessor::Nobody,
    };
    loader.load(&order).unwrap_or_else(|failure| unreachable!("{name} loads on the embedded engine: {failure:?}"))
}

/// Bodies of `batch` rows each, as a client writes them.
fn bodies(name: &str, batch: usize) -> Vec<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("models").join(name).join("heldout.csv");
    let text = fs::read_to_string(path).expect("held-out rows are in the repository");
    let rows: Vec<&str> = text.lines().skip(1).collect();
    let width = rows[0].split(',').count();
    let body = |index: usize| {
        let first = index * batch;
        let mut body =
            format!(r#"{{"inputs":[{{"name":"features","shape":[{batch},{width}],"datatype":"FP32","data":["#);
        for offset in 0..batch {
            let separator = if offset == 0 { "" } else { "," };
            let row = rows[(first + offset) % rows.len()];
            write!(body, "{separator}{row}").expect("writing to memory succeeds");
        }
        body.push_str("]}]}");
        body.into_bytes()
    };
    (0..BODIES).map(body).collect()
}

impl Case {
    fn new(model: &Arc<Model>, batch: usize) -> Self {
        let bodies = bodies(&model.name, batch);
        let inputs: Vec<Vec<Tensor>> = bodies.iter().map(|body| decode(model, body)).collect();
        let run = |inputs: &Vec<Tensor>| {
            let mut outputs = Vec::new();
            model.run(WORKER, inputs, &mut outputs).expect("the model runs held-out rows");
            outputs
        };
        let outputs = inputs.iter().map(run).collect();
        Self { model: Arc::clone(model), bodies, inputs, outputs }
    }
}

fn decode(model: &Model, body: &[u8]) -> Vec<Tensor> {
    oip::decode_infer(body, model.signature()).expect("bodies fit the model").inputs
}

fn record(model: &Model, inputs: &[Tensor], outputs: &[Tensor]) {
    // Worth a row, as unpinned requests without a routing key are.
    let evidence = Evidence::Row { draw: black_box(0x9e37_79b9_7f4a_7c15) };
    model.recorder.record_prediction(WORKER, evidence, inputs, outputs);
    let label = (0, Protocol::OpenInference, StatusLabel::of(200));
    // Durations of a typical request, nanoseconds.
    let phases: [u64; PHASES] = black_box([2_000, 12_000, 3_000, 0, 5_000, 1_000, 0, 7_000]);
    model.recorder.record_answer(WORKER, label, &phases);
}

fn encode(model: &Model, outputs: &[Tensor]) -> Vec<u8> {
    let head = AnswerHead { id: None, model_name: &model.name, model_version: &model.version_text };
    let named = model.signature().outputs.iter().map(|spec| spec.name.as_str()).zip(outputs);
    let values: usize = outputs.iter().map(|output| output.data().len()).sum();
    let mut answer = Vec::with_capacity(288 + 12 * values);
    oip::encode_infer(&mut answer, &head, named).expect("numbers can be written as JSON");
    answer
}

fn measure(criterion: &mut Criterion, case: &Case, batch: usize) {
    let Case { model, bodies, inputs, outputs } = case;
    let mut group = criterion.benchmark_group(format!("{}/{batch}", model.name));
    group.throughput(Throughput::Elements(batch as u64));
    let mut turn = Turn::default();
    let mut buffer = Vec::new();
    group.bench_function("decode", |bencher| bencher.iter(|| decode(model, black_box(&bodies[turn.next()]))));
    group.bench_function("engine", |bencher| {
        bencher.iter(|| model.run(WORKER, black_box(&inputs[turn.next()]), &mut buffer));
    });
    group.bench_function("record", |bencher| {
        bencher.iter(|| {
            let index = turn.next();
            record(model, black_box(&inputs[index]), black_box(&outputs[index]));
        });
    });
    group.bench_function("encode", |bencher| bencher.iter(|| encode(model, black_box(&outputs[turn.next()]))));
    group.bench_function("whole", |bencher| {
        bencher.iter(|| {
            let inputs = decode(model, black_box(&bodies[turn.next()]));
            model.run(WORKER, &inputs, &mut buffer).expect("the model runs held-out rows");
            let answer = encode(model, &buffer);
            record(model, &inputs, &buffer);
            answer
        });
    });
    group.finish();
}

fn requests(criterion: &mut Criterion) {
    for name in MODELS {
        let model = load(name);
        for batch in BATCHES {
            measure(criterion, &Case::new(&model, batch), batch);
        }
    }
}

criterion_group! {
    name = benches;
    // Twenty measurements of about two seconds each.
    config = Criterion::default().sample_size(50).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_millis(1500));
    targets = requests
}
criterion_main!(benches);
