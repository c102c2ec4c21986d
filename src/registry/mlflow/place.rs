//! Where the artifacts of a version are in the end, and what is there.
//!
//! A registry names another place that may name another: a run, a logged model, another version. The end is a directory
//! behind a proxy, in an object store or on this machine. It is listed whole, because the file that holds the weights of an ONNX model is
//! named in no other file (`<uuid>.data` beside `model.onnx`, which is MLflow's default).
//!
//! Whoever may register a version decides where its files are. A directory of this machine is therefore read only where
//! MLflow has written a model, links are not followed, and no path leaves its root.
//!
//! Invariant: a listing has at most [`MOST_FILES`] files, all of them below the root.

use super::client::MlflowClient;
use super::uri::{ArtifactUri, ModelUri};
use crate::registry::MLMODEL_FILE;
use crate::registry::objects::{self, ObjectAddress, Stores};
use crate::registry::source::{MOST_FILES, RemoteFile, SourceError, checked_path};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// The most places that name another.
const MOST_HOPS: usize = 4;
/// The most directories of a version.
const MOST_DIRECTORIES: usize = 1_000;
/// How deep directories may be within a version.
const DEEPEST: usize = 16;
/// The most pages of one directory.
const MOST_PAGES: usize = 100;
/// What MLflow writes at the root for Python and for itself: no part of the model.
const NOT_THE_MODEL: [&str; 5] =
    ["conda.yaml", "python_env.yaml", "requirements.txt", "python_model.pkl", "registered_model_meta"];

/// The root of a version's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Behind a proxy of artifacts.
    Proxy {
        /// Another server than the registry.
        netloc: Option<String>,
        /// The path below the proxy's root.
        root: String,
        /// Whether the store's own URLs are handed out.
        presigned: bool,
    },
    /// A directory of this machine.
    Local(PathBuf),
    /// In an object store, which is asked itself.
    Objects(ObjectAddress),
}

impl Place {
    /// Follows what the registry says to the end.
    pub(super) async fn resolve(client: &MlflowClient, address: String) -> Result<Self, SourceError> {
        let mut address = address;
        for _ in 0..MOST_HOPS {
            address = match address.parse()? {
                ArtifactUri::Local(directory) => return Ok(Self::Local(directory)),
                ArtifactUri::Objects(address) => return Ok(Self::Objects(address)),
                ArtifactUri::Proxy { netloc, path } => {
                    let presigned = netloc.is_none() && client.offers_presigned().await?;
                    return Ok(Self::Proxy { netloc, root: path, presigned });
                }
                ArtifactUri::Run { id, path } => below(&client.run_artifacts(&id).await?, &path),
                ArtifactUri::Model(ModelUri::Logged { id }) => client.logged_model(&id).await?.artifact_uri,
                ArtifactUri::Model(ModelUri::Version { name, version }) => client.download_uri(&name, version).await?,
                ArtifactUri::Model(uri @ (ModelUri::Model { .. } | ModelUri::Alias { .. })) => {
                    let reason = format!("expected one version, found {uri}, which may move");
                    return Err(SourceError::Unexpected { place: client.origin(), reason });
                }
            };
        }
        let reason = format!("expected artifacts after {MOST_HOPS} places that name another, found {address:?}");
        Err(SourceError::Unexpected { place: client.origin(), reason })
    }

    /// Every file that may be part of the model.
    pub(super) async fn files(&self, client: &MlflowClient, stores: &Stores) -> Result<Vec<RemoteFile>, SourceError> {
        let listed = match self {
            Self::Proxy { netloc, root, .. } => list_proxy(client, netloc.as_deref(), root).await?,
            Self::Local(directory) => list_local(directory.clone()).await?,
            Self::Objects(address) => objects::files(&stores.open(&address.store)?, &address.prefix).await?.0,
        };
        if listed.is_empty() {
            let message = "its directory of artifacts is empty or not there".to_owned();
            return Err(SourceError::Absent { what: "a version's model".to_owned(), message });
        }
        Ok(listed.into_iter().filter(|file| !NOT_THE_MODEL.contains(&file.path.as_str())).collect())
    }
}

/// A path below another; either may be empty.
pub(super) fn below(root: &str, path: &str) -> String {
    match (root.trim_end_matches('/'), path) {
        (root, "") => root.to_owned(),
        ("", path) => path.to_owned(),
        (root, path) => format!("{root}/{path}"),
    }
}

/// What has been found, and which directories are still to be looked into.
#[derive(Default)]
struct Walk {
    files: Vec<RemoteFile>,
    waiting: Vec<String>,
    directories: usize,
}

impl Walk {
    fn add(&mut self, directory: &str, name: &str, size: Option<u64>) -> Result<(), SourceError> {
        let path = checked_path(&below(directory, checked_name(name)?))?.to_owned();
        if self.files.len() == MOST_FILES {
            return Err(too_many(format!("at most {MOST_FILES} files")));
        }
        self.files.push(RemoteFile { path, size, ..RemoteFile::default() });
        Ok(())
    }

    fn add_directory(&mut self, directory: &str, name: &str) -> Result<(), SourceError> {
        let path = checked_path(&below(directory, checked_name(name)?))?.to_owned();
        self.directories += 1;
        if self.directories > MOST_DIRECTORIES || path.split('/').count() > DEEPEST {
            return Err(too_many(format!("at most {MOST_DIRECTORIES} directories, {DEEPEST} deep")));
        }
        self.waiting.push(path);
        Ok(())
    }

