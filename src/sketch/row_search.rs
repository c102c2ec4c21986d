//! Finds the counters of whole rows at once, each the one that [`BinLayout::slot`] says of the value alone.
//!
//! The range of a column's edges is cut into even cells, and a table says how many edges lie in the cells before each.
//! Left to search are the edges within the value's own cell: with 64 bins one or two, seldom more than three. Where
//! single edges lie far out the cells cover the range without them, and where edges crowd cells are even in bits, see
//! [`CellMap`]; whatever leaves least to search is taken, once, when a version is loaded. No branch depends on where in
//! the reference a value lies, so that none is mispredicted; what is to be summed is flagged and left for later.
//!
//! A tile of neighbouring columns is searched row by row, and not a column value by value: finding the cells is then
//! arithmetic on vectors of what lies side by side in memory, also of a single row, and increments that follow each other
//! never hit the same counter, for which the processor would wait. Loops are of a known length and tables of a known
//! size, so that nothing is checked per value; those lanes that no column has find the first counter, to which nothing is
//! added. The instructions that every x86-64 has are enough: building for wider vectors gained what it replaced 5 to 10 %.
//! `benches/record.rs` has figures.
//!
//! Invariant: rounding is monotone, so that a number in a later cell is above every edge of an earlier one; therefore the
//! place is exactly the one that [`BinLayout::slot`] says, however uneven the edges are.

use super::cell_map::{CellMap, LAST_CELL, TABLE};
use super::{BinLayout, Precision};

/// Columns of a tile. Their tables, edges and counters fit the first-level cache while a batch goes through.
pub const LANES: usize = 16;

/// Half a tile, and as many columns as most outputs have: few lanes are searched in loops of these lengths.
const HALF: usize = LANES / 2;
const FEW: usize = 2;

/// The most edges of one cell, which three halvings tell apart.
const MOST_EDGES: usize = 7;

/// Unused places behind a column's edges: as many as a cell may have edges, so that no step of a search leads out.
const UNUSED: usize = MOST_EDGES + 1;
/// From one lane's edges to the next's, where none has more than 72: those of 64 bins, and some atoms.
const NARROW: usize = 72 + UNUSED;
/// Room for the edges of so narrow lanes, and for what a count of up to 127 could lead to.
const NARROW_ROOM: usize = (LANES - 1) * NARROW + 128 + UNUSED;
/// The same where a lane has as many edges as a table can count.
const WIDE: usize = 256 + UNUSED;
const WIDE_ROOM: usize = LANES * WIDE;

/// Where the counters of a tensor's columns are.
#[derive(Clone, Debug)]
pub struct RowSearch<T> {
    tiles: Box<[Tile<T>]>,
    /// For each place the place that counts, if there are categorical columns.
    redirected: Box<[u32]>,
}

/// What is to be known of the columns of a tile, lane by lane.
#[derive(Clone, Debug)]
struct Tile<T> {
    /// Where the upper of two pieces of cells begins, see [`CellMap`].
    split: [T; LANES],
    pieces: [Pieces<T>; 2],
    /// Above zero for columns whose cells are even in bits.
    of_bits: [T; LANES],
    /// Ordinary numbers that are not from the first on and below the second belong to a sum.
    inside: [[T; LANES]; 2],
    /// Where the second sum begins, the third, and the last.
    sums_at: [[T; 3]; LANES],
    /// How many of the edges lie in the cells before each.
    before: [[u8; TABLE]; LANES],
    edges: Edges<T>,
    /// The place of each column's first counter.
    first: [u32; LANES],
    /// The places of NaN, negative and positive infinity.
    extremes: [[u32; 3]; LANES],
    /// Columns of the tile.
    width: usize,
    /// The most edges that a cell has in any column of the tile.
    fullest: usize,
    any_of_bits: bool,
    /// The lanes that are searched.
    searched: LaneFlags,
}

/// One piece of the cells of each lane.
#[derive(Clone, Copy, Debug)]
struct Pieces<T> {
    anchor: [T; LANES],
    origin: [T; LANES],
    scale: [T; LANES],
    more: [T; LANES],
    first: [u32; LANES],
}

/// The edges of each lane, and behind them NaN, which is at or below nothing.
#[derive(Clone, Debug)]
enum Edges<T> {
    Narrow(Box<[T; NARROW_ROOM]>),
    Wide(Box<[T; WIDE_ROOM]>),
}

/// Lanes of a row, a bit each.
pub type LaneFlags = u16;

