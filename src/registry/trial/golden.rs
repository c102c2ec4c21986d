//! `golden.json`: requests with the answers that a version must give, or it does not serve.
//!
//! ```json
//! {"format": 1,
//!  "tolerance": {"absolute": 1e-6, "relative": 1e-5},
//!  "cases": [{"request":  {"inputs": [{"name": "features", "shape": [1, 2], "datatype": "FP32", "data": [0.5, 1]}]},
//!             "response": {"outputs": [{"name": "label", "shape": [1], "datatype": "INT64", "data": [1]}]},
//!             "tolerance": {"absolute": 1e-3}}]}
//! ```
//! A request is the body of `POST /v2/models/{m}/infer` and is read by what reads those; a response is the body of its
//! answer, of which every output that it names is compared and no other ([`compare`](super::compare)). The tolerance of
//! a case stands in place of the file's, whole: what it leaves out is 0. Unknown fields of the file, of a case and of a
//! response are refused, so that a misspelt tolerance does not go unnoticed.
//!
//! Whoever ships the file wants it held, so a file that cannot be read or does not fit the model refuses the version.
//!
//! Invariant: a version whose golden answers held gave every one of them, on the engine that will serve it.

use super::compare::{ExpectedOutput, Tolerance, compare};
use super::processor_time;
use crate::engine::{EngineError, Instance, LoadedGraph};
use crate::protocol::oip;
use crate::registry::beside::{self, BesideError};
use crate::tensor::{Signature, Tensor};
use serde::Deserialize;
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

/// The file.
pub const GOLDEN_FILE: &str = "golden.json";
/// The longest file, bytes. As a tree of values it takes some tens of times as much for the moment it is read.
pub const GOLDEN_LIMIT: u64 = 4 << 20;
/// The most cases.
pub const MOST_CASES: usize = 256;
/// The format that is read.
pub const GOLDEN_FORMAT: u32 = 1;
/// The longest that all cases together may take: loads are made one after the other, and other models wait.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why golden answers did not hold. Cases count from 1.
#[derive(Debug, thiserror::Error)]
pub enum GoldenError {
    /// The file is there and is not read.
    #[error("{GOLDEN_FILE}: {0}")]
    Beside(#[from] BesideError),
    /// It is not such a file.
    #[error("{GOLDEN_FILE} is not understood: {0}")]
    Syntax(String),
    /// A case cannot be asked of the model.
    #[error("{GOLDEN_FILE}, case {case}: the request does not fit the model: {reason}")]
    Request {
        /// The case.
        case: usize,
        /// What does not fit.
        reason: String,
    },
    /// The model failed on a case.
    #[error("{GOLDEN_FILE}, case {case}: {reason}")]
    Failed {
        /// The case.
        case: usize,
        /// What the engine says.
        reason: String,
    },
    /// The model gives another answer.
    #[error("{GOLDEN_FILE}, case {case}: {difference}")]
    Differs {
        /// The case.
        case: usize,
        /// The first difference.
        difference: String,
    },
    /// There was no time for all of them.
    #[error("{GOLDEN_FILE}: {done} of {cases} cases took over {PATIENCE:?} of a processor, the limit; ship fewer")]
    Late {
        /// Cases that were run.
        done: usize,
        /// Cases that there are.
        cases: usize,
    },
}

/// Golden answers that were read.
#[derive(Debug)]
pub(super) struct Golden {
    cases: Vec<Case>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(rename = "format")]
    _format: u32,
    #[serde(default)]
    tolerance: Option<Tolerance>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct FormatOnly {
    format: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    request: Value,
    response: Response,
    #[serde(default)]
    tolerance: Option<Tolerance>,
}

/// The body of an answer. What it says of who answered is allowed and not compared.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Response {
    outputs: Vec<ExpectedOutput>,
    #[serde(default, rename = "id")]
    _id: Option<Value>,
    #[serde(default, rename = "model_name")]
    _model_name: Option<Value>,
    #[serde(default, rename = "model_version")]
    _model_version: Option<Value>,
    #[serde(default, rename = "parameters")]
    _parameters: Option<Value>,
}

impl GoldenError {
    /// Whether the same bytes would be refused again: not what the disk or the clock did.
    #[must_use]
    pub fn is_of_the_bytes(&self) -> bool {
        !matches!(self, Self::Beside(BesideError::Unreadable(_)) | Self::Late { .. })
    }
}

