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
//! | `server.admin_token` | none | secret | what callers of the admin port present who may change things: operators |
//! | `server.admin_viewer_token` | none | secret, with `admin_token` and another | what callers of the admin port may present who only look (GET): viewers |
//! | `server.workers` | one per core | 1 to 256 | threads that serve requests |
//! | `server.max_connections` | 16384 | 1 to 1000000 | connections open at a time |
//! | `server.max_body` | `"64MiB"` | 1KiB to 4GiB | largest request body |
//! | `server.body_timeout` | `"30s"` | 100ms to 1h | for the body of a request to arrive |
//! | `server.idle_timeout` | `"75s"` | 100ms to 1h | for the head of a request to arrive, idle time included |
//! | `server.drain_timeout` | `"30s"` | 0s to 1h | for requests in flight to finish at the end |
//! | `server.replica` | made up once, kept with the state | 1 to 128 letters, digits, `.`, `_`, `-` | name under which this replica counts; no two replicas of a model may share one |
//! | `repository.path` | `"./models"` | | directory of models, `<model>/<version>/model.onnx` |
//! | `repository.poll_interval` | `"1s"` | 100ms to 1h | time between two looks at the directory |
//! | `repository.bake` | `"5m"` | 0s to 1d | how long the previous version stays loaded after a swap |
//! | `repository.memory_budget` | 80 % of memory | 1MiB to 1024TiB | what loaded models may take together |
//! | `registry.mlflow.url` | none | http, https | the MLflow server, with the path that its API is below |
//! | `registry.mlflow.poll_interval` | `"30s"` | 1s to 1h | time between two looks at the aliases of a model |
//! | `registry.mlflow.username`, `registry.mlflow.password` | none | text, secret | for basic authentication |
//! | `registry.mlflow.token` | none | secret | for authentication by token instead |
//! | `registry.mlflow.webhook_secret` | none | secret | what webhooks at `/hooks/mlflow` on the admin port are signed with; without it there is no such path |
//! | `registry.mlflow.ca_file` | none | | certificates, PEM, that the server's must be signed by; without it those of the system |
//! | `registry.mlflow.timeout` | `"30s"` | 1s to 1h | longest wait for an answer, or for the next bytes of a file; one that brings less than 60 KiB in a minute is given up, and gone on from later |
//! | `registry.hooks.<name>.kind` | required | `"mlflow"`, `"standard"`, `"github"`, `"wandb"`, `"huggingface"` | who else sends webhooks, to `/hooks/<name>` on the admin port; at most 16 |
//! | `registry.hooks.<name>.secret` | required | secret | what they are signed with, as the sender shows it |
//! | `registry.hooks.<name>.models` | those that a delivery names; all, if it names none | models with a `source` | the only models that it has looked at; of GitHub, W&B and Hugging Face, whose names are others, all of them each time |
//! | `registry.objects.poll_interval` | `"30s"` | 1s to 1h | time between two looks at a model in an object store |
//! | `registry.s3.endpoint` | Amazon's, by the region | http, https | where S3, or what speaks as it does, answers |
//! | `registry.s3.region` | `"us-east-1"` | | the region that requests are signed for |
//! | `registry.s3.access_key_id`, `registry.s3.secret_access_key` | the environment's, else the machine's | secrets | whose key requests are signed with; a session's has `registry.s3.session_token` besides |
//! | `registry.s3.allow_http` | false | | whether the endpoint may be asked without TLS |
//! | `registry.s3.virtual_hosted` | false | | whether the bucket is part of the host, not of the path |
//! | `registry.s3.anonymous`, `registry.gcs.anonymous`, `registry.azure.anonymous` | false | | whether requests are not signed |
//! | `registry.s3.ca_file` | none | | certificates, PEM, that the endpoint's may be signed by, besides those of the system |
//! | `registry.gcs.service_account` | the environment's, else the machine's | | file of a service account's key, JSON |
//! | `registry.gcs.endpoint`, `registry.azure.endpoint` | the vendor's | http, https | where the store answers |
//! | `registry.azure.account` | the address's, else the environment's | | the storage account |
//! | `registry.azure.access_key` | the environment's, else the machine's identity | secret | the account's key |
//! | `registry.cache.path` | `cache` below `state.path` | | where fetched files are kept |
//! | `registry.cache.max_bytes` | `"20GiB"` | 1MiB to 1024TiB | what they may take; what was not used for longest goes first |
//! | `registry.cache.parallel` | 4 | 1 to 64 | files that are fetched at a time |
//! | `engine.onnxruntime` | looked for | | shared library of ONNX Runtime |
//! | `state.path` | `"./state"` | | directory of the state's database, made when it is not there |
//! | `state.snapshot_interval` | `"30s"` | 1s to 1h | time between two snapshots: what a crash may cost |
//! | `drift.preset` | `"default"` | `"default"`, `"classic"`, `"evidently"` | which rule makes a verdict of the numbers |
//! | `drift.window` | `"5m"` | 2s to 1d | sliding window that is compared with the reference |
//! | `drift.min_samples` | 200 | 1 to 1000000000 | samples below which there is not enough data |
//! | `drift.threshold` | 0.1 | 0.001 to 100 | PSI above its expectation from which a segment drifts; alarms follow from the budget instead |
//! | `drift.resolve_threshold` | half of `threshold` | 0 to `threshold` | below which a firing alert can resolve |
//! | `drift.pending_for` | `"2s"` | 0s to 1d | how long drift must hold before an alert fires, under `classic` and `evidently`; an alarm does not wait |
//! | `drift.resolve_after` | `"10s"` | 0s to 1d | how long it must be gone before an alert resolves |
//! | `drift.max_features` | 512 | 1 to 65536 | elements of an input beyond which it gets aggregate statistics |
//! | `drift.false_pages_per_month` | 0.1 | 0.0001 to 100 | pages without a cause per version and 30 days, all features together |
//! | `drift.tolerance` | 0.01 | 0 to 1 | PSI by which traffic may differ for good |
//! | `drift.effect_floor` | 0.02 | 0 to 1 | least PSI that is worth an alarm |
//! | `drift.windows` | `["1m", "5m", "1h", "24h"]` | at most 6, 2s to 7d | lengths of the further windows, sliding and tumbling |
//! | `drift.half_life` | `"1h"` | 10s to 30d | after which a row weighs half in the decayed counts |
//! | `drift.seasonal` | false | | whether traffic is compared with the same hour of the week (UTC) |
//! | `drift.seasonal_weeks` | 2 | 1 to 52 | weeks of traffic after which hours of the week are a reference |
//! | `drift.seasonal_memory` | `"16MiB"` | 1MiB to 4GiB | what hours of the week may take per version; without room there are none |
//! | `drift.learn_rows` | 10000 | 0 to 1000000000 | rows after which a version without a profile gets a reference of its own; 0 is never |
//! | `drift.bins_exported` | `[]` | at most 64 | features whose counters are exported bin by bin |
//! | `drift.segment.feature`, `drift.segment.header` | none | one of them | whose values drift is split by, from the next load of a version on |
//! | `drift.segment.max_values` | 16 | 1 to 64 | segments that are told apart, besides one of all others |
//! | `latency.p99_limit` | `"1s"` | 1us to 1h | what the 99th percentile may not exceed |
//! | `latency.rule` | `"sequential"` | `"sequential"`, `"p99"` | requests beyond the limit against the allowed rate, or the percentile of the window |
//! | `latency.allowed_rate` | 0.01 | 0.00001 to 0.5 | share of requests that may exceed `p99_limit` |
//! | `latency.window` | `"5m"` | 2s to 1d | sliding window |
//! | `latency.min_requests` | 1000 | 1 to 1000000000 | requests below which there is not enough data |
//! | `latency.pending_for` | `"2s"` | 0s to 1d | how long the limit must be exceeded before an alert fires, by the rule `"p99"` |
//! | `latency.resolve_after` | `"10s"` | 0s to 1d | how long it must be kept before an alert resolves |
//! | `errors.allowed_rate` | 0.01 | 0.00001 to 0.5 | share of answers that may be failures of the server (5xx), and of requests that may not fit the version |
//! | `execution.inline_limit` | `"500us"` | 0s to 1h | calls expected to take no longer run on the worker that read the request; from the next load of a version on, like all of `[execution]` |
//! | `execution.instances` | one per core | 1 to 64 | longer calls of a version at a time |
//! | `execution.threads` | as its MLmodel says, within the machine's cores, else 1 | 1 to 256 | threads of such a call |
//! | `execution.queue` | 256 | 1 to 65536 | requests of a version that may wait for such a call |
//! | `execution.max_batch` | 64 where it pays, else 1 | 1 to 65536 | rows up to which waiting requests are put together into one call |
//! | `execution.batch_delay` | `"0s"` | 0s to 1m | how long such a call that could take more rows waits for them, only while requests come together, and never past half of what their time leaves |
//! | `execution.timeout` | `"30s"` | 1ms to 1h | how long a request may take that names no time of its own |
//! | `models.<name>.engine` | `"auto"` | `"auto"`, `"tract"`, `"onnxruntime"` | what runs the model |
//! | `models.<name>.monitoring` | true | | whether values of its requests and answers are counted, for drift, data quality and reports |
//! | `models.<name>.source` | the repository | `"models:/name"`, `"models:/name@alias"`, `"models:/name/7"`, `"s3://bucket/prefix"`, `"gs://…"`, `"az://container/prefix"`, `"abfss://…"`, `"file:///directory"`, an absolute path | the MLflow model, or the place in an object store, whose versions are served under this name |
//! | `models.<name>.roles` | `{ champion = "stable", challenger = "canary", shadow = "shadow" }` | one is `"stable"` | what the aliases of MLflow or of `aliases.json` mean: the stable version serves, the others are loaded without a share |
//! | `models.<name>.require_tags` | `[]` | | tags that a version of MLflow must have before it is fetched |
//! | `models.<name>.allow_signature_change` | false | | whether a version may follow that takes or gives something else than the one that serves |
//! | `models.<name>.split` | highest version | sum 100, steps of 0.01 | percent by version: `{ "1" = 90, "2" = 10 }` |
//! | `models.<name>.execution` | `[execution]` | | any key of `[execution]` |
//! | `models.<name>.drift` | `[drift]` | | any key of `[drift]` |
//! | `models.<name>.drift.critical` | `[]` | | features whose drift alone makes the version drift |
//! | `models.<name>.latency` | `[latency]` | | any key of `[latency]` |
//! | `models.<name>.errors` | `[errors]` | | any key of `[errors]` |
//! | `models.<name>.rollout` | at once | a table, `{}` for the plan of the defaults | how a newer version gets its traffic, from the next rollout on; not together with `split` |
//! | `….rollout.steps` | `[1, 5, 25, 50]` | at most 32, growing, above 0 and below 100, steps of 0.01 | percent of the traffic on the way to all of it; each a number, or a table with `weight` and the next four keys and `gate` |
//! | `….rollout.min_time`, `….steps[].min_time` | `"1m"` | 0s to 7d | the shortest time at a step |
//! | `….rollout.max_time`, `….steps[].max_time` | `"1h"` | 100ms to 30d, `min_time` at least | after it without a verdict `on_timeout` says what is done |
//! | `….rollout.min_samples`, `….steps[].min_samples` | 500 | 1 to 1000000000 | requests of the new version that a verdict needs at least |
//! | `….rollout.on_timeout`, `….steps[].on_timeout` | `"hold"` | `"hold"`, `"abort"`, `"advance"` | what to do after `max_time` |
//! | `….steps[].gate` | false | | whether somebody has to say so before the next step |
//! | `….rollout.gate` | false | | whether somebody has to say so before promotion |
//! | `….rollout.bake` | `"15m"` | 0s to 7d | how long the version before stays loaded after promotion, which can be undone as long |
//! | `….rollout.false_abort_rate` | 0.01 | 0.0001 to 0.2 | probability that a version as good as the stable one is rolled back, over all that is compared |
//! | `….rollout.newer` | `"supersede"` | `"supersede"`, `"queue"`, `"reject"` | what a version means that arrives while another is rolled out |
//! | `….rollout.fast_return` | 3 | 0 to 100 | how many of the versions that were last stable are gone back to without steps |
//! | `….rollout.blackout` | `[]` | `"Fri 16:00-Mon 08:00"`, `"Sat"`, `"22:00-06:00"`; UTC, whole hours | when no share grows |
//! | `….rollout.write_back` | true | | whether MLflow is told: tags on the version, and the stable alias after `bake` |
//! | `….rollout.guards.errors` | 0.05 | 0.00001 to 0.5 | share of answers of the new version that may be failures of the server (5xx), at any time |
//! | `….rollout.guards.non_finite` | 0.001 | 0.00001 to 0.5 | share that may have a value that is no finite number |
//! | `….rollout.guards.broken` | 0.0001 | 0.00001 to 0.5 | share that may have another shape than the model says, or panic |
//! | `….rollout.guards.latency` | ten times the stable version's p99 | 1us to 1h | what is far too slow |
//! | `….rollout.guards.slow` | 0.05 | 0.00001 to 0.5 | share that may be beyond that |
//! | `….rollout.tolerances.errors`, `….refusals` | 0.001 | 0 to 1 | difference of the shares of failures, of refused requests, that is borne |
//! | `….rollout.tolerances.latency_ratio` | 1.25 | 1 to 100 | how many times slower is borne |
//! | `….rollout.tolerances.latency_added` | `"100us"` | 0s to 1m | and how much besides |
//! | `….rollout.tolerances.predictions` | 0.1 | 0 to 10 | distance of the distributions of predictions that is borne, PSI |
//! | `….rollout.tolerances.quality` | 0.005 | 0 to 1 | difference of the shares of predictions that are missing, infinite, out of range or unseen that is borne |
//! | `….rollout.shadow` | none | a table, `{}` for the defaults | copies of requests that the new version answers before any client sees it |
//! | `….rollout.shadow.share` | 10 | 0.01 to 100, steps of 0.01 | percent of the requests that are copied |
//! | `….rollout.shadow.queue` | 256 | 1 to 65536 | copies that may wait |
//! | `….rollout.shadow.memory` | `"16MiB"` | 64KiB to 1GiB | what they may take |
//! | `….rollout.shadow.min_time`, `….max_time`, `….min_samples`, `….on_timeout` | as those of a step | as those of a step | when it was long enough |
//! | `….rollout.shadow.max_disagreement` | none | 0 to 1 | share of the copies that may be labelled otherwise |
//! | `….rollout.hooks[].type` | required | `"confirm-rollout"`, `"pre-rollout"`, `"rollout"`, `"confirm-traffic-increase"`, `"confirm-promotion"`, `"post-rollout"`, `"rollback"`, `"event"` | when somebody is asked or told, as Flagger has it |
//! | `….rollout.hooks[].url` | required | http, https | whom; at most 16 |
//! | `….rollout.hooks[].name` | the type | | what it is called in explanations |
//! | `….rollout.hooks[].timeout` | `"10s"` | 100ms to 10m | for one attempt |
//! | `….rollout.hooks[].retries` | 2 | 0 to 10 | attempts after the first |
//! | `….rollout.hooks[].metadata` | `{}` | at most 32 texts | what is sent with it |
//! | `alerts.sinks[].type` | required | `"webhook"` | what the receiver speaks; the log is always one besides |
//! | `alerts.sinks[].url` | required | http, https | where it listens; at most 16 sinks |
//! | `alerts.sinks[].timeout` | `"5s"` | 100ms to 1m | for one attempt |
//! | `alerts.sinks[].retries` | 5 | 0 to 20 | attempts after the first |
//! | `alerts.sinks[].queue` | 256 | 1 to 65536 | alerts that wait at most |
//! | `log.format` | `"text"` | `"text"`, `"json"` | form of a line |
//! | `log.level` | `"info"` | `"error"` to `"trace"` | least severe level that is written |
//!
//! A model's or a sender's name has 1 to 128 letters, digits, `.`, `_` and `-`.
//!
//! Variables: keys of `server` are `TIDEGATE_` and the key (`TIDEGATE_HTTP`), likewise `poll_interval`, `bake`,
//! `memory_budget`, `onnxruntime` and `snapshot_interval`; keys of `execution`, `drift`, `latency`, `errors` and `log` have the
//! section's name before theirs (`TIDEGATE_DRIFT_WINDOW`; lists and tables have none); `repository.path` is
//! `TIDEGATE_MODELS`, `state.path` is `TIDEGATE_STATE`. `TIDEGATE_ADMIN_TOKEN` and
//! `TIDEGATE_ADMIN_VIEWER_TOKEN` hold the tokens themselves. `TIDEGATE_CONFIG` and `TIDEGATE_LOG` (a log filter)
//! are read elsewhere. An empty variable counts as not set. What Kubernetes sets for a service called `tidegate` is
//! passed over.
//!
//! Invariant: a [`Config`] that was loaded keeps every limit above, and no `Debug` text of it contains a secret.

