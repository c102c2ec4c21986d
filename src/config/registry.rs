//! `[registry]`: where models are fetched from, and where what was fetched is kept.
//!
//! Invariant: an address of a registry has no credentials in it; those are secrets with keys of their own.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;

use super::hooks::{self, HookSettings, NamedModels};
use super::objects::{self, ObjectSettings};
use super::problem::ProblemKind;
use super::reader::Reader;
use super::secret::Secret;
use super::secret_source::secret;
use super::tree::Value;
use super::values::{Parsed, duration, name, names, one_of, path, refused, size, whole};

/// What the address of a model of MLflow begins with.
const MLFLOW_SCHEME: &str = "models:/";
/// What the address of a model in an object store begins with.
const OBJECT_SCHEMES: [&str; 6] = ["s3://", "gs://", "az://", "abfss://", "abfs://", "file:///"];

/// Most aliases that have a role.
const MAX_ROLES: usize = 64;

/// Where models are fetched from, and where they are kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RegistrySettings {
    /// `[registry.cache]`: what was fetched.
    pub cache: CacheSettings,
    /// `[registry.mlflow]`: the MLflow server. Default none.
    pub mlflow: Option<MlflowSettings>,
    /// `[registry.hooks.<name>]`: who else sends webhooks, by the name in their path. Default none.
    pub hooks: BTreeMap<String, HookSettings>,
    /// The object stores that models are in.
    pub objects: ObjectSettings,
}

/// Where what was fetched is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheSettings {
    /// Its directory. Default `None`: `cache` in the directory of the state.
    pub path: Option<PathBuf>,
    /// Bytes that it may take. Default 20 GiB.
    pub max_bytes: u64,
    /// Files that are fetched at a time. Default 4.
    pub parallel: usize,
}

/// An MLflow server.
#[derive(Clone, Debug, PartialEq)]
pub struct MlflowSettings {
    /// Its address, with the path that its API is below.
    pub url: Url,
    /// Time between two looks at the aliases of a model. Default 30 s.
    pub poll_interval: Duration,
    /// For basic authentication, with `password`. Default none.
    pub username: Option<String>,
    /// For basic authentication. Default none.
    pub password: Option<Secret>,
    /// For authentication by token. Default none.
    pub token: Option<Secret>,
    /// What webhooks at `/hooks/mlflow` are signed with. Default none: there is no such path.
    pub webhook_secret: Option<Secret>,
    /// A file of certificates, PEM, that its own must be signed by. Default `None`: those of the system.
    pub ca_file: Option<PathBuf>,
    /// Longest wait for an answer, or for the next bytes of a file. Default 30 s.
    pub timeout: Duration,
}

/// What an alias makes of the version that it points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// It serves.
    Stable,
    /// It is loaded and warm, without a share until a split gives it one.
    Canary,
    /// The same, for requests that are mirrored.
    Shadow,
}

/// Where the versions of one model come from, other than the repository's directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceSettings {
    /// `models:/name`, `models:/name@alias` or `models:/name/7`, as MLflow writes them; `s3://bucket/prefix`,
    /// `gs://bucket/prefix`, `az://container/prefix`, `abfss://…`; `file:///directory` or an absolute path.
    pub uri: String,
    /// Tags that a version must have before it may be fetched. Default none.
    pub require_tags: Vec<String>,
    /// What aliases mean. Default: `champion` is stable, `challenger` canary, `shadow` shadow.
    pub roles: BTreeMap<String, Role>,
}

impl SourceSettings {
    /// Whether it is a model of MLflow.
    #[must_use]
    pub fn is_of_mlflow(&self) -> bool {
        self.uri.starts_with(MLFLOW_SCHEME)
    }
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self { path: None, max_bytes: 20 << 30, parallel: 4 }
    }
}

/// `[registry]`.
pub(super) fn registry(reader: &mut Reader<'_, '_>, named: &mut Vec<NamedModels>) -> RegistrySettings {
    let (cache, mlflow) = (reader.table("cache", cache), reader.table("mlflow", mlflow));
    let hooks = reader.table("hooks", |reader| hooks::hooks(reader, named));
    let is_taken = mlflow.as_ref().is_some_and(|mlflow| mlflow.webhook_secret.is_some());
    hooks::check_mlflow(reader, is_taken, &hooks);
    RegistrySettings { cache, mlflow, hooks, objects: objects::objects(reader) }
}

fn cache(reader: &mut Reader<'_, '_>) -> CacheSettings {
    let default = CacheSettings::default();
    CacheSettings {
        path: reader.value("path", path),
        max_bytes: reader.value("max_bytes", size(1 << 20..=1 << 50)).unwrap_or(default.max_bytes),
        parallel: reader.value("parallel", whole(1..=64)).unwrap_or(default.parallel),
    }
}

