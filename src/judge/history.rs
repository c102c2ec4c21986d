//! How far every column was from its reference, over the last day.
//!
//! For pictures, not for verdicts: at most 96 points of one byte per column, about 100 bytes a feature. A young version
//! has fine points, 3.75 s apart; whenever 96 are full, neighbours are put together and the distance doubles, until it
//! is 16 minutes and the oldest point is dropped instead. So the points always cover everything from the deploy on, and
//! in the end 25.6 hours. Putting together takes the larger of two, as a point itself is the largest value of its time: a
//! short peak stays as high as it was.
//!
//! A byte is 0 where nothing was measured, 1 for anything up to 0.001, and from there on a step of 3.9 % each, up to 20;
//! PSI on proportions of at least 1e-4 is below 18.5. What is read back is within 2 % of what was noted.
//!
//! Times are unix time and points lie on multiples of their distance, so that a history goes on after a restart.
//!
//! Invariant: there are at most [`POINTS`] points, and each has one byte per column.

use crate::observe::codec::{Malformed, Reader, Writer};
use std::time::Duration;

/// The most points there are.
pub const POINTS: usize = 96;

/// Distance of the first points, milliseconds.
const FINEST: u64 = 3_750;
/// How often it can double: 3.75 s · 2⁸ is 16 minutes.
const DOUBLINGS: u32 = 8;
/// Where the logarithmic scale begins and ends.
const LOWEST: f64 = 0.001;
const HIGHEST: f64 = 20.0;

/// The drift of a version's columns over time: of each the PSI of the primary window in excess of chance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    columns: usize,
    /// How often the distance of points has doubled.
    doubled: u32,
    /// Which multiple of the distance the first point lies on.
    first: u64,
    /// The points in order of time, a byte per column each.
    bytes: Vec<u8>,
}

impl History {
    /// A history of this many columns, in which nothing has been noted.
    #[must_use]
    pub fn new(columns: usize) -> Self {
        Self { columns, doubled: 0, first: 0, bytes: Vec::with_capacity(columns * POINTS) }
    }

    /// Notes what was measured of each column at `at`, unix time; a time before the last point counts as the last point's.
    pub fn note(&mut self, at: Duration, values: impl Iterator<Item = Option<f64>>) {
        if self.columns == 0 {
            return;
        }
        self.make_room(at);
        let last = (self.len() - 1) * self.columns;
        for (byte, value) in self.bytes[last..].iter_mut().zip(values) {
            *byte = quantize(value).max(*byte);
        }
    }

