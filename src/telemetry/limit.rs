//! How many log lines a second one cause may write.
//!
//! A model that fails on every request would otherwise write a line per request: tens of thousands a second, into a disk
//! that the other models need too. Lines over the limit are counted, and the next one that is written says how many.
//!
//! Time is an argument; [`uptime_seconds`] is the clock that callers use.
//!
//! Invariant: every line is either written or counted, and nothing here waits.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Bits of the state that hold the lines of the latest second.
const LINE_BITS: u32 = 32;

/// A limit on the log lines of one cause.
#[derive(Debug)]
pub struct LineLimit {
    per_second: u32,
    /// The latest second in the upper bits, the lines written in it in the lower: one word, so that both change at once.
    state: AtomicU64,
    suppressed: AtomicU64,
}

impl LineLimit {
    /// So many lines a second.
    #[must_use]
    pub const fn new(per_second: u32) -> Self {
        Self { per_second, state: AtomicU64::new(0), suppressed: AtomicU64::new(0) }
    }

    /// Whether a line may be written in this second, since any fixed start: then how many were not since the last one.
    pub fn admit(&self, second: u64) -> Option<u64> {
        let admitted = self.state.try_update(Ordering::Relaxed, Ordering::Relaxed, |state| {
            let (latest, lines) = (state >> LINE_BITS, state & u64::from(u32::MAX));
            let lines = if second > latest { 0 } else { lines };
            (lines < u64::from(self.per_second)).then_some(latest.max(second) << LINE_BITS | (lines + 1))
        });
        if admitted.is_ok() {
            return Some(self.suppressed.swap(0, Ordering::Relaxed));
        }
        self.suppressed.fetch_add(1, Ordering::Relaxed);
        None
    }
}

/// Whole seconds since this was first asked for.
#[must_use]
pub fn uptime_seconds() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_of_nothing_admits_nothing() {
        assert_eq!(LineLimit::new(0).admit(0), None);
    }

    #[test]
    fn lines_over_the_limit_are_counted_and_told_by_the_next_one() {
        let limit = LineLimit::new(2);
        let admitted: Vec<Option<u64>> =
            [0, 0, 0, 0, 1, 1, 1, 5].into_iter().map(|second| limit.admit(second)).collect();
        assert_eq!(admitted, [Some(0), Some(0), None, None, Some(2), Some(0), None, Some(1)]);
    }

    #[test]
    fn threads_together_write_no_more_than_the_limit_and_lose_no_count() {
        let limit = LineLimit::new(3);
        let written: usize = std::thread::scope(|scope| {
            let admit = || (0..1000).filter(|_| limit.admit(7).is_some()).count();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(admit)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(written, 3);
        assert_eq!(limit.admit(8), Some(3997));
    }
}
