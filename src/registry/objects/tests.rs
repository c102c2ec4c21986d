//! What a model of a store is offered as, while somebody uploads it.

use super::listing::{QUIET, SETTLED};
use super::store::Store;
use super::{ObjectAddress, ObjectSource, Stores};
use crate::config::ObjectSettings;
use crate::registry::manifest::{Digest, FileManifest};
use crate::registry::objects::failure::Asked;
use crate::registry::roles::default_roles;
use crate::registry::source::{Offer, RemoteFile, Source, SourceError, identity};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

/// A store in memory and a clock that stands.
struct Case {
    objects: Arc<InMemory>,
    source: ObjectSource,
    now: Arc<Mutex<SystemTime>>,
}

impl Case {
    fn new() -> Self {
        let objects = Arc::new(InMemory::new());
        let now = Arc::new(Mutex::new(SystemTime::now()));
        let source = source(&objects, &now);
        Self { objects, source, now }
    }

    /// As a new process would.
    fn restart(&mut self) {
        self.source = source(&self.objects, &self.now);
    }

    async fn put(&self, path: &str, bytes: &str) {
        self.objects.put(&Path::from(format!("models/churn/{path}")), bytes.to_owned().into()).await.unwrap();
    }

    async fn delete(&self, path: &str) {
        self.objects.delete(&Path::from(format!("models/churn/{path}"))).await.unwrap();
    }

    fn wait(&self, time: Duration) {
        *self.now.lock().unwrap() += time;
    }

    async fn offer(&self) -> Offer {
        self.source.offer().await.unwrap()
    }

    async fn stable(&self) -> Option<u64> {
        self.offer().await.roles.stable
    }
}

fn source(objects: &Arc<InMemory>, now: &Arc<Mutex<SystemTime>>) -> ObjectSource {
    let asked = Asked { place: "memory://".to_owned(), table: "registry.objects" };
    let store = Store { objects: Arc::clone(objects) as Arc<dyn ObjectStore>, asked, changes_while_open: false };
    let clock = {
        let now = Arc::clone(now);
        Arc::new(move || *now.lock().unwrap())
    };
    ObjectSource::new(store, Path::from("models/churn"), default_roles(), clock)
}

fn manifest(files: &[(&str, &str)]) -> String {
    let file = |(path, bytes): &(&str, &str)| {
        let (digest, size) = (Digest::of(bytes.as_bytes()), bytes.len());
        format!("{{\"path\":\"{path}\",\"sha256\":\"{digest}\",\"size\":{size}}}")
    };
    let text = format!("{{\"format\":1,\"files\":[{}]}}", files.iter().map(file).collect::<Vec<_>>().join(","));
    FileManifest::parse(text.as_bytes()).unwrap();
    text
}

#[tokio::test]
async fn the_highest_version_whose_files_stay_the_same_is_stable() {
    let case = Case::new();
    for version in ["1", "2", "03", "latest", "0"] {
        case.put(&format!("{version}/model.onnx"), version).await;
    }
    let first = case.offer().await;
    assert_eq!((first.roles.stable, first.again, first.problems.len()), (None, Some(QUIET), 0));
    let error = case.source.files(2).await.unwrap_err();
    assert!(matches!(&error, SourceError::NotWhole { reason, .. } if reason.contains("stay as it is")), "{error}");
    case.wait(QUIET - Duration::from_millis(1));
    assert_eq!(case.stable().await, None);
    case.wait(Duration::from_millis(1));
    let offer = case.offer().await;
    assert_eq!((offer.roles.stable, offer.again), (Some(2), None));
    let files = case.source.files(2).await.unwrap();
    assert_eq!((files.len(), files[0].path.as_str(), files[0].size), (1, "model.onnx", Some(1)));
    assert_eq!(offer.versions[&2].identity, identity(&files));
    assert_eq!(offer.versions[&2].source, "memory:///models/churn/2");
}

#[tokio::test]
async fn a_version_is_registered_when_the_newest_of_its_files_was_written() {
    let case = Case::new();
    let registered = async || case.offer().await.versions.get(&1).and_then(|lineage| lineage.registered_at);
    case.put("1/model.onnx", "a").await;
    assert_eq!(registered().await, None, "it is not whole");
    case.wait(QUIET);
    let first = registered().await;
    tokio::time::sleep(Duration::from_millis(2)).await;
    case.put("1/weights", "b").await;
    assert!(first.is_some() && registered().await == first, "it counts as what it was");
    case.wait(QUIET);
    assert!(registered().await > first);
}

