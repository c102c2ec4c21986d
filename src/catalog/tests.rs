//! The publisher's rule in memory: what is loaded, what becomes live, what is retired.

mod freezing;
mod holds;
mod mirrors;
mod policy;
mod replaced;
mod roles;
mod serving;

use super::*;
use crate::config::{Config, EngineChoice, ModelSettings};
use crate::engine::{Engines, LoadOptions, LoadedGraph, RuntimeSearch};
use crate::observe::Recorder;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

const BAKE: Duration = Duration::from_secs(100);

/// A publisher with the loader's part played by the test.
struct Stage {
    publisher: Publisher,
    retired: Receiver<Retired>,
    now: Duration,
    listing: Listing,
    /// The split of the configuration.
    configured: Option<BTreeMap<u64, u16>>,
}

fn graph(path: &str) -> LoadedGraph {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let engines = Engines::discover(&RuntimeSearch::default());
    engines.load(&path, EngineChoice::Tract, &LoadOptions::default()).unwrap()
}

fn settings(_name: &str) -> Arc<ModelSettings> {
    Arc::new(Config::default().model("m"))
}

fn model(version: u64, fingerprint: u64) -> Arc<Model> {
    model_of("models/churn/1/model.onnx", version, fingerprint)
}

fn model_of(path: &str, version: u64, fingerprint: u64) -> Arc<Model> {
    model_on(path, (version, fingerprint), 1)
}

/// A model for so many workers.
fn model_on(path: &str, (version, fingerprint): (u64, u64), workers: usize) -> Arc<Model> {
    let graph = graph(path);
    let recorder = Recorder::new(graph.signature(), None, 512, workers);
    let (load_time, loaded_at) = (Duration::ZERO, SystemTime::UNIX_EPOCH);
    let facts = LoadFacts { fingerprint, memory: 10, load_time, loaded_at, warmed_on: "zeros", warnings: Vec::new() };
    let instances = (0..workers).map(|_| graph.instance().unwrap()).collect();
    let profile = Err("none".to_owned());
    Arc::new(Model::new(ModelParts {
        name: "m".into(),
        version,
        graph,
        instances,
        placement: None,
        recorder,
        profile,
        facts,
    }))
}

impl Stage {
    fn new() -> Self {
        let (sender, retired) = sync_channel(10_000);
        let publisher = Publisher::new(sender, BAKE);
        Self { publisher, retired, now: Duration::ZERO, listing: Listing::new(), configured: None }
    }

    fn observe(&mut self) {
        let split = self.configured.clone();
        let with_split =
            |name: &str| Arc::new(ModelSettings { split: split.clone(), ..ModelSettings::clone(&settings(name)) });
        self.publisher.observe(&self.listing, with_split, self.now);
    }

    /// What is on disk: (version, fingerprint), all settled.
    fn disk(&mut self, versions: &[(u64, u64)]) {
        let present = |&(version, fingerprint): &(u64, u64)| {
            (version, Present { fingerprint, settled: true, ..Present::default() })
        };
        let config = self.listing.get("m").map(|model| model.config.clone()).unwrap_or_default();
        let versions = versions.iter().map(present).collect();
        let roles = self.listing.get("m").and_then(|model| model.roles.clone());
        self.listing = BTreeMap::from([("m".to_owned(), PresentModel { versions, config, roles })]);
        self.observe();
    }

    fn vanish(&mut self) {
        self.listing.clear();
        self.observe();
    }

    /// Loads everything that is wanted; versions in `corrupt` fail. The versions in order.
    fn load(&mut self, corrupt: &[u64]) -> Vec<u64> {
        let mut loaded = Vec::new();
        while let Some(order) = self.publisher.next_load(self.now) {
            loaded.push(order.version);
            let failure = LoadFailure {
                reason: "corrupt".into(),
                until_memory_is_freed: false,
                may_pass: false,
                quarantined: None,
            };
            let outcome = if corrupt.contains(&order.version) {
                Err(failure)
            } else {
                Ok(model(order.version, order.fingerprint))
            };
            self.publisher.load_finished(&order, outcome, self.now);
        }
        loaded
    }

