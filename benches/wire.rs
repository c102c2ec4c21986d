//! Requests from JSON to typed buffers and answers back, each in more than one way, on the same bytes and values.
//!
//! 30 FP32 values a row, in bodies of 1 and 64 rows. `heldout` are the rows of `models/breast-cancer` as a client with a
//! CSV file has them: short decimals. `doubles` are what Python's `json.dumps` makes of doubles, 16 or 17 digits; and
//! `singles` the shortest decimals that single out an `f32`, up to 9 digits. Bodies change from one iteration to the
//! next: one body again and again would let the branch predictor learn its digits.
//!
//! Ways to decode. All but the first two are the numbers alone, without the object around them:
//! - `tidegate`: the whole body by [`oip::decode_infer`], checked against the model's signature;
//! - `serde_json`: the whole body into structs, as `loadtest/reference` does it;
//! - `lexical`: `lexical-core`'s partial parser, which also finds each number's end;
//! - `std`: cut at the commas and given to `str::parse`.
//!
//! Ways to encode, into a fresh buffer of the right size:
//! - `tidegate`: [`oip::encode_infer`], which formats with `zmij`;
//! - `serde_json`: structs;
//! - `ryu`: the values alone, formatted with `ryu`.
//!
//! What was kept, both ways, is the first: for numbers the fastest on every kind of text. Nanoseconds per value in bodies of
//! 64 rows, on one thread of an AMD EPYC (Zen 4) of 2.6 GHz, the lowest of three runs:
//!
//! | decode | `heldout` | `doubles` | `singles` |
//! |---|---|---|---|
//! | `tidegate` | 7.3 | 15.5 | 16.3 |
//! | `tidegate` before lists were read in runs: one number after the other | 10.3 | 23.8 | 19.8 |
//! | `serde_json` | 14.4 | 52 | 35 |
//! | `lexical` | 8.7 | 22 | 20.6 |
//! | `std` | 21 | 34 | 33 |
//!
//! | encode | `heldout` | `doubles` | `singles` |
//! |---|---|---|---|
//! | `tidegate` | 16.3 | 23.1 | 23.3 |
//! | `serde_json` | 18.3 | 26.2 | 25.6 |
//! | `ryu` | 22.5 | 28.5 | 28.5 |
//!
//! One row takes 0.54, 0.75 and 0.72 µs to decode, with `serde_json` 0.74, 1.6 and 1.06 µs; of it 0.3 µs are the object
//! around the numbers, which is checked, and the allocations.
//!
//! Run with `cargo bench --bench wire`; a filter such as `-- decode/heldout` picks some.
//!
//! Invariant: all ways of a group read the same values from the same bytes, or write texts that read back to the same
//! values; that is checked before anything is measured.

use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};
use std::f64::consts::TAU;
use std::hint::black_box;
use std::path::Path;
use std::time::Duration;
use tidegate::protocol::{AnswerHead, oip};
use tidegate::tensor::{DataType, Dimension, Signature, Tensor, TensorData, TensorSpec};

const WIDTH: usize = 30;
const BATCHES: [usize; 2] = [1, 64];
const HEAD: AnswerHead<'static> = AnswerHead { id: None, model_name: "breast-cancer", model_version: "1" };

/// Different bodies that the iterations go through: coprime with the number of held-out rows, so that batches differ.
const BODIES: usize = 127;

/// Texts of values, in the order of a row's columns.
type Texts = Box<dyn Iterator<Item = String>>;

#[derive(Deserialize)]
struct Request {
    inputs: Vec<Input>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "read as the reference server reads it")]
struct Input {
    shape: Vec<i64>,
    data: Vec<f32>,
}

#[derive(Serialize, Deserialize)]
struct Answer<'a> {
    model_name: &'a str,
    model_version: &'a str,
    outputs: Vec<Output<'a>>,
}

#[derive(Serialize, Deserialize)]
struct Output<'a> {
    name: &'a str,
    datatype: &'a str,
    shape: Vec<usize>,
    data: std::borrow::Cow<'a, [f32]>,
}

/// One kind of text in one size of batch.
struct Case {
    batch: usize,
    bodies: Vec<String>,
    /// The values of each body without the brackets around them.
    lists: Vec<String>,
    tensors: Vec<Tensor>,
}

fn signature() -> Signature {
    let shape = vec![Dimension::Free("N".into()), Dimension::Fixed(WIDTH)];
    Signature { inputs: vec![TensorSpec { name: "x".into(), datatype: DataType::Fp32, shape }], outputs: Vec::new() }
}

fn heldout() -> Texts {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/breast-cancer/heldout.csv");
    let text = std::fs::read_to_string(path).expect("held-out rows are in the repository");
    let values: Vec<String> = text.lines().skip(1).flat_map(|row| row.split(',').map(str::to_owned)).collect();
    Box::new(values.into_iter().cycle())
}

/// Standard normal numbers, by Box and Muller's transform.
fn normals() -> impl Iterator<Item = f64> {
    let mut random = SmallRng::seed_from_u64(1);
    std::iter::repeat_with(move || {
        let (radius, angle): (f64, f64) = (random.random(), random.random());
        (-2.0 * (1.0 - radius).ln()).sqrt() * (TAU * angle).cos()
    })
}

fn doubles() -> Texts {
    Box::new(normals().map(|value| serde_json::to_string(&value).expect("a number is JSON")))
}

fn singles() -> Texts {
    Box::new(normals().map(|value| serde_json::to_string(&(value as f32)).expect("a number is JSON")))
}

