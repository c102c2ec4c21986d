//! The alarm of one column: what raises it, what lets it go, and the verdict that follows.
//!
//! Evidence is looked at by [`ColumnAlarm::glance`], four times a second; the window's distances by [`ColumnAlarm::look`],
//! once a second, which also lets a raised alarm go. Drift and defects of values are raised and let go apart: neither may
//! hide the other. Under the presets `classic` and `evidently` there is no alarm of drift: the verdict is what the window
//! says now.
//!
//! Invariant: under the default preset the verdict is drift exactly while either alarm is raised.

use crate::config::{DriftPreset, DriftSettings};
use crate::detect::Verdict;
use crate::detect::alarm::{self, AlarmPlan, Asked, Cause, Finding, Latch};
use crate::observe::RecordedColumn;
use crate::observe::codec::{Malformed, Reader, Writer};
use crate::profile::LEAST_HOUR_ROWS;
use std::time::Duration;

/// The most numbers that an alarm's state is made of.
const STATE_LIMIT: usize = 1 << 14;

/// The alarm of one column.
#[derive(Clone, Debug, Default)]
pub(super) struct ColumnAlarm {
    /// None without a reference.
    evidence: Option<Box<alarm::ColumnAlarm>>,
    drift: Latch,
    defect: Latch,
    /// ln of the weighted evidence when it was last asked for.
    evidence_seen: Option<f64>,
    /// Whether the present hour of the week has too few rows to judge drift by.
    is_paused: bool,
}

/// What was counted as evidence of a column so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counted<'a> {
    /// Its alarm cells.
    pub(super) cells: &'a [u64],
    /// The same by group of routing keys; empty if no request had one.
    pub(super) keyed: &'a [u64],
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
    /// What the preset's rule says of the window.
    pub(super) verdict: Verdict,
    /// Shares of rows with each defect, in the order of [`Cause::DEFECTS`].
    pub(super) defects: [f64; Cause::DEFECTS.len()],
}

impl ColumnAlarm {
    /// The alarm of a column, as one of those that share a plan.
    pub(super) fn new(plan: &AlarmPlan, column: &RecordedColumn) -> Self {
        let evidence = column.reference.as_ref().and_then(|reference| alarm::ColumnAlarm::new(plan, reference));
        Self { evidence: evidence.map(Box::new), ..Self::default() }
    }

    /// Goes on by another plan: what was raised stays raised and what was counted stays counted, to be weighed anew.
    pub(super) fn follow(&mut self, plan: &AlarmPlan, column: &RecordedColumn) {
        let before = self.evidence.take().map(|evidence| evidence.state());
        self.evidence = Self::new(plan, column).evidence;
        if let (Some(evidence), Some(state)) = (&mut self.evidence, before) {
            evidence.resume(&state);
        }
        (self.evidence_seen, self.is_paused) = (None, false);
    }

    /// What raised the alarm of drift, while it is raised.
    pub(super) fn finding(&self) -> Option<&Finding> {
        self.drift.finding()
    }

    /// What raised the alarm of a defect, while it is raised.
    pub(super) fn defect(&self) -> Option<&Finding> {
        self.defect.finding()
    }

    /// ln of the weighted evidence and the threshold that raises the alarm. To weigh all evidence takes a while, so it is
    /// done only when it is said to be this column's turn; otherwise what was seen last is answered, once there is such.
    pub(super) fn evidence(&mut self, is_its_turn: bool, counted: Counted<'_>) -> Option<(f64, f64)> {
        let evidence = self.evidence.as_ref()?;
        if let Some(finding) = self.finding().or_else(|| self.defect()) {
            return Some((finding.ln_evidence, finding.ln_threshold));
        }
        if is_its_turn || self.evidence_seen.is_none() {
            self.evidence_seen = Some(evidence.ln_evidence_now(counted.cells)).filter(|evidence| evidence.is_finite());
        }
        self.evidence_seen.map(|seen| (seen, evidence.ln_threshold()))
    }

    /// Looks at the evidence for what is not raised yet. Answers whether anything was raised by this. Under other presets
    /// than the default drift is not asked for.
    pub(super) fn glance(&mut self, at: Duration, preset: DriftPreset, counted: Counted<'_>) -> bool {
        let asked = self.asked(preset);
        let Some(evidence) = &mut self.evidence else { return false };
        match evidence.look_for(&asked, at, counted.cells, counted.keyed) {
            Some(finding) if finding.cause == Cause::Drift => self.drift.raise(finding),
            Some(finding) => self.defect.raise(finding),
            None => return false,
        }
        true
    }

    fn asked(&self, preset: DriftPreset) -> Asked {
        let has_alarm = preset == DriftPreset::Default;
        let beside = self.defect().map(|finding| finding.cause);
        let mut defects = [beside.is_none(); Cause::DEFECTS.len()];
        for (asked, cause) in defects.iter_mut().zip(Cause::DEFECTS) {
            // What has drifted lies outside its range more often: that is no news.
            *asked &= cause != Cause::OutOfRange || self.finding().is_none();
        }
        Asked { drift: has_alarm && !self.is_paused && self.finding().is_none(), defects, beside }
    }

