//! Which value of which tensor is counted where: worked out once, when a version is loaded.
//!
//! Every column of every input and output gets a range of counters in one flat array. Tensors wider than `max_features`
//! (images, embeddings) would need more memory than their bins are worth, and nobody reads drift per pixel: they are
//! reduced to four statistics per row, which are columns like any other.
//!
//! Invariant: the ranges of all columns are disjoint and cover the flat arrays.

use super::counter::Counters;
use super::segments::SegmentPlan;
use crate::profile::{Column, Profile, Statistic};
use crate::sketch::KEY_GROUPS;
use crate::sketch::log_linear::floats;
use crate::sketch::{BinLayout, ColumnLayout, Precision, Reference, RowSearch, SUMS, Slots};
use crate::tensor::{DataType, Signature, Tensor, TensorSpec};
use std::ops::Range;
use std::sync::atomic::Ordering;

/// Whether a column belongs to what goes in or what comes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// A feature.
    Input,
    /// A prediction.
    Output,
}

/// A column that is recorded, as those who read its counters need it.
#[derive(Clone, Debug)]
pub struct RecordedColumn {
    /// The feature's name from the profile, else the tensor's with the position.
    pub name: String,
    /// Input or output.
    pub side: Side,
    /// Its counters in [`Totals::slots`](super::Totals).
    pub slots: Range<usize>,
    /// Its sums in [`Totals::sums`](super::Totals).
    pub sums: Range<usize>,
    /// Its alarm cells in [`Totals::cells`](super::Totals), in the order of [`Reference::cell_of_slot`]; empty without a
    /// reference.
    pub cells: Range<usize>,
    /// What it is compared with, if there is a profile.
    pub reference: Option<Reference>,
    /// The order of its counters, if there is a profile.
    pub order: Option<Slots>,
    /// Whether drift of this column alone is drift of the version.
    pub critical: bool,
}

/// Instead of a cell's position, where there is none.
pub(super) const NO_CELL: u32 = u32::MAX;

/// How one tensor is recorded.
#[derive(Debug)]
pub(super) struct TensorPlan {
    /// The tensor's name.
    pub(super) name: String,
    /// Whether the outermost dimension counts rows.
    pub(super) batched: bool,
    /// Where each column goes.
    pub(super) columns: Vec<ColumnPlan>,
    /// Whether the columns are statistics of a row instead of its values.
    pub(super) reduced: bool,
    /// Its counters in a shard.
    pub(super) places: Range<usize>,
    /// For each of them the alarm cell of what it counts, among those of all columns; [`NO_CELL`] without a reference.
    pub(super) cell_of_place: Box<[u32]>,
    /// How numbers are searched.
    pub(super) search: Search,
}

/// How a tensor's values find their counters.
#[derive(Debug)]
pub(super) enum Search {
    /// Numbers in single precision.
    F32(RowSearch<f32>),
    /// All other numbers.
    F64(RowSearch<f64>),
    /// Strings, one by one.
    Strings,
}

/// Where one column's values are counted.
#[derive(Debug)]
pub(super) struct ColumnPlan {
    pub(super) layout: ColumnLayout,
    /// Its first counter in a shard. There counters lie as the search finds them, which is not quite the order of slots:
    /// see [`ColumnLayout::slot_of_place`].
    pub(super) first_place: usize,
    /// Its first counter among those of all columns, slot by slot.
    pub(super) first_slot: usize,
    pub(super) first_sum: usize,
    pub(super) first_cell: usize,
    /// How many alarm cells there are.
    pub(super) cells: usize,
}

/// Everything that is worked out before the first row.
#[derive(Debug, Default)]
pub(super) struct RecordPlan {
    pub(super) inputs: Vec<TensorPlan>,
    pub(super) outputs: Vec<TensorPlan>,
    pub(super) columns: Vec<RecordedColumn>,
    pub(super) slots: usize,
    /// Counters of values in a shard.
    pub(super) places: usize,
    pub(super) sums: usize,
    pub(super) cells: usize,
    /// How rows are divided, if they are.
    pub(super) segments: Option<SegmentPlan>,
    /// How many rows are noted at most before they are counted; 0 if all are counted as they come.
    pub(super) noted_rows: usize,
}

/// The statistics that a wide row is reduced to, in column order.
pub const STATISTICS: [Statistic; 4] = [Statistic::Norm, Statistic::Mean, Statistic::Zeros, Statistic::Nonfinite];

