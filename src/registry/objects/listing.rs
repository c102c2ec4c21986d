//! What is below a prefix, and when a version there is whole.
//!
//! Objects are whole one by one, a version of several is not: whoever uploads it does so file by file. With a manifest
//! there is no doubt: what it names is there, as long as it says, or not yet. Without one the only sign is that nothing
//! changes any more, which is a guess: two looks at least [`QUIET`] apart saw the same, or the newest object has been there
//! for [`SETTLED`], by this machine's clock (a start does not wait then; stores refuse clocks that differ by more than
//! minutes). An upload that pauses for longer between two files is taken for whole, fails to load, and is fetched anew when
//! the rest is there.
//!
//! Invariant: a list has at most as many files and versions as its limit says, and every path in it stays in its version.

use super::store::Store;
use crate::registry::manifest::{FileManifest, LARGEST_MANIFEST, StoredFile};
use crate::registry::source::{MOST_FILES, RemoteFile, SourceError, checked_path};
use crate::registry::{MANIFEST_FILE, MODEL_FILE};
use futures_util::StreamExt;
use object_store::path::Path;
use object_store::{GetOptions, ObjectMeta};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// How long nothing of a version must change before it is taken to be whole.
pub(super) const QUIET: Duration = Duration::from_secs(2);
/// Objects that were last written longer ago than this are taken to be all there is.
pub(super) const SETTLED: Duration = Duration::from_secs(300);
/// The most versions of a model in a store.
pub(super) const MOST_VERSIONS: usize = 10_000;
/// Longest wait for a list of what is directly below a prefix, and with it the most of it.
const LONGEST_LISTING: Duration = Duration::from_secs(60);

/// What is directly below a model's prefix.
#[derive(Debug, Default)]
pub(super) struct Top {
    /// The versions, in order.
    pub(super) versions: Vec<u64>,
    /// The file of aliases, if there is one.
    pub(super) aliases: Option<ObjectMeta>,
}

/// The versions below a prefix. `01` and `+1` would be a second name for version 1 and are none.
pub(super) async fn top(store: &Store, prefix: &Path, aliases: &str) -> Result<Top, SourceError> {
    let what = format!("the versions below {}", store.name_of(prefix));
    let late = |_elapsed| SourceError::Unreachable {
        place: store.asked.place.clone(),
        cause: format!("{what} were not listed within {LONGEST_LISTING:?}"),
    };
    let listed = tokio::time::timeout(LONGEST_LISTING, store.objects.list_with_delimiter(Some(prefix))).await;
    let listed = listed.map_err(late)?.map_err(|error| store.failed(&error, &what))?;
    let number = |path: &Path| {
        let name = path.filename()?;
        name.parse().ok().filter(|number: &u64| number.to_string() == name && *number > 0)
    };
    let mut versions: Vec<u64> = listed.common_prefixes.iter().filter_map(number).collect();
    if versions.len() > MOST_VERSIONS {
        return Err(store.unexpected(format!("expected at most {MOST_VERSIONS} versions, found {}", versions.len())));
    }
    versions.sort_unstable();
    let aliases = listed.objects.into_iter().find(|object| object.location.filename() == Some(aliases));
    Ok(Top { versions, aliases })
}

/// Every file below a prefix, in the order of their paths, and when the newest of them was written.
pub(in crate::registry) async fn files(
    store: &Store,
    prefix: &Path,
) -> Result<(Vec<RemoteFile>, SystemTime), SourceError> {
    let what = format!("the files below {}", store.name_of(prefix));
    let mut objects = store.objects.list(Some(prefix));
    let (mut files, mut newest) = (Vec::new(), SystemTime::UNIX_EPOCH);
    while let Some(object) = objects.next().await {
        let object = object.map_err(|error| store.failed(&error, &what))?;
        let Some(path) = below(&object.location, prefix) else { continue };
        if files.len() == MOST_FILES {
            return Err(store.unexpected(format!("expected at most {MOST_FILES} files, found more in {what}")));
        }
        newest = newest.max(SystemTime::from(object.last_modified));
        let path = checked_path(path)?.to_owned();
        files.push(RemoteFile { path, size: Some(object.size), sha256: None, e_tag: object.e_tag });
    }
    files.sort_by(|left, right| left.path.cmp(&right.path));
    Ok((without_markers(files), newest))
}

/// A path within a prefix; nothing for the prefix itself, which some tools make an empty object of.
fn below<'a>(location: &'a Path, prefix: &Path) -> Option<&'a str> {
    let rest = location.as_ref().strip_prefix(prefix.as_ref())?;
    let rest = if prefix.is_root() { rest } else { rest.strip_prefix('/')? };
    Some(rest).filter(|rest| !rest.is_empty())
}

/// Without the empty objects that some tools make of directories.
fn without_markers(files: Vec<RemoteFile>) -> Vec<RemoteFile> {
    let is_directory = |file: &RemoteFile| {
        let inside = format!("{}/", file.path);
        let after = files.partition_point(|other| other.path < inside);
        file.size == Some(0) && files.get(after).is_some_and(|next| next.path.starts_with(&inside))
    };
    let markers: Vec<bool> = files.iter().map(is_directory).collect();
    files.into_iter().zip(markers).filter_map(|(file, is_marker)| (!is_marker).then_some(file)).collect()
}