/// Takes what was found of one row of a tile. A trait and not a closure, because only a method can be told to become part
/// of the loop that calls it.
pub trait VisitRow {
    /// Takes the counter of each value of a tile's first lanes, counted from the tensor's first: of all that are columns,
    /// and perhaps of more. Those of lanes that are not [searched](RowSearch::searched) mean nothing. Flagged are ordinary
    /// numbers that belong to a [sum](RowSearch::sum_of).
    fn visit<const WIDTH: usize>(&mut self, places: &[u32; WIDTH], tails: LaneFlags);
}

impl<T: Precision> RowSearch<T> {
    /// A search among columns whose counters lie one behind the other: of each, how many counters it has and, if it is
    /// on edges of this precision, its layout.
    #[must_use]
    pub fn new(columns: &[(usize, Option<&BinLayout<T>>)]) -> Self {
        let places: usize = columns.iter().map(|(slots, _)| slots).sum();
        let is_categorical = columns.iter().any(|(_, bins)| bins.is_some_and(BinLayout::is_categorical));
        let mut redirected: Box<[u32]> = (0..if is_categorical { places as u32 } else { 0 }).collect();
        let mut first = 0;
        let tiles = columns.chunks(LANES).map(|columns| {
            let edges = columns.iter().filter_map(|(_, bins)| bins.map(|bins| bins.edges().len()));
            let mut tile = Tile::for_edges(edges.max().unwrap_or(0));
            tile.width = columns.len();
            for (lane, &(slots, bins)) in columns.iter().enumerate() {
                if let Some(bins) = bins {
                    tile.add(lane, first, bins);
                    redirect(&mut redirected, first, bins);
                }
                first += slots;
            }
            tile
        });
        Self { tiles: tiles.collect(), redirected }
    }

    /// Which lanes of a tile are searched. Columns that are not on edges are not, nor are those of more than
    /// 254 bins and those whose edges crowd so much that no cells tell them apart.
    #[must_use]
    pub fn searched(&self, tile: usize) -> LaneFlags {
        self.tiles[tile].searched
    }

    /// The sum that a number belongs to, if it was flagged: below the edges, in the first bin, in the last, above them.
    #[inline]
    #[must_use]
    pub fn sum_of(&self, (tile, lane): (usize, usize), value: T) -> usize {
        // It is not in between, so that it is as far as there are bounds at or below it.
        self.tiles[tile].sums_at[lane].iter().map(|&bound| usize::from(value >= bound)).sum()
    }

    /// Bytes that the tables take.
    #[must_use]
    pub fn resident_bytes(&self) -> usize {
        let edges = self.tiles.iter().map(|tile| match &tile.edges {
            Edges::Narrow(edges) => size_of_val(&**edges),
            Edges::Wide(edges) => size_of_val(&**edges),
        });
        size_of_val(&*self.tiles) + edges.sum::<usize>() + size_of_val(&*self.redirected)
    }

    /// Finds the places of rows of one tile and shows them to `visitor`, in order. Values of lanes that are not searched
    /// are not looked at.
    ///
    /// # Panics
    /// For a tile that there is not.
    #[inline]
    pub fn find_rows(&self, tile: usize, rows: &[[T; LANES]], visitor: &mut impl VisitRow) {
        let tile = &self.tiles[tile];
        // Few lanes in loops for many would cost as much as many. What is rarer than a full tile of plain columns is found by
        // the loop that finds everything.
        match (&tile.edges, tile.width, tile.fullest, tile.any_of_bits) {
            (Edges::Narrow(edges), ..=FEW, ..) => {
                self.find::<FEW, MOST_EDGES, true, NARROW, _>((tile, edges), rows, visitor);
            }
            (Edges::Narrow(edges), ..=HALF, 0..=2, false) => {
                self.find::<HALF, 2, false, NARROW, _>((tile, edges), rows, visitor);
            }
            (Edges::Narrow(edges), ..=HALF, ..) => {
                self.find::<HALF, MOST_EDGES, true, NARROW, _>((tile, edges), rows, visitor);
            }
            (Edges::Narrow(edges), _, 0 | 1, false) => {
                self.find::<LANES, 1, false, NARROW, _>((tile, edges), rows, visitor);
            }
            (Edges::Narrow(edges), _, 2, false) => {
                self.find::<LANES, 2, false, NARROW, _>((tile, edges), rows, visitor);
            }
            (Edges::Narrow(edges), _, _, false) => {
                self.find::<LANES, MOST_EDGES, false, NARROW, _>((tile, edges), rows, visitor);
            }
            (Edges::Narrow(edges), _, 0..=2, true) => {
                self.find::<LANES, 2, true, NARROW, _>((tile, edges), rows, visitor);
            }
            (Edges::Narrow(edges), _, _, true) => {
                self.find::<LANES, MOST_EDGES, true, NARROW, _>((tile, edges), rows, visitor);
            }
            (Edges::Wide(edges), ..=FEW, ..) => {
                self.find::<FEW, MOST_EDGES, true, WIDE, _>((tile, edges), rows, visitor);
            }
            (Edges::Wide(edges), ..) => {
                self.find::<LANES, MOST_EDGES, true, WIDE, _>((tile, edges), rows, visitor);
            }
        }
    }

