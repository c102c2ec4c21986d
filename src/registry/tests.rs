//! From files in a directory to what is live: listing, publisher and loader together.

use super::directory::{self, QUIET};
use super::load::Loader;
use super::*;
use crate::catalog::{Entry, Listing, Publisher, Retired, Roles, VersionStatus};
use crate::config::{Config, ModelSettings, SourceSettings};
use crate::engine::{Engines, RuntimeSearch};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, SystemTime};

/// A repository of one model, and what follows its files.
struct Repository {
    root: tempfile::TempDir,
    publisher: Publisher,
    loader: Loader,
    listing: Listing,
    _retired: Receiver<Retired>,
}

impl Repository {
    fn with_versions(versions: &[u64]) -> Self {
        let root = tempfile::tempdir().unwrap();
        let graph = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/churn/1/model.onnx");
        for version in versions {
            let directory = root.path().join("m").join(version.to_string());
            fs::create_dir_all(&directory).unwrap();
            fs::copy(&graph, directory.join(MODEL_FILE)).unwrap();
        }
        let loader = Loader {
            fetched: PathBuf::from("nowhere"),
            repository: root.path().to_owned(),
            engines: Arc::new(Engines::discover(&RuntimeSearch::default())),
            workers: 1,
            executor: Arc::default(),
            memory_budget: u64::MAX,
            quarantine: Arc::default(),
        };
        let (sender, retired) = sync_channel(10_000);
        let publisher = Publisher::new(sender, Duration::ZERO);
        Self { root, publisher, loader, listing: Listing::new(), _retired: retired }
    }

    fn write_config(&self, text: &str) {
        fs::write(self.root.path().join("m").join(CONFIG_FILE), text).unwrap();
    }

    /// Lists, as of `now`, and loads all that is wanted.
    fn look(&mut self, now: SystemTime) {
        self.listing = directory::list(self.root.path(), &self.listing, now).unwrap();
        self.load(|name| Arc::new(Config::default().model(name)));
    }

    /// The same for a model whose registry wants this version to serve.
    fn look_at_registry(&mut self, stable: u64) -> Arc<Entry> {
        self.loader.fetched = self.root.path().to_owned();
        let later = SystemTime::now() + QUIET + Duration::from_secs(1);
        self.listing = directory::list(self.root.path(), &self.listing, later).unwrap();
        self.listing.get_mut("m").unwrap().roles = Some(Roles { stable: Some(stable), ..Roles::default() });
        let source = SourceSettings { uri: "models:/m".into(), require_tags: Vec::new(), roles: BTreeMap::new() };
        self.load(|name| Arc::new(ModelSettings { source: Some(source.clone()), ..Config::default().model(name) }));
        self.entry()
    }

    fn load(&mut self, settings: impl Fn(&str) -> Arc<ModelSettings>) {
        let settings = &settings;
        self.publisher.observe(&self.listing, settings, Duration::ZERO);
        while let Some(order) = self.publisher.next_load(Duration::ZERO) {
            let outcome = self.loader.load(&order);
            self.publisher.load_finished(&order, outcome, Duration::ZERO);
        }
        self.publisher.observe(&self.listing, settings, Duration::ZERO);
    }

    /// The model after its files have settled.
    fn settled(&mut self) -> Arc<Entry> {
        self.look(SystemTime::now() + QUIET + Duration::from_secs(1));
        self.entry()
    }

    fn entry(&self) -> Arc<Entry> {
        Arc::clone(&self.publisher.catalog().snapshot().models["m"])
    }
}

fn loaded(entry: &Entry) -> Vec<u64> {
    entry.loaded.keys().copied().collect()
}

#[test]
fn without_a_configuration_the_highest_version_serves() {
    let mut repository = Repository::with_versions(&[1, 2]);
    let entry = repository.settled();
    assert_eq!((loaded(&entry), entry.config_error.clone()), (vec![2], None));
    assert_eq!(*entry.config, crate::catalog::TritonConfig::default());
}

#[test]
fn a_configuration_is_followed_and_so_are_its_changes() {
    let mut repository = Repository::with_versions(&[1, 2, 3]);
    repository.write_config(
        "name: \"m\"\nmax_batch_size: 8\nversion_policy { latest { num_versions: 2 } }\ninstance_group [{ count: 2 gpus: 0 }]",
    );
    let entry = repository.settled();
    assert_eq!((loaded(&entry), entry.stable().unwrap().version), (vec![2, 3], 3));
    assert_eq!(entry.pick(0).unwrap().max_batch_size.unwrap().get(), 8);
    assert_eq!(entry.config.not_used, ["instance_group.gpus"]);
    repository.write_config("version_policy: { specific: { versions: [1] } }");
    let entry = repository.settled();
    assert_eq!((loaded(&entry), entry.stable().unwrap().version), (vec![1], 1));
    assert_eq!((entry.pick(0).unwrap().max_batch_size, entry.config.not_used.len()), (None, 0));
    fs::remove_file(repository.root.path().join("m").join(CONFIG_FILE)).unwrap();
    assert_eq!(loaded(&repository.settled()), [3]);
}