/// What can be wrong with a value.
pub const DEFECTS: [&str; 5] = ["missing", "infinite", "below_range", "above_range", "unseen_category"];

impl RecordPlan {
    pub(super) fn new(signature: &Signature, profile: Option<&Profile>, max_features: usize) -> Self {
        let mut plan = Self::default();
        for spec in &signature.inputs {
            let known = profile.map(|profile| &profile.inputs[..]).unwrap_or_default();
            let tensor = plan.plan_tensor(spec, known, Side::Input, max_features);
            plan.inputs.push(tensor);
        }
        for spec in &signature.outputs {
            let known = profile.map(|profile| &profile.outputs[..]).unwrap_or_default();
            let tensor = plan.plan_tensor(spec, known, Side::Output, max_features);
            plan.outputs.push(tensor);
        }
        plan.noted_rows = super::notes::rows_noted(plan.inputs.iter().chain(&plan.outputs));
        plan
    }

    fn plan_tensor(&mut self, spec: &TensorSpec, known: &[Column], side: Side, max_features: usize) -> TensorPlan {
        let width = spec.row_width();
        let reduced = width.is_none_or(|width| width > max_features);
        let count = match (reduced, width) {
            (false, Some(width)) => width,
            // Strings have neither norm nor mean.
            _ if spec.datatype == DataType::Bytes => 0,
            _ => STATISTICS.len(),
        };
        let mut columns: Vec<ColumnPlan> = (0..count)
            .map(|index| {
                let statistic = reduced.then(|| STATISTICS[index]);
                let position = if reduced { 0 } else { index };
                let column = known.iter().find(|column| {
                    column.tensor == spec.name && column.index == position && column.statistic == statistic
                });
                let name = match (column, statistic) {
                    (Some(column), _) => column.name.clone(),
                    (None, Some(statistic)) => format!("{}.{statistic}", spec.name),
                    (None, None) if count == 1 => spec.name.clone(),
                    (None, None) => format!("{}[{index}]", spec.name),
                };
                self.plan_column(column, spec.datatype, name, side)
            })
            .collect();
        let search = Search::new(spec.datatype, &columns);
        let (places, cell_of_place) = self.place_columns(&mut columns, &search);
        let (name, batched) = (spec.name.clone(), spec.is_batched());
        TensorPlan { name, batched, columns, reduced, places, cell_of_place, search }
    }

    /// Gives the columns of the tensor that was planned last their places in a shard. Beside all of these, the alarm cell
    /// of what each of them counts.
    fn place_columns(&mut self, columns: &mut [ColumnPlan], search: &Search) -> (Range<usize>, Box<[u32]>) {
        let start = self.places;
        let (first_places, places) = search.places(columns);
        self.places += places;
        let mut cell_of_place = vec![NO_CELL; places];
        let recorded = &self.columns[self.columns.len() - columns.len()..];
        for ((column, first), recorded) in columns.iter_mut().zip(first_places).zip(recorded) {
            column.first_place = start + first;
            let Some(reference) = &recorded.reference else { continue };
            for (place, cell) in cell_of_place[first..].iter_mut().take(column.layout.slots()).enumerate() {
                let slot = column.layout.slot_of_place(place);
                *cell = (column.first_cell + reference.cell_of_slot(slot)) as u32;
            }
        }
        (start..self.places, cell_of_place.into())
    }

    /// Adds a shard's counters of values to the slots of all columns.
    pub(super) fn add_slots(&self, values: &Counters, slots: &mut [u64]) {
        for column in self.inputs.iter().chain(&self.outputs).flat_map(|tensor| &tensor.columns) {
            let counters = values.slice(column.first_place..column.first_place + column.layout.slots());
            for (place, counter) in counters.iter().enumerate() {
                let total = &mut slots[column.first_slot + column.layout.slot_of_place(place)];
                *total = total.wrapping_add(counter.load(Ordering::Relaxed));
            }
        }
    }

