//! What each section holds: key, kind of value, limits, default.
//!
//! The defaults stand in [`super::settings`], the kinds of value in [`super::values`]; here they meet. Checks that need
//! more than one setting follow the reading of their section.
//!
//! Invariant: every key read here is in the table of [the room's documentation](super).

use std::net::SocketAddr;
use std::time::Duration;

use super::problem::ProblemKind;
use super::reader::{Located, Reader};
use super::secret::Secret;
use super::secret_source::secret;
use super::settings::{
    AlertSettings, Config, EngineSettings, LogFormat, LogLevel, LogSettings, RepositorySettings, ServerSettings,
    SinkKind, SinkSettings, StateSettings,
};
use super::values::{address, duration, one_of, path, replica, size, webhook_url, whole};
use super::{execution, hooks, judging, models, registry};

/// Most receivers of alerts.
const MAX_SINKS: usize = 16;

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// The whole tree.
pub(super) fn config(reader: &mut Reader<'_, '_>) -> Config {
    let drift = reader.table("drift", |reader| judging::drift(reader, &judging::Layer::default()));
    let execution = reader.table("execution", |reader| execution::execution(reader, &Default::default()));
    let latency = reader.table("latency", |reader| judging::latency(reader, &Default::default()));
    let errors = reader.table("errors", |reader| judging::errors(reader, &Default::default()));
    let mut named = Vec::new();
    let registry = reader.table("registry", |reader| registry::registry(reader, &mut named));
    let for_all = (&execution, &drift, &latency, &errors);
    let config = Config {
        server: reader.table("server", server),
        repository: reader.table("repository", repository),
        engine: reader.table("engine", |reader| EngineSettings { onnxruntime: reader.value("onnxruntime", path) }),
        models: reader.table("models", |reader| models::models(reader, for_all, registry.mlflow.is_some())),
        state: reader.table("state", state),
        alerts: reader.table("alerts", alerts),
        log: reader.table("log", log),
        execution,
        registry,
        drift: drift.settings,
        latency,
        errors,
    };
    hooks::check_models(reader, named, &config.models);
    config
}

fn server(reader: &mut Reader<'_, '_>) -> ServerSettings {
    let default = ServerSettings::default();
    let timeout = |most| duration(100 * MILLISECOND..=most);
    let is_given = [reader.has("http"), reader.has("admin")];
    let (http, admin) = (reader.located("http", address), reader.located("admin", address));
    check_token(reader, &admin);
    if is_given == [http.is_some(), admin.is_some()] {
        check_ports(reader, &http, &admin);
    }
    let (admin_token, admin_viewer_token) = tokens(reader);
    let max_body = reader.value("max_body", size(1 << 10..=4 << 30)).and_then(|bytes| usize::try_from(bytes).ok());
    ServerSettings {
        http: http.map_or(default.http, |http| http.value),
        admin: admin.map_or(default.admin, |admin| admin.value),
        workers: reader.value("workers", whole(1..=ServerSettings::MAX_WORKERS)),
        max_connections: reader.value("max_connections", whole(1..=1_000_000)).unwrap_or(default.max_connections),
        max_body: max_body.unwrap_or(default.max_body),
        body_timeout: reader.value("body_timeout", timeout(HOUR)).unwrap_or(default.body_timeout),
        idle_timeout: reader.value("idle_timeout", timeout(HOUR)).unwrap_or(default.idle_timeout),
        drain_timeout: reader.value("drain_timeout", duration(Duration::ZERO..=HOUR)).unwrap_or(default.drain_timeout),
        admin_token,
        admin_viewer_token,
        replica: reader.value("replica", replica),
    }
}

type Address = Option<Located<SocketAddr>>;

/// The admin port needs a token where others can reach it.
fn check_token(reader: &mut Reader<'_, '_>, admin: &Address) {
    if let Some(Located { value, origin }) = admin
        && !value.ip().to_canonical().is_loopback()
        && !reader.has("admin_token")
    {
        let reason = format!(
            "{value} can be reached from other machines, so server.admin_token is required, as {{ env = \"NAME\" }} or \
             {{ file = \"PATH\" }} (or set TIDEGATE_ADMIN_TOKEN); without it use a loopback address"
        );
        reader.problem(origin.clone(), "admin", ProblemKind::Conflict { reason });
    }
}

