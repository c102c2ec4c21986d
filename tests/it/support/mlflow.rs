//! A real MLflow server: a process with a database, artifacts and a port of its own.
//!
//! Everything that it keeps is below one temporary directory. It serves below a path, as behind a company's gate, and
//! knows itself by the name `localhost` alone, so that a request to its number has a wrong host.
//!
//! Invariant: the server's processes are a group of their own, and end with the value.

use super::python::{Python, make, run};
use super::wait::until;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The path that the server's routes are below.
const PREFIX: &str = "/registry";
/// How long the server may take to start: it imports much, and lays out its database.
const STARTING: Duration = Duration::from_secs(240);

/// The environment of a server, which wants other packages than what the tests compare with.
fn environment() -> &'static Python {
    static MADE: OnceLock<Python> = OnceLock::new();
    MADE.get_or_init(|| make("mlflow-env", &["tests/requirements-mlflow.txt"]))
}

/// How a server is started, where that is not as usual.
#[derive(Default)]
pub(crate) struct Setup<'a> {
    /// Variables of its environment.
    pub(crate) variables: &'a [(&'a str, &'a str)],
    /// Arguments after the usual ones, of which the last one of a name counts.
    pub(crate) arguments: &'a [&'a str],
}

/// A started server.
pub(crate) struct MlflowServer {
    child: Child,
    port: u16,
    directory: tempfile::TempDir,
    python: &'static Python,
}

impl MlflowServer {
    /// Starts a server and waits until it answers.
    pub(crate) async fn start() -> Self {
        Self::start_with(&Setup::default()).await
    }

    /// Starts a server in another way.
    pub(crate) async fn start_with(setup: &Setup<'_>) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), setup).await
    }

    /// Ends it and starts another one, at another port, on what it kept.
    pub(crate) async fn restart_with(mut self, setup: &Setup<'_>) -> Self {
        self.terminate();
        until("the MLflow server ends", async || self.child.try_wait().unwrap()).await;
        let kept = std::mem::replace(&mut self.directory, tempfile::tempdir().unwrap());
        Self::start_in(kept, setup).await
    }

    async fn start_in(directory: tempfile::TempDir, setup: &Setup<'_>) -> Self {
        let python = environment();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = command(python, directory.path(), port, setup).spawn().unwrap();
        let mut server = Self { child, port, directory, python };
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build().unwrap();
        let health = format!("{}/health", server.url());
        let deadline = Instant::now() + STARTING;
        loop {
            if client.get(&health).send().await.is_ok_and(|answer| answer.status() == 200) {
                return server;
            }
            let ended = server.child.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < deadline, "no MLflow server ({ended:?}):\n{}", server.log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Where it is, by the name that it knows.
    pub(crate) fn url(&self) -> String {
        format!("http://localhost:{}{PREFIX}", self.port)
    }

    /// Where it is, by a name that it does not know.
    pub(crate) fn url_of_another_host(&self) -> String {
        format!("http://127.0.0.1:{}{PREFIX}", self.port)
    }

    /// Registers the versions of `tests/python/mlflow_registry.py`; what it made.
    pub(crate) fn register(&self, model: &Path, name: &str) -> Vec<Value> {
        let out = self.script(&["log", model.to_str().unwrap(), name]);
        serde_json::from_str(out.lines().last().unwrap()).unwrap_or_else(|error| panic!("{error} in {out}"))
    }

    /// Moves an alias.
    pub(crate) fn set_alias(&self, name: &str, alias: &str, version: u64) {
        self.script(&["alias", name, alias, &version.to_string()]);
    }

    /// Registers two files with `tests/python/rollout_models.py`: the champion and its challenger.
    pub(crate) fn register_pair(&self, name: &str, champion: &Path, challenger: &Path) {
        let url = self.url();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/rollout_models.py");
        let mut command = Command::new(self.python.interpreter());
        command.current_dir(self.directory.path()).arg(script).args(["register", &url, name]);
        run(command.arg(champion).arg(challenger));
    }

    /// Versions by alias, and the tags of a version.
    pub(crate) async fn aliases_and_tags(
        &self,
        name: &str,
        version: u64,
    ) -> (BTreeMap<String, u64>, BTreeMap<String, String>) {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let get = async |path: String| -> Value {
            let url = format!("{}/api/2.0/mlflow/{path}", self.url());
            client.get(url).send().await.unwrap().json().await.unwrap()
        };
        let model = get(format!("registered-models/get?name={name}")).await;
        let version = get(format!("model-versions/get?name={name}&version={version}")).await;
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let aliases = list(&model["registered_model"]["aliases"]);
        let tags = list(&version["model_version"]["tags"]);
        (
            aliases.iter().map(|alias| (text(&alias["alias"]), text(&alias["version"]).parse().unwrap())).collect(),
            tags.iter().map(|tag| (text(&tag["key"]), text(&tag["value"]))).collect(),
        )
    }

    /// Unix milliseconds when a version was registered.
    pub(crate) async fn created(&self, name: &str, version: u64) -> u64 {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let path = format!("api/2.0/mlflow/model-versions/get?name={name}&version={version}");
        let answer = client.get(format!("{}/{path}", self.url())).send().await.unwrap();
        let answer: Value = answer.json().await.unwrap();
        let created = &answer["model_version"]["creation_timestamp"];
        created.as_u64().or_else(|| created.as_str()?.parse().ok()).unwrap_or_else(|| panic!("{answer:#}"))
    }

    /// The directory that an `mlflow-artifacts:` address is on the server's disk.
    pub(crate) fn artifacts(&self, address: &str) -> PathBuf {
        let path = address.strip_prefix("mlflow-artifacts:/").unwrap();
        self.directory.path().join("artifacts").join(path)
    }

    fn script(&self, arguments: &[&str]) -> String {
        let url = self.url();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/mlflow_registry.py");
        let mut command = Command::new(self.python.interpreter());
        run(command.current_dir(self.directory.path()).arg(script).arg(url).args(arguments))
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// Ends it and waits for its end.
    pub(crate) async fn stop(mut self) {
        self.terminate();
        until("the MLflow server ends", async || self.child.try_wait().unwrap()).await;
    }

    fn terminate(&self) {
        let group = format!("-{}", self.child.id());
        let _ = Command::new("kill").args(["-s", "TERM", "--", &group]).stderr(Stdio::null()).status();
    }
}

fn command(python: &Python, directory: &Path, port: u16, setup: &Setup<'_>) -> Command {
    let log = File::create(directory.join("log")).unwrap();
    let mut command = Command::new(python.interpreter());
    command.args(["-m", "mlflow", "server", "--host", "127.0.0.1", "--workers", "1", "--serve-artifacts"]);
    command.args(["--port", &port.to_string(), "--static-prefix", PREFIX, "--allowed-hosts", "localhost:*"]);
    command.arg("--backend-store-uri").arg(format!("sqlite:///{}", directory.join("database").display()));
    command.arg("--artifacts-destination").arg(directory.join("artifacts")).args(setup.arguments);
    command.env_clear().env("HOME", directory).env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("MLFLOW_DISABLE_TELEMETRY", "true").env("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false");
    command.envs(setup.variables.iter().copied());
    command.current_dir(directory).process_group(0);
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    command
}

impl Drop for MlflowServer {
    fn drop(&mut self) {
        // Already ended, unless the test failed.
        if let Ok(None) = self.child.try_wait() {
            self.terminate();
            let deadline = Instant::now() + Duration::from_secs(10);
            while Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
