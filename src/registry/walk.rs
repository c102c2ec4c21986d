//! Every file of a version, also in directories within it.
//!
//! One walk, for whoever asks what a version is: its fingerprint, its size, its digest, its manifest. Hidden files do not
//! count, since file systems and editors put their own there.
//!
//! Invariant: it ends, wherever links lead, and what it answers is in the order of the paths.

use super::source::MOST_FILES;
use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// How deep directories may lie within each other; links may lead in circles.
const DEEPEST: usize = 16;

/// A file of a version.
pub(super) struct WalkedFile {
    /// Its path within the version.
    pub(super) path: PathBuf,
    /// What the system says of it; nothing of what cannot be looked at: a dangling link, a file that is being deleted.
    pub(super) metadata: Option<Metadata>,
}

/// The files below a directory.
///
/// # Errors
/// What the system says of the directory, and [`ErrorKind::FileTooLarge`] for more than [`MOST_FILES`] files or deeper ones.
pub(super) fn files_below(directory: &Path) -> io::Result<Vec<WalkedFile>> {
    let (mut files, mut waiting) = (Vec::new(), vec![(PathBuf::new(), 0)]);
    while let Some((folder, depth)) = waiting.pop() {
        for item in fs::read_dir(directory.join(&folder))? {
            let name = item?.file_name();
            if name.as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let path = folder.join(name);
            let metadata = fs::metadata(directory.join(&path)).ok();
            if files.len() + waiting.len() == MOST_FILES || depth == DEEPEST {
                return Err(ErrorKind::FileTooLarge.into());
            }
            if metadata.as_ref().is_some_and(Metadata::is_dir) {
                waiting.push((path, depth + 1));
            } else {
                files.push(WalkedFile { path, metadata });
            }
        }
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_in_directories_count_and_hidden_ones_do_not() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("b/c")).unwrap();
        fs::create_dir(root.path().join(".git")).unwrap();
        for name in ["model.onnx", "b/c/weights", "b/a", ".git/config", "b/.nfs01"] {
            fs::write(root.path().join(name), name).unwrap();
        }
        let found = files_below(root.path()).unwrap();
        let found: Vec<_> = found.iter().map(|file| (file.path.to_str().unwrap(), file.metadata.is_some())).collect();
        assert_eq!(found, [("b/a", true), ("b/c/weights", true), ("model.onnx", true)]);
        assert!(files_below(&root.path().join("gone")).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn links_may_dangle_and_lead_in_circles() {
        let root = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(root.path().join("gone"), root.path().join("dangling")).unwrap();
        assert!(files_below(root.path()).unwrap()[0].metadata.is_none());
        std::os::unix::fs::symlink(root.path(), root.path().join("again")).unwrap();
        assert!(files_below(root.path()).is_err());
    }
}
