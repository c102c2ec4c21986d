//! What is worked out of the primary window only when somebody asks.
//!
//! The look of every second needs of all intervals those of its alarms alone; the others would be computed for nobody
//! nearly always. So they are for whoever reads `/drift` or a report, from the counters that the look saw.
//!
//! Invariant: nothing is judged here, and where the look found no distances there are no details.

use super::board::{ColumnReport, VersionReport};
use super::column::live;
use super::measure::reference_groups;
use crate::detect::{Intervals, chi_square_effect};
use crate::observe::RecordedColumn;

/// What can be said of a column's distances over the primary window besides the distances.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Detail {
    /// Chi-square per row over the coarse groups, which does not grow with the window; see [`chi_square_effect`].
    pub chi_square: Option<f64>,
    /// 95 % intervals of all distances.
    pub intervals: Option<Intervals>,
}

impl VersionReport {
    /// The details of column `index`. `columns` are the version's, in the judge's order; those of a version that was loaded
    /// anew since the look may be others, of which there is nothing to say.
    #[must_use]
    pub fn detail(&self, index: usize, columns: &[RecordedColumn]) -> Detail {
        self.find_detail(index, columns).unwrap_or_default()
    }

    fn find_detail(&self, index: usize, columns: &[RecordedColumn]) -> Option<Detail> {
        let shown: &ColumnReport = self.columns.get(index).filter(|shown| shown.distances.is_some())?;
        let column = columns.get(index).filter(|column| column.name == shown.name && column.side == shown.side)?;
        let reference = column.reference.as_ref()?;
        let (counts, sums) = (&self.primary.counts, &self.primary.sums);
        let live = live(counts.get(shown.counters.clone())?, sums.get(shown.sums.clone())?);
        let intervals = Intervals::between(reference, &live)?;
        Some(Detail {
            chi_square: chi_square_effect(&reference_groups(reference), &shown.groups),
            intervals: Some(intervals),
        })
    }
}
