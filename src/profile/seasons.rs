//! Hours of the week, for traffic that follows them.
//!
//! A shop sees other orders on a Sunday morning than on a Monday noon, every week, and that is not drift. A profile of
//! rows with times therefore can keep its coarse groups by hour of the week. Fine bins by hour would be too many to be
//! filled, and days of the year too few to have been seen twice.
//!
//! Hours are of UTC: a profile does not know where its users are, and a shift of all hours alike does no harm as long as
//! reference and traffic agree.
//!
//! Invariant: [`hour_of_week`] is below [`HOURS`].

/// Hours of a week.
pub const HOURS: usize = 168;

/// Rows of an hour that traffic can be compared with. Drift is not judged in hours of fewer.
pub const LEAST_HOUR_ROWS: u64 = 200;

/// 1 January 1970 was a Thursday: three days after Monday.
const EPOCH_HOUR: i64 = 72;

/// The hour of the week, from Monday 00:00 UTC, of a time in seconds since 1970.
#[must_use]
pub fn hour_of_week(unix_seconds: i64) -> u8 {
    (unix_seconds.div_euclid(3600) + EPOCH_HOUR).rem_euclid(HOURS as i64) as u8
}

/// Counters by hour of the week and by slot.
#[derive(Clone, Debug)]
pub(super) struct HourCounts {
    slots: usize,
    counts: Vec<u64>,
}

impl HourCounts {
    pub(super) fn new(slots: usize) -> Self {
        Self { slots, counts: vec![0; slots * HOURS] }
    }

    /// Counts a value.
    pub(super) fn add(&mut self, hour: u8, slot: usize) {
        let index = usize::from(hour) * self.slots + slot;
        if let Some(count) = self.counts.get_mut(index).filter(|_| slot < self.slots) {
            *count += 1;
        }
    }

    /// The counters of each hour, added up by the group of their slot.
    pub(super) fn by_group(&self, group_of_slot: impl Fn(usize) -> usize, groups: usize) -> Vec<Vec<u64>> {
        let of_hour = |counts: &[u64]| {
            let mut sums = vec![0; groups];
            for (slot, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
                sums[group_of_slot(slot)] += count;
            }
            sums
        };
        self.counts.chunks(self.slots).map(of_hour).collect()
    }
}
