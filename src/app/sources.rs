//! The models that come from registries, made ready to be followed.
//!
//! Invariant: without such a model nothing is opened, made or asked; webhooks are acknowledged all the same.

use super::AppError;
use super::following::Following;
use crate::admin::hooks::Hooks;
use crate::catalog::Catalog;
use crate::config::{Config, SourceSettings};
use crate::registry::board::SourceBoard;
use crate::registry::follow::Follower;
use crate::registry::objects::Stores;
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

/// Opens the cache, which keeps what the catalog needs, and makes a follower of every model that has a source.
pub(super) fn open(config: &Config, catalog: Arc<Catalog>) -> Result<Sources, AppError> {
    let board = Arc::new(SourceBoard::default());
    let mut hooks = Hooks { senders: super::hooks::senders(config)?, ..Hooks::default() };
    let sourced: Vec<(&String, &SourceSettings)> =
        config.models.iter().filter_map(|(name, settings)| Some((name, settings.source.as_ref()?))).collect();
    if sourced.is_empty() {
        return Ok(Sources { board, following: Vec::new(), hooks });
    }
    let settings = &config.registry.cache;
    let cache = Cache::open(cache_path(config), settings.max_bytes, settings.parallel).map_err(AppError::Cache)?;
    let cache = cache.serving(catalog);
    let stores = Arc::new(Stores::new(config.registry.objects.clone()));
    let is_of_mlflow = sourced.iter().any(|(_, source)| source.is_of_mlflow());
    let mlflow = is_of_mlflow.then(|| super::mlflow::open(config)).transpose()?;
    let following = sourced.into_iter().map(|(model, source)| {
        let wake = Arc::default();
        let (from, registered, interval) = match mlflow.as_ref().filter(|_| source.is_of_mlflow()) {
            Some(mlflow) => (mlflow.source(source, &stores)?, mlflow.registered_name(source)?, mlflow.interval),
            None => (super::objects::source(source, &stores)?, None, config.registry.objects.poll_interval),
        };
        hooks.followers.add(model, registered, Arc::clone(&wake));
        let follower = Follower::new(model, source, from, cache.clone(), Arc::clone(&board));
        // Replicas that start together ask together once, and then no longer.
        Ok(Following { follower, interval, wake, seed: rand::random() })
    });
    let following = following.collect::<Result<Vec<_>, AppError>>()?;
    Ok(Sources { board, following, hooks })
}
