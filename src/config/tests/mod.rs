//! Where settings come from and which of them wins; the modules hold limits, problems, secrets and units.

mod hooks;
mod limits;
mod objects;
mod problems;
mod rollouts;
mod secrets;
mod units;

use std::io;
use std::path::Path;
use std::time::Duration;

use super::*;

/// What a test hands to [`Config::load`]; nothing of the process.
#[derive(Default)]
struct Given<'a> {
    file: Option<&'a str>,
    environment: Environment,
    overrides: Overrides,
}

impl<'a> Given<'a> {
    fn file(text: &'a str) -> Self {
        Self { file: Some(text), ..Self::default() }
    }

    fn variables(mut self, variables: &[(&str, &str)]) -> Self {
        self.environment = variables.iter().copied().collect();
        self
    }

    fn overrides(mut self, overrides: Overrides) -> Self {
        self.overrides = overrides;
        self
    }

    fn load(&self) -> Result<Config, ConfigProblems> {
        Config::load(&Sources {
            file: self.file.map(|text| SourceFile { name: "tidegate.toml", text }),
            environment: &self.environment,
            overrides: &self.overrides,
            read_secret: &secret_file,
        })
    }

    /// The lines of the report, without the count at its head.
    fn problems(&self) -> Vec<String> {
        self.load().unwrap_err().to_string().lines().skip(1).map(|line| line.trim_start().to_owned()).collect()
    }
}

/// The files that hold secrets.
fn secret_file(path: &Path) -> io::Result<String> {
    match path.to_str() {
        Some("/run/token") => Ok("from-the-file\n".to_owned()),
        Some("/run/viewer") => Ok("only-to-look\n".to_owned()),
        Some("/run/empty") => Ok("\n".to_owned()),
        _ => Err(io::Error::from(io::ErrorKind::NotFound)),
    }
}

#[test]
fn nothing_given_is_the_defaults() {
    assert_eq!(Given::default().load(), Ok(Config::default()));
    assert_eq!(Given::file("").load(), Ok(Config::default()));
    assert_eq!(Given::file("# nothing\n[server]\n[models]\n[alerts]\n").load(), Ok(Config::default()));
}

#[test]
fn one_setting_leaves_the_others_at_their_defaults() {
    let config = Given::file("repository.path = \"/srv/models\"").load().unwrap();
    let mut expected = Config::default();
    expected.repository.path = "/srv/models".into();
    assert_eq!(config, expected);
}

const FULL: &str = r#"
[server]
http = "0.0.0.0:9000"
admin = "[::]:9002"
admin_token = { file = "/run/token" }
admin_viewer_token = { file = "/run/viewer" }
workers = 4
max_connections = 100
max_body = "1MB"
body_timeout = "2s"
idle_timeout = "3s"
drain_timeout = "0s"
replica = "gateway-1"

[repository]
path = "/srv/models"
poll_interval = "250ms"
bake = "1h30m"
memory_budget = 2147483648


[engine]
onnxruntime = "/opt/libonnxruntime.so"

[state]
path = "/var/lib/tidegate"
snapshot_interval = "5s"

[drift]
preset = "classic"
window = "10s"
min_samples = 50
threshold = 0.2
resolve_threshold = 0.15
pending_for = "0s"
resolve_after = "5s"
max_features = 64
false_pages_per_month = 1
tolerance = 0.0
effect_floor = 0.05
windows = ["30s", "7d"]
half_life = "10m"
seasonal = true
seasonal_weeks = 4
seasonal_memory = "1MiB"
learn_rows = 0
bins_exported = ["age"]
segment = { feature = "plan", max_values = 3 }

[latency]
p99_limit = "500us"
rule = "p99"
allowed_rate = 0.05
window = "1m"
min_requests = 10
pending_for = "1s"
resolve_after = "2s"

[errors]
allowed_rate = 0.001

[execution]
inline_limit = "2ms"

[models.churn]
engine = "tract"
monitoring = false
split = { "1" = 90, "2" = 9.99, "10" = 0.01 }
drift = { threshold = 0.5, critical = ["age", "plan"] }
latency = { p99_limit = "5ms" }
errors = { allowed_rate = 0.25 }

[[alerts.sinks]]
type = "webhook"
url = "http://127.0.0.1:9099/alerts"

