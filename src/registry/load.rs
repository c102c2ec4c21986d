//! One version directory into a warm model.
//!
//! Fetch, check memory, load, open an instance for every worker, warm each of them: all of it off the workers, before
//! anybody is told that the version exists. A profile that does not fit costs the version its drift judgement, never its
//! traffic.
//!
//! Invariant: what comes back has answered on every instance, and its files did not change while they were read.

use super::directory::fingerprint;
use super::mlflow::{MlModel, SessionOptions};
use super::place::{self, Plan};
use super::quarantine::{self, Quarantine};
use super::session::sessions;
use super::staging::digest_of;
use super::trial::Trial;
use super::walk::files_below;
use super::{MLMODEL_FILE, MODEL_FILE, PROFILE_FILE, RegistryError, beside, manifest, memory, misfit};
use crate::catalog::{LoadFacts, LoadFailure, LoadOrder, Model, ModelParts, Quarantined};
use crate::config::EngineChoice;
use crate::engine::{Engines, Executor, LoadOptions, LoadedGraph};
use crate::observe::Recorder;
use crate::profile::Profile;
use crate::store::QuarantineRow;
use crate::tensor::Signature;
use std::fs;
use std::num::NonZeroUsize;
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
    /// Bytes that were refused before.
    pub quarantine: Arc<Quarantine>,
}

impl Loader {
    /// Loads what `order` names; blocks for as long as it takes. Bytes that were refused before are not loaded again.
    ///
    /// # Errors
    /// Why the version cannot serve, for people.
    pub fn load(&self, order: &LoadOrder) -> Result<Arc<Model>, LoadFailure> {
        let (directory, engine) = (self.directory(order), self.engine_for(order));
        if let Some(failure) = self.recall(&directory, order, &engine) {
            return Err(failure);
        }
        self.try_load(&directory, order).map(Arc::new).map_err(|error| {
            let failure = LoadFailure {
                until_memory_is_freed: matches!(error, RegistryError::OverMemoryBudget { .. }),
                // Clients read the reason too, and where the repository lies is none of their business.
                reason: error.to_string().replace(&format!("{}/", directory.display()), ""),
                may_pass: error.may_pass(),
                quarantined: None,
            };
            let (refused_by, instead_of) = match &error {
                RegistryError::Misfit(misfit) => (misfit.refused_by.clone(), Some(misfit.instead_of)),
                _ => (engine, None),
            };
            if !error.is_of_the_bytes() {
                return failure;
            }
            self.quarantine(&directory, order, (failure, refused_by, instead_of))
        })
    }

    fn directory(&self, order: &LoadOrder) -> PathBuf {
        let root = if order.settings.source.is_some() { &self.fetched } else { &self.repository };
        root.join(&order.model).join(order.version.to_string())
    }

    /// What loads a version here, as far as the outcome depends on it.
    fn engine_for(&self, order: &LoadOrder) -> String {
        let choice = match order.settings.engine {
            EngineChoice::Auto => "auto",
            EngineChoice::Tract => "tract",
            EngineChoice::OnnxRuntime => "onnxruntime",
        };
        let runtime = self.engines.onnx_runtime().filter(|_| order.settings.engine != EngineChoice::Tract);
        let runtime = runtime.map_or("none".to_owned(), |info| info.version.to_string());
        let rows = order.config.max_batch_size.map_or("any".to_owned(), |limit| limit.to_string());
        format!("tidegate {}, engine {choice}, ONNX Runtime {runtime}, rows {rows}", env!("CARGO_PKG_VERSION"))
    }

    /// Why these bytes were refused before, if they were.
    fn recall(&self, directory: &Path, order: &LoadOrder, engine: &str) -> Option<LoadFailure> {
        if !self.quarantine.concerns(&order.model) {
            return None;
        }
        let digest = digest_of(directory).ok()?;
        let still_holds = |row: &QuarantineRow| match row.instead_of {
            Some(version) => misfit::still_holds(row, version, &order.predecessor),
            None => row.engine == engine,
        };
        let failure = quarantine::failure(self.quarantine.find(&order.model, &digest, still_holds)?);
        let (model, version) = (&order.model, order.version);
        tracing::warn!(model, version, %digest, "these bytes were refused before and are not loaded again");
        Some(failure)
    }

    /// Holds the bytes that were refused, if they are still those that were loaded.
    fn quarantine(
        &self,
        directory: &Path,
        order: &LoadOrder,
        (failure, engine, instead_of): (LoadFailure, String, Option<u64>),
    ) -> LoadFailure {
        let digest = match digest_of(directory) {
            Ok(digest) if is_unchanged(directory, order) => digest,
            _ => return failure,
        };
        let since = quarantine::to_the_second(SystemTime::now());
        let digest = digest.as_str().to_owned();
        let failure = LoadFailure { quarantined: Some(Quarantined { digest, engine, since, instead_of }), ..failure };
        quarantine::row(order, &failure).into_iter().for_each(|row| self.quarantine.hold(row));
        failure
    }

