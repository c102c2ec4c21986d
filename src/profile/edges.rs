//! From values to edges.
//!
//! Quantile edges give every bin the same resolution in probability, which is what distances between distributions are
//! made of; values with more than 1 % of the mass ("atoms") would make several of those edges equal and get bins of
//! their own instead. Two occurrences are needed for an atom, so that in fifty rows not every value is one.
//!
//! Invariant: edges rise strictly, enclose all values, make at most [`MAX_BINS`] bins and, for quantile edges, no more
//! bins than there are values.

use crate::sketch::MAX_BINS;

/// The numbers a tensor can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grid {
    /// FP32 and narrower floats.
    Single,
    /// Everything else.
    Double,
}

impl Grid {
    /// The value on the grid; both zeros as one.
    pub(super) fn round(self, value: f64) -> f64 {
        let rounded = match self {
            Self::Single => f64::from(value as f32),
            Self::Double => value,
        };
        rounded + 0.0
    }

    /// The largest finite number; it and its negative are counted with the infinities.
    pub(super) fn limit(self) -> f64 {
        match self {
            Self::Single => f64::from(f32::MAX),
            Self::Double => f64::MAX,
        }
    }

    /// The next number after a value on the grid.
    pub(super) fn next_up(self, value: f64) -> f64 {
        match self {
            Self::Single => f64::from((value as f32).next_up()),
            Self::Double => value.next_up(),
        }
    }
}

/// Distinct values, lowest first, and how often each occurs.
pub(super) fn distinct(sorted: &[f64]) -> Vec<(f64, u64)> {
    let mut distinct: Vec<(f64, u64)> = Vec::new();
    for &value in sorted {
        match distinct.last_mut() {
            Some((last, count)) if *last >= value => *count += 1,
            _ => distinct.push((value, 1)),
        }
    }
    distinct
}

/// Edges that make an atom of each of these values.
pub(super) fn atom_edges(values: impl IntoIterator<Item = f64>, grid: Grid) -> Vec<f64> {
    rising(values.into_iter().flat_map(|value| [value, grid.next_up(value)]).collect())
}

/// Edges of atoms and of quantile bins between them, about `bins` in all.
pub(super) fn quantile_edges(sorted: &[f64], bins: usize, grid: Grid) -> Vec<f64> {
    let (Some(&minimum), Some(&maximum)) = (sorted.first(), sorted.last()) else { return Vec::new() };
    let is_atom = |count: u64| count > 1 && u128::from(count) * 100 > sorted.len() as u128;
    let (atoms, others): (Vec<_>, Vec<_>) = distinct(sorted).into_iter().partition(|&(_, count)| is_atom(count));
    let rest: Vec<f64> =
        others.into_iter().flat_map(|(value, count)| std::iter::repeat_n(value, count as usize)).collect();
    // Each atom adds two edges wherever it falls; there are fewer than 100 of them.
    let parts = bins.saturating_sub(atoms.len()).max(1).min(MAX_BINS - 2 * atoms.len()).min(rest.len());
    let mut edges = vec![minimum, grid.next_up(maximum)];
    edges.extend(atoms.iter().flat_map(|&(value, _)| [value, grid.next_up(value)]));
    edges.extend((1..parts).map(|part| rest[part * rest.len() / parts]));
    rising(edges)
}

/// How many of the sorted values lie in each bin.
pub(super) fn counts_between(edges: &[f64], sorted: &[f64]) -> Vec<u64> {
    let below = |edge: f64| sorted.partition_point(|&value| value < edge);
    edges.windows(2).map(|pair| (below(pair[1]) - below(pair[0])) as u64).collect()
}

fn rising(mut edges: Vec<f64>) -> Vec<f64> {
    edges.sort_by(f64::total_cmp);
    edges.dedup_by(|next, previous| *next <= *previous);
    edges
}
