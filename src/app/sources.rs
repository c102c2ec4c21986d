//! The models that come from registries, made ready to be followed.
//!
//! Invariant: without such a model nothing is opened, made or asked.

use super::AppError;
use super::following::Following;
use crate::admin::hooks::Hooks;
use crate::config::{Config, SourceSettings};
use crate::registry::board::SourceBoard;
use crate::registry::follow::Follower;
use crate::registry::staging::Cache;
use std::path::PathBuf;
use std::sync::Arc;

/// The cache's directory within the state's.
const CACHE: &str = "cache";

/// What is followed, and where it is seen.
pub(super) struct Sources {
    /// What is known of the models.
    pub(super) board: Arc<SourceBoard>,
    /// The tasks that follow them.
    pub(super) following: Vec<Following>,
    /// What wakes them.
    pub(super) hooks: Hooks,
}

/// Where fetched files are kept.
#[must_use]
pub fn cache_path(config: &Config) -> PathBuf {
    config.registry.cache.path.clone().unwrap_or_else(|| config.state.path.join(CACHE))
}

/// Opens the cache, and makes a follower of every model that has a source.
pub(super) fn open(config: &Config) -> Result<Sources, AppError> {
    let board = Arc::new(SourceBoard::default());
    let sourced: Vec<(&String, &SourceSettings)> =
        config.models.iter().filter_map(|(name, settings)| Some((name, settings.source.as_ref()?))).collect();
    if sourced.is_empty() {
        return Ok(Sources { board, following: Vec::new(), hooks: Hooks::default() });
    }
    let settings = &config.registry.cache;
    let cache = Cache::open(cache_path(config), settings.max_bytes, settings.parallel).map_err(AppError::Cache)?;
    let opened = super::mlflow::open(config)?;
    let mut hooks = Hooks { senders: opened.sender(config)?.into_iter().collect(), ..Hooks::default() };
    let following = sourced.into_iter().map(|(model, source)| {
        let interval = opened.interval;
        let from = opened.source(source)?;
        let wake = Arc::default();
        if let Some(name) = opened.registered_name(source)? {
            hooks.followers.entry(name).or_default().push(Arc::clone(&wake));
        }
        let follower = Follower::new(model, source, from, cache.clone(), Arc::clone(&board));
        // Replicas that start together do not ask together.
        Ok(Following { follower, interval, wake, seed: rand::random() })
    });
    let following = following.collect::<Result<Vec<_>, AppError>>()?;
    Ok(Sources { board, following, hooks })
}
