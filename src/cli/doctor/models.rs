//! The engines, and the model directories: whether they are laid out as they must be, and whether every version loads.
//!
//! Loading is the only true check, so that it is made, in the gateway's own way, within limits of number and time.
//!
//! Invariant: a version that is loaded is unloaded before the next one is.

use super::Look;
use super::finding::Finding;
use super::layout::{REPOSITORY, misplaced};
use crate::app::cache_path;
use crate::catalog::{Listing, LoadOrder, Predecessor, PresentModel};
use crate::config::EngineChoice;
use crate::engine::{CandidateOutcome, EngineError, Engines, LoadOptions, RuntimeSearch};
use crate::registry::load::Loader;
use crate::registry::staging::Cache;
use crate::registry::{MODEL_FILE, directory, memory};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// The most versions that are loaded.
const MOST_LOADED: usize = 64;
/// No version is begun to be loaded after that.
const PATIENCE: Duration = Duration::from_secs(120);

/// Looks for engines.
pub(super) fn check_engines(look: &mut Look<'_>) -> Arc<Engines> {
    const CHECK: &str = "engine";
    let configured = look.config.engine.onnxruntime.clone();
    let engines = Engines::discover(&RuntimeSearch::from_environment(configured.clone()));
    let is_broken =
        |outcome: &CandidateOutcome| !matches!(outcome, CandidateOutcome::Used | CandidateOutcome::NotNeeded);
    let passed_over = engines.report().iter().filter(|report| is_broken(&report.outcome));
    let passed_over: String = passed_over.map(|report| format!("\npassed over: {report}")).collect();
    let install =
        "install ONNX Runtime (pip install onnxruntime), or set engine.onnxruntime or ORT_DYLIB_PATH to libonnxruntime";
    let wants = |engine| look.config.models.iter().find(|(_, settings)| settings.engine == engine);
    let finding = match engines.onnx_runtime() {
        Some(info) => {
            let found = format!("ONNX Runtime {} at {}, and tract{passed_over}", info.version, info.path.display());
            if configured.is_some_and(|path| !is_within(&info.path, &path)) {
                let remedy = "set engine.onnxruntime to a library that can be used, or do not set it";
                Finding::warning(CHECK, found, remedy).expected("the library that engine.onnxruntime names")
            } else {
                Finding::ok(CHECK, found)
            }
        }
        None => {
            let found = format!("ONNX Runtime was not found; models run on the embedded engine, tract{passed_over}");
            match wants(EngineChoice::OnnxRuntime) {
                Some((model, _)) => {
                    let expected = format!("ONNX Runtime, which models.{model}.engine demands");
                    Finding::problem(CHECK, found, install).expected(expected)
                }
                None if configured.is_some() || !passed_over.is_empty() => Finding::warning(CHECK, found, install),
                None => Finding::ok(CHECK, found),
            }
        }
    };
    look.note(finding);
    Arc::new(engines)
}

/// Looks at the repository and at what was fetched, and loads every version.
pub(super) fn check(look: &mut Look<'_>, engines: &Arc<Engines>) {
    let repository = look.config.repository.path.clone();
    let fetched = Cache::view_of(&cache_path(look.config));
    let mut loads = Loads { engines, started: Instant::now(), loaded: 0, fetched: fetched.clone() };
    if let Some(listing) = list_repository(look, &repository) {
        misplaced(&repository).into_iter().for_each(|finding| look.note(finding));
        let of_repository = |model: &str| look.config.model(model).source.is_none();
        let own = listing.into_iter().filter(|(model, _)| of_repository(model)).collect();
        loads.check(look, &own);
    }
    if let Ok(listing) = directory::list(&fetched, &Listing::new(), SystemTime::now()) {
        let is_sourced = |model: &str| look.config.model(model).source.is_some();
        let own = listing.into_iter().filter(|(model, _)| is_sourced(model)).collect();
        loads.check(look, &own);
    }
}

fn list_repository(look: &mut Look<'_>, path: &Path) -> Option<Listing> {
    let shown = path.display();
    let remedy =
        "put models there as <model>/<version>/model.onnx, or set repository.path (--models) to where they are";
    let listing = match directory::list(path, &Listing::new(), SystemTime::now()) {
        Ok(listing) => listing,
        // Who takes all models from a registry needs no directory.
        Err(error) if look.config.models.values().any(|model| model.source.is_some()) => {
            look.note(Finding::warning(
                REPOSITORY,
                error.to_string(),
                format!("leave it if no model is there; else {remedy}"),
            ));
            return None;
        }
        Err(error) => {
            look.note(Finding::problem(REPOSITORY, error.to_string(), remedy));
            return None;
        }
    };
    let versions: usize = listing.values().map(|model| model.versions.len()).sum();
    look.note(if versions == 0 {
        Finding::warning(REPOSITORY, format!("{shown} holds no version of any model"), remedy)
    } else {
        Finding::ok(REPOSITORY, format!("{shown} holds {} models, {versions} versions", listing.len()))
    });
    for (model, settings) in &look.config.models {
        if settings.source.is_none() && !listing.contains_key(model) {
            let found = format!("models.{model} has settings, and {shown} has no such model");
            look.note(Finding::warning(
                REPOSITORY,
                found,
                format!("correct the name in [models.{model}], or put the model there"),
            ));
        }
    }
    Some(listing)
}