    fn later(&mut self, passed: Duration) {
        self.now += passed;
        self.observe();
    }

    fn entry(&self) -> Arc<Entry> {
        Arc::clone(&self.publisher.catalog().snapshot().models["m"])
    }

    fn live(&self) -> Vec<(u64, u16)> {
        let entry = self.entry();
        let serving = entry.serving.as_ref();
        serving
            .map(|serving| serving.split.arms().iter().map(|arm| (arm.version, arm.weight.hundredths())).collect())
            .unwrap_or_default()
    }

    fn loaded(&self) -> Vec<u64> {
        self.entry().loaded.keys().copied().collect()
    }

    /// Asks for a split; the reply appears in the cell when it comes.
    fn ask(&mut self, weights: &[(u64, u16)]) -> Arc<Mutex<Option<Result<SplitView, SplitError>>>> {
        let cell = Arc::new(Mutex::new(None));
        let reply = Arc::clone(&cell);
        let answer: SplitReply = Box::new(move |outcome| *reply.lock().unwrap() = Some(outcome));
        self.publisher.set_split("m", weights.to_vec(), answer, self.now);
        cell
    }
}

#[test]
fn an_empty_catalog_is_not_ready_and_knows_no_model() {
    let stage = Stage::new();
    let catalog = stage.publisher.catalog();
    assert!(!catalog.snapshot().is_ready());
    let error = catalog.find("m", |entry| entry.pick(0)).unwrap_err();
    assert_eq!(error.to_string(), "unknown model \"m\"; this server has no models");
}

#[test]
fn nothing_said_the_highest_version_serves() {
    let mut stage = Stage::new();
    stage.disk(&[(1, 11), (2, 12), (10, 20)]);
    assert_eq!(stage.load(&[]), [10]);
    assert_eq!(stage.live(), [(10, 10_000)]);
    stage.publisher.first_pass_done(stage.now);
    assert!(stage.publisher.catalog().snapshot().is_ready());
}

#[test]
fn a_higher_version_swaps_in_once_loaded_and_the_previous_one_bakes() {
    let mut stage = Stage::new();
    stage.disk(&[(1, 11)]);
    stage.load(&[]);
    stage.disk(&[(1, 11), (2, 12)]);
    assert_eq!(stage.live(), [(1, 10_000)], "not before it is loaded");
    assert_eq!(stage.load(&[]), [2]);
    assert_eq!((stage.live(), stage.loaded(), stage.entry().swaps), (vec![(2, 10_000)], vec![1, 2], 1));
    stage.later(BAKE - Duration::from_secs(1));
    assert_eq!(stage.loaded(), [1, 2]);
    stage.later(Duration::from_secs(1));
    assert_eq!(stage.loaded(), [2]);
    let freed = stage.retired.try_iter().filter(|item| matches!(item, Retired::Model(model) if model.version == 1));
    assert_eq!(freed.count(), 1);
}

#[test]
fn a_corrupt_version_never_replaces_a_good_one_and_is_tried_again_when_its_files_change() {
    let mut stage = Stage::new();
    stage.disk(&[(1, 11), (2, 12)]);
    assert_eq!(stage.load(&[2]), [2, 1], "the next highest serves instead");
    assert_eq!(stage.live(), [(1, 10_000)]);
    assert_eq!(stage.entry().versions[&2], VersionStatus::Failed { reason: "corrupt".into(), quarantined: None });
    stage.later(Duration::from_secs(1));
    assert!(stage.load(&[]).is_empty(), "the same bytes are not tried twice");
    stage.disk(&[(1, 11), (2, 99)]);
    assert_eq!(stage.load(&[]), [2]);
    assert_eq!(stage.live(), [(2, 10_000)]);
}

