//! The alarm of one column: what sets it off, what lets it go, and the verdict that follows.
//!
//! Sequential evidence is looked at by [`ColumnAlarm::glance`], four times a second; the window's distances by
//! [`ColumnAlarm::look`], once a second, which also lets a latched alarm go. So far the first has nothing to look at and
//! the second sets the alarm off: PSI of the primary window above its expectation without drift by more than a threshold.
//!
//! Invariant: the verdict is drift exactly while the alarm is latched, under the default preset; under the others it is
//! what the window says now.

use super::latch::{Finding, Latch};
use crate::config::{DriftPreset, DriftSettings};
use crate::detect::Verdict;
use crate::observe::codec::{Malformed, Reader, Writer};
use std::time::Duration;

/// The alarm of one column.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ColumnAlarm {
    latch: Latch,
}

/// What the primary window says of a column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Measured {
    /// Whether there is anything to compare with.
    pub(super) has_reference: bool,
    /// Rows in the window.
    pub(super) samples: u64,
    /// PSI minus its expectation without drift, against the season where there is one.
    pub(super) excess: Option<f64>,
}

impl ColumnAlarm {
    /// What it is latched on, if it is.
    pub(super) fn finding(&self) -> Option<Finding> {
        self.latch.finding().copied()
    }

    /// Looks at the evidence counters of the column, which only grow. Answers whether they set the alarm off.
    #[expect(clippy::unused_self, reason = "sequential evidence will be held here")]
    pub(super) fn glance(&mut self, _at: Duration, _cells: &[u64]) -> bool {
        false
    }

    /// Looks at the primary window and answers the verdict.
    pub(super) fn look(&mut self, at: Duration, measured: &Measured, settings: &DriftSettings) -> Verdict {
        if !measured.has_reference {
            return Verdict::NoReference;
        }
        let excess = measured.excess.filter(|_| measured.samples >= settings.min_samples);
        let is_beyond = excess.filter(|excess| *excess > settings.threshold);
        if settings.preset != DriftPreset::Default {
            self.latch = Latch::default();
            return verdict(is_beyond.is_some(), excess.is_some());
        }
        if let Some(value) = is_beyond {
            self.latch.raise(Finding { at, value, threshold: settings.threshold });
        }
        let is_calm = excess.is_some_and(|excess| excess < settings.resolve_threshold);
        self.latch.settle(at, is_calm, settings.resolve_after);
        verdict(self.latch.finding().is_some(), excess.is_some())
    }

    /// Writes it.
    pub(super) fn encode(&self, writer: &mut Writer) {
        self.latch.encode(writer);
    }

    /// Reads it.
    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Latch::decode(reader).map(|latch| Self { latch })
    }
}

fn verdict(drifts: bool, has_data: bool) -> Verdict {
    match (drifts, has_data) {
        (true, _) => Verdict::Drift,
        (false, false) => Verdict::NotEnoughData,
        (false, true) => Verdict::Ok,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(preset: DriftPreset) -> DriftSettings {
        DriftSettings { preset, resolve_after: Duration::from_secs(3), ..DriftSettings::default() }
    }

    fn verdicts(preset: DriftPreset, seen: &[(u64, Option<f64>)]) -> Vec<Verdict> {
        let mut alarm = ColumnAlarm::default();
        (0..)
            .zip(seen)
            .map(|(second, &(samples, excess))| {
                let measured = Measured { has_reference: true, samples, excess };
                alarm.look(Duration::from_secs(second), &measured, &settings(preset))
            })
            .collect()
    }

    #[test]
    fn without_a_reference_or_without_data_there_is_no_drift() {
        let measured = Measured { has_reference: false, samples: 1_000, excess: None };
        let verdict = ColumnAlarm::default().look(Duration::ZERO, &measured, &DriftSettings::default());
        assert_eq!(verdict, Verdict::NoReference);
        let seen = [(0, None), (199, Some(3.0)), (200, Some(0.1))];
        let expected = [Verdict::NotEnoughData, Verdict::NotEnoughData, Verdict::Ok];
        assert_eq!(verdicts(DriftPreset::Default, &seen), expected);
    }

    #[test]
    fn drift_lasts_until_the_window_was_calm_for_long_enough() {
        let seen = [0.2, 0.07, 0.04, 0.04, 0.06, 0.04, 0.04, 0.04, 0.04].map(|excess| (500, Some(excess)));
        let mut expected = [Verdict::Drift; 9];
        expected[8] = Verdict::Ok;
        assert_eq!(verdicts(DriftPreset::Default, &seen), expected);
    }

    #[test]
    fn drift_outlasts_the_end_of_traffic() {
        let seen = [(500, Some(0.2)), (3, Some(0.01)), (0, None), (0, None), (0, None), (0, None)];
        assert!(verdicts(DriftPreset::Default, &seen).iter().all(|verdict| *verdict == Verdict::Drift));
    }

    #[test]
    fn other_presets_say_what_the_window_says_now() {
        let seen = [(500, Some(0.2)), (500, Some(0.09)), (0, None)];
        let expected = [Verdict::Drift, Verdict::Ok, Verdict::NotEnoughData];
        assert_eq!(verdicts(DriftPreset::Classic, &seen), expected);
    }
}
