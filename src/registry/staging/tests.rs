//! What is staged, from a source that misbehaves in every way there is.

use super::*;
use crate::registry::MODEL_FILE;
use crate::registry::source::{Asked, Offer, RemoteBytes};
use bytes::Bytes;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Files in memory, and how they are handed out.
#[derive(Debug, Default)]
struct Shelf {
    files: BTreeMap<String, Vec<u8>>,
    /// Bytes after which a file breaks off, once each in turn.
    breaks: Mutex<Vec<usize>>,
    /// Whether it says nothing any more, instead of breaking off.
    falls_silent: bool,
    /// Whether files can be begun in the middle.
    ranges: bool,
    /// What is said of a file's size in place of the truth.
    said: Option<u64>,
    /// What else is said of every file.
    tags: RemoteFile,
    pieces: AtomicUsize,
}

struct FromShelf {
    bytes: Vec<u8>,
    position: u64,
    left: Option<usize>,
    falls_silent: bool,
    served: usize,
}

impl Source for Shelf {
    fn place(&self) -> String {
        "a shelf".into()
    }

    fn offer(&self) -> Asked<'_, Offer> {
        Box::pin(async { Ok(Offer::default()) })
    }

    fn files(&self, _version: u64) -> Asked<'_, Vec<RemoteFile>> {
        let file = |(path, bytes): (&String, &Vec<u8>)| RemoteFile {
            path: path.clone(),
            size: Some(self.said.unwrap_or(bytes.len() as u64)),
            ..self.tags.clone()
        };
        let files = self.files.iter().map(file).collect();
        Box::pin(async { Ok(files) })
    }

    fn open<'a>(&'a self, _version: u64, file: &'a RemoteFile, start: u64) -> Asked<'a, Box<dyn RemoteBytes>> {
        let position = if self.ranges { start } else { 0 };
        let bytes = self.files[&file.path][position as usize..].to_vec();
        self.pieces.fetch_add(bytes.len(), Ordering::Relaxed);
        let (left, falls_silent) = (self.breaks.lock().unwrap().pop(), self.falls_silent);
        let from = FromShelf { bytes, position, left, falls_silent, served: 0 };
        Box::pin(async move { Ok(Box::new(from) as Box<dyn RemoteBytes>) })
    }
}

impl RemoteBytes for FromShelf {
    fn position(&self) -> u64 {
        self.position
    }

    fn next(&mut self) -> Asked<'_, Option<Bytes>> {
        let end = (self.served + 7).min(self.bytes.len());
        let piece = Bytes::copy_from_slice(&self.bytes[self.served..end]);
        self.served = end;
        let is_broken = self.left.is_some_and(|left| self.served > left);
        let falls_silent = self.falls_silent;
        Box::pin(async move {
            if is_broken && falls_silent {
                std::future::pending::<()>().await;
            }
            if is_broken {
                let cause = "the connection was closed".to_owned();
                return Err(SourceError::Unreachable { place: "the shelf".to_owned(), cause });
            }
            Ok(Some(piece).filter(|piece| !piece.is_empty()))
        })
    }
}

fn shelf(files: &[(&str, &[u8])]) -> Shelf {
    let files = files.iter().map(|(path, bytes)| ((*path).to_owned(), bytes.to_vec())).collect();
    Shelf { files, ranges: true, ..Shelf::default() }
}

fn cache(directory: &tempfile::TempDir, max_bytes: u64) -> Cache {
    Cache::open(directory.path().join("cache"), max_bytes, 3).unwrap()
}

async fn staged(cache: &Cache, shelf: &Shelf, version: u64) -> Result<Manifest, StageError> {
    stage(cache, shelf, ("churn", version), None, &Progress::default()).await
}

