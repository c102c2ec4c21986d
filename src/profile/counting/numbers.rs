//! Numbers, counted on edges that are already chosen.
//!
//! Candidates for atoms get bins of their own; those that turn out to have 1 % of the mass or less give their edges up
//! at the end, which only adds counters up.
//!
//! A model may answer a row a little differently the second time. Values beyond the edges that the first reading chose
//! therefore widen the outermost bins instead of being an error.
//!
//! Invariant: every value is counted once, and counts are those of the final edges.

use super::{SPECIALS, set_hours};
use crate::profile::builder::{ColumnSpec, MAX_CODES, MAX_DISCRETE, ProfileOptions};
use crate::profile::edges::{Grid, atom_edges, is_atom, quantile_edges, rising};
use crate::profile::moments::{Moments, scale_of};
use crate::profile::seasons::HourCounts;
use crate::profile::survey::NumberSurvey;
use crate::profile::{Column, Kind, ProfileError};
use crate::tensor::DataType;
use std::cmp::Reverse;

/// Values whose moments are computed together.
const PIECE: usize = 1024;

/// Counts of numbers.
#[derive(Debug)]
pub(in crate::profile) struct NumberCounter {
    grid: Grid,
    kind: Kind,
    /// All edges, those of the candidates too.
    edges: Vec<f64>,
    /// Edges that stay.
    kept: Vec<f64>,
    candidates: Vec<f64>,
    counts: Vec<u64>,
    /// For each bin, the sum of what its values are above its lower edge, divided by the scale.
    excess: Vec<f64>,
    specials: [u64; SPECIALS],
    range: Option<(f64, f64)>,
    scale: f64,
    moments: Moments,
    piece: Vec<(f64, u64)>,
    distinct: Option<u64>,
    hours: Option<HourCounts>,
    /// Finite values where the first reading had none.
    strays: u64,
}

impl NumberCounter {
    /// A counter on edges that suit what was surveyed.
    pub(in crate::profile) fn new(survey: &NumberSurvey, spec: &ColumnSpec, options: &ProfileOptions) -> Self {
        let (grid, distinct) = (survey.grid(), survey.weighted());
        let kind = kind_of(survey, &distinct, spec, options);
        let mut candidates = Vec::new();
        let kept = match (kind, survey.range()) {
            (Kind::Categorical, _) => atom_edges(most_frequent(&distinct), grid),
            (Kind::Boolean, _) => atom_edges([0.0, 1.0], grid),
            (Kind::Discrete, _) => atom_edges(distinct.iter().map(|(value, _)| *value), grid),
            (_, None) => Vec::new(),
            (_, Some((lowest, highest))) => {
                candidates = survey.atoms(&distinct);
                let mut edges = quantile_edges(&distinct, options.bins, candidates.len());
                edges.extend([lowest, grid.next_up(highest)]);
                rising(edges)
            }
        };
        let own = atom_edges(candidates.iter().copied(), grid);
        let edges = rising(kept.iter().copied().chain(own).collect());
        let bins = edges.len().saturating_sub(1);
        Self {
            grid,
            kind,
            edges,
            kept,
            candidates,
            counts: vec![0; bins],
            excess: vec![0.0; bins],
            specials: [0; SPECIALS],
            range: None,
            scale: survey.range().map_or(1.0, scale_of),
            moments: Moments::default(),
            piece: Vec::new(),
            distinct: survey.distinct(),
            hours: options.hours.then(|| HourCounts::new(bins + SPECIALS)),
            strays: 0,
        }
    }

    /// Takes in all that an exact survey kept.
    pub(in crate::profile) fn replay(&mut self, survey: &NumberSurvey) {
        for &(value, count) in survey.weighted().iter() {
            self.add_finite(value, count);
        }
        self.specials[..3].copy_from_slice(&survey.specials());
    }

    /// Takes in a number and, where these are kept, its hour of the week.
    pub(in crate::profile) fn push(&mut self, number: f64, hour: Option<u8>) {
        let number = self.grid.round(number);
        let bins = self.counts.len();
        let special = if number.is_nan() {
            Some(0)
        } else if number <= -self.grid.limit() {
            Some(1)
        } else if number >= self.grid.limit() {
            Some(2)
        } else {
            None
        };
        let slot = match special {
            Some(special) => {
                self.specials[special] += 1;
                bins + special
            }
            None => self.add_finite(number, 1),
        };
        if let (Some(hours), Some(hour)) = (&mut self.hours, hour) {
            hours.add(hour, slot);
        }
    }

    /// Values that were taken in.
    pub(in crate::profile) fn rows(&self) -> u64 {
        self.counts.iter().chain(&self.specials).sum::<u64>() + self.strays
    }

