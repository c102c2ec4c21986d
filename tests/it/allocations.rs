//! The request path's budget, in allocations.
//!
//! Choosing a version and recording must cost none; decoding and encoding what their values need and nothing per
//! element. The numbers are exact: one more is a regression that somebody has to argue for here.

use allocation_counter::measure;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tidegate::catalog::{LoadFacts, Mirror, Model, ModelParts};
use tidegate::config::{
    EngineChoice, GuardSettings, SegmentSettings, SegmentSource, ShadowSettings, ToleranceSettings,
};
use tidegate::engine::{Engines, LoadOptions, LoadedGraph, RuntimeSearch};
use tidegate::observe::trial::{Outcome, Trial, TrialPlan, TrialShare};
use tidegate::observe::{Evidence, Origin, PHASES, Phase, Protocol, Recorder, RefusalKind, StatusLabel};
use tidegate::protocol::{AnswerHead, oip};
use tidegate::registry::load::read_profile;
use tidegate::route::{Split, point_of_draw, point_of_key};

fn graph(version: &str) -> (LoadedGraph, Recorder) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/breast-cancer").join(version);
    let engines = Engines::discover(&RuntimeSearch::default());
    let graph = engines.load(&directory.join("model.onnx"), EngineChoice::Tract, &LoadOptions::default()).unwrap();
    let profile = read_profile(&directory, graph.signature()).unwrap();
    let recorder = Recorder::new(graph.signature(), Some(&profile), 512, 1);
    (graph, recorder)
}

/// A shipped version as it serves.
fn model(version: &str) -> Model {
    let (graph, recorder) = graph(version);
    let (load_time, loaded_at) = (Duration::ZERO, SystemTime::UNIX_EPOCH);
    let (fingerprint, memory, warnings) = (0, 0, Vec::new());
    let facts = LoadFacts { fingerprint, memory, load_time, loaded_at, warmed_on: "nothing", warnings };
    let (name, version) = ("breast-cancer".to_owned(), version.parse().unwrap());
    let (instances, placement, profile) = (Vec::new(), None, Err("none".to_owned()));
    Model::new(ModelParts { name, version, graph, instances, placement, recorder, profile, facts })
}

