//! What a check found, and what to do about it.
//!
//! Invariant: a finding that is a problem says what to do.

use serde::Serialize;

/// How a check went, the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    /// It was not made, and what was found says why.
    Skipped,
    /// Nothing is to be done.
    Ok,
    /// The gateway works, if not as well as it could or as somebody may think.
    Warning,
    /// Something does not work.
    Problem,
}

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// The check, and what it was made of: `model churn/2`.
    pub(super) check: String,
    /// How it went.
    pub(super) status: Status,
    /// What was found; of a check that was skipped, why.
    pub(super) found: String,
    /// What was expected instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) expected: Option<String>,
    /// What to do about it: the setting or the server's variable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) remedy: Option<String>,
}

impl Finding {
    /// All is well.
    pub(super) fn ok(check: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(check, Status::Ok, found)
    }

    /// The check could not be made.
    pub(super) fn skipped(check: impl Into<String>, why: impl Into<String>) -> Self {
        Self::new(check, Status::Skipped, why)
    }

    /// Worth knowing.
    pub(super) fn warning(check: impl Into<String>, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..Self::new(check, Status::Warning, found) }
    }

    /// To be mended.
    pub(super) fn problem(check: impl Into<String>, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..Self::new(check, Status::Problem, found) }
    }

    /// Says what was expected.
    pub(super) fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(expected.into());
        self
    }

    fn new(check: impl Into<String>, status: Status, found: impl Into<String>) -> Self {
        Self { check: check.into(), status, found: found.into(), expected: None, remedy: None }
    }
}
