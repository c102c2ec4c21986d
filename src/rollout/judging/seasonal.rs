//! Evidence of a column of predictions after promotion, hour by hour where hours have references.
//!
//! Three hours of traffic are not what the third hour is like, and comparing all that was counted with the present hour's
//! reference would take the first two for the version's fault, or hide it. Nor is a mixture of the references by what was
//! counted in each a null that holds at every moment. So each hour is judged by itself and the evidence is a product:
//! ```text
//!   E  =  E(all that was counted in hours without a reference, stable's region)
//!         ×  Π over hours with one   min( E(that hour, stable's region), E(that hour, the hour's region) )
//! ```
//! If the version is in order, then in each hour its laws are, given the past, in one of the two regions, and the smaller
//! evidence is at most the one against that region: a test supermartingale over the events of the hour, since regions are
//! convex and laws may move within them. Hours have no event in common, so that the product is one as well. It costs a few
//! logarithms an hour that every hour is learned anew; a start at each hour ([`super::starts`]) bounds what good hours can
//! outweigh.
//!
//! # What a reference is worth
//! Its counts are rows, of which a request may have many; events are one row of a request. Rows of one request are taken
//! for no more than one that is independent: whoever makes a reference has thinned its counts to as many as there were
//! requests. Where large requests answer otherwise than small ones, where the same users come again and again, or where an
//! hour differs from week to week by more than the tolerance, the reference is beside the truth, and then it is of no use.
//! It does no harm either: what is in order by stable's own counts is so whatever a reference says.
//!
//! A version is in order that is like either. So a fault which undoes what the day does is not found in that hour.
//!
//! Half of the risk is stable's, and half is shared by all references that there can be: an hour of the week may have one
//! of the profile's rows and one that was learned, and each may be unlucky. References of few rows would have regions that
//! hold nearly everything; they are not used.
//!
//! Invariant: without references it is the evidence against stable's region alone, with all of the risk.

use crate::detect::alarm::ColumnRegion;
use crate::observe::HOURS;

/// References that there can be: two for each hour of the week.
const REFERENCES: f64 = 2.0 * HOURS as f64;
/// Rows of a reference, at least: chance alone then reaches a PSI of about a tenth in fourteen cells.
const LEAST_ROWS: u64 = 500;

/// The evidence of a column.
pub(super) struct Hours<'a> {
    cells: usize,
    stable: ColumnRegion,
    rows: Vec<Row<'a>>,
}

/// Counts by cell.
pub(super) struct Row<'a> {
    counts: &'a [u64],
    /// ln of the evidence of these counts, where their hour has a reference.
    of_hour: Option<f64>,
}

impl<'a> Hours<'a> {
    /// The evidence of counts by cell, each with the reference of its hour, against `stable` counts of which so many cells
    /// are in order. All regions together miss with a chance of `risk`; the tolerance is a PSI.
    pub(super) fn new(
        (stable, ordered): (&[u64], usize),
        rows: &[(&'a [u64], &[u64])],
        (risk, tolerance): (f64, f64),
    ) -> Self {
        // What the first hour has decides, before anything was counted: one that is learned meanwhile is not paid for.
        let is_seasonal = rows.first().is_some_and(|(_, reference)| !reference.is_empty());
        let half = if is_seasonal { risk / 2.0 } else { risk };
        let region = |counts: &[u64], risk: f64| ColumnRegion::of_counts(counts, ordered, risk, tolerance);
        let (cells, of_stable) = (stable.len(), region(stable, half));
        let row = |(counts, reference): &(&'a [u64], &[u64])| {
            let is_used = is_seasonal && reference.len() == cells && total(reference) >= LEAST_ROWS;
            let is_counted = total(counts) > 0;
            let of_hour = is_used.then(|| match is_counted {
                true => {
                    let counts = fitted(counts, cells);
                    of_stable.ln_evidence(&counts).min(region(reference, half / REFERENCES).ln_evidence(&counts))
                }
                false => 0.0,
            });
            Row { counts, of_hour }
        };
        let rows = rows.iter().map(row).collect();
        Self { cells, stable: of_stable, rows }
    }

    pub(super) fn rows(&self) -> &[Row<'a>] {
        &self.rows
    }

    /// ln of the evidence of some of the rows; −∞ where nothing was counted.
    pub(super) fn ln_evidence(&self, rows: &[Row<'_>]) -> f64 {
        let others = rows.iter().filter(|row| row.of_hour.is_none());
        let mut sums = vec![0_u64; self.cells];
        for row in others {
            sums.iter_mut().zip(row.counts).for_each(|(sum, count)| *sum = sum.saturating_add(*count));
        }
        let is_seasonal = rows.iter().any(|row| row.of_hour.is_some());
        let of_hours: f64 = rows.iter().filter_map(|row| row.of_hour).sum();
        if is_seasonal && total(&sums) == 0 { of_hours } else { of_hours + self.stable.ln_evidence(&sums) }
    }
}

/// Counts by as many cells as asked for.
fn fitted(counts: &[u64], cells: usize) -> Vec<u64> {
    counts.iter().copied().chain(std::iter::repeat(0)).take(cells).collect()
}

fn total(counts: &[u64]) -> u64 {
    counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
}
