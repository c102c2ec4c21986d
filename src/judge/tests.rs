//! A version's watch from the first row on: verdicts, all windows, and life after a restart.

use super::column::ColumnWatch;
use super::*;
use crate::config::{Config, DriftPreset, ModelSettings};
use crate::detect::Verdict;
use crate::detect::alarm::Cause;
use crate::observe::{RecordedColumn, Side, Totals};
use crate::sketch::{Reference, Slots};
use std::time::Duration;

/// Bins of the reference.
const BINS: usize = 10;
/// Below, bins, above, missing, the two infinities.
const SLOTS: usize = BINS + 5;
/// A group per bin, rare, missing, infinite.
const GROUPS: usize = BINS + 3;
/// One per group, below, above.
const CELLS: usize = GROUPS + 2;
/// Monday, 21 September 2026, 14:13:20 UTC.
const START: u64 = 1_790_000_000;

fn settings() -> Arc<ModelSettings> {
    let mut settings = Config::default().model("m");
    settings.drift.resolve_after = Duration::from_secs(5);
    Arc::new(settings)
}

/// One column per side: ten bins, equally likely, and a column without a reference.
fn columns() -> Vec<RecordedColumn> {
    let mut counts = vec![1_000; SLOTS];
    counts[0] = 0;
    counts[BINS + 1..].fill(0);
    let mut groups: Vec<u8> = (0..SLOTS as u8).map(|slot| slot.saturating_sub(1).min(9)).collect();
    (groups[BINS + 2], groups[BINS + 3], groups[BINS + 4]) = (11, 12, 12);
    let reference = Reference {
        counts,
        groups,
        group_count: GROUPS,
        ordered: Some(0..BINS + 2),
        positions: (0..=BINS).map(|edge| edge as f64 / 3.0 - 1.7).collect(),
        ..Reference::default()
    };
    let column = |index: usize, side, reference: Option<Reference>| RecordedColumn {
        name: format!("column {index}"),
        side,
        slots: index * SLOTS..(index + 1) * SLOTS,
        sums: index * 4..index * 4 + 4,
        cells: if reference.is_some() { 0..CELLS } else { CELLS..CELLS },
        reference,
        order: Some(Slots::new(BINS, false)),
        critical: false,
    };
    vec![column(0, Side::Input, Some(reference)), column(1, Side::Output, None)]
}

/// Traffic of a version, a second at a time.
struct Traffic {
    columns: Vec<RecordedColumn>,
    totals: Totals,
    now: u64,
}

impl Traffic {
    fn new(now: u64) -> Self {
        let totals = Totals { slots: vec![0; 2 * SLOTS], sums: vec![0; 8], cells: vec![0; CELLS], ..Totals::default() };
        Self { columns: columns(), totals, now }
    }

    fn at(&self) -> Duration {
        Duration::from_secs(self.now)
    }

    /// A second of a hundred rows, of which `extra` more than its share fall into the first group.
    fn second(&mut self, watch: &mut VersionWatch, extra: u64) -> Look {
        self.now += 1;
        for bin in 0..BINS {
            let share = if bin == 0 { 10 + extra } else { 10 - extra / 9 };
            self.totals.slots[1 + bin] += share;
            self.totals.slots[SLOTS + 1 + bin] += share;
            self.totals.cells[bin] += share;
        }
        self.totals.rows += 100;
        watch.look(self.at(), &self.columns, &self.totals)
    }

    fn quiet_seconds(&mut self, watch: &mut VersionWatch, seconds: u64) -> Look {
        self.now += seconds;
        watch.look(self.at(), &self.columns, &self.totals)
    }
}

fn samples(look: &Look, column: usize) -> Vec<u64> {
    look.columns[column].windows.iter().map(|measure| measure.samples).collect()
}

#[test]
fn nothing_served_is_not_enough_data() {
    let (mut traffic, mut watch) = (Traffic::new(START), VersionWatch::new(&columns(), &settings()));
    let look = traffic.quiet_seconds(&mut watch, 1);
    assert_eq!((look.verdict, look.samples), (Verdict::NotEnoughData, 0));
    assert_eq!(look.columns[0].verdict, Verdict::NotEnoughData);
    assert_eq!(look.columns[1].verdict, Verdict::NoReference);
    assert!(look.columns[0].windows.iter().all(|measure| *measure == Measure::default()));
}

