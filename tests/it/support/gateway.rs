//! A gateway inside the test's process.
//!
//! It runs on the embedded engine, whatever is installed: a process has one ONNX Runtime for its whole life, and which
//! test came first must not matter. Tests of ONNX Runtime use the real binary.

use super::client::Client;
use super::repository::Repository;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidegate::app::{self, Running};
use tidegate::config::{Config, EngineChoice, Environment, Overrides, SourceFile, Sources};

/// A gateway, its repository and a client of it.
pub(crate) struct Gateway {
    pub(crate) running: Running,
    pub(crate) repository: Repository,
    pub(crate) client: Client,
    /// What a reload reads.
    pub(crate) next_config: Arc<Mutex<Result<Config, String>>>,
    /// Where it keeps its state, unless a test says otherwise.
    _state: tempfile::TempDir,
}

/// Settings from text, as a user writes them.
pub(crate) fn settings(text: &str) -> Config {
    let (environment, overrides) = (Environment::default(), Overrides::default());
    let sources = Sources {
        file: Some(SourceFile { name: "tidegate.toml", text }),
        environment: &environment,
        overrides: &overrides,
        read_secret: &|path| std::fs::read_to_string(path),
    };
    Config::load(&sources).unwrap()
}

impl Gateway {
    /// Starts a gateway on free ports and waits until it is ready. `adjust` changes the settings.
    pub(crate) async fn start(repository: Repository, adjust: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        config.server.http = SocketAddr::from(([127, 0, 0, 1], 0));
        config.server.admin = config.server.http;
        config.server.workers = Some(2);
        config.repository.path = repository.path().to_owned();
        config.repository.poll_interval = Duration::from_millis(100);
        let state = tempfile::tempdir().unwrap();
        config.state.path = state.path().to_owned();
        adjust(&mut config);
        for model in ["breast-cancer", "churn", "diabetes", "digits"] {
            let settings = config.model(model);
            config.models.entry(model.to_owned()).or_insert(settings).engine = EngineChoice::Tract;
        }
        let next_config = Arc::new(Mutex::new(Ok(config.clone())));
        let source = Arc::clone(&next_config);
        let running = app::start(config, Arc::new(move || source.lock().unwrap().clone())).await.unwrap();
        let client = Client::new(running.http(), running.admin());
        client.wait_until_ready().await;
        Self { running, repository, client, next_config, _state: state }
    }

    /// Stops it; everything in flight must be finished.
    pub(crate) async fn stop(self) {
        assert!(self.running.stop().await, "something was still in flight");
    }
}
