//! The cache's directory: blobs, manifests, and the view of them that models are loaded from.
//!
//! All of it blocks on the disk, and none of it on the network. Room is made before a download: what was not used for
//! longest and is not in use goes first, its manifest before its files, so that no manifest ever names what is gone.
//!
//! Invariant: a blob's name is the digest of its bytes when it got that name; a manifest is written after its view.

use super::disk::{UNFINISHED, free_bytes, link, names, read_json, remove, sync_directory, write_json};
use super::pace::{LEAST, Least};
use super::room::{Promises, Room};
use super::{Digest, Manifest, StageError};
use crate::catalog::{Catalog, Roles};
use crate::registry::source::Lineage;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// Directories of the cache.
const DIRECTORIES: [&str; 7] = ["blobs", "partial", "versions", "view", "roles", "lineage", "places"];

/// Bytes of the disk that downloads leave free: journals and logs are often beside them.
const SPARED: u64 = 64 << 20;

/// The files of fetched versions.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
    max_bytes: u64,
    parallel: usize,
    /// What a source must bring at least.
    pub(super) least: Least,
    /// Versions that may not be removed to make room, by model.
    in_use: Arc<Mutex<BTreeMap<String, BTreeSet<u64>>>>,
    /// Knows what serves, or is about to, besides.
    catalog: Option<Arc<Catalog>>,
    /// What downloads that are under way may take.
    promises: Arc<Mutex<Promises>>,
    /// Held while blobs come or go: between a blob and its manifest nobody may sweep.
    changing: Arc<Mutex<()>>,
}

/// A version that is kept.
struct Kept {
    model: String,
    used: SystemTime,
    manifest: Manifest,
}

impl Cache {
    /// The cache in a directory, which is made if it is not there. What an earlier process left unfinished is removed, but
    /// for downloads, which go on. `parallel` files are fetched at a time.
    ///
    /// # Errors
    /// [`StageError::Disk`] when the directory cannot be made or cleaned.
    pub fn open(root: PathBuf, max_bytes: u64, parallel: usize) -> Result<Self, StageError> {
        for name in DIRECTORIES {
            let path = root.join(name);
            fs::create_dir_all(&path).map_err(|cause| StageError::Disk { path, cause })?;
        }
        let cache = Self {
            root,
            max_bytes,
            parallel,
            least: LEAST,
            in_use: Arc::default(),
            catalog: None,
            promises: Arc::default(),
            changing: Arc::default(),
        };
        for part in ["versions", "view"] {
            for model in names(&cache.root.join(part)) {
                let folder = cache.root.join(part).join(model);
                for name in names(&folder).into_iter().filter(|name| name.ends_with(UNFINISHED)) {
                    remove(&folder.join(name))?;
                }
            }
        }
        Ok(cache)
    }

    /// The same, which also keeps what this catalog needs: what a split names, whatever its registry says.
    #[must_use]
    pub fn serving(self, catalog: Arc<Catalog>) -> Self {
        Self { catalog: Some(catalog), ..self }
    }

    /// The same, with another least that a source must bring in a span.
    #[cfg(test)]
    pub(in crate::registry) fn with_least(self, bytes: u64, span: std::time::Duration) -> Self {
        Self { least: Least { bytes, span }, ..self }
    }

    /// Where models are loaded from, in the repository's layout.
    #[must_use]
    pub fn view(&self) -> PathBuf {
        Self::view_of(&self.root)
    }

    /// The same, of the cache in a directory.
    #[must_use]
    pub fn view_of(root: &Path) -> PathBuf {
        root.join("view")
    }

    /// The directory of a version.
    #[must_use]
    pub fn directory(&self, model: &str, version: u64) -> PathBuf {
        self.view().join(model).join(version.to_string())
    }

    /// Files that are fetched at a time.
    #[must_use]
    pub fn parallel(&self) -> usize {
        self.parallel
    }

    /// Says which versions of a model are in use: all others may go when room is needed.
    pub fn hold(&self, model: &str, versions: BTreeSet<u64>) {
        lock(&self.in_use).insert(model.to_owned(), versions);
    }