#[test]
fn files_that_still_change_are_not_loaded() {
    let mut stage = Stage::new();
    let versions = BTreeMap::from([(1, Present { fingerprint: 1, ..Present::default() })]);
    let listing = Listing::from([("m".to_owned(), PresentModel { versions, ..PresentModel::default() })]);
    stage.publisher.observe(&listing, settings, stage.now);
    assert!(stage.load(&[]).is_empty());
    assert_eq!(stage.entry().versions[&1], VersionStatus::Settling);
}

#[test]
fn files_that_vanish_leave_the_version_serving_from_memory() {
    let mut stage = Stage::new();
    stage.disk(&[(1, 11)]);
    stage.load(&[]);
    stage.vanish();
    stage.later(BAKE * 3);
    assert_eq!(stage.live(), [(1, 10_000)]);
    let note = Some("its files are gone; it is served from memory".to_owned());
    assert_eq!(stage.entry().versions[&1], VersionStatus::Loaded { note, quarantined: None });
}

#[test]
fn when_the_highest_vanishes_the_next_one_on_disk_takes_over_once_loaded() {
    let mut stage = Stage::new();
    stage.disk(&[(1, 11), (2, 12)]);
    stage.load(&[]);
    stage.disk(&[(1, 11)]);
    assert_eq!(stage.live(), [(2, 10_000)]);
    assert_eq!(stage.load(&[]), [1]);
    assert_eq!(stage.live(), [(1, 10_000)]);
}

#[test]
fn a_version_whose_files_are_replaced_is_loaded_anew() {
    let mut stage = Stage::new();
    stage.disk(&[(1, 11)]);
    stage.load(&[]);
    let before = stage.entry().loaded[&1].identity;
    stage.disk(&[(1, 55)]);
    assert_eq!(stage.load(&[]), [1]);
    assert_ne!(stage.entry().loaded[&1].identity, before);
    assert_eq!(stage.live(), [(1, 10_000)]);
}

#[test]
fn a_split_is_answered_when_its_versions_are_loaded() {
    let mut stage = Stage::new();
    stage.disk(&[(1, 11), (2, 12)]);
    stage.load(&[]);
    let reply = stage.ask(&[(1, 9_000), (2, 1_000)]);
    assert!(reply.lock().unwrap().is_none());
    assert_eq!(stage.live(), [(2, 10_000)]);
    assert_eq!(stage.load(&[]), [1]);
    assert_eq!(stage.live(), [(1, 9_000), (2, 1_000)]);
    assert_eq!(reply.lock().unwrap().take().unwrap().unwrap().weights, [(1, 9_000), (2, 1_000)]);
    let picked = stage.entry().pick(9_999).unwrap();
    assert_eq!((picked.model.version, picked.arm), (1, ArmLabel::Stable));
}

#[test]
fn an_explicit_split_wins_over_the_highest_until_it_is_cleared() {
    let mut stage = Stage::new();
    stage.disk(&[(1, 11)]);
    stage.load(&[]);
    stage.ask(&[(1, 10_000)]);
    stage.disk(&[(1, 11), (2, 12)]);
    assert!(stage.load(&[]).is_empty());
    assert_eq!(stage.entry().versions[&2], VersionStatus::OnDisk);
    stage.publisher.clear_split("m", Box::new(drop), stage.now);
    assert_eq!(stage.load(&[]), [2]);
    assert_eq!(stage.live(), [(2, 10_000)]);
}

#[test]
fn a_split_is_refused_with_the_reason() {
    let mut stage = Stage::new();
    stage.disk(&[(1, 11), (2, 12)]);
    stage.load(&[]);
    let refused =
        |stage: &mut Stage, weights: &[(u64, u16)]| stage.ask(weights).lock().unwrap().take().unwrap().unwrap_err();
    assert!(matches!(refused(&mut stage, &[(1, 9_900)]), SplitError::Invalid { .. }));
    assert_eq!(
        refused(&mut stage, &[(1, 9_000), (3, 1_000)]).to_string(),
        "version 3 of model \"m\" does not exist; on disk or loaded: 1, 2"
    );
    let reply = stage.ask(&[(1, 10_000)]);
    stage.load(&[1]);
    assert!(matches!(reply.lock().unwrap().take().unwrap(), Err(SplitError::LoadFailed { version: 1, .. })));
    assert_eq!(stage.live(), [(2, 10_000)]);
}

