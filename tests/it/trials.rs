//! A rollout's counts are the requests that were sent, by arm and outcome, over every way in: no more, no fewer.
//!
//! The data plane is put together as the gateway does it, around two versions that do as the first feature of a row says:
//! answer, fail, panic, or answer what they should not.

use crate::support::client::{Answer, Client, send};
use crate::support::http2::Connection;
use crate::support::repository::shipped;
use crate::support::table::infer_body;
use crate::support::wait::until;
use std::collections::BTreeMap;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tidegate::catalog::{
    LoadFacts, Model, ModelParts, Placement, Present, PresentModel, Publisher, Retired, RolloutHold,
};
use tidegate::config::{Config, EngineChoice, GuardSettings, ToleranceSettings};
use tidegate::engine::{
    EngineError, Engines, Executor, Instance, Lane, LaneSettings, LoadOptions, LoadedGraph, RuntimeSearch,
};
use tidegate::observe::trial::{ArmTally, GuardTally, Trial, TrialCounts, TrialPlan, TrialShare};
use tidegate::observe::{Recorder, ServerRecorder};
use tidegate::registry::load::read_profile;
use tidegate::route::point_of_key;
use tidegate::serve::acceptor::{WorkerHandle, accept};
use tidegate::serve::{Gate, Limits, spread, worker};
use tidegate::tensor::{Shape, Tensor, TensorData};
use tokio::net::TcpListener;
use tokio::task::{JoinSet, LocalSet};
use tokio_util::sync::CancellationToken;

const WELL: f32 = 0.0;
const FAILS: f32 = 1.0;
const PANICS: f32 = 2.0;
const NOT_A_NUMBER: f32 = 3.0;
const OTHER_SHAPE: f32 = 4.0;
/// Unlike what an engine does, which is caught where it happens: the instance is lost.
const PANICS_FOR_GOOD: f32 = 5.0;

/// How versions are called.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    AtOnce,
    /// In a lane whose calls are reckoned to take so long, and whether they are made at all.
    Lane {
        call: Duration,
        is_worked: bool,
    },
}

const IN_LANES: Way = Way::Lane { call: Duration::ZERO, is_worked: true };

/// Half of the traffic goes to version 2.
const SHARE: TrialShare = TrialShare { canary: 2, stable: 1, weight: 5_000, before: 0 };

/// Does as its input says.
#[derive(Debug)]
struct Obedient;

impl Instance for Obedient {
    fn run(&mut self, inputs: &[Tensor], outputs: &mut Vec<Tensor>) -> Result<(), EngineError> {
        let TensorData::Fp32(values) = inputs[0].data() else { panic!("the input is FP32") };
        let (order, rows) = (values[0], inputs[0].shape().rows());
        let tensor = |shape: Shape, data: TensorData| Tensor::try_new(shape, data).unwrap();
        let is = |other: f32| (order - other).abs() < 0.5;
        if is(FAILS) {
            return Err(EngineError::RunFailed { engine: "test", reason: "it was told to".into() });
        }
        if is(PANICS) {
            let reason = "it was told to".to_owned();
            return Err(EngineError::Panicked { engine: "test", doing: "running the model", reason });
        }
        assert!(!is(PANICS_FOR_GOOD), "it was told to");
        let width = if is(OTHER_SHAPE) { 3 } else { 2 };
        let value = if is(NOT_A_NUMBER) { f32::NAN } else { 0.4 };
        outputs.clear();
        outputs.push(tensor(Shape::vector(rows), TensorData::Int64(vec![0; rows])));
        outputs.push(tensor(Shape::matrix(rows, width), TensorData::Fp32(vec![value; rows * width])));
        Ok(())
    }
}

/// A data plane with both versions and a trial.
struct Plane {
    client: Client,
    trial: Arc<Trial>,
    stop: CancellationToken,
    executor: Arc<Executor>,
    threads: Vec<std::thread::JoinHandle<()>>,
    accepting: JoinSet<()>,
    _retired: std::sync::mpsc::Receiver<Retired>,
}

fn graph() -> LoadedGraph {
    let engines = Engines::discover(&RuntimeSearch::default());
    let path = shipped().join("churn/1/model.onnx");
    engines.load(&path, EngineChoice::Tract, &LoadOptions::default()).unwrap()
}

