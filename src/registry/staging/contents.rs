//! What a directory holds, as one digest.
//!
//! The digest of a version's files is made as a manifest's is, so that a version has the same one wherever it lies: in
//! the cache, where it was hashed while it was fetched, or in a directory that somebody copied it into. Hidden files do
//! not count, as they do not in a directory's fingerprint: file systems put their own there.
//!
//! Invariant: the same names and bytes give the same digest, whatever the times of the files.

use super::{Digest, Manifest, StoredFile};
use crate::registry::walk::{WalkedFile, files_below};
use std::fs::Metadata;
use std::io::{self, ErrorKind};
use std::path::Path;

/// The digest of all files below a directory. Reads them whole, which blocks.
///
/// # Errors
/// What the system says, and [`io::ErrorKind::FileTooLarge`] for more files, or deeper ones, than have a digest.
pub fn digest_of(directory: &Path) -> io::Result<Digest> {
    let mut files = Vec::new();
    for WalkedFile { path, metadata } in files_below(directory)? {
        let Some(found) = metadata.filter(Metadata::is_file) else { continue };
        let sha256 = Digest::of_file(&directory.join(&path))?;
        let path = path.into_os_string().into_string().map_err(|_name| io::Error::from(ErrorKind::InvalidFilename))?;
        files.push(StoredFile { path, sha256, size: found.len() });
    }
    Ok(Manifest::new(0, files, None).digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn names_and_bytes_alone_make_the_digest() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let write = |root: &tempfile::TempDir, name: &str, text: &str| {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write(&one, "b/weights.bin", "w");
        write(&one, "model.onnx", "graph");
        write(&other, "model.onnx", "graph");
        assert_ne!(digest_of(one.path()).unwrap(), digest_of(other.path()).unwrap());
        write(&other, "b/weights.bin", "w");
        write(&other, ".nfs0001", "left over");
        let digest = digest_of(one.path()).unwrap();
        assert_eq!(digest, digest_of(other.path()).unwrap());
        write(&other, "model.onnx", "groph");
        assert_ne!(digest, digest_of(other.path()).unwrap());
        let file = |path: &str, text: &str| StoredFile {
            path: path.into(),
            sha256: Digest::of(text.as_bytes()),
            size: text.len() as u64,
        };
        let fetched = Manifest::new(7, vec![file("model.onnx", "graph"), file("b/weights.bin", "w")], None);
        assert_eq!(digest, fetched.digest, "a fetched version has the same one");
    }

    #[cfg(unix)]
    #[test]
    fn links_in_a_circle_end() {
        let root = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(root.path(), root.path().join("again")).unwrap();
        assert!(digest_of(root.path()).is_err());
    }
}
