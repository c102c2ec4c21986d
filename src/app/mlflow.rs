//! The MLflow server that is configured, as a place that sources come from.
//!
//! Invariant: a certificate's file and a model's address are looked at before anything starts.

use super::AppError;
use super::objects::kinds;
use crate::config::{Config, MlflowSettings, SourceSettings};
use crate::registry::mlflow::{Credentials, MlflowAccess, MlflowClient, MlflowSource, ModelUri};
use crate::registry::objects::Stores;
use crate::registry::source::{Source, SourceError};
use std::sync::Arc;
use std::time::Duration;

/// The server.
#[derive(Debug)]
pub struct Mlflow {
    client: Arc<MlflowClient>,
    /// Time between two looks at a model.
    pub(super) interval: Duration,
}

/// The server that is configured.
pub(super) fn open(config: &Config) -> Result<Mlflow, AppError> {
    let settings = config.registry.mlflow.as_ref().expect("a model of a registry is refused without the registry");
    open_with(settings)
}

/// The server that settings name. Nothing is asked yet.
///
/// # Errors
/// [`AppError::Registry`] when its certificates cannot be read, or its URL is none of a server.
pub fn open_with(settings: &MlflowSettings) -> Result<Mlflow, AppError> {
    let certificate_authority = match &settings.ca_file {
        Some(path) => Some(std::fs::read(path).map_err(|cause| SourceError::Unexpected {
            place: "registry.mlflow.ca_file".to_owned(),
            reason: format!("cannot read {}: {cause}", path.display()),
        })?),
        None => None,
    };
    let (url, timeout) = (settings.url.clone(), settings.timeout);
    let access = MlflowAccess { url, credentials: credentials(settings), certificate_authority, timeout };
    Ok(Mlflow { client: Arc::new(MlflowClient::new(access)?), interval: settings.poll_interval })
}

fn credentials(settings: &MlflowSettings) -> Option<Credentials> {
    let token = settings.token.as_ref().map(|token| Credentials::Bearer { token: token.expose().to_owned() });
    let basic = settings.username.clone().zip(settings.password.as_ref());
    let basic = basic.map(|(user, password)| Credentials::Basic { user, password: password.expose().to_owned() });
    basic.or(token)
}

impl Mlflow {
    /// What asks it.
    #[must_use]
    pub fn client(&self) -> &MlflowClient {
        &self.client
    }

    /// What asks it, to be kept.
    pub(super) fn shared(&self) -> Arc<MlflowClient> {
        Arc::clone(&self.client)
    }

    /// The name under which a model is registered, if it is.
    pub(super) fn registered_name(&self, settings: &SourceSettings) -> Result<Option<String>, AppError> {
        Ok(match settings.uri.parse()? {
            ModelUri::Model { name } | ModelUri::Alias { name, .. } | ModelUri::Version { name, .. } => Some(name),
            ModelUri::Logged { .. } => None,
        })
    }

    /// One model of it.
    ///
    /// # Errors
    /// [`AppError::Registry`] when its address is none of a model.
    pub fn source(&self, settings: &SourceSettings, stores: &Arc<Stores>) -> Result<Arc<dyn Source>, AppError> {
        let uri: ModelUri = settings.uri.parse()?;
        let source = MlflowSource::new(Arc::clone(&self.client), uri, kinds(settings));
        Ok(Arc::new(source.with_stores(Arc::clone(stores))))
    }
}
