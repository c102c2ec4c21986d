//! What is live, as one immutable value behind one swap cell.
//!
//! A request loads the cell once, finds its model, and clones one `Arc<Model>`; it never sees two states and never
//! holds the snapshot while it waits. Everything a request needs is worked out when a snapshot is published.
//!
//! Invariant: the cell is written by the publisher alone, and every snapshot is whole: each arm of each split is loaded.

use super::{Mirror, Model, Quarantined, Roles, TritonConfig};
use crate::config::ModelSettings;
use crate::error::{Blamed, Fault};
use crate::observe::trial::Trial;
use crate::route::{Arm, ArmRole, Split};
use arc_swap::ArcSwap;
use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU32;
use std::sync::Arc;

/// The cell that holds what is live.
#[derive(Debug)]
pub struct Catalog {
    cell: ArcSwap<Snapshot>,
}

/// Everything that is live at one moment.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Grows by one with every publication.
    pub generation: u64,
    /// Every model that is or was in the repository, by name.
    pub models: HashMap<String, Arc<Entry>>,
    /// Whether every model of the repository has been tried once.
    pub settled: bool,
}

/// One model: its versions and how traffic is split among them.
#[derive(Debug)]
pub struct Entry {
    /// The model's name.
    pub name: String,
    /// How it is watched.
    pub settings: Arc<ModelSettings>,
    /// What its `config.pbtxt` says, or said when it could last be read.
    pub config: Arc<TritonConfig>,
    /// Why its `config.pbtxt` cannot be read.
    pub config_error: Option<String>,
    /// The versions that serve and their shares; nothing while no version is loaded.
    pub serving: Option<Serving>,
    /// Every loaded version, also those without a share.
    pub loaded: BTreeMap<u64, Arc<Model>>,
    /// Every version that is known, by what became of it.
    pub versions: BTreeMap<u64, VersionStatus>,
    /// Whether the split was set by somebody, or follows the version policy.
    pub explicit: bool,
    /// Identifies the files of every version that is on disk.
    pub fingerprints: BTreeMap<u64, u64>,
    /// Unix milliseconds when versions that are on disk were registered, of those of which it is known.
    pub registered_at: BTreeMap<u64, u64>,
    /// The rollout that owns the weights, if one does.
    pub hold: Option<String>,
    /// What its registry wants of its versions; nothing for a model of a directory.
    pub roles: Option<Roles>,
    /// The version that is to be rolled out next, if one is: another than the stable one, on disk or loaded.
    pub target: Option<u64>,
    /// How often the stable version changed.
    pub swaps: u64,
}

/// The live split and its loaded arms.
#[derive(Debug)]
pub struct Serving {
    /// The shares.
    pub split: Split,
    /// The arms in the split's order.
    pub arms: Vec<Arc<Model>>,
    /// What a rollout counts both arms in, if one does.
    pub trial: Option<Arc<Trial>>,
    /// Where copies of the stable version's requests go, if they are copied.
    pub mirror: Option<Arc<Mirror>>,
}

/// What became of a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VersionStatus {
    /// On disk, not asked for.
    OnDisk,
    /// Named by a split or by the version policy, but neither on disk nor loaded.
    Missing,
    /// Its files are still changing.
    Settling,
    /// Being loaded.
    Loading,
    /// Loaded.
    Loaded {
        /// What is to be said of it: its files are gone, or were replaced by ones that are refused, or it may not follow
        /// the stable version by itself.
        note: Option<String>,
        /// Which bytes are held that replaced its files, if they were refused for what they are.
        quarantined: Option<Quarantined>,
    },
    /// Could not be loaded, and why.
    Failed {
        /// The reason, for people.
        reason: String,
        /// Which bytes are held for it, if any are.
        quarantined: Option<Quarantined>,
    },
}

