//! Finds the counters of whole rows at once, each the one that [`BinLayout::slot`] says of the value alone.
//!
//! The range of a column's edges is cut into even cells, and a table says how many edges lie in the cells before each.
//! Left to search are the edges within the value's own cell: with 64 bins one or two, seldom more than three. Where
//! single edges lie far out the cells cover the range without them, and where edges crowd around zero cells are even in
//! the bits of the value, which is roughly its logarithm; whatever leaves least to search is taken, once, when a version
//! is loaded. No branch depends on a value, so that none is mispredicted.
//!
//! A tile of neighbouring columns is searched row by row, and not a column value by value: finding the cells is then
//! arithmetic on vectors of what lies side by side in memory, also of a single row, and increments that follow each other
//! never hit the same counter, for which the processor would wait. The instructions that every x86-64 has are enough:
//! building for wider vectors gains 5 to 10 %. `benches/record.rs` has the figures of this and of what it replaced.
//!
//! Invariant: rounding is monotone, so that a number in a later cell is above every edge of an earlier one; therefore the
//! place is exactly the one that [`BinLayout::slot`] says, however uneven the edges are.

use super::cell_map::{CellMap, LAST_CELL, TABLE};
use super::{BinLayout, Precision};

/// Columns of a tile. Their tables, edges and counters fit the first-level cache while a batch goes through.
pub const LANES: usize = 16;

/// The most edges of one cell, which three halvings tell apart: the unused places behind a column's edges allow no more.
const MOST_EDGES: usize = 7;

/// The tables of a tile's lanes, one behind the other.
type Tables = [u8; LANES * TABLE];

/// Where the counters of a tensor's columns are.
#[derive(Clone, Debug)]
pub struct RowSearch<T> {
    tiles: Box<[Tile<T>]>,
    /// Per column, how many of its edges lie in the cells before each, and behind those the slots of what is no ordinary
    /// number.
    before: Box<[u8]>,
    /// The edges of each column from the place of its first counter, padded with NaN, which is at or below nothing.
    edges: Box<[T]>,
    /// For each place the place that counts, if there are categorical columns.
    redirected: Box<[u32]>,
}

#[derive(Clone, Debug)]
struct Tile<T> {
    origin: [T; LANES],
    scale: [T; LANES],
    /// Above zero for columns whose cells are even in the bits of the value.
    of_bits: [T; LANES],
    /// Values below the first or not below the second may belong to a sum.
    tails: [[T; LANES]; 2],
    /// The place of each column's first counter.
    first: [u32; LANES],
    /// The most edges that a cell has in any column of the tile.
    fullest: usize,
    any_of_bits: bool,
    /// A bit for every lane that is searched.
    searched: u16,
}

/// Takes what was found of one row of a tile. A trait and not a closure, because only a method can be told to become part
/// of the loop that calls it.
pub trait VisitRow {
    /// Takes the counter of each value, counted from the tensor's first, and a 1 for each value that may belong to a sum;
    /// infinities are among them. Lanes that are not [searched](RowSearch::searched) mean nothing.
    fn visit(&mut self, places: &[u32], tails: [u8; LANES]);
}

impl<T: Precision> RowSearch<T> {
    /// A search among columns whose counters lie one behind the other: of each, how many counters it has and, if it is
    /// on edges of this precision, its layout.
    #[must_use]
    pub fn new(columns: &[(usize, Option<&BinLayout<T>>)]) -> Self {
        let places: usize = columns.iter().map(|(slots, _)| slots).sum();
        let tiles = columns.len().div_ceil(LANES);
        let is_categorical = columns.iter().any(|(_, bins)| bins.is_some_and(BinLayout::is_categorical));
        let mut search = Self {
            tiles: vec![Tile::EMPTY; tiles].into_boxed_slice(),
            before: vec![0; tiles * LANES * TABLE].into_boxed_slice(),
            edges: vec![T::NAN; places + MOST_EDGES + 1].into_boxed_slice(),
            redirected: (0..if is_categorical { places as u32 } else { 0 }).collect(),
        };
        let mut first = 0;
        for (index, &(slots, bins)) in columns.iter().enumerate() {
            if let Some(bins) = bins {
                search.add(index, first, bins);
            }
            first += slots;
        }
        search
    }