/// A version that obeys, called at once or in a lane.
fn obedient(version: u64, executor: &Arc<Executor>, way: Way) -> Arc<Model> {
    let graph = graph();
    let profile = read_profile(&shipped().join("churn/1"), graph.signature());
    let recorder = Recorder::new(graph.signature(), profile.as_ref().ok(), 512, 1);
    let placement = match way {
        Way::AtOnce => None,
        Way::Lane { call, .. } => {
            let settings = LaneSettings { instances: 1, queue: 8, max_batch: 1, delay: Duration::ZERO, call };
            let lane = Lane::new(executor, graph.clone().into(), settings, Some(Box::new(Obedient)));
            let (timeout, waiting) = (Duration::from_secs(30), Arc::default());
            Some(Placement { lane, from_values: 0, in_turn_from: 0, timeout, waiting })
        }
    };
    let (load_time, loaded_at) = (Duration::ZERO, SystemTime::UNIX_EPOCH);
    let facts =
        LoadFacts { fingerprint: version, memory: 1, load_time, loaded_at, warmed_on: "zeros", warnings: Vec::new() };
    let (name, instances) = ("churn".to_owned(), vec![Box::new(Obedient) as Box<dyn Instance>]);
    Arc::new(Model::new(ModelParts { name, version, graph, instances, placement, recorder, profile, facts }))
}

/// A publisher with both versions loaded and held at the share.
fn held(publisher: &mut Publisher, executor: &Arc<Executor>, way: Way) -> Arc<Trial> {
    let present = |version| (version, Present { fingerprint: version, settled: true, ..Present::default() });
    let versions = BTreeMap::from([present(1), present(2)]);
    let listing = BTreeMap::from([("churn".to_owned(), PresentModel { versions, ..PresentModel::default() })]);
    publisher.observe(&listing, |name| Arc::new(Config::default().model(name)), Duration::ZERO);
    let outcome = Arc::new(Mutex::new(None));
    let hold = |weights: Vec<(u64, u16)>, trial: Option<Arc<Trial>>, publisher: &mut Publisher| {
        let reply = Arc::clone(&outcome);
        let hold = RolloutHold { id: "r".into(), weights, trial, shadow: None };
        let reply = Box::new(move |answer| *reply.lock().unwrap() = Some(answer));
        publisher.hold("churn", hold, reply, Duration::ZERO);
    };
    hold(vec![(1, 10_000), (2, 0)], None, publisher);
    while let Some(order) = publisher.next_load(Duration::ZERO) {
        publisher.load_finished(&order, Ok(obedient(order.version, executor, way)), Duration::ZERO);
    }
    let snapshot = publisher.catalog().snapshot();
    let stable = &snapshot.models["churn"].loaded[&1];
    let settings = (&GuardSettings::default(), &ToleranceSettings::default());
    let plan = TrialPlan::new(&stable.recorder, &stable.recorder.totals().answers, settings);
    let trial = Arc::new(Trial::new(Arc::new(plan), SHARE, 1));
    hold(vec![(1, 5_000), (2, 5_000)], Some(Arc::clone(&trial)), publisher);
    assert!(matches!(outcome.lock().unwrap().take(), Some(Ok(_))));
    trial
}

impl Plane {
    async fn start(way: Way) -> Self {
        let (sender, retired) = sync_channel(1_000);
        let executor = Arc::<Executor>::default();
        let mut publisher = Publisher::new(sender, Duration::ZERO);
        let trial = held(&mut publisher, &executor, way);
        let second = Duration::from_secs(10);
        let limits = Limits { max_body: 1 << 20, body_timeout: second, idle_timeout: second };
        let (catalog, recorder) = (publisher.catalog(), ServerRecorder::new(1));
        let gate = Arc::new(Gate { catalog, recorder, limits, draining: false.into() });
        let (handle, queue) = WorkerHandle::new();
        let stop = CancellationToken::new();
        let exchange = spread::exchanges(1).remove(0);
        let of_worker = stop.clone();
        let serving = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let worker = worker::Worker::new(0, gate, 1);
            LocalSet::new().block_on(&runtime, worker::run(worker, queue, exchange, of_worker));
        });
        let mut threads = vec![serving];
        if !matches!(way, Way::Lane { is_worked: false, .. }) {
            let of_lanes = Arc::clone(&executor);
            threads.push(std::thread::spawn(move || of_lanes.work()));
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, vec![handle], 100, stop.clone()));
        let client = Client::new(address, address);
        Self { client, trial, stop, executor, threads, accepting, _retired: retired }
    }

    /// Sends a row that begins with an order, with a key if there is one.
    async fn ask(&self, path: &str, order: f32, key: Option<&str>) -> Answer {
        let mut row = vec![0.25_f32; 10];
        row[0] = order;
        let body = if path.starts_with("/v1") { format!("{{\"instances\":[{row:?}]}}") } else { infer_body(&[row]) };
        let request = self.client.data("POST", path).body(body);
        send(key.into_iter().fold(request, |request, key| request.header("tidegate-routing-key", key))).await
    }

    async fn stop(self) -> TrialCounts {
        self.stop.cancel();
        self.accepting.join_all().await;
        self.executor.close();
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
        self.trial.counts()
    }
}