    fn plan_column(&mut self, column: Option<&Column>, datatype: DataType, name: String, side: Side) -> ColumnPlan {
        let known = column.and_then(|column| column.layout(datatype).ok().map(|layout| (column, layout)));
        let reference = known.as_ref().map(|(column, _)| column.reference());
        let order = known.as_ref().map(|(column, _)| column.slots());
        let layout = match known {
            Some((_, layout)) => layout,
            None if datatype == DataType::Bytes => no_categories(),
            None => ColumnLayout::LogLinear,
        };
        let cells = reference.as_ref().map_or(0, Reference::cells);
        let (first_slot, first_sum, first_cell) = (self.slots, self.sums, self.cells);
        let plan = ColumnPlan { first_place: 0, first_slot, first_sum, first_cell, cells, layout };
        self.slots += plan.layout.slots();
        self.sums += if reference.is_some() { SUMS } else { 0 };
        self.cells += cells;
        self.columns.push(RecordedColumn {
            name,
            side,
            slots: plan.first_slot..self.slots,
            sums: plan.first_sum..self.sums,
            cells: plan.first_cell..self.cells,
            reference,
            order,
            critical: column.is_some_and(|column| column.critical),
        });
        plan
    }
}

impl Search {
    fn new(datatype: DataType, columns: &[ColumnPlan]) -> Self {
        match datatype {
            DataType::Bytes => Self::Strings,
            DataType::Fp32 | DataType::Fp16 | DataType::Bf16 => Self::F32(search_among(columns, ColumnLayout::as_f32)),
            _ => Self::F64(search_among(columns, ColumnLayout::as_f64)),
        }
    }

    /// The place of each column's first counter, and how many places there are.
    fn places(&self, columns: &[ColumnPlan]) -> (Vec<usize>, usize) {
        match self {
            Self::F32(search) => ((0..columns.len()).map(|index| search.first_place(index)).collect(), search.places()),
            Self::F64(search) => ((0..columns.len()).map(|index| search.first_place(index)).collect(), search.places()),
            Self::Strings => {
                let (mut first_places, mut places) = (Vec::new(), 0);
                for column in columns {
                    first_places.push(places);
                    places += column.layout.slots();
                }
                (first_places, places)
            }
        }
    }
}

fn search_among<T: Precision>(
    columns: &[ColumnPlan],
    on_edges: impl Fn(&ColumnLayout) -> Option<&BinLayout<T>>,
) -> RowSearch<T> {
    let layouts = columns.iter().map(|column| &column.layout);
    RowSearch::new(&layouts.map(|layout| (layout.slots(), on_edges(layout))).collect::<Vec<_>>())
}

impl TensorPlan {
    /// How many rows a tensor has.
    pub(super) fn rows(&self, tensor: &Tensor) -> usize {
        if self.batched { tensor.shape().rows() } else { 1 }
    }

    /// How many rows this many values are.
    pub(super) fn rows_among(&self, values: usize) -> usize {
        values.checked_div(self.columns.len()).unwrap_or(0)
    }
}

impl RecordedColumn {
    /// Its alarm cells by group of routing keys in [`Totals::keyed`](super::Totals): those of group 0, of group 1 and so
    /// on.
    #[must_use]
    pub fn keyed(&self) -> Range<usize> {
        self.cells.start * KEY_GROUPS..self.cells.end * KEY_GROUPS
    }

    /// Live counts of values that are no ordinary numbers, by kind of defect; `slots` are those of all columns.
    #[must_use]
    pub fn defects(&self, slots: &[u64]) -> Vec<(&'static str, u64)> {
        self.defects_among(&slots[self.slots.clone()])
    }

    /// The same of the column's own counters, over any window.
    #[must_use]
    pub fn defects_among(&self, counts: &[u64]) -> Vec<(&'static str, u64)> {
        match self.order {
            Some(order) if counts.len() < order.count() => Vec::new(),
            Some(order) => {
                let [missing, infinite, below, above, unseen] = DEFECTS;
                let mut defects = vec![
                    (missing, counts[order.missing()]),
                    (infinite, counts[order.negative_infinite()] + counts[order.positive_infinite()]),
                ];
                match order.unseen() {
                    Some(slot) => defects.push((unseen, counts[slot])),
                    None => defects.extend([(below, counts[order.below()]), (above, counts[order.above()])]),
                }
                defects
            }
            None if counts.len() == floats::COUNT => vec![
                (DEFECTS[0], counts[floats::MISSING]),
                (DEFECTS[1], counts[floats::NEGATIVE_INFINITE] + counts[floats::POSITIVE_INFINITE]),
            ],
            None => Vec::new(),
        }
    }
}

/// A string column without a reference has no categories to tell apart: it only counts rows.
fn no_categories() -> ColumnLayout {
    let layout = crate::sketch::CategoryLayout::try_new(std::iter::empty());
    ColumnLayout::Strings(layout.expect("no categories are no duplicates and not too many"))
}
