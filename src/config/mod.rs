//! Text to validated settings: a file, the environment and flags become one [`Config`], or a list of everything that is
//! wrong with them.
//!
//! Flags override the environment, the environment overrides the file, the file overrides the defaults. Nothing has to
//! be set. Unknown keys and unknown `TIDEGATE_…` variables are refused, because a setting that is misspelt and ignored
//! is found in production. All problems are reported together, each with its line, variable or flag; also those of values
//! that something else overrides. Only while the file is not valid TOML, what depends on its contents is not judged.
//!
//! # Reference
//! Durations are `"250ms"`, `"30s"`, `"5m"`, `"1h30m"` (units `us`, `ms`, `s`, `m`, `h`, `d`). Sizes are bytes or have a
//! unit: `65536`, `"64MiB"`, `"1GB"` (units `B`, `KB`, `MB`, `GB`, `TB` and `KiB`, `MiB`, `GiB`, `TiB`). Secrets are
//! `{ env = "NAME" }` or `{ file = "PATH" }`. Relative paths start at the working directory.
//!
//! | key | default | limits | meaning |
//! |---|---|---|---|
//! | `server.http` | `"127.0.0.1:8000"` | IP and port | where predictions are served; port 0 takes a free one |
//! | `server.admin` | `"127.0.0.1:8002"` | IP and port | metrics and admin API; beyond loopback a token is required |
//! | `server.admin_token` | none | secret | what callers of the admin port present |
//! | `server.workers` | one per core | 1 to 256 | threads that serve requests |
//! | `server.max_connections` | 16384 | 1 to 1000000 | connections open at a time |
//! | `server.max_body` | `"64MiB"` | 1KiB to 4GiB | largest request body |
//! | `server.body_timeout` | `"30s"` | 100ms to 1h | for the body of a request to arrive |
//! | `server.idle_timeout` | `"75s"` | 100ms to 1h | for the head of a request to arrive, idle time included |
//! | `server.drain_timeout` | `"30s"` | 0s to 1h | for requests in flight to finish at the end |
//! | `repository.path` | `"./models"` | | directory of models, `<model>/<version>/model.onnx` |
//! | `repository.poll_interval` | `"1s"` | 100ms to 1h | time between two looks at the directory |
//! | `repository.bake` | `"5m"` | 0s to 1d | how long the previous version stays loaded after a swap |
//! | `repository.memory_budget` | 80 % of memory | 1MiB to 1024TiB | what loaded models may take together |
//! | `engine.onnxruntime` | looked for | | shared library of ONNX Runtime |
//! | `drift.preset` | `"default"` | `"default"` | named set of drift settings |
//! | `drift.window` | `"5m"` | 2s to 1d | sliding window that is compared with the reference |
//! | `drift.min_samples` | 200 | 1 to 1000000000 | samples below which there is not enough data |
//! | `drift.threshold` | 0.1 | 0.001 to 100 | PSI above its expectation from which a feature drifts |
//! | `drift.resolve_threshold` | half of `threshold` | 0 to `threshold` | below which a firing alert can resolve |
//! | `drift.pending_for` | `"2s"` | 0s to 1d | how long drift must hold before an alert fires |
//! | `drift.resolve_after` | `"10s"` | 0s to 1d | how long it must be gone before an alert resolves |
//! | `drift.max_features` | 512 | 1 to 65536 | elements of an input beyond which it gets aggregate statistics |
//! | `latency.p99_limit` | `"1s"` | 1us to 1h | what the 99th percentile may not exceed |
//! | `latency.window` | `"5m"` | 2s to 1d | sliding window |
//! | `latency.min_requests` | 1000 | 1 to 1000000000 | requests below which there is not enough data |
//! | `latency.pending_for` | `"2s"` | 0s to 1d | how long the limit must be exceeded before an alert fires |
//! | `latency.resolve_after` | `"10s"` | 0s to 1d | how long it must be kept before an alert resolves |
//! | `models.<name>.engine` | `"auto"` | `"auto"`, `"tract"`, `"onnxruntime"` | what runs the model |
//! | `models.<name>.split` | highest version | sum 100, steps of 0.01 | percent by version: `{ "1" = 90, "2" = 10 }` |
//! | `models.<name>.drift` | `[drift]` | | any key of `[drift]` |
//! | `models.<name>.drift.critical` | `[]` | | features whose drift alone makes the version drift |
//! | `models.<name>.latency` | `[latency]` | | any key of `[latency]` |
//! | `alerts.sinks[].type` | required | `"webhook"` | what the receiver speaks; the log is always one besides |
//! | `alerts.sinks[].url` | required | http, https | where it listens; at most 16 sinks |
//! | `alerts.sinks[].timeout` | `"5s"` | 100ms to 1m | for one attempt |
//! | `alerts.sinks[].retries` | 5 | 0 to 20 | attempts after the first |
//! | `alerts.sinks[].queue` | 256 | 1 to 65536 | alerts that wait at most |
//! | `log.format` | `"text"` | `"text"`, `"json"` | form of a line |
//! | `log.level` | `"info"` | `"error"` to `"trace"` | least severe level that is written |
//!
//! A model's name has 1 to 128 letters, digits, `.`, `_` and `-`.
//!
//! Variables: keys of `server` are `TIDEGATE_` and the key (`TIDEGATE_HTTP`), likewise `poll_interval`, `bake`,
//! `memory_budget` and `onnxruntime`; keys of `drift`, `latency` and `log` have the section's name before theirs
//! (`TIDEGATE_DRIFT_WINDOW`; `preset` has none); `repository.path` is `TIDEGATE_MODELS`. `TIDEGATE_ADMIN_TOKEN` holds the token itself. `TIDEGATE_CONFIG` and `TIDEGATE_LOG` (a log filter)
//! are read elsewhere. An empty variable counts as not set. What Kubernetes sets for a service called `tidegate` is
//! passed over.
//!
//! Invariant: a [`Config`] that was loaded keeps every limit above, and no `Debug` text of it contains a secret.

