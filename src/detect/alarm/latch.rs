//! An alarm that was raised stays raised until what raised it is gone for long enough.
//!
//! Evidence is about what has happened since a start and does not shrink when traffic mends, so it cannot say that the
//! trouble is over. A window can: the alarm is let go once the window has been clear for a while. What is not known
//! (too few rows) is neither good nor bad news and starts the wait over.
//!
//! Invariant: once raised it is let go only after `clear` was true at every step for `hold`.

use super::finding::Finding;
use super::numbers::Numbers;
use std::time::Duration;

/// An alarm's memory.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Latch {
    /// Boxed, because nearly all latches of a version are empty.
    finding: Option<Box<Finding>>,
    clear_since: Option<Duration>,
}

impl Latch {
    /// Raises the alarm; one that is raised keeps what raised it.
    pub fn raise(&mut self, finding: Finding) {
        self.finding.get_or_insert_with(|| Box::new(finding));
        self.clear_since = None;
    }

    /// What raised it, while it is raised.
    #[must_use]
    pub fn finding(&self) -> Option<&Finding> {
        self.finding.as_deref()
    }

    /// Takes in whether the window is clear at this moment, or cannot say; whether the alarm was let go by it.
    pub fn settle(&mut self, at: Duration, clear: Option<bool>, hold: Duration) -> bool {
        if self.finding.is_none() {
            return false;
        }
        if clear != Some(true) {
            self.clear_since = None;
            return false;
        }
        let since = *self.clear_since.get_or_insert(at);
        let is_over = at.saturating_sub(since) >= hold;
        if is_over {
            *self = Self::default();
        }
        is_over
    }

    /// What survives a restart, as numbers; empty while it is not raised.
    #[must_use]
    pub fn state(&self) -> Vec<u64> {
        self.finding.as_deref().map(Finding::to_numbers).unwrap_or_default()
    }

    /// The latch that numbers stand for; one that is not raised if they stand for none. The wait for clear weather starts
    /// over.
    #[must_use]
    pub fn of_state(state: &[u64]) -> Self {
        Self { finding: Finding::from_numbers(&mut Numbers::new(state)).map(Box::new), clear_since: None }
    }
}
