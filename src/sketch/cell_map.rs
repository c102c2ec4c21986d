//! From a number to one of 509 even cells, so that few edges share a cell.
//!
//! Cells are even in the value, or, where edges crowd, in the bits of its distance from where they do, which is roughly
//! its logarithm. Probabilities crowd at both ends: then there are two pieces, the lower one with distances from the first
//! edge and the upper one with distances from the last, so that cells are about even in the log-odds.
//!
//! Invariant: a higher number is never in a lower cell. Subtracting, reading bits as ranks, and scaling are monotone with
//! rounding, and cells of the upper piece are behind those of the lower.

use super::Precision;

/// Even cells, and behind them some that nothing is in: a table's length is a power of two.
pub(super) const TABLE: usize = 512;
/// The last even cell.
pub(super) const LAST_CELL: usize = TABLE - 4;

/// The last cell of the lower of two pieces.
const LAST_OF_LOWER: usize = LAST_CELL / 2;

/// How many edges at either end the cells may leave out; those share the outermost cells.
const LEFT_OUT: [usize; 7] = [0, 1, 2, 3, 4, 6, 7];

/// By which parts of a cell all cells may be moved, so that edges next to each other come to lie in two.
const MOVED: [f64; 3] = [0.0, 0.35, 0.7];

/// At which parts of the edges the upper of two pieces may begin.
const SPLITS: [f64; 3] = [0.5, 0.25, 0.75];

/// Cells that are even over a range of values, or of their bits.
#[derive(Clone, Copy, Debug)]
pub(super) struct CellMap<T> {
    /// Where the upper piece begins; negative infinity if there is no other.
    pub(super) split: T,
    /// The lower piece and the upper one.
    pub(super) pieces: [Piece<T>; 2],
    /// Whether cells are even in the bits; if not, there is one piece, and distances are from zero.
    pub(super) of_bits: bool,
}

/// A range with even cells.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece<T> {
    /// From where distances are taken.
    pub(super) anchor: T,
    /// The distance, or its [`Precision::bit_rank`], in the middle of the first cell.
    pub(super) origin: T,
    /// Cells per unit.
    pub(super) scale: T,
    /// The first cell.
    pub(super) first: usize,
    /// How many there are behind it.
    pub(super) more: usize,
}

impl<T: Precision> CellMap<T> {
    /// The map that leaves least to search among sorted edges; none if that is more than `most` edges in a cell. A map of
    /// bits costs about as much as a halving.
    pub(super) fn best(edges: &[T], most: usize) -> Option<Self> {
        Self::all(edges)
            .map(|map| (map, map.fullest(edges)))
            .filter(|&(_, fullest)| fullest <= most)
            // Two edges take less than the two halvings that three take.
            .min_by_key(|&(map, fullest)| fullest.min(4) + usize::from(map.of_bits))
            .map(|(map, _)| map)
    }

    /// All maps that there are for these edges, the plainest first.
    pub(super) fn all(edges: &[T]) -> impl Iterator<Item = Self> {
        let linear = LEFT_OUT.into_iter().filter_map(|left_out| Self::linear(edges, left_out));
        let of_bits = LEFT_OUT.into_iter().filter_map(|left_out| Self::of_bits(edges, left_out));
        let of_both_ends = SPLITS.into_iter().filter_map(|part| Self::of_both_ends(edges, part));
        let maps = linear.chain(of_bits).chain(of_both_ends);
        let maps = maps.flat_map(|map| MOVED.into_iter().map(move |part| map.moved(part)));
        std::iter::once(Self::single(Piece::everything(), false)).chain(maps)
    }

    fn single(piece: Piece<T>, of_bits: bool) -> Self {
        Self { split: T::NEG_INFINITY, pieces: [piece; 2], of_bits }
    }

    /// Cells from the first edge to the last, but for some at either end.
    fn linear(edges: &[T], left_out: usize) -> Option<Self> {
        let (first, last) = range(edges, left_out)?;
        Some(Self::single(Piece::over((first, last), T::ZERO, 0..=LAST_CELL)?, false))
    }

    /// The same, of the bits of values.
    fn of_bits(edges: &[T], left_out: usize) -> Option<Self> {
        let (first, last) = range(edges, left_out)?;
        let ranks = (first.bit_rank(), last.bit_rank());
        Some(Self::single(Piece::over(ranks, T::ZERO, 0..=LAST_CELL)?, true))
    }

    /// Half of the cells below an edge, which is at this part of all, and half from it on; of the bits of distances from
    /// the first edge and from the last.
    fn of_both_ends(edges: &[T], part: f64) -> Option<Self> {
        let &[first, .., last] = edges else { return None };
        let split = (part * edges.len() as f64) as usize;
        // The distances of the ends themselves are zero, whose bits are far from those of all others.
        let (lower, upper) = (edges.get(1..split)?, edges.get(split..edges.len() - 1)?);
        let ranks = |edges: &[T], anchor: T| {
            let rank = |edge: T| (edge - anchor).bit_rank();
            Some((rank(*edges.first()?), rank(*edges.last()?)))
        };
        let lower = Piece::over(ranks(lower, first)?, first, 0..=LAST_OF_LOWER)?;
        let upper = Piece::over(ranks(upper, last)?, last, LAST_OF_LOWER + 1..=LAST_CELL)?;
        Some(Self { split: edges[split], pieces: [lower, upper], of_bits: true })
    }

    /// The same cells, but further down by a part of a cell.
    fn moved(self, part: f64) -> Self {
        let moved = |piece: Piece<T>| {
            let origin = T::narrow(piece.origin.to_f64() - part / piece.scale.to_f64());
            Piece { origin, ..piece }
        };
        Self { pieces: self.pieces.map(moved), ..self }
    }

    /// The cell of an ordinary number.
    pub(super) fn cell(&self, value: T) -> usize {
        let piece = &self.pieces[usize::from(value >= self.split)];
        let distance = value - piece.anchor;
        let mapped = if self.of_bits { distance.bit_rank() } else { distance };
        piece.first + mapped.even_cell(piece.origin, piece.scale, T::of_cell(piece.more)) as usize % TABLE
    }

    /// How many edges the cell with the most of them has.
    pub(super) fn fullest(&self, edges: &[T]) -> usize {
        let of_one_cell = edges.chunk_by(|left, right| self.cell(*left) == self.cell(*right));
        of_one_cell.map(<[T]>::len).max().unwrap_or(0)
    }
}

impl<T: Precision> Piece<T> {
    /// One cell for all there is.
    fn everything() -> Self {
        Self { anchor: T::ZERO, origin: T::ZERO, scale: T::ZERO, first: 0, more: LAST_CELL }
    }

    /// These cells from one distance, or rank, to another.
    fn over((from, to): (T, T), anchor: T, cells: std::ops::RangeInclusive<usize>) -> Option<Self> {
        let more = cells.end() - cells.start();
        let scale = T::scale(from, to, more)?;
        Some(Self { anchor, origin: from, scale, first: *cells.start(), more })
    }
}

/// The first and the last of sorted edges, but for some at either end.
fn range<T: Precision>(edges: &[T], left_out: usize) -> Option<(T, T)> {
    let last = edges.len().checked_sub(left_out + 1)?;
    Some((*edges.get(left_out)?, edges[last]))
}
