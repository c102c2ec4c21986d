//! What a model's directory says of the model as a whole: which versions to keep loaded, how large a batch may be, how
//! to run it.
//!
//! The words are Triton's (`config.pbtxt`), because the directories are. Here and not where the file is read, because
//! the publisher acts on it.
//!
//! Invariant: every policy keeps at least one version, if there is one that it allows.

use std::collections::BTreeSet;
use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

/// Which versions are kept loaded while no split was set. The highest of them is stable, the others are warm without a
/// share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VersionPolicy {
    /// The so many highest versions.
    Latest(NonZeroU32),
    /// Every version.
    All,
    /// These versions alone; others are not considered.
    Specific(BTreeSet<u64>),
}

/// What a model's `config.pbtxt` says, as far as it is used; the default when there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TritonConfig {
    /// The most rows of one request, if that is limited.
    pub max_batch_size: Option<NonZeroU32>,
    /// Which versions are kept loaded.
    pub version_policy: VersionPolicy,
    /// How often at a time and in what batches it is to run.
    pub execution: TritonExecution,
    /// Keys of the file that have no effect here.
    pub not_used: Vec<String>,
}

/// What is said of a model's calls that are not made on workers, where the settings do not say it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TritonExecution {
    /// Rows up to which waiting requests are put together into one call.
    pub max_batch: Option<NonZeroU32>,
    /// How long a call waits for more of them.
    pub batch_delay: Option<Duration>,
    /// Calls at a time.
    pub instances: Option<NonZeroU32>,
}

impl Default for VersionPolicy {
    /// The highest version, as in Triton.
    fn default() -> Self {
        Self::Latest(NonZeroU32::MIN)
    }
}

impl VersionPolicy {
    /// Whether `version` is considered at all.
    #[must_use]
    pub fn allows(&self, version: u64) -> bool {
        match self {
            Self::Latest(_) | Self::All => true,
            Self::Specific(versions) => versions.contains(&version),
        }
    }

    /// How many of the allowed versions are kept, the highest first.
    #[must_use]
    pub fn count(&self) -> usize {
        match self {
            Self::Latest(count) => usize::try_from(count.get()).unwrap_or(usize::MAX),
            Self::All | Self::Specific(_) => usize::MAX,
        }
    }

    /// The versions that it names.
    pub fn named(&self) -> impl Iterator<Item = u64> {
        match self {
            Self::Specific(versions) => Some(versions),
            Self::Latest(_) | Self::All => None,
        }
        .into_iter()
        .flatten()
        .copied()
    }
}

impl fmt::Display for VersionPolicy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest(count) => write!(formatter, "latest {count}"),
            Self::All => formatter.write_str("all"),
            Self::Specific(versions) => {
                let versions: Vec<String> = versions.iter().map(u64::to_string).collect();
                write!(formatter, "specific {}", versions.join(", "))
            }
        }
    }
}
