//! An ONNX file: its signature, its operators, and the bytes that an engine should load.
//!
//! Both engines are given the same model and the same signature from here, so which of them serves a model is a
//! question of speed and of supported operators, never of what a client sees.
//!
//! Invariant: [`OnnxFile::edited`] is present exactly when the file itself must not be loaded as it is.

mod external;
mod graph;
#[cfg(test)]
pub(crate) mod samples;
mod signature;
#[cfg(test)]
mod tests;
mod wire;
mod zip_map;

#[cfg(test)]
pub(crate) use wire::Message;

use super::EngineError;
use crate::tensor::Signature;
use graph::Graph;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// A model file that was read and understood.
#[derive(Debug)]
pub(crate) struct OnnxFile {
    pub(crate) path: PathBuf,
    pub(crate) signature: Signature,
    /// Every operator in it, those in the bodies of control flow included.
    pub(crate) operators: Vec<Operator>,
    /// The model to load instead of the file, where it had to be changed.
    pub(crate) edited: Option<Vec<u8>>,
    stamp: Stamp,
    /// The files beside it that hold weights, each once.
    pub(crate) weights: Vec<WeightFile>,
}

/// A file beside a model that holds weights of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WeightFile {
    /// As the model names it: within the model's folder.
    pub(crate) location: PathBuf,
    pub(crate) path: PathBuf,
    stamp: Stamp,
}

/// One operator of a model: what decides whether an engine can run it, and what to call it if not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Operator {
    /// The node's name, or that of its first output.
    pub(crate) node: String,
    pub(crate) name: String,
    /// Empty for the default domain.
    pub(crate) domain: String,
    /// How many classes it tells apart, 0 if it is no classifier.
    pub(crate) classes: i64,
}

/// What tells that a file was replaced: its length and when it was last written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    length: u64,
    modified: Option<SystemTime>,
}

impl WeightFile {
    /// All of the file, if it is as long as it was.
    pub(crate) fn read(&self) -> Result<Arc<[u8]>, EngineError> {
        let unreadable = |source| EngineError::Unreadable { path: self.path.clone(), source };
        let length =
            usize::try_from(self.stamp.length).map_err(|_too_large| unreadable(io::ErrorKind::FileTooLarge.into()))?;
        // Of one allocation, where making it from a vector would take the file twice.
        let mut bytes: Arc<[u8]> = std::iter::repeat_n(0, length).collect();
        let buffer = Arc::get_mut(&mut bytes).expect("nobody else has it yet");
        File::open(&self.path).and_then(|mut file| file.read_exact(buffer)).map_err(unreadable)?;
        Ok(bytes)
    }
}

impl OnnxFile {
    /// Reads the model at `path`.
    pub(crate) fn read(path: &Path) -> Result<Self, EngineError> {
        let unreadable = |source| EngineError::Unreadable { path: path.to_path_buf(), source };
        let stamp = Stamp::of(path).map_err(unreadable)?;
        let bytes = std::fs::read(path).map_err(unreadable)?;
        Self::parse(path, stamp, &bytes)
    }

    fn parse(path: &Path, stamp: Stamp, bytes: &[u8]) -> Result<Self, EngineError> {
        let malformed = |error: wire::WireError| EngineError::Malformed { path: path.to_path_buf(), reason: error.0 };
        let original = Graph::of_model(bytes).map_err(malformed)?;
        let weights = weight_files(path, &external::of_model(bytes).map_err(malformed)?)?;
        let edited = zip_map::without_zip_map(bytes, &original).map_err(malformed)?;
        let graph = match &edited {
            Some(edited) => Graph::of_model(edited).map_err(malformed)?,
            None => original,
        };
        if graph.outputs.iter().any(|output| !graph.has_value(output.name)) {
            return Err(malformed(wire::WireError("it declares an output that nothing computes")));
        }
        let signature = signature::signature(&graph).map_err(|found| EngineError::UnsupportedTensor {
            path: path.to_path_buf(),
            side: found.side,
            name: found.name,
            reason: found.reason,
        })?;
        let mut operators = Vec::new();
        let mut collect = |node: &graph::Node<'_>| Operator::of(node).map(|operator| operators.push(operator));
        graph.visit_nodes(&mut collect).map_err(malformed)?;
        drop(graph);
        Ok(Self { path: path.to_path_buf(), signature, operators, edited, stamp, weights })
    }

    /// The folder that external data is found in.
    pub(crate) fn folder(&self) -> &Path {
        folder_of(&self.path)
    }

    /// Whether the files are still those that were read, so that loading them again gives the same model.
    pub(crate) fn check_unchanged(&self) -> Result<(), EngineError> {
        let weights = self.weights.iter().map(|file| (&file.path, file.stamp));
        for (path, expected) in weights.chain([(&self.path, self.stamp)]) {
            match Stamp::of(path) {
                Ok(stamp) if stamp == expected => {}
                Ok(_) => return Err(EngineError::Replaced { path: path.clone() }),
                Err(source) => return Err(EngineError::Unreadable { path: path.clone(), source }),
            }
        }
        Ok(())
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// The files that hold weights, looked at before any of them is read.
fn weight_files(path: &Path, weights: &[external::ExternalData<'_>]) -> Result<Vec<WeightFile>, EngineError> {
    let mut files: Vec<WeightFile> = Vec::new();
    for weight in weights {
        weight.check(folder_of(path)).map_err(|reason| EngineError::ExternalData {
            path: path.to_path_buf(),
            tensor: weight.tensor.to_owned(),
            location: weight.location.to_owned(),
            reason,
        })?;
        // ONNX Runtime knows `./w` and `w` as one.
        let parts = Path::new(weight.location).components().filter(|part| *part != Component::CurDir);
        let location: PathBuf = parts.collect();
        if files.last().is_some_and(|last| last.location == location) {
            continue;
        }
        let file = folder_of(path).join(&location);
        let stamp = Stamp::of(&file).map_err(|source| EngineError::Unreadable { path: file.clone(), source })?;
        files.push(WeightFile { location, path: file, stamp });
    }
    files.sort_by(|one, other| one.location.cmp(&other.location));
    files.dedup_by(|one, other| one.location == other.location);
    Ok(files)
}

impl Operator {
    fn of(node: &graph::Node<'_>) -> Result<Self, wire::WireError> {
        Ok(Self {
            node: node.label().to_owned(),
            name: node.operator.to_owned(),
            domain: node.domain.to_owned(),
            classes: node.class_labels()?,
        })
    }

    /// The operator as ONNX writes it: `ai.onnx.ml.Scaler`, the default domain left out.
    pub(crate) fn qualified(&self) -> String {
        match self.domain.as_str() {
            "" | "ai.onnx" => self.name.clone(),
            domain => format!("{domain}.{}", self.name),
        }
    }
}

impl Stamp {
    fn of(path: &Path) -> std::io::Result<Self> {
        let metadata = std::fs::metadata(path)?;
        Ok(Self { length: metadata.len(), modified: metadata.modified().ok() })
    }
}
