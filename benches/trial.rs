//! What a rollout adds to a request that it counts: entering the trial, looking at the predictions, counting how it ended.
//!
//! As the server does it, in the same order, on one thread: a canary of 10 %, two probabilities a row on references of
//! 10,000 rows, in requests of 1 and 64 rows, of which one is evidence. Requests are without a key, of keys that were met
//! before, which guards alone count, and of keys that come for the first time. The request itself, its parsing and the
//! model's call, are in `loadtest/rollout_cost.sh`, and so is what the other threads do.
//!
//! `guards` is what is read every 50 ms, `counts` what is read every 250 ms, both of four workers.
//!
//! Run with `cargo bench --bench trial`.
//!
//! Invariant: every request that is measured is counted.

use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main, measurement::WallTime};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidegate::config::{GuardSettings, ToleranceSettings};
use tidegate::observe::trial::{Findings, Outcome, Trial, TrialPlan, TrialShare};
use tidegate::observe::{Evidence, Recorder};
use tidegate::profile::{ColumnSpec, Profile, ProfileBuilder, ProfileOptions, Side};
use tidegate::route::{Split, hash_of_key, point_of_draw};
use tidegate::tensor::{DataType, Dimension, Shape, Signature, Tensor, TensorData, TensorSpec};

const SHARE: TrialShare = TrialShare { canary: 2, stable: 1, weight: 1_000, before: 0 };
const FEATURES: usize = 30;
const CLASSES: usize = 2;
const REFERENCE_ROWS: usize = 10_000;
const BATCHES: [usize; 2] = [1, 64];
const WORKERS: usize = 4;
/// Requests that the iterations go through, and keys that were met before.
const REQUESTS: usize = 4096;
/// Keys that one trial meets for the first time: few enough that its bitmap of keys is nearly empty still.
const FIRST_KEYS: u64 = 1 << 18;

fn spec(name: &str, width: usize) -> TensorSpec {
    let shape = vec![Dimension::Free("N".into()), Dimension::Fixed(width)];
    TensorSpec { name: name.into(), datatype: DataType::Fp32, shape }
}

fn signature() -> Signature {
    Signature { inputs: vec![spec("features", FEATURES)], outputs: vec![spec("probabilities", CLASSES)] }
}

fn floats(rows: usize, values: Vec<f32>) -> Tensor {
    let width = values.len() / rows;
    Tensor::try_new(Shape::matrix(rows, width), TensorData::Fp32(values)).expect("as many values as the shape")
}

fn profile(random: &mut SmallRng) -> Profile {
    let mut builder = ProfileBuilder::new(ProfileOptions::default());
    for index in 0..CLASSES {
        let (tensor, name) = ("probabilities".into(), format!("probabilities {index}"));
        let spec = ColumnSpec { side: Side::Output, tensor, index, name, datatype: DataType::Fp32, statistic: None };
        let column = builder.add_column(spec);
        let values = (0..REFERENCE_ROWS).map(|_| f64::from(random.random::<f32>()));
        builder.absorb_numbers(column, values).expect("one value a row");
    }
    builder.finish().expect("there are rows and columns")
}

/// What a request brings along.
struct Request {
    draw: u64,
    key_hash: u64,
    outputs: [Tensor; 1],
    nanoseconds: u64,
}

/// Requests of one size, to versions as the split picks them.
struct Traffic {
    split: Split,
    signature: Signature,
    inputs: [Tensor; 1],
    requests: Vec<Request>,
    turn: usize,
}

impl Traffic {
    fn new(batch: usize, random: &mut SmallRng) -> Self {
        let mut request = |number: usize| {
            let values = (0..batch).flat_map(|_| {
                let share = random.random::<f32>();
                [share, 1.0 - share]
            });
            Request {
                outputs: [floats(batch, values.collect())],
                draw: random.random(),
                key_hash: hash_of_key("churn", format!("user-{number}").as_bytes()),
                nanoseconds: random.random_range(20_000..400_000),
            }
        };
        Self {
            requests: (0..REQUESTS).map(&mut request).collect(),
            split: Split::try_new(&[(1, 9_000), (2, 1_000)]).expect("the weights add up"),
            signature: signature(),
            inputs: [floats(batch, vec![0.5; batch * FEATURES])],
            turn: 0,
        }
    }

