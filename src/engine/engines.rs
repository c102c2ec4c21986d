//! Which engines this process has, and which of them gets a model.
//!
//! Invariant: `auto` never fails where a named engine would have succeeded.

use super::onnx::OnnxFile;
use super::onnxruntime::Discovered;
use super::tract::TractPlan;
use super::{
    CandidateOutcome, CandidateReport, EngineChoice, EngineError, LoadOptions, LoadedGraph, Plan, RuntimeInfo,
    RuntimeSearch,
};
use std::path::Path;
use std::sync::Arc;

/// The engines of this process: tract always, ONNX Runtime where it was found.
#[derive(Debug)]
pub struct Engines {
    onnx_runtime: Discovered,
}

impl Engines {
    /// Looks for ONNX Runtime and loads the first library that can be used. A process has one ONNX Runtime for its whole
    /// life: a later discovery that leads to the same library shares it, one that leads to another goes without.
    #[must_use]
    pub fn discover(search: &RuntimeSearch) -> Self {
        Self { onnx_runtime: Discovered::search(search) }
    }

    /// The ONNX Runtime that is used, if one was found.
    #[must_use]
    pub fn onnx_runtime(&self) -> Option<&RuntimeInfo> {
        self.onnx_runtime.info()
    }

    /// Every candidate for ONNX Runtime in the order of the search, with what became of it.
    #[must_use]
    pub fn report(&self) -> &[CandidateReport] {
        &self.onnx_runtime.reports
    }

    /// Loads the model at `path`, an ONNX file.
    ///
    /// # Errors
    /// See [`EngineError`]: the file cannot be read or understood, has inputs or outputs that cannot be served, or no
    /// engine that `choice` allows can load it. When both were tried the error has both reasons.
    pub fn load(&self, path: &Path, choice: EngineChoice, options: &LoadOptions) -> Result<LoadedGraph, EngineError> {
        let file = Arc::new(OnnxFile::read(path)?);
        let with_runtime = match choice {
            EngineChoice::Tract => None,
            EngineChoice::Auto | EngineChoice::OnnxRuntime => self.onnx_runtime.load(&file, *options),
        };
        let plan = match (with_runtime, choice) {
            (Some(Ok(plan)), _) => plan,
            (Some(Err(error)), EngineChoice::Auto) => self
                .load_with_tract(&file, choice)
                .map_err(|tract| EngineError::NoEngine { onnx_runtime: Box::new(error), tract: Box::new(tract) })?,
            (Some(Err(error)), _) => return Err(error),
            (None, EngineChoice::OnnxRuntime) => {
                return Err(EngineError::RuntimeMissing { path: file.path.clone(), remedy: self.remedy(choice) });
            }
            (None, _) => self.load_with_tract(&file, choice)?,
        };
        Ok(LoadedGraph { signature: Arc::new(file.signature.clone()), plan })
    }

    fn load_with_tract(&self, file: &OnnxFile, choice: EngineChoice) -> Result<Arc<dyn Plan>, EngineError> {
        Ok(Arc::new(TractPlan::load(file, &self.remedy(choice))?))
    }

    /// How to get an engine that has every operator.
    fn remedy(&self, choice: EngineChoice) -> String {
        if let Some(info) = self.onnx_runtime() {
            return match choice {
                EngineChoice::Tract => {
                    format!(
                        "set the engine to \"auto\" to use ONNX Runtime {} at {}",
                        info.version,
                        info.path.display()
                    )
                }
                _ => "ONNX Runtime was tried before".to_owned(),
            };
        }
        let mut remedy =
            "install ONNX Runtime (`pip install onnxruntime`) or point ORT_DYLIB_PATH at libonnxruntime".to_owned();
        let passed_over = self.report().iter().filter(|report| {
            matches!(report.outcome, CandidateOutcome::TooOld { .. } | CandidateOutcome::Broken { .. })
        });
        for report in passed_over {
            remedy.push_str("; passed over: ");
            remedy.push_str(&report.to_string());
        }
        remedy
    }
}
