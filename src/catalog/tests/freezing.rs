//! A learned reference becomes live as a new value of its version: nothing else changes, and no count is lost.

use super::*;
use crate::observe::{Evidence, PHASES, Protocol, StatusLabel};
use crate::profile::{Profile, learn};
use crate::tensor::{Shape, Tensor, TensorData};
use std::sync::atomic::{AtomicBool, Ordering};

/// Serves one request as a worker does; `first` is the first feature of its rows.
fn serve(model: &Model, worker: usize, rows: usize, first: f32) {
    let values = (0..rows * 10).map(|place| if place % 10 == 0 { first } else { place as f32 }).collect();
    let inputs = [Tensor::try_new(Shape::matrix(rows, 10), TensorData::Fp32(values)).unwrap()];
    let mut outputs = Vec::new();
    model.run(worker, &inputs, &mut outputs).unwrap();
    model.recorder.record_prediction(worker, Evidence::None, &inputs, &outputs);
    model.recorder.record_answer(worker, (0, Protocol::OpenInference, StatusLabel::of(200)), &[1_000; PHASES]);
}

fn order(model: &Model) -> FreezeOrder {
    let totals = model.recorder.totals();
    let profile = learn(&model.recorder.learnable(model.signature(), &totals), totals.rows).unwrap();
    FreezeOrder { model: model.name.clone(), version: model.version, identity: model.identity, profile }
}

/// Requests that are counted as answered.
fn answered(model: &Model) -> u64 {
    model.counted().answers.statuses().map(|(_, _, _, count)| count).sum()
}

/// Frees all that was taken out of service, as the retirer does once nobody holds it.
fn free(retired: &Receiver<Retired>) {
    let waiting: Vec<Retired> = retired.try_iter().collect();
    let (snapshots, models): (Vec<_>, Vec<_>) =
        waiting.into_iter().partition(|item| matches!(item, Retired::Snapshot(_)));
    drop(snapshots);
    drop(models);
}

#[test]
fn a_version_that_served_nothing_can_be_frozen() {
    let mut stage = Stage::new();
    stage.disk(&[(1, 11)]);
    stage.load(&[]);
    let frozen = stage.publisher.freeze(order(&stage.entry().loaded[&1]), stage.now).unwrap();
    assert_eq!((frozen.profile.as_ref().unwrap().rows, frozen.counted().rows), (0, 0));
    serve(&frozen, 0, 3, 1.0);
    assert_eq!(frozen.counted().rows, 3);
}

#[test]
fn freezing_publishes_a_new_value_and_leaves_split_weights_and_pins_alone() {
    let mut stage = Stage::new();
    stage.disk(&[(1, 11), (2, 12)]);
    stage.load(&[]);
    stage.ask(&[(1, 9_000), (2, 1_000)]);
    stage.load(&[]);
    let (before, generation) = (stage.entry(), stage.publisher.catalog().snapshot().generation);
    let old = Arc::clone(&before.loaded[&1]);
    serve(&old, 0, 40, 1.0);
    let frozen = stage.publisher.freeze(order(&old), stage.now).unwrap();
    let after = stage.entry();
    assert_eq!(stage.publisher.catalog().snapshot().generation, generation + 1);
    assert_ne!(frozen.identity, old.identity);
    assert_eq!((frozen.lineage, frozen.facts.fingerprint), (old.lineage, old.facts.fingerprint));
    assert_eq!(stage.live(), [(1, 9_000), (2, 1_000)]);
    assert_eq!((after.swaps, &after.versions, after.explicit), (before.swaps, &before.versions, true));
    for picked in [after.pick(9_999).unwrap(), after.pinned("1").unwrap()] {
        assert!(Arc::ptr_eq(&picked.model, &frozen));
    }
    assert!(Arc::ptr_eq(after.stable().unwrap(), &frozen));
    assert!(Arc::ptr_eq(&after.loaded[&2], &before.loaded[&2]), "the other version is the same value");
    assert!(frozen.recorder.columns().iter().all(|column| column.reference.is_some()));
    assert_eq!((frozen.is_learned(), frozen.learned_because.as_deref()), (true, Some("none")));
    assert_eq!(frozen.recorder.totals().rows, 0, "on its edges nothing was counted yet");
    // It stays, and nothing is loaded again.
    assert!(stage.load(&[]).is_empty());
    stage.later(BAKE * 3);
    assert!(Arc::ptr_eq(&stage.entry().loaded[&1], &frozen));
}

