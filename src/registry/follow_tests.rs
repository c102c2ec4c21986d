//! What a follower reports, from a registry that moves, lies and falls silent.

use super::MODEL_FILE;
use super::board::SourceBoard;
use super::follow::{Follower, Watch};
use super::source::{Asked, Lineage, Offer, RemoteBytes, RemoteFile, Source, SourceError, identity};
use super::staging::Cache;
use crate::catalog::{PresentModel, Roles};
use crate::config::SourceSettings;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tokio::sync::Notify;

/// A registry in memory.
#[derive(Debug, Default)]
struct Registry(Mutex<Shelf>);

#[derive(Debug, Default)]
struct Shelf {
    stable: Option<u64>,
    warm: Vec<u64>,
    /// Graphs by version; a version without one cannot be fetched.
    graphs: BTreeMap<u64, Vec<u8>>,
    tags: BTreeMap<String, String>,
    /// What the settings ask for.
    required: Vec<String>,
    is_down: bool,
    /// Whether the source says what its files are before they are fetched.
    tags_files: bool,
    /// What else it says.
    again: Option<Duration>,
    fetched: usize,
    /// A version whose bytes never come.
    stuck: Option<u64>,
    /// A version of which nothing is said any more once its bytes have begun.
    silent: Option<u64>,
    place: String,
}

impl Shelf {
    fn file(&self, graph: &[u8]) -> RemoteFile {
        let e_tag = self.tags_files.then(|| format!("{graph:?}"));
        RemoteFile { path: MODEL_FILE.into(), size: Some(graph.len() as u64), e_tag, ..RemoteFile::default() }
    }
}

struct Whole(Option<Bytes>);

/// The bytes of which nothing comes.
struct Silence;

impl RemoteBytes for Silence {
    fn position(&self) -> u64 {
        0
    }

    fn next(&mut self) -> Asked<'_, Option<Bytes>> {
        Box::pin(std::future::pending())
    }
}

impl RemoteBytes for Whole {
    fn position(&self) -> u64 {
        0
    }

    fn next(&mut self) -> Asked<'_, Option<Bytes>> {
        let piece = self.0.take();
        Box::pin(async move { Ok(piece) })
    }
}

fn down() -> SourceError {
    SourceError::Unreachable { place: "the registry".into(), cause: "connection refused".into() }
}

impl Source for Registry {
    fn place(&self) -> String {
        self.0.lock().unwrap().place.clone()
    }

    fn offer(&self) -> Asked<'_, Offer> {
        let shelf = self.0.lock().unwrap();
        let roles = Roles { stable: shelf.stable, warm: shelf.warm.iter().copied().collect(), ..Roles::default() };
        let lineage = |version| {
            let identity = shelf.graphs.get(&version).and_then(|graph| identity(&[shelf.file(graph)]));
            let registered_at = Some(1_000 + version);
            (version, Lineage { tags: shelf.tags.clone(), identity, registered_at, ..Lineage::default() })
        };
        let offer =
            Offer { versions: roles.named().map(lineage).collect(), roles, again: shelf.again, ..Offer::default() };
        let answer = if shelf.is_down { Err(down()) } else { Ok(offer) };
        Box::pin(async move { answer })
    }

    fn files(&self, version: u64) -> Asked<'_, Vec<RemoteFile>> {
        let mut shelf = self.0.lock().unwrap();
        shelf.fetched += 1;
        let answer = match shelf.graphs.get(&version).map(|graph| shelf.file(graph)) {
            _ if shelf.is_down => Err(down()),
            Some(file) => Ok(vec![file]),
            None => Ok(vec![RemoteFile { path: "model.pkl".into(), size: Some(3), ..RemoteFile::default() }]),
        };
        Box::pin(async move { answer })
    }

    fn open<'a>(&'a self, version: u64, _file: &'a RemoteFile, _start: u64) -> Asked<'a, Box<dyn RemoteBytes>> {
        let shelf = self.0.lock().unwrap();
        let (bytes, is_stuck) = (Bytes::from(shelf.graphs[&version].clone()), shelf.stuck == Some(version));
        let is_silent = shelf.silent == Some(version);
        Box::pin(async move {
            if is_silent {
                return Ok(Box::new(Silence) as Box<dyn RemoteBytes>);
            }
            if is_stuck {
                std::future::pending::<()>().await;
            }
            Ok(Box::new(Whole(Some(bytes))) as Box<dyn RemoteBytes>)
        })
    }
}