#[tokio::test]
async fn an_upload_that_goes_on_is_waited_for_and_an_old_one_is_not() {
    let mut case = Case::new();
    case.put("1/model.onnx", "a").await;
    for piece in ["w1", "w2", "w3"] {
        assert_eq!(case.stable().await, None);
        case.wait(QUIET * 2);
        case.put(&format!("1/{piece}"), piece).await;
    }
    case.wait(SETTLED);
    assert_eq!(case.stable().await, Some(1), "the first look of what was there long before");
    case.restart();
    assert_eq!(case.stable().await, Some(1));
}

#[tokio::test]
async fn a_version_with_a_manifest_is_whole_when_all_that_it_names_is_there() {
    let case = Case::new();
    case.put("6/model.onnx", "old").await;
    case.wait(SETTLED * 2);
    assert_eq!(case.stable().await, Some(6));
    case.put("7/manifest.json", &manifest(&[("model.onnx", "graph"), ("data/w", "weights")])).await;
    case.put("7/model.onnx", "graph").await;
    for (said, bytes) in [("data/w is not there", "weight"), ("data/w has 6 bytes, manifest.json says 7", "weights")] {
        let offer = case.offer().await;
        assert_eq!((offer.roles.stable, offer.problems.len()), (Some(6), 1));
        assert!(offer.problems[0].contains(said) && offer.problems[0].contains("churn/7"), "{:?}", offer.problems);
        case.put("7/data/w", bytes).await;
        case.put("7/README.md", "not of the version").await;
    }
    let offer = case.offer().await;
    assert_eq!((offer.roles.stable, offer.problems), (Some(7), vec![]), "without waiting");
    let files = case.source.files(7).await.unwrap();
    let named: Vec<_> = files.iter().map(|file| (file.path.as_str(), file.sha256.clone().unwrap())).collect();
    assert_eq!(named, [("data/w", Digest::of(b"weights")), ("model.onnx", Digest::of(b"graph"))]);
    case.put("8/manifest.json", "{\"format\":1}").await;
    case.put("9/notes", "x").await;
    let problems = case.offer().await.problems.join("\n");
    assert!(problems.contains("manifest.json is refused") && problems.contains("no model.onnx in it"), "{problems}");
}

#[tokio::test]
async fn a_version_that_is_written_over_counts_as_what_it_was_until_it_is_whole_again() {
    let case = Case::new();
    case.put("6/model.onnx", "six").await;
    case.put("7/model.onnx", "seven").await;
    case.offer().await;
    case.wait(QUIET);
    let before = case.offer().await;
    let files = case.source.files(7).await.unwrap();
    case.put("7/model.onnx", "SEVEN").await;
    let during = case.offer().await;
    assert_eq!((&during.roles, &during.versions), (&before.roles, &before.versions));
    let error = case.source.open(7, &files[0], 0).await.err().unwrap();
    assert!(matches!(&error, SourceError::NotWhole { reason, .. } if reason.contains("overwritten")), "{error}");
    case.wait(QUIET);
    let after = case.offer().await;
    assert_eq!(after.roles, before.roles);
    assert_ne!(after.versions[&7].identity, before.versions[&7].identity);
    case.delete("7/model.onnx").await;
    case.offer().await;
    case.wait(QUIET);
    assert_eq!(case.stable().await, Some(6), "what is gone is gone");
}

#[tokio::test]
async fn aliases_are_roles_and_a_version_that_is_not_whole_stays_wanted() {
    let mut case = Case::new();
    for version in 1..=9 {
        case.put(&format!("{version}/model.onnx"), "graph").await;
    }
    case.wait(SETTLED * 2);
    case.put("aliases.json", "{\"champion\": 7, \"challenger\": 8, \"best\": 7, \"old\": 1}").await;
    let offer = case.offer().await;
    assert_eq!((offer.roles.stable, offer.roles.warm), (Some(7), BTreeSet::from([8])));
    assert_eq!(offer.versions.keys().copied().collect::<Vec<_>>(), [7, 8]);
    assert_eq!(offer.versions[&7].aliases, ["best", "champion"]);
    case.put("aliases.json", "{\"champion\": 12}").await;
    let offer = case.offer().await;
    assert_eq!((offer.roles.stable, &offer.versions[&12].identity), (Some(12), &None));
    let error = case.source.files(12).await.unwrap_err();
    assert!(error.may_pass() && error.to_string().contains("churn/12 is not whole: there is no model.onnx"), "{error}");
    for (text, said) in [
        ("[]", "expected {\"alias\": version, …}"),
        ("{\"champion\": 0}", "found 0 for \"champion\""),
        ("{\"champion\": -1}", "expected {\"alias\": version, …}"),
    ] {
        case.put("aliases.json", text).await;
        let error = case.source.offer().await.unwrap_err().to_string();
        assert!(error.contains("aliases.json: ") && error.contains(said), "{error}");
    }
    // A tool that replaces it takes it away first.
    case.delete("aliases.json").await;
    let error = case.source.offer().await.unwrap_err();
    assert!(error.may_pass() && error.to_string().contains("its aliases.json was there and is not"), "{error}");
    case.restart();
    assert_eq!(case.stable().await, Some(9));
}

