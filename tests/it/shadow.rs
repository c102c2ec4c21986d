//! Copies of requests go to a version that answers no client, and whatever becomes of them no client notices.

use crate::support::client::{Client, send};
use crate::support::http2::Connection;
use crate::support::repository::{Repository, held_out};
use crate::support::wait::until;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tidegate::app::mirroring::Mirrors;
use tidegate::catalog::{Listing, Mirror, MirrorRunner, Model, Publisher, RolloutHold};
use tidegate::config::{Config, EngineChoice, ModelSettings, ShadowSettings};
use tidegate::engine::{EngineError, Engines, Executor, Instance, RuntimeSearch};
use tidegate::observe::ServerRecorder;
use tidegate::registry::directory;
use tidegate::registry::load::Loader;
use tidegate::serve::acceptor::{self, WorkerHandle};
use tidegate::serve::worker::{Worker, run};
use tidegate::serve::{Gate, Limits, spread};
use tidegate::tensor::Tensor;
use tokio::task::{JoinSet, LocalSet};
use tokio_util::sync::CancellationToken;

const INFER: &str = "/v2/models/churn/infer";
/// Of 10,000 points.
const CANARY: u16 = 3_000;

/// One worker that serves versions 1 and 2 of `churn`, and the publisher of what it serves.
struct Plane {
    client: Client,
    publisher: Publisher,
    stop: CancellationToken,
    executor: Arc<Executor>,
    threads: Vec<std::thread::JoinHandle<()>>,
    _accepting: JoinSet<()>,
    _repository: Repository,
}

fn settings(is_in_lane: bool) -> ModelSettings {
    let mut settings = Config::default().model("churn");
    settings.engine = EngineChoice::Tract;
    settings.split = Some(BTreeMap::from([(1, 10_000 - CANARY), (2, CANARY)]));
    if is_in_lane {
        settings.execution.inline_limit = Duration::ZERO;
    }
    settings
}

/// A publisher of what the repository holds, all of it loaded.
fn publisher(repository: &Repository, settings: ModelSettings, executor: &Arc<Executor>) -> Publisher {
    let loader = Loader {
        repository: repository.path().to_owned(),
        fetched: repository.path().to_owned(),
        engines: Arc::new(Engines::discover(&RuntimeSearch::default())),
        workers: 1,
        executor: Arc::clone(executor),
        memory_budget: u64::MAX,
        quarantine: Arc::default(),
    };
    let (retired, _never_freed) = sync_channel(1_000);
    let mut publisher = Publisher::new(retired, Duration::from_secs(3_600));
    let listing = directory::list(repository.path(), &Listing::new(), SystemTime::now()).unwrap();
    let settings = Arc::new(settings);
    publisher.observe(&listing, |_name| Arc::clone(&settings), Duration::ZERO);
    while let Some(order) = publisher.next_load(Duration::ZERO) {
        publisher.load_finished(&order, loader.load(&order), Duration::ZERO);
    }
    publisher
}

