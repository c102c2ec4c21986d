//! How slow a source may be before a download is given up.
//!
//! The wait for the next bytes has its limit where they are asked for, and a source that sends a byte a second never
//! reaches it: it would hold a download, and what waits behind it, for months. So a download must also get on. What counts is
//! the time that is spent waiting for the source: a slow disk or a busy processor here is not held against it. What came is
//! kept, and the next attempt goes on from there.
//!
//! The limit is far below what any link that is worth using does, so that it tells a source that hangs from one that is slow,
//! and nothing else.
//!
//! Invariant: a download that goes on has brought the least in each span of waiting that is over.

use super::StageError;
use crate::registry::source::RemoteBytes;
use bytes::Bytes;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// What a source must bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Least {
    /// Bytes of each span.
    pub(super) bytes: u64,
    /// Over which they are counted.
    pub(super) span: Duration,
}

/// A KiB a second, counted over a minute.
pub(super) const LEAST: Least = Least { bytes: 60 << 10, span: Duration::from_secs(60) };

/// What a file's source did in the span that is not over yet.
#[derive(Debug)]
pub(super) struct Pace {
    least: Least,
    waited: Duration,
    bytes: u64,
}

impl Pace {
    pub(super) fn new(least: Least) -> Self {
        Self { least, waited: Duration::ZERO, bytes: 0 }
    }

    /// The next piece of a file at `path`; nothing at its end.
    ///
    /// # Errors
    /// [`StageError::TooSlow`] once a span is over in which too little came, and what the source says.
    pub(super) async fn next(&mut self, bytes: &mut dyn RemoteBytes, path: &str) -> Result<Option<Bytes>, StageError> {
        let mut next = bytes.next();
        loop {
            let began = Instant::now();
            if let Ok(piece) = timeout(self.left(), &mut next).await {
                let piece = piece?;
                self.came(began.elapsed(), piece.as_ref().map_or(0, Bytes::len));
                return Ok(piece);
            }
            self.is_over(path)?;
        }
    }

    /// Waiting that is left of the span.
    fn left(&self) -> Duration {
        self.least.span.saturating_sub(self.waited)
    }

    /// Takes in that so many bytes came after a wait.
    fn came(&mut self, waited: Duration, bytes: usize) {
        self.waited = self.waited.saturating_add(waited);
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }

    /// Takes in that the span is over, and begins the next.
    fn is_over(&mut self, path: &str) -> Result<(), StageError> {
        let (Least { bytes: least, span }, bytes) = (self.least, self.bytes);
        *self = Self::new(self.least);
        if bytes < least {
            return Err(StageError::TooSlow { path: path.to_owned(), bytes, least, span });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// The second in which a source is given up that brings so many bytes in each, if it is within an hour.
    fn given_up_at(bytes_a_second: usize) -> Option<u64> {
        let mut pace = Pace::new(LEAST);
        (1..=3_600).find(|_| {
            let is_over = pace.left() < SECOND && pace.is_over("f").is_err();
            pace.came(SECOND, bytes_a_second);
            is_over
        })
    }

    #[test]
    fn a_source_is_given_up_in_the_first_span_in_which_it_brings_too_little() {
        assert_eq!((given_up_at(0), given_up_at(1), given_up_at(1_023)), (Some(61), Some(61), Some(61)));
        assert_eq!((given_up_at(1_024), given_up_at(1 << 20)), (None, None));
    }

    #[test]
    fn what_came_long_ago_does_not_count() {
        let mut pace = Pace::new(LEAST);
        pace.came(59 * SECOND, 1 << 30);
        assert_eq!(pace.left(), SECOND);
        pace.is_over("f").unwrap();
        assert_eq!(pace.left(), LEAST.span, "the next span");
        pace.came(59 * SECOND, 1);
        let error = pace.is_over("weights.data").unwrap_err();
        let said =
            "weights.data: 1 bytes came in 60 s, expected at least 61440; it is given up, and goes on from there later";
        assert_eq!(error.to_string(), said);
        assert!(error.may_pass() && error.wants_pauses());
    }
}
