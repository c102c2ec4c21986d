//! Reads `[execution]` and `[models.<name>.execution]`: where and how often at a time a model runs.
//!
//! Invariant: every key read here is in the table of [the room's documentation](super).

use super::reader::Reader;
use super::values::{duration, whole};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3_600);
/// The longest delay of a call: what is longer is no longer a request but a job.
const DELAY_LIMIT: Duration = Duration::from_secs(60);

/// Where and how often at a time a model runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecutionSettings {
    /// Calls that are expected to take no longer run on the worker that read the request. Default 500 µs.
    pub inline_limit: Duration,
    /// Longer calls of a version at a time. Default `None`: one per core.
    pub instances: Option<usize>,
    /// Threads of such a call. Default `None`: one, unless the version's MLmodel says more.
    pub threads: Option<usize>,
    /// Requests of a version that may wait for such a call. Default 256.
    pub queue: usize,
    /// Rows up to which waiting requests are put together into one call; 1 for none. Default `None`: 64 if the version
    /// gains by it, as measured when it is loaded.
    pub max_batch: Option<usize>,
    /// How long a call that could take more rows is put off at most, while requests come together. Default `None`: not at
    /// all, unless the model's directory says so.
    pub batch_delay: Option<Duration>,
    /// How long a request may take that names no time of its own. Default 30 s.
    pub timeout: Duration,
}

impl Default for ExecutionSettings {
    fn default() -> Self {
        Self {
            inline_limit: Duration::from_micros(500),
            instances: None,
            threads: None,
            queue: 256,
            max_batch: None,
            batch_delay: None,
            timeout: Duration::from_secs(30),
        }
    }
}

/// A section, what it does not say being as in `default`.
pub(super) fn execution(reader: &mut Reader<'_, '_>, default: &ExecutionSettings) -> ExecutionSettings {
    ExecutionSettings {
        inline_limit: reader.value("inline_limit", duration(Duration::ZERO..=HOUR)).unwrap_or(default.inline_limit),
        instances: reader.value("instances", whole(1..=64)).or(default.instances),
        threads: reader.value("threads", whole(1..=256)).or(default.threads),
        queue: reader.value("queue", whole(1..=65_536)).unwrap_or(default.queue),
        max_batch: reader.value("max_batch", whole(1..=65_536)).or(default.max_batch),
        batch_delay: reader.value("batch_delay", duration(Duration::ZERO..=DELAY_LIMIT)).or(default.batch_delay),
        timeout: reader.value("timeout", duration(Duration::from_millis(1)..=HOUR)).unwrap_or(default.timeout),
    }
}