    /// How many points there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len().checked_div(self.columns).unwrap_or(0)
    }

    /// Whether nothing has been noted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The start of the first point, unix time.
    #[must_use]
    pub fn start(&self) -> Duration {
        Duration::from_millis(self.first.saturating_mul(self.step_millis()))
    }

    /// The distance of two points: each holds the largest value of as much time.
    #[must_use]
    pub fn step(&self) -> Duration {
        Duration::from_millis(self.step_millis())
    }

    /// The points of a column in order of time: the PSI in excess of chance, 0 for anything up to 0.001, none where
    /// nothing was measured.
    pub fn column(&self, index: usize) -> impl Iterator<Item = Option<f64>> {
        let known = index < self.columns;
        (0..self.len()).filter(move |_| known).map(move |point| value_of(self.bytes[point * self.columns + index]))
    }

    /// Bytes that it holds.
    #[must_use]
    pub fn resident_bytes(&self) -> usize {
        size_of::<Self>() + self.bytes.capacity()
    }

    /// Writes it.
    pub(super) fn encode(&self, writer: &mut Writer) {
        writer.number(u64::from(self.doubled));
        writer.number(self.first);
        writer.bytes(&self.bytes);
    }

    /// Takes over a history of as many columns that was written before `at`.
    ///
    /// # Errors
    /// [`Malformed`] when the bytes are no such history's; this one is then as it was.
    pub(super) fn restore(&mut self, reader: &mut Reader<'_>, at: Duration) -> Result<(), Malformed> {
        let doubled = u32::try_from(reader.number()?).map_err(|_large| Malformed)?;
        let (first, bytes) = (reader.number()?, reader.bytes()?);
        let points = bytes.len().checked_div(self.columns).unwrap_or(0);
        if doubled > DOUBLINGS || points > POINTS || points * self.columns != bytes.len() {
            return Err(Malformed);
        }
        let mut restored = Self { doubled, first, ..Self::new(self.columns) };
        restored.bytes.extend_from_slice(bytes);
        // Points of the future are of a clock that was wrong; what it said when is not known.
        if first.saturating_add(points as u64) <= restored.slot(at).saturating_add(1) {
            *self = restored;
        }
        Ok(())
    }

    /// Makes the point of `at` the last one.
    fn make_room(&mut self, at: Duration) {
        if self.is_empty() {
            (self.doubled, self.first) = (0, at_step(at, FINEST));
        }
        while self.doubled < DOUBLINGS && self.slot(at).saturating_sub(self.first) >= POINTS as u64 {
            self.double();
        }
        let slot = self.slot(at);
        let surplus = slot.saturating_sub(self.first).saturating_sub(POINTS as u64 - 1);
        if surplus >= self.len() as u64 && surplus > 0 {
            *self = Self::new(self.columns);
            self.first = self.slot(at);
        } else if surplus > 0 {
            self.bytes.drain(..surplus as usize * self.columns);
            self.first += surplus;
        }
        let points = (self.slot(at).saturating_sub(self.first) as usize + 1).max(self.len());
        self.bytes.resize(points * self.columns, 0);
    }

    /// Puts neighbours together.
    fn double(&mut self) {
        let mut merged = Self { doubled: self.doubled + 1, first: self.first / 2, ..Self::new(self.columns) };
        for (point, bytes) in (self.first..).zip(self.bytes.chunks(self.columns)) {
            let start = (point / 2 - merged.first) as usize * self.columns;
            if start == merged.bytes.len() {
                merged.bytes.extend_from_slice(bytes);
            } else {
                merged.bytes[start..].iter_mut().zip(bytes).for_each(|(merged, &byte)| *merged = byte.max(*merged));
            }
        }
        *self = merged;
    }

    fn slot(&self, at: Duration) -> u64 {
        at_step(at, self.step_millis())
    }

    fn step_millis(&self) -> u64 {
        FINEST << self.doubled
    }
}

fn at_step(at: Duration, step: u64) -> u64 {
    u64::try_from(at.as_millis()).unwrap_or(u64::MAX) / step
}

/// One step of the scale, as a logarithm: 254 of them lead from the lowest to the highest value.
fn step_ln() -> f64 {
    (HIGHEST / LOWEST).ln() / 254.0
}

#[expect(clippy::cast_sign_loss, reason = "the number is between 0 and 254")]
fn quantize(value: Option<f64>) -> u8 {
    match value {
        Some(value) if value > LOWEST => {
            let steps = ((value / LOWEST).ln() / step_ln()).round().clamp(0.0, 254.0);
            1 + steps as u8
        }
        Some(value) if !value.is_nan() => 1,
        _ => 0,
    }
}

