//! Counts by the hour of the week: what traffic looks like on a Monday morning.
//!
//! Where traffic follows the week, a reference without hours finds drift every night. Counting group counts by 168 hours
//! for some weeks makes a reference for each of them. It costs 168 counters per group (9 KB for a feature), so it is an
//! option with a budget of its own; and it is frozen when it is learned, because a reference that goes on learning would
//! in time call any drift usual.
//!
//! Hours are UTC from unix time: a time zone would bring an hour that happens twice.
//!
//! Invariant: nothing is added once it is learned.

use super::cells::Cells;
use super::codec::{Malformed, Reader, Writer};
use std::time::Duration;

/// Hours of a week.
pub const HOURS: usize = 168;

const HOUR: Duration = Duration::from_secs(3_600);
const WEEK: Duration = Duration::from_secs(7 * 24 * 3_600);

/// Unix time began on a Thursday; Monday 00:00 UTC is hour 0.
const EPOCH_HOUR: u64 = 3 * 24;

/// Which hour of the week a unix time is in: 0 is Monday from 00:00 to 01:00 UTC, 167 the last of Sunday.
#[must_use]
pub fn hour_of_week(unix: Duration) -> usize {
    let hour = (unix.as_secs() / HOUR.as_secs() + EPOCH_HOUR) % HOURS as u64;
    usize::try_from(hour).unwrap_or(0)
}

/// The hours of the week between two unix times, and the share of that time that lies in each. Shares add up to 1; of no
/// time at all it is the hour of `end`.
#[must_use]
pub fn hours_between(start: Duration, end: Duration) -> Vec<(usize, f64)> {
    let whole = end.saturating_sub(start).as_secs_f64();
    if whole <= 0.0 {
        return vec![(hour_of_week(end), 1.0)];
    }
    let (mut hours, mut from) = (Vec::new(), start);
    while from < end {
        let next = Duration::from_secs((from.as_secs() / HOUR.as_secs() + 1) * HOUR.as_secs()).min(end);
        hours.push((hour_of_week(from), (next - from).as_secs_f64() / whole));
        from = next;
    }
    hours
}

/// Group counts for every hour of the week.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Seasons {
    weeks: u32,
    cells: usize,
    /// When the first row was counted.
    since: Option<Duration>,
    hours: Cells<u32>,
}

impl Seasons {
    /// Nothing counted yet, of so many counters; learned after so many weeks.
    pub(super) fn new(weeks: u32, cells: usize) -> Self {
        Self { weeks, cells, since: None, hours: Cells::new(HOURS * cells) }
    }

    /// Bytes that so many counters would take.
    pub(super) fn bytes_for(cells: usize) -> u64 {
        (HOURS * cells * size_of::<u32>()) as u64
    }

    pub(super) fn weeks(&self) -> u32 {
        self.weeks
    }

    pub(super) fn add(&mut self, at: Duration, gained: &[u64]) {
        if self.is_learned(at) {
            return;
        }
        self.since.get_or_insert(at);
        let first = hour_of_week(at) * self.cells;
        for (cell, &amount) in gained.iter().enumerate().take(self.cells).filter(|(_, amount)| **amount > 0) {
            self.hours.add(first + cell, amount);
        }
    }

    /// Takes a beginning that claims to be after `at` as at `at`.
    pub(super) fn drop_future(&mut self, at: Duration) {
        self.since = self.since.map(|since| since.min(at));
    }

    /// Whether it has counted for long enough to be a reference.
    pub(super) fn is_learned(&self, at: Duration) -> bool {
        self.since.is_some_and(|since| at.saturating_sub(since) >= WEEK * self.weeks)
    }

    /// What was counted in one hour of the week.
    pub(super) fn hour(&self, hour: usize) -> Vec<u64> {
        self.hours.slice(hour * self.cells..(hour + 1) * self.cells)
    }

    pub(super) fn resident_bytes(&self) -> usize {
        size_of::<Self>() + self.hours.resident_bytes()
    }

    pub(super) fn encode(&self, writer: &mut Writer) {
        writer.optional(self.since, Writer::time);
        self.hours.encode(writer);
    }

    /// Takes counts of the same counters in place of its own.
    pub(super) fn restore(&mut self, reader: &mut Reader<'_>) -> Result<(), Malformed> {
        let since = reader.optional(Reader::time)?;
        self.hours = Cells::decode(reader, HOURS * self.cells)?;
        self.since = since;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_begin_on_monday_in_utc() {
        let at = |text: &str| {
            humantime::parse_rfc3339(text).unwrap().duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap()
        };
        assert_eq!(hour_of_week(Duration::ZERO), 72);
        assert_eq!(hour_of_week(at("2026-11-23T00:00:00Z")), 0);
        assert_eq!(hour_of_week(at("2026-11-24T21:59:59Z")), 45);
        assert_eq!(hour_of_week(at("2026-11-29T23:30:00Z")), 167);
    }

    #[test]
    fn time_is_shared_out_over_the_hours_it_lies_in() {
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        assert_eq!(hours_between(minutes(10), minutes(10)), [(72, 1.0)]);
        assert_eq!(hours_between(minutes(10), minutes(40)), [(72, 1.0)]);
        assert_eq!(hours_between(minutes(45), minutes(105)), [(72, 0.25), (73, 0.75)]);
        assert_eq!(hours_between(minutes(60), minutes(180)), [(73, 0.5), (74, 0.5)]);
        let day = hours_between(minutes(30), minutes(30 + 24 * 60));
        assert_eq!((day.len(), day.first(), day.last()), (25, Some(&(72, 0.5 / 24.0)), Some(&(96, 0.5 / 24.0))));
    }

    #[test]
    fn seasons_learn_for_their_weeks_and_then_no_more() {
        let mut seasons = Seasons::new(2, 2);
        let monday = Duration::from_secs(4 * 24 * 3_600);
        assert!(!seasons.is_learned(monday));
        for hour in 0..2 * 168 {
            seasons.add(monday + HOUR * hour, &[1, u64::from(hour)]);
        }
        let learned = monday + WEEK * 2;
        assert!(!seasons.is_learned(learned - HOUR) && seasons.is_learned(learned));
        assert_eq!((seasons.hour(0), seasons.hour(5)), (vec![2, 168], vec![2, 5 + 173]));
        seasons.add(learned, &[100, 100]);
        assert_eq!(seasons.hour(0), [2, 168]);
        let mut writer = Writer::default();
        seasons.encode(&mut writer);
        let bytes = writer.finish();
        let mut restored = Seasons::new(2, 2);
        restored.restore(&mut Reader::new(&bytes)).unwrap();
        assert_eq!(restored, seasons);
    }
}
