//! Where settings come from: a file, the environment, flags. All handed in, none fetched.
//!
//! The process's environment and file system are arguments, so that tests need neither and a reload can be tried without
//! touching anything. Variables and flags are laid over the file as untyped text under the same section and key, so that
//! one reader checks all three by the same rules.
//!
//! Invariant: every row of [`VARIABLES`] names a key that the reader knows; a test holds it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::{fmt, io};

use super::problem::{Origin, Problem, ProblemKind};
use super::suggest;
use super::tree::{Entry, Section, Value};

/// Prefix of the program's own environment variables.
const PREFIX: &str = "TIDEGATE_";

/// Variables with the prefix that are read elsewhere: the log filter and the path of the configuration file.
const RESERVED: [&str; 2] = ["TIDEGATE_LOG", "TIDEGATE_CONFIG"];

/// Environment variable, section and key of every setting that the environment can give.
pub(super) const VARIABLES: &[(&str, &str, &str)] = &[
    ("TIDEGATE_HTTP", "server", "http"),
    ("TIDEGATE_ADMIN", "server", "admin"),
    ("TIDEGATE_ADMIN_TOKEN", "server", "admin_token"),
    ("TIDEGATE_ADMIN_VIEWER_TOKEN", "server", "admin_viewer_token"),
    ("TIDEGATE_WORKERS", "server", "workers"),
    ("TIDEGATE_MAX_CONNECTIONS", "server", "max_connections"),
    ("TIDEGATE_MAX_BODY", "server", "max_body"),
    ("TIDEGATE_BODY_TIMEOUT", "server", "body_timeout"),
    ("TIDEGATE_IDLE_TIMEOUT", "server", "idle_timeout"),
    ("TIDEGATE_DRAIN_TIMEOUT", "server", "drain_timeout"),
    ("TIDEGATE_REPLICA", "server", "replica"),
    ("TIDEGATE_MODELS", "repository", "path"),
    ("TIDEGATE_POLL_INTERVAL", "repository", "poll_interval"),
    ("TIDEGATE_BAKE", "repository", "bake"),
    ("TIDEGATE_MEMORY_BUDGET", "repository", "memory_budget"),
    ("TIDEGATE_ONNXRUNTIME", "engine", "onnxruntime"),
    ("TIDEGATE_STATE", "state", "path"),
    ("TIDEGATE_SNAPSHOT_INTERVAL", "state", "snapshot_interval"),
    ("TIDEGATE_EXECUTION_INLINE_LIMIT", "execution", "inline_limit"),
    ("TIDEGATE_EXECUTION_INSTANCES", "execution", "instances"),
    ("TIDEGATE_EXECUTION_THREADS", "execution", "threads"),
    ("TIDEGATE_EXECUTION_QUEUE", "execution", "queue"),
    ("TIDEGATE_EXECUTION_MAX_BATCH", "execution", "max_batch"),
    ("TIDEGATE_EXECUTION_TIMEOUT", "execution", "timeout"),
    ("TIDEGATE_DRIFT_PRESET", "drift", "preset"),
    ("TIDEGATE_DRIFT_WINDOW", "drift", "window"),
    ("TIDEGATE_DRIFT_MIN_SAMPLES", "drift", "min_samples"),
    ("TIDEGATE_DRIFT_THRESHOLD", "drift", "threshold"),
    ("TIDEGATE_DRIFT_RESOLVE_THRESHOLD", "drift", "resolve_threshold"),
    ("TIDEGATE_DRIFT_PENDING_FOR", "drift", "pending_for"),
    ("TIDEGATE_DRIFT_RESOLVE_AFTER", "drift", "resolve_after"),
    ("TIDEGATE_DRIFT_MAX_FEATURES", "drift", "max_features"),
    ("TIDEGATE_DRIFT_FALSE_PAGES_PER_MONTH", "drift", "false_pages_per_month"),
    ("TIDEGATE_DRIFT_TOLERANCE", "drift", "tolerance"),
    ("TIDEGATE_DRIFT_EFFECT_FLOOR", "drift", "effect_floor"),
    ("TIDEGATE_DRIFT_HALF_LIFE", "drift", "half_life"),
    ("TIDEGATE_DRIFT_SEASONAL", "drift", "seasonal"),
    ("TIDEGATE_DRIFT_SEASONAL_WEEKS", "drift", "seasonal_weeks"),
    ("TIDEGATE_DRIFT_SEASONAL_MEMORY", "drift", "seasonal_memory"),
    ("TIDEGATE_DRIFT_LEARN_ROWS", "drift", "learn_rows"),
    ("TIDEGATE_LATENCY_P99_LIMIT", "latency", "p99_limit"),
    ("TIDEGATE_LATENCY_RULE", "latency", "rule"),
    ("TIDEGATE_LATENCY_ALLOWED_RATE", "latency", "allowed_rate"),
    ("TIDEGATE_LATENCY_WINDOW", "latency", "window"),
    ("TIDEGATE_LATENCY_MIN_REQUESTS", "latency", "min_requests"),
    ("TIDEGATE_LATENCY_PENDING_FOR", "latency", "pending_for"),
    ("TIDEGATE_LATENCY_RESOLVE_AFTER", "latency", "resolve_after"),
    ("TIDEGATE_ERRORS_ALLOWED_RATE", "errors", "allowed_rate"),
    ("TIDEGATE_LOG_FORMAT", "log", "format"),
    ("TIDEGATE_LOG_LEVEL", "log", "level"),
];

