//! All windows agree with naive sums over the same rows, survive being written down, and keep their memory budget.

use super::codec::{Malformed, Reader, Writer};
use super::*;
use crate::sketch::{BinLayout, FixedPoint, LANES, Reference, RowSearch};
use proptest::prelude::*;
use std::time::Duration;

/// Numeric columns of 64 bins: below, bins, above, missing, two infinities.
const SLOTS: usize = 69;
const GROUPS: usize = 14;
/// Sums of a column.
const SUMS: usize = 4;
/// What alarms may take of a feature's 10 KiB.
const FOR_ALARMS: usize = 3_900;

fn seconds(value: u64) -> Duration {
    Duration::from_secs(value)
}

fn column(index: usize) -> RecordedColumn {
    let reference = Reference {
        counts: vec![100; SLOTS],
        groups: (0..SLOTS).map(|slot| (slot * GROUPS / SLOTS) as u8).collect(),
        group_count: GROUPS,
        ..Reference::default()
    };
    RecordedColumn {
        name: format!("feature {index}"),
        side: Side::Input,
        slots: index * SLOTS..(index + 1) * SLOTS,
        sums: index * SUMS..(index + 1) * SUMS,
        cells: index * (GROUPS + 2)..(index + 1) * (GROUPS + 2),
        reference: Some(reference),
        order: None,
        critical: false,
    }
}

fn plan(columns: usize) -> ReadingPlan {
    ReadingPlan::new(&(0..columns).map(column).collect::<Vec<_>>())
}

fn totals(columns: usize) -> Totals {
    Totals { slots: vec![0; columns * SLOTS], sums: vec![0; columns * SUMS], ..Totals::default() }
}

fn settings() -> WindowSettings {
    WindowSettings {
        primary: seconds(300),
        lengths: [60, 300, 3_600, 86_400].map(seconds).into(),
        half_life: seconds(3_600),
        seasons: None,
    }
}

/// A row in a slot of the only column.
fn count(totals: &mut Totals, slot: usize, rows: u64) {
    totals.slots[slot] += rows;
    totals.sums[slot % SUMS] = totals.sums[slot % SUMS].wrapping_sub(rows * 1_000_003);
    totals.rows += rows;
}

fn bytes_of(windows: &Windows) -> Vec<u8> {
    let mut writer = Writer::default();
    windows.encode(&mut writer);
    writer.finish()
}

/// What a column of a full tile takes in a search among 64 bins.
fn search_bytes() -> usize {
    let edges: Vec<f64> = (1..64).map(f64::from).collect();
    let bins = BinLayout::<f32>::try_new(&edges, false, FixedPoint::new(0.0, 1.0)).unwrap();
    RowSearch::new(&[(SLOTS, Some(&bins)); LANES]).resident_bytes() / LANES
}

/// All that can be read out of windows.
fn view(windows: &Windows) -> (WindowCounts, Vec<WindowCounts>, Vec<BlockCounts>, Vec<u64>, Vec<u64>) {
    let (total, sums) = windows.since_deploy();
    (windows.primary(), windows.sliding().collect(), windows.blocks().collect(), total.to_vec(), sums.to_vec())
}

#[test]
fn counting_began_with_the_first_reading_of_the_first_start() {
    let mut windows = Windows::new(plan(1), settings());
    assert_eq!((windows.began(), windows.evidence_since_deploy()), (Duration::ZERO, 0));
    let mut counted = totals(1);
    for at in [1_000, 1_001] {
        count(&mut counted, 3, 10);
        counted.evidence_rows += 2;
        windows.roll(seconds(at), &counted);
    }
    windows.follow(&WindowSettings { primary: seconds(60), ..settings() });
    assert_eq!(
        (windows.began(), windows.read_at(), windows.evidence_since_deploy()),
        (seconds(1_000), seconds(1_001), 4)
    );
    let bytes = bytes_of(&windows);
    // The next start counts from zero, and its clock may be behind.
    for at in [2_000, 500] {
        let mut next = Windows::new(plan(1), settings());
        next.restore(&mut Reader::new(&bytes), seconds(at)).unwrap();
        next.roll(seconds(at), &totals(1));
        let mut counted = totals(1);
        count(&mut counted, 4, 5);
        counted.evidence_rows = 1;
        next.roll(seconds(at + 1), &counted);
        assert_eq!((next.began(), next.evidence_since_deploy()), (seconds(1_000), 5), "{at}");
        assert_eq!(next.since_deploy().0.last(), Some(&25));
    }
}

