//! In which cell of a column of the outputs a value counts, for either version: on the edges of the stable one.
//!
//! - A column with a reference counts in its coarse groups. A value that is missing, infinite, beyond the edges or of an
//!   unseen category is a defect besides.
//! - Numbers without one count in groups of neighbouring log-linear bins, made of what the stable version answered so far,
//!   with a cell of their own for what is below or above all of it; of what is fixed in advance where it answered little.
//! - Strings without one count by their hash: which strings there are is not known, and where they differ so do hashes.
//!
//! Where a column's values lie is told besides, for those who add them up: the mean of the reference, or else the median of
//! what was counted, to an eighth.
//!
//! Invariant: every value has one cell.

use crate::observe::columns::RecordedColumn;
use crate::sketch::log_linear::floats;
use crate::sketch::{ColumnLayout, Reference, Slots};
use twox_hash::XxHash64;

/// Groups that log-linear bins are put together into, at most.
const GROUPS: u64 = 16;
/// Answers that groups are made of, at least.
const ENOUGH: u64 = 200;
/// Cells of strings of which no categories are known.
const HASHES: usize = 16;
/// Where groups begin if nothing is known; zero stands alone.
const USUAL: [f64; 12] = [-256.0, -16.0, -1.0, 0.062_5, 0.125, 0.25, 0.5, 0.75, 1.0, 2.0, 16.0, 256.0];

/// The cells of a column.
#[derive(Clone, Debug)]
pub(super) struct ColumnCells {
    layout: ColumnLayout,
    /// By slot of the layout; empty where cells go by hash.
    by_slot: Box<[SlotCell]>,
    /// What is expected in each.
    pub(super) expected: Vec<u64>,
    /// How many of the first are in the order of their values.
    pub(super) ordered: usize,
    /// Where the values lie, if they are numbers.
    pub(super) center: Option<f64>,
}

/// What a slot is counted as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SlotCell {
    pub(super) cell: u16,
    pub(super) is_defect: bool,
}

impl ColumnCells {
    /// Of a column that a recorder has, with what it counted of it so far.
    pub(super) fn new(column: &RecordedColumn, layout: &ColumnLayout, counted: &[u64]) -> Self {
        match (&column.reference, &column.order, layout) {
            (Some(reference), Some(order), _) => Self::of_reference(layout, reference, *order),
            (_, _, ColumnLayout::Strings(_)) => Self::of_hashes(layout),
            _ => Self::of_counts(layout, counted),
        }
    }

    /// The cell of a number.
    pub(super) fn of_number(&self, value: f64) -> SlotCell {
        self.by_slot.get(self.layout.slot_f64(value)).copied().unwrap_or_default()
    }

    /// The cell of a string.
    pub(super) fn of_bytes(&self, value: &[u8]) -> SlotCell {
        let hashed = || (XxHash64::oneshot(0, value) % HASHES as u64) as u16;
        match self.by_slot.get(self.layout.slot_bytes(value)) {
            Some(cell) => *cell,
            None => SlotCell { cell: hashed(), is_defect: false },
        }
    }

    /// The cell of a value that is not there.
    pub(super) fn of_missing(&self) -> SlotCell {
        let cell = self.by_slot.get(self.layout.slot_missing()).copied().unwrap_or_default();
        SlotCell { is_defect: true, ..cell }
    }

    fn of_reference(layout: &ColumnLayout, reference: &Reference, order: Slots) -> Self {
        let mut expected = vec![0_u64; reference.group_count];
        for (&group, &count) in reference.groups.iter().zip(&reference.counts) {
            expected[usize::from(group)] += count;
        }
        let is_beyond = |slot: usize| reference.ordered.is_some() && (slot == order.below() || slot == order.above());
        let is_defect = |slot: usize| slot >= order.missing() || is_beyond(slot);
        let cells = reference.groups.iter().enumerate();
        let by_slot =
            cells.map(|(slot, &group)| SlotCell { cell: u16::from(group), is_defect: is_defect(slot) }).collect();
        // Behind the groups in order come those of rare, missing and infinite values.
        let ordered = if reference.ordered.is_some() { reference.group_count.saturating_sub(3) } else { 0 };
        Self { layout: layout.clone(), by_slot, expected, ordered, center: mean(layout) }
    }

    fn of_hashes(layout: &ColumnLayout) -> Self {
        let (by_slot, expected) = (Box::default(), vec![0; HASHES]);
        Self { layout: layout.clone(), by_slot, expected, ordered: 0, center: None }
    }

    fn of_counts(layout: &ColumnLayout, counted: &[u64]) -> Self {
        let finite = counted.get(..floats::FINITE).unwrap_or_default();
        let begins = if finite.iter().sum::<u64>() < ENOUGH { usual_groups() } else { even_groups(finite) };
        // Missing and infinite values have cells behind those in order.
        let (missing, infinite) = (begins.len() + 1, begins.len() + 2);
        let cell = |slot: usize| match slot {
            floats::MISSING => missing,
            slot if slot >= floats::FINITE => infinite,
            slot => begins.partition_point(|begin| *begin <= slot),
        };
        let mut expected = vec![0; infinite + 1];
        counted.iter().enumerate().for_each(|(slot, &count)| expected[cell(slot)] += count);
        let by_slot = (0..floats::COUNT)
            .map(|slot| SlotCell { cell: cell(slot) as u16, is_defect: slot >= floats::FINITE })
            .collect();
        Self { layout: layout.clone(), by_slot, expected, ordered: missing, center: Some(median(finite)) }
    }
}