/// Everything below a version's directory, by path.
fn laid_out(cache: &Cache, version: u64) -> BTreeMap<String, Vec<u8>> {
    fn walk(root: &std::path::Path, below: &std::path::Path, into: &mut BTreeMap<String, Vec<u8>>) {
        for item in fs::read_dir(below).unwrap().flatten() {
            let path = item.path();
            if path.is_dir() {
                walk(root, &path, into);
            } else {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                into.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    let (root, mut found) = (cache.directory("churn", version), BTreeMap::new());
    walk(&root, &root, &mut found);
    found
}

#[tokio::test]
async fn a_version_is_laid_out_as_it_was_and_outlives_the_process() {
    let directory = tempfile::tempdir().unwrap();
    let shelf = shelf(&[(MODEL_FILE, b"graph"), ("data/weights.data", &[7; 100]), ("empty", b"")]);
    let manifest = staged(&cache(&directory, 1 << 20), &shelf, 3).await.unwrap();
    let again = cache(&directory, 1 << 20);
    assert_eq!(laid_out(&again, 3), shelf.files);
    assert_eq!(again.versions("churn"), BTreeMap::from([(3, manifest.clone())]));
    assert!(manifest.is_consistent() && manifest.size() == 105);
    again.prove("churn", &manifest).unwrap();
    let known = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let empty = manifest.files.iter().find(|file| file.path == "empty").unwrap();
    assert_eq!(empty.sha256.as_str(), known, "SHA-256 of nothing, FIPS 180-4");
}

#[tokio::test]
async fn equal_files_of_two_versions_are_there_once() {
    let directory = tempfile::tempdir().unwrap();
    let cache = cache(&directory, 1 << 20);
    for version in [1, 2] {
        let graph = format!("graph {version}");
        staged(&cache, &shelf(&[(MODEL_FILE, graph.as_bytes()), ("w", &[1; 50])]), version).await.unwrap();
    }
    assert_eq!(fs::read_dir(directory.path().join("cache/blobs")).unwrap().count(), 3);
    cache.forget("churn", 1).unwrap();
    assert_eq!(laid_out(&cache, 2)["w"], [1; 50]);
    assert_eq!(fs::read_dir(directory.path().join("cache/blobs")).unwrap().count(), 2);
}

#[tokio::test]
async fn a_download_that_broke_off_goes_on_where_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let bytes: Vec<u8> = (0..=255).collect();
    let mut shelf = shelf(&[(MODEL_FILE, &bytes)]);
    shelf.breaks = Mutex::new(vec![100]);
    let error = staged(&cache(&directory, 1 << 20), &shelf, 1).await.unwrap_err();
    assert!(error.may_pass() && cache(&directory, 1 << 20).versions("churn").is_empty(), "{error}");
    staged(&cache(&directory, 1 << 20), &shelf, 1).await.unwrap();
    let cache = cache(&directory, 1 << 20);
    assert_eq!(laid_out(&cache, 1)[MODEL_FILE], bytes);
    // 256 bytes were asked for at first, and then those that had not come: not all of them again.
    assert!(shelf.pieces.load(Ordering::Relaxed) < 256 + 200);
}

#[tokio::test]
async fn files_that_are_longer_or_shorter_than_was_said_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    for said in [3, 1_000] {
        let mut shelf = shelf(&[(MODEL_FILE, b"graph")]);
        shelf.said = Some(said);
        let error = staged(&cache(&directory, 1 << 20), &shelf, 1).await.unwrap_err();
        assert!(matches!(error, StageError::WrongSize { expected, .. } if expected == said), "{error}");
        assert!(cache(&directory, 1 << 20).versions("churn").is_empty());
    }
}

#[tokio::test]
async fn a_file_that_is_not_the_one_that_was_named_is_refused_and_not_gone_on_from() {
    let directory = tempfile::tempdir().unwrap();
    let (named, came) = (Digest::of(b"graph"), Digest::of(b"grapf"));
    let mut shelf = shelf(&[(MODEL_FILE, b"grapf")]);
    shelf.tags.sha256 = Some(named.clone());
    let cache = cache(&directory, 1 << 20);
    let error = staged(&cache, &shelf, 1).await.unwrap_err();
    let StageError::WrongDigest(wrong) = &error else { panic!("{error}") };
    assert_eq!((wrong.path.as_str(), &wrong.expected, &wrong.found), (MODEL_FILE, &named, &came));
    assert!(!error.may_pass() && cache.versions("churn").is_empty());
    assert_eq!(fs::read_dir(directory.path().join("cache/partial")).unwrap().count(), 0);
    shelf.files.insert(MODEL_FILE.to_owned(), b"graph".to_vec());
    assert_eq!(staged(&cache, &shelf, 1).await.unwrap().files[0].sha256, named);
}

#[tokio::test]
async fn what_is_there_of_a_file_that_was_written_over_is_not_gone_on_from() {
    let directory = tempfile::tempdir().unwrap();
    let cache = cache(&directory, 1 << 20);
    let mut shelf = shelf(&[(MODEL_FILE, &[1; 100])]);
    (shelf.tags.e_tag, shelf.breaks) = (Some("first".to_owned()), Mutex::new(vec![50]));
    staged(&cache, &shelf, 1).await.unwrap_err();
    shelf.files.insert(MODEL_FILE.to_owned(), vec![2; 100]);
    shelf.tags.e_tag = Some("second".to_owned());
    let manifest = staged(&cache, &shelf, 1).await.unwrap();
    assert_eq!(laid_out(&cache, 1)[MODEL_FILE], [2; 100]);
    assert_eq!(manifest.identity, identity(&shelf.files(1).await.unwrap()));
    assert!(manifest.identity.is_some() && cache.versions("churn")[&1] == manifest);
}

#[tokio::test]
async fn paths_that_lead_elsewhere_and_versions_without_a_graph_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    for path in ["../../evil", "/etc/evil", "a/../../evil"] {
        let error = staged(&cache(&directory, 1 << 20), &shelf(&[(MODEL_FILE, b"g"), (path, b"x")]), 1).await;
        assert!(matches!(error, Err(StageError::Source(SourceError::Unexpected { .. }))), "{path}");
    }
    let error = staged(&cache(&directory, 1 << 20), &shelf(&[("model.pkl", b"g")]), 1).await.unwrap_err();
    assert!(error.to_string().contains("there is no model.onnx among its files: model.pkl"), "{error}");
    let clash = staged(&cache(&directory, 1 << 20), &shelf(&[(MODEL_FILE, b"g"), ("model.onnx/x", b"")]), 1).await;
    assert!(matches!(clash, Err(StageError::Source(_))));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing was written beside the cache");
}

