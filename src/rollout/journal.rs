//! What is written down of a rollout, entry by entry: enough to go on after a restart and to repeat every decision.
//!
//! Entries say what happened and what it was decided on, never how to undo it. Their place in a rollout is their
//! generation, counted from 1, which makes writing the same entry twice harmless: a write that was late may have
//! happened.
//!
//! Invariant: an entry is never changed; what a later release cannot read it refuses with the version it found.

use super::judging::{Frozen, JudgingPlan};
use super::plan::Plan;
use super::{Judgement, Order, Pause, Phase, ShadowRule, TestPlan};
use crate::config::RolloutHookKind;
use crate::observe::shadow::ShadowCounts;
use crate::observe::trial::{GuardSegment, TrialCounts};
use serde::{Deserialize, Serialize};

/// The form of entries that this release writes and reads.
pub const JOURNAL_VERSION: u32 = 1;

/// An entry in its place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Its place among the entries of its rollout, from 1.
    pub generation: u64,
    /// Unix milliseconds.
    pub at: u64,
    /// What it says.
    pub entry: Entry,
}

/// What happened to a rollout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "says", deny_unknown_fields)]
pub enum Entry {
    /// It began.
    Started(Box<Beginning>),
    /// The version is loaded, and what is counted and how it is judged is fixed.
    Armed {
        /// How it is judged.
        judging: Box<JudgingPlan>,
    },
    /// It came to stand somewhere else.
    Moved {
        /// Where.
        to: Phase,
        /// The target's share from then on, hundredths of a percent.
        weight: u16,
        /// Why.
        reason: String,
        /// What it is about to end as, if it is about to end.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ends: Option<Phase>,
    },
    /// It waits where it stands.
    Paused {
        /// For what.
        pause: Pause,
        /// For people.
        reason: String,
    },
    /// It waits no longer.
    Continued {
        /// For people.
        reason: String,
    },
    /// Something was decided on evidence.
    Decision(Box<Decision>),
    /// What was counted so far, so that a restart does not forget it.
    Counted {
        /// Of this phase: before promotion, or since.
        counts: Vec<TrialCounts>,
    },
    /// Somebody said what to do.
    Ordered {
        /// What.
        order: Order,
        /// Who.
        by: String,
    },
    /// A hook answered.
    Hook {
        /// The moment.
        hook: RolloutHookKind,
        /// Its name.
        name: String,
        /// Whether it agreed.
        yes: bool,
        /// What it said, or why nothing came.
        text: String,
    },
    /// Another version is wanted now.
    Newer {
        /// Which; none if none is wanted any more.
        version: u64,
        /// Its digest.
        digest: String,
        /// What becomes of it.
        action: crate::config::Newer,
    },
    /// The registry's stable version is another.
    Champion {
        /// Which.
        version: Option<u64>,
    },
    /// The registry was told.
    WriteBack {
        /// What, for people and to know what it was told last.
        what: String,
        /// Why not, if it was not.
        failed: Option<String>,
    },
    /// Something kept it from going on.
    Problem {
        /// What.
        what: String,
    },
    /// The process began anew.
    Restarted,
    /// It ended.
    Ended {
        /// As what.
        outcome: Phase,
        /// Why.
        reason: String,
        /// Milliseconds from the registration of the version, or else its sighting, until it had all traffic, if it was
        /// promoted and stayed so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lead_ms: Option<u64>,
        /// Milliseconds from the decision to no share at all, if it had one and lost it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        restore_ms: Option<u64>,
    },
}

/// What a rollout begins with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Beginning {
    /// Its id.
    pub id: String,
    /// The model.
    pub model: String,
    /// The version that is rolled out.
    pub target: u64,
    /// Identifies its bytes.
    pub digest: String,
    /// The version that is stable.
    pub stable: u64,
    /// Identifies its bytes.
    pub stable_digest: String,
    /// What the registry said is stable.
    pub champion: Option<u64>,
    /// The version that was wanted when it began, with its digest; another one wanted later is a newer one.
    pub wanted: Option<(u64, String)>,
    /// Whether it goes back to a version that was stable lately, which needs no steps.
    pub fast: bool,
    /// What is asked, if it is a test.
    pub test: Option<TestPlan>,
    /// When the version was registered with these bytes, unix milliseconds, if its source says so; never later than
    /// [`Self::sighted_at`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registered_at: Option<u64>,
    /// When it was seen that the version is to be rolled out, unix milliseconds.
    pub sighted_at: u64,
    /// Who began it.
    pub by: String,
    /// How it is to go.
    pub plan: Plan,
}

