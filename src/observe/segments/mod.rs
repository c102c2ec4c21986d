//! Drift split by who it happens to: a row's segment, and the counters of each.
//!
//! ```text
//!  feature  a row's own value ─▶ slot ─▶ segment     (a table, worked out when the version is loaded)
//!  header   the request's header ─▶ segment          (learned as values come; the first so many, then no more)
//! ```
//! A segment has the alarm cells of every column and a count of its rows. Every row of every answered request is counted
//! in one segment, as it is in the fine slots. What has no segment of its own is in the last one, [`OTHER`]: a value that
//! is not among those told apart, a missing value, a request without the header. Segments are laid out when a version is
//! loaded; other settings take effect when it is loaded the next time.
//!
//! Nothing is recorded, and no memory taken, where no segments are asked for.
//!
//! Invariant: the cells of a column, added up over all segments, count its values.

mod error;
mod header;
mod table;
#[cfg(test)]
mod tests;
mod text;

pub use error::SegmentError;
pub use text::OTHER;

use super::columns::{RecordPlan, Side, TensorPlan};
use super::counter::add_to_one;
use super::evidence::Evidence;
use crate::config::{SegmentSettings, SegmentSource};
use crate::profile::Profile;
use crate::sketch::ColumnLayout;
use crate::tensor::Tensor;
use header::HeaderValues;
use hyper::header::HeaderName;
use std::sync::atomic::AtomicU64;
use table::SegmentTable;

/// What the counters of a version's segments and the window over them may take together, bytes; beyond that there are
/// none. 100 columns of 16 cells with 64 segments take 18 MB on 16 workers.
pub const SEGMENT_MEMORY: usize = 64 << 20;

/// What the window over the segments takes for each counter, bytes: at most 17 slices of two bytes (15 parts, the newest,
/// and one more where the length is no multiple of 15), and the last reading. A counter that gains more than 65,535 within
/// a slice takes wider cells besides, which are not foreseen here: few do.
const WINDOW_BYTES: usize = 42;

/// The longest value of a header that is told apart, bytes; longer ones are other.
pub const MAX_VALUE_BYTES: usize = 128;

/// Where a request comes from: what it is worth to an alarm, and the header that says its segment.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// What it is worth to an alarm.
    pub evidence: Evidence,
    /// The value of the [header that segments are by](super::Recorder::segment_header), if the request has it; the first
    /// of several.
    pub header: Option<&'a [u8]>,
}

/// The counts of every segment, all workers together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SegmentTotals {
    /// The values that are told apart so far, as [text](OTHER) that is safe to show; values are added behind, never
    /// changed or removed.
    pub values: Vec<String>,
    /// For each segment that there may be its cells, in the order of [`Totals::cells`](super::Totals), and its rows;
    /// those of the values first, those of all others last.
    pub counts: Vec<u64>,
    /// Counters of one segment; 0 where there are no segments.
    pub stride: usize,
    /// The column whose values the segments are, by its index; none where they are a header's.
    pub column: Option<usize>,
}

/// How a version's rows are divided.
#[derive(Debug)]
pub(super) struct SegmentPlan {
    source: Source,
    /// Segments that there may be, the other included.
    segments: usize,
    /// Counters of one segment: its cells, and its rows.
    stride: usize,
}

#[derive(Debug)]
enum Source {
    Feature(SegmentTable),
    Header { name: HeaderName, values: HeaderValues },
}

/// The segments of a request's rows, and their counters.
#[derive(Debug)]
pub(super) struct RowSegments<'a> {
    counters: &'a [AtomicU64],
    stride: usize,
    by: By<'a>,
}

#[derive(Debug)]
enum By<'a> {
    /// All rows are of one segment.
    Request(usize),
    /// Each row by its value.
    Row { table: &'a SegmentTable, tensor: &'a Tensor, layout: &'a ColumnLayout, width: usize, rows: usize },
}

impl From<Evidence> for Origin<'_> {
    fn from(evidence: Evidence) -> Self {
        Self { evidence, header: None }
    }
}

impl SegmentTotals {
    /// The counters of a segment: that of a value by its index, that of all others at the index behind the last value.
    #[must_use]
    pub fn counts_of(&self, index: usize) -> &[u64] {
        let last = self.counts.len().saturating_sub(self.stride);
        let first = if index < self.values.len() { index * self.stride } else { last };
        self.counts.get(first..first + self.stride).unwrap_or_default()
    }

    /// How many segments there may be, the other included.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.counts.len().checked_div(self.stride).unwrap_or(0)
    }
}