    /// The column.
    pub(in crate::profile) fn finish(mut self, column: Column) -> Result<Column, ProfileError> {
        if self.strays > 0 {
            let (expected, found) = ("no finite values".to_owned(), format!("{} finite values", self.strays));
            return Err(ProfileError::DataChanged { column: column.name, expected, found });
        }
        self.merge_piece();
        let (edges, bin_of) = self.final_edges();
        let mut counts = vec![0; edges.len().saturating_sub(1)];
        for (bin, count) in bin_of.iter().zip(&self.counts) {
            counts[*bin] += count;
        }
        let moments = self.range.map(|range| self.moments.finish(range, self.scale));
        let [missing, negative_infinite, positive_infinite, other] = self.specials;
        let mut column = Column {
            kind: self.kind,
            missing,
            negative_infinite,
            positive_infinite,
            minimum: self.range.map(|(lowest, _)| lowest),
            maximum: self.range.map(|(_, highest)| highest),
            mean: moments.map(|(mean, _)| mean),
            std: moments.map(|(_, std)| std),
            distinct: self.distinct,
            outer_means: if self.kind == Kind::Numeric { self.outer_means(&edges, &bin_of) } else { None },
            other,
            edges,
            counts,
            ..column
        };
        set_hours(&mut column, self.hours.as_ref(), &bin_of);
        Ok(column)
    }

    /// Counts a finite number; answers its slot.
    fn add_finite(&mut self, number: f64, count: u64) -> usize {
        let (lowest, highest) = self.range.unwrap_or((number, number));
        self.range = Some((lowest.min(number), highest.max(number)));
        self.piece.push((number / self.scale, count));
        if self.piece.len() == PIECE {
            self.merge_piece();
        }
        let bins = self.counts.len();
        let below = self.edges.partition_point(|edge| *edge <= number);
        let is_code = below > 0 && below <= bins && self.edges[below] <= self.grid.next_up(self.edges[below - 1]);
        if self.kind == Kind::Categorical && !is_code {
            self.specials[3] += count;
            return bins + 3;
        }
        if bins == 0 {
            self.strays += count;
            return 0;
        }
        let bin = below.clamp(1, bins) - 1;
        self.counts[bin] += count;
        self.excess[bin] += (number / self.scale - self.edges[bin] / self.scale) * count as f64;
        bin
    }

    fn merge_piece(&mut self) {
        self.moments.merge(Moments::of(&self.piece));
        self.piece.clear();
    }

    /// The edges that stay, and the bin between them of each bin that was counted.
    fn final_edges(&self) -> (Vec<f64>, Vec<usize>) {
        let total = self.counts.iter().sum();
        let count_of = |value: f64| self.counts[self.edges.partition_point(|edge| *edge <= value) - 1];
        let atoms = self.candidates.iter().copied().filter(|&value| is_atom(count_of(value), total));
        let edges = rising(self.kept.iter().copied().chain(atom_edges(atoms, self.grid)).collect());
        let lower = self.edges.iter().take(self.counts.len());
        let bin_of = lower.map(|lower| edges.partition_point(|edge| edge <= lower) - 1).collect();
        (self.around_range(edges), bin_of)
    }

    fn around_range(&self, mut edges: Vec<f64>) -> Vec<f64> {
        if let ([first, .., last], Some((lowest, highest)), false) =
            (edges.as_mut_slice(), self.range, self.kind == Kind::Categorical)
        {
            *first = first.min(lowest);
            *last = last.max(self.grid.next_up(highest));
        }
        edges
    }

    fn outer_means(&self, edges: &[f64], bin_of: &[usize]) -> Option<[f64; 2]> {
        let mean = |wanted: usize| {
            let (mut sum, mut rows) = (0.0, 0.0);
            for bin in (0..bin_of.len()).filter(|&bin| bin_of[bin] == wanted) {
                let count = self.counts[bin] as f64;
                sum += self.edges[bin] / self.scale * count + self.excess[bin];
                rows += count;
            }
            let within = (edges[wanted], self.grid.next_down(edges[wanted + 1]));
            (rows > 0.0).then(|| (sum / rows * self.scale).clamp(within.0, within.1))
        };
        let last = edges.len().checked_sub(2)?;
        Some([mean(0)?, mean(last)?])
    }
}

fn kind_of(survey: &NumberSurvey, distinct: &[(f64, u64)], spec: &ColumnSpec, options: &ProfileOptions) -> Kind {
    let is = |value: f64, other: f64| value.total_cmp(&other).is_eq();
    let known = survey.is_exact() && !distinct.is_empty();
    if options.categorical.contains(&spec.name) {
        Kind::Categorical
    } else if spec.datatype == DataType::Bool && spec.statistic.is_none()
        || known && distinct.iter().all(|&(value, _)| is(value, 0.0) || is(value, 1.0))
    {
        Kind::Boolean
    } else if known && distinct.len() <= MAX_DISCRETE && distinct.iter().all(|&(value, _)| is(value.trunc(), value)) {
        Kind::Discrete
    } else {
        Kind::Numeric
    }
}

fn most_frequent(distinct: &[(f64, u64)]) -> impl Iterator<Item = f64> {
    let mut codes = distinct.to_vec();
    codes.sort_by_key(|&(_, count)| Reverse(count));
    codes.into_iter().take(MAX_CODES).map(|(code, _)| code)
}
