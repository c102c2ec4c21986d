//! The primary window by segment: which part of the traffic differs from the reference.
//!
//! For reading, and never for paging: the budget of false pages is divided among the columns of a version, and segments
//! have no share of it. Dozens of them, each with every column, would leave so little to each that real drift of the
//! whole would be found late. Whoever is paged, or sees the whole shift a little, finds here where it comes from.
//!
//! A segment is compared with the reference of all rows, since a profile has no other; one that has always been
//! different from the rest shows that difference. The column that rows are divided by is left out: within a segment it
//! has one value, and its distance would say so and nothing else.
//!
//! Windows over segments start anew with the process: they are as long as the primary window and full again as soon.
//!
//! Invariant: without segments nothing is kept and nothing is computed.

use super::board::{SegmentColumn, SegmentReport};
use super::measure::{Measure, measure, reference_groups};
use crate::config::DriftSettings;
use crate::detect::Verdict;
use crate::observe::{OTHER, RecordedColumn, SegmentTotals, Window};
use std::ops::Range;

/// The window over a version's segments.
#[derive(Debug, Default)]
pub(super) struct SegmentWatch(Option<Watched>);

#[derive(Debug)]
struct Watched {
    /// Groups of every segment that there may be, and its rows behind them.
    window: Window,
    columns: Vec<Compared>,
    /// The group of each cell, among those of all columns.
    group_of_cell: Box<[u32]>,
    groups: usize,
}

/// A column that is compared.
#[derive(Debug)]
struct Compared {
    column: usize,
    groups: Range<usize>,
    /// The reference by group.
    expected: Vec<u64>,
}

impl SegmentWatch {
    /// Takes in the totals of `at`, monotonic unix time, and looks at every segment.
    pub(super) fn look(
        &mut self,
        at: std::time::Duration,
        columns: &[RecordedColumn],
        totals: &SegmentTotals,
        drift: &DriftSettings,
    ) -> Vec<SegmentReport> {
        if totals.stride == 0 {
            return Vec::new();
        }
        let watched = self.0.get_or_insert_with(|| Watched::new(columns, totals, drift));
        let reading = watched.reading(totals);
        if watched.window.length() != drift.window {
            watched.window = Window::new(drift.window, reading.clone(), Vec::new());
        }
        watched.window.roll(at, &reading, &[]);
        watched.report(totals, drift)
    }

    /// Bytes that it holds.
    pub(super) fn resident_bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |watched| watched.window.resident_bytes() + size_of_val(&*watched.group_of_cell))
    }
}

impl Watched {
    fn new(columns: &[RecordedColumn], totals: &SegmentTotals, drift: &DriftSettings) -> Self {
        let (mut groups, mut group_of_cell) = (0, vec![0; totals.stride - 1]);
        let mut compared = Vec::new();
        for (index, column) in columns.iter().enumerate() {
            let Some(reference) = &column.reference else { continue };
            for cell in 0..column.cells.len() {
                group_of_cell[column.cells.start + cell] = (groups + reference.group_of_cell(cell)) as u32;
            }
            let of_column = groups..groups + reference.group_count;
            groups = of_column.end;
            if totals.column != Some(index) {
                compared.push(Compared { column: index, groups: of_column, expected: reference_groups(reference) });
            }
        }
        // What was served before the first look belongs to the window.
        let window = Window::new(drift.window, vec![0; totals.capacity() * (groups + 1)], Vec::new());
        Self { window, columns: compared, group_of_cell: group_of_cell.into(), groups }
    }

    /// The totals by group.
    fn reading(&self, totals: &SegmentTotals) -> Vec<u64> {
        let mut reading = vec![0_u64; totals.capacity() * (self.groups + 1)];
        let segments = totals.counts.chunks(totals.stride).zip(reading.chunks_mut(self.groups + 1));
        for (counts, groups) in segments {
            for (&count, &group) in counts.iter().zip(&self.group_of_cell) {
                groups[group as usize] = groups[group as usize].wrapping_add(count);
            }
            groups[self.groups] = counts[totals.stride - 1];
        }
        reading
    }

    fn report(&self, totals: &SegmentTotals, drift: &DriftSettings) -> Vec<SegmentReport> {
        let counts = self.window.counts();
        let mut segments = counts.chunks(self.groups + 1);
        let others = segments.next_back();
        let named = totals.values.iter().map(String::as_str).zip(segments);
        let others = others.map(|counts| (OTHER, counts));
        named.chain(others).map(|(value, counts)| self.report_one(value, counts, drift)).collect()
    }

    fn report_one(&self, value: &str, counts: &[u64], drift: &DriftSettings) -> SegmentReport {
        let columns = self.columns.iter().map(|compared| {
            let measure = measure(Some(&compared.expected), &counts[compared.groups.clone()]);
            SegmentColumn { column: compared.column, verdict: verdict(&measure, drift), measure }
        });
        SegmentReport { value: value.to_owned(), samples: counts[self.groups], columns: columns.collect() }
    }
}

/// The verdict of the rule of excess, whatever the preset: the others' tests are of columns as a whole.
fn verdict(measure: &Measure, drift: &DriftSettings) -> Verdict {
    match measure.distances.filter(|_| measure.samples >= drift.min_samples) {
        None => Verdict::NotEnoughData,
        Some(distances) if distances.excess > drift.threshold => Verdict::Drift,
        Some(_) => Verdict::Ok,
    }
}
