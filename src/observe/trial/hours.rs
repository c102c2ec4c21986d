//! What the stable version's outputs are like in one hour of the week, in the cells of a trial.
//!
//! A version that has all of the traffic has no arm beside it, and an output that follows the hour looks like its fault. So
//! what was counted after promotion is kept apart by hour, each with the reference of its hour beside it: whoever judges it
//! again, later or elsewhere, needs nothing but the counts.
//!
//! Invariant: a column's counts are by the cells of the layout, or there are none of it.

use super::counts::TrialLayout;
use super::plan::MOST_OUTPUTS;
use crate::detect::group_counts;
use crate::observe::{RecordedColumn, Side};
use serde::{Deserialize, Serialize};

/// What the stable version's outputs are like in one hour of the week.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HourReference {
    /// The hour: 0 is Monday from 00:00 to 01:00 UTC, 167 the last of Sunday.
    pub hour: usize,
    /// Rows that can be taken for independent, by column of the outputs and cell; a column without a reference is empty.
    pub outputs: Vec<Vec<u64>>,
}

impl HourReference {
    /// The reference of an hour for the outputs among these columns, as `groups` has it by place and column; none where no
    /// column has any rows.
    #[must_use]
    pub fn new(
        hour: usize,
        columns: &[RecordedColumn],
        groups: impl Fn(usize, &RecordedColumn) -> Option<Vec<u64>>,
    ) -> Option<Self> {
        let of_column = |(place, column)| groups(place, column).filter(|groups| has_rows(groups)).unwrap_or_default();
        let outputs: Vec<Vec<u64>> = compared(columns).map(of_column).collect();
        outputs.iter().any(|column| !column.is_empty()).then_some(Self { hour, outputs })
    }

    /// The same for whoever counts on a layout; `columns` are those that it was made of. Columns whose cells are not their
    /// groups are left out; none where nothing is left.
    #[must_use]
    pub fn on(&self, layout: &TrialLayout, columns: &[RecordedColumn]) -> Option<Self> {
        let mut known = compared(columns).zip(&self.outputs);
        let outputs = layout.outputs.iter().map(|cells| {
            let Some(((_, column), groups)) = known.next() else { return Vec::new() };
            let is_same = column.name == cells.name && groups_of(column).as_ref() == Some(&cells.expected);
            if is_same && groups.len() == cells.expected.len() { groups.clone() } else { Vec::new() }
        });
        let outputs: Vec<Vec<u64>> = outputs.collect();
        outputs.iter().any(|column| !column.is_empty()).then_some(Self { hour: self.hour, outputs })
    }

    /// The counts of a column; none if it has no reference.
    #[must_use]
    pub fn output(&self, column: usize) -> &[u64] {
        self.outputs.get(column).map_or(&[], Vec::as_slice)
    }
}

/// The columns that a trial compares.
fn compared(columns: &[RecordedColumn]) -> impl Iterator<Item = (usize, &RecordedColumn)> {
    let outputs = columns.iter().enumerate().filter(|(_, column)| column.side == Side::Output);
    outputs.take(MOST_OUTPUTS)
}

/// The rows of a column's reference by group.
fn groups_of(column: &RecordedColumn) -> Option<Vec<u64>> {
    let reference = column.reference.as_ref()?;
    Some(group_counts(&reference.counts, &reference.groups, reference.group_count))
}

fn has_rows(groups: &[u64]) -> bool {
    groups.iter().any(|count| *count > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::trial::OutputCells;
    use crate::sketch::Reference;

    /// A column of two groups, with so many rows in each.
    fn column(name: &str, side: Side, rows: Option<[u64; 2]>) -> RecordedColumn {
        let reference = rows.map(|rows| Reference {
            counts: vec![1, rows[0] - 1, rows[1]],
            groups: vec![0, 0, 1],
            group_count: 2,
            ..Reference::default()
        });
        let nothing = || 0..0;
        RecordedColumn {
            name: name.to_owned(),
            side,
            slots: nothing(),
            sums: nothing(),
            cells: nothing(),
            reference,
            order: None,
            critical: false,
        }
    }

    fn layout(columns: &[(&str, [u64; 2])]) -> TrialLayout {
        let cells = |(name, expected): &(&str, [u64; 2])| OutputCells {
            name: (*name).to_owned(),
            expected: expected.to_vec(),
            ..OutputCells::default()
        };
        TrialLayout { outputs: columns.iter().map(cells).collect(), ..TrialLayout::default() }
    }

    #[test]
    fn outputs_alone_have_hours_and_those_without_rows_are_empty() {
        let columns = [
            column("in", Side::Input, Some([5, 5])),
            column("a", Side::Output, Some([40, 60])),
            column("b", Side::Output, None),
            column("c", Side::Output, Some([1, 2])),
        ];
        let groups = |place: usize, _: &RecordedColumn| match place {
            1 => Some(vec![700, 300]),
            3 => Some(vec![0, 0]),
            _ => None,
        };
        let hour = HourReference::new(7, &columns, groups).unwrap();
        assert_eq!((hour.hour, &hour.outputs), (7, &vec![vec![700, 300], vec![], vec![]]));
        assert_eq!((hour.output(0), hour.output(1), hour.output(9)), (&[700, 300][..], &[][..], &[][..]));
        assert_eq!(HourReference::new(7, &columns, |_, _| Some(vec![0, 0])), None);
    }

    #[test]
    fn a_column_whose_cells_are_not_its_groups_is_left_out() {
        let columns = [column("a", Side::Output, Some([40, 60])), column("b", Side::Output, Some([10, 20]))];
        let hour = HourReference { hour: 7, outputs: vec![vec![700, 300], vec![5, 6]] };
        let on = |known: &[(&str, [u64; 2])]| hour.on(&layout(known), &columns).map(|hour| hour.outputs);
        assert_eq!(on(&[("a", [40, 60]), ("b", [10, 20])]), Some(hour.outputs.clone()));
        assert_eq!(on(&[("a", [40, 61]), ("b", [10, 20])]), Some(vec![vec![], vec![5, 6]]), "other groups");
        assert_eq!(on(&[("b", [40, 60]), ("c", [10, 20])]), None, "other columns");
        assert_eq!(on(&[("a", [40, 60])]), Some(vec![vec![700, 300]]));
        let odd = HourReference { hour: 7, outputs: vec![vec![1; 3], vec![5, 6]] };
        let both = layout(&[("a", [40, 60]), ("b", [10, 20])]);
        assert_eq!(odd.on(&both, &columns).unwrap().outputs, [vec![], vec![5, 6]]);
    }
}
