//! A sliding window over a row of counters that only grow.
//!
//! What a reading has more than the one before it falls into the newest slice, and the window is the sum of its slices:
//! it slides without ever resetting a counter. The resolution is one slice, a fifteenth of the window but no less than a
//! second: a 5 m window covers between 5:00 and 5:20.
//!
//! This one stands alone and is used for durations and answers; the windows over columns share one reading, see
//! [`Windows`](super::Windows).
//!
//! Invariant: what the window counts was counted within its length and one slice.

use super::codec::{Malformed, Reader, Writer};
use super::ring::Ring;
use std::time::Duration;

/// Slices per window.
const SLICES: u32 = 15;

/// A trailing window over a row of counters. Sums are carried as wrapping integers.
#[derive(Debug)]
pub struct Window {
    ring: Ring<u16>,
    /// The newest reading.
    counts: Vec<u64>,
    sums: Vec<u64>,
}

impl Window {
    /// An empty window over counters and wrapping sums that stand at these readings now.
    #[must_use]
    pub fn new(length: Duration, counts: Vec<u64>, sums: Vec<u64>) -> Self {
        Self { ring: Ring::new(length, SLICES, counts.len(), sums.len()), counts, sums }
    }

    /// The window's length, as it was asked for.
    #[must_use]
    pub fn length(&self) -> Duration {
        self.ring.length()
    }

    /// Takes in a reading made at `now`, monotonic time since any fixed start. Readings come in order of time; one that
    /// does not counts as made at the time of the latest.
    pub fn roll(&mut self, now: Duration, counts: &[u64], sums: &[u64]) {
        if self.counts != counts || self.sums != sums {
            self.ring.add(now, &difference(counts, &self.counts), &difference(sums, &self.sums));
            self.counts.copy_from_slice(counts);
            self.sums.copy_from_slice(sums);
        }
        self.ring.forget(now);
    }

    /// What each counter gained within the window.
    #[must_use]
    pub fn counts(&self) -> Vec<u64> {
        self.ring.counts()
    }

    /// What each wrapping sum gained within the window.
    #[must_use]
    pub fn sums(&self) -> Vec<u64> {
        self.ring.sums()
    }

    /// Bytes that it holds.
    #[must_use]
    pub fn resident_bytes(&self) -> usize {
        size_of::<Self>() + self.ring.resident_bytes() + size_of_val(&*self.counts) + size_of_val(&*self.sums)
    }

    /// Writes what the window covers.
    pub fn encode(&self, writer: &mut Writer) {
        writer.time(self.ring.length());
        self.ring.encode(writer);
    }

    /// Takes over what a window covered that counted the same and was written before `now`; what has aged out since is
    /// forgotten. A window of another length keeps what it has.
    ///
    /// # Errors
    /// [`Malformed`] when the bytes are not such a window's; this one is then as it was.
    pub fn restore(&mut self, reader: &mut Reader<'_>, now: Duration) -> Result<(), Malformed> {
        if reader.time()? == self.ring.length() {
            self.ring.restore(reader)?;
            self.ring.drop_future(now);
            self.ring.forget(now);
        }
        Ok(())
    }
}

fn difference(newest: &[u64], before: &[u64]) -> Vec<u64> {
    newest.iter().zip(before).map(|(newest, before)| newest.wrapping_sub(*before)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_in_which_nothing_is_counted_keeps_no_slices() {
        let mut window = Window::new(Duration::from_secs(60), vec![7; 1000], vec![1; 4]);
        (0..500).for_each(|second| window.roll(Duration::from_secs(second), &[7; 1000], &[1; 4]));
        assert_eq!(window.ring.slices(), 0);
        window.roll(Duration::from_secs(500), &[8; 1000], &[1; 4]);
        assert_eq!((window.ring.slices(), window.counts()), (1, vec![1; 1000]));
        (501..600).for_each(|second| window.roll(Duration::from_secs(second), &[8; 1000], &[1; 4]));
        assert_eq!((window.ring.slices(), window.counts()), (0, vec![0; 1000]));
    }

    #[test]
    fn a_clock_that_steps_back_loses_nothing_and_does_not_panic() {
        let mut window = Window::new(Duration::from_secs(20), vec![0], Vec::new());
        window.roll(Duration::from_secs(1_000), &[5], &[]);
        window.roll(Duration::from_secs(10), &[8], &[]);
        window.roll(Duration::ZERO, &[9], &[]);
        assert_eq!(window.counts(), [9]);
        window.roll(Duration::from_secs(1_030), &[10], &[]);
        assert_eq!(window.counts(), [1]);
    }

    #[test]
    fn a_window_read_back_after_downtime_has_forgotten_what_aged_out() {
        let mut window = Window::new(Duration::from_secs(15), vec![0], vec![0]);
        for second in 0..=20 {
            window.roll(Duration::from_secs(second), &[second + 1], &[second.wrapping_neg()]);
        }
        let mut writer = Writer::default();
        window.encode(&mut writer);
        let bytes = writer.finish();
        let restored = |length: u64, now: u64| {
            let mut window = Window::new(Duration::from_secs(length), vec![0], vec![0]);
            window.restore(&mut Reader::new(&bytes), Duration::from_secs(now)).unwrap();
            (window.counts(), window.sums())
        };
        assert_eq!(restored(15, 20), (window.counts(), window.sums()));
        assert_eq!(restored(15, 25).0, [11]);
        assert_eq!(restored(15, 1_000).0, [0]);
        assert_eq!(restored(40, 20).0, [0], "another length starts anew");
    }
}