#[tokio::test]
async fn what_was_not_used_for_longest_makes_room_and_what_is_in_use_never_does() {
    let directory = tempfile::tempdir().unwrap();
    let cache = cache(&directory, 300);
    for version in 1..=3 {
        staged(&cache, &shelf(&[(MODEL_FILE, &[version as u8; 90])]), version).await.unwrap();
        let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(version);
        let manifest = directory.path().join(format!("cache/versions/churn/{version}.json"));
        fs::File::options().append(true).open(manifest).unwrap().set_modified(old).unwrap();
    }
    cache.touch("churn", 1);
    let fourth = shelf(&[(MODEL_FILE, &[4; 90])]);
    cache.hold("churn", [2].into());
    staged(&cache, &fourth, 4).await.unwrap();
    assert_eq!(cache.versions("churn").into_keys().collect::<Vec<_>>(), [1, 2, 4]);
    let large = shelf(&[(MODEL_FILE, &[5; 250])]);
    let error = staged(&cache, &large, 5).await.unwrap_err();
    assert!(matches!(error, StageError::OverBudget { needed: 250, limit: 300, kept: 90 }), "{error}");
}

#[tokio::test]
async fn what_a_split_names_stays_whatever_the_registry_says() {
    let directory = tempfile::tempdir().unwrap();
    let (retired, _kept) = std::sync::mpsc::sync_channel(100);
    let mut publisher = crate::catalog::Publisher::new(retired, std::time::Duration::ZERO);
    let cache = cache(&directory, 300).serving(publisher.catalog());
    for version in 1..=3 {
        staged(&cache, &shelf(&[(MODEL_FILE, &[version as u8; 90])]), version).await.unwrap();
    }
    let mut settings = crate::config::Config::default().model("churn");
    settings.split = Some(BTreeMap::from([(1, 10_000)]));
    let present = crate::catalog::Present { fingerprint: 1, settled: true, registered_at: None };
    let versions = (1..=3).map(|version| (version, present)).collect();
    let model = crate::catalog::PresentModel { versions, ..crate::catalog::PresentModel::default() };
    let listing = BTreeMap::from([("churn".to_owned(), model)]);
    publisher.observe(&listing, |_| std::sync::Arc::new(settings.clone()), std::time::Duration::ZERO);
    cache.hold("churn", [2].into());
    staged(&cache, &shelf(&[(MODEL_FILE, &[4; 90])]), 4).await.unwrap();
    assert_eq!(cache.versions("churn").into_keys().collect::<Vec<_>>(), [1, 2, 4]);
    let large = shelf(&[(MODEL_FILE, &[5; 150])]);
    let error = staged(&cache, &large, 5).await.unwrap_err();
    assert!(matches!(error, StageError::OverBudget { needed: 150, limit: 300, kept: 180 }), "{error}");
}

#[tokio::test]
async fn a_source_that_hardly_sends_is_given_up_and_gone_on_from() {
    let directory = tempfile::tempdir().unwrap();
    let mut shelf = shelf(&[(MODEL_FILE, &[7; 200])]);
    shelf.falls_silent = true;
    shelf.breaks = Mutex::new(vec![usize::MAX, 100]);
    // Short, because it is waited for: nothing more comes, however long.
    let span = std::time::Duration::from_millis(10);
    let cache = cache(&directory, 1 << 20).with_least(1_000, span);
    let error = staged(&cache, &shelf, 1).await.unwrap_err();
    let StageError::TooSlow { path, bytes, least: 1_000, .. } = &error else { panic!("{error}") };
    assert_eq!((path.as_str(), *bytes), (MODEL_FILE, 98), "pieces of seven bytes");
    assert!(cache.versions("churn").is_empty());
    staged(&cache, &shelf, 1).await.unwrap();
    assert_eq!(laid_out(&cache, 1)[MODEL_FILE], [7; 200]);
    assert_eq!(shelf.pieces.load(Ordering::Relaxed), 200 + 102, "not all of it again");
}