/// What is expected of an arm.
#[derive(Debug, Default)]
struct Expected {
    /// Requests without a key, by order and whether they were refused; then keys.
    events: [u64; 2],
    errors: [u64; 2],
    refusals: [u64; 2],
    defects: [u64; 2],
    guard: GuardTally,
}

impl Expected {
    fn note(&mut self, answer: &Answer, order: f32, event: Option<usize>) {
        let is = |other: f32| (order - other).abs() < 0.5;
        let is_refused = answer.status == 400;
        if let Some(kind) = event {
            self.events[kind] += 1;
            self.errors[kind] += u64::from(answer.status == 500);
            self.refusals[kind] += u64::from(is_refused);
            self.defects[kind] += u64::from(answer.status == 200 && (is(NOT_A_NUMBER) || is(OTHER_SHAPE)));
        }
        self.guard.answers += u64::from(!is_refused);
        self.guard.errors += u64::from(answer.status == 500);
        self.guard.broken += u64::from(is(PANICS) || is(PANICS_FOR_GOOD) || is(OTHER_SHAPE));
        self.guard.non_finite += u64::from(is(NOT_A_NUMBER));
    }

    fn hold(
        &self,
        counts: &TrialCounts,
        arm: fn(&tidegate::observe::trial::TrialSegment) -> &ArmTally,
        guards: &[GuardTally],
    ) {
        for (kind, segment) in counts.segments.iter().enumerate() {
            let tally = arm(segment);
            assert_eq!(segment.keyed, kind == 1);
            let found = (tally.events, tally.errors, tally.refusals, tally.defects);
            let expected = (self.events[kind], self.errors[kind], self.refusals[kind], self.defects[kind]);
            assert_eq!(found, expected, "events, errors, refusals, defects");
            assert_eq!(tally.latency.iter().sum::<u64>(), tally.events - tally.refusals);
            let predicted = tally.events - tally.errors - tally.refusals;
            assert!(tally.outputs.iter().all(|cells| cells.iter().sum::<u64>() == predicted), "{:?}", tally.outputs);
        }
        let sum = |count: fn(&GuardTally) -> u64| guards.iter().map(count).sum::<u64>();
        let GuardTally { answers, errors, broken, non_finite, .. } = self.guard;
        assert_eq!(
            [
                sum(|tally| tally.answers),
                sum(|tally| tally.errors),
                sum(|tally| tally.broken),
                sum(|tally| tally.non_finite)
            ],
            [answers, errors, broken, non_finite]
        );
    }
}

fn arm_of<'a>(expected: &'a mut BTreeMap<&'static str, Expected>, answer: &Answer) -> &'a mut Expected {
    let arm = if answer.header("tidegate-model-version") == Some("2") { "canary" } else { "stable" };
    expected.entry(arm).or_default()
}