impl Beginning {
    /// Takes in when the version was registered, unix milliseconds, by a clock that may be ahead of ours: then it counts as
    /// registered when it was sighted. Answers by how many milliseconds it was ahead, if it was.
    pub fn registered(&mut self, at: Option<u64>) -> Option<u64> {
        self.registered_at = at.map(|at| at.min(self.sighted_at));
        at.and_then(|at| at.checked_sub(self.sighted_at)).filter(|ahead| *ahead > 0)
    }

    /// From when its lead time counts, unix milliseconds.
    #[must_use]
    pub fn known_since(&self) -> u64 {
        self.registered_at.unwrap_or(self.sighted_at)
    }
}

/// What was looked at to decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// Copies of requests.
    Shadow,
    /// A step.
    Step,
    /// The guards.
    Guards,
    /// The time after promotion.
    Bake,
}

/// A decision with everything that it was made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// What was looked at.
    pub subject: Subject,
    /// Where it stood.
    pub phase: Phase,
    /// Events of the new version that were needed.
    pub needed: u64,
    /// What was counted, of this phase: before promotion, or since.
    pub counts: Vec<TrialCounts>,
    /// What the guards read, if they decided.
    pub guards: Vec<GuardSegment>,
    /// Stable's counts before promotion, if it was compared with those.
    pub frozen: Option<Frozen>,
    /// Copies of requests, if they decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copies: Option<Box<Copies>>,
    /// What it came to.
    pub judgement: Judgement,
    /// What was done, for people.
    pub reason: String,
}

/// What copies of requests came to, and what they were judged by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Copies {
    /// The limits.
    pub rule: ShadowRule,
    /// What was compared.
    pub counts: ShadowCounts,
}

/// Why an entry cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// A later release wrote it.
    #[error("an entry of the rollout journal has version {found}, this release reads version {JOURNAL_VERSION}")]
    Version {
        /// The version that it has.
        found: u32,
    },
    /// It is none.
    #[error("an entry of the rollout journal cannot be read: {0}")]
    Unreadable(#[from] serde_json::Error),
}

#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    version: u32,
    record: T,
}

impl Record {
    /// The entry as it is written down.
    ///
    /// # Panics
    /// Never: an entry is numbers and text, which JSON has.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(&Versioned { version: JOURNAL_VERSION, record: self })
            .expect("an entry is numbers and text, which JSON has")
    }

    /// An entry that was written down.
    ///
    /// # Errors
    /// [`JournalError`] when a later release wrote it, or it is none.
    pub fn from_json(text: &str) -> Result<Self, JournalError> {
        let Versioned { version, record } = serde_json::from_str::<Versioned<serde_json::Value>>(text)?;
        if version != JOURNAL_VERSION {
            return Err(JournalError::Version { found: version });
        }
        Ok(serde_json::from_value(record)?)
    }
}

impl Entry {
    /// Its kind, as the store's column has it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Started(_) => "started",
            Self::Armed { .. } => "armed",
            Self::Moved { .. } => "moved",
            Self::Paused { .. } => "paused",
            Self::Continued { .. } => "continued",
            Self::Decision(_) => "decision",
            Self::Counted { .. } => COUNTED,
            Self::Ordered { .. } => "ordered",
            Self::Hook { .. } => "hook",
            Self::Newer { .. } => "newer",
            Self::Champion { .. } => "champion",
            Self::WriteBack { .. } => "write_back",
            Self::Problem { .. } => "problem",
            Self::Restarted => "restarted",
            Self::Ended { .. } => "ended",
        }
    }
}

/// The kind of entries that a later one of the same rollout makes superfluous.
pub const COUNTED: &str = "counted";
