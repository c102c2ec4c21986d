//! Builds every room, owns every task, drains.
//!
//! ```text
//!  control runtime:  acceptor · control loop (publisher) · rollouts · their journal · judge loop · state keeper · admin server · alert sinks
//!  worker threads:   one current-thread runtime each
//!  executor threads: long calls, at the lowest priority
//!  on what time is left over: loader thread (one version at a time) · followers thread (models that come from a
//!                    registry) · retirer thread (frees memory) · a thread for each mirror (answers copies of requests)
//! ```
//!
//! Nothing else in the crate starts a task that outlives its caller. [`start`] takes everything from outside as an
//! argument (settings, and where to read them again), so a test and the binary come in by the same door.
//!
//! Invariant: [`Running::stop`] first says "not ready", then stops accepting, then waits for what is in flight, at most
//! for the drain time-out, and only then ends the rest.

mod background;
mod clock;
mod control;
mod executor;
mod following;
mod hooks;
mod judging;
mod learning;
pub mod mirroring;
pub mod mlflow;
mod objects;
mod progress;
mod replica;
pub mod rollout_hooks;
mod rollouts;
mod sources;
mod state;
mod workers;

use crate::admin::hooks::Hooks;
use crate::admin::{Access, COMMAND_QUEUE, Command, Desk, StateView};
use crate::alert::state::AlertBook;
use crate::catalog::{Catalog, Publisher, Retired, retire_until_closed};
use crate::config::{Config, Secret};
use crate::engine::{Engines, Executor, RuntimeSearch};
use crate::judge::{Board, Judge, JudgeIdentity};
use crate::observe::ServerRecorder;
use crate::registry::board::SourceBoard;
use crate::registry::hooks::HookError;
use crate::registry::load::Loader;
use crate::registry::memory;
use crate::registry::quarantine::Quarantine;
use crate::registry::source::SourceError;
use crate::registry::staging::{Cache, StageError};
use crate::rollout::RolloutDesk;
use crate::serve::acceptor::WorkerHandle;
use crate::serve::{Gate, Limits, acceptor};
use crate::store::StateHealth;
use crate::telemetry::{Telemetry, bars};
use background::Share;
use clock::{UnixClock, unix};
use control::{Control, HOLD_QUEUE, Parts, RELOAD_NOTE};
use following::FOUND_QUEUE;
use judging::Judging;
use learning::Learner;
pub use objects::source as object_source;
use rollouts::{Journal, Outside, Recalled, Rollouts};
use sources::Sources;
pub use sources::cache_path;
use state::{Kept, State, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc as std_mpsc};
use std::time::{Duration, Instant, SystemTime};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// What may wait for the retirer, which is always about to take it.
const RETIRE_QUEUE: usize = 1024;

/// Connections that the system holds until they are accepted, as far as its own limit lets it (`net.core.somaxconn`). Of
/// thousands that come at once the library's 128 would leave most to try again after one second, and then after three.
const BACKLOG: u32 = 4096;

/// Reads the configuration again: the settings, or every problem as text.
pub type ConfigSource = Arc<dyn Fn() -> Result<Config, String> + Send + Sync>;

