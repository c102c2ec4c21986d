//! The settings themselves: plain data with a default for everything.
//!
//! Values are in the types their users need (addresses, durations, hundredths of a percent), so that nothing is parsed
//! twice. Where a default depends on the machine the setting is an `Option`, and whoever knows the machine resolves it.
//!
//! Invariant: what comes out of [`Config::load`] keeps every limit that is named in [the room's documentation](super).

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::execution::ExecutionSettings;
use super::judging_settings::{DriftSettings, ErrorSettings, LatencySettings};
use super::registry::{RegistrySettings, SourceSettings};
use super::rollout_settings::RolloutSettings;
use super::secret::{Secret, WebhookUrl};

/// Every setting.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// `[server]`: addresses and limits of what listens.
    pub server: ServerSettings,
    /// `[repository]`: where models come from.
    pub repository: RepositorySettings,
    /// `[registry]`: where models come from that are not in the directory.
    pub registry: RegistrySettings,
    /// `[engine]`: what runs models.
    pub engine: EngineSettings,
    /// `[state]`: what outlives the process.
    pub state: StateSettings,
    /// `[execution]`: where models run, for models that do not say otherwise.
    pub execution: ExecutionSettings,
    /// `[drift]`: when a version drifts, for models that do not say otherwise.
    pub drift: DriftSettings,
    /// `[latency]`: when a version is too slow, for models that do not say otherwise.
    pub latency: LatencySettings,
    /// `[errors]`: when a version fails too often, for models that do not say otherwise.
    pub errors: ErrorSettings,
    /// `[models.<name>]` by name: models with settings of their own; ask [`Config::model`] for any model.
    pub models: BTreeMap<String, ModelSettings>,
    /// `[alerts]`: where alerts are sent.
    pub alerts: AlertSettings,
    /// `[log]`: what the process writes.
    pub log: LogSettings,
}

/// Addresses and limits of what listens.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerSettings {
    /// Address of the data plane; port 0 takes a free one. Default 127.0.0.1:8000.
    pub http: SocketAddr,
    /// Address of metrics and the admin API; port 0 takes a free one. Default 127.0.0.1:8002.
    pub admin: SocketAddr,
    /// Threads that serve requests, 1 to 256. Default `None`: one per core, see [`Self::worker_count`].
    pub workers: Option<usize>,
    /// Connections open at a time on the data plane. Default 16,384.
    pub max_connections: usize,
    /// Largest request body in bytes. Default 64 MiB.
    pub max_body: usize,
    /// Time for the body of a request to arrive. Default 30 s.
    pub body_timeout: Duration,
    /// Time for the head of a request to arrive, from the end of the one before: it bounds idle connections and slow heads
    /// alike. Default 75 s.
    pub idle_timeout: Duration,
    /// Time that requests in flight have to finish when the process stops. Default 30 s.
    pub drain_timeout: Duration,
    /// What callers of the admin port must present who may change things; required when it listens on more than loopback. Default none.
    pub admin_token: Option<Secret>,
    /// What callers of the admin port may present who only look. Default none.
    pub admin_viewer_token: Option<Secret>,
    /// The name under which this replica counts. Default `None`: one that is made up once and kept with the state.
    pub replica: Option<String>,
}

/// Where models come from.
#[derive(Clone, Debug, PartialEq)]
pub struct RepositorySettings {
    /// Directory of models, `<model>/<version>/model.onnx`. Default `./models`.
    pub path: PathBuf,
    /// Time between two looks at the directory. Default 1 s.
    pub poll_interval: Duration,
    /// How long the previous version stays loaded after a swap. Default 5 minutes.
    pub bake: Duration,
    /// Bytes that loaded models may take together. Default `None`: 80 % of the machine's memory.
    pub memory_budget: Option<u64>,
}

/// What runs models.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineSettings {
    /// The shared library of ONNX Runtime. Default `None`: it is looked for.
    pub onnxruntime: Option<PathBuf>,
}

/// What outlives the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateSettings {
    /// Directory of the state's database; made when it is not there. Default `./state`.
    pub path: PathBuf,
    /// Time between two snapshots of windows and alarms: what a crash may cost. Default 30 s.
    pub snapshot_interval: Duration,
}

