//! A registered model as a source of versions.
//!
//! What an alias means here is a map of names to roles: MLflow's aliases are words that people choose, and champion is
//! the usual one for what serves. One question tells the whole map, so that two aliases that move together are seen
//! together.
//!
//! A version that is not ready is an error and not a version without a role, because a version without a role is unloaded.
//! `READY` says little: MLflow sets it at creation, before anything must have been uploaded.
//!
//! Invariant: an offer is of one moment of the alias map, and its stable version is not among its warm ones.

use super::client::MlflowClient;
use super::messages::{ModelVersion, RegisteredModel, tag_map};
use super::open;
use super::place::Place;
use super::uri::ModelUri;
use crate::registry::manifest::Digest;
use crate::registry::objects::Stores;
use crate::registry::roles::{self, RoleKind};
use crate::registry::source::{Asked, Lineage, Offer, RemoteBytes, RemoteFile, Roles, Source, SourceError};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What a logged model counts as, since it has no versions.
pub const LOGGED_VERSION: u64 = 1;
/// The most versions whose place is remembered.
const MOST_PLACES: usize = 64;
/// The tag by which MLflow tells prompts, which are registered models as well.
const IS_PROMPT: &str = "mlflow.prompt.is_prompt";

/// A model of an MLflow registry.
#[derive(Debug)]
pub struct MlflowSource {
    client: Arc<MlflowClient>,
    /// Where artifacts are that the server does not hand out itself.
    stores: Arc<Stores>,
    uri: ModelUri,
    roles: BTreeMap<String, RoleKind>,
    /// Where the versions are whose files were listed, so that opening a file asks for nothing but the file.
    places: Mutex<BTreeMap<u64, Place>>,
}

impl MlflowSource {
    /// The model at `uri`. `roles` says what aliases mean for `models:/name`; the other forms name their one version
    /// themselves.
    #[must_use]
    pub fn new(client: Arc<MlflowClient>, uri: ModelUri, roles: BTreeMap<String, RoleKind>) -> Self {
        Self { client, stores: Arc::default(), uri, roles, places: Mutex::default() }
    }

    /// The same, with artifacts of object stores read from these; without, by what the environment says of them.
    #[must_use]
    pub fn with_stores(self, stores: Arc<Stores>) -> Self {
        Self { stores, ..self }
    }

    async fn ask_offer(&self) -> Result<Offer, SourceError> {
        let version = match &self.uri {
            ModelUri::Model { name } => return self.offer_of_aliases(name).await,
            ModelUri::Logged { id } => return self.offer_of_logged(id).await,
            ModelUri::Alias { name, alias } => self.client.version_of_alias(name, alias).await?,
            ModelUri::Version { name, version } => self.client.version(name, *version).await?,
        };
        let roles = Roles { stable: Some(version.version), ..Roles::default() };
        let aliases = version.aliases.clone();
        Ok(Offer {
            versions: BTreeMap::from([(version.version, self.lineage(version, aliases)?)]),
            roles,
            ..Offer::default()
        })
    }

    async fn offer_of_aliases(&self, name: &str) -> Result<Offer, SourceError> {
        let model = self.client.registered_model(name).await?;
        let mut roles = self.roles_of(&model)?;
        let (mut versions, mut problems) = (BTreeMap::new(), Vec::new());
        for number in roles.named().collect::<Vec<_>>() {
            let named = model.aliases.iter().filter(|alias| alias.version == number);
            let aliases = named.map(|alias| alias.alias.clone()).collect();
            let version = self.client.version(name, number).await;
            match version.and_then(|version| self.lineage(version, aliases)) {
                Ok(lineage) => drop(versions.insert(number, lineage)),
                Err(error) if error.may_pass() => return Err(error),
                // It is not wanted as it is, which keeps no other version from being followed.
                Err(error) => {
                    problems.push(format!("version {number}: {error}"));
                    roles = roles.only(|version| version != number);
                }
            }
        }
        Ok(Offer { versions, roles, problems, ..Offer::default() })
    }

    async fn offer_of_logged(&self, id: &str) -> Result<Offer, SourceError> {
        let model = self.client.logged_model(id).await?;
        let run_id = Some(model.source_run_id).filter(|run| !run.is_empty());
        let lineage = Lineage { source: model.artifact_uri, run_id, tags: tag_map(model.tags), ..Lineage::default() };
        let roles = Roles { stable: Some(LOGGED_VERSION), ..Roles::default() };
        Ok(Offer { versions: BTreeMap::from([(LOGGED_VERSION, lineage)]), roles, ..Offer::default() })
    }

    fn roles_of(&self, model: &RegisteredModel) -> Result<Roles, SourceError> {
        if model.tags.iter().any(|tag| tag.key == IS_PROMPT && tag.value == "true") {
            return Err(self.unexpected(format!("expected a model, found that {} is a prompt", self.uri)));
        }
        let aliases = model.aliases.iter().map(|alias| (alias.alias.as_str(), alias.version));
        roles::assign(aliases, &self.roles).map_err(|reason| self.unexpected(reason))
    }

    fn lineage(&self, version: ModelVersion, mut aliases: Vec<String>) -> Result<Lineage, SourceError> {
        if !matches!(version.status.as_str(), "" | "READY") {
            let (number, status) = (version.version, version.status);
            return Err(self.unexpected(format!("expected a version that is READY, found {number} to be {status}")));
        }
        aliases.sort();
        let run_id = Some(version.run_id).filter(|run| !run.is_empty());
        let tags = tag_map(version.tags);
        let made = (&version.source, &run_id, version.creation_timestamp);
        let identity = Some(Digest::of(format!("{made:?}").as_bytes()));
        let registered_at = version.creation_timestamp;
        Ok(Lineage { source: version.source, run_id, aliases, tags, identity, registered_at })
    }

    fn unexpected(&self, reason: String) -> SourceError {
        SourceError::Unexpected { place: self.client.origin(), reason }
    }

    async fn resolve(&self, version: u64) -> Result<Place, SourceError> {
        let address = match &self.uri {
            ModelUri::Logged { id } => self.client.logged_model(id).await?.artifact_uri,
            ModelUri::Model { name } | ModelUri::Alias { name, .. } | ModelUri::Version { name, .. } => {
                self.client.download_uri(name, version).await?
            }
        };
        let place = Place::resolve(&self.client, address).await?;
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if places.len() >= MOST_PLACES {
            places.clear();
        }
        places.insert(version, place.clone());
        Ok(place)
    }
}

impl Source for MlflowSource {
    fn place(&self) -> String {
        // Whichever way a version of a registered model is named, it is the same version.
        let model = match &self.uri {
            ModelUri::Model { name } | ModelUri::Alias { name, .. } | ModelUri::Version { name, .. } => name,
            ModelUri::Logged { id } => id,
        };
        format!("models:/{model} of {}", self.client.url(&[], &[]))
    }

    fn offer(&self) -> Asked<'_, Offer> {
        Box::pin(self.ask_offer())
    }

    fn files(&self, version: u64) -> Asked<'_, Vec<RemoteFile>> {
        Box::pin(async move { self.resolve(version).await?.files(&self.client, &self.stores).await })
    }

    fn open<'a>(&'a self, version: u64, file: &'a RemoteFile, start: u64) -> Asked<'a, Box<dyn RemoteBytes>> {
        Box::pin(async move {
            let known = self.places.lock().unwrap_or_else(PoisonError::into_inner).get(&version).cloned();
            let place = match known {
                Some(place) => place,
                None => self.resolve(version).await?,
            };
            open::open((&self.client, &self.stores), &place, file, start).await
        })
    }
}
