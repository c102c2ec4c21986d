//! The Python environment that reference answers and ONNX Runtime come from.
//!
//! Made on first use from pinned wheels, below the target directory, and kept: its name has the hash of everything that
//! decides what is in it. A lock file makes whoever comes second wait for whoever is making it. When it cannot be made,
//! the tests that need it fail and say why; none is passed over.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The environment's root.
#[derive(Debug)]
pub(crate) struct Python(PathBuf);

/// Cargo's target directory.
pub(crate) fn target_directory() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().to_owned()
}

/// Tells the developer what takes so long. Straight to standard error, because the test harness would keep a `print!`
/// to itself.
pub(crate) fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "[tests] {text}");
}

/// The hash of texts, as part of a file name.
pub(crate) fn hash_of(texts: &[String]) -> String {
    let mut hasher = DefaultHasher::new();
    texts.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// Takes a lock file below the target directory; it is held until the answer is dropped.
pub(crate) fn lock(name: &str) -> fs::File {
    let path = target_directory().join(name);
    let file = fs::File::options().create(true).append(true).open(&path).unwrap();
    file.lock().unwrap_or_else(|error| panic!("cannot lock {}: {error}", path.display()));
    file
}

/// Runs a command to its end; its standard output. Its failure is the test's.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{command:?} failed with {}:\n{out}{err}", output.status);
    out
}

/// The environment, made if it is not there yet.
pub(crate) fn environment() -> &'static Python {
    static MADE: OnceLock<Python> = OnceLock::new();
    MADE.get_or_init(|| make("python-env", &["tests/requirements.txt", "models/requirements.txt"]))
}

/// Makes an environment of the first file's packages; what the others say goes into its name as well.
pub(crate) fn make(name: &str, files: &[&str]) -> Python {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &&str| fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    let version = run(Command::new("python3").arg("--version"));
    let texts: Vec<String> = files.iter().map(read).chain([version]).collect();
    let python = Python(target_directory().join(format!("{name}-{}", hash_of(&texts))));
    let requirements = root.join(files[0]);
    let _lock = lock(&format!("{name}.lock"));
    let whole = python.0.join("whole");
    if whole.exists() {
        return python;
    }
    say(&format!("making a Python environment in {}; this takes a minute, once", python.0.display()));
    if python.0.exists() {
        fs::remove_dir_all(&python.0).unwrap();
    }
    run(Command::new("python3").args(["-m", "venv"]).arg(&python.0));
    let pip = ["-m", "pip", "install", "--disable-pip-version-check", "--quiet", "--requirement"];
    run(Command::new(python.interpreter()).args(pip).arg(&requirements));
    fs::write(whole, "").unwrap();
    say("the Python environment is ready");
    python
}

impl Python {
    pub(crate) fn interpreter(&self) -> PathBuf {
        self.0.join("bin/python")
    }

    /// Runs a script of this package, `tests/python/distances.py`; its standard output.
    pub(crate) fn run_script(&self, script: &str, arguments: &[&str]) -> String {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(script);
        run(Command::new(self.interpreter()).arg(script).args(arguments))
    }
}
