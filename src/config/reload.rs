//! Which settings a reload cannot change.
//!
//! Sockets, threads, directories and process-wide libraries are taken once, at the start. A reload that changed them in
//! silence would leave a file that does not describe the process, so the caller is told which to restart for.
//!
//! Invariant: a setting is either in this list or takes effect by a reload.

use super::registry::SourceSettings;
use super::settings::{Config, ModelSettings};

/// Whether two configurations disagree on one setting.
type Differs = fn(&Config, &Config) -> bool;

/// Settings that are taken at the start and never again.
const TAKEN_AT_START: &[(&str, Differs)] = &[
    ("server.http", |old, new| old.server.http != new.server.http),
    ("server.admin", |old, new| old.server.admin != new.server.admin),
    ("server.workers", |old, new| old.server.workers != new.server.workers),
    ("server.max_connections", |old, new| old.server.max_connections != new.server.max_connections),
    ("server.max_body", |old, new| old.server.max_body != new.server.max_body),
    ("server.body_timeout", |old, new| old.server.body_timeout != new.server.body_timeout),
    ("server.idle_timeout", |old, new| old.server.idle_timeout != new.server.idle_timeout),
    ("server.drain_timeout", |old, new| old.server.drain_timeout != new.server.drain_timeout),
    ("server.admin_token", |old, new| old.server.admin_token != new.server.admin_token),
    ("server.admin_viewer_token", |old, new| old.server.admin_viewer_token != new.server.admin_viewer_token),
    ("server.replica", |old, new| old.server.replica != new.server.replica),
    ("repository.path", |old, new| old.repository.path != new.repository.path),
    ("registry", |old, new| old.registry != new.registry),
    ("models.*.source, models.*.roles", |old, new| sources(old).ne(sources(new))),
    ("engine.onnxruntime", |old, new| old.engine.onnxruntime != new.engine.onnxruntime),
    ("state.path", |old, new| old.state.path != new.state.path),
    ("state.snapshot_interval", |old, new| old.state.snapshot_interval != new.state.snapshot_interval),
    ("log.format", |old, new| old.log.format != new.log.format),
    ("log.level", |old, new| old.log.level != new.log.level),
];

impl Config {
    /// Names of the settings that differ in the new configuration and take effect only when the process restarts.
    #[must_use]
    pub fn diff_needing_restart(&self, new: &Self) -> Vec<&'static str> {
        TAKEN_AT_START.iter().filter(|(_, differs)| differs(self, new)).map(|(name, _)| *name).collect()
    }

    /// This configuration with models coming from where they come from in `at_start`, whose followers are what runs.
    #[must_use]
    pub fn with_sources_of(mut self, at_start: &Self) -> Self {
        for (name, settings) in &mut self.models {
            settings.source = at_start.models.get(name).and_then(|model| model.source.clone());
        }
        for (name, source) in sources(at_start) {
            if !self.models.contains_key(name) {
                let settings = ModelSettings { source: Some(source.clone()), ..self.model(name) };
                self.models.insert(name.clone(), settings);
            }
        }
        self
    }
}

/// Where models come from that have a source of their own.
fn sources(config: &Config) -> impl Iterator<Item = (&String, &SourceSettings)> {
    config.models.iter().filter_map(|(name, settings)| Some((name, settings.source.as_ref()?)))
}
