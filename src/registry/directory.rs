//! What is in a repository directory.
//!
//! Polled, not watched: a listing every second is a handful of system calls, works on every file system (network mounts
//! and overlay layers send no events), and cannot miss anything. A version's fingerprint is made of the names, sizes and
//! times of its files, so that a swap by rename, a copy over old files and a deletion all show.
//!
//! A directory that is renamed into place is whole at once; one that is copied is not, and a graph cut off in the middle
//! may even load. So a version counts as settled when its files are older than [`QUIET`] or unchanged since the last
//! listing. A version with a [`manifest`] is settled as soon as all that it names is there, as long as it says, and not
//! before; whether it is what it names is for the loader to find. The same holds for the model's `config.pbtxt`, and while that is being written none of its versions counts as
//! settled.
//!
//! A version counts as registered when it is first seen with its files. Of one that the first listing has nobody knows when
//! that was: then it is when its newest file was written, which is earlier if it was moved or copied with its times.
//!
//! Invariant: a listing never fails because of one model, and what cannot be looked at stands as it was.

use super::walk::{WalkedFile, files_below};
use super::{MODEL_FILE, RegistryError, config_file, manifest};
use crate::catalog::{Listing, Present, PresentModel};
use std::collections::BTreeMap;
use std::fs;
use std::hash::{Hash, Hasher};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use twox_hash::XxHash64;

/// Files that were last written longer ago than this are taken to be whole.
pub const QUIET: Duration = Duration::from_secs(2);

/// Unix milliseconds of 2017-09-07, when ONNX was published: files that seem older were given a time by a tool that
/// makes images or archives the same again, and say nothing.
const ONNX_BEGAN: u64 = 1_504_742_400_000;

/// The most models a repository may hold.
pub const MODELS_LIMIT: usize = 10_000;
/// The most versions of a model that are looked at: the highest ones.
pub const VERSIONS_LIMIT: usize = 1_000;
/// Lists the versions and the configuration of every model below `repository`. `previous` is the last listing; `now` is
/// the wall clock that file times are compared with.
///
/// # Errors
/// [`RegistryError::Unreadable`] when the repository itself cannot be listed.
pub fn list(repository: &Path, previous: &Listing, now: SystemTime) -> Result<Listing, RegistryError> {
    let mut listing = Listing::new();
    let unreadable = |cause| RegistryError::Unreadable { path: repository.to_owned(), cause };
    for item in fs::read_dir(repository).map_err(unreadable)?.take(MODELS_LIMIT) {
        let Ok(item) = item else { continue };
        let Ok(name) = item.file_name().into_string() else { continue };
        if !is_model_name(&name) || !item.path().is_dir() {
            continue;
        }
        let previous = previous.get(&name);
        let mut versions = list_versions(&item.path(), previous.map(|model| &model.versions), now);
        if versions.is_empty() {
            continue;
        }
        let config = config_file::look(&item.path(), &name, previous.map(|model| &model.config), now);
        for present in versions.values_mut() {
            present.settled &= config.settled;
        }
        listing.insert(name, PresentModel { versions, config, roles: None });
    }
    Ok(listing)
}