#[test]
fn every_window_counts_what_it_covers() {
    let (mut traffic, mut watch) = (Traffic::new(START), VersionWatch::new(&columns(), &settings()));
    let mut look = traffic.second(&mut watch, 0);
    for _ in 1..400 {
        look = traffic.second(&mut watch, 0);
    }
    let lengths: Vec<u64> = look
        .windows
        .iter()
        .filter_map(|window| match window {
            WindowInfo::Sliding { length, .. } => Some(length.as_secs()),
            _ => None,
        })
        .collect();
    assert_eq!(lengths, [60, 3_600, 86_400]);
    let [minute, hour, day, deploy, decayed] = samples(&look, 0)[..] else { panic!("{look:?}") };
    assert!((6_000..=6_500).contains(&minute), "{minute}");
    assert_eq!((hour, day, deploy), (40_000, 40_000, 40_000));
    assert!((38_000..40_000).contains(&decayed), "{decayed}");
    assert!((30_000..=31_500).contains(&look.samples), "{}", look.samples);
    assert_eq!(samples(&look, 1)[1..4], [40_000; 3], "a column without a reference counts its values");
    let blocks: Vec<(u64, u64)> =
        look.blocks.iter().map(|block| (block.length.as_secs(), block.columns[0].samples)).collect();
    // From 14:13:21 to 14:20:00: the last minute is over and so are the last five, the hour and the day are not.
    assert_eq!(blocks, [(60, 6_000), (300, 30_000), (3_600, 0), (86_400, 0)]);
    assert!(look.columns[0].since_deploy.is_some_and(|distances| distances.ks == Some(0.0)));
}

#[test]
fn a_shift_drifts_until_the_window_has_been_calm_for_long_enough() {
    let (mut traffic, mut watch) = (Traffic::new(START), VersionWatch::new(&columns(), &settings()));
    (0..10).for_each(|_| assert_ne!(traffic.second(&mut watch, 0).verdict, Verdict::Drift));
    let look = (0..20).map(|_| traffic.second(&mut watch, 72)).last().unwrap();
    assert_eq!((look.verdict, look.columns[0].verdict), (Verdict::Drift, Verdict::Drift));
    let finding = look.columns[0].finding.clone().unwrap();
    assert!(finding.ln_evidence > finding.ln_threshold && finding.effect_lower > finding.floor, "{finding:?}");
    assert!(finding.cause == Cause::Drift && finding.at < Duration::from_secs(START + 20), "{finding:?}");
    let (minute, deploy) = (look.columns[0].windows[0], look.columns[0].windows[3]);
    assert!(minute.distances.is_some_and(|distances| distances.psi > 0.1 && distances.excess > 0.1));
    assert_eq!(minute.distances, deploy.distances, "both have seen everything so far");
    let mut calm = 0;
    while traffic.second(&mut watch, 0).columns[0].verdict == Verdict::Drift {
        calm += 1;
        assert!(calm < 400, "it never lets go");
    }
    assert!(calm > 60, "the shift was still in the window after {calm} s");
    assert_eq!(traffic.second(&mut watch, 0).columns[0].finding, None);
}

#[test]
fn windows_and_alarms_go_on_after_a_restart() {
    let (mut traffic, mut watch) = (Traffic::new(START), VersionWatch::new(&columns(), &settings()));
    (0..10).for_each(|_| drop(traffic.second(&mut watch, 0)));
    let before = (0..30).map(|_| traffic.second(&mut watch, 72)).last().unwrap();
    let bytes = watch.encode();
    let mut later = Traffic::new(traffic.now + 5);
    let mut watch = VersionWatch::new(&columns(), &settings());
    watch.restore(&bytes, later.at()).unwrap();
    let look = later.quiet_seconds(&mut watch, 1);
    assert_eq!((look.samples, look.verdict), (before.samples, Verdict::Drift));
    assert_eq!(look.columns[0].finding, before.columns[0].finding, "it is the same incident");
    assert_eq!(look.columns[0].windows[3], before.columns[0].windows[3]);
    let look = later.second(&mut watch, 72);
    assert_eq!(samples(&look, 0)[3], samples(&before, 0)[3] + 100);
    let look = later.quiet_seconds(&mut watch, 86_400 * 2);
    assert_eq!(samples(&look, 0), [0, 0, 0, 4_100, 0]);
    assert_eq!(look.columns[0].verdict, Verdict::Drift, "no traffic is no good news");
}