#[test]
fn a_feature_of_64_bins_takes_less_than_10_kib_with_the_default_windows() {
    const FEATURES: usize = 100;
    let mut windows = Windows::new(plan(FEATURES), settings());
    let (mut totals, mut at) = (totals(FEATURES), 1_790_000_000);
    // As many readings as fill every slice of every window: of a day, an hour, five minutes, a minute.
    for step in [[10_800; 9], [450; 9], [38; 9], [38; 9], [8; 9]].into_iter().flatten() {
        at += step;
        for (slot, total) in totals.slots.iter_mut().enumerate() {
            *total += 17 * step + slot as u64 % 7;
        }
        totals.rows += 1_200 * step;
        windows.roll(seconds(at), &totals);
    }
    assert_eq!(windows.primary.slices(), 9);
    assert!(windows.sliding.iter().all(|ring| ring.slices() >= 8));
    let per_feature = windows.resident_bytes() / FEATURES;
    let recording = search_bytes() + size_of::<u64>() * (SLOTS + SUMS + GROUPS + 2);
    assert!(
        per_feature + FOR_ALARMS + recording <= 10_240,
        "{per_feature} bytes of windows, {recording} of a worker's recorder"
    );
    println!(
        "{per_feature} bytes of windows per feature, {recording} of a worker's recorder; a snapshot has {}",
        bytes_of(&windows).len() / FEATURES
    );
}

#[test]
fn windows_without_traffic_are_readings_alone() {
    let mut windows = Windows::new(plan(1), settings());
    let empty = windows.resident_bytes();
    (0..1_000).for_each(|second| windows.roll(seconds(second), &totals(1)));
    assert_eq!(windows.resident_bytes(), empty);
    let (primary, sliding, blocks, total, _) = view(&windows);
    assert!(primary.counts.iter().chain(&total).all(|&count| count == 0));
    assert!(sliding.iter().map(|window| &window.counts).all(|counts| counts.iter().all(|&count| count == 0)));
    assert!(blocks.iter().all(|block| block.counts.iter().all(|&count| count == 0)));
}

#[test]
fn each_window_states_its_resolution() {
    let windows = Windows::new(plan(1), settings());
    assert_eq!(windows.primary().resolution, Duration::from_millis(37_500));
    let stated: Vec<_> = windows.sliding().map(|window| (window.length, window.resolution)).collect();
    let expected = [(60, 7_500), (3_600, 450_000), (86_400, 10_800_000)]
        .map(|(length, slice)| (seconds(length), Duration::from_millis(slice)));
    assert_eq!(stated, expected, "the primary window's length is not kept twice");
    assert_eq!(windows.blocks().map(|block| block.length).collect::<Vec<_>>(), settings().lengths);
}

#[test]
fn other_settings_keep_the_windows_that_stay() {
    let mut windows = Windows::new(plan(1), settings());
    let mut totals = totals(1);
    count(&mut totals, 3, 10);
    windows.roll(seconds(1_000), &totals);
    let changed = WindowSettings { primary: seconds(60), lengths: [60, 3_600].map(seconds).into(), ..settings() };
    windows.follow(&changed);
    let (primary, sliding, _, total, _) = view(&windows);
    assert_eq!((primary.counts[3], total[3]), (0, 10), "a window of another length starts anew");
    assert_eq!(sliding.len(), 1);
    assert_eq!(sliding[0].counts.last(), Some(&10), "the hour goes on");
    count(&mut totals, 3, 1);
    windows.roll(seconds(1_001), &totals);
    assert_eq!(windows.primary().counts[3], 1, "what was counted before is not counted again");
}

