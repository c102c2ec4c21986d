//! ONNX Runtime as the Python environment brings it.

use super::python::{Python, run};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The shared library of ONNX Runtime inside an environment.
pub(crate) fn onnxruntime(python: &Python) -> PathBuf {
    let script = "import onnxruntime; print(onnxruntime.__path__[0])";
    let package = run(Command::new(python.interpreter()).args(["-c", script]));
    let folder = Path::new(package.trim()).join("capi");
    let libraries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    libraries
        .map(|item| item.unwrap().path())
        .find(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            name.starts_with("libonnxruntime.") && !name.contains("providers")
        })
        .unwrap_or_else(|| panic!("no libonnxruntime in {}", folder.display()))
}