    /// Every version of a model that is whole.
    #[must_use]
    pub fn versions(&self, model: &str) -> BTreeMap<u64, Manifest> {
        let folder = self.root.join("versions").join(model);
        let numbers = names(&folder).into_iter().filter_map(|name| name.strip_suffix(".json")?.parse::<u64>().ok());
        numbers.filter_map(|number| Some((number, self.manifest(model, number)?))).collect()
    }

    /// The versions of a model that are whole, the one that was in use last first; the higher one on a tie.
    #[must_use]
    pub fn by_last_use(&self, model: &str) -> Vec<u64> {
        let used = |version| fs::metadata(self.manifest_path(model, version)).and_then(|file| file.modified()).ok();
        let mut versions: Vec<_> = self.versions(model).into_keys().map(|version| (used(version), version)).collect();
        versions.sort_by(|left, right| right.cmp(left));
        versions.into_iter().map(|(_, version)| version).collect()
    }

    /// The manifest of a version, if it is whole.
    #[must_use]
    pub fn manifest(&self, model: &str, version: u64) -> Option<Manifest> {
        let manifest: Manifest = read_json(&self.manifest_path(model, version))?;
        (manifest.is_consistent() && manifest.version == version && self.directory(model, version).is_dir())
            .then_some(manifest)
    }

    /// Says that a version is in use, so that it is not the first to go.
    pub fn touch(&self, model: &str, version: u64) {
        let touched = File::options().append(true).open(self.manifest_path(model, version));
        if let Err(cause) = touched.and_then(|file| file.set_modified(SystemTime::now())) {
            tracing::debug!(model, version, %cause, "the time of a version's last use cannot be noted");
        }
    }

    /// Reads all bytes of a version again and compares them with its manifest.
    ///
    /// # Errors
    /// [`StageError::Changed`] when they differ, [`StageError::Disk`] when they cannot be read.
    pub fn prove(&self, model: &str, manifest: &Manifest) -> Result<(), StageError> {
        let directory = self.directory(model, manifest.version);
        for file in &manifest.files {
            let path = directory.join(&file.path);
            let found = Digest::of_file(&path).map_err(|cause| StageError::Disk { path, cause })?;
            if found != file.sha256 {
                return Err(StageError::Changed { path: file.path.clone(), expected: file.sha256.clone(), found });
            }
        }
        Ok(())
    }

    /// Forgets a version: its manifest, its view, and those blobs that no other version has.
    ///
    /// # Errors
    /// [`StageError::Disk`] when something cannot be removed.
    pub fn forget(&self, model: &str, version: u64) -> Result<(), StageError> {
        let _changing = self.change();
        self.forget_one(model, version)
    }

    fn forget_one(&self, model: &str, version: u64) -> Result<(), StageError> {
        remove(&self.manifest_path(model, version))?;
        remove(&self.directory(model, version))?;
        self.sweep()
    }

    /// Says where a model comes from. What is kept of it from another place is forgotten: its versions have the same numbers
    /// and are others.
    ///
    /// # Errors
    /// [`StageError::Disk`] when something cannot be removed or written; then nothing of the model may be used.
    pub fn claim(&self, model: &str, place: &str) -> Result<(), StageError> {
        let path = self.root.join("places").join(format!("{model}.json"));
        let before: Option<String> = read_json(&path);
        if before.as_deref() == Some(place) {
            return Ok(());
        }
        let _changing = self.change();
        let kept: Vec<u64> = self.versions(model).into_keys().collect();
        if !kept.is_empty() {
            tracing::warn!(model, ?before, now = place, versions = ?kept, "the model comes from elsewhere; its cache is emptied");
        }
        remove(&self.roles_path(model))?;
        kept.into_iter().try_for_each(|version| self.forget_one(model, version))?;
        write_json(&path, &place)
    }

    /// What was last wanted of a model.
    #[must_use]
    pub fn roles(&self, model: &str) -> Option<Roles> {
        read_json(&self.roles_path(model))
    }

    /// Notes what is wanted of a model.
    ///
    /// # Errors
    /// [`StageError::Disk`] when it cannot be written.
    pub fn save_roles(&self, model: &str, roles: &Roles) -> Result<(), StageError> {
        write_json(&self.roles_path(model), roles)
    }

    /// Where the versions of a model came from when that was last noted, as far as it was.
    #[must_use]
    pub fn lineage(&self, model: &str) -> BTreeMap<u64, Lineage> {
        read_json(&self.lineage_path(model)).unwrap_or_default()
    }