/// Everything that settings are made from.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    /// The configuration file, if there is one.
    pub file: Option<SourceFile<'a>>,
    /// The environment.
    pub environment: &'a Environment,
    /// The flags.
    pub overrides: &'a Overrides,
    /// Reads a secret's file: `&|path| std::fs::read_to_string(path)`.
    pub read_secret: &'a dyn Fn(&Path) -> io::Result<String>,
}

/// A configuration file that has been read.
#[derive(Clone, Copy, Debug)]
pub struct SourceFile<'a> {
    /// Its name, for problems.
    pub name: &'a str,
    /// Its text, TOML.
    pub text: &'a str,
}

/// Environment variables. Debug shows their names alone, because values may be secrets.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, OsString>);

/// Settings given as flags, each as the text that was typed, so that its problems are reported with all others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--http`: `server.http`.
    pub http: Option<String>,
    /// `--admin`: `server.admin`.
    pub admin: Option<String>,
    /// `--workers`: `server.workers`.
    pub workers: Option<String>,
    /// `--models`: `repository.path`.
    pub models: Option<OsString>,
    /// `--onnxruntime`: `engine.onnxruntime`.
    pub onnxruntime: Option<OsString>,
    /// `--state`: `state.path`.
    pub state: Option<OsString>,
    /// `--log-format`: `log.format`.
    pub log_format: Option<String>,
    /// `--log-level`: `log.level`.
    pub log_level: Option<String>,
}

impl<N: Into<OsString>, V: Into<OsString>> FromIterator<(N, V)> for Environment {
    /// From `std::env::vars_os()`, for example.
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        let readable = |name: OsString| name.to_string_lossy().into_owned();
        Self(variables.into_iter().map(|(name, value)| (readable(name.into()), value.into())).collect())
    }
}

impl Environment {
    /// A variable's value; one that is empty counts as not set, as in compose files that pass `${NAME:-}`.
    pub(super) fn get(&self, name: &str) -> Option<&OsString> {
        self.0.get(name).filter(|value| !value.is_empty())
    }

    /// Lays the variables that are settings over the file's.
    pub(super) fn lay_over(&self, root: &mut Section) {
        for (name, section, key) in VARIABLES {
            if let Some(value) = self.get(name) {
                lay_over(root, Origin::Variable((*name).to_owned()), (section, key), value.clone());
            }
        }
    }

    /// A problem for each variable with the program's prefix that nobody reads; `named` are those that settings name.
    pub(super) fn unknown(&self, named: &BTreeSet<String>) -> Vec<Problem> {
        let is_known = |name: &str| {
            RESERVED.contains(&name) || named.contains(name) || VARIABLES.iter().any(|(known, ..)| *known == name)
        };
        let candidates = self.0.keys().filter(|name| name.starts_with(PREFIX));
        candidates
            .filter(|name| self.get(name).is_some_and(|value| !is_known(name) && !is_service_link(name, value)))
            .map(|name| {
                let known = VARIABLES.iter().map(|(known, ..)| *known).chain(RESERVED);
                let hint = match suggest::closest(name, known) {
                    Some(close) => format!("did you mean {close}?"),
                    None => "unset it, or name it in a setting as { env = \"…\" }".to_owned(),
                };
                let origin = Origin::Variable(name.clone());
                Problem { origin, path: String::new(), kind: ProblemKind::UnknownVariable { hint } }
            })
            .collect()
    }
}

impl Overrides {
    /// Lays the flags that are given over everything else.
    pub(super) fn lay_over(&self, root: &mut Section) {
        let text = |flag: &Option<String>| flag.clone().map(OsString::from);
        let flags = [
            ("--http", ("server", "http"), text(&self.http)),
            ("--admin", ("server", "admin"), text(&self.admin)),
            ("--workers", ("server", "workers"), text(&self.workers)),
            ("--models", ("repository", "path"), self.models.clone()),
            ("--onnxruntime", ("engine", "onnxruntime"), self.onnxruntime.clone()),
            ("--state", ("state", "path"), self.state.clone()),
            ("--log-format", ("log", "format"), text(&self.log_format)),
            ("--log-level", ("log", "level"), text(&self.log_level)),
        ];
        for (flag, setting, value) in flags {
            if let Some(value) = value {
                lay_over(root, Origin::Flag(flag), setting, value);
            }
        }
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}

impl fmt::Debug for Sources<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.map(|file| file.name);
        formatter
            .debug_struct("Sources")
            .field("file", &file)
            .field("overrides", self.overrides)
            .finish_non_exhaustive()
    }
}

/// Puts a value above the ones a setting already has.
fn lay_over(root: &mut Section, origin: Origin, (section, key): (&str, &str), value: OsString) {
    let entry = Entry { origin: origin.clone(), value: Value::Untyped(value) };
    let table = Value::Table(Section::from([(key.to_owned(), vec![entry])]));
    root.entry(section.to_owned()).or_default().push(Entry { origin, value: table });
}

/// Whether a variable is one that Kubernetes sets in every pod for a service in sight: one called `tidegate` or
/// `tidegate-admin` must not keep the gateway from starting. `TIDEGATE_PORT=8000`, set by hand, is not one of them.
/// <https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables>
fn is_service_link(name: &str, value: &OsStr) -> bool {
    let starts_with_digit = |text: &str| text.bytes().next().is_some_and(|byte| byte.is_ascii_digit());
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || (name.ends_with("_PORT") && value.to_str().is_some_and(|value| value.contains("://")))
        || name.split_once("_PORT_").is_some_and(|(_, rest)| starts_with_digit(rest))
}