impl Plane {
    async fn start(is_in_lane: bool) -> Self {
        let repository = Repository::of(&["churn/1", "churn/2"]);
        let executor = Arc::new(Executor::default());
        let publisher = tokio::task::block_in_place(|| publisher(&repository, settings(is_in_lane), &executor));
        let (stop, seconds) = (CancellationToken::new(), Duration::from_secs(60));
        let limits = Limits { max_body: 1 << 20, body_timeout: seconds, idle_timeout: seconds };
        let (catalog, recorder) = (publisher.catalog(), ServerRecorder::new(1));
        let gate = Arc::new(Gate { catalog, recorder, limits, draining: false.into() });
        let (handle, queue) = WorkerHandle::new();
        let until_stopped = stop.clone();
        let serve = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let (worker, exchange) = (Worker::new(0, gate, 7), spread::exchanges(1).remove(0));
            LocalSet::new().block_on(&runtime, run(worker, queue, exchange, until_stopped));
        };
        let of_executor = Arc::clone(&executor);
        let threads = vec![std::thread::spawn(serve), std::thread::spawn(move || of_executor.work())];
        let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut accepting = JoinSet::new();
        accepting.spawn(acceptor::accept(listener, vec![handle], 1_000, stop.clone()));
        let client = Client::new(address, address);
        Self { client, publisher, stop, executor, threads, _accepting: accepting, _repository: repository }
    }

    fn version(&self, version: u64) -> Arc<Model> {
        Arc::clone(&self.publisher.catalog().snapshot().models["churn"].loaded[&version])
    }

    fn set_mirror(&mut self, mirror: Option<&Arc<Mirror>>) {
        let Some(mirror) = mirror else { return self.publisher.release("churn", None, Duration::ZERO) };
        let (weights, shadow) = (vec![(1, 10_000 - CANARY), (2, CANARY)], Some(Arc::clone(mirror)));
        let hold = RolloutHold { id: "r".to_owned(), weights, trial: None, shadow };
        self.publisher.hold("churn", hold, Box::new(|outcome| drop(outcome.unwrap())), Duration::ZERO);
    }

    /// A mirror of version 1 in version 2 whose instance does as a test says, and its far end.
    fn mirror_in(&self, instance: impl Instance + 'static, settings: &ShadowSettings) -> (Arc<Mirror>, MirrorRunner) {
        let instance = Mutex::new(Some(Box::new(instance) as Box<dyn Instance>));
        let open = move || Ok(instance.lock().unwrap().take().expect("it is opened once"));
        Mirror::with_instances(&self.version(1), &self.version(2), settings, Box::new(open)).unwrap()
    }

    /// Sends rows one by one, to a version if one is named; version and text of each answer, all of them 200.
    async fn ask(&self, rows: usize, version: Option<&str>) -> Vec<(String, String)> {
        let (table, mut answers) = (held_out("churn"), Vec::new());
        let path = version.map_or(INFER.to_owned(), |version| format!("/v2/models/churn/versions/{version}/infer"));
        for row in 0..rows {
            let request = self.client.data("POST", &path).body(table.infer_body(row..row + 1));
            let answer = send(request).await.ok();
            answers.push((answer.header("tidegate-model-version").unwrap().to_owned(), answer.text));
        }
        answers
    }

    /// What each version says of the first rows, asked by name.
    async fn expected(&self, rows: usize) -> BTreeMap<String, Vec<(String, String)>> {
        BTreeMap::from([
            ("1".to_owned(), self.ask(rows, Some("1")).await),
            ("2".to_owned(), self.ask(rows, Some("2")).await),
        ])
    }

    /// Asks for rows without naming a version; all answers are those of the version that they name. How many were the
    /// stable version's.
    async fn ask_stable(&self, rows: usize, expected: &BTreeMap<String, Vec<(String, String)>>) -> u64 {
        let answers = self.ask(rows, None).await;
        for (row, answer) in answers.iter().enumerate() {
            assert_eq!(*answer, expected[&answer.0][row]);
        }
        answers.iter().filter(|(version, _)| version == "1").count() as u64
    }

    fn stop(self) {
        self.stop.cancel();
        self.executor.close();
        drop(self.client);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

fn every_request(queue: usize) -> ShadowSettings {
    ShadowSettings { share: 10_000, queue, ..ShadowSettings::default() }
}

/// Answers with an error, always.
#[derive(Debug)]
struct Failing;

impl Instance for Failing {
    fn run(&mut self, _inputs: &[Tensor], _outputs: &mut Vec<Tensor>) -> Result<(), EngineError> {
        Err(EngineError::RunFailed { engine: "test", reason: "as the test wants".into() })
    }
}

/// Is inside its first call until the sender is gone.
#[derive(Debug)]
struct Hanging(Mutex<std::sync::mpsc::Receiver<()>>);

impl Instance for Hanging {
    fn run(&mut self, inputs: &[Tensor], outputs: &mut Vec<Tensor>) -> Result<(), EngineError> {
        let _ = self.0.lock().unwrap().recv();
        Failing.run(inputs, outputs)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_stable_version_answers_is_compared_and_nothing_else_is() {
    const ROWS: usize = 60;
    for is_in_lane in [false, true] {
        let mut plane = Plane::start(is_in_lane).await;
        let expected = plane.expected(ROWS).await;
        let mirrors = Mirrors::default();
        let mirror = mirrors.start(&plane.version(1), &plane.version(2), &every_request(1_000)).unwrap();
        plane.set_mirror(Some(&mirror));
        let mut stable = plane.ask_stable(ROWS, &expected).await;
        assert!((1..ROWS as u64).contains(&stable), "{stable}");
        plane.expected(5).await;
        let refused = plane.client.post(INFER, "{}").await;
        assert_eq!(refused.status, 400, "{}", refused.text);
        let connection = Connection::open(plane.client.http).await;
        let answer = connection.post(INFER, held_out("churn").infer_body(0..3)).await.ok();
        stable += u64::from(answer.header("tidegate-model-version") == Some("1"));
        drop(connection);
        until("all copies are compared", async || (mirror.counts().calls() >= stable).then_some(())).await;
        let counts = mirror.counts();
        assert_eq!((counts.compared, counts.failed, counts.dropped), (stable, 0, 0), "in a lane: {is_in_lane}");
        assert_eq!(counts.labelled, stable);
        assert!(
            counts.largest_difference > 0.0 && counts.label_agreement().is_some_and(|share| share > 0.5),
            "{counts:?}"
        );
        assert!(counts.score_distance().is_some_and(|distance| distance > 0.0), "{counts:?}");
        plane.set_mirror(None);
        plane.ask(3, None).await;
        assert_eq!(mirror.counts().calls(), stable);
        plane.stop();
        drop(mirror);
        until("its thread ends", async || (mirrors.count() == 0).then_some(())).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_do_not_notice_a_version_that_fails_on_every_copy() {
    const ROWS: usize = 40;
    let mut plane = Plane::start(false).await;
    let expected = plane.expected(ROWS).await;
    let (mirror, runner) = plane.mirror_in(Failing, &every_request(1_000));
    let thread = std::thread::spawn(|| runner.run());
    plane.set_mirror(Some(&mirror));
    let stable = plane.ask_stable(ROWS, &expected).await;
    until("all copies have failed", async || (mirror.counts().failed == stable).then_some(())).await;
    assert_eq!((mirror.counts().compared, mirror.counts().dropped), (0, 0));
    plane.set_mirror(None);
    plane.stop();
    drop(mirror);
    thread.join().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_do_not_notice_a_version_that_hangs() {
    const ROWS: usize = 60;
    const QUEUE: usize = 8;
    for is_in_lane in [false, true] {
        let mut plane = Plane::start(is_in_lane).await;
        let expected = plane.expected(ROWS).await;
        let (release, hung) = sync_channel::<()>(0);
        let (mirror, runner) = plane.mirror_in(Hanging(Mutex::new(hung)), &every_request(QUEUE));
        let thread = std::thread::spawn(|| runner.run());
        plane.set_mirror(Some(&mirror));
        let mut stable = 0;
        while stable == 0 {
            stable += plane.ask_stable(1, &expected).await;
        }
        until("the first copy is in its call", async || (mirror.waiting() == 0).then_some(())).await;
        let later = plane.ask_stable(ROWS, &expected).await;
        assert!(later > QUEUE as u64, "{later}");
        let counts = mirror.counts();
        assert_eq!((counts.calls(), mirror.waiting()), (0, QUEUE));
        assert_eq!(counts.dropped, stable - 1 + later - QUEUE as u64);
        drop(release);
        until("what waited is tried", async || (mirror.waiting() == 0).then_some(())).await;
        plane.set_mirror(None);
        plane.stop();
        drop(mirror);
        thread.join().unwrap();
    }
}