struct Case {
    directory: tempfile::TempDir,
    registry: Arc<Registry>,
    board: Arc<SourceBoard>,
    follower: Follower,
    wake: Arc<Notify>,
}

impl Case {
    fn new(versions: &[u64], stable: u64, warm: &[u64]) -> Self {
        let graphs = versions.iter().map(|version| (*version, format!("graph {version}").into_bytes())).collect();
        let shelf = Shelf { stable: Some(stable), warm: warm.to_vec(), graphs, ..Shelf::default() };
        let (directory, registry) = (tempfile::tempdir().unwrap(), Arc::new(Registry(Mutex::new(shelf))));
        let board = Arc::new(SourceBoard::default());
        let mut follower = follower(&directory, &registry, &board);
        assert_eq!(follower.recall(), None, "a new cache is empty");
        Self { directory, registry, board, follower, wake: Arc::default() }
    }

    /// As a new process would.
    fn restart(&mut self) -> Option<PresentModel> {
        self.follower = follower(&self.directory, &self.registry, &self.board);
        self.follower.recall()
    }

    async fn look_once(&mut self) -> PresentModel {
        let watch = Watch { wake: Arc::clone(&self.wake), interval: Duration::from_secs(30) };
        self.follower.look(SystemTime::now(), &watch).await
    }

    /// Looks until there is nothing more to do at once.
    async fn look(&mut self) -> (Option<u64>, Vec<u64>, Vec<u64>) {
        let mut present = self.look_once().await;
        while self.follower.pause(Duration::from_secs(30), 1.0).is_zero() {
            present = self.look_once().await;
        }
        let PresentModel { versions, roles, .. } = present;
        let roles = roles.unwrap();
        (roles.stable, roles.warm.into_iter().collect(), versions.into_keys().collect())
    }

    fn change(&self, change: impl FnOnce(&mut Shelf)) {
        change(&mut self.registry.0.lock().unwrap());
    }

    fn problems(&self) -> String {
        self.board.view("churn", SystemTime::now()).unwrap().problems.join("; ")
    }
}

fn follower(directory: &tempfile::TempDir, registry: &Arc<Registry>, board: &Arc<SourceBoard>) -> Follower {
    let cache = Cache::open(directory.path().join("cache"), 1 << 20, 2).unwrap();
    // Short, for a source that says nothing any more; the others say all at once.
    let cache = cache.with_least(1, Duration::from_millis(1));
    let source = Arc::clone(registry) as Arc<dyn Source>;
    let require_tags = registry.0.lock().unwrap().required.clone();
    let settings = SourceSettings { uri: "models:/churn".into(), require_tags, roles: BTreeMap::new() };
    Follower::new("churn", &settings, source, cache, Arc::clone(board))
}

#[tokio::test]
async fn what_is_wanted_is_fetched_once_and_reported_with_its_roles() {
    let mut case = Case::new(&[1, 2, 3], 1, &[2]);
    assert_eq!(case.look().await, (Some(1), vec![2], vec![1, 2]));
    assert_eq!(case.look().await, (Some(1), vec![2], vec![1, 2]));
    assert_eq!(case.registry.0.lock().unwrap().fetched, 2);
    case.change(|shelf| shelf.stable = Some(3));
    assert_eq!(case.look().await, (Some(3), vec![2], vec![1, 2, 3]));
    assert_eq!(case.problems(), "");
}

