//! Seasonal traffic: a daily sine that the reference knows by hour of the week is no drift, and a step on top of it is.

use super::streams::{Feature, Law, add_rows};
use super::support::{generator, in_parallel, say, scale};
use std::time::Duration;
use tidegate::detect::alarm::{AlarmPlan, AlarmSettings, ColumnAlarm};

const HOURS: usize = 168;
const FEATURES: usize = 10;
/// Rows of the reference in each hour of the week.
const ROWS_PER_HOUR: u64 = 3_000;

fn shift(hour: usize) -> f64 {
    0.5 * (std::f64::consts::TAU * hour as f64 / 24.0).sin()
}

struct Week {
    /// Chances of cells by hour.
    cells: Vec<Vec<f64>>,
    /// The same, a step later.
    stepped: Vec<Vec<f64>>,
    /// Counts of the reference's groups by hour.
    groups: Vec<Vec<u64>>,
    feature: Feature,
}

fn week(seed: u64) -> Week {
    let mut random = generator(seed);
    let feature = Feature::new(Law::Normal, 10_000, &mut random);
    let cells: Vec<Vec<f64>> = (0..HOURS).map(|hour| feature.cells(shift(hour))).collect();
    let stepped = (0..HOURS).map(|hour| feature.cells(shift(hour) + 0.5)).collect();
    let groups = (0..HOURS)
        .map(|hour| {
            let mut slots = vec![0; feature.reference.counts.len()];
            add_rows(ROWS_PER_HOUR, &feature.slots(shift(hour)), &mut slots, &mut random);
            tidegate::detect::group_counts(&slots, &feature.reference.groups, feature.reference.group_count)
        })
        .collect();
    Week { cells, stepped, groups, feature }
}

/// Pages in 28 days of the sine, and whether a step after them is found within an hour.
fn run(seed: u64) -> (u64, bool) {
    let (week, mut random) = (week(seed), generator(seed + 1));
    let plan = AlarmPlan::new(&AlarmSettings::default(), FEATURES);
    let mut alarm = ColumnAlarm::new(&plan, &week.feature.reference).unwrap();
    let mut counts = vec![0; week.feature.reference.cells()];
    alarm.look(Duration::ZERO, &counts, &[]);
    let (mut pages, days) = (0, scale(3, 28));
    for hour in 0..=days * 24 {
        let start = Duration::from_hours(hour);
        let of_week = (hour % HOURS as u64) as usize;
        alarm.season(start, &week.groups[of_week], &counts);
        let is_stepped = hour == days * 24;
        let chances = if is_stepped { &week.stepped[of_week] } else { &week.cells[of_week] };
        for step in 1..=720 {
            add_rows(50, chances, &mut counts, &mut random);
            let at = start + Duration::from_secs(5 * step);
            if alarm.look(at, &counts, &[]).is_some() {
                if is_stepped {
                    return (pages, true);
                }
                pages += 1;
                alarm.restart(at, &counts);
            }
        }
    }
    (pages, false)
}

#[test]
fn a_daily_sine_pages_nobody_and_a_step_is_found_within_an_hour() {
    let runs = scale(4, 40);
    let outcomes = in_parallel(runs, |index| run(40 + 2 * index as u64));
    let pages: u64 = outcomes.iter().map(|(pages, _)| pages).sum();
    let found = outcomes.iter().filter(|(_, found)| *found).count();
    say(&format!(
        "| daily sine of 0.5 σ, {runs} features, {} days | {pages} pages | step of 0.5 σ found within an hour: {found} of {runs} |",
        scale(3, 28)
    ));
    assert!(pages == 0 && found == runs, "{pages} pages, {found} of {runs} found");
}

#[test]
fn without_its_hours_the_same_sine_is_drift() {
    let (week, mut random) = (week(40), generator(41));
    let plan = AlarmPlan::new(&AlarmSettings::default(), FEATURES);
    let mut alarm = ColumnAlarm::new(&plan, &week.feature.reference).unwrap();
    let mut counts = vec![0; week.feature.reference.cells()];
    alarm.look(Duration::ZERO, &counts, &[]);
    let paged = (1..=17_280_u64).any(|step| {
        add_rows(50, &week.cells[(step / 720) as usize], &mut counts, &mut random);
        alarm.look(Duration::from_secs(5 * step), &counts, &[]).is_some()
    });
    assert!(paged);
}