    fn into_files(mut self) -> Result<Vec<RemoteFile>, SourceError> {
        self.files.sort_by(|left, right| left.path.cmp(&right.path));
        match self.files.windows(2).find(|pair| pair[0].path == pair[1].path) {
            Some(pair) => Err(too_many(format!("every file once, found {:?} twice", pair[0].path))),
            None => Ok(self.files),
        }
    }
}

fn too_many(expected: String) -> SourceError {
    SourceError::Unexpected { place: "the list of files".to_owned(), reason: format!("expected {expected}") }
}

/// A name in a directory, which has no slash.
fn checked_name(name: &str) -> Result<&str, SourceError> {
    if name.contains('/') {
        return Err(too_many(format!("the name of a file, found {name:?}")));
    }
    checked_path(name)
}

async fn list_proxy(client: &MlflowClient, netloc: Option<&str>, root: &str) -> Result<Vec<RemoteFile>, SourceError> {
    let mut walk = Walk { waiting: vec![String::new()], ..Walk::default() };
    while let Some(directory) = walk.waiting.pop() {
        let mut token = String::new();
        for page in 0.. {
            if page == MOST_PAGES {
                return Err(too_many(format!("at most {MOST_PAGES} pages of {directory:?}")));
            }
            let answer = client.list(netloc, &below(root, &directory), &token).await?;
            for file in answer.files {
                // Names alone are promised; a path of the whole would say the same in its last part.
                let name = file.path.rsplit('/').next().unwrap_or_default();
                if file.is_dir {
                    walk.add_directory(&directory, name)?;
                } else {
                    walk.add(&directory, name, file.file_size)?;
                }
            }
            token = answer.next_page_token;
            if token.is_empty() {
                break;
            }
        }
    }
    walk.into_files()
}

async fn list_local(root: PathBuf) -> Result<Vec<RemoteFile>, SourceError> {
    let listed = tokio::task::spawn_blocking(move || walk_local(&root)).await;
    listed.unwrap_or_else(|error| Err(unreadable(Path::new("the directory"), &io::Error::other(error))))
}

fn walk_local(root: &Path) -> Result<Vec<RemoteFile>, SourceError> {
    let marker = root.join(MLMODEL_FILE);
    fs::symlink_metadata(&marker).map_err(|error| unreadable(&marker, &error))?;
    let mut walk = Walk { waiting: vec![String::new()], ..Walk::default() };
    while let Some(directory) = walk.waiting.pop() {
        let path = root.join(&directory);
        for item in fs::read_dir(&path).map_err(|error| unreadable(&path, &error))? {
            let metadata = item.and_then(|item| Ok((item.file_name(), item.metadata()?)));
            let (name, metadata) = metadata.map_err(|error| unreadable(&path, &error))?;
            let name = name.to_str().ok_or_else(|| too_many(format!("names in UTF-8, found {name:?}")))?;
            if metadata.is_dir() {
                walk.add_directory(&directory, name)?;
            } else if metadata.is_file() {
                walk.add(&directory, name, Some(metadata.len()))?;
            } else {
                return Err(too_many(format!("files and directories, found something else named {name:?}")));
            }
        }
    }
    walk.into_files()
}

/// What is wrong with a file or a directory of this machine.
pub(super) fn unreadable(path: &Path, error: &io::Error) -> SourceError {
    let what = path.display().to_string();
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => {
            let message = "no such file on this machine; a directory without an MLmodel is not read".to_owned();
            SourceError::Absent { what, message }
        }
        _ => SourceError::Unreachable { place: what, cause: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_listed_whole_and_without_what_is_pythons() {
        let root = tempfile::tempdir().unwrap();
        assert!(matches!(walk_local(root.path()), Err(SourceError::Absent { .. })));
        for (path, bytes) in [("MLmodel", "{}"), ("model.onnx", "abc"), ("7f.data", "abcd"), ("a/b/c", "x")] {
            fs::create_dir_all(root.path().join(path).parent().unwrap()).unwrap();
            fs::write(root.path().join(path), bytes).unwrap();
        }
        let paths: Vec<_> = walk_local(root.path()).unwrap().into_iter().map(|file| (file.path, file.size)).collect();
        let expected = [("7f.data", 4), ("MLmodel", 2), ("a/b/c", 1), ("model.onnx", 3)];
        assert_eq!(paths, expected.map(|(path, size)| (path.to_owned(), Some(size))));
        std::os::unix::fs::symlink("/etc/hostname", root.path().join("link")).unwrap();
        assert!(matches!(walk_local(root.path()), Err(SourceError::Unexpected { .. })));
    }

    #[test]
    fn too_many_files_or_directories_too_deep_are_refused() {
        let mut walk = Walk::default();
        for number in 0..MOST_FILES {
            walk.add("", &number.to_string(), None).unwrap();
        }
        assert!(walk.add("", "one more", None).is_err());
        let deep = vec!["d"; DEEPEST].join("/");
        assert!(walk.add_directory(&deep, "d").is_err());
        for name in ["..", "", "a/b", "a\\b"] {
            assert!(Walk::default().add("d", name, None).is_err() && Walk::default().add_directory("", name).is_err());
        }
        let mut twice = Walk::default();
        twice.add("", "a", None).unwrap();
        twice.add("", "a", None).unwrap();
        assert!(twice.into_files().is_err());
    }

    #[test]
    fn paths_are_put_together_without_empty_parts() {
        let joined =
            [("", ""), ("a", ""), ("", "b"), ("a/", "b"), ("mlflow-artifacts:/0/r", "m")].map(|(a, b)| below(a, b));
        assert_eq!(joined, ["", "a", "b", "a/b", "mlflow-artifacts:/0/r/m"]);
    }
}
