//! `manifest.json`: which files a version is made of, said by whoever made it.
//!
//! ```json
//! {"format": 1, "files": [{"path": "model.onnx", "sha256": "<64 hexadecimal digits>", "size": 123}]}
//! ```
//! A copy that is under way and one that is whole look alike from outside; a manifest tells them apart without waiting,
//! and it tells a byte that was lost on the way. It names everything that the version needs, itself excepted, and may come
//! before or after the files. Of an object store only what it names is fetched; in a directory, what it does not name is
//! read like any other file and not compared.
//!
//! Invariant: a manifest that was read has at most [`MOST_FILES`] files, all of them within the version, each once, and a
//! graph among them.

use super::source::{MOST_FILES, checked_path};
use super::walk::files_below;
use super::{MANIFEST_FILE, MODEL_FILE};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// The format that is written and read.
pub const FORMAT: u32 = 1;
/// The largest manifest that is read, bytes: 10,000 files of 1,200 bytes each fit.
pub const LARGEST_MANIFEST: u64 = 16 << 20;
/// Bytes that are hashed at a time.
const PIECE: usize = 1 << 20;

/// SHA-256 of bytes, as 64 hexadecimal digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Digest(String);

/// A file of a version, and what it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredFile {
    /// Its path within the version.
    pub path: String,
    /// What its bytes are.
    pub sha256: Digest,
    /// How many there are.
    pub size: u64,
}

/// What a version is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileManifest {
    format: u32,
    files: Vec<StoredFile>,
}

/// Why a manifest cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{MANIFEST_FILE} is refused: {0}")]
pub struct BadManifest(String);

/// A file that is not what the manifest says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path} is not the file that {MANIFEST_FILE} names: its SHA-256 is {found}, expected {expected}")]
pub struct WrongDigest {
    /// The file.
    pub path: String,
    /// What the manifest says.
    pub expected: Digest,
    /// What its bytes are.
    pub found: Digest,
}

impl FileManifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// What was expected and found.
    pub fn parse(text: &[u8]) -> Result<Self, BadManifest> {
        let read: Self = serde_json::from_slice(text).map_err(|error| BadManifest(error.to_string()))?;
        read.checked()
    }

    fn checked(mut self) -> Result<Self, BadManifest> {
        if self.format != FORMAT {
            return Err(BadManifest(format!("expected format {FORMAT}, found {}", self.format)));
        }
        if self.files.len() > MOST_FILES {
            return Err(BadManifest(format!("expected at most {MOST_FILES} files, found {}", self.files.len())));
        }
        for file in &self.files {
            checked_path(&file.path).map_err(|error| BadManifest(error.to_string()))?;
        }
        self.files.sort();
        let paths: BTreeSet<&str> = self.files.iter().map(|file| file.path.as_str()).collect();
        let reason = match () {
            () if paths.len() < self.files.len() => "expected every path once, found one twice".to_owned(),
            () if paths.contains(MANIFEST_FILE) => format!("{MANIFEST_FILE} cannot name itself"),
            () if !paths.contains(MODEL_FILE) => format!("expected {MODEL_FILE} among the files it names"),
            () => return Ok(self),
        };
        Err(BadManifest(reason))
    }

    /// The manifest of what is in a directory, by reading all of it. Hidden files and a manifest that is there already are
    /// passed over.
    ///
    /// # Errors
    /// What cannot be read, or be part of a version.
    pub fn of_directory(directory: &Path) -> io::Result<Self> {
        let walked = files_below(directory)?.into_iter().filter(|file| file.path != Path::new(MANIFEST_FILE));
        let files = walked.map(|file| stored(directory, &file.path)).collect::<io::Result<_>>()?;
        Self { format: FORMAT, files }.checked().map_err(io::Error::other)
    }

    /// The files, in the order of their paths.
    #[must_use]
    pub fn files(&self) -> &[StoredFile] {
        &self.files
    }

    /// What is still to come of the version, if anything: `size_of` says how long a file is that is there.
    pub fn lacking(&self, size_of: impl Fn(&str) -> Option<u64>) -> Option<String> {
        self.files.iter().find_map(|StoredFile { path, size, .. }| match size_of(path) {
            None => Some(format!("{path} is not there, which {MANIFEST_FILE} names")),
            Some(found) if found != *size => Some(format!("{path} has {found} bytes, {MANIFEST_FILE} says {size}")),
            Some(_) => None,
        })
    }

    /// Reads all files that it names in a directory, and compares them with it.
    ///
    /// # Errors
    /// The first file that is another, or that cannot be read.
    pub fn prove(&self, directory: &Path) -> io::Result<Result<(), WrongDigest>> {
        for StoredFile { path, sha256, .. } in &self.files {
            let found = Digest::of_file(&directory.join(path))?;
            if found != *sha256 {
                return Ok(Err(WrongDigest { path: path.clone(), expected: sha256.clone(), found }));
            }
        }
        Ok(Ok(()))
    }
}

