//! The cache's directory: blobs, manifests, and the view of them that models are loaded from.
//!
//! All of it blocks on the disk, and none of it on the network. Room is made before a download: what was not used for
//! longest and is not in use goes first, its manifest before its files, so that no manifest ever names what is gone.
//!
//! Invariant: a blob's name is the digest of its bytes when it got that name; a manifest is written after its view.

use super::{Digest, Manifest, StageError};
use crate::catalog::Roles;
use crate::registry::manifest::LARGEST_MANIFEST;
use crate::registry::source::Lineage;
use serde::{Serialize, de::DeserializeOwned};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// Directories of the cache.
const DIRECTORIES: [&str; 7] = ["blobs", "partial", "versions", "view", "roles", "lineage", "places"];
/// Of names that something has before it is whole.
const UNFINISHED: &str = ".new";

/// The files of fetched versions.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
    max_bytes: u64,
    parallel: usize,
    /// Versions that may not be removed to make room, by model.
    in_use: Arc<Mutex<BTreeMap<String, BTreeSet<u64>>>>,
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
        let cache = Self { root, max_bytes, parallel, in_use: Arc::default(), changing: Arc::default() };
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

    /// Removes what is not in use until so many bytes more fit, and answers how many there is room for then.
    pub(super) fn make_room(&self, needed: u64) -> Result<u64, StageError> {
        let _changing = self.change();
        let in_use = lock(&self.in_use).clone();
        let (mut kept, mut free_to_go) = (0_u64, Vec::new());
        for version in self.all() {
            let is_in_use = |versions: &BTreeSet<u64>| versions.contains(&version.manifest.version);
            if in_use.get(&version.model).is_some_and(is_in_use) {
                kept += version.manifest.size();
            } else {
                free_to_go.push(version);
            }
        }
        if kept.saturating_add(needed) > self.max_bytes {
            return Err(StageError::OverBudget { needed, limit: self.max_bytes, kept });
        }
        free_to_go.sort_by_key(|version| version.used);
        let mut oldest_first = free_to_go.into_iter();
        while self.size().saturating_add(needed) > self.max_bytes {
            match oldest_first.next() {
                Some(Kept { model, manifest, .. }) => {
                    tracing::info!(model, version = manifest.version, "a cached version is removed to make room");
                    self.forget_one(&model, manifest.version)?;
                }
                None => {
                    self.sweep()?;
                    break;
                }
            }
        }
        Ok(self.max_bytes.saturating_sub(self.size()))
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

/// The names in a directory; none if it cannot be read.
fn names(directory: &Path) -> Vec<String> {
    let items = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> = items.filter_map(|item| item.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// Removes a file or a directory, if it is there.
fn remove(path: &Path) -> Result<(), StageError> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(cause) => Err(cause),
    };
    match removed {
        Err(cause) if !matches!(cause.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Err(StageError::Disk { path: path.to_owned(), cause })
        }
        _ => Ok(()),
    }
}

/// A second name for a file; a copy where the file system has no such thing.
fn link(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Err(cause) if cause.kind() != ErrorKind::NotFound => fs::copy(from, to).map(drop),
        linked => linked,
    }
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let file = fs::metadata(path).ok().filter(|file| file.len() <= LARGEST_MANIFEST)?;
    let text = file.is_file().then(|| fs::read(path).ok())??;
    serde_json::from_slice(&text).ok()
}

/// Writes a file that is whole at any moment, or not there. What nobody would read, because it is too long, is not
/// written.
fn write_json(path: &Path, value: &impl Serialize) -> Result<(), StageError> {
    let unfinished = path.with_extension(UNFINISHED.trim_start_matches('.'));
    let write = || {
        let text = serde_json::to_vec(value)?;
        if text.len() as u64 > LARGEST_MANIFEST {
            return Err(ErrorKind::FileTooLarge.into());
        }
        let folder = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        let mut file = File::create(&unfinished)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&unfinished, path)?;
        sync_directory(folder)
    };
    write().map_err(|cause| StageError::Disk { path: path.to_owned(), cause })
}

/// Sees to it that what was renamed within a directory outlives a loss of power.
fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
