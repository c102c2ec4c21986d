//! What counting a value costs: 100 FP32 features on references of 64 bins, in requests of 1, 32 and 256 rows, on one
//! thread and while a second thread records into a shard of its own.
//!
//! Throughput is in values, so that the time per element is nanoseconds per value; everything that a request's
//! recording does is in it, the row of evidence too. Rows are drawn from the distributions that the references were
//! drawn from, and requests change from one iteration to the next: the same rows again and again would let the branch
//! predictor learn them. `normal` features are the easiest to search; `mixed` ones are what tables hold: skewed amounts,
//! heavy tails, counts, many zeros, missing values; `divided` ones are normal and counted by segment as well, which makes
//! 2.3 ns 3.1 at 32 rows and 7.2 ns 9.8 at one.
//!
//! Designs that were measured, nanoseconds per value on one thread of an AMD EPYC (Zen 4) of 2.6 GHz, on `normal` and
//! `mixed` features. The machine had other work, which makes it half as slow again for seconds at a time; so the rows in
//! the first table are the lowest of the medians of three or four interleaved runs of 800 passes or more:
//!
//! | design | 32 rows | 1 row |
//! |---|---|---|
//! | column by column, two rounds of comparing a value with 16 edges; no evidence | 6.5 / 6.6 | 10.2 / 10.0 |
//! | tiles of 16 columns, one value's search after the other; no evidence | 2.2 / 3.2 | 5.0 / 6.1 |
//! | tiles, one step of all their searches after the other; no evidence | 2.2 / 2.9 | 4.8 / 6.0 |
//! | the same with a row of evidence | 2.2 / 2.9 | 6.8 / 7.3 |
//! | the same without loops of a known length for full tiles | 2.7 / 3.3 | 7.0 / 7.5 |
//! | with a row of evidence, built for AVX2 | 2.0 / 2.7 | 6.8 / 7.2 |
//! | with a row of evidence, built for AVX-512 | 2.0 / 2.6 | 6.7 / 7.1 |
//!
//! What is used now has tables of 509 cells and not 253, as many bytes, so that columns with atoms or a long tail seldom
//! have more than two edges in a cell, and compares with both where two halvings were needed. Medians of 400 interleaved
//! passes at 32 rows, before and after: `mixed` 3.09 and 2.82, `normal` 2.37 and 2.40.
//!
//! Since then counters lie where the search leads to and not slot by slot, so that nothing is checked or added up per
//! value; what is no ordinary number or belongs to a sum is found in a pass of its own; four edges are compared with one
//! by one where three halvings were needed; and a tensor of few columns has several rows in a line. The search alone, with
//! that pass and the increments, of 32 columns in blocks of 64 rows, before and after: instructions a value that callgrind
//! counts, and the least time of 600 passes, which the machine's other work disturbs least.
//!
//! | features | instructions | nanoseconds |
//! |---|---|---|
//! | `normal`: one edge in a cell | 25.6 → 13.1 | 1.60 → 1.40 |
//! | `mixed`, which have no missing values here: up to four edges, cells of bits among them | 42.8 → 18.1 | 3.20 → 1.60 |
//!
//! On two threads the search among 253 cells took 2.15 to 2.3 and 2.9 to 3.0 for 32 rows. The other designs were tried once
//! on the way, which is only good for their order: columns gathered into blocks of 32 rows 3.1 / 3.9, the same with the
//! increments of ten columns in turn 2.7 / 3.0, tiles of 8 columns with all loops unrolled 3.0 / 3.8. Wider vectors gain 5
//! to 10 %, for which choosing among builds at run time was not thought worth a dependency.
//!
//! Run with `cargo bench --bench record`; a filter such as `-- mixed/32` picks some.
//!
//! Invariant: every value of every request is counted, on one thread as on two.

use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::f64::consts::TAU;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use tidegate::config::{SegmentSettings, SegmentSource};
use tidegate::observe::{Evidence, Origin, Recorder};
use tidegate::profile::{ColumnSpec, Profile, ProfileBuilder, ProfileOptions, Side};
use tidegate::tensor::{DataType, Dimension, Shape, Signature, Tensor, TensorData, TensorSpec};

const FEATURES: usize = 100;
const BATCHES: [usize; 3] = [1, 32, 256];
const REFERENCE_ROWS: usize = 10_000;
/// Rows of all requests that the iterations go through: more values than a branch predictor remembers, few enough that
/// they stay in the second-level cache, where a request's values are when they have just been decoded.
const ROWS: usize = 768;

/// Values of the header that divides rows.
const TENANTS: [[u8; 8]; 16] = {
    let mut tenants = [*b"tenant-a"; 16];
    let mut index = 0;
    while index < tenants.len() {
        tenants[index][7] += index as u8;
        index += 1;
    }
    tenants
};

/// One feature's distribution.
type Draw = fn(&mut SmallRng) -> f64;

