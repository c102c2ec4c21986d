//! From candidates to the one library that is used, with the reason why each other one is not.
//!
//! Invariant: a candidate is loaded only after the file was seen to be a shared library and its version to be new enough.

use super::library::{RuntimeVersion, check_library, exported_version};
use super::process::{self, Runtime};
use super::search::{Candidate, CandidateSource, RuntimeSearch};
use super::{MINIMUM_VERSION, RuntimeInfo};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// What became of one file that may be ONNX Runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CandidateReport {
    /// The file, links resolved.
    pub path: PathBuf,
    /// What led to it.
    pub source: CandidateSource,
    /// Its version, where that was read.
    pub version: Option<RuntimeVersion>,
    /// Whether it is used, and why not.
    pub outcome: CandidateOutcome,
}

/// Whether a candidate is used, and why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CandidateOutcome {
    /// This is the ONNX Runtime that models are loaded with.
    Used,
    /// An earlier candidate is used, so this one was not looked at.
    NotNeeded,
    /// Its version is older than what this build can talk to.
    TooOld {
        /// The oldest version that would do.
        minimum: RuntimeVersion,
    },
    /// It is not a library, or does not load.
    Broken {
        /// Why not, to be read after the file's name.
        reason: String,
    },
}

impl fmt::Display for CandidateReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({}", self.path.display(), self.source)?;
        if let Some(version) = self.version {
            write!(formatter, ", version {version}")?;
        }
        match &self.outcome {
            CandidateOutcome::Used => formatter.write_str(") is used"),
            CandidateOutcome::NotNeeded => formatter.write_str(") is not needed"),
            CandidateOutcome::TooOld { minimum } => write!(formatter, ") is older than {minimum}"),
            CandidateOutcome::Broken { reason } => write!(formatter, ") {reason}"),
        }
    }
}

/// Loads the first candidate that can be used.
pub(super) fn discover(search: &RuntimeSearch) -> (Option<Arc<Runtime>>, Vec<CandidateReport>) {
    let mut runtime = None;
    let reports = search.candidates().into_iter().map(|candidate| {
        let (version, outcome) = if runtime.is_some() {
            (RuntimeVersion::of_file_name(&candidate.path), CandidateOutcome::NotNeeded)
        } else {
            try_candidate(&candidate, &mut runtime)
        };
        CandidateReport { path: candidate.path, source: candidate.source, version, outcome }
    });
    let reports = reports.collect();
    (runtime, reports)
}

fn try_candidate(
    candidate: &Candidate,
    runtime: &mut Option<Arc<Runtime>>,
) -> (Option<RuntimeVersion>, CandidateOutcome) {
    let path = &candidate.path;
    let named = RuntimeVersion::of_file_name(path);
    let too_old = CandidateOutcome::TooOld { minimum: MINIMUM_VERSION };
    if named.is_some_and(|version| version < MINIMUM_VERSION) {
        return (named, too_old);
    }
    let version = match check_library(path).and_then(|()| named.map_or_else(|| exported_version(path), Ok)) {
        Ok(version) => version,
        Err(reason) => return (named, CandidateOutcome::Broken { reason }),
    };
    if version < MINIMUM_VERSION {
        return (Some(version), too_old);
    }
    let outcome = match process::load(RuntimeInfo { path: path.clone(), version }) {
        Ok(loaded) => {
            *runtime = Some(loaded);
            CandidateOutcome::Used
        }
        Err(reason) => CandidateOutcome::Broken { reason },
    };
    (Some(version), outcome)
}