[[alerts.sinks]]
type = "webhook"
url = "https://example.com/hook"
timeout = "1s"
retries = 0
queue = 1

[log]
format = "json"
level = "debug"
"#;

#[test]
fn every_setting_of_the_server_is_read() {
    let config = Given::file(FULL).load().unwrap();
    let server = ServerSettings {
        http: "0.0.0.0:9000".parse().unwrap(),
        admin: "[::]:9002".parse().unwrap(),
        workers: Some(4),
        max_connections: 100,
        max_body: 1_000_000,
        body_timeout: Duration::from_secs(2),
        idle_timeout: Duration::from_secs(3),
        drain_timeout: Duration::ZERO,
        admin_token: config.server.admin_token.clone(),
        admin_viewer_token: config.server.admin_viewer_token.clone(),
        replica: Some("gateway-1".to_owned()),
    };
    assert_eq!(config.server, server);
    assert_eq!(config.server.admin_token.unwrap().expose(), "from-the-file");
    assert_eq!(config.server.admin_viewer_token.unwrap().expose(), "only-to-look");
    assert_eq!(config.log, LogSettings { format: LogFormat::Json, level: LogLevel::Debug });
}

#[test]
fn every_setting_of_repository_state_and_engine_is_read() {
    let config = Given::file(FULL).load().unwrap();
    let repository = RepositorySettings {
        path: "/srv/models".into(),
        poll_interval: Duration::from_millis(250),
        bake: Duration::from_secs(5_400),
        memory_budget: Some(2 << 30),
    };
    assert_eq!(config.repository, repository);
    assert_eq!(config.engine.onnxruntime.as_deref(), Some(Path::new("/opt/libonnxruntime.so")));
    let state = StateSettings { path: "/var/lib/tidegate".into(), snapshot_interval: Duration::from_secs(5) };
    assert_eq!(config.state, state);
}

fn full_drift() -> DriftSettings {
    DriftSettings {
        preset: DriftPreset::Classic,
        window: Duration::from_secs(10),
        min_samples: 50,
        threshold: 0.2,
        resolve_threshold: 0.15,
        pending_for: Duration::ZERO,
        resolve_after: Duration::from_secs(5),
        max_features: 64,
        false_pages_per_month: 1.0,
        tolerance: 0.0,
        effect_floor: 0.05,
        windows: vec![Duration::from_secs(30), Duration::from_secs(7 * 86_400)],
        half_life: Duration::from_secs(600),
        seasonal: true,
        seasonal_weeks: 4,
        seasonal_memory: 1 << 20,
        learn_rows: 0,
        bins_exported: vec!["age".into()],
        segment: Some(SegmentSettings { by: SegmentSource::Feature("plan".into()), max_values: 3 }),
        critical: [].into(),
    }
}

#[test]
fn a_model_says_what_differs_and_takes_the_rest_from_the_settings_for_all() {
    let config = Given::file(FULL).load().unwrap();
    let drift = full_drift();
    let latency = LatencySettings {
        p99_limit: Duration::from_micros(500),
        rule: LatencyRuleChoice::P99,
        allowed_rate: 0.05,
        window: Duration::from_secs(60),
        min_requests: 10,
        pending_for: Duration::from_secs(1),
        resolve_after: Duration::from_secs(2),
    };
    let errors = ErrorSettings { allowed_rate: 0.001 };
    let execution = ExecutionSettings { inline_limit: Duration::from_millis(2), ..ExecutionSettings::default() };
    let churn = ModelSettings {
        engine: EngineChoice::Tract,
        execution: execution.clone(),
        monitoring: false,
        allow_signature_change: false,
        source: None,
        split: Some([(1, 9_000), (2, 999), (10, 1)].into()),
        drift: DriftSettings { threshold: 0.5, critical: ["age".into(), "plan".into()].into(), ..drift.clone() },
        latency: LatencySettings { p99_limit: Duration::from_millis(5), ..latency.clone() },
        errors: ErrorSettings { allowed_rate: 0.25 },
        rollout: None,
    };
    let engine = EngineChoice::Auto;
    let other = ModelSettings { engine, monitoring: true, source: None, split: None, ..churn.clone() };
    let other = ModelSettings { execution, drift, latency, errors, ..other };
    assert_eq!((config.model("churn"), config.model("digits")), (churn, other));
}

