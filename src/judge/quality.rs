//! What is wrong with a column's values, over the primary window.
//!
//! Totals since the load are counters of their own and exported; here is what they were lately, as shares, for whoever
//! looks. It sets off nothing here: missing, unseen and out-of-range values are alarm cells, whose alarms have a budget.
//! That a column no longer varies has no alarm of its own: it is exported, for a rule of Prometheus' to wait until it has
//! lasted, and it is drift when the distance from the reference passes the alarm's floor, which it does not where the
//! reference hardly varies itself.
//!
//! Invariant: defects are counted among the samples, so that a share is at most 1.

use super::board::ColumnQuality;
use crate::detect::{CONSTANT_EVIDENCE, constant_evidence};
use crate::observe::RecordedColumn;

/// Looks at the window's counters of a column. None without a reference: the window then counts values and no more.
pub(super) fn quality(column: &RecordedColumn, counts: &[u64]) -> Option<ColumnQuality> {
    let reference = column.reference.as_ref()?;
    let evidence = constant_evidence(&reference.counts, counts);
    Some(ColumnQuality {
        samples: counts.iter().fold(0, |sum, &count| sum.saturating_add(count)),
        defects: column.defects_among(counts),
        constant: evidence.is_some_and(|evidence| evidence > CONSTANT_EVIDENCE),
    })
}

impl ColumnQuality {
    /// Whether the column is constant, where there are enough values to say so to somebody who did not ask.
    #[must_use]
    pub fn is_constant(&self, min_samples: u64) -> Option<bool> {
        (self.samples >= min_samples).then_some(self.constant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Side;
    use crate::sketch::{Reference, Slots};

    /// Two bins, as likely as each other.
    fn column(categorical: bool) -> RecordedColumn {
        let order = Slots::new(2, categorical);
        let mut counts = vec![0; order.count()];
        (counts[order.bin(0)], counts[order.bin(1)]) = (500, 500);
        RecordedColumn {
            name: "x".into(),
            side: Side::Input,
            slots: 0..order.count(),
            sums: 0..0,
            cells: 0..0,
            reference: Some(Reference { counts, ..Reference::default() }),
            order: Some(order),
            critical: false,
        }
    }

    #[test]
    fn defects_are_counted_by_kind_among_the_samples() {
        let quality = quality(&column(false), &[3, 10, 20, 4, 5, 6, 7]).unwrap();
        assert_eq!((quality.samples, quality.constant), (55, false));
        let expected = [("missing", 5), ("infinite", 13), ("below_range", 3), ("above_range", 4)];
        assert_eq!(quality.defects, expected);
        let quality = super::quality(&column(true), &[0, 10, 20, 0, 5, 0, 0, 9]).unwrap();
        assert_eq!(quality.defects, [("missing", 5), ("infinite", 0), ("unseen_category", 9)]);
    }

    #[test]
    fn a_column_that_no_longer_varies_is_constant_once_chance_is_out_of_the_question() {
        let stuck = |rows: u64| quality(&column(false), &[0, rows, 0, 0, 0, 0, 0]).unwrap().constant;
        // Halves: ln 2 a row beyond the first.
        assert_eq!([0, 1, 30, 40, 41, 10_000].map(stuck), [false, false, false, false, true, true]);
        assert!(quality(&column(false), &[0, 0, 0, 0, 500, 0, 0]).unwrap().constant, "always missing is constant too");
        assert!(!quality(&column(false), &[0, 10_000, 0, 0, 1, 0, 0]).unwrap().constant);
    }

    #[test]
    fn whether_a_column_is_constant_is_said_unasked_once_there_are_enough_values() {
        let stuck = quality(&column(false), &[0, 50, 0, 0, 0, 0, 0]).unwrap();
        assert!(stuck.constant);
        assert_eq!([49, 50, 51].map(|least| stuck.is_constant(least)), [Some(true), Some(true), None]);
        let varied = quality(&column(false), &[0, 30, 20, 0, 0, 0, 0]).unwrap();
        assert_eq!(varied.is_constant(50), Some(false));
    }

    #[test]
    fn without_a_reference_there_is_nothing_to_say() {
        let bare = RecordedColumn { reference: None, order: None, ..column(false) };
        assert_eq!(quality(&bare, &[7]), None);
    }
}
