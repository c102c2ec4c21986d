//! One version directory into a warm model.
//!
//! Fetch, check memory, load, open an instance for every worker, warm each of them: all of it off the workers, before
//! anybody is told that the version exists. A profile that does not fit costs the version its drift judgement, never its
//! traffic.
//!
//! Invariant: what comes back has answered on every instance, and its files did not change while they were read.

use super::directory::fingerprint;
use super::mlflow::MlModel;
use super::{MLMODEL_FILE, MODEL_FILE, PROFILE_FILE, RegistryError, manifest, memory, place};
use crate::catalog::{LoadFacts, LoadFailure, LoadOrder, Model, ModelParts};
use crate::engine::{Engines, Executor};
use crate::observe::Recorder;
use crate::profile::Profile;
use crate::tensor::Signature;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// The largest profile that is read: 256 bins of 512 features are 4 MiB of text.
const PROFILE_LIMIT: u64 = 64 << 20;

/// The largest MLmodel file that is read.
const MLMODEL_LIMIT: u64 = 4 << 20;

/// Turns version directories into models.
#[derive(Debug, Clone)]
pub struct Loader {
    /// The repository's root.
    pub repository: PathBuf,
    /// The same for models that were fetched from a registry.
    pub fetched: PathBuf,
    /// What runs models here.
    pub engines: Arc<Engines>,
    /// Instances to open: one per worker.
    pub workers: usize,
    /// What runs calls that take long.
    pub executor: Arc<Executor>,
    /// What all loaded versions together may be reckoned to hold, bytes.
    pub memory_budget: u64,
}

impl Loader {
    /// Loads what `order` names; blocks for as long as it takes.
    ///
    /// # Errors
    /// Why the version cannot serve, for people.
    pub fn load(&self, order: &LoadOrder) -> Result<Arc<Model>, LoadFailure> {
        self.try_load(order).map(Arc::new).map_err(|error| LoadFailure {
            until_memory_is_freed: matches!(error, RegistryError::OverMemoryBudget { .. }),
            // Clients read the reason too, and where the repository lies is none of their business.
            reason: error.to_string().replace(&format!("{}/", self.directory(order).display()), ""),
        })
    }

    fn directory(&self, order: &LoadOrder) -> PathBuf {
        let root = if order.settings.source.is_some() { &self.fetched } else { &self.repository };
        root.join(&order.model).join(order.version.to_string())
    }

    fn try_load(&self, order: &LoadOrder) -> Result<Model, RegistryError> {
        let started = Instant::now();
        let directory = self.directory(order);
        let memory = self.check_memory(&directory, order)?;
        if order.settings.source.is_none() {
            // What was fetched was compared with what its source said of it then.
            check_manifest(&directory)?;
        }
        let path = directory.join(MODEL_FILE);
        let load = |options| self.engines.load(&path, order.settings.engine, &options);
        let placed = place::place(&load, order, (self.workers, &self.executor))?;
        let graph = placed.graph;
        check_mlmodel(&directory, graph.signature())?;
        let profile = read_profile(&directory, graph.signature());
        if let Err(reason) = &profile {
            tracing::warn!(model = order.model, version = order.version, reason, "serving without drift judgement");
        }
        let max_features = order.settings.drift.max_features;
        let mut recorder = Recorder::new(graph.signature(), profile.as_ref().ok(), max_features, self.workers);
        divide(order, profile.as_ref().ok(), &mut recorder);
        warn_of_unknown_critical(order, &recorder);
        warn_of_unused_profile(order, profile.as_ref().ok(), &recorder);
        match fingerprint(&directory) {
            Ok(Some((now, _))) if now == order.fingerprint => {}
            _ => return Err(RegistryError::Changed),
        }
        let load_time = started.elapsed();
        tracing::info!(
            model = order.model,
            version = order.version,
            engine = graph.engine_name(),
            milliseconds = load_time.as_millis(),
            "version loaded and warm"
        );
        let facts = LoadFacts { fingerprint: order.fingerprint, memory, load_time, loaded_at: SystemTime::now() };
        let (name, version) = (order.model.clone(), order.version);
        let (instances, placement) = (placed.instances, Some(placed.placement));
        Ok(Model::new(ModelParts { name, version, graph, instances, placement, recorder, profile, facts }))
    }

    fn check_memory(&self, directory: &Path, order: &LoadOrder) -> Result<u64, RegistryError> {
        let file_bytes = size_of_files(directory)?;
        let needed = memory::reckon(file_bytes, self.workers, self.engines.onnx_runtime().is_none());
        if order.memory_in_use.saturating_add(needed) <= self.memory_budget {
            return Ok(needed);
        }
        Err(RegistryError::OverMemoryBudget { needed, in_use: order.memory_in_use, budget: self.memory_budget })
    }
}