#[test]
fn a_configuration_that_is_being_written_is_waited_for() {
    // Before every file's time, so that files settle by staying the same alone.
    let now = SystemTime::UNIX_EPOCH;
    let mut repository = Repository::with_versions(&[1, 2]);
    repository.write_config("max_batch_size: 8\n");
    repository.look(now);
    assert_eq!(repository.entry().versions[&2], VersionStatus::Settling);
    repository.write_config("max_batch_size: 8\nversion_policy { specific { versions: 1 } }");
    repository.look(now);
    assert!(loaded(&repository.entry()).is_empty());
    repository.look(now);
    assert_eq!(loaded(&repository.entry()), [1]);
    repository.write_config("max_batch_size: 9");
    repository.look(now);
    assert_eq!((loaded(&repository.entry()), repository.entry().config.max_batch_size.unwrap().get()), (vec![1], 8));
    repository.look(now);
    assert_eq!((loaded(&repository.entry()), repository.entry().config.max_batch_size.unwrap().get()), (vec![2], 9));
}

#[test]
fn a_broken_configuration_is_reported_with_its_line_until_it_is_mended() {
    let mut repository = Repository::with_versions(&[1]);
    for (text, expected) in [
        ("name: \"m\"\nmax_batch_size 8", "config.pbtxt, line 2: expected ':' or a message after the name of a field"),
        ("name: \"n\"", "config.pbtxt, line 1: the name is \"n\", but the model's directory is \"m\""),
    ] {
        repository.write_config(text);
        let entry = repository.settled();
        assert!(entry.config_error.as_ref().unwrap().starts_with(expected), "{:?}", entry.config_error);
        assert!(loaded(&entry).is_empty() && entry.pick(0).is_err());
    }
    // Of another size than before: within one tick of the file system's clock the time alone would not tell.
    repository.write_config("name: \"m\" # mended");
    assert_eq!(loaded(&repository.settled()), [1]);
    repository.write_config("name:");
    let entry = repository.settled();
    assert_eq!((loaded(&entry), entry.serving.is_some(), entry.config_error.is_some()), (vec![1], true, true));
}

#[test]
fn what_is_no_file_or_too_large_is_broken() {
    let mut repository = Repository::with_versions(&[1]);
    repository.write_config(&" ".repeat(pbtxt::SIZE_LIMIT + 1));
    assert!(repository.settled().config_error.as_ref().unwrap().contains("has more than 262144 bytes"));
    let path = repository.root.path().join("m").join(CONFIG_FILE);
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(repository.settled().config_error.as_ref().unwrap().ends_with("it is not a file"));
}

#[test]
fn a_file_that_did_not_change_is_not_read_again() {
    let mut repository = Repository::with_versions(&[1]);
    repository.write_config("max_batch_size: 8");
    let before = repository.settled();
    let after = repository.settled();
    assert!(Arc::ptr_eq(&before.config, &after.config));
}

/// What MLflow writes beside a graph that takes rows of so many floats.
fn mlmodel(width: usize, datatype: &str) -> String {
    let tensor = format!(r#"{{"dtype": "{datatype}", "shape": [-1, {width}]}}"#);
    let inputs = format!(r#"[{{"name": "features", "type": "tensor", "tensor-spec": {tensor}}}]"#);
    format!("flavors:\n  onnx: {{data: model.onnx}}\nsignature:\n  inputs: '{inputs}'\n")
}

#[test]
fn a_graph_that_is_not_the_registered_one_is_refused_and_one_without_a_readable_description_is_not() {
    for (text, refusal) in [
        (mlmodel(10, "float32"), None),
        ("flavors: [".to_owned(), None),
        ("flavors: {}".to_owned(), None),
        (
            "flavors: {onnx: {onnx_session_options: {intra_op_num_threads: 4, execution_mode: parallel}}}".to_owned(),
            None,
        ),
        (mlmodel(11, "float32"), Some("[-1, 11] in its MLmodel and [-1, 10] in the graph")),
        (mlmodel(10, "int64"), Some("INT64 in its MLmodel and FP32 in the graph")),
    ] {
        let mut repository = Repository::with_versions(&[1]);
        fs::write(repository.root.path().join("m/1").join(MLMODEL_FILE), &text).unwrap();
        match (repository.settled().versions[&1].clone(), refusal) {
            (VersionStatus::Loaded { .. }, None) => {}
            (VersionStatus::Failed { reason, .. }, Some(said)) => assert!(reason.contains(said), "{reason}"),
            (found, _) => panic!("{text}: {found:?}"),
        }
    }
}

/// Golden answers that the models here do not give.
const FALSE_GOLDEN: &str = r#"{"format":1,"cases":[{"request":{"inputs":[{"name":"features","shape":[1,10],
    "datatype":"FP32","data":[38.94,1,40.22,29.11,0,0,6.3,1,1,3]}]},"response":{"outputs":[{"name":"label","shape":[1],
    "datatype":"INT64","data":[7]}]}}]}"#;