/// Where a request goes.
#[derive(Debug)]
pub struct Picked {
    /// The version that serves it.
    pub model: Arc<Model>,
    /// How it was chosen.
    pub arm: ArmLabel,
    /// The most rows that it may have, if that is limited.
    pub max_batch_size: Option<NonZeroU32>,
    /// Whether its values are counted.
    pub is_monitored: bool,
    /// What a rollout counts it in, if one does; never a request that named its version.
    pub trial: Option<Arc<Trial>>,
    /// Where a copy goes once it is answered, if it is drawn: of the stable version alone, and of nobody who named it.
    pub mirror: Option<Arc<Mirror>>,
}

/// How a request came to its version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArmLabel {
    /// By the split, to the version with the largest share.
    Stable,
    /// By the split, to another version.
    Canary,
    /// The request named the version.
    Pinned,
}

/// Why no version can serve a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CatalogError {
    /// No model of that name.
    #[error("unknown model \"{name}\"; this server has {known}")]
    UnknownModel {
        /// The name that came.
        name: String,
        /// The names there are.
        known: String,
    },
    /// The model is known, but that version is not loaded.
    #[error("version {version} of model \"{name}\" is not loaded; loaded: {loaded}")]
    VersionNotLoaded {
        /// The model.
        name: String,
        /// The version that came, as text.
        version: String,
        /// The loaded ones.
        loaded: String,
    },
    /// The model is known, but no version of it serves.
    #[error("model \"{name}\" is not ready: {reason}")]
    NotReady {
        /// The model.
        name: String,
        /// What is wrong with its versions.
        reason: String,
    },
}

impl Blamed for CatalogError {
    fn fault(&self) -> Fault {
        match self {
            Self::UnknownModel { .. } | Self::VersionNotLoaded { .. } => Fault::NotFound,
            Self::NotReady { .. } => Fault::Unavailable,
        }
    }
}

/// Names that an error lists at most; a caller who misspelt one of a thousand wants no page of them.
const LISTED_NAMES: usize = 20;
/// A name that came is quoted in errors up to this many characters.
const QUOTED_NAME: usize = 200;

impl ArmLabel {
    /// All of them, in index order.
    pub const ALL: [Self; 3] = [Self::Stable, Self::Canary, Self::Pinned];

    /// Its name in headers and labels.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Stable => "stable",
            Self::Canary => "canary",
            Self::Pinned => "pinned",
        }
    }
}

impl Catalog {
    pub(super) fn new() -> Self {
        Self { cell: ArcSwap::from_pointee(Snapshot::default()) }
    }

    /// What is live now. For the request path prefer [`Catalog::find`].
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.cell.load_full()
    }

    /// Applies `choose` to the live entry of a model; the snapshot is let go before this returns.
    ///
    /// # Errors
    /// [`CatalogError::UnknownModel`], or what `choose` says.
    pub fn find<T>(
        &self,
        name: &str,
        choose: impl FnOnce(&Entry) -> Result<T, CatalogError>,
    ) -> Result<T, CatalogError> {
        let snapshot = self.cell.load();
        match snapshot.models.get(name) {
            Some(entry) => choose(entry),
            None => {
                let name = name.chars().take(QUOTED_NAME).collect();
                Err(CatalogError::UnknownModel { name, known: snapshot.known_names() })
            }
        }
    }

    pub(super) fn publish(&self, snapshot: Snapshot) -> Arc<Snapshot> {
        self.cell.swap(Arc::new(snapshot))
    }
}

impl Snapshot {
    /// Whether the process should get traffic: the first pass is over and at least one model serves. A model that
    /// served once keeps serving from memory, so no later change can take this back.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.settled && self.models.values().any(|entry| entry.serving.is_some())
    }

    /// Every model's name, sorted.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.models.keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }

    fn known_names(&self) -> String {
        let names = self.names();
        match names.len() {
            0 => "no models".to_owned(),
            count if count > LISTED_NAMES => {
                format!("{} and {} more", names[..LISTED_NAMES].join(", "), count - LISTED_NAMES)
            }
            _ => names.join(", "),
        }
    }
}

