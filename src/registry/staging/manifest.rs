//! What a version is made of.
//!
//! Invariant: files are in the order of their paths, each path once; the digest of the whole follows from theirs.

use super::StageError;
use crate::registry::MODEL_FILE;
use crate::registry::manifest::{Digest, StoredFile};
use crate::registry::source::{RemoteFile, SourceError};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;

/// What a version is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The version.
    pub version: u64,
    /// Of all files and their paths.
    pub digest: Digest,
    /// The files.
    pub files: Vec<StoredFile>,
    /// What they were at their source, see [`identity`](crate::registry::source::identity).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Digest>,
}

impl Manifest {
    /// The manifest of these files, which were so at their source.
    #[must_use]
    pub fn new(version: u64, mut files: Vec<StoredFile>, identity: Option<Digest>) -> Self {
        files.sort();
        let mut whole = Sha256::new();
        for StoredFile { path, sha256, .. } in &files {
            // No path has a line feed in it.
            whole.update(format!("{sha256}  {path}\n"));
        }
        Self { version, digest: Digest::finished(whole), files, identity }
    }

    /// Bytes of all files.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.files.iter().map(|file| file.size).fold(0, u64::saturating_add)
    }

    /// Whether it says what its files say, and every path is one that was checked.
    #[must_use]
    pub fn is_consistent(&self) -> bool {
        let paths_are_fine = self.files.iter().all(|file| crate::registry::source::checked_path(&file.path).is_ok());
        paths_are_fine && *self == Self::new(self.version, self.files.clone(), self.identity.clone())
    }
}

/// Whether files can lie beside each other, and a graph is among them.
pub(super) fn check_names(files: &[RemoteFile]) -> Result<(), StageError> {
    let paths: BTreeSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
    let is_below_a_file = |path: &&str| path.match_indices('/').any(|(end, _)| paths.contains(&path[..end]));
    let clash = files.iter().map(|file| file.path.as_str()).find(is_below_a_file);
    if let Some(path) = clash.or_else(|| (paths.len() < files.len()).then_some("a path")) {
        let reason = format!("expected every path once and none below a file, found {path:?}");
        return Err(SourceError::Unexpected { place: "the list of files".to_owned(), reason }.into());
    }
    if paths.contains(MODEL_FILE) {
        return Ok(());
    }
    let found = paths.iter().take(20).copied().collect::<Vec<_>>().join(", ");
    Err(StageError::NoModel { expected: MODEL_FILE, found })
}