    #[inline]
    fn find<const WIDTH: usize, const MOST: usize, const BITS: bool, const STRIDE: usize, const ROOM: usize>(
        &self,
        (tile, edges): (&Tile<T>, &[T; ROOM]),
        rows: &[[T; LANES]],
        visitor: &mut impl VisitRow,
    ) {
        for row in rows {
            let row = row.first_chunk::<WIDTH>().expect("no part of a tile is wider than the tile");
            let cells = tile.find_cells::<WIDTH, BITS>(row);
            let mut places = tile.find_places::<WIDTH, MOST, STRIDE, ROOM>(edges, row, cells);
            let (tails, extremes) = (tile.find_tails(row) & tile.searched, find_extremes(row) & tile.searched);
            if !self.redirected.is_empty() {
                places = places.map(|place| self.redirected[place as usize]);
            }
            if extremes != 0 {
                tile.place_extremes(extremes, row, &mut places);
            }
            visitor.visit(&places, tails & !extremes);
        }
    }
}

fn redirect<T: Precision>(redirected: &mut [u32], first: usize, bins: &BinLayout<T>) {
    if bins.is_categorical() {
        for interval in bins.slots().finite() {
            redirected[first + interval] = (first + bins.slot_of_interval(interval)) as u32;
        }
    }
}

impl<T: Precision> Tile<T> {
    /// A tile without columns, with room for as many edges.
    fn for_edges(edges: usize) -> Self {
        let edges = if edges <= NARROW - UNUSED {
            Edges::Narrow(Box::new([T::NAN; NARROW_ROOM]))
        } else {
            Edges::Wide(Box::new([T::NAN; WIDE_ROOM]))
        };
        Self {
            split: [T::NEG_INFINITY; LANES],
            pieces: [Pieces::EMPTY; 2],
            of_bits: [T::ZERO; LANES],
            inside: [[T::NEG_INFINITY; LANES], [T::INFINITY; LANES]],
            sums_at: [[T::INFINITY; 3]; LANES],
            before: [[0; TABLE]; LANES],
            edges,
            first: [0; LANES],
            extremes: [[0; 3]; LANES],
            width: 0,
            fullest: 0,
            any_of_bits: false,
            searched: 0,
        }
    }

    /// Enters a column.
    fn add(&mut self, lane: usize, first: usize, bins: &BinLayout<T>) {
        let (edges, slots) = (bins.edges(), bins.slots());
        // What the table says of a column is below 256, or the column is not searched.
        if edges.len() > usize::from(u8::MAX) {
            return;
        }
        let Some(map) = CellMap::best(edges, MOST_EDGES) else { return };
        self.searched |= 1 << lane;
        self.fullest = self.fullest.max(map.fullest(edges));
        self.any_of_bits |= map.of_bits;
        self.of_bits[lane] = if map.of_bits { T::INFINITY } else { T::ZERO };
        self.split[lane] = map.split;
        for (pieces, piece) in self.pieces.iter_mut().zip(map.pieces) {
            (pieces.anchor[lane], pieces.origin[lane], pieces.scale[lane]) = (piece.anchor, piece.origin, piece.scale);
            (pieces.more[lane], pieces.first[lane]) = (T::of_cell(piece.more), piece.first as u32);
        }
        (self.inside[0][lane], self.inside[1][lane]) = bins.inside();
        match *edges {
            [first, last] => self.sums_at[lane] = [first, last, last],
            [first, .., before_last, last] => self.sums_at[lane] = [first, before_last, last],
            _ => {}
        }
        self.first[lane] = first as u32;
        let extremes = [slots.missing(), slots.negative_infinite(), slots.positive_infinite()];
        self.extremes[lane] = extremes.map(|slot| (first + slot) as u32);
        for (cell, before) in self.before[lane].iter_mut().enumerate() {
            *before = edges.partition_point(|&edge| map.cell(edge) < cell) as u8;
        }
        match &mut self.edges {
            Edges::Narrow(room) => room[lane * NARROW..][..edges.len()].copy_from_slice(edges),
            Edges::Wide(room) => room[lane * WIDE..][..edges.len()].copy_from_slice(edges),
        }
    }

