//! What is compared with what: worked out once, when copies begin.
//!
//! Outputs are paired by name, since the order of a graph's outputs is no promise, and inputs are put into the order that
//! the other version takes them in.
//!
//! # Labels
//! A model's label is looked for in one output, the first of these that there is:
//!
//! 1. one of several columns of floats: the place of its largest number, the first of equals; NaN is never the largest,
//!    and rows of nothing else have a label of their own;
//! 2. one of integers, booleans or strings: its value, or all values of its row (integers beyond 2^53 as the nearest
//!    double);
//! 3. one of a single float: which side of 0.5 it is on, 0.5 being above. That is a label only of a probability: with the
//!    first number of the primary that is not from 0 to 1 the output turns out to be none, and has no labels, nor had any.
//!
//! Invariant: every output that clients get from the primary is compared.

use crate::observe::columns::Side;
use crate::observe::{RecordedColumn, Recorder};
use crate::sketch::ColumnLayout;
use crate::sketch::log_linear::floats;
use crate::tensor::{DataType, Signature, TensorSpec};
use std::ops::Range;

/// Columns of outputs whose distributions are compared; further ones only count as numbers. Two times a thousand counters
/// each where there is no reference, a megabyte for all of them.
const MOST_COLUMNS: usize = 64;

/// What is compared with what.
#[derive(Clone, Debug)]
pub struct ShadowPlan {
    /// For each input of the tried version its place among the primary's.
    inputs: Vec<usize>,
    pub(super) outputs: Vec<ComparedOutput>,
    /// Which of the outputs has the label, and how.
    pub(super) label: Option<(usize, LabelKind)>,
}

/// A pair of outputs.
#[derive(Clone, Debug)]
pub(super) struct ComparedOutput {
    /// Its place among the primary's outputs.
    pub(super) primary: usize,
    /// Its place among the tried version's.
    pub(super) shadow: usize,
    /// Whether the outermost dimension counts rows.
    pub(super) is_batched: bool,
    /// Values of a row, where all of them have one number.
    pub(super) width: Option<usize>,
    /// Whether columns are statistics of a row instead of its values.
    pub(super) is_reduced: bool,
    /// Its columns, as far as their distributions are compared.
    pub(super) columns: Vec<ComparedColumn>,
}

/// A column whose distribution is compared.
#[derive(Clone, Debug)]
pub(super) struct ComparedColumn {
    pub(super) name: String,
    pub(super) layout: ColumnLayout,
    /// The counters of finite numbers, in the order of their values.
    pub(super) ordered: Range<usize>,
}

/// What the label of a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum LabelKind {
    /// The place of the largest number.
    Largest,
    /// The values.
    Value,
    /// The side of 0.5.
    Side,
}

impl ShadowPlan {
    /// A plan for copies of what the version of `recorder` and `primary` answers, to a version of the signature `shadow`.
    ///
    /// # Errors
    /// What of `shadow` does not fit requests to the primary, for people.
    pub fn new(recorder: &Recorder, primary: &Signature, shadow: &Signature) -> Result<Self, String> {
        shadow.can_replace(primary)?;
        let place = |specs: &[TensorSpec], name: &str| specs.iter().position(|spec| spec.name == name);
        let inputs = shadow.inputs.iter().filter_map(|spec| place(&primary.inputs, &spec.name)).collect();
        let mut recorded = recorder.columns().iter().filter(|column| column.side == Side::Output);
        let mut left = MOST_COLUMNS;
        let outputs = primary.outputs.iter().enumerate().filter_map(|(index, spec)| {
            let columns = compared_columns(recorder, index, &mut recorded, &mut left);
            Some(ComparedOutput {
                primary: index,
                shadow: place(&shadow.outputs, &spec.name)?,
                is_batched: spec.is_batched(),
                width: spec.row_width(),
                is_reduced: recorder.plan.outputs.get(index).is_some_and(|plan| plan.reduced),
                columns,
            })
        });
        let outputs = outputs.collect();
        let kinds = primary.outputs.iter().map(label_kind).enumerate();
        Ok(Self { inputs, outputs, label: kinds.min_by_key(|(index, kind)| (*kind, *index)) })
    }

    /// Inputs of the primary in the order in which the tried version takes them.
    #[must_use]
    pub fn in_order<T>(&self, inputs: Vec<T>) -> Vec<T> {
        if self.inputs.iter().copied().eq(0..inputs.len()) {
            return inputs;
        }
        let mut inputs: Vec<Option<T>> = inputs.into_iter().map(Some).collect();
        self.inputs.iter().filter_map(|&place| inputs.get_mut(place)?.take()).collect()
    }
}

/// The columns of an output, as long as there are some left; `recorded` are those of all outputs that follow.
fn compared_columns<'a>(
    recorder: &Recorder,
    output: usize,
    recorded: &mut impl Iterator<Item = &'a RecordedColumn>,
    left: &mut usize,
) -> Vec<ComparedColumn> {
    let Some(plan) = recorder.plan.outputs.get(output) else { return Vec::new() };
    let mut columns = Vec::new();
    for column in &plan.columns {
        let Some(named) = recorded.next() else { break };
        let ordered = ordered_slots(&column.layout);
        if !ordered.is_empty() && *left > 0 {
            *left -= 1;
            columns.push(ComparedColumn { name: named.name.clone(), layout: column.layout.clone(), ordered });
        }
    }
    columns
}

fn ordered_slots(layout: &ColumnLayout) -> Range<usize> {
    match layout {
        ColumnLayout::F32(bins) => bins.slots().finite(),
        ColumnLayout::F64(bins) => bins.slots().finite(),
        ColumnLayout::LogLinear => 0..floats::FINITE,
        ColumnLayout::Strings(_) => 0..0,
    }
}

fn label_kind(spec: &TensorSpec) -> LabelKind {
    match spec.datatype {
        DataType::Fp16 | DataType::Bf16 | DataType::Fp32 | DataType::Fp64 if spec.row_width() == Some(1) => {
            LabelKind::Side
        }
        DataType::Fp16 | DataType::Bf16 | DataType::Fp32 | DataType::Fp64 => LabelKind::Largest,
        _ => LabelKind::Value,
    }
}