#[test]
fn a_reference_for_another_value_is_refused_and_changes_nothing() {
    let mut stage = Stage::new();
    stage.disk(&[(1, 11)]);
    stage.load(&[]);
    let old = Arc::clone(&stage.entry().loaded[&1]);
    let stale = order(&old);
    stage.disk(&[(1, 99)]);
    stage.load(&[]);
    let generation = stage.publisher.catalog().snapshot().generation;
    for wrong in [
        stale.clone(),
        FreezeOrder { model: "unknown".into(), ..stale.clone() },
        FreezeOrder { version: 2, ..stale.clone() },
    ] {
        let error = stage.publisher.freeze(wrong, stage.now).unwrap_err();
        assert!(matches!(error, FreezeError::Stale { .. }), "{error}");
    }
    let current = Arc::clone(&stage.entry().loaded[&1]);
    let unfit = FreezeOrder { profile: Profile::default(), ..order(&current) };
    let error = stage.publisher.freeze(unfit, stage.now).unwrap_err();
    assert!(matches!(error, FreezeError::Unfit(_)), "{error}");
    assert_eq!(stage.publisher.catalog().snapshot().generation, generation);
    let frozen = stage.publisher.freeze(order(&current), stage.now).unwrap();
    let error = stage.publisher.freeze(order_of(&frozen), stage.now).unwrap_err();
    assert!(matches!(error, FreezeError::HasReference { .. }), "{error}");
}

/// An order that names a frozen value, whose counters are nothing to learn from.
fn order_of(frozen: &Model) -> FreezeOrder {
    let profile = frozen.profile.clone().unwrap();
    FreezeOrder { model: frozen.name.clone(), version: frozen.version, identity: frozen.identity, profile }
}

#[test]
fn what_requests_in_flight_count_on_the_old_value_is_handed_on() {
    let mut stage = Stage::new();
    stage.disk(&[(1, 11)]);
    stage.load(&[]);
    let in_flight = stage.entry().pick(0).unwrap();
    serve(&in_flight.model, 0, 5, f32::NAN);
    let frozen = stage.publisher.freeze(order(&in_flight.model), stage.now).unwrap();
    assert_eq!((frozen.counted().rows, answered(&frozen)), (5, 1), "what came before is counted at once");
    serve(&in_flight.model, 0, 7, f32::NAN);
    serve(&frozen, 0, 2, f32::NAN);
    drop(in_flight);
    free(&stage.retired);
    let counted = frozen.counted();
    assert_eq!((counted.rows, counted.predictions, answered(&frozen)), (14, 3, 3));
    let missing: Vec<_> =
        frozen.defects(&counted).into_iter().filter(|(_, kind, count)| *kind == "missing" && *count > 0).collect();
    assert_eq!(missing, [("features[0]".to_owned(), "missing", 14)]);
    assert_eq!(frozen.recorder.totals().rows, 2, "its own counters are those of its edges");
}

#[test]
fn freezing_under_load_loses_no_count() {
    const WORKERS: usize = 2;
    let mut stage = Stage::new();
    stage.disk(&[(1, 11)]);
    let order_to_load = stage.publisher.next_load(stage.now).unwrap();
    stage.publisher.load_finished(&order_to_load, Ok(model_for(WORKERS)), stage.now);
    let (catalog, stop) = (stage.publisher.catalog(), AtomicBool::new(false));
    let served: u64 = std::thread::scope(|scope| {
        let first = catalog.snapshot().models["m"].loaded[&1].identity;
        let work = |worker| {
            let (catalog, stop) = (&catalog, &stop);
            move || {
                // Requests by old and by new value.
                let mut served = [0_u64; 2];
                while !stop.load(Ordering::Relaxed) || served[1] < 20 {
                    let picked = catalog.find("m", |entry| entry.pick(0)).unwrap();
                    serve(&picked.model, worker, 1, 1.0);
                    served[usize::from(picked.model.identity != first)] += 1;
                }
                served.iter().sum::<u64>()
            }
        };
        let workers: Vec<_> = (0..WORKERS).map(|worker| scope.spawn(work(worker))).collect();
        let old = Arc::clone(&catalog.snapshot().models["m"].loaded[&1]);
        while old.recorder.totals().rows < 100 {
            std::thread::yield_now();
        }
        stage.publisher.freeze(order(&old), stage.now).unwrap();
        stop.store(true, Ordering::Relaxed);
        workers.into_iter().map(|worker| worker.join().unwrap()).sum()
    });
    free(&stage.retired);
    let frozen = Arc::clone(&stage.entry().loaded[&1]);
    assert_eq!((frozen.counted().rows, answered(&frozen)), (served, served));
    assert!(frozen.recorder.totals().rows < served);
}

fn model_for(workers: usize) -> Arc<Model> {
    model_on("models/churn/1/model.onnx", (1, 11), workers)
}