#[test]
fn a_snapshot_that_cannot_be_read_is_refused_and_one_of_the_future_is_read_as_far_as_it_is_known() {
    let (mut traffic, mut watch) = (Traffic::new(START), VersionWatch::new(&columns(), &settings()));
    traffic.second(&mut watch, 0);
    let bytes = watch.encode();
    for length in [0, 1, 2, bytes.len() / 2, bytes.len() - 1] {
        let mut anew = VersionWatch::new(&columns(), &settings());
        let outcome = anew.restore(&bytes[..length], traffic.at());
        assert_eq!(outcome.is_ok(), length == 1, "{length}");
        Traffic::new(traffic.now).second(&mut anew, 0);
    }
    let mut with_more = bytes.clone();
    with_more.extend_from_slice(&[99, 3, 1, 2, 3]);
    let mut anew = VersionWatch::new(&columns(), &settings());
    anew.restore(&with_more, traffic.at()).unwrap();
    assert_eq!(anew.encode(), bytes);
}

#[test]
fn other_settings_take_effect_without_losing_what_was_counted() {
    let (mut traffic, mut watch) = (Traffic::new(START), VersionWatch::new(&columns(), &settings()));
    (0..10).for_each(|_| drop(traffic.second(&mut watch, 0)));
    let mut changed = (*settings()).clone();
    changed.drift.windows = vec![Duration::from_secs(3_600), Duration::from_secs(7_200)];
    watch.follow(&Arc::new(changed), &columns(), &traffic.totals);
    let look = traffic.second(&mut watch, 0);
    assert_eq!(samples(&look, 0)[..3], [1_100, 100, 1_100], "an hour stays, two hours begin, all is all");
    assert_eq!((look.samples, look.blocks.len()), (1_100, 2));
}

/// Traffic of another hour of the week is no drift once that hour is known, and drift within an hour still is.
#[test]
fn a_known_hour_of_the_week_is_what_traffic_is_compared_with() {
    let mut seasonal = (*settings()).clone();
    (seasonal.drift.seasonal, seasonal.drift.seasonal_weeks) = (true, 1);
    let mut watch = VersionWatch::new(&columns(), &Arc::new(seasonal));
    // On the hour.
    let mut traffic = Traffic::new(START - START % 3_600);
    let mut minute = |watch: &mut VersionWatch, shift: u64| {
        traffic.now += 59;
        traffic.second(watch, shift)
    };
    let (week, mut drifted) = (168 * 60, 0);
    for passed in 0..week {
        let look = minute(&mut watch, if passed / 60 % 2 == 0 { 0 } else { 72 });
        drifted += u32::from(look.verdict == Verdict::Drift);
    }
    assert!(drifted > 1_000, "while it learns, every second hour drifts");
    (0..10).for_each(|_| drop(minute(&mut watch, 0)));
    for passed in 10..240 {
        let look = minute(&mut watch, if passed / 60 % 2 == 0 { 0 } else { 72 });
        assert_eq!(look.verdict, Verdict::Ok, "minute {passed}");
        assert!(look.columns[0].season.is_some_and(|season| season.samples == look.columns[0].samples));
    }
    let look = (0..5).map(|_| minute(&mut watch, 72)).last().unwrap();
    assert_eq!(look.verdict, Verdict::Drift, "what is usual in one hour is not in another");
}