async fn a_trial_counts_what_was_sent(way: Way) {
    let plane = Plane::start(way).await;
    let mut expected = BTreeMap::from([("canary", Expected::default()), ("stable", Expected::default())]);
    let (infer, predict) = ("/v2/models/churn/infer", "/v1/models/churn:predict");
    for order in [WELL, FAILS, PANICS, NOT_A_NUMBER, OTHER_SHAPE] {
        for path in [infer, predict, infer, predict, infer] {
            let answer = plane.ask(path, order, None).await;
            arm_of(&mut expected, &answer).note(&answer, order, Some(0));
        }
        for user in 0..6 {
            // Each with the same order all the time, three times; the second user's first request is of the fourth's order.
            let key = format!("user {user} {order}");
            for repeat in 0..3 {
                let answer = plane.ask(infer, order, Some(&key)).await;
                let is_canary = point_of_key("churn", key.as_bytes()) < SHARE.weight;
                assert_eq!(answer.header("tidegate-model-version"), Some(if is_canary { "2" } else { "1" }));
                arm_of(&mut expected, &answer).note(&answer, order, (repeat == 0).then_some(1));
            }
        }
        for version in ["1", "2"] {
            plane.ask(&format!("/v2/models/churn/versions/{version}/infer"), order, None).await;
        }
    }
    for body in
        ["{", r#"{"inputs":[]}"#, r#"{"inputs":[{"name":"features","datatype":"FP32","shape":[1,1],"data":[1]}]}"#]
    {
        let answer = plane.client.post(infer, body).await;
        answer.refused(400);
        arm_of(&mut expected, &answer).note(&answer, WELL, Some(0));
    }
    let connection = Connection::open(plane.client.http).await;
    for order in [WELL, NOT_A_NUMBER] {
        let mut row = vec![0.25_f32; 10];
        row[0] = order;
        let answer = connection.post(infer, infer_body(&[row])).await;
        arm_of(&mut expected, &answer).note(&answer, order, Some(0));
    }
    drop(connection);
    if way == Way::AtOnce {
        let answer = plane.ask(infer, PANICS_FOR_GOOD, None).await;
        arm_of(&mut expected, &answer).note(&answer, PANICS_FOR_GOOD, Some(0));
    }
    let counts = plane.stop().await;
    assert_eq!(counts.segments.len(), 2);
    assert!(expected.values().all(|expected| expected.guard.answers > 20), "both arms were asked: {expected:?}");
    expected["canary"].hold(&counts, |segment| &segment.canary, &counts.guards.canary);
    expected["stable"].hold(&counts, |segment| &segment.stable, &counts.guards.stable);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trial_of_calls_at_once_counts_exactly_what_was_sent() {
    a_trial_counts_what_was_sent(Way::AtOnce).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trial_of_calls_in_lanes_counts_exactly_what_was_sent() {
    a_trial_counts_what_was_sent(IN_LANES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_not_answered_in_time_is_an_event_and_no_error() {
    let plane = Plane::start(IN_LANES).await;
    let mut row = vec![0.25_f32; 10];
    row[0] = WELL;
    for _ in 0..4 {
        let request = plane.client.data("POST", "/v2/models/churn/infer").body(infer_body(&[row.clone()]));
        let answer = send(request.header("tidegate-timeout", "1ns")).await;
        assert!(matches!(answer.status, 429 | 503 | 504), "{}: {}", answer.status, answer.text);
    }
    let counts = plane.stop().await;
    let [segment] = &counts.segments[..] else { panic!("{:?}", counts.segments) };
    let (canary, stable) = (&segment.canary, &segment.stable);
    assert_eq!((canary.events + stable.events, canary.errors + stable.errors), (4, 0));
    assert_eq!((canary.refusals + stable.refusals, canary.outputs[0].iter().sum::<u64>()), (0, 0));
    assert!(counts.guards.canary.iter().chain(&counts.guards.stable).all(|tally| *tally == GuardTally::default()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_is_too_slow_to_be_asked_is_seen_by_its_durations() {
    let plane = Plane::start(Way::Lane { call: Duration::from_millis(300), is_worked: true }).await;
    for user in 0..8 {
        let request = plane.client.data("POST", "/v2/models/churn/infer").body(infer_body(&[vec![0.25_f32; 10]]));
        let request = request.header("tidegate-routing-key", format!("user {user}"));
        assert!(matches!(send(request.header("tidegate-timeout", "50ms")).await.status, 429 | 503));
    }
    let counts = plane.stop().await;
    let [segment] = &counts.segments[..] else { panic!("{:?}", counts.segments) };
    // Edges are at 100 µs, 200, 500, 1 ms and so on: 300 ms is between the eleventh and the twelfth.
    for arm in [&segment.canary, &segment.stable] {
        assert!(arm.events > 0 && arm.latency[11] == arm.events, "{arm:?}");
    }
    assert!(counts.guards.canary.iter().all(|tally| *tally == GuardTally::default()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_nobody_waits_for_any_more_is_an_event_without_an_outcome() {
    let plane = Plane::start(Way::Lane { call: Duration::ZERO, is_worked: false }).await;
    let request = plane.client.data("POST", "/v2/models/churn/infer").body(infer_body(&[vec![0.25_f32; 10]]));
    assert!(request.timeout(Duration::from_millis(300)).send().await.is_err());
    let segment = until("the request is counted", async || plane.trial.counts().segments.pop()).await;
    let arms = [&segment.canary, &segment.stable];
    assert_eq!(arms.map(|arm| arm.events).iter().sum::<u64>(), 1);
    assert_eq!(arms.map(|arm| arm.errors + arm.refusals + arm.latency.iter().sum::<u64>()), [0, 0]);
    plane.stop().await;
}