impl Repository {
    fn write(&self, version: u64, file: &str, text: &str) {
        fs::write(self.root.path().join(format!("m/{version}")).join(file), text).unwrap();
    }

    fn refusal(&mut self, version: u64) -> (String, Option<crate::catalog::Quarantined>) {
        match self.settled().versions[&version].clone() {
            VersionStatus::Failed { reason, quarantined } => (reason, quarantined),
            found => panic!("version {version} is not refused: {found:?}"),
        }
    }

    /// As a new process would, with what the one before kept.
    fn restart(&mut self, kept: Vec<crate::store::QuarantineRow>) {
        let (sender, retired) = sync_channel(10_000);
        (self.publisher, self._retired) = (Publisher::new(sender, Duration::ZERO), retired);
        self.loader.quarantine = Arc::new(quarantine::Quarantine::from_rows(kept));
        self.listing = Listing::new();
    }
}

#[test]
fn a_version_with_false_golden_answers_is_refused_and_leaves_the_stable_one() {
    let mut repository = Repository::with_versions(&[1, 2]);
    repository.write(2, GOLDEN_FILE, FALSE_GOLDEN);
    let (reason, held) = repository.refusal(2);
    assert_eq!(reason, "golden.json, case 1: output \"label\", value 0: expected 7, found 0, tolerance none");
    let directory = repository.root.path().join("m/2");
    assert_eq!(held.unwrap().digest, staging::digest_of(&directory).unwrap().as_str());
    assert_eq!(repository.entry().stable().unwrap().version, 1);
}

#[test]
fn refused_bytes_are_not_loaded_again_by_another_process_until_they_differ_or_somebody_wants_it() {
    let mut repository = Repository::with_versions(&[1, 2]);
    repository.write(2, GOLDEN_FILE, FALSE_GOLDEN);
    let (reason, held) = repository.refusal(2);
    let held = held.unwrap();
    let row = |engine: &str| crate::store::QuarantineRow {
        model: "m".into(),
        digest: held.digest.clone(),
        engine: engine.into(),
        version: 2,
        reason: reason.clone(),
        // Long ago: whoever loads them again is refused today.
        at: Duration::from_secs(1),
        instead_of: None,
    };
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
    repository.restart(vec![row(&held.engine)]);
    // The same bytes, copied anew.
    repository.write(2, GOLDEN_FILE, FALSE_GOLDEN);
    let (again, recalled) = repository.refusal(2);
    assert_eq!((&again, recalled.unwrap().since), (&reason, long_ago));
    let released = repository.publisher.retry("m", 2, Duration::ZERO).unwrap().unwrap();
    repository.loader.quarantine.release("m", &released.digest);
    assert!(repository.refusal(2).1.unwrap().since > long_ago, "it was loaded again");
    repository.restart(vec![row("another engine")]);
    assert!(repository.refusal(2).1.unwrap().since > long_ago, "another engine tries it");
    repository.restart(vec![row(&held.engine)]);
    repository.write(2, GOLDEN_FILE, &FALSE_GOLDEN.replace("[7]", "[0]"));
    assert_eq!(loaded(&repository.settled()), [2], "other bytes");
}

#[test]
fn what_is_not_the_fault_of_the_bytes_is_not_held() {
    let mut repository = Repository::with_versions(&[1]);
    repository.loader.memory_budget = 1;
    let (reason, held) = repository.refusal(1);
    assert!(reason.contains("memory_budget") && held.is_none(), "{reason}");
    let error = repository.publisher.retry("m", 2, Duration::ZERO).unwrap_err();
    assert_eq!(error.to_string(), "version 2 of model \"m\" was not refused; refused are: 1");
    let error = repository.publisher.retry("n", 1, Duration::ZERO).unwrap_err();
    assert_eq!(error.to_string(), "unknown model \"n\"");
}