mod judging;
mod models;
mod problem;
mod read;
mod reader;
mod reload;
mod secret;
mod secret_source;
mod settings;
mod source;
mod suggest;
#[cfg(test)]
mod tests;
mod tree;
mod values;

pub use problem::{ConfigProblems, Origin, Problem, ProblemKind};
pub use secret::{Secret, WebhookUrl};
pub use settings::{
    AlertSettings, Config, DriftSettings, EngineChoice, EngineSettings, LatencySettings, LogFormat, LogLevel,
    LogSettings, ModelSettings, RepositorySettings, ServerSettings, SinkKind, SinkSettings,
};
pub use source::{Environment, Overrides, SourceFile, Sources};

use reader::{Ledger, Reader};

impl Config {
    /// The settings that file, environment and flags make together.
    ///
    /// # Errors
    /// Everything that is wrong with any of them.
    pub fn load(sources: &Sources<'_>) -> Result<Self, ConfigProblems> {
        let (file_name, file_text) = sources.file.map_or(("", ""), |file| (file.name, file.text));
        let (mut root, mut problems) = match tree::parse(file_text) {
            Ok(root) => (root, Vec::new()),
            Err(problems) => (tree::Section::new(), problems),
        };
        sources.environment.lay_over(&mut root);
        sources.overrides.lay_over(&mut root);
        let mut ledger = Ledger::new(sources);
        let config = Reader::root(root, &mut ledger).finish(read::config);
        ledger.problems.extend(sources.environment.unknown(&ledger.named_variables));
        if !problems.is_empty() {
            // What is missing or unknown may be explained by the part of the file that could not be read.
            ledger.problems.retain(|problem| matches!(problem.kind, ProblemKind::Invalid { .. }));
        }
        problems.append(&mut ledger.problems);
        ConfigProblems::from_list(file_name, problems).map_or(Ok(config), Err)
    }
}