#[test]
fn a_model_can_be_split_by_something_else_or_keep_what_all_are_split_by() {
    let text = "drift.segment.header = \"x-tenant\"\n[models.churn.drift]\nsegment.feature = \"plan\"\n[models.a]";
    let config = Given::file(text).load().unwrap();
    let segment = |by| Some(SegmentSettings { by, max_values: 16 });
    assert_eq!(config.model("churn").drift.segment, segment(SegmentSource::Feature("plan".into())));
    assert_eq!(config.model("a").drift.segment, segment(SegmentSource::Header("x-tenant".into())));
}

#[test]
fn sinks_are_read_in_their_order_with_defaults() {
    let sinks = Given::file(FULL).load().unwrap().alerts.sinks;
    let limits: Vec<_> =
        sinks.iter().map(|sink| (sink.url.expose().as_str(), sink.timeout, sink.retries, sink.queue)).collect();
    assert_eq!(
        limits,
        [
            ("http://127.0.0.1:9099/alerts", Duration::from_secs(5), 5, 256),
            ("https://example.com/hook", Duration::from_secs(1), 0, 1)
        ]
    );
}

#[test]
fn a_resolve_threshold_that_nobody_set_follows_the_threshold() {
    let config = Given::file("drift.threshold = 0.4\n[models.churn]\ndrift.threshold = 0.02").load().unwrap();
    assert_eq!(config.drift.resolve_threshold.to_bits(), 0.2_f64.to_bits());
    assert_eq!(config.model("churn").drift.resolve_threshold.to_bits(), 0.01_f64.to_bits());
}

#[test]
fn flags_override_variables_and_variables_override_the_file() {
    let file = "[server]\nhttp = \"127.0.0.1:1\"\nadmin = \"127.0.0.1:2\"\n[repository]\npath = \"file\"";
    let variables = [("TIDEGATE_ADMIN", "127.0.0.1:3"), ("TIDEGATE_MODELS", "variable"), ("TIDEGATE_BAKE", "7s")];
    let overrides = Overrides { models: Some("flag".into()), ..Overrides::default() };
    let config = Given::file(file).variables(&variables).overrides(overrides).load().unwrap();
    assert_eq!((config.server.http.port(), config.server.admin.port()), (1, 3));
    assert_eq!((config.repository.path.as_path(), config.repository.bake), (Path::new("flag"), Duration::from_secs(7)));
}

#[test]
fn every_flag_reaches_its_setting() {
    let text = |value: &str| Some(value.to_owned());
    let overrides = Overrides {
        http: text("127.0.0.1:1"),
        admin: text("127.0.0.1:2"),
        workers: text("3"),
        models: Some("m".into()),
        onnxruntime: Some("o".into()),
        state: Some("s".into()),
        log_format: text("json"),
        log_level: text("trace"),
    };
    let config = Given::default().overrides(overrides).load().unwrap();
    assert_eq!((config.server.http.port(), config.server.admin.port(), config.server.workers), (1, 2, Some(3)));
    assert_eq!((config.repository.path, config.engine.onnxruntime), ("m".into(), Some("o".into())));
    assert_eq!(config.state.path, Path::new("s"));
    assert_eq!((config.log.format, config.log.level.as_str()), (LogFormat::Json, "trace"));
}

#[test]
fn a_variable_may_be_a_number_and_one_that_is_empty_is_not_set() {
    let given =
        [("TIDEGATE_DRIFT_THRESHOLD", "0.3"), ("TIDEGATE_MAX_BODY", "2048"), ("TIDEGATE_HTTP", ""), ("TIDEGATE_X", "")];
    let config = Given::default().variables(&given).load().unwrap();
    let seasonal = Given::default().variables(&[("TIDEGATE_DRIFT_SEASONAL", "true")]).load().unwrap();
    assert!(seasonal.drift.seasonal && !config.drift.seasonal);
    assert_eq!(config.drift.threshold.to_bits(), 0.3_f64.to_bits());
    assert_eq!((config.server.max_body, config.server.http.port()), (2_048, 8_000));
}

#[test]
fn workers_that_are_not_set_are_one_per_core_within_the_limit() {
    let given = |workers| ServerSettings { workers, ..ServerSettings::default() };
    assert_eq!([0, 2, 1_000].map(|cores| given(None).worker_count(cores)), [1, 2, 256]);
    assert_eq!(given(Some(7)).worker_count(2), 7);
}