fn body(rows: usize) -> String {
    let row: Vec<String> = (0..30).map(|index| format!("{}.25", index * 7 % 13)).collect();
    let data = vec![row.join(","); rows].join(",");
    format!(r#"{{"inputs":[{{"name":"features","datatype":"FP32","shape":[{rows},30],"data":[{data}]}}]}}"#)
}

fn allocations(work: impl FnOnce()) -> u64 {
    measure(work).count_total
}

#[test]
fn choosing_a_version_allocates_nothing() {
    let split = Split::try_new(&[(1, 9_000), (2, 1_000)]).unwrap();
    let mut chosen = 0;
    let count = allocations(|| {
        for draw in 0..1_000_u64 {
            chosen += split.pick(point_of_draw(draw.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
            chosen += split.pick(point_of_key("churn", &draw.to_le_bytes()));
        }
    });
    assert_eq!(count, 0);
    assert!(chosen > 0);
}

#[test]
fn recording_allocates_nothing_once_a_shard_exists() {
    let (graph, recorder) = graph("2");
    for rows in [1, 64] {
        let inputs = oip::decode_infer(body(rows).as_bytes(), graph.signature()).unwrap().inputs;
        let mut outputs = Vec::new();
        graph.instance().unwrap().run(&inputs, &mut outputs).unwrap();
        // The shard, and its counters by group of keys.
        recorder.record_prediction(0, Evidence::KeyGroup { draw: 0, key_hash: 0 }, &inputs, &outputs);
        for draw in [0, 1 << 62, u64::MAX] {
            let key_group = Evidence::KeyGroup { draw, key_hash: draw.rotate_left(7) };
            for evidence in [Evidence::None, Evidence::Row { draw }, key_group] {
                let count = allocations(|| recorder.record_prediction(0, evidence, &inputs, &outputs));
                assert_eq!(count, 0, "{rows} rows, {evidence:?}");
            }
        }
        assert_eq!(allocations(|| recorder.record_refusal(0, RefusalKind::WrongShape)), 0);
        let label = (0, Protocol::OpenInference, StatusLabel::of(200));
        let mut phases = [0; PHASES];
        phases[Phase::Total as usize] = 25_000;
        assert_eq!(allocations(|| recorder.record_answer(0, label, &phases)), 0);
    }
}

#[test]
fn a_rollout_allocates_nothing_per_request_once_a_shard_exists() {
    let (graph, recorder) = graph("2");
    let settings = (&GuardSettings::default(), &ToleranceSettings::default());
    let plan = Arc::new(TrialPlan::new(&recorder, &recorder.totals().answers, settings));
    let trial = Trial::new(plan, TrialShare { canary: 2, stable: 1, weight: 500, before: 100 }, 1);
    let mut events = 0;
    for rows in [1, 64] {
        let inputs = oip::decode_infer(body(rows).as_bytes(), graph.signature()).unwrap().inputs;
        let mut outputs = Vec::new();
        graph.instance().unwrap().run(&inputs, &mut outputs).unwrap();
        let mut request = |version: u64, evidence: Evidence, outcome: Outcome| {
            let Some(entrant) = trial.enter(version, evidence) else { return };
            let findings = trial.look(0, &entrant, (graph.signature(), &inputs), &outputs);
            trial.count(0, &entrant, (outcome, findings), 25_000);
            events += 1;
        };
        // The shard.
        request(1, Evidence::Row { draw: 0 }, Outcome::Predicted);
        let count = allocations(|| {
            for draw in 0..1_000_u64 {
                let key_hash = draw.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                for evidence in [Evidence::Row { draw }, Evidence::KeyGroup { draw, key_hash }, Evidence::None] {
                    request(1 + draw % 2, evidence, Outcome::Predicted);
                    request(1 + draw % 2, evidence, Outcome::Failed { panicked: draw % 3 == 0 });
                }
            }
        });
        assert_eq!(count, 0, "{rows} rows");
    }
    assert_eq!(events, 2 * (1 + 4_000));
}

#[test]
fn dividing_rows_into_segments_allocates_for_a_new_value_of_a_header_and_never_else() {
    let (graph, mut recorder) = graph("2");
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/breast-cancer/2");
    let profile = read_profile(&directory, graph.signature()).unwrap();
    let settings = SegmentSettings { by: SegmentSource::Header("x-tenant".into()), max_values: 2 };
    recorder.divide(Some(&profile), &settings).unwrap();
    for rows in [1, 64] {
        let inputs = oip::decode_infer(body(rows).as_bytes(), graph.signature()).unwrap().inputs;
        let mut outputs = Vec::new();
        graph.instance().unwrap().run(&inputs, &mut outputs).unwrap();
        let of = |header: Option<&[u8]>| {
            let origin = Origin { evidence: Evidence::Row { draw: 5 }, header };
            allocations(|| recorder.record_prediction(0, origin, &inputs, &outputs))
        };
        // The shard.
        of(None);
        let is_first = u64::from(rows == 1);
        let long = [b'x'; 5_000];
        let headers: [Option<&[u8]>; 8] =
            [Some(b"a"), Some(b"a"), Some(b""), Some(&long), Some(b"b"), Some(b"b"), Some(b"c"), None];
        assert_eq!(headers.map(of), [is_first, 0, 0, 0, is_first, 0, 0, 0], "{rows} rows");
    }
}

#[test]
fn decoding_allocates_for_the_tensor_and_not_per_value() {
    let (graph, _) = graph("2");
    for rows in [1, 64, 1_000] {
        let body = body(rows);
        let count = allocations(|| {
            oip::decode_infer(body.as_bytes(), graph.signature()).unwrap();
        });
        assert!(count <= 3, "{count} allocations for {rows} rows");
    }
}

#[test]
fn a_copy_of_a_request_costs_its_place_in_the_queue_and_no_value_is_copied() {
    let (primary, shadow) = (model("2"), model("2"));
    let settings = ShadowSettings { share: 5_000, queue: 4, ..ShadowSettings::default() };
    let (mirror, _far_end) = Mirror::new(&primary, &shadow, &settings).unwrap();
    for rows in [1, 64] {
        let inputs = oip::decode_infer(body(rows).as_bytes(), primary.signature()).unwrap().inputs;
        let mut outputs = Vec::new();
        primary.graph().instance().unwrap().run(&inputs, &mut outputs).unwrap();
        let offer = |draw: u64| {
            // The worker gives away what is its own.
            let (given, mut given_outputs) = (inputs.clone(), outputs.clone());
            allocations(|| {
                if mirror.wants(draw) {
                    mirror.offer(draw, given, &mut given_outputs);
                }
            })
        };
        assert_eq!(offer(u64::MAX), 0, "{rows} rows that are not drawn");
        assert_eq!(offer(0), 1, "{rows} rows that are drawn");
    }
    let given = || oip::decode_infer(body(1).as_bytes(), primary.signature()).unwrap().inputs;
    let offer = |inputs| {
        allocations(|| {
            mirror.offer(0, inputs, &mut Vec::new());
        })
    };
    assert_eq!([given(), given(), given()].map(offer), [1, 1, 0], "the third finds no room");
    assert_eq!(mirror.dropped(), 1);
}

#[test]
fn encoding_into_a_buffer_that_is_large_enough_allocates_nothing() {
    let (graph, _) = graph("2");
    for rows in [1, 64] {
        let inputs = oip::decode_infer(body(rows).as_bytes(), graph.signature()).unwrap().inputs;
        let mut outputs = Vec::new();
        graph.instance().unwrap().run(&inputs, &mut outputs).unwrap();
        let head = AnswerHead { id: None, model_name: "breast-cancer", model_version: "2" };
        let mut out = Vec::with_capacity(64 << 10);
        let names = graph.signature().outputs.iter().map(|spec| spec.name.as_str());
        let count = allocations(|| oip::encode_infer(&mut out, &head, names.zip(&outputs)).unwrap());
        assert_eq!(count, 0, "{rows} rows");
    }
}
