//! What is wrong with the settings: a list, never just the first thing.
//!
//! One run of the program should show everything that has to be mended, so a problem is a value that is collected and
//! not an error that is returned. The text names the place as the user knows it: the line of the file, the variable or
//! the flag.
//!
//! Invariant: no text here contains the value of a secret.

use std::fmt;

use crate::error::{Blamed, Fault};

/// Everything that is wrong with the settings; nothing has been started or changed.
///
/// Displayed as one problem per line, in the order file (by line), environment, flags.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigProblems {
    /// Name of the file as it was given; empty without a file.
    file: String,
    /// At least one, in the order of display.
    problems: Vec<Problem>,
}

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where the value comes from.
    pub origin: Origin,
    /// The setting as a dotted path, `server.workers`; empty where none is meant.
    pub path: String,
    /// What is wrong.
    pub kind: ProblemKind,
}

/// Where a value comes from. Ordered by precedence: later ones override earlier ones.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A line of the file, counted from 1.
    Line(usize),
    /// An environment variable, by name.
    Variable(String),
    /// A flag of the command line, `--http`.
    Flag(&'static str),
}

/// What is wrong with a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProblemKind {
    /// The file is not TOML here.
    #[error("not valid TOML: {reason}")]
    Syntax {
        /// What the parser says.
        reason: String,
    },
    /// A key that no setting has.
    #[error("unknown key {name:?}; {hint}")]
    UnknownKey {
        /// The key that came.
        name: String,
        /// The likely one, or all that exist.
        hint: String,
    },
    /// A variable that starts with `TIDEGATE_` and is no setting.
    #[error("no setting has this environment variable; {hint}")]
    UnknownVariable {
        /// The likely one, or the advice to unset it.
        hint: String,
    },
    /// A value of the wrong type, out of range, or misspelt.
    #[error("expected {expected}, found {found}")]
    Invalid {
        /// What is accepted.
        expected: String,
        /// What came.
        found: String,
    },
    /// A value that must be given and is not.
    #[error("is missing: {expected}")]
    Missing {
        /// What is needed.
        expected: String,
    },
    /// Values that are right alone and wrong together.
    #[error("{reason}")]
    Conflict {
        /// Which ones, and why.
        reason: String,
    },
    /// A secret whose source yields nothing usable.
    #[error("no secret from {place}: {reason}")]
    Secret {
        /// The variable or file that was named.
        place: String,
        /// Why it yields none; never the value.
        reason: String,
    },
}

impl ConfigProblems {
    /// The problems in the order of display; at least one.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Sorts the problems by place. `None` when there is none.
    pub(super) fn from_list(file: &str, mut problems: Vec<Problem>) -> Option<Self> {
        problems.sort_by(|one, other| one.origin.cmp(&other.origin));
        (!problems.is_empty()).then(|| Self { file: file.to_owned(), problems })
    }
}

impl fmt::Display for ConfigProblems {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.len() {
            1 => write!(formatter, "one problem in the settings:")?,
            several => write!(formatter, "{several} problems in the settings:")?,
        }
        for problem in &self.problems {
            match &problem.origin {
                Origin::Line(line) => write!(formatter, "\n  {}:{line}: ", self.file)?,
                Origin::Variable(name) => write!(formatter, "\n  environment variable {name}: ")?,
                Origin::Flag(name) => write!(formatter, "\n  flag {name}: ")?,
            }
            if !problem.path.is_empty() {
                write!(formatter, "{}: ", problem.path)?;
            }
            write!(formatter, "{}", problem.kind)?;
        }
        Ok(())
    }
}

impl Blamed for ConfigProblems {
    /// Whoever asks for a reload asks rightly; it is the settings that contradict what can be run.
    fn fault(&self) -> Fault {
        Fault::Conflict
    }
}