#[test]
fn a_reload_names_what_only_a_restart_changes() {
    let old = Given::file(FULL).load().unwrap();
    assert!(old.diff_needing_restart(&old).is_empty());
    let names = [
        "server.http",
        "server.admin",
        "server.workers",
        "server.max_connections",
        "server.max_body",
        "server.body_timeout",
        "server.idle_timeout",
        "server.drain_timeout",
        "server.admin_token",
        "server.admin_viewer_token",
        "server.replica",
        "repository.path",
        "engine.onnxruntime",
        "state.path",
        "state.snapshot_interval",
        "log.format",
        "log.level",
    ];
    assert_eq!(old.diff_needing_restart(&Config::default()), names);
    let mut new = old.clone();
    (new.drift.threshold, new.repository.bake, new.models) = (0.7, Duration::ZERO, [].into());
    assert!(old.diff_needing_restart(&new).is_empty());
}

#[test]
fn a_model_of_a_registry_has_roles_for_its_aliases() {
    let text = "[registry.mlflow]\nurl = \"http://mlflow.internal:5000/base\"\npoll_interval = \"5s\"\n\
                [models.churn]\nsource = \"models:/churn\"\n\
                [models.fraud]\nsource = \"models:/fraud\"\nroles = { live = \"stable\", next = \"canary\" }\n\
                require_tags = [\"approved\"]\n";
    let config = Given::file(text).load().unwrap();
    assert_eq!(config.model("fraud").source.unwrap().require_tags, ["approved"]);
    let mlflow = config.registry.mlflow.clone().unwrap();
    assert_eq!(
        (mlflow.url.as_str(), mlflow.poll_interval),
        ("http://mlflow.internal:5000/base", Duration::from_secs(5))
    );
    assert_eq!((mlflow.timeout, config.registry.cache.max_bytes), (Duration::from_secs(30), 20 << 30));
    let source = |model: &str| config.model(model).source.unwrap();
    let usual = [("champion", Role::Stable), ("challenger", Role::Canary), ("shadow", Role::Shadow)];
    assert_eq!(source("churn").roles, usual.map(|(alias, role)| (alias.to_owned(), role)).into());
    assert_eq!(source("fraud").roles.get("live"), Some(&Role::Stable));
    assert_eq!(config.model("digits").source, None);
}

#[test]
fn what_is_wrong_with_a_registry_is_said_at_once_and_without_its_password() {
    let text = "[registry.mlflow]\nurl = \"http://user:hunter2@mlflow\"\nusername = \"me\"\n\
                [models.churn]\nsource = \"churn\"\nroles = { a = \"stable\", b = \"stable\" }\n";
    let problems = Given::file(text).load().unwrap_err().to_string();
    for said in ["registry.mlflow.url", "username and password go together", "models:/name@alias", "2 are stable"] {
        assert!(problems.contains(said), "{said}: {problems}");
    }
    assert!(!problems.contains("hunter2"), "{problems}");
    let alone = Given::file("[models.churn]\nsource = \"models:/churn\"").load().unwrap_err().to_string();
    assert!(alone.contains("needs [registry.mlflow]"), "{alone}");
}

#[test]
fn models_come_from_where_they_came_from_until_a_restart() {
    let mlflow = "[registry.mlflow]\nurl = \"http://a\"\n";
    let load = |models: &str| Given::file(&format!("{mlflow}{models}")).load().unwrap();
    let at_start = load("[models.churn]\nsource = \"models:/churn\"\n[models.fraud]\nsource = \"models:/fraud\"");
    let new = load("[models.churn]\nengine = \"tract\"\n[models.digits]\nsource = \"models:/digits\"");
    assert_eq!(at_start.diff_needing_restart(&new), ["models.*.source, models.*.roles"]);
    let kept = new.with_sources_of(&at_start);
    let uri = |model: &str| kept.model(model).source.map(|source| source.uri);
    assert_eq!((uri("churn").as_deref(), uri("fraud").as_deref()), (Some("models:/churn"), Some("models:/fraud")));
    assert_eq!((uri("digits"), kept.model("churn").engine), (None, EngineChoice::Tract));
}
