//! Where a shared library of ONNX Runtime may lie.
//!
//! The usual advice, to let the dynamic linker find it, misses where most machines have it: inside the `onnxruntime`
//! package of some Python. Asking Python would run a program that a search path names, so its folders are worked out from
//! the names of the interpreters on the path instead: an interpreter `bin/python3` has its packages in
//! `lib/python3.*/site-packages` beside `bin`. The environment comes in as a value, so that a test, and `doctor`, can
//! search anywhere.
//!
//! Invariant: files are listed and links followed, nothing is opened, loaded or run; each file is offered once, the most
//! explicit source first.

use super::library::RuntimeVersion;
use std::collections::HashSet;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// Everything that says where to look. The default says nothing, and nothing is then found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuntimeSearch {
    /// The setting: a library, or a folder with one.
    pub explicit: Option<PathBuf>,
    /// `ORT_DYLIB_PATH`: likewise.
    pub ort_dylib_path: Option<PathBuf>,
    /// The folder of the running binary.
    pub executable_folder: Option<PathBuf>,
    /// Folders that the dynamic linker searches.
    pub library_folders: Vec<PathBuf>,
    /// Folders of programs, where Python interpreters are found by name.
    pub program_folders: Vec<PathBuf>,
    /// Roots of Python environments: `VIRTUAL_ENV`, `CONDA_PREFIX`.
    pub python_environments: Vec<PathBuf>,
    /// Roots of pyenv, whose interpreters on the path are scripts that tell nothing: `PYENV_ROOT`, `~/.pyenv`.
    pub pyenv_roots: Vec<PathBuf>,
    /// The root of packages that a user installs for all Pythons: `~/.local`.
    pub user_packages: Option<PathBuf>,
}

/// What led to a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CandidateSource {
    /// The setting.
    Setting,
    /// The environment variable `ORT_DYLIB_PATH`.
    OrtDylibPath,
    /// The folder of the running binary.
    BesideBinary,
    /// A folder of the dynamic linker.
    LibraryPath,
    /// The packages of a Python.
    Python,
}

/// A file that may be ONNX Runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) path: PathBuf,
    pub(super) source: CandidateSource,
}

impl fmt::Display for CandidateSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Setting => "setting",
            Self::OrtDylibPath => "ORT_DYLIB_PATH",
            Self::BesideBinary => "beside the binary",
            Self::LibraryPath => "library path",
            Self::Python => "Python package",
        })
    }
}

impl RuntimeSearch {
    /// Looks where this process's environment points to; `explicit` is the setting.
    #[must_use]
    pub fn from_environment(explicit: Option<PathBuf>) -> Self {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let path = |name: &str| variable(name).map(PathBuf::from);
        let list = |name: &str| variable(name).map(|value| split(&value)).unwrap_or_default();
        let home = path("HOME");
        let mut library_folders = list("LD_LIBRARY_PATH");
        library_folders.extend(list("DYLD_LIBRARY_PATH"));
        library_folders.extend(system_library_folders());
        let executable = std::env::current_exe().and_then(fs::canonicalize).ok();
        Self {
            explicit,
            ort_dylib_path: path("ORT_DYLIB_PATH"),
            executable_folder: executable.and_then(|file| file.parent().map(Path::to_path_buf)),
            library_folders,
            program_folders: list("PATH"),
            python_environments: [path("VIRTUAL_ENV"), path("CONDA_PREFIX")].into_iter().flatten().collect(),
            pyenv_roots: [path("PYENV_ROOT"), home.as_ref().map(|home| home.join(".pyenv"))]
                .into_iter()
                .flatten()
                .collect(),
            user_packages: home.map(|home| home.join(".local")),
        }
    }