    /// Notes where the versions of a model come from.
    ///
    /// # Errors
    /// [`StageError::Disk`] when it cannot be written.
    pub fn save_lineage(&self, model: &str, lineage: &BTreeMap<u64, Lineage>) -> Result<(), StageError> {
        write_json(&self.lineage_path(model), lineage)
    }

    /// The file of a download that is under way.
    pub(super) fn partial(&self, key: &Digest) -> PathBuf {
        self.root.join("partial").join(key.as_str())
    }

    /// Makes a whole download a blob.
    fn adopt(&self, partial: &Path, digest: &Digest) -> Result<(), StageError> {
        let blob = self.blob(digest);
        let adopted = || {
            if blob.exists() {
                return fs::remove_file(partial);
            }
            let mut permissions = fs::metadata(partial)?.permissions();
            permissions.set_readonly(true);
            fs::set_permissions(partial, permissions)?;
            fs::rename(partial, &blob)?;
            sync_directory(&self.root.join("blobs"))
        };
        adopted().map_err(|cause| StageError::Disk { path: blob.clone(), cause })
    }

    /// Lays a version out whose files were downloaded, and writes its manifest.
    pub(super) fn keep(
        &self,
        model: &str,
        manifest: Manifest,
        downloads: Vec<(Digest, PathBuf)>,
    ) -> Result<Manifest, StageError> {
        let _changing = self.change();
        for (digest, partial) in downloads {
            self.adopt(&partial, &digest)?;
        }
        self.lay_out(model, &manifest)?;
        Ok(manifest)
    }

    fn lay_out(&self, model: &str, manifest: &Manifest) -> Result<(), StageError> {
        let directory = self.directory(model, manifest.version);
        let unfinished = directory.with_file_name(format!("{}{UNFINISHED}", manifest.version));
        let failed = |path: &Path, cause| StageError::Disk { path: path.to_owned(), cause };
        remove(&unfinished)?;
        for file in &manifest.files {
            let target = unfinished.join(&file.path);
            let folder = target.parent().unwrap_or(&unfinished);
            fs::create_dir_all(folder).map_err(|cause| failed(folder, cause))?;
            link(&self.blob(&file.sha256), &target).map_err(|cause| failed(&target, cause))?;
        }
        // The manifest of what is replaced goes first: it must not describe other files.
        remove(&self.manifest_path(model, manifest.version))?;
        remove(&directory)?;
        fs::rename(&unfinished, &directory).map_err(|cause| failed(&directory, cause))?;
        sync_directory(&self.view().join(model)).map_err(|cause| failed(&directory, cause))?;
        write_json(&self.manifest_path(model, manifest.version), manifest)
    }