#[test]
fn an_alarm_takes_no_more_than_what_windows_leave_of_10_kib() {
    const FEATURES: usize = 3;
    const FINE: usize = 64;
    const FINE_SLOTS: usize = FINE + 5;
    let of_64_bins = |index: usize| {
        let mut counts = vec![160; FINE_SLOTS];
        counts[0] = 0;
        counts[FINE + 1..].fill(0);
        let mut groups: Vec<u8> =
            (0..FINE_SLOTS).map(|slot| (slot.saturating_sub(1) * 10 / FINE).min(9) as u8).collect();
        (groups[FINE + 2], groups[FINE + 3], groups[FINE + 4]) = (11, 12, 12);
        let reference =
            Reference { counts, groups, group_count: GROUPS, ordered: Some(0..FINE + 2), ..Reference::default() };
        RecordedColumn {
            slots: index * FINE_SLOTS..(index + 1) * FINE_SLOTS,
            sums: index * 4..index * 4 + 4,
            cells: index * CELLS..(index + 1) * CELLS,
            reference: Some(reference),
            ..columns()[0].clone()
        }
    };
    let columns: Vec<RecordedColumn> = (0..FEATURES).map(of_64_bins).collect();
    let mut watch = VersionWatch::new(&columns, &settings());
    let mut totals = Totals {
        slots: vec![0; FEATURES * FINE_SLOTS],
        sums: vec![0; FEATURES * 4],
        cells: vec![0; FEATURES * CELLS],
        ..Totals::default()
    };
    let mut at = Duration::from_secs(START);
    // As many looks as fill every slice of every window (of a day, an hour, five minutes, a minute), and twelve of the
    // alarm's eighteen levels of starts; the other six would have a start each.
    let steps = [(60, 4_000), (8_640, 11), (360, 11), (20, 17), (6, 11)];
    for step in steps.into_iter().flat_map(|(step, looks)| std::iter::repeat_n(step, looks)) {
        at += Duration::from_secs(step);
        totals.slots.iter_mut().for_each(|count| *count += 17 * step);
        for cells in totals.cells.chunks_mut(CELLS) {
            cells[..BINS].iter_mut().for_each(|count| *count += 3 * step);
        }
        totals.rows += 17 * FINE_SLOTS as u64 * step;
        watch.look(at, &columns, &totals);
    }
    let other_starts = 6 * (CELLS * 4 + 16);
    let evidence = watch.evidence.resident_bytes() / FEATURES;
    let alarm = watch.columns[0].alarm.resident_bytes() + size_of::<ColumnWatch>() + other_starts + evidence;
    println!("{alarm} bytes of the alarm per feature");
    assert!(watch.columns.iter().all(|column| column.alarm.resident_bytes() > 2_000), "alarms are as full as they get");
    // With the windows' own test this is 10 KiB for a feature of 64 bins.
    assert!(alarm <= 3_900, "{alarm} bytes");
}

#[test]
fn another_budget_lets_no_alarm_go_and_forgets_no_evidence() {
    let (mut traffic, mut watch) = (Traffic::new(START), VersionWatch::new(&columns(), &settings()));
    let with_budget = |pages: f64| {
        let mut changed = (*settings()).clone();
        changed.drift.false_pages_per_month = pages;
        Arc::new(changed)
    };
    (0..5).for_each(|_| drop(traffic.second(&mut watch, 0)));
    // Evidence that a small budget does not act on is there when the budget becomes larger.
    watch.follow(&with_budget(1e-30), &columns(), &traffic.totals);
    let look = (0..8).map(|_| traffic.second(&mut watch, 27)).last().unwrap();
    let (evidence, threshold) = look.columns[0].evidence.unwrap();
    assert!(look.columns[0].finding.is_none() && threshold > 60.0, "{evidence} of {threshold}");
    watch.follow(&with_budget(5.0), &columns(), &traffic.totals);
    let look = traffic.quiet_seconds(&mut watch, 1);
    assert!(look.columns[0].finding.is_none(), "nothing new was counted");
    let look = (0..2).map(|_| traffic.second(&mut watch, 27)).last().unwrap();
    let finding = look.columns[0].finding.clone().unwrap();
    assert!(finding.since < Duration::from_secs(START + 10), "{finding:?}");
    watch.follow(&with_budget(0.01), &columns(), &traffic.totals);
    assert_eq!(traffic.second(&mut watch, 27).columns[0].finding, Some(finding));
}

#[test]
fn defects_raise_an_alarm_under_every_preset() {
    for preset in [DriftPreset::Default, DriftPreset::Classic, DriftPreset::Evidently] {
        let mut settings = (*settings()).clone();
        settings.drift.preset = preset;
        let settings = Arc::new(settings);
        let (mut traffic, mut watch) = (Traffic::new(START), VersionWatch::new(&columns(), &settings));
        (0..10).for_each(|_| drop(traffic.second(&mut watch, 0)));
        let look = (0..20).map(|_| {
            traffic.totals.cells[BINS + 1] += 50;
            traffic.totals.slots[BINS + 2] += 50;
            traffic.second(&mut watch, 0)
        });
        let look = look.last().unwrap();
        let cause = look.columns[0].defect.as_ref().map(|finding| finding.cause);
        assert_eq!(cause, Some(Cause::Missing), "{preset:?}");
        assert!(look.columns[0].finding.is_none(), "{preset:?}: the other values are as they were");
    }
}

#[test]
fn a_column_that_makes_its_version_drift_alone_pays_for_two_pages() {
    assert_eq!([1, 2, 3, 9].map(|features| alarm_shares(true, false, features)), [2, 2, 1, 1]);
    assert_eq!((alarm_shares(true, true, 9), alarm_shares(false, false, 1)), (2, 1));
}
