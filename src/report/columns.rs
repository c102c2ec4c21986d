//! One column of a report.
//!
//! Invariant: a column without a reference has its count of values and nothing to compare it with.

use super::alarm::alarm;
use super::build::{Options, Subject};
use super::groups::groups;
use super::parts::{ColumnPart, Defect, Distance, GroupDistances, Measured, WindowPart};
use super::text::{coarse, length_name, rounded};
use crate::config::DriftPreset;
use crate::detect::{Interval, Outcome};
use crate::judge::{ColumnReport, Detail, Measure, VersionReport, WindowInfo};
use crate::observe::{RecordedColumn, Side};
use crate::profile::Column;
use crate::sketch::Slots;
use std::time::Duration;

/// What there is to say of column `index`.
pub(super) fn column(subject: &Subject<'_>, index: usize, shown: &ColumnReport, options: &Options) -> ColumnPart {
    // A version that was loaded anew since the judge looked may have other columns.
    let recorded = subject.columns.get(index).filter(|recorded| recorded.name == shown.name);
    let profiled = profiled(subject, shown);
    let reference = recorded.and_then(|recorded| recorded.reference.as_ref());
    ColumnPart {
        name: shown.name.clone(),
        side: if shown.side == Side::Input { "feature" } else { "output" }.to_owned(),
        kind: profiled.map(|profiled| profiled.kind),
        critical: shown.critical,
        verdict: shown.verdict,
        alarm: shown.raised().next().map(alarm),
        evidence: shown.evidence.map(|(now, threshold)| [rounded(now), rounded(threshold)]),
        outcome: shown
            .outcome
            .filter(|_| subject.judged.settings.drift.preset != DriftPreset::Default)
            .map(rounded_outcome),
        samples: shown.samples,
        psi_excess: shown.excess.map(rounded),
        distances: distances(subject, index, shown),
        windows: windows(subject.judged, shown),
        groups: match (profiled, reference) {
            (Some(profiled), Some(reference)) => groups(profiled, reference, &shown.groups, options.names),
            _ => Vec::new(),
        },
        defects: recorded.map(|recorded| defects(subject.judged, shown, recorded)).unwrap_or_default(),
        drift: subject.judged.history.column(index).map(|value| value.map(coarse)).collect(),
    }
}

fn rounded_outcome(found: Outcome) -> Outcome {
    Outcome { statistic: rounded(found.statistic), p_value: found.p_value.map(rounded), ..found }
}

/// The column of the profile that it is compared with.
fn profiled<'a>(subject: &Subject<'a>, shown: &ColumnReport) -> Option<&'a Column> {
    let profile = subject.profile?;
    let columns = if shown.side == Side::Input { &profile.inputs } else { &profile.outputs };
    columns.iter().find(|column| column.name == shown.name)
}

/// The column's counters of the primary window.
fn counters<'a>(judged: &'a VersionReport, shown: &ColumnReport) -> &'a [u64] {
    judged.primary.counts.get(shown.counters.clone()).unwrap_or_default()
}

fn distances(subject: &Subject<'_>, index: usize, shown: &ColumnReport) -> Vec<Distance> {
    let Some(found) = &shown.distances else { return Vec::new() };
    let Detail { chi_square, intervals } = subject.judged.detail(index, subject.columns);
    let distance = |name: &str, value: Option<f64>, interval: Option<Interval>| {
        Some(Distance {
            name: name.to_owned(),
            value: rounded(value?),
            low: interval.map(|interval| coarse(interval.low)),
            high: interval.map(|interval| coarse(interval.high)),
            error: None,
        })
    };
    let wasserstein = distance("wasserstein", found.wasserstein, intervals.and_then(|all| all.wasserstein));
    let error = found.wasserstein_error.map(coarse);
    let all = [
        distance("psi", Some(found.psi), intervals.map(|all| all.psi)),
        distance("js", Some(found.js), intervals.map(|all| all.js)),
        distance("ks", found.ks, intervals.and_then(|all| all.ks)),
        wasserstein.map(|distance| Distance { error, ..distance }),
        distance("tv", Some(found.tv), intervals.map(|all| all.tv)),
        distance("l_infinity", Some(found.l_infinity), intervals.map(|all| all.l_infinity)),
        distance("hellinger", Some(found.hellinger), intervals.map(|all| all.hellinger)),
        distance("chi_square", chi_square, intervals.map(|all| all.chi_square)),
    ];
    all.into_iter().flatten().collect()
}

fn windows(judged: &VersionReport, shown: &ColumnReport) -> Vec<Measured> {
    let others = judged.windows.iter().zip(&shown.windows);
    let others = others.map(|(info, measure)| measured(window(info).name, measure));
    others.chain(shown.season.iter().map(|measure| measured("season".to_owned(), measure))).collect()
}

fn measured(window: String, measure: &Measure) -> Measured {
    let distances = measure.distances.as_ref().map(|found| GroupDistances {
        psi: rounded(found.psi),
        psi_excess: rounded(found.excess),
        js: rounded(found.js),
        tv: rounded(found.tv),
    });
    Measured { window, samples: measure.samples, distances }
}

/// What a window covers.
pub(super) fn window(info: &WindowInfo) -> WindowPart {
    let seconds = |length: Duration| Some(rounded(length.as_secs_f64()));
    let (name, seconds, resolution_seconds) = match *info {
        WindowInfo::Sliding { length, resolution } => (length_name(length), seconds(length), seconds(resolution)),
        WindowInfo::SinceDeploy => ("since_deploy".to_owned(), None, None),
        WindowInfo::Decayed { half_life } => ("decayed".to_owned(), seconds(half_life), None),
    };
    WindowPart { name, seconds, resolution_seconds }
}

fn defects(judged: &VersionReport, shown: &ColumnReport, recorded: &RecordedColumn) -> Vec<Defect> {
    let (Some(order), Some(reference)) = (recorded.order, &recorded.reference) else { return Vec::new() };
    let live = counters(judged, shown);
    if live.len() != order.count() || reference.counts.len() != order.count() {
        return Vec::new();
    }
    let share = |count: u64, total: u64| if total == 0 { 0.0 } else { count as f64 / total as f64 };
    let (rows, expected_rows) =
        (shown.samples, reference.counts.iter().fold(0_u64, |sum, &more| sum.saturating_add(more)));
    let defects = slots_of_defects(order).into_iter().map(|(kind, slots)| {
        let sum = |counts: &[u64]| slots.iter().fold(0_u64, |sum, &slot| sum.saturating_add(counts[slot]));
        let (found, expected) = (sum(live), sum(&reference.counts));
        let (live_share, reference_share) = (rounded(share(found, rows)), rounded(share(expected, expected_rows)));
        Defect { kind: kind.to_owned(), live: found, live_share, reference_share }
    });
    defects.filter(|defect| defect.live > 0 || defect.reference_share > 0.0).collect()
}

/// The counters of each kind of defect, by the kind's name in `/metrics`.
fn slots_of_defects(order: Slots) -> Vec<(&'static str, Vec<usize>)> {
    let mut defects = vec![
        ("missing", vec![order.missing()]),
        ("infinite", vec![order.negative_infinite(), order.positive_infinite()]),
    ];
    match order.unseen() {
        Some(unseen) => defects.push(("unseen_category", vec![unseen])),
        None => defects.extend([("below_range", vec![order.below()]), ("above_range", vec![order.above()])]),
    }
    defects
}
