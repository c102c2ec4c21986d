//! One call of an engine: the shipped models, one row and 64, on tract and, where its library is found, on ONNX Runtime.
//!
//! `kept` calls come with the same shape again and again, as traffic does, and run on values that the instance keeps.
//! `anew` calls come with so many shapes in turn that none are kept: between 1 and 16 rows more than the number in their
//! name, so that what they cost beyond the rows is the price of values made for one run. ONNX Runtime is looked for as the
//! gateway does (`ORT_DYLIB_PATH`, Python environments on the path).
//!
//! Run with `cargo bench --bench engine`.
//!
//! Invariant: every call computes its answer.

use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use std::path::Path;
use std::time::Duration;
use tidegate::config::EngineChoice;
use tidegate::engine::{Engines, LoadOptions, LoadedGraph, RuntimeSearch, synthesize_inputs};
use tidegate::tensor::Tensor;

/// Shapes in turn: more than an instance remembers.
const SHAPES: usize = 16;
const MODELS: [&str; 3] = ["breast-cancer/1", "breast-cancer/2", "churn/2"];

fn measure(criterion: &mut Criterion, name: &str, graph: &LoadedGraph, rows: usize) {
    let inputs = |rows| synthesize_inputs(graph.signature(), rows).expect("so few rows fit");
    let mut group = criterion.benchmark_group(format!("{name}/{}/{rows}", graph.engine_name()));
    let cases = [("kept", vec![inputs(rows)]), ("anew", (0..SHAPES).map(|more| inputs(rows + more)).collect())];
    for (case, shapes) in cases {
        let mut instance = graph.instance().expect("the model was loaded");
        let (mut outputs, mut turn) = (Vec::<Tensor>::new(), 0);
        group.bench_function(case, |bencher| {
            bencher.iter(|| {
                turn = (turn + 1) % shapes.len();
                instance.run(black_box(&shapes[turn]), &mut outputs).expect("the model takes zeros");
            });
        });
    }
    group.finish();
}

fn calls(criterion: &mut Criterion) {
    let engines = Engines::discover(&RuntimeSearch::from_environment(None));
    let choices: &[EngineChoice] = match engines.onnx_runtime() {
        Some(_) => &[EngineChoice::Tract, EngineChoice::OnnxRuntime],
        None => &[EngineChoice::Tract],
    };
    for name in MODELS {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("models").join(name).join("model.onnx");
        for &choice in choices {
            let graph = engines.load(&path, choice, &LoadOptions::default()).expect("shipped models run on either");
            for rows in [1, 64] {
                measure(criterion, name, &graph, rows);
            }
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(30).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    targets = calls
}
criterion_main!(benches);