#[test]
fn a_broken_graph_is_held_whatever_version_has_it() {
    let mut repository = Repository::with_versions(&[1, 2, 3]);
    repository.write(2, MODEL_FILE, "no graph");
    repository.write(3, MODEL_FILE, "no graph");
    let held = repository.refusal(3).1.unwrap();
    assert_eq!(repository.refusal(2).1.unwrap(), held);
    assert_eq!(repository.entry().stable().unwrap().version, 1);
}

#[test]
fn files_in_directories_of_a_version_are_part_of_it() {
    let version = tempfile::tempdir().unwrap();
    fs::create_dir(version.path().join("data")).unwrap();
    fs::write(version.path().join(MODEL_FILE), "graph").unwrap();
    let fingerprint = || directory::fingerprint(version.path()).unwrap().unwrap();
    let (alone, _) = fingerprint();
    let weights = version.path().join("data/weights.bin");
    fs::write(&weights, "half").unwrap();
    let (half, _) = fingerprint();
    let file = fs::File::options().append(true).open(&weights).unwrap();
    let later = SystemTime::now() + Duration::from_secs(60);
    file.set_modified(later).unwrap();
    let (whole, newest) = fingerprint();
    assert!(alone != half && half != whole, "a copy that goes on shows");
    assert_eq!(newest, later);
}

#[test]
fn what_cannot_stand_in_for_what_serves_is_held_by_its_digest_also_by_another_process() {
    let mut repository = Repository::with_versions(&[1, 2]);
    let graph = repository.root.path().join("m/2").join(MODEL_FILE);
    fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("models/digits/1/model.onnx"), &graph).unwrap();
    assert_eq!(repository.look_at_registry(1).stable().unwrap().version, 1);
    let entry = repository.look_at_registry(2);
    let VersionStatus::Failed { reason, quarantined: Some(held) } = &entry.versions[&2] else { panic!("it is held") };
    assert!(
        reason.starts_with("it cannot stand in for version 1: input \"features\" was FP32 [-1, 10], now"),
        "{reason}"
    );
    assert_eq!(held.digest, staging::digest_of(graph.parent().unwrap()).unwrap().as_str());
    assert_eq!((held.instead_of, entry.stable().unwrap().version, loaded(&entry)), (Some(1), 1, vec![1]));
    let kept = |at: u64| crate::store::QuarantineRow {
        model: "m".into(),
        digest: held.digest.clone(),
        engine: held.engine.clone(),
        version: 2,
        reason: "as it was said".into(),
        at: Duration::from_secs(at),
        instead_of: Some(1),
    };
    repository.restart(vec![kept(1)]);
    let entry = repository.look_at_registry(2);
    let VersionStatus::Failed { reason, .. } = &entry.versions[&2] else { panic!("it is held") };
    assert_eq!((reason.as_str(), entry.stable().unwrap().version), ("as it was said", 1), "it was not loaded again");
    repository.restart(vec![kept(1)]);
    fs::remove_dir_all(repository.root.path().join("m/1")).unwrap();
    assert_eq!(repository.look_at_registry(2).stable().unwrap().version, 2, "nothing else can serve");
}

#[test]
fn other_bytes_and_another_signature_that_serves_are_tried() {
    let mut repository = Repository::with_versions(&[1, 2]);
    let path = |version: u64| repository.root.path().join(format!("m/{version}")).join(MODEL_FILE);
    let (digits, churn) = ("models/digits/1/model.onnx", "models/churn/2/model.onnx");
    let shipped = |graph: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join(graph);
    let (first, second) = (path(1), path(2));
    fs::copy(shipped(digits), &second).unwrap();
    repository.look_at_registry(1);
    let before = repository.look_at_registry(2);
    assert!(matches!(before.versions[&2], VersionStatus::Failed { .. }));
    fs::copy(shipped(churn), &second).unwrap();
    assert_eq!(repository.look_at_registry(2).stable().unwrap().version, 2, "other bytes");
    fs::copy(shipped(digits), &first).unwrap();
    let VersionStatus::Failed { quarantined: Some(held), .. } = &repository.look_at_registry(1).versions[&1] else {
        panic!("the bytes that were held are held beside version 2 as well")
    };
    assert_eq!(held.instead_of, Some(2));
}