impl SegmentPlan {
    pub(super) fn new(
        record: &RecordPlan,
        profile: Option<&Profile>,
        settings: &SegmentSettings,
        workers: usize,
    ) -> Result<Self, SegmentError> {
        let profile = profile.filter(|_| record.cells > 0).ok_or(SegmentError::NoReference)?;
        let source = match &settings.by {
            SegmentSource::Feature(name) => Source::Feature(SegmentTable::new(record, profile, name, settings)?),
            SegmentSource::Header(name) => {
                Source::Header { name: header::checked(name)?, values: HeaderValues::new(settings.max_values) }
            }
        };
        let values = match &source {
            Source::Feature(table) => table.values().len(),
            Source::Header { values, .. } => values.capacity(),
        };
        let (segments, stride) = (values + 1, record.cells + 1);
        let needed = segments.saturating_mul(stride).saturating_mul(size_of::<u64>() * workers + WINDOW_BYTES);
        if needed > SEGMENT_MEMORY {
            return Err(SegmentError::OverMemory { needed, limit: SEGMENT_MEMORY });
        }
        Ok(Self { source, segments, stride })
    }

    /// The header that rows are divided by, if they are by one.
    pub(super) fn header(&self) -> Option<&HeaderName> {
        match &self.source {
            Source::Feature(_) => None,
            Source::Header { name, .. } => Some(name),
        }
    }

    /// Counters of a worker.
    pub(super) fn counters(&self) -> usize {
        self.segments * self.stride
    }

    /// The segments of the rows of a request, whose inputs fit the plans.
    pub(super) fn rows<'a>(
        &'a self,
        counters: &'a [AtomicU64],
        header: Option<&[u8]>,
        inputs: (&'a [TensorPlan], &'a [Tensor]),
    ) -> RowSegments<'a> {
        let other = self.segments - 1;
        let by = match &self.source {
            Source::Header { values, .. } => By::Request(header.map_or(other, |value| values.segment_of(value))),
            Source::Feature(table) => match (inputs.0.get(table.tensor), inputs.1.get(table.tensor)) {
                (Some(plan), Some(tensor)) => By::Row {
                    table,
                    tensor,
                    layout: &plan.columns[table.position].layout,
                    width: plan.columns.len(),
                    rows: plan.rows(tensor),
                },
                _ => By::Request(other),
            },
        };
        RowSegments { counters, stride: self.stride, by }
    }

    /// Totals in which nothing is counted yet.
    pub(super) fn no_totals(&self) -> SegmentTotals {
        let (values, column) = match &self.source {
            Source::Feature(table) => (table.values().to_vec(), Some(table.column)),
            Source::Header { values, .. } => (values.texts(), None),
        };
        SegmentTotals { values, counts: vec![0; self.counters()], stride: self.stride, column }
    }
}

impl RowSegments<'_> {
    /// Where the counters of a row's segment start.
    pub(super) fn start_of(&self, row: usize) -> u32 {
        let segment = match self.by {
            By::Request(segment) => segment,
            By::Row { table, tensor, layout, width, rows } => {
                // The one row of a tensor that is not batched stands for all rows of the others.
                let position = row.min(rows.saturating_sub(1)) * width + table.position;
                table.segment_of(tensor, layout, position)
            }
        };
        (segment * self.stride) as u32
    }

    /// Counts rows.
    pub(super) fn count_rows(&self, rows: usize) {
        let last = self.stride - 1;
        let count = |start: u32, rows: u64| add_to_one(&self.counters[start as usize + last], rows);
        match self.by {
            By::Request(_) => count(self.start_of(0), rows as u64),
            By::Row { .. } => (0..rows).for_each(|row| count(self.start_of(row), 1)),
        }
    }

    /// Counts a value in its alarm cell, for the segment that starts there.
    #[inline]
    pub(super) fn count(&self, start: u32, cell: u32) {
        add_to_one(&self.counters[(start + cell) as usize], 1);
    }
}

/// The recorded input column of this name: its index, its tensor and its position in it.
fn find_input(record: &RecordPlan, name: &str) -> Option<(usize, usize, usize)> {
    let column = record.columns.iter().position(|column| column.side == Side::Input && column.name == name)?;
    let mut before = 0;
    for (tensor, plan) in record.inputs.iter().enumerate() {
        if column < before + plan.columns.len() {
            return Some((column, tensor, column - before));
        }
        before += plan.columns.len();
    }
    None
}