/// The profile beside a model, checked against what the model takes and gives.
///
/// # Errors
/// Why there is none, for people.
pub fn read_profile(directory: &Path, signature: &Signature) -> Result<Profile, String> {
    let path = directory.join(PROFILE_FILE);
    let file = fs::metadata(&path).map_err(|_absent| format!("there is no {PROFILE_FILE} beside the model"))?;
    if !file.is_file() {
        return Err(format!("{PROFILE_FILE} is no file"));
    }
    let size = file.len();
    if size > PROFILE_LIMIT {
        return Err(format!("{PROFILE_FILE} has {size} bytes, over the limit of {PROFILE_LIMIT}"));
    }
    let text = fs::read(&path).map_err(|error| format!("cannot read {PROFILE_FILE}: {error}"))?;
    let profile = Profile::from_json(&text).map_err(|error| format!("{PROFILE_FILE} is refused: {error}"))?;
    profile.check(signature).map_err(|error| format!("{PROFILE_FILE} does not fit the model: {error}"))?;
    Ok(profile)
}

/// Compares the files with their manifest, if they have one, which reads all of them.
fn check_manifest(directory: &Path) -> Result<(), RegistryError> {
    let unreadable = |cause| RegistryError::Unreadable { path: directory.to_owned(), cause };
    let Some(manifest) = manifest::read(directory).map_err(unreadable)? else { return Ok(()) };
    Ok(manifest?.prove(directory).map_err(unreadable)??)
}

/// Compares the graph with what MLflow wrote beside it, if it did. A description that cannot be read is not held against the
/// graph: other tools write MLmodel files too, and the graph says itself what it takes.
fn check_mlmodel(directory: &Path, signature: &Signature) -> Result<(), RegistryError> {
    let path = directory.join(MLMODEL_FILE);
    let Ok(size) = fs::metadata(&path).map(|file| file.len()) else { return Ok(()) };
    let read = if size > MLMODEL_LIMIT {
        Err(format!("it has {size} bytes, over the limit of {MLMODEL_LIMIT}"))
    } else {
        let text = fs::read(&path).map_err(|cause| RegistryError::Unreadable { path: path.clone(), cause })?;
        MlModel::parse(&text).map_err(|error| error.to_string())
    };
    match read.map(|model| model.signature) {
        Ok(Some(registered)) => registered.check(signature).map_err(RegistryError::NotAsRegistered),
        Ok(None) => Ok(()),
        Err(reason) => {
            tracing::warn!(path = %path.display(), reason, "an MLmodel file cannot be read; the graph is not compared with it");
            Ok(())
        }
    }
}

/// Divides rows into segments, if they are asked for and can be.
fn divide(order: &LoadOrder, profile: Option<&Profile>, recorder: &mut Recorder) {
    let Some(settings) = &order.settings.drift.segment else { return };
    if let Err(error) = recorder.divide(profile, settings) {
        let (model, version) = (&order.model, order.version);
        tracing::warn!(model, version, %error, "drift is not split into segments");
    }
}

fn warn_of_unknown_critical(order: &LoadOrder, recorder: &Recorder) {
    for name in &order.settings.drift.critical {
        if recorder.columns().iter().all(|column| column.name != *name) {
            let (model, version) = (&order.model, order.version);
            tracing::warn!(model, version, feature = name, "a feature that is marked critical does not exist");
        }
    }
}

/// A profile made with another limit on wide tensors has columns that nothing is recorded for.
fn warn_of_unused_profile(order: &LoadOrder, profile: Option<&Profile>, recorder: &Recorder) {
    let known = profile.map_or(0, |profile| profile.inputs.len() + profile.outputs.len());
    let used = recorder.columns().iter().filter(|column| column.reference.is_some()).count();
    if used < known {
        let (model, version) = (&order.model, order.version);
        tracing::warn!(
            model,
            version,
            known,
            used,
            "the profile has columns that are not recorded; was it made with another max_features?"
        );
    }
}

fn size_of_files(directory: &Path) -> Result<u64, RegistryError> {
    let unreadable = |cause| RegistryError::Unreadable { path: directory.to_owned(), cause };
    let mut total = 0_u64;
    for item in fs::read_dir(directory).map_err(unreadable)? {
        let size = item.and_then(|item| fs::metadata(item.path())).map_err(unreadable)?.len();
        total = total.saturating_add(size);
    }
    Ok(total)
}