#[tokio::test]
async fn a_version_that_is_not_whole_leaves_the_one_before_and_is_tried_again_less_and_less_often() {
    let mut case = Case::new(&[1], 1, &[]);
    case.look().await;
    case.change(|shelf| shelf.stable = Some(2));
    let mut fetched_at = Vec::new();
    for look in 1..=200 {
        let before = case.registry.0.lock().unwrap().fetched;
        assert_eq!(case.look().await, (Some(1), vec![], vec![1]));
        fetched_at.extend((case.registry.0.lock().unwrap().fetched > before).then_some(look));
    }
    assert_eq!(fetched_at, [1, 3, 7, 15, 31, 63, 127, 191]);
    assert!(case.problems().contains("version 2: there is no model.onnx among its files: model.pkl"));
    case.change(|shelf| drop(shelf.graphs.insert(2, b"graph".to_vec())));
    let mut looks = 0;
    while case.look().await != (Some(2), vec![], vec![1, 2]) {
        looks += 1;
        assert!(looks <= 64, "it is whole, and nobody has to say so");
    }
    assert_eq!(case.problems(), "");
}

#[tokio::test]
async fn a_download_that_does_not_get_on_is_given_up_and_tried_again_less_and_less_often() {
    let mut case = Case::new(&[1, 2], 1, &[]);
    case.look().await;
    case.change(|shelf| (shelf.stable, shelf.silent) = (Some(2), Some(2)));
    let mut fetched_at = Vec::new();
    for look in 1..=16 {
        let before = case.registry.0.lock().unwrap().fetched;
        assert_eq!(case.look().await, (Some(1), vec![], vec![1]));
        fetched_at.extend((case.registry.0.lock().unwrap().fetched > before).then_some(look));
    }
    assert_eq!(fetched_at, [1, 3, 7, 15]);
    let said = "version 2: model.onnx: 0 bytes came in 0 s, expected at least 1; it is given up";
    assert!(case.problems().starts_with(said), "{}", case.problems());
    case.change(|shelf| shelf.silent = None);
    while case.look().await != (Some(2), vec![], vec![1, 2]) {}
}

#[tokio::test]
async fn a_version_that_somebody_writes_on_is_tried_again_at_once() {
    let mut case = Case::new(&[1], 1, &[2]);
    case.look().await;
    case.change(|shelf| {
        shelf.graphs.insert(2, b"graph".to_vec());
        shelf.tags.insert("repaired".into(), "yes".into());
    });
    assert_eq!(case.look().await, (Some(1), vec![2], vec![1, 2]));
}

#[tokio::test]
async fn a_registry_that_is_down_changes_nothing_and_is_asked_less_often() {
    let mut case = Case::new(&[1, 2], 1, &[2]);
    let usual = case.look().await;
    let interval = Duration::from_secs(30);
    assert!((Duration::from_secs(27)..=interval).contains(&case.follower.pause(interval, 0.5)));
    case.change(|shelf| shelf.is_down = true);
    for longest in [30, 60, 120, 240, 240] {
        assert_eq!(case.look().await, usual);
        assert_eq!(case.follower.pause(interval, 1.0), Duration::from_secs(longest));
    }
    assert!(case.problems().contains("the registry cannot be reached: connection refused"), "{}", case.problems());
    case.change(|shelf| shelf.is_down = false);
    assert_eq!(case.look().await, usual);
    assert_eq!((case.problems(), case.follower.pause(interval, 1.0)), (String::new(), interval));
}

#[tokio::test]
async fn a_start_without_the_registry_serves_what_the_cache_has() {
    let mut case = Case::new(&[1, 2], 1, &[2]);
    assert_eq!(case.restart(), None, "nothing was fetched yet");
    let before = case.look_once().await;
    assert_eq!(before.versions[&1].registered_at, Some(1_001));
    case.change(|shelf| shelf.is_down = true);
    assert_eq!(case.restart(), Some(before.clone()));
    assert_eq!(case.look_once().await, before);
}