fn mlflow(reader: &mut Reader<'_, '_>) -> Option<MlflowSettings> {
    let (second, hour) = (Duration::from_secs(1), Duration::from_secs(3_600));
    if !reader.has("url") {
        reader.own_problem(ProblemKind::Missing { expected: "url = \"http://…\", where MLflow answers".to_owned() });
    }
    let (has_password, has_token) = (reader.has("password"), reader.has("token"));
    if reader.has("username") != has_password || has_password && has_token {
        let reason = "username and password go together, or there is a token alone".to_owned();
        reader.own_problem(ProblemKind::Conflict { reason });
    }
    let url = reader.value("url", registry_url);
    let poll_interval = reader.value("poll_interval", duration(second..=hour)).unwrap_or(30 * second);
    let (username, password) = (reader.value("username", name), secret(reader, "password"));
    let (token, webhook_secret) = (secret(reader, "token"), secret(reader, "webhook_secret"));
    let ca_file = reader.value("ca_file", path);
    let timeout = reader.value("timeout", duration(second..=hour)).unwrap_or(30 * second);
    Some(MlflowSettings { url: url?, poll_interval, username, password, token, webhook_secret, ca_file, timeout })
}

/// `models.<name>.source`, `models.<name>.roles` and `models.<name>.require_tags`.
pub(super) fn source(reader: &mut Reader<'_, '_>, has_mlflow: bool) -> Option<SourceSettings> {
    let source = reader.located("source", source_uri);
    let roles = reader.table("roles", |reader| roles(reader, source.is_some()));
    let require_tags = reader.value("require_tags", names).unwrap_or_default();
    let source = source?;
    let is_of_mlflow = source.value.starts_with(MLFLOW_SCHEME);
    if !is_of_mlflow && !require_tags.is_empty() {
        let reason = "versions of an object store have no tags that could be required".to_owned();
        reader.problem(source.origin, "require_tags", ProblemKind::Conflict { reason });
    } else if is_of_mlflow && !has_mlflow {
        let reason = "a model of MLflow needs [registry.mlflow] with its url".to_owned();
        reader.problem(source.origin, "source", ProblemKind::Conflict { reason });
    }
    Some(SourceSettings { uri: source.value, require_tags, roles })
}

fn roles(reader: &mut Reader<'_, '_>, has_source: bool) -> BTreeMap<String, Role> {
    const ROLES: &[(&str, Role)] = &[("stable", Role::Stable), ("canary", Role::Canary), ("shadow", Role::Shadow)];
    let default = [("champion", Role::Stable), ("challenger", Role::Canary), ("shadow", Role::Shadow)];
    if reader.origin().is_none() {
        return default.map(|(alias, role)| (alias.to_owned(), role)).into();
    }
    if !has_source {
        let reason = "roles are those of a registry's aliases, and the model has no source".to_owned();
        reader.own_problem(ProblemKind::Conflict { reason });
    }
    let mut roles = BTreeMap::new();
    for (alias, entry) in reader.drain() {
        match one_of(ROLES)(&entry.value) {
            Ok(role) => drop(roles.insert(alias, role)),
            Err(kind) => reader.problem(entry.origin, &alias, kind),
        }
    }
    let stable = roles.values().filter(|role| **role == Role::Stable).count();
    if stable != 1 || roles.len() > MAX_ROLES {
        let reason = format!("one alias is stable, and at most {MAX_ROLES} have a role; {stable} are stable");
        reader.own_problem(ProblemKind::Conflict { reason });
    }
    roles
}

/// The address of a registry or of a store.
pub(super) fn registry_url(value: &Value) -> Parsed<Url> {
    let expected = "an http:// or https:// URL with a host and without user, password, query and fragment";
    let parsed = value.as_text().and_then(|text| Url::parse(text).ok());
    let is_plain = |url: &Url| {
        matches!(url.scheme(), "http" | "https")
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    };
    // What came may have a password in it, so that it is not repeated.
    parsed
        .filter(is_plain)
        .ok_or_else(|| ProblemKind::Invalid { expected: expected.to_owned(), found: "another".to_owned() })
}

/// Of which kind it is; what else may be wrong with it is said where it is read.
fn source_uri(value: &Value) -> Parsed<String> {
    let is_known = |text: &&str| {
        let mut schemes = [MLFLOW_SCHEME, "/"].into_iter().chain(OBJECT_SCHEMES);
        schemes.any(|scheme| text.strip_prefix(scheme).is_some_and(|name| !name.is_empty()))
    };
    let expected = "\"models:/name\", \"models:/name@alias\" or \"models:/name/7\", \"s3://bucket/prefix\", \"gs://…\", \"az://…\", \"abfss://…\", \"file:///directory\" or an absolute path";
    value.as_text().filter(is_known).map(str::to_owned).ok_or_else(|| refused(expected, value))
}