    /// From now on the reference is what this hour of the week usually is, by group. Where that is not known well enough,
    /// drift is not judged in this hour, and defects by the reference of all hours.
    pub(super) fn season(&mut self, at: Duration, season: &[u64], all_hours: &[u64], counted: Counted<'_>) {
        self.is_paused = season.iter().sum::<u64>() < LEAST_HOUR_ROWS;
        if let Some(evidence) = &mut self.evidence {
            evidence.season(at, if self.is_paused { all_hours } else { season }, counted.cells);
        }
    }

    /// Looks at the primary window and answers the verdict.
    pub(super) fn look(
        &mut self,
        at: Duration,
        measured: &Measured,
        settings: &DriftSettings,
        counted: Counted<'_>,
    ) -> Verdict {
        if !measured.has_reference {
            return Verdict::NoReference;
        }
        let has_data = measured.samples >= settings.min_samples;
        let mut is_over = false;
        for latch in [&mut self.drift, &mut self.defect] {
            let clear = latch.finding().filter(|_| has_data).map(|finding| is_clear(finding, measured, settings));
            is_over |= latch.settle(at, clear, settings.resolve_after);
        }
        if is_over && let Some(evidence) = &mut self.evidence {
            evidence.restart(at, counted.cells);
        }
        if settings.preset != DriftPreset::Default {
            self.drift = Latch::default();
            return measured.verdict;
        }
        match (self.finding().or_else(|| self.defect()).is_some(), has_data && !self.is_paused) {
            (true, _) => Verdict::Drift,
            (false, false) => Verdict::NotEnoughData,
            (false, true) => Verdict::Ok,
        }
    }

    /// Bytes that it holds beside itself.
    pub(super) fn resident_bytes(&self) -> usize {
        self.evidence.as_ref().map_or(0, |evidence| evidence.resident_bytes())
    }

    /// Writes it.
    pub(super) fn encode(&self, writer: &mut Writer) {
        write_numbers(writer, &self.drift.state());
        write_numbers(writer, &self.defect.state());
        write_numbers(writer, &self.evidence.as_ref().map(|evidence| evidence.state()).unwrap_or_default());
    }

    /// Goes on where another left off.
    pub(super) fn restore(&mut self, reader: &mut Reader<'_>) -> Result<(), Malformed> {
        let (drift, defect, state) = (read_numbers(reader)?, read_numbers(reader)?, read_numbers(reader)?);
        (self.drift, self.defect) = (Latch::of_state(&drift), Latch::of_state(&defect));
        if let Some(evidence) = &mut self.evidence {
            evidence.resume(&state);
        }
        Ok(())
    }
}

/// Whether what raised the alarm is gone from the window: a drift is, once it is below the threshold for resolving and
/// below half of its size; a defect is, once it is nearer to what is usual than to what was found.
fn is_clear(finding: &Finding, measured: &Measured, settings: &DriftSettings) -> bool {
    match Cause::DEFECTS.iter().position(|defect| *defect == finding.cause) {
        Some(index) => measured.defects[index] < f64::midpoint(finding.floor, finding.effect),
        None => measured.excess.is_some_and(|excess| excess < settings.resolve_threshold.min(finding.effect / 2.0)),
    }
}

/// Writes numbers, and how many they are.
pub(super) fn write_numbers(writer: &mut Writer, numbers: &[u64]) {
    writer.number(numbers.len() as u64);
    numbers.iter().for_each(|&number| writer.number(number));
}