    /// One request from its version to its end.
    fn pass(&mut self, (trial, worker): (&Trial, usize), evidence: impl FnOnce(&Request) -> Evidence) -> Findings {
        self.turn = (self.turn + 1) % REQUESTS;
        let request = black_box(&self.requests[self.turn]);
        let evidence = evidence(request);
        let (Evidence::KeyGroup { key_hash: point, .. } | Evidence::Row { draw: point }) = evidence else {
            return Findings::default();
        };
        let version = self.split.arms()[self.split.pick(point_of_draw(point))].version;
        let Some(entrant) = trial.enter(version, evidence) else { return Findings::default() };
        let findings = trial.look(worker, &entrant, (&self.signature, &self.inputs), &request.outputs);
        trial.count(worker, &entrant, (Outcome::Predicted, findings), request.nanoseconds);
        findings
    }
}

fn without_a_key(request: &Request) -> Evidence {
    Evidence::Row { draw: request.draw }
}

fn with_a_key(request: &Request) -> Evidence {
    Evidence::KeyGroup { draw: request.draw, key_hash: request.key_hash }
}

fn requests(group: &mut BenchmarkGroup<'_, WallTime>, plan: &Arc<TrialPlan>, batch: usize) {
    let mut random = SmallRng::seed_from_u64(1 + batch as u64);
    let mut traffic = Traffic::new(batch, &mut random);
    let trial = || Trial::new(Arc::clone(plan), SHARE, WORKERS);
    let counted = trial();
    group.bench_function(format!("{batch}/no key"), |bencher| {
        bencher.iter(|| traffic.pass((&counted, 0), without_a_key));
    });
    for _ in 0..REQUESTS {
        black_box(traffic.pass((&counted, 0), with_a_key));
    }
    group.bench_function(format!("{batch}/known key"), |bencher| {
        bencher.iter(|| traffic.pass((&counted, 0), with_a_key));
    });
    group.bench_function(format!("{batch}/first of a key"), |bencher| {
        bencher.iter_custom(|iterations| {
            let mut taken = Duration::ZERO;
            for start in (0..iterations).step_by(FIRST_KEYS as usize) {
                let fresh = trial();
                let began = Instant::now();
                for _ in start..iterations.min(start + FIRST_KEYS) {
                    let key_hash = random.random();
                    black_box(traffic.pass((&fresh, 0), |request| Evidence::KeyGroup { draw: request.draw, key_hash }));
                }
                taken += began.elapsed();
            }
            taken
        });
    });
    assert!(counted.counts().guards.canary.iter().any(|tally| tally.answers > 0), "requests were counted");
}

fn trial(criterion: &mut Criterion) {
    let mut random = SmallRng::seed_from_u64(1);
    let recorder = Recorder::new(&signature(), Some(&profile(&mut random)), FEATURES, WORKERS);
    let settings = (&GuardSettings::default(), &ToleranceSettings::default());
    let plan = Arc::new(TrialPlan::new(&recorder, &recorder.totals().answers, settings));
    let mut group = criterion.benchmark_group("request");
    BATCHES.iter().for_each(|batch| requests(&mut group, &plan, *batch));
    group.finish();

    let read = Trial::new(plan, SHARE, WORKERS);
    let mut traffic = Traffic::new(1, &mut random);
    for request in 0..REQUESTS {
        black_box(traffic.pass((&read, request % WORKERS), with_a_key));
    }
    let mut group = criterion.benchmark_group("reading");
    group.bench_function("guards", |bencher| bencher.iter(|| black_box(read.guards())));
    group.bench_function("counts", |bencher| bencher.iter(|| black_box(read.counts())));
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(100).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_millis(1000));
    targets = trial
}
criterion_main!(benches);