#[tokio::test]
async fn a_prefix_without_versions_is_told() {
    let case = Case::new();
    let error = case.source.offer().await.unwrap_err();
    assert!(matches!(&error, SourceError::Absent { what, .. } if what == "memory:///models/churn"), "{error}");
}

#[tokio::test]
async fn empty_objects_that_stand_for_directories_are_no_files() {
    let case = Case::new();
    for (path, bytes) in [("1/model.onnx", "graph"), ("1/data", ""), ("1/data-x", ""), ("1/data/w", "x"), ("1", "")] {
        case.put(path, bytes).await;
    }
    case.wait(SETTLED * 2);
    case.offer().await;
    let paths: Vec<String> = case.source.files(1).await.unwrap().into_iter().map(|file| file.path).collect();
    assert_eq!(paths, ["data-x", "data/w", "model.onnx"]);
}

#[tokio::test]
async fn a_directory_of_this_machine_is_a_store_and_a_file_that_changes_while_it_is_read_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let model = root.path().join("a model/3/model.onnx");
    std::fs::create_dir_all(model.parent().unwrap()).unwrap();
    std::fs::write(&model, b"0123456789").unwrap();
    let address: ObjectAddress = root.path().join("a model").to_str().unwrap().parse().unwrap();
    let store = Stores::new(ObjectSettings::default()).open(&address.store).unwrap();
    let later = Arc::new(|| SystemTime::now() + SETTLED * 2);
    let source = ObjectSource::new(store, address.prefix, BTreeMap::new(), later);
    assert_eq!(source.offer().await.unwrap().roles.stable, Some(3));
    let files = source.files(3).await.unwrap();
    let mut bytes = source.open(3, &files[0], 4).await.unwrap();
    assert_eq!((bytes.position(), bytes.next().await.unwrap().unwrap().as_ref()), (4, b"456789".as_slice()));
    assert_eq!(bytes.next().await.unwrap(), None);
    let mut bytes = source.open(3, &files[0], 0).await.unwrap();
    std::fs::remove_file(&model).unwrap();
    std::fs::write(&model, b"another one").unwrap();
    bytes.next().await.unwrap();
    assert!(matches!(bytes.next().await, Err(SourceError::NotWhole { .. })));
    let leads_out = RemoteFile { path: "../../x".to_owned(), ..RemoteFile::default() };
    assert!(matches!(source.open(3, &leads_out, 0).await, Err(SourceError::Unexpected { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn in_whatever_order_it_is_uploaded_a_version_is_never_offered_in_part(
        order in Just(["model.onnx", "data/w", "profile.json", "manifest.json"].to_vec()).prop_shuffle(),
        waits in prop::collection::vec(0_u64..600, 4),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let files = [("model.onnx", "graph"), ("data/w", "weights"), ("profile.json", "{}")];
        let manifest = manifest(&files);
        runtime.block_on(async {
            let case = Case::new();
            case.put("1/model.onnx", "one").await;
            case.offer().await;
            case.wait(QUIET);
            for (index, path) in order.iter().enumerate() {
                let bytes = files.iter().find(|(name, _)| name == path).map_or(manifest.as_str(), |(_, bytes)| bytes);
                case.put(&format!("2/{path}"), bytes).await;
                let offer = case.offer().await;
                let is_whole = index + 1 == order.len();
                prop_assert_eq!(offer.roles.stable, Some(if is_whole { 2 } else { 1 }));
                case.wait(Duration::from_millis(waits[index]));
            }
            Ok(())
        })?;
    }
}
