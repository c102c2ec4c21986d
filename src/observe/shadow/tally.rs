//! Pairs of answers, counted.
//!
//! Invariant: a copy is counted once: as compared or as failed.

use super::counts::{ShadowColumn, ShadowCounts};
use super::label::{self, agrees, is_probability};
use super::plan::{ComparedOutput, LabelKind, ShadowPlan};
use crate::observe::RowStatistics;
use crate::observe::evidence::row_of_draw;
use crate::tensor::{DataType, Tensor, TensorData};
use std::ops::Range;

/// Numbers that are read at a time.
const CHUNK: usize = 64;

/// What copies came to so far.
#[derive(Clone, Debug)]
pub struct ShadowTally {
    plan: ShadowPlan,
    counts: ShadowCounts,
    /// Of each column of each output, the primary's counters and the tried version's.
    cells: Vec<Vec<[Vec<u64>; 2]>>,
    /// Whether the label's output has turned out not to be a probability.
    has_no_labels: bool,
}

impl ShadowTally {
    /// Nothing compared yet.
    #[must_use]
    pub fn new(plan: ShadowPlan) -> Self {
        let zeros = |output: &ComparedOutput| {
            output.columns.iter().map(|column| [(); 2].map(|()| vec![0; column.layout.slots()])).collect()
        };
        let cells = plan.outputs.iter().map(zeros).collect();
        let has_no_labels = plan.label.is_none();
        Self { plan, counts: ShadowCounts::default(), cells, has_no_labels }
    }

    /// What is compared with what.
    #[must_use]
    pub fn plan(&self) -> &ShadowPlan {
        &self.plan
    }

    /// Counts a copy whose call failed; `is_broken` if it panicked.
    pub fn fail(&mut self, is_broken: bool) {
        self.counts.failed += 1;
        self.counts.broken += u64::from(is_broken);
    }

    /// Compares a copy's outputs with the primary's, each in the order of its signature. `draw` chooses the row that is
    /// evidence. Outputs of other shapes are a failure.
    pub fn compare(&mut self, draw: u64, primary: &[Tensor], shadow: &[Tensor]) {
        let pair = |output: &ComparedOutput| {
            let (given, tried) = (primary.get(output.primary)?, shadow.get(output.shadow)?);
            (given.shape() == tried.shape() && given.datatype() == tried.datatype()).then_some((given, tried))
        };
        let Some(pairs) = self.plan.outputs.iter().map(pair).collect::<Option<Vec<_>>>() else {
            return self.fail(true);
        };
        self.counts.compared += 1;
        let mut is_lost = false;
        for (output, (given, tried)) in pairs.iter().enumerate() {
            is_lost |= self.count_numbers(given.data(), tried.data());
            self.count_scores(output, given, tried);
        }
        self.counts.non_finite += u64::from(is_lost);
        if let Some((output, kind)) = self.plan.label
            && let Some((given, tried)) = pairs.get(output)
        {
            self.count_labels((output, kind), draw, given, tried);
        }
    }

    /// What was counted so far. `distance` is that of two distributions, by counters in the order of their values;
    /// `dropped` is for whoever dropped copies to say.
    #[must_use]
    pub fn counts(&self, distance: impl Fn(&[u64], &[u64]) -> Option<f64>) -> ShadowCounts {
        let outputs = self.plan.outputs.iter().zip(&self.cells);
        let columns = outputs.flat_map(|(output, cells)| output.columns.iter().zip(cells)).map(|(column, cells)| {
            let [given, tried] = cells.each_ref().map(|cells| &cells[column.ordered.clone()]);
            ShadowColumn { name: column.name.clone(), score_distance: distance(given, tried) }
        });
        ShadowCounts { columns: columns.collect(), ..self.counts.clone() }
    }

    /// Counts how far numbers are apart; whether one is not finite that is finite in the primary.
    fn count_numbers(&mut self, given: &TensorData, tried: &TensorData) -> bool {
        if given.datatype() == DataType::Bytes {
            return false;
        }
        let mut is_lost = false;
        let (mut first, mut second) = ([0.0; CHUNK], [0.0; CHUNK]);
        for start in (0..given.len()).step_by(CHUNK) {
            let count = CHUNK.min(given.len() - start);
            given.read_numbers(start, &mut first[..count]);
            tried.read_numbers(start, &mut second[..count]);
            for (given, tried) in first[..count].iter().zip(&second[..count]) {
                if given.is_finite() && tried.is_finite() {
                    // Numbers at both ends of what there is are further apart than a number can say.
                    let difference = (given - tried).abs().min(f64::MAX);
                    self.counts.numbers += 1;
                    self.counts.largest_difference = self.counts.largest_difference.max(difference);
                    self.counts.difference_sum = (self.counts.difference_sum + difference).min(f64::MAX);
                } else {
                    is_lost |= given.is_finite();
                }
            }
        }
        is_lost
    }

    fn count_scores(&mut self, output: usize, given: &Tensor, tried: &Tensor) {
        let (planned, cells) = (&self.plan.outputs[output], &mut self.cells[output]);
        let rows = rows_of(planned, given);
        let width = given.data().len().checked_div(rows).unwrap_or(0);
        if cells.is_empty() || width == 0 || !planned.is_reduced && planned.width != Some(width) {
            return;
        }
        for (side, data) in [given.data(), tried.data()].into_iter().enumerate() {
            for row in 0..rows {
                let row = row * width..(row + 1) * width;
                let statistics = planned.is_reduced.then(|| statistics_of(data, row.clone()));
                for (index, (column, cells)) in planned.columns.iter().zip(&mut *cells).enumerate() {
                    let value = match &statistics {
                        Some(statistics) => statistics.get(index).copied().unwrap_or(f64::NAN),
                        None => label::number(data, row.start + index),
                    };
                    cells[side][column.layout.slot_f64(value)] += 1;
                }
            }
        }
    }

    fn count_labels(&mut self, (output, kind): (usize, LabelKind), draw: u64, given: &Tensor, tried: &Tensor) {
        let rows = rows_of(&self.plan.outputs[output], given);
        let width = given.data().len().checked_div(rows).unwrap_or(0);
        if kind == LabelKind::Side {
            self.has_no_labels |= !are_probabilities(given.data());
        }
        if self.has_no_labels {
            let counts = &mut self.counts;
            (counts.labelled, counts.disagreed, counts.rows, counts.rows_disagreed) = (0, 0, 0, 0);
            return;
        }
        let evidence = row_of_draw(draw, rows);
        for row in 0..rows {
            let agreed = agrees(kind, given.data(), tried.data(), row * width..(row + 1) * width);
            let Some(agreed) = agreed else { continue };
            self.counts.rows += 1;
            self.counts.rows_disagreed += u64::from(!agreed);
            if row == evidence {
                self.counts.labelled += 1;
                self.counts.disagreed += u64::from(!agreed);
            }
        }
    }
}

fn rows_of(output: &ComparedOutput, tensor: &Tensor) -> usize {
    if output.is_batched { tensor.shape().rows() } else { 1 }
}

fn statistics_of(data: &TensorData, row: Range<usize>) -> [f64; 4] {
    let mut statistics = RowStatistics::default();
    row.for_each(|position| statistics.add(label::number(data, position)));
    statistics.finish()
}

/// Whether none of the numbers is outside of 0 to 1; NaN says nothing.
fn are_probabilities(data: &TensorData) -> bool {
    let mut are_probabilities = true;
    data.visit_numbers(|_, value| are_probabilities &= value.is_nan() || is_probability(value));
    are_probabilities
}