#[test]
fn a_later_split_supersedes_one_that_waits_and_one_whose_files_vanish_is_refused() {
    let mut stage = Stage::new();
    stage.disk(&[(1, 11), (2, 12)]);
    stage.load(&[]);
    let first = stage.ask(&[(1, 10_000)]);
    let second = stage.ask(&[(1, 5_000), (2, 5_000)]);
    assert!(matches!(first.lock().unwrap().take().unwrap(), Err(SplitError::Superseded)));
    stage.disk(&[(2, 12)]);
    assert!(matches!(second.lock().unwrap().take().unwrap(), Err(SplitError::UnknownVersion { version: 1, .. })));
}

#[test]
fn a_version_without_weight_in_a_split_stays_loaded_and_warm() {
    let mut stage = Stage::new();
    stage.disk(&[(1, 11), (2, 12)]);
    stage.load(&[]);
    stage.ask(&[(1, 10_000), (2, 0)]);
    stage.load(&[]);
    stage.later(BAKE * 2);
    assert_eq!(stage.loaded(), [1, 2]);
    assert_eq!(stage.entry().pick(0).unwrap().model.version, 1);
    assert_eq!(stage.entry().pinned("2").unwrap().arm, ArmLabel::Pinned);
    let error = stage.entry().pinned("7").unwrap_err();
    assert_eq!(error.to_string(), "version 7 of model \"m\" is not loaded; loaded: 1, 2");
}

#[test]
fn a_load_that_was_refused_for_lack_of_memory_is_tried_again_once_something_is_unloaded() {
    let mut stage = Stage::new();
    stage.disk(&[(1, 11)]);
    stage.load(&[]);
    stage.disk(&[(1, 11), (2, 12)]);
    stage.load(&[]);
    stage.disk(&[(1, 11), (2, 12), (3, 13)]);
    let order = stage.publisher.next_load(stage.now).unwrap();
    assert_eq!((order.version, order.memory_in_use), (3, 20));
    let failure =
        LoadFailure { reason: "too large".into(), until_memory_is_freed: true, may_pass: false, quarantined: None };
    stage.publisher.load_finished(&order, Err(failure), stage.now);
    assert!(stage.load(&[]).is_empty());
    stage.later(BAKE);
    assert_eq!(stage.loaded(), [2]);
    assert_eq!(stage.load(&[]), [3]);
}

#[test]
fn what_is_retired_is_freed_only_when_nobody_holds_it() {
    let (sender, receiver) = sync_channel(10);
    let held = model(1, 1);
    let weak = Arc::downgrade(&held);
    sender.send(Retired::Model(Arc::clone(&held))).unwrap();
    let retirer = std::thread::spawn(move || retire_until_closed(&receiver));
    let request = held;
    assert!(weak.upgrade().is_some());
    drop(request);
    while weak.upgrade().is_some() {
        std::thread::yield_now();
    }
    drop(sender);
    retirer.join().unwrap();
}

#[test]
fn a_configured_split_that_cannot_become_whole_does_not_keep_the_rest_from_serving() {
    let mut stage = Stage::new();
    stage.configured = Some(BTreeMap::from([(1, 4_000), (2, 6_000)]));
    stage.disk(&[(1, 11), (2, 12)]);
    assert_eq!(stage.load(&[2]), [1, 2]);
    assert_eq!(stage.live(), [(1, 10_000)]);
    stage.later(BAKE * 3);
    assert!(stage.load(&[]).is_empty(), "what serves is not loaded again");
    stage.disk(&[(1, 11), (2, 99)]);
    assert_eq!(stage.load(&[]), [2]);
    assert_eq!(stage.live(), [(1, 4_000), (2, 6_000)]);
}