#[test]
fn hours_of_the_week_are_counted_within_their_budget_or_not_at_all() {
    let with = |budget| WindowSettings { seasons: Some((1, budget)), ..settings() };
    let windows = Windows::new(plan(1), with(100));
    assert!(windows.lacks_seasons() && windows.season().is_none());
    let mut windows = Windows::new(plan(1), with(1 << 20));
    let mut totals = totals(1);
    for hour in 0..=168 {
        count(&mut totals, 0, 1 + hour % 2);
        windows.roll(seconds(hour * 3_600 + 600), &totals);
        assert_eq!(windows.season().is_some(), hour == 168, "{hour}");
    }
    assert_eq!(windows.hours(), [(hour_of_week(seconds(600)), 1.0)]);
    assert_eq!(windows.season().unwrap().last(), Some(&1), "the hour at which it began");
    assert!(windows.seasonal_bytes() > 168 * GROUPS * 4);
}

#[test]
fn windows_go_on_after_a_restart_and_forget_what_aged_out_meanwhile() {
    let mut windows = Windows::new(plan(1), settings());
    let mut before = totals(1);
    for second in 0..300 {
        count(&mut before, (second % 69) as usize, 3);
        windows.roll(seconds(100_000 + second), &before);
    }
    let bytes = bytes_of(&windows);
    let restored = |at: u64| {
        let mut windows = Windows::new(plan(1), settings());
        windows.restore(&mut Reader::new(&bytes), seconds(at)).unwrap();
        windows
    };
    assert_eq!(view(&restored(100_299)), view(&windows));
    let late = restored(100_299 + 2_000);
    assert_eq!(late.primary().counts.iter().sum::<u64>(), 0);
    let sliding: Vec<u64> = late.sliding().map(|window| window.counts.last().copied().unwrap()).collect();
    assert_eq!(sliding, [0, 900, 900], "a minute has forgotten, an hour has not");
    // The recorder starts at zero.
    let (mut windows, mut after) = (restored(100_299), totals(1));
    count(&mut after, 7, 5);
    windows.roll(seconds(100_300), &after);
    assert_eq!(windows.since_deploy().0[7], view(&restored(100_299)).3[7] + 5);
    assert_eq!(windows.since_deploy().1[3], before.sums[3].wrapping_add(after.sums[3]));
}

#[test]
fn a_snapshot_from_a_clock_that_was_ahead_does_not_hold_windows_back() {
    let mut windows = Windows::new(plan(1), settings());
    let mut before = totals(1);
    count(&mut before, 3, 10);
    windows.roll(seconds(500_000), &before);
    let bytes = bytes_of(&windows);
    let mut windows = Windows::new(plan(1), settings());
    windows.restore(&mut Reader::new(&bytes), seconds(100_000)).unwrap();
    let mut after = totals(1);
    count(&mut after, 4, 1);
    windows.roll(seconds(100_001), &after);
    windows.roll(seconds(110_000), &after);
    assert_eq!(windows.primary().counts[4], 0);
    assert_eq!((windows.since_deploy().0[3], windows.since_deploy().0[4]), (10, 1));
}

#[test]
fn a_snapshot_of_other_columns_or_settings_costs_what_differs() {
    let mut windows = Windows::new(plan(1), settings());
    let mut totals = totals(1);
    count(&mut totals, 3, 10);
    windows.roll(seconds(1_000), &totals);
    let bytes = bytes_of(&windows);
    assert_eq!(Windows::new(plan(2), settings()).restore(&mut Reader::new(&bytes), seconds(1_000)), Err(Malformed));
    let changed = WindowSettings { primary: seconds(30), half_life: seconds(60), ..settings() };
    let mut other = Windows::new(plan(1), changed);
    other.restore(&mut Reader::new(&bytes), seconds(1_000)).unwrap();
    assert_eq!((other.primary().counts[3], other.since_deploy().0[3]), (0, 10));
    assert!(other.decayed().1.iter().all(|&weight| weight == 0.0));
    assert_eq!(other.sliding().filter(|window| window.counts.last() == Some(&10)).count(), 3);
}