    fn try_load(&self, directory: &Path, order: &LoadOrder) -> Result<Model, RegistryError> {
        let started = Instant::now();
        let memory = self.check_memory(directory, order)?;
        if order.settings.source.is_none() {
            // What was fetched was compared with what its source said of it then.
            check_manifest(directory)?;
        }
        let described = read_mlmodel(directory);
        let options = session_options(described.as_ref());
        let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let sessions = sessions(&options, &order.settings.execution, cores);
        let path = directory.join(MODEL_FILE);
        // Fetched files are links to blobs of the cache, which are never written to.
        let files_are_sealed = order.settings.source.is_some();
        let load =
            |options| self.engines.load(&path, order.settings.engine, &LoadOptions { files_are_sealed, ..options });
        let graph = load(sessions.on_workers)?;
        warn_of_unused_options(order, &graph, &options);
        if let Some(registered) = described.as_ref().and_then(|described| described.signature.as_ref()) {
            registered.check(graph.signature()).map_err(RegistryError::NotAsRegistered)?;
        }
        misfit::compare(order, graph.signature()).map_err(RegistryError::Misfit)?;
        let profile = read_profile(directory, graph.signature());
        if let Err(reason) = &profile {
            tracing::warn!(model = order.model, version = order.version, reason, "serving without drift judgement");
        }
        let trial = Trial::read(directory, graph.signature(), profile.as_ref().ok(), order.config.max_batch_size)?;
        let trial = Arc::new(trial);
        let plan = Plan { graph, load: &load, sessions, trial: Arc::clone(&trial) };
        let placed = place::place(plan, order, (self.workers, &self.executor))?;
        let graph = placed.graph;
        for warning in &placed.warnings {
            tracing::warn!(model = order.model, version = order.version, warning, "a version answers oddly");
        }
        let recorder = self.recorder(order, &graph, profile.as_ref().ok());
        if !is_unchanged(directory, order) {
            return Err(RegistryError::Changed);
        }
        let load_time = started.elapsed();
        tracing::info!(
            model = order.model,
            version = order.version,
            engine = graph.engine_name(),
            milliseconds = load_time.as_millis(),
            "version loaded and warm"
        );
        let (fingerprint, loaded_at, warnings) = (order.fingerprint, SystemTime::now(), placed.warnings);
        let facts = LoadFacts { fingerprint, memory, load_time, loaded_at, warmed_on: trial.of(), warnings };
        let (name, version) = (order.model.clone(), order.version);
        let (instances, placement) = (placed.instances, Some(placed.placement));
        Ok(Model::new(ModelParts { name, version, graph, instances, placement, recorder, profile, facts }))
    }

    /// What records a version's traffic.
    fn recorder(&self, order: &LoadOrder, graph: &LoadedGraph, profile: Option<&Profile>) -> Recorder {
        let max_features = order.settings.drift.max_features;
        let mut recorder = Recorder::new(graph.signature(), profile, max_features, self.workers);
        divide(order, profile, &mut recorder);
        warn_of_unknown_critical(order, &recorder);
        warn_of_unused_profile(order, profile, &recorder);
        recorder
    }

    fn check_memory(&self, directory: &Path, order: &LoadOrder) -> Result<u64, RegistryError> {
        let file_bytes = size_of_files(directory)?;
        let with_runtime = self.engines.onnx_runtime().is_some();
        // A session for each worker, and the first of the lane; further ones of the lane are opened when calls wait.
        let mut needed = memory::reckon(file_bytes, self.workers + 1, !with_runtime);
        if with_runtime && order.settings.source.is_none() {
            // Weights beside the graph are kept in memory, sessions have copies of their own.
            let graph = fs::metadata(directory.join(MODEL_FILE)).map_or(0, |graph| graph.len());
            needed = needed.saturating_add(file_bytes.saturating_sub(graph));
        }
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
    let text = beside::read(directory, PROFILE_FILE, PROFILE_LIMIT);
    let text = text.map_err(|error| format!("{PROFILE_FILE}: {error}"))?;
    let text = text.ok_or_else(|| format!("there is no {PROFILE_FILE} beside the model"))?;
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

/// What MLflow wrote beside the graph, if it did. A description that cannot be read is not held against the graph:
/// other tools write MLmodel files too, and the graph says itself what it takes.
fn read_mlmodel(directory: &Path) -> Option<MlModel> {
    let text = beside::read(directory, MLMODEL_FILE, MLMODEL_LIMIT).map_err(|error| error.to_string());
    let read =
        text.and_then(|text| text.map(|text| MlModel::parse(&text).map_err(|error| error.to_string())).transpose());
    read.unwrap_or_else(|reason| {
        let path = directory.join(MLMODEL_FILE);
        tracing::warn!(path = %path.display(), reason, "an MLmodel file cannot be read; the graph is not compared with it");
        None
    })
}

/// What it says of how sessions are made.
fn session_options(described: Option<&MlModel>) -> SessionOptions {
    let onnx = described.and_then(|described| described.onnx.as_ref());
    onnx.map(|onnx| onnx.session_options.clone()).unwrap_or_default()
}

fn warn_of_unused_options(order: &LoadOrder, graph: &LoadedGraph, options: &SessionOptions) {
    if *options != SessionOptions::default() && graph.engine_name() == "tract" {
        let (model, version) = (&order.model, order.version);
        tracing::info!(
            model,
            version,
            "the embedded engine has no session options; those of the MLmodel have no effect"
        );
    }
}

fn is_unchanged(directory: &Path, order: &LoadOrder) -> bool {
    matches!(fingerprint(directory), Ok(Some((now, _))) if now == order.fingerprint)
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
    let sizes = files_below(directory).map_err(unreadable)?.into_iter().filter_map(|file| Some(file.metadata?.len()));
    Ok(sizes.fold(0, u64::saturating_add))
}