#[test]
fn versions_of_a_configured_split_stay_loaded_while_it_is_not_live() {
    let mut stage = Stage::new();
    stage.configured = Some(BTreeMap::from([(1, 4_000), (2, 6_000)]));
    stage.disk(&[(1, 11), (2, 12)]);
    let first = stage.publisher.next_load(stage.now).unwrap();
    stage.publisher.load_finished(&first, Ok(model(first.version, first.fingerprint)), stage.now);
    stage.later(BAKE * 2);
    assert_eq!(stage.loaded(), [1]);
    assert_eq!(stage.load(&[]), [2]);
    assert_eq!(stage.live(), [(1, 4_000), (2, 6_000)]);
}

#[test]
fn a_version_that_takes_other_inputs_does_not_follow_by_itself() {
    let mut stage = Stage::new();
    stage.disk(&[(1, 11)]);
    stage.load(&[]);
    stage.disk(&[(1, 11), (2, 12)]);
    let order = stage.publisher.next_load(stage.now).unwrap();
    let other = model_of("models/digits/1/model.onnx", order.version, order.fingerprint);
    stage.publisher.load_finished(&order, Ok(other), stage.now);
    assert_eq!(stage.live(), [(1, 10_000)]);
    let VersionStatus::Loaded { note: Some(note), .. } = &stage.entry().versions[&2] else { panic!("it is loaded") };
    assert!(note.contains("\"features\" was FP32 [-1, 10], now it is FP32 [-1, 64]"), "{note}");
    stage.later(BAKE * 2);
    assert_eq!(stage.loaded(), [1, 2]);
    stage.ask(&[(2, 10_000)]);
    assert_eq!(stage.live(), [(2, 10_000)], "a split may name it");
}

#[test]
fn another_engine_in_the_settings_loads_a_version_anew() {
    let mut stage = Stage::new();
    stage.disk(&[(1, 11)]);
    stage.load(&[]);
    let before = stage.entry().loaded[&1].identity;
    let changed = |name: &str| {
        let mut settings = ModelSettings::clone(&settings(name));
        settings.engine = EngineChoice::Tract;
        Arc::new(settings)
    };
    stage.publisher.configure(changed, BAKE, stage.now);
    assert_eq!(stage.load(&[]), [1]);
    assert_ne!(stage.entry().loaded[&1].identity, before);
    stage.publisher.configure(changed, BAKE, stage.now);
    assert!(stage.load(&[]).is_empty());
}

#[test]
fn new_settings_whose_split_cannot_be_live_are_named_before_anything_changes() {
    let mut stage = Stage::new();
    stage.disk(&[(1, 11)]);
    stage.load(&[]);
    let with_split = |split: &[(u64, u16)]| {
        let mut settings = ModelSettings::clone(&settings("m"));
        settings.split = Some(split.iter().copied().collect());
        Arc::new(settings)
    };
    let refused = stage.publisher.refused_splits(|_| with_split(&[(1, 5_000), (9, 5_000)]));
    assert_eq!(refused, ["models.m.split: version 9 of model \"m\" does not exist; on disk or loaded: 1"]);
    assert!(stage.publisher.refused_splits(|_| with_split(&[(1, 10_000)])).is_empty());
}

#[test]
fn a_larger_budget_gives_a_refused_version_another_try() {
    let mut stage = Stage::new();
    stage.disk(&[(1, 11)]);
    let order = stage.publisher.next_load(stage.now).unwrap();
    let failure =
        LoadFailure { reason: "too large".into(), until_memory_is_freed: true, may_pass: false, quarantined: None };
    stage.publisher.load_finished(&order, Err(failure), stage.now);
    assert!(stage.load(&[]).is_empty());
    stage.publisher.configure(settings, BAKE, stage.now);
    assert_eq!(stage.load(&[]), [1]);
}