/// Holds a model to the golden answers in a directory; how many cases there are, 0 without the file.
///
/// # Errors
/// [`GoldenError`] for the first case that does not hold, and for an instance that cannot be had.
pub fn hold_golden(directory: &Path, graph: &LoadedGraph) -> Result<usize, GoldenError> {
    let Some(golden) = Golden::read(directory)? else { return Ok(0) };
    let failed = |error: EngineError| GoldenError::Failed { case: 1, reason: error.to_string() };
    golden.hold(graph.instance().map_err(failed)?.as_mut(), graph.signature())?;
    Ok(golden.cases.len())
}

impl Golden {
    /// Reads the file in a version's directory, if it has one.
    ///
    /// # Errors
    /// [`GoldenError::Beside`] and [`GoldenError::Syntax`].
    pub(super) fn read(directory: &Path) -> Result<Option<Self>, GoldenError> {
        let text = beside::read(directory, GOLDEN_FILE, GOLDEN_LIMIT)?;
        text.map(|text| Self::parse(&text).map_err(GoldenError::Syntax)).transpose()
    }

    fn parse(text: &[u8]) -> Result<Self, String> {
        // The number first: a newer format may differ in anything else.
        let FormatOnly { format } = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        if format != GOLDEN_FORMAT {
            return Err(format!("expected format {GOLDEN_FORMAT}, found {format}"));
        }
        let File { tolerance, mut cases, .. } = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        if cases.is_empty() || cases.len() > MOST_CASES {
            return Err(format!("expected 1 to {MOST_CASES} cases, found {}", cases.len()));
        }
        for (index, case) in cases.iter_mut().enumerate() {
            case.tolerance = case.tolerance.or(tolerance);
            case.check().map_err(|reason| format!("case {}: {reason}", index + 1))?;
        }
        Ok(Self { cases })
    }

    /// Runs every case and compares its answer.
    ///
    /// # Errors
    /// [`GoldenError`] for the first case that does not hold.
    pub(super) fn hold(&self, instance: &mut dyn Instance, signature: &Signature) -> Result<(), GoldenError> {
        let (began, cases) = (processor_time(), self.cases.len());
        let mut outputs = Vec::new();
        for (done, case) in self.cases.iter().enumerate() {
            if processor_time().saturating_sub(began) > PATIENCE {
                return Err(GoldenError::Late { done, cases });
            }
            let number = done + 1;
            let body = serde_json::to_vec(&case.request)
                .map_err(|error| GoldenError::Request { case: number, reason: error.to_string() })?;
            let request = oip::decode_infer(&body, signature)
                .map_err(|error| GoldenError::Request { case: number, reason: error.to_string() })?;
            instance
                .run(&request.inputs, &mut outputs)
                .map_err(|error| GoldenError::Failed { case: number, reason: error.to_string() })?;
            case.compare(signature, &outputs)
                .map_err(|difference| GoldenError::Differs { case: number, difference })?;
        }
        Ok(())
    }
}

impl Case {
    /// What can be said of a case without the model.
    fn check(&self) -> Result<(), String> {
        if let Some(tolerance) = self.tolerance.filter(|tolerance| !tolerance.is_valid()) {
            return Err(format!("expected tolerances from 0 on, found {tolerance:?}"));
        }
        let outputs = &self.response.outputs;
        if outputs.is_empty() {
            return Err("the response names no outputs".to_owned());
        }
        let again =
            |(index, output): (usize, &ExpectedOutput)| outputs[..index].iter().any(|one| one.name == output.name);
        match outputs.iter().enumerate().find(|&output| again(output)) {
            Some((_, output)) => Err(format!("output \"{}\" is there twice", output.name)),
            None => Ok(()),
        }
    }

    fn compare(&self, signature: &Signature, outputs: &[Tensor]) -> Result<(), String> {
        for expected in &self.response.outputs {
            let place = signature.outputs.iter().position(|spec| spec.name == expected.name);
            let Some(found) = place.and_then(|place| outputs.get(place)) else {
                let given = signature.describe_outputs();
                return Err(format!("expected an output \"{}\"; the model gives {given}", expected.name));
            };
            compare(expected, found, self.tolerance)?;
        }
        Ok(())
    }
}
