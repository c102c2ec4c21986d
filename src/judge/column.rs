//! One column under watch: its alarm, and its distances over every window.
//!
//! Invariant: a column without a reference has counts of rows and nothing else.

use super::alarm::{ColumnAlarm, Counted, Measured};
use super::board::ColumnReport;
use super::measure::{Measure, measure, measure_weights, reference_groups};
use super::quality::quality;
use crate::config::{DriftPreset, DriftSettings};
use crate::detect::{Distances, Rule, judge_column};
use crate::observe::{RecordedColumn, WindowCounts, Windows};
use crate::sketch::{Live, Reference, SUMS};
use std::time::Duration;

/// What is kept of a column between two looks, besides its windows.
#[derive(Clone, Debug)]
pub(super) struct ColumnWatch {
    pub(super) alarm: ColumnAlarm,
}

/// Evidence is weighed for show in so many turns, a look each.
pub(super) const TURNS: usize = 16;

/// What the windows say at one moment, for all columns.
pub(super) struct Seen<'a> {
    pub(super) at: Duration,
    pub(super) windows: &'a Windows,
    pub(super) primary: WindowCounts,
    pub(super) sliding: Vec<WindowCounts>,
    /// Group counts of the hour of the week, if they are known.
    pub(super) season: Option<Vec<u64>>,
    /// Whose turn it is to weigh evidence.
    pub(super) turn: usize,
}

impl<'a> Seen<'a> {
    pub(super) fn new(at: Duration, windows: &'a Windows) -> Self {
        let (primary, sliding) = (windows.primary(), windows.sliding().collect());
        let turn = usize::try_from(at.as_secs()).unwrap_or(0) % TURNS;
        Self { at, windows, primary, sliding, season: windows.season(), turn }
    }
}

impl ColumnWatch {
    /// Looks at column `index`, which is `column`.
    pub(super) fn look(
        &mut self,
        (index, column): (usize, &RecordedColumn),
        seen: &Seen<'_>,
        settings: &DriftSettings,
        counted: Counted<'_>,
    ) -> ColumnReport {
        let plan = seen.windows.plan();
        let (counters, groups) = (plan.column(index), plan.column_groups(index));
        let rule = rule(settings);
        let live = live(&seen.primary.counts[counters.clone()], &seen.primary.sums[plan.column_sums(index)]);
        let judged = judge_column(column.reference.as_ref(), &live, &rule);
        let expected = column.reference.as_ref().map(reference_groups);
        let expected = expected.as_deref();
        let season = season(column.reference.as_ref(), seen, index).map(|season| {
            let live = plan.group_column(index, &seen.primary.counts);
            measure(Some(&season), &live)
        });
        let by_season = season.and_then(|season| season.distances).map(|distances| distances.excess);
        let excess = by_season.or(judged.excess);
        let measured = Measured {
            has_reference: has_rows(column),
            samples: judged.samples,
            excess,
            verdict: judged.verdict,
            defects: defect_shares(column, live.counts),
        };
        let mut windows: Vec<Measure> = Vec::with_capacity(seen.sliding.len() + 2);
        windows.extend(seen.sliding.iter().map(|window| measure(expected, &window.counts[groups.clone()])));
        windows.push(measure(expected, &plan.group_column(index, seen.windows.since_deploy().0)));
        windows.push(measure_weights(expected, &seen.windows.decayed().1[groups]));
        ColumnReport {
            name: column.name.clone(),
            side: column.side,
            samples: judged.samples,
            counters,
            sums: plan.column_sums(index),
            groups: plan.group_column(index, &seen.primary.counts),
            distances: judged.distances,
            excess,
            season,
            windows,
            since_deploy: self::since_deploy(column.reference.as_ref(), seen, index),
            verdict: self.alarm.look(seen.at, &measured, settings, counted),
            outcome: judged.outcome,
            finding: self.alarm.finding().cloned(),
            defect: self.alarm.defect().cloned(),
            evidence: self.alarm.evidence(seen.turn == index % TURNS, counted),
            critical: column.critical || settings.critical.contains(&column.name),
            quality: quality(column, live.counts),
        }
    }
}

/// What the preset makes of the window's counters. The default preset's verdict is its alarm's; the excess is shown.
fn rule(settings: &DriftSettings) -> Rule {
    let min_samples = settings.min_samples;
    match settings.preset {
        DriftPreset::Default => Rule::Excess { threshold: settings.threshold, min_samples },
        DriftPreset::Classic => Rule::Classic { min_samples },
        DriftPreset::Evidently => Rule::Evidently { min_samples },
    }
}

/// A reference without rows is none.
pub(super) fn has_rows(column: &RecordedColumn) -> bool {
    column.reference.as_ref().is_some_and(|reference| reference.counts.iter().any(|&count| count > 0))
}

/// What traffic of the window's hours of the week looks like, by group: as the profile says, else as was learned.
fn season(reference: Option<&Reference>, seen: &Seen<'_>, index: usize) -> Option<Vec<u64>> {
    let counts = reference.and_then(|reference| profile_season(reference, &seen.windows.hours()));
    counts.or_else(|| {
        reference?;
        Some(seen.season.as_ref()?[seen.windows.plan().column_groups(index)].to_vec())
    })
}

/// The group counts of a profile that has them, mixed by the shares of these hours.
pub(super) fn profile_season(reference: &Reference, hours: &[(usize, f64)]) -> Option<Vec<u64>> {
    let seasons = reference.seasons.as_ref()?;
    let mut mixed = vec![0.0; reference.group_count];
    for &(hour, share) in hours {
        for (mixed, &count) in mixed.iter_mut().zip(seasons.get(hour)?) {
            *mixed += share * count as f64;
        }
    }
    Some(mixed.into_iter().map(|count| count.round() as u64).collect())
}

/// Shares of rows with each of [`Cause::DEFECTS`](crate::detect::alarm::Cause::DEFECTS).
fn defect_shares(column: &RecordedColumn, counts: &[u64]) -> [f64; 4] {
    let rows: u64 = counts.iter().sum();
    let Some(order) = column.order.filter(|order| order.count() == counts.len() && rows > 0) else { return [0.0; 4] };
    let infinite = counts[order.negative_infinite()] + counts[order.positive_infinite()];
    let outside = counts[order.below()] + counts[order.above()];
    let unseen = order.unseen().map_or(0, |slot| counts[slot]);
    [counts[order.missing()], infinite, outside, unseen].map(|count| count as f64 / rows as f64)
}

fn since_deploy(reference: Option<&Reference>, seen: &Seen<'_>, index: usize) -> Option<Distances> {
    let (counts, sums) = seen.windows.since_deploy();
    let plan = seen.windows.plan();
    Distances::between(reference?, &live(&counts[plan.column(index)], &sums[plan.column_sums(index)]))
}

/// A column's counters and wrapping sums as what a reference is compared with.
pub(super) fn live<'a>(counts: &'a [u64], sums: &[u64]) -> Live<'a> {
    let mut live_sums = [0_i64; SUMS];
    for (live, &sum) in live_sums.iter_mut().zip(sums) {
        *live = sum.cast_signed();
    }
    Live { counts, sums: live_sums }
}
