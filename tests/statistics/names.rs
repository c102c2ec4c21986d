//! Which features are named: when ten of a hundred drift, the others are left alone.

use super::streams::{Dependence, Feature, Law, Stream, add_rows};
use super::support::{generator, in_parallel, say, scale, upper_limit};
use std::time::Duration;
use tidegate::detect::alarm::{AlarmPlan, AlarmSettings, ColumnAlarm};

const FEATURES: usize = 100;
const DRIFTED: usize = 10;

/// Whether a feature is named within an hour at a hundred rows a second.
fn is_named(index: usize, run: usize) -> bool {
    let mut random = generator((run * FEATURES + index) as u64 + 5_000_000);
    let feature = Feature::new(Law::Normal, 10_000, &mut random);
    let plan = AlarmPlan::new(&AlarmSettings::default(), FEATURES);
    let mut alarm = ColumnAlarm::new(&plan, &feature.reference).unwrap();
    let mut stream = Stream::new(&feature, Dependence::Independent);
    let changed = feature.cells(0.5);
    alarm.look(Duration::ZERO, &stream.counts, &[]);
    (1..=3_600_u64).any(|second| {
        // The change comes after ten minutes.
        if index < DRIFTED && second > 600 {
            add_rows(100, &changed, &mut stream.counts, &mut random);
        } else {
            stream.advance(100, &mut random);
        }
        alarm.look(Duration::from_secs(second), &stream.counts, &[]).is_some()
    })
}

#[test]
fn features_that_did_not_drift_are_not_named() {
    let runs = scale(4, 200);
    let named = in_parallel(runs * FEATURES, |index| is_named(index % FEATURES, index / FEATURES));
    let of = |drifted: bool| {
        named.iter().enumerate().filter(|(index, named)| **named && (index % FEATURES < DRIFTED) == drifted).count()
    };
    let (right, wrong) = (of(true), of(false));
    let share = wrong as f64 / (right + wrong).max(1) as f64;
    let limit = upper_limit(wrong as u64) / (right + wrong).max(1) as f64;
    say(&format!(
        "| 10 of 100 drifted by 0.5 σ, {runs} runs | named rightly {right} of {} | wrongly {wrong} | share {share:.4} | upper limit {limit:.4} |",
        runs * DRIFTED
    ));
    assert!(right == runs * DRIFTED && share <= 0.05, "{right} right, {wrong} wrong");
}
