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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Side;
    use crate::sketch::Reference;
    use std::time::Duration;

    const GROUPS: usize = 4;
    const CELLS: usize = GROUPS + 2;
    const ROWS: usize = 2 * CELLS;

    /// Two columns of four equally likely groups, the first of which divides rows, and one without a reference.
    fn columns() -> Vec<RecordedColumn> {
        let reference = Reference {
            counts: vec![1_000; GROUPS],
            groups: (0..GROUPS as u8).collect(),
            group_count: GROUPS,
            ordered: Some(0..GROUPS),
            ..Reference::default()
        };
        let column = |index: usize, reference: Option<Reference>| RecordedColumn {
            name: format!("column {index}"),
            side: Side::Input,
            slots: index * GROUPS..(index + 1) * GROUPS,
            sums: 0..0,
            cells: if reference.is_some() { index * CELLS..(index + 1) * CELLS } else { ROWS..ROWS },
            reference,
            order: None,
            critical: false,
        };
        vec![column(0, Some(reference.clone())), column(1, Some(reference)), column(2, None)]
    }

    fn totals(values: &[&str]) -> SegmentTotals {
        let stride = ROWS + 1;
        let values: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
        SegmentTotals { values, counts: vec![0; 4 * stride], stride, column: Some(0) }
    }

    /// Counts rows of a segment by the group, of the second column, that they are in.
    fn count(totals: &mut SegmentTotals, segment: usize, groups: [u64; GROUPS]) {
        let counts = &mut totals.counts[segment * (ROWS + 1)..];
        // The outermost values are beyond the edges.
        let cells = [GROUPS, 1, 2, GROUPS + 1];
        cells.iter().zip(groups).for_each(|(cell, rows)| counts[CELLS + cell] += rows);
        counts[ROWS] += groups.iter().sum::<u64>();
    }

    fn verdicts(reports: &[SegmentReport]) -> Vec<(&str, u64, Verdict)> {
        reports.iter().map(|report| (report.value.as_str(), report.samples, report.columns[0].verdict)).collect()
    }

    #[test]
    fn without_segments_nothing_is_kept() {
        let mut watch = SegmentWatch::default();
        let reports = watch.look(Duration::ZERO, &columns(), &SegmentTotals::default(), &DriftSettings::default());
        assert_eq!((reports, watch.resident_bytes()), (Vec::new(), 0));
    }

    #[test]
    fn only_the_segment_that_shifted_drifts() {
        let (mut watch, mut totals) = (SegmentWatch::default(), totals(&["a", "b"]));
        count(&mut totals, 0, [100, 100, 100, 100]);
        count(&mut totals, 1, [10, 10, 10, 370]);
        count(&mut totals, 3, [50, 50, 50, 49]);
        let reports = watch.look(Duration::from_secs(1), &columns(), &totals, &DriftSettings::default());
        let expected = [("a", 400, Verdict::Ok), ("b", 400, Verdict::Drift), (OTHER, 199, Verdict::NotEnoughData)];
        assert_eq!(verdicts(&reports), expected);
        assert!(reports.iter().all(|report| report.columns.len() == 1 && report.columns[0].column == 1));
        let distances = reports[1].columns[0].measure.distances.unwrap();
        // (0.925 − 0.25) ln 3.7 + 3 (0.025 − 0.25) ln 0.1
        assert!((distances.psi - 2.437_369_6).abs() < 1e-6 && (distances.tv - 0.675).abs() < 1e-12, "{distances:?}");
        assert!(reports[2].columns[0].measure.distances.is_some(), "distances are shown before there is a verdict");
    }

    #[test]
    fn a_segment_forgets_what_is_older_than_the_window_and_later_values_join() {
        let (mut watch, mut totals) = (SegmentWatch::default(), totals(&["a"]));
        let (columns, mut drift) = (columns(), DriftSettings::default());
        let mut look = |second, totals: &SegmentTotals, drift: &DriftSettings| {
            watch.look(Duration::from_secs(second), &columns, totals, drift)
        };
        count(&mut totals, 0, [400, 0, 0, 0]);
        assert_eq!(
            verdicts(&look(1, &totals, &drift)),
            [("a", 400, Verdict::Drift), (OTHER, 0, Verdict::NotEnoughData)]
        );
        totals.values.push("b".into());
        count(&mut totals, 1, [75; GROUPS]);
        let reports = look(1_000, &totals, &drift);
        let expected = [("a", 0, Verdict::NotEnoughData), ("b", 300, Verdict::Ok), (OTHER, 0, Verdict::NotEnoughData)];
        assert_eq!(verdicts(&reports), expected);
        drift.window = Duration::from_secs(60);
        count(&mut totals, 1, [1; GROUPS]);
        assert_eq!(look(1_001, &totals, &drift)[1].samples, 0, "another window starts from what was counted");
        count(&mut totals, 1, [1; GROUPS]);
        assert_eq!(look(1_002, &totals, &drift)[1].samples, 4);
    }
}