    /// Every file that may be ONNX Runtime, the most explicit first.
    pub(super) fn candidates(&self) -> Vec<Candidate> {
        let mut found = Vec::new();
        let mut add = |source, paths: Vec<PathBuf>| {
            found.extend(
                paths.into_iter().map(|path| Candidate { path: fs::canonicalize(&path).unwrap_or(path), source }),
            );
        };
        add(CandidateSource::Setting, self.named(self.explicit.as_deref()));
        add(CandidateSource::OrtDylibPath, self.named(self.ort_dylib_path.as_deref()));
        for folder in
            self.executable_folder.iter().flat_map(|folder| [folder.clone(), folder.join("lib"), folder.join("../lib")])
        {
            add(CandidateSource::BesideBinary, libraries_in(&folder));
        }
        for folder in &self.library_folders {
            add(CandidateSource::LibraryPath, libraries_in(folder));
        }
        for folder in self.package_folders() {
            add(CandidateSource::Python, libraries_in(&folder.join("onnxruntime/capi")));
        }
        let mut seen = HashSet::new();
        found.retain(|candidate| seen.insert(candidate.path.clone()));
        found
    }

    /// What an explicit path means: a library, or a folder with libraries. A relative one is looked for beside the
    /// binary first, as `ort` does. A path that leads nowhere stays, so that the report can say so.
    fn named(&self, path: Option<&Path>) -> Vec<PathBuf> {
        let Some(path) = path else { return Vec::new() };
        let beside = self.executable_folder.as_ref().map(|folder| folder.join(path)).filter(|beside| beside.exists());
        let path = beside.unwrap_or_else(|| path.to_path_buf());
        let mut libraries = libraries_in(&path);
        libraries.extend(libraries_in(&path.join("lib")));
        if libraries.is_empty() { vec![path] } else { libraries }
    }

    /// The package folders of every Python that the environment leads to.
    fn package_folders(&self) -> Vec<PathBuf> {
        let mut roots = self.python_environments.clone();
        for folder in &self.program_folders {
            for interpreter in ["python3", "python"].map(|name| folder.join(name)) {
                if interpreter.is_file() {
                    // A virtual environment's interpreter is a link to the one it was made from; both have packages.
                    roots.extend(folder.parent().map(Path::to_path_buf));
                    let real = fs::canonicalize(&interpreter).ok();
                    roots.extend(real.and_then(|real| real.parent()?.parent().map(Path::to_path_buf)));
                }
            }
        }
        for root in &self.pyenv_roots {
            roots.extend(sorted_entries(&root.join("versions"), |_| true));
        }
        roots.extend(self.user_packages.clone());
        if roots.iter().any(|root| root == Path::new("/usr")) {
            // Debian's Python keeps what pip installs for all users there.
            roots.push(PathBuf::from("/usr/local"));
        }
        let mut seen = HashSet::new();
        roots.retain(|root| seen.insert(root.clone()));
        roots.iter().flat_map(|root| packages_of(root)).collect()
    }
}

fn split(list: &OsString) -> Vec<PathBuf> {
    std::env::split_paths(list).filter(|path| path.is_absolute()).collect()
}

fn system_library_folders() -> Vec<PathBuf> {
    let multiarch = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    ["/usr/local/lib", "/usr/local/lib64", &multiarch, "/usr/lib", "/usr/lib64", "/opt/homebrew/lib"]
        .map(PathBuf::from)
        .to_vec()
}

fn packages_of(root: &Path) -> Vec<PathBuf> {
    let pythons = ["lib", "lib64"]
        .into_iter()
        .flat_map(|lib| sorted_entries(&root.join(lib), |name| name.starts_with("python3")));
    pythons.flat_map(|python| [python.join("site-packages"), python.join("dist-packages")]).collect()
}

/// The libraries in `folder`, the newest by name first.
fn libraries_in(folder: &Path) -> Vec<PathBuf> {
    sorted_entries(folder, is_library_name)
}

fn is_library_name(name: &str) -> bool {
    let Some(rest) = name.strip_prefix("libonnxruntime.") else { return name == "onnxruntime.dll" };
    let is_versioned = rest.starts_with(|character: char| character.is_ascii_digit());
    rest == "so" || rest.starts_with("so.") || rest == "dylib" || (is_versioned && rest.ends_with(".dylib"))
}

/// Entries whose name `accept`s, those with the highest version in their name first.
fn sorted_entries(folder: &Path, accept: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(&accept))
        .collect();
    paths.sort_by(|left, right| {
        let versions = RuntimeVersion::of_file_name(right).cmp(&RuntimeVersion::of_file_name(left));
        versions.then_with(|| left.cmp(right))
    });
    paths
}