#[test]
fn downloads_at_a_time_are_promised_no_more_than_there_is() {
    let directory = tempfile::tempdir().unwrap();
    let cache = cache(&directory, 300);
    let key = |name: &str| vec![Digest::of(name.as_bytes())];
    let first = cache.make_room((200, false), key("a")).unwrap();
    let error = cache.make_room((200, false), key("b")).unwrap_err();
    assert!(matches!(error, StageError::OverBudget { needed: 200, limit: 300, kept: 200 }), "{error}");
    let rest = cache.make_room((50, true), key("c")).unwrap();
    assert!(rest.take(30) && !rest.take(21) && rest.take(20), "two files of unknown length share what is left");
    assert!(cache.make_room((1, false), key("d")).is_err());
    drop((first, rest));
    assert!(cache.make_room((300, false), key("e")).is_ok());
}

#[test]
fn unfinished_files_of_other_downloads_count_and_are_the_first_to_go() {
    let directory = tempfile::tempdir().unwrap();
    let cache = cache(&directory, 300);
    let keys = ["old", "own", "running"].map(|name| Digest::of(name.as_bytes()));
    for key in &keys {
        fs::write(cache.partial(key), [0; 100]).unwrap();
    }
    let running = cache.make_room((100, false), vec![keys[2].clone()]).unwrap();
    assert!(keys.iter().all(|key| cache.partial(key).exists()));
    let _own = cache.make_room((150, false), vec![keys[1].clone()]).unwrap();
    assert_eq!(keys.each_ref().map(|key| cache.partial(key).exists()), [false, true, true]);
    drop(running);
}

#[tokio::test]
async fn bytes_that_changed_in_the_cache_are_found() {
    let directory = tempfile::tempdir().unwrap();
    let cache = cache(&directory, 1 << 20);
    let manifest = staged(&cache, &shelf(&[(MODEL_FILE, b"graph")]), 1).await.unwrap();
    let path = cache.directory("churn", 1).join(MODEL_FILE);
    fs::remove_file(&path).unwrap();
    fs::write(&path, b"grapf").unwrap();
    assert!(matches!(cache.prove("churn", &manifest), Err(StageError::Changed { .. })));
    fs::remove_file(&path).unwrap();
    assert!(matches!(cache.prove("churn", &manifest), Err(StageError::Disk { .. })));
}

#[tokio::test]
async fn a_start_removes_what_was_unfinished_and_keeps_what_is_whole() {
    let directory = tempfile::tempdir().unwrap();
    let first = cache(&directory, 1 << 20);
    staged(&first, &shelf(&[(MODEL_FILE, b"graph")]), 1).await.unwrap();
    let root = directory.path().join("cache");
    fs::create_dir_all(root.join("view/churn/2.new")).unwrap();
    fs::write(root.join("view/churn/2.new/model.onnx"), "half").unwrap();
    fs::write(root.join("versions/churn/2.new"), "{").unwrap();
    fs::create_dir_all(root.join("view/churn/3")).unwrap();
    fs::write(root.join("versions/churn/4.json"), "{\"version\":4").unwrap();
    let second = cache(&directory, 1 << 20);
    assert!(!root.join("view/churn/2.new").exists() && !root.join("versions/churn/2.new").exists());
    assert_eq!(second.versions("churn").into_keys().collect::<Vec<_>>(), [1], "3 has no manifest, 4 has half of one");
}

#[test]
fn what_was_wanted_is_remembered() {
    let directory = tempfile::tempdir().unwrap();
    let cache = cache(&directory, 1 << 20);
    assert_eq!(cache.roles("churn"), None);
    let roles = crate::catalog::Roles { stable: Some(4), canary: Some(5), shadow: None, warm: [5, 6].into() };
    cache.save_roles("churn", &roles).unwrap();
    assert_eq!(cache.roles("churn"), Some(roles));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn however_often_downloads_break_off_the_bytes_are_the_right_ones(
        sizes in prop::collection::vec(0_usize..400, 1..5),
        breaks in prop::collection::vec(0_usize..400, 0..8),
        ranges in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let mut files: BTreeMap<String, Vec<u8>> = sizes
            .iter()
            .enumerate()
            .map(|(index, size)| (format!("f{index}"), (0..*size).map(|byte| (byte * (index + 3)) as u8).collect()))
            .collect();
        files.insert(MODEL_FILE.to_owned(), b"graph".to_vec());
        let shelf = Shelf { files, ranges, breaks: Mutex::new(breaks.clone()), ..Shelf::default() };
        let mut attempts = 0;
        while runtime.block_on(staged(&cache(&directory, 1 << 20), &shelf, 1)).is_err() {
            attempts += 1;
            prop_assert!(attempts <= breaks.len(), "each break costs one attempt at most");
        }
        prop_assert_eq!(laid_out(&cache(&directory, 1 << 20), 1), shelf.files);
    }
}