    /// Which lanes of a tile are searched, a bit each. Columns that are not on edges are not, nor are those of more than
    /// 251 bins and those whose edges crowd so much that no cells tell them apart.
    #[must_use]
    pub fn searched(&self, tile: usize) -> u16 {
        self.tiles[tile].searched
    }

    /// Bytes that the tables take.
    #[must_use]
    pub fn resident_bytes(&self) -> usize {
        size_of_val(&*self.tiles)
            + size_of_val(&*self.before)
            + size_of_val(&*self.edges)
            + size_of_val(&*self.redirected)
    }

    /// Finds the places of rows of one tile and shows them to `visitor`, in order. Only the first `lanes` values of a
    /// row are looked at.
    ///
    /// # Panics
    /// For a tile that there is not, and for more lanes than a tile has.
    #[inline]
    pub fn find_rows(&self, tile: usize, lanes: usize, rows: &[[T; LANES]], visitor: &mut impl VisitRow) {
        let before = self.before[tile * LANES * TABLE..].first_chunk();
        let tile = (&self.tiles[tile], before.expect("every tile has a table per lane"));
        match (tile.0.fullest, tile.0.any_of_bits) {
            (0 | 1, false) => self.find_among::<1, false>(tile, lanes, rows, visitor),
            (2, false) => self.find_among::<2, false>(tile, lanes, rows, visitor),
            (3, false) => self.find_among::<3, false>(tile, lanes, rows, visitor),
            (_, false) => self.find_among::<MOST_EDGES, false>(tile, lanes, rows, visitor),
            (0 | 1, true) => self.find_among::<1, true>(tile, lanes, rows, visitor),
            (2, true) => self.find_among::<2, true>(tile, lanes, rows, visitor),
            (3, true) => self.find_among::<3, true>(tile, lanes, rows, visitor),
            (_, true) => self.find_among::<MOST_EDGES, true>(tile, lanes, rows, visitor),
        }
    }

    #[inline]
    fn find_among<const EDGES: usize, const BITS: bool>(
        &self,
        tile: (&Tile<T>, &Tables),
        lanes: usize,
        rows: &[[T; LANES]],
        visitor: &mut impl VisitRow,
    ) {
        // Most tiles are full, and loops of a known length take a fifth less.
        if lanes == LANES {
            rows.iter().for_each(|row| self.find::<EDGES, BITS>(tile, row, visitor));
        } else {
            rows.iter().for_each(|row| self.find::<EDGES, BITS>(tile, &row[..lanes], visitor));
        }
    }

    #[inline(always)]
    fn find<const EDGES: usize, const BITS: bool>(
        &self,
        (tile, before): (&Tile<T>, &Tables),
        row: &[T],
        visitor: &mut impl VisitRow,
    ) {
        let (mut cells, mut values) = ([0; LANES], [T::NAN; LANES]);
        let (mut places, mut tails) = ([0; LANES], [0; LANES]);
        let lanes = row.len().min(LANES);
        let row = &row[..lanes];
        tile.find_cells::<BITS>(row, &mut cells[..lanes], &mut values[..lanes], &mut tails[..lanes]);
        self.find_places::<EDGES>((tile, before), &cells[..lanes], &values[..lanes], &mut places[..lanes]);
        visitor.visit(&places[..lanes], tails);
    }