/// The tokens of who may change things and of who may only look. One alone, or one for both, would say nothing.
fn tokens(reader: &mut Reader<'_, '_>) -> (Option<Secret>, Option<Secret>) {
    let is_given = [reader.has("admin_token"), reader.has("admin_viewer_token")];
    let (operator, viewer) = (secret(reader, "admin_token"), secret(reader, "admin_viewer_token"));
    let reason = if is_given == [false, true] {
        "admin_viewer_token is for who may look and not change anything, but admin_token, for who may, is not set"
    } else if operator.is_some() && operator == viewer {
        "admin_token and admin_viewer_token are the same, so whoever may look could change everything"
    } else {
        return (operator, viewer);
    };
    reader.own_problem(ProblemKind::Conflict { reason: reason.to_owned() });
    (operator, viewer)
}

/// The two addresses may not be one.
fn check_ports(reader: &mut Reader<'_, '_>, http: &Address, admin: &Address) {
    let default = ServerSettings::default();
    let (data, control) = (value_or(http, default.http), value_or(admin, default.admin));
    let (data_ip, control_ip) = (data.ip().to_canonical(), control.ip().to_canonical());
    let is_same_ip = data_ip == control_ip || data_ip.is_unspecified() || control_ip.is_unspecified();
    let given = [(http, "http"), (admin, "admin")].into_iter();
    let last_given = given.filter_map(|(address, key)| Some((&address.as_ref()?.origin, key))).max();
    if let Some((origin, key)) = last_given
        && is_same_ip
        && data.port() == control.port()
        && data.port() != 0
    {
        let reason = format!("server.http ({data}) and server.admin ({control}) cannot share port {}", data.port());
        reader.problem(origin.clone(), key, ProblemKind::Conflict { reason });
    }
}

fn value_or(address: &Address, default: SocketAddr) -> SocketAddr {
    address.as_ref().map_or(default, |located| located.value)
}

fn repository(reader: &mut Reader<'_, '_>) -> RepositorySettings {
    let default = RepositorySettings::default();
    RepositorySettings {
        path: reader.value("path", path).unwrap_or(default.path),
        poll_interval: reader
            .value("poll_interval", duration(100 * MILLISECOND..=HOUR))
            .unwrap_or(default.poll_interval),
        bake: reader.value("bake", duration(Duration::ZERO..=DAY)).unwrap_or(default.bake),
        memory_budget: reader.value("memory_budget", size(1 << 20..=1 << 50)),
    }
}

fn state(reader: &mut Reader<'_, '_>) -> StateSettings {
    let default = StateSettings::default();
    StateSettings {
        path: reader.value("path", path).unwrap_or(default.path),
        snapshot_interval: reader
            .value("snapshot_interval", duration(SECOND..=HOUR))
            .unwrap_or(default.snapshot_interval),
    }
}

fn alerts(reader: &mut Reader<'_, '_>) -> AlertSettings {
    let sinks: Vec<Option<SinkSettings>> = reader.tables("sinks", sink);
    if sinks.len() > MAX_SINKS {
        let reason = format!("alerts.sinks has {} entries, at most {MAX_SINKS} are allowed", sinks.len());
        reader.own_problem(ProblemKind::Conflict { reason });
    }
    AlertSettings { sinks: sinks.into_iter().flatten().collect() }
}

fn sink(reader: &mut Reader<'_, '_>) -> Option<SinkSettings> {
    for (key, expected) in [("type", "type = \"webhook\""), ("url", "url = \"https://…\", where alerts are sent")] {
        if !reader.has(key) {
            reader.own_problem(ProblemKind::Missing { expected: expected.to_owned() });
        }
    }
    let (kind, url) =
        (reader.value("type", one_of(&[("webhook", SinkKind::Webhook)])), reader.value("url", webhook_url));
    let timeout = reader.value("timeout", duration(100 * MILLISECOND..=MINUTE)).unwrap_or(5 * SECOND);
    let retries = reader.value("retries", whole(0..=20)).unwrap_or(5);
    let queue = reader.value("queue", whole(1..=65_536)).unwrap_or(256);
    Some(SinkSettings { kind: kind?, url: url?, timeout, retries, queue })
}

fn log(reader: &mut Reader<'_, '_>) -> LogSettings {
    const FORMATS: &[(&str, LogFormat)] = &[("text", LogFormat::Text), ("json", LogFormat::Json)];
    const LEVELS: &[(&str, LogLevel)] = &[
        ("error", LogLevel::Error),
        ("warn", LogLevel::Warn),
        ("info", LogLevel::Info),
        ("debug", LogLevel::Debug),
        ("trace", LogLevel::Trace),
    ];
    LogSettings {
        format: reader.value("format", one_of(FORMATS)).unwrap_or_default(),
        level: reader.value("level", one_of(LEVELS)).unwrap_or_default(),
    }
}
