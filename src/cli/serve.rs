//! `tidegate serve`: read the settings, start the gateway, wait for a signal.
//!
//! SIGTERM and interrupt drain and end with code 0; SIGHUP reads the configuration again. A second interrupt ends at
//! once: whoever presses it twice means it.
//!
//! Invariant: all problems of all settings are reported together, before anything starts.

use super::ServeArgs;
use crate::app::{self, ConfigSource};
use crate::config::{Config, Environment, LogFormat, Overrides, SourceFile, Sources};
use crate::telemetry::logs;
use std::path::Path;
use std::sync::Arc;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Threads of the control plane's runtime: it lists a directory and answers scrapes.
const CONTROL_THREADS: usize = 1;

/// Serves until a signal ends it.
pub(super) fn run(args: &ServeArgs) -> Result<(), String> {
    let config = load_config(args)?;
    let format = match config.log.format {
        LogFormat::Text => logs::LogFormat::Text,
        LogFormat::Json => logs::LogFormat::Json,
    };
    logs::start(format, config.log.level.as_str());
    let args = args.clone();
    let source: ConfigSource = Arc::new(move || load_config(&args));
    let runtime = control_runtime()?;
    let outcome = runtime.block_on(serve_until_signal(config, source));
    // A load or a listing may hang on a disk for as long as it likes; nobody waits for it.
    runtime.shutdown_background();
    outcome
}

/// The runtime of everything but the workers.
pub(super) fn control_runtime() -> Result<tokio::runtime::Runtime, String> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(CONTROL_THREADS)
        .thread_name("tidegate-control")
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start the control runtime: {error}"))
}

async fn serve_until_signal(config: Config, source: ConfigSource) -> Result<(), String> {
    let no_signals = |error| format!("cannot listen for signals: {error}");
    let mut terminate = signal(SignalKind::terminate()).map_err(no_signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(no_signals)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(no_signals)?;
    let running = app::start(config, source).await.map_err(|error| error.to_string())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => running.reload(),
        }
    }
    tokio::select! {
        _finished = running.stop() => Ok(()),
        () = twice(&mut interrupt) => Err("ended by a second interrupt before everything was finished".to_owned()),
    }
}

async fn twice(interrupt: &mut Signal) {
    interrupt.recv().await;
}

/// The settings of a file, as `serve` would read them.
pub(super) fn config_of_file(path: &Path) -> Result<Config, String> {
    load_config(&ServeArgs { config: Some(path.to_owned()), ..ServeArgs::default() })
}

/// The settings of a file, the environment and flags.
pub(super) fn load_config(args: &ServeArgs) -> Result<Config, String> {
    let text = match &args.config {
        None => None,
        Some(path) => Some(
            std::fs::read_to_string(path)
                .map_err(|error| format!("cannot read the configuration {}: {error}", path.display()))?,
        ),
    };
    let name = args.config.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
    let environment = Environment::from_iter(std::env::vars_os());
    let overrides = Overrides {
        http: args.http.clone(),
        admin: args.admin.clone(),
        workers: args.workers.clone(),
        models: args.models.clone(),
        onnxruntime: args.onnxruntime.clone(),
        state: args.state.clone(),
        log_format: args.log_format.clone(),
        log_level: args.log_level.clone(),
    };
    let sources = Sources {
        file: text.as_deref().map(|text| SourceFile { name: &name, text }),
        environment: &environment,
        overrides: &overrides,
        read_secret: &|path| std::fs::read_to_string(path),
    };
    Config::load(&sources).map_err(|problems| format!("the settings have problems:\n{problems}"))
}