#[tokio::test]
async fn where_versions_come_from_is_known_after_a_start_without_the_registry() {
    let mut case = Case::new(&[1, 2], 1, &[2]);
    case.change(|shelf| drop(shelf.tags.insert("data".into(), "v3".into())));
    case.look().await;
    let lineage = |case: &Case| case.board.view("churn", SystemTime::now()).unwrap().lineage;
    let known = lineage(&case);
    assert_eq!((known.len(), known[&2].tags["data"].as_str()), (2, "v3"));
    case.change(|shelf| shelf.is_down = true);
    case.board = Arc::default();
    case.restart();
    assert_eq!(lineage(&case), known);
    case.look().await;
    assert_eq!(lineage(&case), known);
}

#[tokio::test]
async fn a_cached_version_that_was_changed_is_fetched_anew() {
    let mut case = Case::new(&[1, 2], 1, &[2]);
    let usual = case.look().await;
    let file = case.directory.path().join("cache/view/churn/2").join(MODEL_FILE);
    std::fs::remove_file(&file).unwrap();
    std::fs::write(&file, "graph X").unwrap();
    let recalled = case.restart().unwrap();
    assert_eq!(recalled.versions.into_keys().collect::<Vec<_>>(), [1]);
    assert_eq!(case.look().await, usual);
    assert_eq!(std::fs::read(&file).unwrap(), b"graph 2");
}

#[tokio::test]
async fn a_version_that_was_written_over_is_fetched_anew_and_stays_until_that_is_here() {
    let mut case = Case::new(&[1], 1, &[]);
    case.change(|shelf| shelf.tags_files = true);
    case.look().await;
    case.look().await;
    assert_eq!(case.registry.0.lock().unwrap().fetched, 1);
    let file = case.directory.path().join("cache/view/churn/1").join(MODEL_FILE);
    let before = case.look_once().await;
    case.change(|shelf| drop(shelf.graphs.remove(&1)));
    assert_eq!(case.look_once().await, before, "gone at the source, and here");
    case.change(|shelf| drop(shelf.graphs.insert(1, b"another".to_vec())));
    let after = case.look_once().await;
    assert_eq!(std::fs::read(&file).unwrap(), b"another");
    assert!(after.roles == before.roles && after.versions != before.versions, "its fingerprint is another");
}

#[tokio::test]
async fn a_source_that_expects_something_soon_is_asked_soon() {
    let mut case = Case::new(&[1], 1, &[]);
    let (soon, interval) = (Duration::from_secs(2), Duration::from_secs(30));
    case.change(|shelf| shelf.again = Some(soon));
    case.look().await;
    assert_eq!(case.follower.pause(interval, 1.0), soon);
    case.change(|shelf| shelf.is_down = true);
    case.look().await;
    assert_eq!(case.follower.pause(interval, 1.0), interval);
}

#[tokio::test]
async fn a_version_without_its_tags_is_neither_fetched_nor_made_stable() {
    let mut case = Case::new(&[1, 2], 1, &[2]);
    case.change(|shelf| {
        shelf.required = vec!["approved".into(), "data".into()];
        drop(shelf.tags.insert("data".into(), "v3".into()));
    });
    case.restart();
    assert_eq!(case.look().await, (None, vec![], vec![]));
    assert_eq!(case.problems(), "version 1: it lacks the tags approved; version 2: it lacks the tags approved");
    case.change(|shelf| drop(shelf.tags.insert("approved".into(), "Ada".into())));
    assert_eq!(case.look().await, (Some(1), vec![2], vec![1, 2]));
    case.change(|shelf| {
        shelf.tags.clear();
        shelf.stable = Some(2);
    });
    assert_eq!(case.look().await, (Some(1), vec![], vec![1]), "what serves goes on; the other may not even by a split");
}

