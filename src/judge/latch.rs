//! An alarm stays on until what set it off has been gone for a while.
//!
//! Evidence is gathered to say "yes" once; it never says "not any more". So an alarm latches on its finding, and lets go
//! when the window that people look at has been calm, without a break, for long enough. Calm is a lower threshold than
//! the one that set it off: a value that dances around one threshold would page somebody at every step.
//!
//! Invariant: a finding that is latched is the first one, not the latest.

use crate::observe::codec::{Malformed, Reader, Writer};
use std::time::Duration;

/// What set an alarm off.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Finding {
    /// When, unix time.
    pub at: Duration,
    /// What was measured.
    pub value: f64,
    /// What it was compared with.
    pub threshold: f64,
}

/// Whether an alarm is on, and for how long it could have been let go.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Latch {
    finding: Option<Finding>,
    calm_since: Option<Duration>,
}

impl Latch {
    /// What it is latched on, if it is.
    #[must_use]
    pub fn finding(&self) -> Option<&Finding> {
        self.finding.as_ref()
    }

    /// Latches on a finding, unless it is latched already. Answers whether this one set it off.
    pub fn raise(&mut self, finding: Finding) -> bool {
        let is_new = self.finding.is_none();
        self.finding.get_or_insert(finding);
        self.calm_since = self.calm_since.filter(|_| is_new);
        is_new
    }

    /// Takes in whether the window is calm at `at`; lets go when it has been for `resolve_after`. Answers whether it let
    /// go by this.
    pub fn settle(&mut self, at: Duration, is_calm: bool, resolve_after: Duration) -> bool {
        if self.finding.is_none() || !is_calm {
            self.calm_since = None;
            return false;
        }
        let since = *self.calm_since.get_or_insert(at);
        if at.saturating_sub(since) < resolve_after {
            return false;
        }
        *self = Self::default();
        true
    }

    /// Writes it.
    pub fn encode(&self, writer: &mut Writer) {
        writer.optional(self.finding, |writer, finding| {
            writer.time(finding.at);
            writer.float(finding.value);
            writer.float(finding.threshold);
        });
        writer.optional(self.calm_since, Writer::time);
    }

    /// Reads it.
    ///
    /// # Errors
    /// [`Malformed`] when the bytes are no latch's, or one of a finding that is no number.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let finding = reader.optional(|reader| {
            let finding = Finding { at: reader.time()?, value: reader.float()?, threshold: reader.float()? };
            if finding.value.is_finite() && finding.threshold.is_finite() { Ok(finding) } else { Err(Malformed) }
        })?;
        Ok(Self { finding, calm_since: reader.optional(Reader::time)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(value: u64) -> Duration {
        Duration::from_secs(value)
    }

    fn finding(at: u64) -> Finding {
        Finding { at: seconds(at), value: 0.3, threshold: 0.1 }
    }

    #[test]
    fn it_keeps_its_first_finding_until_it_was_calm_for_long_enough() {
        let mut latch = Latch::default();
        assert!(!latch.settle(seconds(0), true, Duration::ZERO), "there is nothing to let go");
        assert!(latch.raise(finding(1)) && !latch.raise(finding(2)));
        assert_eq!(latch.finding(), Some(&finding(1)));
        assert!(!latch.settle(seconds(3), true, seconds(5)));
        assert!(!latch.settle(seconds(7), true, seconds(5)));
        assert!(latch.settle(seconds(8), true, seconds(5)));
        assert_eq!(latch, Latch::default());
    }

    #[test]
    fn a_break_in_the_calm_starts_it_over() {
        let mut latch = Latch::default();
        latch.raise(finding(1));
        for at in 2..100 {
            assert!(!latch.settle(seconds(at), at % 5 != 0, seconds(5)), "{at}");
        }
        latch.settle(seconds(100), true, seconds(5));
        latch.raise(finding(104));
        assert!(!latch.settle(seconds(105), true, seconds(5)), "what raises it again is no calm");
    }

    #[test]
    fn it_is_read_back_as_it_was_written() {
        let mut latch = Latch::default();
        for step in 0..3 {
            let mut writer = Writer::default();
            latch.encode(&mut writer);
            let bytes = writer.finish();
            assert_eq!(Latch::decode(&mut Reader::new(&bytes)), Ok(latch.clone()), "{step}");
            assert!(bytes.len() < 2 || Latch::decode(&mut Reader::new(&bytes[..bytes.len() - 1])).is_err());
            latch.raise(finding(7));
            latch.settle(seconds(9), step == 1, seconds(100));
        }
    }
}