impl Entry {
    /// The version that `point` of the split falls on.
    ///
    /// # Errors
    /// [`CatalogError::NotReady`] while no version is loaded.
    pub fn pick(&self, point: u16) -> Result<Picked, CatalogError> {
        let serving = self.serving.as_ref().ok_or_else(|| self.not_ready())?;
        let index = serving.split.pick(point);
        let arm = match serving.split.arms()[index].role {
            ArmRole::Stable => ArmLabel::Stable,
            ArmRole::Canary => ArmLabel::Canary,
        };
        let mirror = serving.mirror.as_ref().filter(|_| arm == ArmLabel::Stable).cloned();
        Ok(Picked { trial: serving.trial.clone(), mirror, ..self.picked(&serving.arms[index], arm) })
    }

    /// The version that a request named.
    ///
    /// # Errors
    /// [`CatalogError::VersionNotLoaded`] with the loaded ones.
    pub fn pinned(&self, version: &str) -> Result<Picked, CatalogError> {
        let canonical = version.parse().ok().filter(|number: &u64| number.to_string() == version);
        let loaded = canonical.and_then(|number| self.loaded.get(&number));
        match loaded {
            Some(model) => Ok(self.picked(model, ArmLabel::Pinned)),
            None => Err(CatalogError::VersionNotLoaded {
                name: self.name.clone(),
                version: version.chars().take(LISTED_NAMES).collect(),
                loaded: self.loaded_versions(),
            }),
        }
    }

    /// The stable version, if any serves.
    #[must_use]
    pub fn stable(&self) -> Option<&Arc<Model>> {
        let serving = self.serving.as_ref()?;
        let index = serving.split.arms().iter().position(|arm| arm.role == ArmRole::Stable)?;
        serving.arms.get(index)
    }

    /// Whether a loaded version may get the stable one's traffic; nothing is said of versions that are not loaded.
    ///
    /// # Errors
    /// What its clients would notice, for people.
    pub fn can_stand_in(&self, version: u64) -> Result<(), String> {
        let pair = self.stable().zip(self.loaded.get(&version)).filter(|_| !self.settings.allow_signature_change);
        pair.map_or(Ok(()), |(stable, model)| model.signature().can_replace(stable.signature()))
    }

    /// Whether a version's files may not go: it is loaded or being loaded, or the settings' split names it.
    #[must_use]
    pub fn needs(&self, version: u64) -> bool {
        self.loaded.contains_key(&version)
            || self.versions.get(&version) == Some(&VersionStatus::Loading)
            || self.settings.split.as_ref().is_some_and(|split| split.contains_key(&version))
    }

    /// A version's share of the live split, if it has one.
    #[must_use]
    pub fn arm_of(&self, version: u64) -> Option<&Arm> {
        self.serving.as_ref()?.split.arms().iter().find(|arm| arm.version == version)
    }

    /// Why no version serves.
    #[must_use]
    pub fn not_ready(&self) -> CatalogError {
        if let Some(reason) = &self.config_error {
            return CatalogError::NotReady { name: self.name.clone(), reason: reason.clone() };
        }
        let reasons: Vec<String> = self
            .versions
            .iter()
            .map(|(version, status)| match status {
                VersionStatus::Failed { reason, .. } => format!("version {version}: {reason}"),
                VersionStatus::Loading | VersionStatus::Settling => format!("version {version} is being loaded"),
                VersionStatus::Missing => {
                    format!("version {version}, named by the split or by config.pbtxt, is not in the repository")
                }
                VersionStatus::OnDisk | VersionStatus::Loaded { .. } => format!("version {version} has no traffic"),
            })
            .collect();
        let reason = if reasons.is_empty() { "it has no versions".to_owned() } else { reasons.join("; ") };
        CatalogError::NotReady { name: self.name.clone(), reason }
    }

    fn picked(&self, model: &Arc<Model>, arm: ArmLabel) -> Picked {
        let (max_batch_size, is_monitored) = (self.config.max_batch_size, self.settings.monitoring);
        Picked { model: Arc::clone(model), arm, max_batch_size, is_monitored, trial: None, mirror: None }
    }

    fn loaded_versions(&self) -> String {
        let versions: Vec<String> = self.loaded.keys().map(u64::to_string).collect();
        if versions.is_empty() { "none".to_owned() } else { versions.join(", ") }
    }
}