/// What is left of the limits.
struct Loads<'a> {
    engines: &'a Arc<Engines>,
    started: Instant,
    loaded: usize,
    fetched: std::path::PathBuf,
}

impl Loads<'_> {
    fn check(&mut self, look: &mut Look<'_>, listing: &Listing) {
        for (model, present) in listing {
            if let Err(reason) = &present.config.says {
                let found = format!("its config.pbtxt is not understood: {reason}");
                look.note(Finding::problem(
                    format!("model {model}"),
                    found,
                    "mend the file; until then the model stays as it is",
                ));
            }
            for version in present.versions.keys().rev() {
                let finding = self.check_version(look, (model, *version), present);
                look.note(finding);
            }
        }
    }

    fn check_version(&mut self, look: &Look<'_>, (model, version): (&str, u64), present: &PresentModel) -> Finding {
        let check = format!("model {model}/{version}");
        if look.args.no_load {
            return Finding::skipped(check, "--no-load");
        }
        if self.loaded == MOST_LOADED || self.started.elapsed() > PATIENCE {
            let why =
                format!("{} versions were loaded before it, in {} s", self.loaded, self.started.elapsed().as_secs());
            return Finding::skipped(check, why);
        }
        self.loaded += 1;
        let order = LoadOrder {
            model: model.to_owned(),
            version,
            fingerprint: present.versions[&version].fingerprint,
            settings: Arc::new(look.config.model(model)),
            config: present.config.says.clone().unwrap_or_default(),
            memory_in_use: 0,
            predecessor: Predecessor::Nobody,
        };
        self.load(look, check, &order)
    }

    fn load(&self, look: &Look<'_>, check: String, order: &LoadOrder) -> Finding {
        let loader = self.loader(look);
        let loaded = match loader.load(order) {
            Ok(loaded) => loaded,
            Err(failure) => {
                let remedy = "mend or replace the version, or run it on the other engine (models.<name>.engine); the \
                              gateway goes on serving what it served";
                return Finding::problem(check, failure.reason, remedy);
            }
        };
        let root = if order.settings.source.is_some() { &loader.fetched } else { &loader.repository };
        let path = root.join(&order.model).join(order.version.to_string());
        let needs = self.needs_runtime(loaded.engine_name(), &path.join(MODEL_FILE)).unwrap_or_default();
        let milliseconds = loaded.facts.load_time.as_millis();
        let found = format!("loads on {} in {milliseconds} ms{needs}", loaded.engine_name());
        match &loaded.profile {
            Ok(_) => Finding::ok(check, found),
            Err(_) if !path.join(crate::registry::PROFILE_FILE).exists() => {
                Finding::ok(check, format!("{found}; without a profile.json a reference is learned from traffic"))
            }
            Err(reason) => {
                let remedy = "write it anew: tidegate profile --model <directory> --data <training rows>";
                Finding::warning(check, format!("{found}, without drift judgement: {reason}"), remedy)
            }
        }
    }

    fn loader(&self, look: &Look<'_>) -> Loader {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Loader {
            repository: look.config.repository.path.clone(),
            fetched: self.fetched.clone(),
            engines: Arc::clone(self.engines),
            workers: look.config.server.worker_count(cores),
            executor: Arc::default(),
            quarantine: Arc::default(),
            memory_budget: look.config.repository.memory_budget.unwrap_or_else(memory::default_budget),
        }
    }

    /// Why a model that ONNX Runtime runs could not be run without it.
    fn needs_runtime(&self, engine: &str, path: &Path) -> Option<String> {
        if engine != "onnxruntime" {
            return None;
        }
        match self.engines.load(path, EngineChoice::Tract, &LoadOptions::default()) {
            Ok(_) => None,
            Err(EngineError::UnsupportedOperators { operators, .. }) => {
                Some(format!("; it needs ONNX Runtime, tract does not have {operators}"))
            }
            Err(EngineError::OperatorFailed { operator, .. }) => {
                Some(format!("; it needs ONNX Runtime, tract cannot use {operator}"))
            }
            Err(_) => Some("; it needs ONNX Runtime, tract cannot load it".to_owned()),
        }
    }
}

/// Whether a library is the one that is named, or in the folder that is.
fn is_within(library: &Path, named: &Path) -> bool {
    fs::canonicalize(named).is_ok_and(|named| library.starts_with(named))
}