/// The mean of a column's reference, within what single precision has; none of strings.
fn mean(layout: &ColumnLayout) -> Option<f64> {
    let fixed_point = match layout {
        ColumnLayout::F32(bins) => bins.fixed_point(),
        ColumnLayout::F64(bins) => bins.fixed_point(),
        ColumnLayout::Strings(_) | ColumnLayout::LogLinear => return None,
    };
    Some(fixed_point.dequantize(0).clamp(f64::from(f32::MIN), f64::from(f32::MAX)))
}

/// The median of log-linear counts, as the number next to zero of its bin; zero of none.
fn median(finite: &[u64]) -> f64 {
    let half = finite.iter().sum::<u64>().div_ceil(2);
    let mut below = 0;
    let middle = finite.iter().position(|count| {
        below += count;
        below >= half && below > 0
    });
    let (low, high) = middle.and_then(floats::bounds).unwrap_or_default();
    if low.abs() < high.abs() { low } else { high }
}

/// The slots that groups of about equal counts begin with, but for the first group, which is of what is below all.
fn even_groups(finite: &[u64]) -> Vec<usize> {
    let total: u64 = finite.iter().sum();
    let used = || finite.iter().enumerate().filter(|(_, count)| **count > 0).map(|(slot, _)| slot);
    let (mut begins, mut mass) = (Vec::new(), u64::MAX);
    for slot in used() {
        if mass >= total.div_ceil(GROUPS) {
            begins.push(slot);
            mass = 0;
        }
        mass += finite[slot];
    }
    begins.extend(used().next_back().map(|last| last + 1));
    begins
}

fn usual_groups() -> Vec<usize> {
    let mut begins: Vec<usize> = USUAL.iter().map(|value| floats::slot(*value)).collect();
    begins.extend([floats::ZERO, floats::ZERO + 1]);
    begins.sort_unstable();
    begins
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn log_linear(values: &[f64], each: u64) -> ColumnCells {
        let mut counted = vec![0; floats::COUNT];
        values.iter().for_each(|value| counted[floats::slot(*value)] += each);
        ColumnCells::of_counts(&ColumnLayout::LogLinear, &counted)
    }

    #[test]
    fn labels_have_a_cell_each_and_others_are_below_or_above() {
        let labels: Vec<f64> = (0..10).map(f64::from).collect();
        let cells = log_linear(&labels, 100);
        assert_eq!((cells.expected.len(), cells.ordered), (14, 12));
        let places: Vec<u16> = labels.iter().map(|label| cells.of_number(*label).cell).collect();
        assert_eq!(places, (1..=10).collect::<Vec<u16>>());
        assert_eq!((cells.of_number(-3.0).cell, cells.of_number(400.0).cell), (0, 11));
        assert_eq!(cells.expected.iter().sum::<u64>(), 1_000);
    }

    #[test]
    fn where_values_lie_is_known_to_an_eighth() {
        for (values, median) in [(&[3.0, 1_000.0, 1e30][..], 1_000.0), (&[-7.0, -7.0, 2.0], -7.0), (&[0.0], 0.0)] {
            let center = log_linear(values, 100).center.unwrap();
            assert!((center - median).abs() <= f64::abs(median) / 8.0, "{values:?}: {center}");
        }
        assert_eq!(log_linear(&[], 0).center, Some(0.0));
    }

    #[test]
    fn a_constant_is_told_from_everything_else() {
        let cells = log_linear(&[0.5], 1_000);
        let places = [0.1, 0.5, 0.9].map(|value| cells.of_number(value).cell);
        assert_eq!(places, [0, 1, 2]);
    }

    #[test]
    fn with_few_answers_the_usual_groups_tell_signs_and_magnitudes_apart() {
        let cells = log_linear(&[0.5], 3);
        let mut places: Vec<u16> = [-300.0, -0.5, 0.0, 0.01, 0.3, 0.6, 0.8, 5.0, 1e9]
            .iter()
            .map(|value| cells.of_number(*value).cell)
            .collect();
        let count = places.len();
        assert!(places.is_sorted());
        places.dedup();
        assert_eq!(places.len(), count);
    }

    #[test]
    fn nan_infinities_and_what_is_not_there_are_defects_with_cells_of_their_own() {
        let cells = log_linear(&[0.5], 1_000);
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX] {
            assert!(cells.of_number(value).is_defect, "{value}");
            assert!(usize::from(cells.of_number(value).cell) >= cells.ordered);
        }
        assert!(cells.of_missing().is_defect);
        assert!(!cells.of_number(0.7).is_defect, "of no reference nothing is out of range");
    }

    #[test]
    fn strings_without_categories_are_told_apart_by_their_hashes_and_are_no_defects() {
        let layout = crate::sketch::CategoryLayout::try_new(std::iter::empty()).unwrap();
        let cells = ColumnCells::of_hashes(&ColumnLayout::Strings(layout));
        let places: std::collections::BTreeSet<u16> =
            (0..200).map(|text| cells.of_bytes(text.to_string().as_bytes()).cell).collect();
        assert_eq!(places.len(), HASHES);
        assert!(!cells.of_bytes(b"x").is_defect);
    }

    proptest! {
        #[test]
        fn every_number_has_a_cell_and_higher_ones_no_lower_cell(
            seen in prop::collection::vec(-1e3_f64..1e3, 0..300),
            mut asked in prop::collection::vec(any::<f64>(), 2..50),
        ) {
            let cells = log_linear(&seen, 2);
            prop_assert!(asked.iter().all(|value| usize::from(cells.of_number(*value).cell) < cells.expected.len()));
            asked.retain(|value| value.abs() < f64::MAX);
            asked.sort_by(f64::total_cmp);
            let places: Vec<u16> = asked.iter().map(|value| cells.of_number(*value).cell).collect();
            prop_assert!(places.is_sorted());
            prop_assert!(places.iter().all(|place| usize::from(*place) < cells.ordered));
        }
    }
}
