//! From values to edges.
//!
//! Quantile edges give every bin the same resolution in probability, which is what distances between distributions are
//! made of; values with more than 1 % of the mass ("atoms") would make several of those edges equal and get bins of
//! their own instead. Two occurrences are needed for an atom, so that in fifty rows not every value is one.
//!
//! Values come as distinct numbers with their counts, exact or as a summary of ranks has them: where an edge lies is a
//! choice, and only what is then counted between edges has to be exact.
//!
//! Invariant: edges rise strictly, enclose all values, make at most [`MAX_BINS`] bins and, for quantile edges of exact
//! counts, no more bins than there are values.

use crate::sketch::MAX_BINS;
use crate::tensor::DataType;

/// The most values that can each have more than 1 % of the mass.
const MOST_ATOMS: usize = 99;

/// The numbers a tensor can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grid {
    /// FP32 and narrower floats.
    Single,
    /// Everything else.
    Double,
}

impl Grid {
    /// The grid that a column is searched on: see [`Column::layout`](super::Column::layout).
    pub(super) fn of(datatype: DataType, derived: bool) -> Self {
        match datatype {
            DataType::Fp32 | DataType::Fp16 | DataType::Bf16 if !derived => Self::Single,
            _ => Self::Double,
        }
    }

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

    /// The number before a value on the grid.
    pub(super) fn next_down(self, value: f64) -> f64 {
        -self.next_up(-value)
    }
}

/// Whether a value that occurs `count` times among `total` has more than 1 % of the mass.
pub(super) fn is_atom(count: u64, total: u64) -> bool {
    count > 1 && u128::from(count) * 100 > u128::from(total)
}

/// Edges that make an atom of each of these values.
pub(super) fn atom_edges(values: impl IntoIterator<Item = f64>, grid: Grid) -> Vec<f64> {
    rising(values.into_iter().flat_map(|value| [value, grid.next_up(value)]).collect())
}

/// Inner edges of quantile bins, which make `bins` in all together with the atoms, whose own edges are not among them.
/// `distinct` are the values, lowest first, with their counts; room is left for the edges of `candidates` atoms.
pub(super) fn quantile_edges(distinct: &[(f64, u64)], bins: usize, candidates: usize) -> Vec<f64> {
    let total = total(distinct);
    let (atoms, rest): (Vec<_>, Vec<_>) = distinct.iter().copied().partition(|&(_, count)| is_atom(count, total));
    let rows = rest.iter().map(|(_, count)| u128::from(*count)).sum::<u128>();
    // Each atom adds two edges wherever it falls.
    let most = MAX_BINS.saturating_sub(2 * candidates.min(MOST_ATOMS));
    let parts = (bins.saturating_sub(atoms.len()).max(1).min(most) as u128).min(rows);
    let mut edges = Vec::new();
    let (mut part, mut below) = (1, 0_u128);
    for (value, count) in rest {
        below += u128::from(count);
        // The value at position part · rows / parts, counted from 0.
        while part < parts && part * rows / parts < below {
            edges.push(value);
            part += 1;
        }
    }
    edges
}

/// Edges in rising order, each once.
pub(super) fn rising(mut edges: Vec<f64>) -> Vec<f64> {
    edges.sort_by(f64::total_cmp);
    edges.dedup_by(|next, previous| *next <= *previous);
    edges
}

/// How many values there are.
pub(super) fn total(distinct: &[(f64, u64)]) -> u64 {
    distinct.iter().map(|(_, count)| count).sum()
}