    /// The cell of each value; for what is no ordinary number any.
    #[inline(always)]
    fn find_cells<const WIDTH: usize, const BITS: bool>(&self, row: &[T; WIDTH]) -> [u16; WIDTH] {
        let mut cells = [0; WIDTH];
        for lane in 0..WIDTH {
            cells[lane] = if BITS {
                self.find_cell_of_bits(lane, row[lane])
            } else {
                let Pieces { origin, scale, .. } = &self.pieces[1];
                row[lane].even_cell(origin[lane], scale[lane], T::of_cell(LAST_CELL)) as u16
            };
        }
        cells
    }

    /// The cell where it may be of bits or in the lower of two pieces.
    #[inline(always)]
    fn find_cell_of_bits(&self, lane: usize, value: T) -> u16 {
        let [lower, upper] = &self.pieces;
        let is_lower = value < self.split[lane];
        let of = |of_lower: &[T; LANES], of_upper: &[T; LANES]| if is_lower { of_lower[lane] } else { of_upper[lane] };
        let distance = value - of(&lower.anchor, &upper.anchor);
        let mapped = if self.of_bits[lane] > T::ZERO { distance.bit_rank() } else { distance };
        let (origin, scale) = (of(&lower.origin, &upper.origin), of(&lower.scale, &upper.scale));
        let first = if is_lower { lower.first[lane] } else { upper.first[lane] };
        (first + mapped.even_cell(origin, scale, of(&lower.more, &upper.more))) as u16
    }

    /// A round over all lanes for each step: values wait for none but their own, and the processor overlaps them. Two
    /// edges are one step, because comparing with both is less than halving, of which the second waits for the first.
    #[inline(always)]
    fn find_places<const WIDTH: usize, const MOST: usize, const STRIDE: usize, const ROOM: usize>(
        &self,
        edges: &[T; ROOM],
        row: &[T; WIDTH],
        cells: [u16; WIDTH],
    ) -> [u32; WIDTH] {
        // Cells are within the table, and counts within the room; the remainders tell the compiler.
        let counts = const { ROOM - UNUSED - (LANES - 1) * STRIDE };
        let mut places = [0; WIDTH];
        for lane in 0..WIDTH {
            let before = usize::from(self.before[lane][usize::from(cells[lane]) % TABLE]) % counts;
            let (edge, value) = (|index: usize| edges[lane * STRIDE + index], row[lane]);
            let mut place = before;
            if MOST <= 2 {
                for step in 0..MOST {
                    place += usize::from(edge(before + step) <= value);
                }
            } else {
                place += usize::from(edge(place + 3) <= value) * 4;
                place += usize::from(edge(place + 1) <= value) * 2;
                place += usize::from(edge(place) <= value);
            }
            places[lane] = self.first[lane] + place as u32;
        }
        places
    }

    /// Which values are in or beyond the outermost bins; what is no ordinary number may be among them.
    #[inline(always)]
    fn find_tails<const WIDTH: usize>(&self, row: &[T; WIDTH]) -> LaneFlags {
        let (first, last) = (&self.inside[0], &self.inside[1]);
        let mut tails = 0;
        for (lane, (&value, (&first, &last))) in row.iter().zip(first.iter().zip(last)).enumerate() {
            tails |= LaneFlags::from(!(value >= first && value < last)) << lane;
        }
        tails
    }

    /// Places values that are no ordinary numbers. They are rare, so that a branch around this is seldom mispredicted.
    #[inline(never)]
    fn place_extremes(&self, mut flags: LaneFlags, row: &[T], places: &mut [u32]) {
        while flags != 0 {
            let lane = flags.trailing_zeros() as usize;
            flags &= flags - 1;
            let value = row[lane];
            let kind = if value.is_missing() { 0 } else { 1 + usize::from(value > T::ZERO) };
            places[lane] = self.extremes[lane][kind];
        }
    }
}

/// Which values are no ordinary numbers.
#[inline(always)]
fn find_extremes<T: Precision, const WIDTH: usize>(row: &[T; WIDTH]) -> LaneFlags {
    let mut extremes = 0;
    for (lane, value) in row.iter().enumerate() {
        extremes |= LaneFlags::from(!value.is_ordinary()) << lane;
    }
    extremes
}

impl<T: Precision> Pieces<T> {
    const EMPTY: Self = Self {
        anchor: [T::ZERO; LANES],
        origin: [T::ZERO; LANES],
        scale: [T::ZERO; LANES],
        more: [T::ZERO; LANES],
        first: [0; LANES],
    };
}