    /// A round over all lanes for each step: values wait for none but their own, and the processor overlaps them. Two
    /// edges are one step, because comparing with both is less than halving, of which the second waits for the first.
    #[inline(always)]
    fn find_places<const EDGES: usize>(
        &self,
        (tile, before): (&Tile<T>, &Tables),
        cells: &[u16],
        values: &[T],
        places: &mut [u32],
    ) {
        for (lane, (place, cell)) in places.iter_mut().zip(cells).enumerate() {
            // Cells are within the table; the remainder tells the compiler.
            let at = lane % LANES * TABLE + usize::from(*cell) % TABLE;
            *place = tile.first[lane % LANES] + u32::from(before[at]);
        }
        if EDGES == 2 {
            for (place, value) in places.iter_mut().zip(values) {
                let edges = self.edges[*place as usize..].first_chunk::<2>();
                let [first, second] = edges.expect("places behind the last column's edges are unused");
                *place += u32::from(first <= value) + u32::from(second <= value);
            }
        } else {
            for step in (0..=EDGES.ilog2()).rev() {
                for (place, value) in places.iter_mut().zip(values) {
                    let edge = self.edges[*place as usize + (1 << step) - 1];
                    *place += u32::from(edge <= *value) << step;
                }
            }
        }
        if !self.redirected.is_empty() {
            for place in places {
                *place = self.redirected[*place as usize];
            }
        }
    }

    /// Enters a column.
    fn add(&mut self, index: usize, first: usize, bins: &BinLayout<T>) {
        let edges = bins.edges();
        let slots = bins.slots();
        // What the table says of a column is below 256, or the column is not searched.
        let extremes = [slots.missing(), slots.negative_infinite(), slots.positive_infinite()];
        let [Ok(missing), Ok(negative), Ok(positive)] = extremes.map(u8::try_from) else { return };
        let Some(map) = CellMap::best(edges, MOST_EDGES) else { return };
        let (tile, lane) = (&mut self.tiles[index / LANES], index % LANES);
        tile.searched |= 1 << lane;
        tile.fullest = tile.fullest.max(map.fullest(edges));
        tile.any_of_bits |= map.of_bits;
        tile.of_bits[lane] = if map.of_bits { T::INFINITY } else { T::ZERO };
        (tile.origin[lane], tile.scale[lane]) = (map.origin, map.scale);
        (tile.tails[0][lane], tile.tails[1][lane]) = bins.tails();
        tile.first[lane] = first as u32;
        let table = &mut self.before[index * TABLE..(index + 1) * TABLE];
        for (cell, before) in table.iter_mut().enumerate() {
            *before = edges.partition_point(|&edge| map.cell(edge) < cell as u32) as u8;
        }
        table[LAST_CELL + 1..].copy_from_slice(&[missing, negative, positive]);
        self.edges[first..first + edges.len()].copy_from_slice(edges);
        if bins.is_categorical() {
            for interval in slots.finite() {
                self.redirected[first + interval] = (first + bins.slot_of_interval(interval)) as u32;
            }
        }
    }
}

impl<T: Precision> Tile<T> {
    const EMPTY: Self = Self {
        origin: [T::ZERO; LANES],
        scale: [T::ZERO; LANES],
        of_bits: [T::ZERO; LANES],
        tails: [[T::NAN; LANES]; 2],
        first: [0; LANES],
        fullest: 0,
        any_of_bits: false,
        searched: 0,
    };

    /// The cell of each value, and the value itself; NaN instead of an infinity, so that no edge is at or below it.
    #[inline(always)]
    fn find_cells<const BITS: bool>(&self, row: &[T], cells: &mut [u16], values: &mut [T], tails: &mut [u8]) {
        let lanes = row.len();
        let (origin, scale, of_bits) = (&self.origin[..lanes], &self.scale[..lanes], &self.of_bits[..lanes]);
        let (below, above) = (&self.tails[0][..lanes], &self.tails[1][..lanes]);
        let (cells, values, tails) = (&mut cells[..lanes], &mut values[..lanes], &mut tails[..lanes]);
        for lane in 0..lanes {
            let value = row[lane];
            let mapped = if BITS && of_bits[lane] > T::ZERO { value.bit_rank() } else { value };
            let even = mapped.even_cell(origin[lane], scale[lane], LAST_CELL);
            let extreme = LAST_CELL as u32 + value.extreme();
            tails[lane] = u8::from(value < below[lane]) | u8::from(value >= above[lane]);
            cells[lane] = if value.is_ordinary() { even } else { extreme } as u16;
            values[lane] = if value.is_ordinary() { value } else { T::NAN };
        }
    }
}