fn value_of(byte: u8) -> Option<f64> {
    match byte {
        0 => None,
        1 => Some(0.0),
        _ => Some(LOWEST * (step_ln() * f64::from(byte - 1)).exp()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const START: u64 = 1_790_000_000;

    fn noted(history: &mut History, second: u64, value: f64) {
        history.note(Duration::from_secs(START + second), [Some(value), None].into_iter());
    }

    fn values(history: &History) -> Vec<Option<f64>> {
        history.column(0).collect()
    }

    #[test]
    fn nothing_noted_and_no_columns_are_no_points() {
        let mut none = History::new(0);
        none.note(Duration::from_secs(5), std::iter::empty());
        for history in [none, History::new(3)] {
            assert!(history.is_empty() && history.column(0).next().is_none(), "{history:?}");
        }
        let mut history = History::new(2);
        noted(&mut history, 0, 0.5);
        assert_eq!((history.column(1).collect::<Vec<_>>(), history.column(2).count()), (vec![None], 0));
    }

    #[test]
    fn a_point_holds_the_largest_value_of_its_time() {
        let mut history = History::new(2);
        for (second, value) in [(0, 0.1), (1, 0.4), (2, 0.2), (9, 0.3)] {
            noted(&mut history, second, value);
        }
        let found = values(&history);
        assert_eq!((found.len(), found[1]), (3, None), "{found:?}");
        assert!((found[0].unwrap() - 0.4).abs() < 0.008 && (found[2].unwrap() - 0.3).abs() < 0.006, "{found:?}");
        noted(&mut history, 3, 0.9);
        assert_eq!(history.len(), 3, "a clock that goes back makes no points");
    }

    #[test]
    fn points_double_their_distance_until_a_day_fits_and_then_the_oldest_go() {
        let mut history = History::new(2);
        noted(&mut history, 0, 1.5);
        for second in 1..3_600 {
            noted(&mut history, second, 0.01);
        }
        assert_eq!(history.step(), Duration::from_secs(60));
        assert!(history.start() <= Duration::from_secs(START) && (60..=61).contains(&history.len()));
        assert!((values(&history)[0].unwrap() - 1.5).abs() < 0.03, "a peak stays as high as it was");
        for minute in 60..3 * 1_440 {
            noted(&mut history, minute * 60, 0.02);
        }
        assert_eq!((history.step(), history.len()), (Duration::from_secs(960), POINTS));
        let end = history.start() + history.step() * POINTS as u32;
        assert!(end > Duration::from_secs(START + 3 * 86_400 - 60), "{end:?}");
        assert!(values(&history).iter().all(|value| value.is_some_and(|value| value < 0.03)));
        assert!(history.resident_bytes() <= 2 * POINTS + size_of::<History>());
    }

    #[test]
    fn a_gap_is_empty_and_a_long_one_begins_anew() {
        let mut history = History::new(2);
        noted(&mut history, 0, 0.1);
        noted(&mut history, 3_600, 0.2);
        let found = values(&history);
        assert_eq!(found.iter().flatten().count(), 2, "{found:?}");
        noted(&mut history, 40 * 86_400, 0.3);
        assert_eq!((history.len(), history.step()), (1, Duration::from_millis(FINEST)));
    }

    #[test]
    fn it_goes_on_from_what_was_written() {
        let mut history = History::new(2);
        (0..1_000).for_each(|second| noted(&mut history, second, second as f64 / 500.0));
        let mut writer = Writer::default();
        history.encode(&mut writer);
        let bytes = writer.finish();
        let restored = |columns: usize, bytes: &[u8], at: u64| {
            let mut anew = History::new(columns);
            let outcome = anew.restore(&mut Reader::new(bytes), Duration::from_secs(at));
            outcome.map(|()| anew)
        };
        assert_eq!(restored(2, &bytes, START + 1_000), Ok(history.clone()));
        assert_eq!(restored(2, &bytes, START - 9_000), Ok(History::new(2)), "of a clock that was ahead");
        assert_eq!(restored(0, &bytes, START), Err(Malformed));
        for length in 0..bytes.len() {
            assert_eq!(restored(2, &bytes[..length], START + 1_000), Err(Malformed), "{length}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_back_is_within_two_percent(value in 0.0011_f64..20.0) {
            let found = value_of(quantize(Some(value))).unwrap();
            prop_assert!((found / value - 1.0).abs() < 0.02, "{found} for {value}");
        }

        #[test]
        fn larger_values_are_never_smaller_bytes(first in any::<f64>(), second in any::<f64>()) {
            if first <= second {
                prop_assert!(quantize(Some(first)) <= quantize(Some(second)));
            }
        }

        #[test]
        fn any_times_leave_at_most_96_points(times in prop::collection::vec(any::<u64>(), 1..40)) {
            let mut history = History::new(1);
            for time in times {
                history.note(Duration::from_millis(time), std::iter::once(Some(0.1)));
                prop_assert!((1..=POINTS).contains(&history.len()));
                prop_assert!(history.column(0).last().flatten().is_some());
            }
        }
    }
}