/// A small object, as it was listed.
pub(super) async fn small(
    store: &Store,
    path: &Path,
    (size, e_tag): (u64, Option<String>),
    limit: u64,
) -> Result<Vec<u8>, SourceError> {
    let what = store.name_of(path);
    if size > limit {
        return Err(store.unexpected(format!("expected at most {limit} bytes of {what}, found {size}")));
    }
    let options = GetOptions { if_match: e_tag, ..GetOptions::default() };
    let got = store.objects.get_opts(path, options).await.map_err(|error| store.failed(&error, &what))?;
    if got.meta.size > limit {
        return Err(store.unexpected(format!("expected at most {limit} bytes of {what}, found {}", got.meta.size)));
    }
    Ok(got.bytes().await.map_err(|error| store.failed(&error, &what))?.to_vec())
}

/// What is known of one version.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    listed: Arc<Vec<RemoteFile>>,
    /// Since when it is listed like that.
    since: SystemTime,
    newest: SystemTime,
    /// What it is made of by its manifest, or what is wrong with that.
    manifest: Option<Result<Arc<FileManifest>, String>>,
    /// What it was when it was last whole.
    whole: Option<Whole>,
}

/// A version that was whole.
#[derive(Clone, Debug)]
struct Whole {
    files: Arc<Vec<RemoteFile>>,
    /// When the newest of them was written.
    newest: SystemTime,
}

/// Whether a version is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is: these are its files.
    Whole(Vec<RemoteFile>),
    /// Nothing is lacking that could be named; it must be seen again like this.
    Waiting,
    /// It is not.
    Lacking(String),
}

impl Seen {
    /// Looks at a version, `before` being what was seen of it.
    pub(super) async fn look(
        store: &Store,
        prefix: &Path,
        before: Option<&Self>,
        now: SystemTime,
    ) -> Result<Self, SourceError> {
        let (listed, newest) = files(store, prefix).await?;
        if let Some(before) = before.filter(|before| *before.listed == listed) {
            return Ok(Self { whole: before.whole(now).or(before.whole.clone()), ..before.clone() });
        }
        let manifest = match listed.iter().find(|file| file.path == MANIFEST_FILE) {
            Some(file) => Some(manifest(store, prefix, file).await?),
            None => None,
        };
        let whole = before.and_then(|before| before.whole.clone());
        let mut seen = Self { listed: Arc::new(listed), since: now, newest, manifest, whole };
        seen.whole = seen.whole(now).or(seen.whole);
        Ok(seen)
    }

    /// Its files when it was last whole, if it ever was.
    pub(super) fn last_whole(&self) -> Option<&Arc<Vec<RemoteFile>>> {
        self.whole.as_ref().map(|whole| &whole.files)
    }

    /// Unix milliseconds when the newest of those was written, by the store's clock.
    pub(super) fn last_written(&self) -> Option<u64> {
        let written = self.whole.as_ref()?.newest.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        u64::try_from(written.as_millis()).ok()
    }

    /// What it is, if it is whole as it is listed.
    fn whole(&self, now: SystemTime) -> Option<Whole> {
        let Verdict::Whole(files) = self.judge(now) else { return None };
        Some(Whole { files: Arc::new(files), newest: self.newest })
    }

    /// Whether it is whole as it is listed.
    pub(super) fn judge(&self, now: SystemTime) -> Verdict {
        let size_of = |path: &str| self.listed.iter().find(|file| file.path == path)?.size;
        match &self.manifest {
            Some(Err(reason)) => Verdict::Lacking(reason.clone()),
            Some(Ok(manifest)) => match manifest.lacking(size_of) {
                Some(reason) => Verdict::Lacking(reason),
                None => Verdict::Whole(manifest.files().iter().map(|file| self.named(file)).collect()),
            },
            None if size_of(MODEL_FILE).is_none() => Verdict::Lacking(format!("there is no {MODEL_FILE} in it")),
            None if is_past(self.since, QUIET, now) || is_past(self.newest, SETTLED, now) => {
                Verdict::Whole(self.listed.to_vec())
            }
            None => Verdict::Waiting,
        }
    }

    fn named(&self, StoredFile { path, sha256, size }: &StoredFile) -> RemoteFile {
        let e_tag = self.listed.iter().find(|file| file.path == *path).and_then(|file| file.e_tag.clone());
        RemoteFile { path: path.clone(), size: Some(*size), sha256: Some(sha256.clone()), e_tag }
    }
}

fn is_past(then: SystemTime, time: Duration, now: SystemTime) -> bool {
    now.duration_since(then).is_ok_and(|past| past >= time)
}

async fn manifest(
    store: &Store,
    prefix: &Path,
    file: &RemoteFile,
) -> Result<Result<Arc<FileManifest>, String>, SourceError> {
    let path = prefix.clone().join(MANIFEST_FILE);
    let text = small(store, &path, (file.size.unwrap_or(0), file.e_tag.clone()), LARGEST_MANIFEST).await?;
    Ok(FileManifest::parse(&text).map(Arc::new).map_err(|error| error.to_string()))
}

/// The aliases of a model and the versions that they point to.
pub(super) fn parse_aliases(text: &[u8]) -> Result<BTreeMap<String, u64>, String> {
    let read: BTreeMap<String, u64> =
        serde_json::from_slice(text).map_err(|error| format!("expected {{\"alias\": version, …}}, {error}"))?;
    match read.iter().find(|(_, version)| **version == 0) {
        Some((alias, _)) => Err(format!("expected versions from 1 on, found 0 for {alias:?}")),
        None => Ok(read),
    }
}