/// Identifies what a version directory holds now; nothing if it holds no model. Hidden files do not count, and of what
/// cannot be looked at (a dangling link, a file that another process is deleting) only the name does.
///
/// # Errors
/// What the system says, when the directory or the model cannot be looked at although they may be there.
pub fn fingerprint(directory: &Path) -> io::Result<Option<(u64, SystemTime)>> {
    let model = match fs::metadata(directory.join(MODEL_FILE)) {
        Ok(model) if model.is_file() => model,
        Ok(_) => return Ok(None),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut newest = model.modified()?;
    let seen = |file: WalkedFile| {
        let seen = file.metadata.and_then(|found| Some((found.len(), found.modified().ok()?)));
        newest = seen.map_or(newest, |(_, modified)| newest.max(modified));
        (file.path, seen)
    };
    let files: Vec<(PathBuf, Option<(u64, SystemTime)>)> = files_below(directory)?.into_iter().map(seen).collect();
    let mut hasher = XxHash64::with_seed(0);
    files.hash(&mut hasher);
    Ok(Some((hasher.finish(), newest)))
}

/// Whether a directory's name can be a model's: the characters that a URL and a label carry without quoting.
fn is_model_name(name: &str) -> bool {
    let plain = |character: char| character.is_ascii_alphanumeric() || "._-".contains(character);
    !name.starts_with('.') && !name.is_empty() && name.chars().all(plain)
}

/// The versions of a model. What cannot be looked at stands as it was in the last listing: a busy disk must not look like
/// a deletion.
fn list_versions(model: &Path, previous: Option<&BTreeMap<u64, Present>>, now: SystemTime) -> BTreeMap<u64, Present> {
    let numbers = match numbered_directories(model) {
        Ok(numbers) => numbers,
        Err(error) if error.kind() == ErrorKind::NotFound => return BTreeMap::new(),
        Err(error) => {
            tracing::debug!(path = %model.display(), cause = %error, "a model's directory cannot be listed");
            return previous.cloned().unwrap_or_default();
        }
    };
    let of_number = |number: u64| {
        let before = previous.and_then(|versions| versions.get(&number)).copied();
        match fingerprint(&model.join(number.to_string())) {
            Ok(None) => None,
            Ok(Some((fingerprint, newest))) => {
                let is_quiet = now.duration_since(newest).is_ok_and(|age| age >= QUIET)
                    || before.is_some_and(|before| before.fingerprint == fingerprint);
                let was_settled = before.is_some_and(|before| before.fingerprint == fingerprint && before.settled);
                let settled = was_settled || is_whole(&model.join(number.to_string())).unwrap_or(is_quiet);
                let registered_at = match before {
                    Some(before) if before.fingerprint == fingerprint => before.registered_at,
                    _ if previous.is_some() => unix_milliseconds(now),
                    _ => unix_milliseconds(newest).filter(|written| *written >= ONNX_BEGAN),
                };
                Some((number, Present { fingerprint, settled, registered_at }))
            }
            Err(error) => {
                tracing::debug!(path = %model.display(), version = number, cause = %error, "a version cannot be looked at");
                before.map(|before| (number, before))
            }
        }
    };
    numbers.into_iter().rev().take(VERSIONS_LIMIT).filter_map(of_number).collect()
}

fn unix_milliseconds(time: SystemTime) -> Option<u64> {
    u64::try_from(time.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_millis()).ok()
}

/// Whether all that a version's manifest names is there; nothing where no manifest can be read.
fn is_whole(directory: &Path) -> Option<bool> {
    let manifest = manifest::read(directory).ok()??.ok()?;
    let size_of =
        |path: &str| fs::metadata(directory.join(path)).ok().filter(fs::Metadata::is_file).map(|file| file.len());
    let lacking = manifest.lacking(size_of);
    if let Some(reason) = &lacking {
        tracing::debug!(path = %directory.display(), reason, "a version is not whole yet");
    }
    Some(lacking.is_none())
}

/// The numbers that name directories, in order. `01` and `+1` would be a second name for version 1 and are none.
fn numbered_directories(model: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for item in fs::read_dir(model)? {
        let name = item?.file_name();
        let number = name.to_str().and_then(|name| name.parse().ok().filter(|number: &u64| number.to_string() == name));
        numbers.extend(number);
    }
    numbers.sort_unstable();
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    fn add_version(root: &Path, model: &str, version: &str, bytes: &[u8]) {
        let directory = root.join(model).join(version);
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(MODEL_FILE), bytes).unwrap();
    }

    #[test]
    fn an_empty_repository_lists_nothing_and_a_missing_one_is_an_error() {
        let root = repository();
        assert!(list(root.path(), &Listing::new(), SystemTime::now()).unwrap().is_empty());
        assert!(list(&root.path().join("absent"), &Listing::new(), SystemTime::now()).is_err());
    }

    #[test]
    fn only_numbered_directories_with_a_model_are_versions() {
        let root = repository();
        for (model, version) in [("m", "1"), ("m", "20"), ("m", "03"), ("m", "latest"), (".hidden", "1"), ("a b", "1")]
        {
            add_version(root.path(), model, version, b"x");
        }
        fs::create_dir_all(root.path().join("m/7")).unwrap();
        let listing = list(root.path(), &Listing::new(), SystemTime::now()).unwrap();
        assert_eq!(listing.keys().collect::<Vec<_>>(), ["m"]);
        assert_eq!(listing["m"].versions.keys().copied().collect::<Vec<_>>(), [1, 20]);
    }

    #[test]
    fn fresh_files_settle_when_they_stay_the_same() {
        let root = repository();
        add_version(root.path(), "m", "1", b"x");
        let first = list(root.path(), &Listing::new(), SystemTime::now()).unwrap();
        assert!(!first["m"].versions[&1].settled);
        let second = list(root.path(), &first, SystemTime::now()).unwrap();
        assert!(second["m"].versions[&1].settled);
        add_version(root.path(), "m", "1", b"longer");
        let third = list(root.path(), &second, SystemTime::now()).unwrap();
        assert!(!third["m"].versions[&1].settled);
        assert_ne!(third["m"].versions[&1].fingerprint, second["m"].versions[&1].fingerprint);
    }

    #[cfg(unix)]
    #[test]
    fn a_dangling_link_beside_a_model_does_not_make_the_version_vanish() {
        let root = repository();
        add_version(root.path(), "m", "1", b"x");
        let first = list(root.path(), &Listing::new(), SystemTime::now()).unwrap();
        std::os::unix::fs::symlink("nowhere", root.path().join("m/1/notes.txt")).unwrap();
        let second = list(root.path(), &first, SystemTime::now()).unwrap();
        assert!(second["m"].versions.contains_key(&1));
        std::os::unix::fs::symlink("nowhere", root.path().join("m/1/.nfs0001")).unwrap();
        let third = list(root.path(), &second, SystemTime::now()).unwrap();
        assert_eq!(third["m"].versions[&1].fingerprint, second["m"].versions[&1].fingerprint);
    }

    #[test]
    fn a_version_with_a_manifest_is_settled_when_all_of_it_is_there_and_not_before() {
        let root = repository();
        add_version(root.path(), "m", "1", b"graph");
        let version = root.path().join("m/1");
        fs::write(version.join("weights.data"), [7; 10]).unwrap();
        let whole = manifest::FileManifest::of_directory(&version).unwrap();
        fs::write(version.join("weights.data"), [7; 9]).unwrap();
        fs::write(version.join("manifest.json"), serde_json::to_vec(&whole).unwrap()).unwrap();
        let later = SystemTime::now() + QUIET * 100;
        let short = list(root.path(), &Listing::new(), later).unwrap();
        assert!(!short["m"].versions[&1].settled);
        assert!(!list(root.path(), &short, later).unwrap()["m"].versions[&1].settled, "however often it is looked at");
        fs::write(version.join("weights.data"), [6; 10]).unwrap();
        let now = list(root.path(), &short, SystemTime::now()).unwrap();
        assert!(now["m"].versions[&1].settled, "nothing has to be quiet");
        fs::write(version.join("manifest.json"), "{").unwrap();
        let broken = list(root.path(), &now, SystemTime::now()).unwrap();
        assert!(!broken["m"].versions[&1].settled);
        assert!(
            list(root.path(), &broken, SystemTime::now()).unwrap()["m"].versions[&1].settled,
            "the loader says why"
        );
    }

    #[test]
    fn a_version_is_registered_when_it_is_seen_or_was_written_before_anybody_looked() {
        let root = repository();
        let at = |milliseconds: u64| SystemTime::UNIX_EPOCH + Duration::from_millis(milliseconds);
        let written = |version: &str, time: u64| {
            add_version(root.path(), "m", version, version.as_bytes());
            let file = fs::File::options().write(true).open(root.path().join("m").join(version).join(MODEL_FILE));
            file.unwrap().set_modified(at(time)).unwrap();
        };
        let registered = |listing: &Listing| -> Vec<Option<u64>> {
            listing["m"].versions.values().map(|present| present.registered_at).collect()
        };
        let (noon, hour) = (1_795_435_200_000, 3_600_000);
        written("1", noon - hour);
        written("2", 0);
        let first = list(root.path(), &Listing::new(), at(noon)).unwrap();
        assert_eq!(registered(&first), [Some(noon - hour), None], "a time from before ONNX says nothing");
        written("3", noon - 2 * hour);
        let second = list(root.path(), &first, at(noon + hour)).unwrap();
        assert_eq!(registered(&second), [Some(noon - hour), None, Some(noon + hour)], "moved here with its time");
        written("2", noon + hour);
        let third = list(root.path(), &second, at(noon + 2 * hour)).unwrap();
        assert_eq!(
            registered(&third)[1..],
            [Some(noon + 2 * hour), Some(noon + hour)],
            "other files are registered anew"
        );
    }

    #[test]
    fn old_files_are_settled_at_once() {
        let root = repository();
        add_version(root.path(), "m", "1", b"x");
        let later = SystemTime::now() + QUIET + Duration::from_secs(1);
        assert!(list(root.path(), &Listing::new(), later).unwrap()["m"].versions[&1].settled);
    }
}