#[tokio::test]
async fn a_download_is_put_off_when_something_else_is_wanted_and_goes_on_when_it_is_again() {
    let mut case = Case::new(&[1, 2, 3], 1, &[]);
    case.look().await;
    case.change(|shelf| (shelf.stable, shelf.stuck) = (Some(2), Some(2)));
    let (registry, wake) = (Arc::clone(&case.registry), Arc::clone(&case.wake));
    let moved = async {
        // A webhook that changes nothing, and then one that does.
        wake.notify_one();
        tokio::task::yield_now().await;
        registry.0.lock().unwrap().stable = Some(3);
        wake.notify_one();
    };
    let both = async { tokio::join!(case.look(), moved).0 };
    let seen = tokio::time::timeout(Duration::from_secs(60), both).await.expect("the download is put off");
    assert_eq!(seen, (Some(3), vec![], vec![1, 3]));
    assert_eq!(case.board.view("churn", SystemTime::now()).unwrap().download, None);
    case.change(|shelf| (shelf.stable, shelf.stuck) = (Some(2), None));
    assert_eq!(case.look().await, (Some(2), vec![], vec![1, 2, 3]));
}

#[tokio::test]
async fn a_version_that_serves_does_not_wait_for_one_that_is_kept_warm() {
    let mut case = Case::new(&[1, 2, 3], 1, &[]);
    case.look().await;
    case.change(|shelf| (shelf.stable, shelf.warm, shelf.stuck) = (Some(2), vec![3], Some(3)));
    let present = case.look_once().await;
    assert_eq!(present.roles.unwrap().stable, Some(2));
    assert!(case.follower.pause(Duration::from_secs(30), 1.0).is_zero(), "the other is fetched at once");
}

#[tokio::test]
async fn what_came_from_elsewhere_is_not_served_as_what_is_wanted() {
    let mut case = Case::new(&[1, 2], 1, &[2]);
    case.look().await;
    assert_eq!(case.restart().unwrap().versions.len(), 2);
    case.change(|shelf| {
        shelf.place = "another registry".into();
        shelf.is_down = true;
    });
    assert_eq!(case.restart(), None);
    assert_eq!(case.look().await, (None, vec![], vec![]));
    case.change(|shelf| {
        shelf.graphs.insert(1, b"another graph".to_vec());
        shelf.is_down = false;
    });
    assert_eq!(case.look().await, (Some(1), vec![2], vec![1, 2]));
    let served = case.directory.path().join("cache/view/churn/1").join(MODEL_FILE);
    assert_eq!(std::fs::read(served).unwrap(), b"another graph");
}

#[tokio::test]
async fn a_start_without_the_registry_serves_what_served_before_if_the_latest_is_damaged() {
    let mut case = Case::new(&[1, 2, 3, 4], 1, &[]);
    case.look().await;
    for stable in [2, 3] {
        case.change(|shelf| (shelf.stable, shelf.warm) = (Some(stable), vec![4]));
        case.look().await;
    }
    case.change(|shelf| shelf.is_down = true);
    let kept = |version: u64| case.directory.path().join(format!("cache/versions/churn/{version}.json"));
    for version in 1..=4 {
        let second = SystemTime::UNIX_EPOCH + Duration::from_secs(version);
        std::fs::File::options().append(true).open(kept(version)).unwrap().set_modified(second).unwrap();
    }
    let file = case.directory.path().join("cache/view/churn/3").join(MODEL_FILE);
    std::fs::remove_file(&file).unwrap();
    std::fs::write(&file, "graph X").unwrap();
    let recalled = case.restart().unwrap();
    let roles = recalled.roles.unwrap();
    assert_eq!(roles.stable, Some(2), "the one before, and not the challenger, which nobody has tried");
    assert_eq!(case.problems(), "version 3 is not whole in the cache; version 2 serves until it is fetched");
    assert_eq!(case.look().await, (Some(2), vec![4], vec![1, 2, 4]));
    case.change(|shelf| shelf.is_down = false);
    assert_eq!(case.look().await, (Some(3), vec![4], vec![1, 2, 3, 4]));
}