mod execution;
mod hooks;
mod judging;
mod judging_settings;
mod models;
mod objects;
mod problem;
mod read;
mod reader;
mod registry;
mod reload;
mod rollout;
mod rollout_hooks;
mod rollout_settings;
mod secret;
mod secret_source;
mod settings;
mod source;
mod suggest;
#[cfg(test)]
mod tests;
mod tree;
mod values;
mod week;

pub use execution::ExecutionSettings;
pub use hooks::{HookKind, HookSettings, MLFLOW_HOOK};
pub use judging_settings::{
    DriftPreset, DriftSettings, ErrorSettings, LatencyRuleChoice, LatencySettings, SegmentSettings, SegmentSource,
};
pub use objects::{AzureSettings, GcsSettings, ObjectSettings, S3Settings};
pub use problem::{ConfigProblems, Origin, Problem, ProblemKind};
pub use registry::{CacheSettings, MlflowSettings, RegistrySettings, Role, SourceSettings};
pub use rollout_settings::{
    GuardSettings, Newer, OnTimeout, RolloutHookKind, RolloutHookSettings, RolloutSettings, ShadowSettings,
    StepSettings, ToleranceSettings,
};
pub use secret::{Secret, WebhookUrl};
pub use settings::{
    AlertSettings, Config, EngineChoice, EngineSettings, LogFormat, LogLevel, LogSettings, ModelSettings,
    RepositorySettings, ServerSettings, SinkKind, SinkSettings, StateSettings,
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
