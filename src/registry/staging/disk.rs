//! What the cache does with files, one at a time: whole or not at all.
//!
//! Invariant: a file that is read back was written whole; what is removed need not be there.

use super::StageError;
use crate::registry::manifest::LARGEST_MANIFEST;
use serde::{Serialize, de::DeserializeOwned};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::Path;

/// Of names that something has before it is whole.
pub(super) const UNFINISHED: &str = ".new";

/// Bytes that are free where a directory is.
///
/// # Errors
/// What the system says.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(path)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// The names in a directory; none if it cannot be read.
pub(super) fn names(directory: &Path) -> Vec<String> {
    let items = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> = items.filter_map(|item| item.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// Removes a file or a directory, if it is there.
pub(super) fn remove(path: &Path) -> Result<(), StageError> {
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
pub(super) fn link(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Err(cause) if cause.kind() != ErrorKind::NotFound => fs::copy(from, to).map(drop),
        linked => linked,
    }
}

pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let file = fs::metadata(path).ok().filter(|file| file.len() <= LARGEST_MANIFEST)?;
    let text = file.is_file().then(|| fs::read(path).ok())??;
    serde_json::from_slice(&text).ok()
}

/// Writes a file that is whole at any moment, or not there. What nobody would read, because it is too long, is not
/// written.
pub(super) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), StageError> {
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
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