/// Reads numbers that were written so.
pub(super) fn read_numbers(reader: &mut Reader<'_>) -> Result<Vec<u64>, Malformed> {
    let count = usize::try_from(reader.number()?).ok().filter(|count| *count <= STATE_LIMIT).ok_or(Malformed)?;
    (0..count).map(|_| reader.number()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(preset: DriftPreset) -> DriftSettings {
        DriftSettings { preset, resolve_after: Duration::from_secs(3), ..DriftSettings::default() }
    }

    fn measured(samples: u64, excess: Option<f64>) -> Measured {
        let verdict = if excess.is_some_and(|excess| excess > 0.1) { Verdict::Drift } else { Verdict::Ok };
        Measured { has_reference: true, samples, excess, verdict, defects: [0.0; 4] }
    }

    const NOTHING: Counted<'_> = Counted { cells: &[], keyed: &[] };

    fn finding(cause: Cause) -> Finding {
        Finding {
            cause,
            at: Duration::ZERO,
            ln_evidence: 9.0,
            ln_threshold: 8.0,
            effect: 0.3,
            effect_lower: 0.2,
            floor: 0.02,
            samples: 100,
            since: Duration::ZERO,
            counts: vec![1, 2],
        }
    }

    fn verdicts(cause: Option<Cause>, seen: &[Measured]) -> Vec<Verdict> {
        let mut alarm = ColumnAlarm::default();
        let latch = if cause == Some(Cause::Drift) { &mut alarm.drift } else { &mut alarm.defect };
        cause.into_iter().for_each(|cause| latch.raise(finding(cause)));
        let look = |(second, measured)| {
            alarm.look(Duration::from_secs(second), measured, &settings(DriftPreset::Default), NOTHING)
        };
        (0..).zip(seen).map(look).collect()
    }

    #[test]
    fn without_a_reference_or_without_data_there_is_no_drift() {
        let without = Measured { has_reference: false, ..measured(1_000, None) };
        assert_eq!(verdicts(None, &[without])[0], Verdict::NoReference);
        let seen = [measured(0, None), measured(199, Some(3.0)), measured(200, Some(3.0))];
        let expected = [Verdict::NotEnoughData, Verdict::NotEnoughData, Verdict::Ok];
        assert_eq!(verdicts(None, &seen), expected, "a window alone raises nothing");
    }

    #[test]
    fn drift_lasts_until_the_window_was_calm_for_long_enough() {
        let seen = [0.2, 0.07, 0.04, 0.04, 0.06, 0.04, 0.04, 0.04, 0.04].map(|excess| measured(500, Some(excess)));
        let mut expected = [Verdict::Drift; 9];
        expected[8] = Verdict::Ok;
        assert_eq!(verdicts(Some(Cause::Drift), &seen), expected);
    }

    #[test]
    fn a_defect_lasts_until_it_is_rare_again_whatever_the_distances_say() {
        let share = |share: f64| Measured { defects: [share, 0.0, 0.0, 0.0], ..measured(500, Some(0.0)) };
        let seen = [0.3, 0.2, 0.2, 0.2, 0.2, 0.1, 0.1, 0.1, 0.1].map(share);
        let mut expected = [Verdict::Drift; 9];
        expected[8] = Verdict::Ok;
        assert_eq!(verdicts(Some(Cause::Missing), &seen), expected);
    }

    #[test]
    fn drift_outlasts_the_end_of_traffic() {
        let seen = [(500, Some(0.2)), (3, Some(0.01)), (0, None), (0, None), (0, None), (0, None)];
        let seen = seen.map(|(samples, excess)| measured(samples, excess));
        assert!(verdicts(Some(Cause::Drift), &seen).iter().all(|verdict| *verdict == Verdict::Drift));
    }

    #[test]
    fn other_presets_say_what_the_window_says_now() {
        let mut alarm = ColumnAlarm::default();
        let mut look =
            |measured: Measured| alarm.look(Duration::ZERO, &measured, &settings(DriftPreset::Classic), NOTHING);
        assert_eq!(look(measured(500, Some(0.2))), Verdict::Drift);
        assert_eq!(look(measured(500, Some(0.09))), Verdict::Ok);
        assert_eq!(look(Measured { verdict: Verdict::NotEnoughData, ..measured(0, None) }), Verdict::NotEnoughData);
    }

    #[test]
    fn neither_drift_nor_a_defect_hides_the_other() {
        let mut alarm = ColumnAlarm::default();
        assert_eq!(alarm.asked(DriftPreset::Default), Asked::default());
        assert_eq!(alarm.asked(DriftPreset::Evidently), Asked { drift: false, ..Asked::default() });
        alarm.drift.raise(finding(Cause::Drift));
        let others = Asked { drift: false, defects: [true, true, false, true], beside: None };
        assert_eq!(alarm.asked(DriftPreset::Default), others);
        let mut alarm = ColumnAlarm::default();
        alarm.defect.raise(finding(Cause::Missing));
        let drift = Asked { drift: true, defects: [false; 4], beside: Some(Cause::Missing) };
        assert_eq!(alarm.asked(DriftPreset::Default), drift);
    }

    #[test]
    fn an_hour_of_too_few_rows_is_not_enough_data() {
        let mut alarm = ColumnAlarm::default();
        let verdict = |alarm: &mut ColumnAlarm| {
            alarm.look(Duration::ZERO, &measured(500, Some(0.0)), &settings(DriftPreset::Default), NOTHING)
        };
        alarm.season(Duration::ZERO, &[150, 49], &[900, 100], NOTHING);
        assert_eq!(verdict(&mut alarm), Verdict::NotEnoughData);
        assert!(!alarm.asked(DriftPreset::Default).drift && alarm.asked(DriftPreset::Default).defects[0]);
        alarm.season(Duration::ZERO, &[150, 50], &[900, 100], NOTHING);
        assert_eq!(verdict(&mut alarm), Verdict::Ok);
    }

    #[test]
    fn numbers_are_read_back_as_they_were_written_and_no_more_than_may_be() {
        let mut writer = Writer::default();
        write_numbers(&mut writer, &[0, 7, u64::MAX]);
        let bytes = writer.finish();
        assert_eq!(read_numbers(&mut Reader::new(&bytes)), Ok(vec![0, 7, u64::MAX]));
        assert!(read_numbers(&mut Reader::new(&bytes[..bytes.len() - 1])).is_err());
        let mut writer = Writer::default();
        writer.number(1 << 40);
        assert!(read_numbers(&mut Reader::new(&writer.finish())).is_err());
    }
}
