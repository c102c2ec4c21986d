//! From a number to one of 253 even cells, so that few edges share a cell.
//!
//! Invariant: a higher number is never in a lower cell.

use super::Precision;

/// Even cells, and behind them one each for NaN, negative and positive infinity.
pub(super) const TABLE: usize = 256;
/// The last even cell.
pub(super) const LAST_CELL: usize = TABLE - 4;

/// How many edges at either end the cells may leave out; those share the outermost cells.
const LEFT_OUT: [usize; 7] = [0, 1, 2, 3, 4, 6, 7];

/// Cells that are even over a range of values, or of their bits.
#[derive(Clone, Copy, Debug)]
pub(super) struct CellMap<T> {
    /// The value, or its [`Precision::bit_rank`], in the middle of cell 0.
    pub(super) origin: T,
    /// Cells per unit.
    pub(super) scale: T,
    /// Whether cells are even in the bits.
    pub(super) of_bits: bool,
}

impl<T: Precision> CellMap<T> {
    /// The map that leaves least to search among sorted edges; none if it is more than `most_steps` halvings. A map of
    /// bits costs about as much as a halving.
    pub(super) fn best(edges: &[T], most_steps: u32) -> Option<Self> {
        let one_cell = Self { origin: T::ZERO, scale: T::ZERO, of_bits: false };
        let maps = [false, true]
            .into_iter()
            .flat_map(|of_bits| LEFT_OUT.into_iter().filter_map(move |left_out| Self::over(edges, left_out, of_bits)));
        std::iter::once(one_cell)
            .chain(maps)
            .map(|map| (map, map.steps(edges)))
            .filter(|&(_, steps)| steps <= most_steps)
            .min_by_key(|&(map, steps)| steps + u32::from(map.of_bits))
            .map(|(map, _)| map)
    }

    /// Cells from the first edge to the last, but for some at either end.
    fn over(edges: &[T], left_out: usize, of_bits: bool) -> Option<Self> {
        let last = edges.len().checked_sub(left_out + 1)?;
        let (first, last) = (*edges.get(left_out)?, edges[last]);
        let (first, last) = if of_bits { (first.bit_rank(), last.bit_rank()) } else { (first, last) };
        let scale = T::scale(first, last, LAST_CELL)?;
        Some(Self { origin: first, scale, of_bits })
    }

    /// The cell of an ordinary number.
    pub(super) fn cell(&self, value: T) -> u32 {
        let mapped = if self.of_bits { value.bit_rank() } else { value };
        mapped.even_cell(self.origin, self.scale, LAST_CELL)
    }

    /// How many halvings find a place among the edges of any one cell.
    pub(super) fn steps(&self, edges: &[T]) -> u32 {
        let of_one_cell = edges.chunk_by(|left, right| self.cell(*left) == self.cell(*right));
        let most = of_one_cell.map(<[T]>::len).max().unwrap_or(0);
        usize::BITS - most.leading_zeros()
    }
}