const NORMAL: [Draw; 1] = [normal];
const MIXED: [Draw; 8] = [
    |random| 5.0 + 3.0 * normal(random),
    |random| normal(random).exp(),
    |random| random.random::<f64>() * 100.0,
    |random| -(1.0 - random.random::<f64>()).ln() * 1e-3,
    |random| normal(random) / (normal(random).abs() + 1e-6),
    |random| if random.random::<f64>() < 0.4 { 0.0 } else { 1_000.0 * normal(random) },
    |random| if random.random::<f64>() < 0.01 { f64::NAN } else { normal(random) },
    |random| ((normal(random) * 10.0).round() + 40.0).max(0.0),
];

/// Box and Muller's transform.
fn normal(random: &mut SmallRng) -> f64 {
    let (radius, angle): (f64, f64) = (random.random(), random.random());
    (-2.0 * (1.0 - radius).ln()).sqrt() * (TAU * angle).cos()
}

fn signature() -> Signature {
    let shape = vec![Dimension::Free("N".into()), Dimension::Fixed(FEATURES)];
    Signature { inputs: vec![TensorSpec { name: "x".into(), datatype: DataType::Fp32, shape }], outputs: Vec::new() }
}

fn profile(draws: &[Draw]) -> Profile {
    let mut builder = ProfileBuilder::new(ProfileOptions::default());
    let mut random = SmallRng::seed_from_u64(1);
    for index in 0..FEATURES {
        let (tensor, name) = ("x".into(), format!("f{index}"));
        let spec = ColumnSpec { side: Side::Input, tensor, index, name, datatype: DataType::Fp32, statistic: None };
        let column = builder.add_column(spec);
        let draw = draws[index % draws.len()];
        let values = (0..REFERENCE_ROWS).map(|_| f64::from(draw(&mut random) as f32));
        builder.absorb_numbers(column, values).expect("one value a row");
    }
    builder.finish().expect("there are rows and columns")
}

fn requests(draws: &[Draw], batch: usize, seed: u64) -> Vec<Tensor> {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut request = || {
        let value = |position: usize| draws[position % FEATURES % draws.len()](&mut random) as f32;
        let values = (0..batch * FEATURES).map(value).collect();
        Tensor::try_new(Shape::matrix(batch, FEATURES), TensorData::Fp32(values)).expect("as many values as the shape")
    };
    (0..ROWS / batch).map(|_| request()).collect()
}

/// Records one request after the other, round and round, and a random row of each as evidence.
struct Client<'a> {
    recorder: &'a Recorder,
    worker: usize,
    requests: Vec<Tensor>,
    turn: usize,
    random: SmallRng,
}

impl Client<'_> {
    fn record_next(&mut self) {
        self.turn = (self.turn + 1) % self.requests.len();
        let inputs = black_box(std::slice::from_ref(&self.requests[self.turn]));
        let evidence = Evidence::Row { draw: self.random.random() };
        // Sixteen tenants; where rows are not divided nobody looks at them.
        let origin = Origin { evidence, header: Some(&TENANTS[self.turn % TENANTS.len()]) };
        self.recorder.record_prediction(self.worker, origin, inputs, &[]);
    }
}

fn measure(group: &mut BenchmarkGroup<'_, WallTime>, recorder: &Recorder, draws: &[Draw], batch: usize) {
    group.throughput(Throughput::Elements((batch * FEATURES) as u64));
    let client = |worker: usize| {
        let seed = 7 + worker as u64;
        let random = SmallRng::seed_from_u64(seed);
        Client { recorder, worker, requests: requests(draws, batch, seed), turn: 0, random }
    };
    let mut first = client(0);
    group.bench_function(format!("{batch}/one thread"), |bencher| bencher.iter(|| first.record_next()));
    let stop = AtomicBool::new(false);
    let mut second = client(1);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                second.record_next();
            }
        });
        group.bench_function(format!("{batch}/two threads"), |bencher| bencher.iter(|| first.record_next()));
        stop.store(true, Ordering::Relaxed);
    });
}

fn recording(criterion: &mut Criterion) {
    for (name, draws) in [("normal", &NORMAL[..]), ("mixed", &MIXED[..]), ("divided", &NORMAL[..])] {
        let profile = profile(draws);
        let mut recorder = Recorder::new(&signature(), Some(&profile), FEATURES, 2);
        if name == "divided" {
            let settings = SegmentSettings { by: SegmentSource::Header("x-tenant".into()), max_values: 16 };
            recorder.divide(Some(&profile), &settings).expect("a header divides any rows");
        }
        let mut group = criterion.benchmark_group(name);
        for batch in BATCHES {
            measure(&mut group, &recorder, draws, batch);
        }
        group.finish();
    }
}

criterion_group! {
    name = benches;
    // Many short samples, of which the median counts: what interrupts the thread then spoils a sample and not the result.
    config = Criterion::default().sample_size(300).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_millis(300));
    targets = recording
}
criterion_main!(benches);