/// The manifest of a directory, if it has one.
///
/// # Errors
/// What is wrong with it.
pub fn read(directory: &Path) -> io::Result<Option<Result<FileManifest, BadManifest>>> {
    let path = directory.join(MANIFEST_FILE);
    let size = match fs::metadata(&path) {
        Ok(found) => found.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if size > LARGEST_MANIFEST {
        let reason = format!("expected at most {LARGEST_MANIFEST} bytes, found {size}");
        return Ok(Some(Err(BadManifest(reason))));
    }
    Ok(Some(FileManifest::parse(&fs::read(&path)?)))
}

fn stored(directory: &Path, below: &Path) -> io::Result<StoredFile> {
    let file = directory.join(below);
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", file.display()));
    let path = below.to_str().ok_or_else(|| io::Error::other(format!("{} is not UTF-8", below.display())))?.to_owned();
    let size = fs::metadata(&file).map_err(named)?.len();
    Ok(StoredFile { path, sha256: Digest::of_file(&file).map_err(named)?, size })
}

impl Digest {
    /// The digest of bytes that are at hand.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self::finished(Sha256::new_with_prefix(bytes))
    }

    /// The digest of a file's bytes.
    ///
    /// # Errors
    /// What the system says.
    pub fn of_file(path: &Path) -> io::Result<Self> {
        let (mut file, mut hasher, mut piece) = (File::open(path)?, Sha256::new(), vec![0; PIECE]);
        loop {
            match file.read(&mut piece)? {
                0 => return Ok(Self::finished(hasher)),
                count => hasher.update(&piece[..count]),
            }
        }
    }

    /// The digest of bytes that were taken in piece by piece.
    pub(super) fn finished(hasher: Sha256) -> Self {
        Self(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The 64 digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Digest {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let is_fine = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let digits = || Self(text.to_ascii_lowercase());
        is_fine.then(digits).ok_or_else(|| format!("expected 64 hexadecimal digits, found {text:?}"))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn version(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, bytes) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        root
    }

    fn sizes(directory: &Path) -> impl Fn(&str) -> Option<u64> + '_ {
        |path| fs::metadata(directory.join(path)).ok().map(|file| file.len())
    }

    #[test]
    fn a_directory_is_what_its_manifest_says_until_a_byte_differs() {
        let root =
            version(&[("model.onnx", b"graph"), ("data/w", &[7; 9]), (".hidden", b"x"), ("manifest.json", b"{")]);
        let made = FileManifest::of_directory(root.path()).unwrap();
        let paths: Vec<&str> = made.files().iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, ["data/w", "model.onnx"]);
        fs::write(root.path().join(MANIFEST_FILE), serde_json::to_vec(&made).unwrap()).unwrap();
        assert_eq!(read(root.path()).unwrap(), Some(Ok(made.clone())));
        assert_eq!((made.lacking(sizes(root.path())), made.prove(root.path()).unwrap()), (None, Ok(())));
        fs::write(root.path().join("data/w"), [7, 7, 7, 7, 6, 7, 7, 7, 7]).unwrap();
        let wrong = made.prove(root.path()).unwrap().unwrap_err();
        assert_eq!((wrong.path.as_str(), wrong.expected), ("data/w", Digest::of(&[7; 9])));
        fs::write(root.path().join("data/w"), [7]).unwrap();
        assert_eq!(made.lacking(sizes(root.path())).unwrap(), "data/w has 1 bytes, manifest.json says 9");
        fs::remove_file(root.path().join("data/w")).unwrap();
        assert_eq!(made.lacking(sizes(root.path())).unwrap(), "data/w is not there, which manifest.json names");
    }

    #[test]
    fn what_is_no_manifest_is_refused_with_what_was_expected() {
        let digest = "0".repeat(64);
        let file = |path: &str| format!("{{\"path\":\"{path}\",\"sha256\":\"{digest}\",\"size\":1}}");
        let manifest = |format: u32, files: &str| format!("{{\"format\":{format},\"files\":[{files}]}}");
        let graph = file("model.onnx");
        assert!(FileManifest::parse(manifest(1, &graph).as_bytes()).is_ok());
        for (text, said) in [
            ("7".to_owned(), "invalid type"),
            (manifest(2, &graph), "expected format 1, found 2"),
            (manifest(1, ""), "expected model.onnx among"),
            (manifest(1, &format!("{graph},{graph}")), "found one twice"),
            (manifest(1, &format!("{graph},{}", file("manifest.json"))), "cannot name itself"),
            (manifest(1, &format!("{graph},{}", file("../x"))), "paths within the version"),
            (manifest(1, &graph.replace(&digest, "abc")), "64 hexadecimal digits"),
            (manifest(1, &graph.replace("}", ",\"mode\":1}")), "unknown field `mode`"),
            (manifest(1, &graph).replace("{\"format\"", "{\"by\":1,\"format\""), "unknown field `by`"),
        ] {
            let error = FileManifest::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with("manifest.json is refused: ") && error.contains(said), "{error}");
        }
        let upper = manifest(1, &graph.replace(&digest, &"AB".repeat(32)));
        assert_eq!(FileManifest::parse(upper.as_bytes()).unwrap().files()[0].sha256.as_str(), "ab".repeat(32));
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd(text in any::<Vec<u8>>()) {
            let _ = FileManifest::parse(&text);
        }

        #[test]
        fn whatever_one_byte_of_a_version_becomes_is_found(
            files in prop::collection::btree_map("[a-z]{1,4}", prop::collection::vec(any::<u8>(), 1..40), 1..4),
            (which, at, flip) in (any::<prop::sample::Index>(), any::<prop::sample::Index>(), 1_u8..),
        ) {
            let mut files: BTreeMap<String, Vec<u8>> = files;
            files.insert(MODEL_FILE.to_owned(), b"graph".to_vec());
            let listed: Vec<(&str, &[u8])> = files.iter().map(|(path, bytes)| (path.as_str(), &bytes[..])).collect();
            let root = version(&listed);
            let made = FileManifest::of_directory(root.path()).unwrap();
            let (path, bytes) = listed[which.index(listed.len())];
            let mut changed = bytes.to_vec();
            changed[at.index(bytes.len())] ^= flip;
            fs::write(root.path().join(path), changed).unwrap();
            prop_assert_eq!(made.lacking(sizes(root.path())), None);
            prop_assert_eq!(made.prove(root.path()).unwrap().unwrap_err().path, path);
        }
    }
}
