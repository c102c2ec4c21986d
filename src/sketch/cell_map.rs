//! From a number to one of 509 even cells, so that few edges share a cell.
//!
//! Invariant: a higher number is never in a lower cell.

use super::Precision;

/// Even cells, and behind them one each for NaN, negative and positive infinity.
pub(super) const TABLE: usize = 512;
/// The last even cell.
pub(super) const LAST_CELL: usize = TABLE - 4;

/// How many edges at either end the cells may leave out; those share the outermost cells.
const LEFT_OUT: [usize; 7] = [0, 1, 2, 3, 4, 6, 7];

/// By which parts of a cell all cells may be moved, so that edges next to each other come to lie in two.
const MOVED: [f64; 3] = [0.0, 0.35, 0.7];

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
    /// The map that leaves least to search among sorted edges; none if that is more than `most` edges in a cell. A map of
    /// bits costs about as much as a halving.
    pub(super) fn best(edges: &[T], most: usize) -> Option<Self> {
        let one_cell = Self { origin: T::ZERO, scale: T::ZERO, of_bits: false };
        let ranges = [false, true]
            .into_iter()
            .flat_map(|of_bits| LEFT_OUT.into_iter().filter_map(move |left_out| Self::over(edges, left_out, of_bits)));
        let maps = ranges.flat_map(|map| MOVED.into_iter().map(move |part| map.moved(part)));
        std::iter::once(one_cell)
            .chain(maps)
            .map(|map| (map, map.fullest(edges)))
            .filter(|&(_, fullest)| fullest <= most)
            // Two edges take less than the two halvings that three take.
            .min_by_key(|&(map, fullest)| fullest.min(4) + usize::from(map.of_bits))
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

    /// The same cells, but further down by a part of a cell.
    fn moved(self, part: f64) -> Self {
        Self { origin: T::narrow(self.origin.to_f64() - part / self.scale.to_f64()), ..self }
    }

    /// The cell of an ordinary number.
    pub(super) fn cell(&self, value: T) -> u32 {
        let mapped = if self.of_bits { value.bit_rank() } else { value };
        mapped.even_cell(self.origin, self.scale, LAST_CELL)
    }

    /// How many edges the cell with the most of them has.
    pub(super) fn fullest(&self, edges: &[T]) -> usize {
        let of_one_cell = edges.chunk_by(|left, right| self.cell(*left) == self.cell(*right));
        of_one_cell.map(<[T]>::len).max().unwrap_or(0)
    }
}