/// Why the gateway could not start.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// An address is taken, or is not ours.
    #[error("cannot listen on {address} ({setting}): {cause}")]
    Listen {
        /// The setting that names it.
        setting: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system says.
        cause: std::io::Error,
    },
    /// A thread could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
    /// The cache of fetched models cannot be used.
    #[error("registry.cache: {0}")]
    Cache(StageError),
    /// A registry cannot be asked as it is configured.
    #[error("registry.mlflow: {0}")]
    Registry(#[from] SourceError),
    /// An object store cannot be asked as it is configured.
    #[error("registry.objects: {0}")]
    Objects(SourceError),
    /// A webhook's secret cannot be used.
    #[error("{setting}: {cause}")]
    Hook {
        /// The setting that holds it.
        setting: String,
        /// Why not.
        cause: HookError,
    },
    /// The client for alert webhooks could not be made.
    #[error("cannot make the client for alert webhooks: {0}")]
    Sink(#[from] reqwest::Error),
}

/// A gateway that runs.
#[derive(Debug)]
pub struct Running {
    http: SocketAddr,
    admin: SocketAddr,
    gate: Arc<Gate>,
    commands: mpsc::Sender<Command>,
    drain_timeout: Duration,
    stop_data: CancellationToken,
    stop_rest: CancellationToken,
    workers: workers::WorkerThreads,
    executor: Arc<Executor>,
    tasks: Vec<JoinHandle<()>>,
}

/// Starts a gateway on the current runtime, which becomes its control plane's.
///
/// # Errors
/// [`AppError`] when an address cannot be listened on or a thread cannot be started. A model that cannot be loaded is no
/// error: it is reported, and the others serve.
pub async fn start(config: Config, source: ConfigSource) -> Result<Running, AppError> {
    let started = Instant::now();
    // A second gateway in one process finds a provider in place, and it is this one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (http_listener, http) = listen("server.http", config.server.http).await?;
    let (admin_listener, admin) = listen("server.admin", config.server.admin).await?;
    let mut loader = loader(&config).await;
    let (stop_data, stop_rest) = (CancellationToken::new(), CancellationToken::new());

    let (retired, to_retire) = std_mpsc::sync_channel::<Retired>(RETIRE_QUEUE);
    // Ends with the publisher.
    drop(background::start("tidegate-retirer", Share::Leftover, move || retire_until_closed(&to_retire))?);
    let mut publisher = Publisher::new(retired, config.repository.bake);
    let Sources { board: sources, following, hooks } = sources::open(&config, publisher.catalog())?;
    let shown = (bars::are_shown() && !following.is_empty()).then(|| Arc::clone(&sources));
    let gate = Arc::new(gate(&config, publisher.catalog(), loader.workers));
    let (handles, queues): (Vec<_>, Vec<_>) = (0..loader.workers).map(|_| WorkerHandle::new()).unzip();
    let workers = workers::start(&gate, queues, &stop_data)?;
    let executor = Arc::clone(&loader.executor);
    executor::start(&executor)?;

    let ((commands, wishes), (holds, to_hold)) = (mpsc::channel(COMMAND_QUEUE), mpsc::channel(HOLD_QUEUE));
    let State { health, alerts, quarantine, replica, deliveries, kept } = state::open(&config.state).await;
    let hooks = hooks::with_inbox(hooks, kept.as_ref(), deliveries);
    loader.quarantine = Arc::new(Quarantine::from_rows(quarantine));
    let replica = config.server.replica.clone().unwrap_or(replica);
    let (board, (rollout_desk, rollout_messages)) = (Arc::new(Board::default()), RolloutDesk::new());
    let (journal, recalled, write_journal) = journal(kept.as_ref()).await;
    publisher.remember(recalled.chosen());
    let rollouts = rollouts::Parts {
        catalog: Arc::clone(&gate.catalog),
        board: Arc::clone(&board),
        desk: rollout_desk.clone(),
        holds,
        workers: loader.workers,
        journal,
        recalled,
        outside: Outside::new(&config)?,
    };
    let (rollouts, desk_parts) = (Rollouts::new(rollouts), (sources, hooks, rollout_desk, board));
    let desk = Arc::new(desk(&config, (&gate, &handles), commands.clone(), (alerts, health), desk_parts));
    let state = kept.as_ref().map(|kept| (kept.store.clone(), kept.keeper.clone()));
    let (judging, write) = judging(&config, &desk, identity(replica, started), kept);
    let (drain_timeout, max_connections) = (config.server.drain_timeout, config.server.max_connections);
    let parts = Parts { config, source, publisher, loader, desk: Arc::clone(&desk), started, state };
    let control = Control::new(parts)?;
    let (found, to_take_in) = mpsc::channel(FOUND_QUEUE);
    tracing::info!(%http, %admin, workers = handles.len(), "listening");
    let mut tasks = vec![
        spawn(acceptor::accept(http_listener, handles, max_connections, stop_data.clone())),
        spawn(control.run((to_hold, wishes), to_take_in, stop_rest.clone())),
        spawn(rollouts.run(rollout_messages, stop_rest.clone())),
        spawn(judging.run(stop_rest.clone())),
        spawn(crate::admin::server::serve(admin_listener, desk, stop_rest.clone())),
    ];
    tasks.extend(write_journal.into_iter().chain(write).map(spawn));
    tasks.extend(following::start(following, found, &stop_rest)?.map(spawn));
    tasks.extend(shown.map(|board| spawn(progress::run(board, stop_rest.clone()))));
    Ok(Running { http, admin, gate, commands, drain_timeout, stop_data, stop_rest, workers, executor, tasks })
}

impl Running {
    /// Where predictions are served.
    #[must_use]
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// Where metrics and the admin API are served.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// What all workers share.
    #[must_use]
    pub fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    /// Reads the configuration again; the outcome goes to the log.
    pub fn reload(&self) {
        let (reply, _ignored) = tokio::sync::oneshot::channel();
        if self.commands.try_send(Command::Reload { reply }).is_err() {
            tracing::warn!("{RELOAD_NOTE}");
        }
    }

    /// Drains and ends. Answers whether everything in flight was finished in time.
    pub async fn stop(self) -> bool {
        self.gate.draining.store(true, Ordering::Relaxed);
        tracing::info!("draining");
        self.stop_data.cancel();
        let finished = self.workers.finished(self.drain_timeout).await;
        if !finished {
            tracing::warn!(timeout = ?self.drain_timeout, "requests were still in flight at the end of the drain time-out");
        }
        self.executor.close();
        self.stop_rest.cancel();
        for task in self.tasks {
            // A task that panicked has said so; there is nothing left to do for it.
            let _ = task.await;
        }
        tracing::info!("stopped");
        finished
    }
}

async fn listen(setting: &'static str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), AppError> {
    let failed = |cause| AppError::Listen { setting, address, cause };
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.map_err(failed)?;
    // As the library does, so that a restart need not wait for the connections of the process before.
    socket.set_reuseaddr(true).map_err(failed)?;
    socket.bind(address).map_err(failed)?;
    let listener = socket.listen(BACKLOG).map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

async fn discover_engines(config: &Config) -> Engines {
    let search = RuntimeSearch::from_environment(config.engine.onnxruntime.clone());
    let discovered = tokio::task::spawn_blocking(move || Engines::discover(&search)).await;
    let engines = discovered.expect("discovery handles a broken library without a panic");
    match engines.onnx_runtime() {
        Some(info) => tracing::info!(version = %info.version, path = %info.path.display(), "ONNX Runtime found"),
        None => tracing::info!("ONNX Runtime not found; models run on the embedded engine, tract"),
    }
    for report in engines.report() {
        tracing::debug!(candidate = %report, "ONNX Runtime candidate");
    }
    engines
}

async fn loader(config: &Config) -> Loader {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Loader {
        repository: config.repository.path.clone(),
        fetched: Cache::view_of(&sources::cache_path(config)),
        engines: Arc::new(discover_engines(config).await),
        workers: config.server.worker_count(cores),
        executor: Arc::default(),
        memory_budget: config.repository.memory_budget.unwrap_or_else(memory::default_budget),
        quarantine: Arc::default(),
    }
}

fn gate(config: &Config, catalog: Arc<Catalog>, workers: usize) -> Gate {
    let limits = Limits {
        max_body: config.server.max_body,
        body_timeout: config.server.body_timeout,
        idle_timeout: config.server.idle_timeout,
    };
    Gate { catalog, recorder: ServerRecorder::new(workers), limits, draining: AtomicBool::new(false) }
}

fn desk(
    config: &Config,
    (gate, workers): (&Arc<Gate>, &[WorkerHandle]),
    commands: mpsc::Sender<Command>,
    (alerts, health): (AlertBook, Arc<StateHealth>),
    (sources, hooks, rollouts, board): (Arc<SourceBoard>, Hooks, RolloutDesk, Arc<Board>),
) -> Desk {
    Desk {
        gate: Arc::clone(gate),
        connections: workers.iter().map(WorkerHandle::open_connections).collect(),
        board,
        alerts: Mutex::new(alerts),
        state: StateView { path: config.state.path.clone(), health },
        sources,
        hooks,
        rollouts,
        sinks: Mutex::new(Vec::new()),
        telemetry: Telemetry::new(),
        access: Access::new(token(&config.server.admin_token), token(&config.server.admin_viewer_token)),
        commands,
    }
}

fn token(secret: &Option<Secret>) -> Option<&str> {
    secret.as_ref().map(Secret::expose)
}

fn identity(replica: String, started: Instant) -> JudgeIdentity {
    let epoch = unix(SystemTime::now()).saturating_sub(started.elapsed()).as_millis();
    JudgeIdentity { replica, epoch: u64::try_from(epoch).unwrap_or(u64::MAX) }
}

/// Where rollouts are written down, what was, and the future that writes; none if nothing can be kept.
async fn journal(kept: Option<&Kept>) -> (Option<Journal>, Recalled, Option<Write>) {
    let Some(kept) = kept else { return (None, Recalled::default(), None) };
    let (journal, write) = Journal::new(kept.store.clone(), kept.keeper.clone());
    let recalled = journal.recall().await;
    (Some(journal), recalled, Some(Box::pin(write)))
}

/// The judge's loop, and the future that writes its state if state can be kept.
fn judging(config: &Config, desk: &Arc<Desk>, identity: JudgeIdentity, kept: Option<Kept>) -> (Judging, Option<Write>) {
    let clock = UnixClock::new(Instant::now(), SystemTime::now());
    let judge = Judge::new(Arc::clone(&desk.gate.catalog), Arc::clone(&desk.board), identity);
    let (state, write) = kept.map(|kept| ((kept.store, kept.keeper), kept.write)).unzip();
    let snapshot_interval = config.state.snapshot_interval;
    let learner = Learner::default();
    (Judging { judge, desk: Arc::clone(desk), clock, state, snapshot_interval, learner }, write)
}

/// The one place where a task starts that outlives its caller.
#[expect(clippy::disallowed_methods, reason = "long-lived tasks start in app, and this is app")]
fn spawn(task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    tokio::task::spawn(task)
}
