//! A model repository of a test's own, filled from the shipped one.
//!
//! Files get a time an hour ago, so that they count as settled at once, and a version is renamed into place whole, as
//! the documentation tells users to do.

use super::table::Table;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The shipped models.
pub(crate) fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models")
}

/// Rows that no shipped model was trained on.
pub(crate) fn held_out(model: &str) -> Table {
    Table::read(&shipped().join(model).join("heldout.csv"))
}

/// Every shipped version, as model and version.
pub(crate) fn versions_in(repository: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for model in names_in(repository) {
        for version in names_in(&repository.join(&model)) {
            if repository.join(&model).join(&version).join("model.onnx").is_file() {
                found.push((model.clone(), version));
            }
        }
    }
    assert!(!found.is_empty(), "{} holds no models", repository.display());
    found
}

fn names_in(directory: &Path) -> Vec<String> {
    let items = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut names: Vec<String> = items
        .map(|item| item.unwrap())
        .filter(|item| item.path().is_dir())
        .map(|item| item.file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A repository in a directory that goes with it.
#[derive(Debug)]
pub(crate) struct Repository(tempfile::TempDir);

impl Repository {
    pub(crate) fn empty() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// Shipped versions under their own names: `churn/1`.
    pub(crate) fn of(versions: &[&str]) -> Self {
        let repository = Self::empty();
        for version in versions {
            repository.add(&shipped().join(version), version);
        }
        repository
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Copies a version directory and renames it into place as `churn/7`.
    pub(crate) fn add(&self, from: &Path, version: &str) {
        self.add_with(from, version, |_staged| {});
    }

    /// As [`Self::add`], with a chance to spoil the copy first.
    pub(crate) fn add_with(&self, from: &Path, version: &str, change: impl FnOnce(&Path)) {
        let staging = tempfile::Builder::new().prefix(".staging").tempdir_in(self.path()).unwrap();
        let staged = staging.path().join("version");
        fs::create_dir(&staged).unwrap();
        for item in fs::read_dir(from).unwrap_or_else(|error| panic!("{}: {error}", from.display())) {
            let item = item.unwrap();
            fs::copy(item.path(), staged.join(item.file_name())).unwrap();
        }
        change(&staged);
        for item in fs::read_dir(&staged).unwrap() {
            age(&item.unwrap().path());
        }
        let place = self.path().join(version);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::rename(&staged, &place).unwrap();
    }

    /// Takes a version away, in one step.
    pub(crate) fn remove(&self, version: &str) {
        let bin = tempfile::Builder::new().prefix(".removed").tempdir_in(self.path()).unwrap();
        fs::rename(self.path().join(version), bin.path().join("version")).unwrap();
    }
}

/// Makes a file look as if it had been written an hour ago.
pub(crate) fn age(path: &Path) {
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(3600)).unwrap();
}