fn steps() -> impl Strategy<Value = Vec<(u64, usize, u64)>> {
    prop::collection::vec((0_u64..90_000, 0_usize..SLOTS, 0_u64..200), 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_window_equals_a_naive_sum_over_the_same_slices(steps in steps()) {
        let mut windows = Windows::new(plan(1), settings());
        let (mut totals, mut now, mut seen) = (totals(1), Duration::ZERO, Vec::new());
        for (wait, slot, rows) in steps {
            now += Duration::from_millis(wait);
            count(&mut totals, slot, rows);
            seen.push((now, slot, rows));
            windows.roll(now, &totals);
            let naive = |window: &WindowCounts| -> u64 {
                let (width, covered) = (window.resolution.as_nanos(), window.length.as_nanos());
                let newest = now.as_nanos() / width;
                let is_in = |then: Duration| then.as_nanos() / width + covered.div_ceil(width) >= newest;
                seen.iter().filter(|(then, ..)| is_in(*then)).map(|(.., rows)| rows).sum()
            };
            let primary = windows.primary();
            prop_assert_eq!(primary.counts[..SLOTS].iter().sum::<u64>(), naive(&primary));
            prop_assert_eq!(primary.counts.last(), Some(&naive(&primary)));
            for window in windows.sliding() {
                prop_assert_eq!(window.counts[..GROUPS].iter().sum::<u64>(), naive(&window));
                prop_assert_eq!(window.counts.last(), Some(&naive(&window)));
            }
        }
        prop_assert_eq!(&windows.since_deploy().0[..SLOTS], &totals.slots[..]);
        prop_assert_eq!(windows.since_deploy().1, &totals.sums[..]);
    }

    #[test]
    fn windows_read_back_are_the_windows_that_were_written(steps in steps()) {
        let seasonal = WindowSettings { seasons: Some((2, 1 << 20)), ..settings() };
        let mut windows = Windows::new(plan(1), seasonal.clone());
        let (mut totals, mut now) = (totals(1), Duration::ZERO);
        for (wait, slot, rows) in steps {
            now += Duration::from_millis(wait);
            count(&mut totals, slot, rows);
            windows.roll(now, &totals);
        }
        let bytes = bytes_of(&windows);
        let mut restored = Windows::new(plan(1), seasonal);
        restored.restore(&mut Reader::new(&bytes), now).unwrap();
        prop_assert_eq!(view(&restored), view(&windows));
        prop_assert_eq!(restored.decayed().1, windows.decayed().1);
        prop_assert_eq!(bytes_of(&restored), bytes);
    }

    #[test]
    fn hostile_bytes_change_nothing(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut windows = Windows::new(plan(1), settings());
        let mut totals = totals(1);
        count(&mut totals, 3, 10);
        windows.roll(seconds(1_000), &totals);
        let mut written = bytes_of(&windows);
        let before = view(&windows);
        let cut = cut.index(written.len());
        prop_assert_eq!(windows.restore(&mut Reader::new(&written[..cut]), seconds(1_000)), Err(Malformed));
        if windows.restore(&mut Reader::new(&bytes), seconds(1_000)).is_err() {
            prop_assert_eq!(view(&windows), before);
        }
        for (place, byte) in flips {
            let place = place.index(written.len());
            written[place] = byte;
        }
        // Whatever is read must be usable.
        let _ = windows.restore(&mut Reader::new(&written), seconds(2_000));
        count(&mut totals, 4, 1);
        windows.roll(seconds(1_000_000_000), &totals);
        prop_assert_eq!(windows.primary().counts[4], 1);
    }
}