/// One model's settings, complete: what the model does not say is filled in from `[drift]`, `[latency]` and
/// `[errors]`.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelSettings {
    /// What runs it. Default [`EngineChoice::Auto`].
    pub engine: EngineChoice,
    /// Whether values of requests and answers are counted, which drift, data quality and reports are made of. Requests,
    /// answers and durations always are. Default true.
    pub monitoring: bool,
    /// Where and how often at a time it runs.
    pub execution: ExecutionSettings,
    /// Whether a version may follow that takes or gives something else than the one that serves. Default false: it stays
    /// without a share until a split names it.
    pub allow_signature_change: bool,
    /// Where its versions come from. Default `None`: the repository's directory.
    pub source: Option<SourceSettings>,
    /// Weight in hundredths of a percent by version, adding up to 10,000. Default `None`: the highest version serves.
    pub split: Option<BTreeMap<u64, u16>>,
    /// When it drifts.
    pub drift: DriftSettings,
    /// When it is too slow.
    pub latency: LatencySettings,
    /// When it fails too often.
    pub errors: ErrorSettings,
    /// How a new version gets its traffic. Default `None`: at once, as soon as it is to be stable.
    pub rollout: Option<RolloutSettings>,
}

/// What runs a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum EngineChoice {
    /// ONNX Runtime where its library is found, else tract.
    #[default]
    Auto,
    /// The embedded engine.
    Tract,
    /// ONNX Runtime, and an error without it.
    OnnxRuntime,
}

/// Where alerts are sent, besides the log and the admin API.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlertSettings {
    /// `[[alerts.sinks]]` in the file's order. Default none.
    pub sinks: Vec<SinkSettings>,
}

/// One receiver of alerts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkSettings {
    /// What the receiver speaks.
    pub kind: SinkKind,
    /// Where it listens.
    pub url: WebhookUrl,
    /// Time for one attempt. Default 5 s.
    pub timeout: Duration,
    /// Attempts after the first. Default 5.
    pub retries: u32,
    /// Alerts that wait for it at most; beyond that the newest is dropped and counted. Default 256.
    pub queue: usize,
}

/// What a receiver of alerts speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SinkKind {
    /// The alert as JSON in a POST.
    Webhook,
}

/// What the process writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogSettings {
    /// Form of a line. Default text.
    pub format: LogFormat,
    /// The least severe level that is written. Default info.
    pub level: LogLevel,
}

/// Form of a line of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Severity of a line of the log, most severe first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogLevel {
    /// Something failed.
    Error,
    /// Something is likely to fail.
    Warn,
    /// What an operator wants to know.
    #[default]
    Info,
    /// What a developer wants to know.
    Debug,
    /// Everything.
    Trace,
}

impl Config {
    /// The settings of a model: its own, or the defaults for all models.
    #[must_use]
    pub fn model(&self, name: &str) -> ModelSettings {
        self.models.get(name).cloned().unwrap_or_else(|| ModelSettings {
            engine: EngineChoice::default(),
            monitoring: true,
            execution: self.execution.clone(),
            allow_signature_change: false,
            source: None,
            split: None,
            drift: self.drift.clone(),
            latency: self.latency.clone(),
            errors: self.errors.clone(),
            rollout: None,
        })
    }
}

impl ServerSettings {
    /// Most worker threads.
    pub const MAX_WORKERS: usize = 256;

    /// Worker threads on a machine that can run so many at once.
    #[must_use]
    pub fn worker_count(&self, available_parallelism: usize) -> usize {
        self.workers.unwrap_or(available_parallelism.clamp(1, Self::MAX_WORKERS))
    }
}

impl LogLevel {
    /// The level's name, as in `log.level` and in filter directives.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            http: SocketAddr::from((Ipv4Addr::LOCALHOST, 8000)),
            admin: SocketAddr::from((Ipv4Addr::LOCALHOST, 8002)),
            workers: None,
            max_connections: 16_384,
            max_body: 64 << 20,
            body_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(75),
            drain_timeout: Duration::from_secs(30),
            admin_token: None,
            admin_viewer_token: None,
            replica: None,
        }
    }
}

impl Default for RepositorySettings {
    fn default() -> Self {
        Self {
            path: PathBuf::from("./models"),
            poll_interval: Duration::from_secs(1),
            bake: Duration::from_secs(300),
            memory_budget: None,
        }
    }
}

impl Default for StateSettings {
    fn default() -> Self {
        Self { path: PathBuf::from("./state"), snapshot_interval: Duration::from_secs(30) }
    }
}