impl Case {
    fn new(batch: usize, mut texts: Texts) -> Self {
        let mut case = Self { batch, bodies: Vec::new(), lists: Vec::new(), tensors: Vec::new() };
        let signature = signature();
        for _ in 0..BODIES {
            let list = texts.by_ref().take(batch * WIDTH).collect::<Vec<_>>().join(",");
            let body =
                format!(r#"{{"inputs":[{{"name":"x","shape":[{batch},{WIDTH}],"datatype":"FP32","data":[{list}]}}]}}"#);
            let tensor = decode(body.as_bytes(), &signature);
            let expected = TensorData::Fp32(list.split(',').map(|text| text.parse().expect("a number")).collect());
            assert_eq!(tensor.data(), &expected);
            for values in [by_serde(body.as_bytes()), by_lexical(list.as_bytes()), by_std(&list)] {
                assert_eq!(TensorData::Fp32(values), expected);
            }
            check_encoding(&tensor, batch);
            case.bodies.push(body);
            case.lists.push(list);
            case.tensors.push(tensor);
        }
        case
    }
}

fn check_encoding(tensor: &Tensor, batch: usize) {
    let values = values_of(tensor);
    for text in [encode(tensor), encode_by_serde(values, batch)] {
        let answer: Answer<'_> = serde_json::from_slice(&text).expect("answers are JSON");
        assert_eq!(&*answer.outputs[0].data, values);
    }
    let read: Vec<f32> = serde_json::from_slice(&encode_by_ryu(values)).expect("a list is JSON");
    assert_eq!(read, values);
}

fn values_of(tensor: &Tensor) -> &[f32] {
    let TensorData::Fp32(values) = tensor.data() else { unreachable!("the signature says FP32") };
    values
}

fn decode(body: &[u8], signature: &Signature) -> Tensor {
    let mut inputs = oip::decode_infer(body, signature).expect("bodies fit the signature").inputs;
    inputs.pop().expect("there is one input")
}

fn by_serde(body: &[u8]) -> Vec<f32> {
    let mut request: Request = serde_json::from_slice(body).expect("bodies are JSON");
    request.inputs.pop().expect("there is one input").data
}

fn by_lexical(mut list: &[u8]) -> Vec<f32> {
    let mut values = Vec::with_capacity(list.len() / 2 + 1);
    loop {
        let (value, length) = lexical_core::parse_partial::<f32>(list).expect("a number");
        values.push(value);
        match list.get(length) {
            Some(b',') => list = &list[length + 1..],
            _ => return values,
        }
    }
}

fn by_std(list: &str) -> Vec<f32> {
    let mut values = Vec::with_capacity(list.len() / 2 + 1);
    values.extend(list.split(',').map(|text| text.parse::<f32>().expect("a number")));
    values
}

/// A buffer that no way has to enlarge.
fn buffer(values: usize) -> Vec<u8> {
    Vec::with_capacity(256 + 16 * values)
}

fn encode(tensor: &Tensor) -> Vec<u8> {
    let mut out = buffer(tensor.data().len());
    oip::encode_infer(&mut out, &HEAD, [("y", tensor)]).expect("numbers can be written as JSON");
    out
}

fn encode_by_serde(values: &[f32], batch: usize) -> Vec<u8> {
    let mut out = buffer(values.len());
    let output = Output { name: "y", datatype: "FP32", shape: vec![batch, WIDTH], data: values.into() };
    let answer = Answer { model_name: HEAD.model_name, model_version: HEAD.model_version, outputs: vec![output] };
    serde_json::to_writer(&mut out, &answer).expect("writing to memory succeeds");
    out
}

fn encode_by_ryu(values: &[f32]) -> Vec<u8> {
    let mut out = buffer(values.len());
    let mut separator = b'[';
    for value in values {
        out.push(separator);
        out.extend_from_slice(ryu::Buffer::new().format_finite(*value).as_bytes());
        separator = b',';
    }
    out.push(b']');
    out
}

/// Measures one way, on one item after the other, round and round.
fn measure<T, O>(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, items: &[T], mut way: impl FnMut(&T) -> O) {
    let mut turn = 0;
    group.bench_function(name, |bencher| {
        bencher.iter(|| {
            turn = (turn + 1) % items.len();
            way(black_box(&items[turn]))
        });
    });
}

fn ways(criterion: &mut Criterion) {
    let signature = signature();
    for (kind, texts) in [("heldout", heldout as fn() -> Texts), ("doubles", doubles), ("singles", singles)] {
        for batch in BATCHES {
            let case = Case::new(batch, texts());
            let name = format!("decode/{kind}/{batch}");
            let mut group = criterion.benchmark_group(&name);
            group.throughput(Throughput::Elements((batch * WIDTH) as u64));
            measure(&mut group, "tidegate", &case.bodies, |body| decode(body.as_bytes(), &signature));
            measure(&mut group, "serde_json", &case.bodies, |body| by_serde(body.as_bytes()));
            measure(&mut group, "lexical", &case.lists, |list| by_lexical(list.as_bytes()));
            measure(&mut group, "std", &case.lists, |list| by_std(list));
            group.finish();
            let mut group = criterion.benchmark_group(name.replace("decode", "encode"));
            group.throughput(Throughput::Elements((batch * WIDTH) as u64));
            measure(&mut group, "tidegate", &case.tensors, encode);
            measure(&mut group, "serde_json", &case.tensors, |tensor| encode_by_serde(values_of(tensor), case.batch));
            measure(&mut group, "ryu", &case.tensors, |tensor| encode_by_ryu(values_of(tensor)));
            group.finish();
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(100).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_millis(1000));
    targets = ways
}
criterion_main!(benches);