    fn change(&self) -> MutexGuard<'_, ()> {
        lock(&self.changing)
    }

    /// Promises room for a download of `known` bytes, and of all that there is besides if the length of a file `is_unknown`.
    /// What is not in use is removed until they fit: unfinished files of downloads that nobody goes on with, and then
    /// versions. `partials` are the names of its own unfinished files.
    pub(super) fn make_room(
        &self,
        (known, is_unknown): (u64, bool),
        partials: Vec<Digest>,
    ) -> Result<Room, StageError> {
        let _changing = self.change();
        let (promised, active) = {
            let promises = lock(&self.promises);
            (promises.bytes, promises.partials.iter().chain(&partials).cloned().collect::<BTreeSet<_>>())
        };
        let (kept, mut idle) = self.idle_versions();
        let kept = kept.saturating_add(promised);
        if kept.saturating_add(known) > self.max_bytes {
            return Err(StageError::OverBudget { needed: known, limit: self.max_bytes, kept });
        }
        let mut unfinished = self.unfinished(&active);
        let used = |left: &[(SystemTime, PathBuf, u64)]| {
            let partial: u64 = left.iter().map(|(_, _, size)| size).sum();
            self.size().saturating_add(partial).saturating_add(promised)
        };
        while used(&unfinished).saturating_add(known) > self.max_bytes {
            if let Some((_, path, _)) = unfinished.pop() {
                remove(&path)?;
            } else if let Some(Kept { model, manifest, .. }) = idle.pop() {
                tracing::info!(model, version = manifest.version, "a cached version is removed to make room");
                self.forget_one(&model, manifest.version)?;
            } else {
                self.sweep()?;
                break;
            }
        }
        let room = self.max_bytes.saturating_sub(used(&unfinished));
        self.check_disk(known)?;
        let bytes = if is_unknown { room.max(known) } else { known };
        Ok(Room::promised(&self.promises, (bytes, known), partials))
    }

    /// Bytes of versions in use, and the others, the one that was used last first.
    fn idle_versions(&self) -> (u64, Vec<Kept>) {
        let in_use = lock(&self.in_use).clone();
        let live = self.catalog.as_ref().map(|catalog| catalog.snapshot());
        let is_in_use = |kept: &Kept| {
            let version = kept.manifest.version;
            in_use.get(&kept.model).is_some_and(|versions| versions.contains(&version))
                || live
                    .as_ref()
                    .is_some_and(|live| live.models.get(&kept.model).is_some_and(|entry| entry.needs(version)))
        };
        let (used, mut idle): (Vec<Kept>, Vec<Kept>) = self.all().partition(is_in_use);
        idle.sort_by_key(|version| std::cmp::Reverse(version.used));
        (used.iter().map(|version| version.manifest.size()).fold(0, u64::saturating_add), idle)
    }

    /// Unfinished files that no download is at: when they were last written, where and how long they are; the oldest last.
    fn unfinished(&self, active: &BTreeSet<Digest>) -> Vec<(SystemTime, PathBuf, u64)> {
        let folder = self.root.join("partial");
        let is_active = |name: &String| active.iter().any(|key| key.as_str() == name);
        let looked_at = |name: String| {
            let path = folder.join(name);
            let found = fs::metadata(&path).ok()?;
            Some((found.modified().unwrap_or(SystemTime::UNIX_EPOCH), path, found.len()))
        };
        let names = names(&folder).into_iter().filter(|name| !is_active(name));
        let mut unfinished: Vec<_> = names.filter_map(looked_at).collect();
        unfinished.sort_by_key(|(written, _, _)| std::cmp::Reverse(*written));
        unfinished
    }

    /// Refuses what the disk has no room for, before it is full: others write there too.
    fn check_disk(&self, needed: u64) -> Result<(), StageError> {
        match free_bytes(&self.root) {
            Ok(free) if free < needed.saturating_add(SPARED) => {
                Err(StageError::DiskFull { needed, free, path: self.root.clone() })
            }
            // A file system that cannot say what is free refuses by itself when it is full.
            _ => Ok(()),
        }
    }

    /// Bytes of all blobs.
    fn size(&self) -> u64 {
        Self::bytes_in(&self.root)
    }

    /// Bytes of all files that a cache in a directory keeps; 0 if there is none.
    #[must_use]
    pub fn bytes_in(root: &Path) -> u64 {
        let folder = root.join("blobs");
        names(&folder).iter().filter_map(|name| Some(fs::metadata(folder.join(name)).ok()?.len())).sum()
    }

    /// Removes blobs that no version has.
    fn sweep(&self) -> Result<(), StageError> {
        let named: BTreeSet<String> =
            self.all().flat_map(|kept| kept.manifest.files).map(|file| file.sha256.as_str().to_owned()).collect();
        let folder = self.root.join("blobs");
        names(&folder).iter().filter(|name| !named.contains(*name)).try_for_each(|name| remove(&folder.join(name)))
    }

    fn all(&self) -> impl Iterator<Item = Kept> + '_ {
        names(&self.root.join("versions")).into_iter().flat_map(move |model| {
            let versions = self.versions(&model).into_iter();
            versions.map(move |(version, manifest)| {
                let written = fs::metadata(self.manifest_path(&model, version)).and_then(|file| file.modified());
                Kept { model: model.clone(), used: written.unwrap_or(SystemTime::UNIX_EPOCH), manifest }
            })
        })
    }

    fn blob(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs").join(digest.as_str())
    }

    fn manifest_path(&self, model: &str, version: u64) -> PathBuf {
        self.root.join("versions").join(model).join(format!("{version}.json"))
    }

    fn lineage_path(&self, model: &str) -> PathBuf {
        self.root.join("lineage").join(format!("{model}.json"))
    }

    fn roles_path(&self, model: &str) -> PathBuf {
        self.root.join("roles").join(format!("{model}.json"))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
