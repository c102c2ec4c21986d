//! Tables of up to sixteen columns, and the steps of the search of one line of values.
//!
//! Loops are of a known length and tables of a known size, so that nothing is checked per value: what a table says is
//! below 256, and behind the last lane's edges and counters there is room for as many. A column's edges lie as far from
//! the next column's as its counters do.
//!
//! With one edge to compare with, a value takes eight instructions from its cell to its counter: loading the cell and the
//! value, a remainder, a table, a comparison, its carry, a widening, an increment. Finding the cells and what is outside
//! takes five more, and each further edge two. Two habits of the compiler would double that. Where it sees what a cell was
//! computed from, it branches on whether the value was in the last one; so cells go through [`black_box`], which costs a
//! copy of a line. And where it sees that a sum does not overflow, it makes an address of every addend; so counts are of
//! eight bits, which wrap as far as it knows.
//!
//! Invariant: every place that a step leads to is within the room, whatever the value.

use super::cell_map::{CellMap, LAST_CELL, TABLE};
use super::row_search::{LANES, LaneFlags};
use super::{BinLayout, Precision};
use std::hint::black_box;

/// The most edges of one cell, which three halvings tell apart.
const MOST_EDGES: usize = 7;
/// Unused places behind a column's edges: as many as a cell may have edges, so that no step of a search leads out.
const UNUSED: usize = MOST_EDGES + 1;
/// What a count of edges in a table is below.
const COUNTS: usize = 1 << u8::BITS;
/// Places that steps may lead to as far as the compiler knows, from a column's first on.
pub(super) const REACH: usize = COUNTS + UNUSED;
/// From one column's places to the next's, where none has more than 72 edges: those of 64 bins, and some atoms.
const NARROW: usize = 72 + UNUSED;
/// The same where a column has as many edges as a table can count.
const WIDE: usize = REACH;

/// Places of a tile, so that the last lane may lead to as many as any count says.
const fn room(stride: usize) -> usize {
    (LANES - 1) * stride + REACH
}
const NARROW_ROOM: usize = room(NARROW);
const WIDE_ROOM: usize = room(WIDE);

/// From one column's places to the next's in so much room.
const fn stride(room: usize) -> usize {
    (room - REACH) / (LANES - 1)
}

/// Half a tile: few lanes are searched in loops of this length.
const HALF: usize = LANES / 2;

// Maps of cells, from the plainest to one that includes the others: what the columns of a tile have in common decides.
const EVEN: u8 = 0;
const OF_BITS: u8 = 1;
const OF_BOTH_ENDS: u8 = 2;

/// What is to be known of the columns of a tile: lane by lane what vectors are computed with, column by column the rest.
#[derive(Clone, Debug)]
pub(super) struct Tile<T> {
    /// The lanes that are searched.
    pub(super) searched: LaneFlags,
    /// The column of each lane: its own, or that of a row's first lanes, where rows stand side by side.
    column_of: [u8; LANES],
    /// Lanes that columns have.
    lanes: usize,
    rows_in_line: usize,
    /// Where the upper of two pieces of cells begins, see [`CellMap`].
    split: [T; LANES],
    pieces: [Pieces<T>; 2],
    /// Above zero for lanes whose cells are even in bits.
    of_bits: [T; LANES],
    /// Numbers that are from the first on and below the second are ordinary, and belong to no sum.
    inside: [[T; LANES]; 2],
    /// Where the second sum begins, the third, and the last.
    sums_at: [[T; 3]; LANES],
    /// How many of the edges lie in the cells before each.
    before: [[u8; TABLE]; LANES],
    edges: Edges<T>,
    /// The slots of NaN, negative and positive infinity.
    extremes: [[u16; 3]; LANES],
    /// The most edges that a cell has in any column.
    fullest: usize,
    map: u8,
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

/// The edges of each column, and behind them NaN, which is at or below nothing.
#[derive(Clone, Debug)]
enum Edges<T> {
    Narrow(Box<[T; NARROW_ROOM]>),
    Wide(Box<[T; WIDE_ROOM]>),
}

/// What is done with the places of a line's first values, by steps that are made for the tile: how many values, whether
/// lanes share columns, the map of cells, how many edges are compared with, and how much room there is.
pub(super) trait Task<T> {
    type Output;
    fn run<const WIDTH: usize, const SHARED: bool, const MAP: u8, const MOST: usize, const ROOM: usize>(
        self,
        tile: &Tile<T>,
        edges: &[T; ROOM],
    ) -> Self::Output;
}

impl<T: Precision> Tile<T> {
    /// A tile of these columns, some of which may not be on edges, with as many rows side by side.
    pub(super) fn new(columns: &[Option<&BinLayout<T>>], rows_in_line: usize) -> Self {
        let most = columns.iter().flatten().map(|bins| bins.edges().len()).filter(|&edges| edges < COUNTS).max();
        let edges = if most.unwrap_or(0) <= NARROW - UNUSED {
            Edges::Narrow(Box::new([T::NAN; NARROW_ROOM]))
        } else {
            Edges::Wide(Box::new([T::NAN; WIDE_ROOM]))
        };
        let mut tile = Self {
            searched: 0,
            column_of: std::array::from_fn(|lane| match lane {
                _ if rows_in_line == 1 => lane as u8,
                _ if lane < rows_in_line * columns.len() => (lane % columns.len()) as u8,
                // Lanes that no column has share places of their own.
                _ => columns.len() as u8,
            }),
            lanes: rows_in_line * columns.len(),
            rows_in_line,
            split: [T::NEG_INFINITY; LANES],
            pieces: [Pieces::EMPTY; 2],
            of_bits: [T::ZERO; LANES],
            inside: [[T::NEG_INFINITY; LANES], [T::INFINITY; LANES]],
            sums_at: [[T::INFINITY; 3]; LANES],
            before: [[0; TABLE]; LANES],
            edges,
            extremes: [[0; 3]; LANES],
            fullest: 0,
            map: EVEN,
        };
        for (column, bins) in columns.iter().enumerate() {
            if let Some(bins) = bins {
                tile.add(column, bins);
            }
        }
        tile
    }

    /// Enters a column.
    fn add(&mut self, column: usize, bins: &BinLayout<T>) {
        let (edges, slots) = (bins.edges(), bins.slots());
        // What the table says of a column is below 256, or the column is not searched.
        if edges.len() >= COUNTS {
            return;
        }
        let Some(map) = CellMap::best(edges, MOST_EDGES) else { return };
        for lane in (0..LANES).filter(|&lane| usize::from(self.column_of[lane]) == column) {
            self.searched |= 1 << lane;
            self.of_bits[lane] = if map.of_bits { T::INFINITY } else { T::ZERO };
            self.split[lane] = map.split;
            for (pieces, piece) in self.pieces.iter_mut().zip(map.pieces) {
                (pieces.anchor[lane], pieces.origin[lane]) = (piece.anchor, piece.origin);
                (pieces.scale[lane], pieces.more[lane]) = (piece.scale, T::of_cell(piece.more));
                pieces.first[lane] = piece.first as u32;
            }
            let (first, last) = bins.inside();
            // What is no ordinary number is in no case inside.
            self.inside[0][lane] = if first > T::LOWEST { first } else { T::LOWEST.next_up() };
            self.inside[1][lane] = if last < T::HIGHEST { last } else { T::HIGHEST };
        }
        self.fullest = self.fullest.max(map.fullest(edges));
        self.map = self.map.max(match map {
            _ if map.split > T::NEG_INFINITY => OF_BOTH_ENDS,
            CellMap { of_bits: true, .. } => OF_BITS,
            _ => EVEN,
        });
        match *edges {
            [first, last] => self.sums_at[column] = [first, last, last],
            [first, .., before_last, last] => self.sums_at[column] = [first, before_last, last],
            _ => {}
        }
        let extremes = [slots.missing(), slots.negative_infinite(), slots.positive_infinite()];
        self.extremes[column] = extremes.map(|slot| slot as u16);
        for (cell, before) in self.before[column].iter_mut().enumerate() {
            *before = edges.partition_point(|&edge| map.cell(edge) < cell) as u8;
        }
        let first = column * self.stride();
        self.edges_mut()[first..][..edges.len()].copy_from_slice(edges);
    }

    fn edges_mut(&mut self) -> &mut [T] {
        match &mut self.edges {
            Edges::Narrow(edges) => &mut edges[..],
            Edges::Wide(edges) => &mut edges[..],
        }
    }

    /// From one column's places to the next's.
    pub(super) fn stride(&self) -> usize {
        match self.edges {
            Edges::Narrow(_) => NARROW,
            Edges::Wide(_) => WIDE,
        }
    }

    /// Places that a step may lead to, from the tile's first on; most are never led to.
    pub(super) fn room(&self) -> usize {
        match self.edges {
            Edges::Narrow(_) => NARROW_ROOM,
            Edges::Wide(_) => WIDE_ROOM,
        }
    }

    /// Places that are led to. Those of a column that is not searched, and of lanes that no column has, mean nothing.
    pub(super) fn places(&self) -> usize {
        let last = self.column_of[..self.width()].iter().max();
        last.map_or(0, |&last| (usize::from(last) + 1) * self.stride())
    }

    /// Lanes that are looked at.
    fn width(&self) -> usize {
        match self.edges {
            Edges::Narrow(_) if self.lanes <= HALF => HALF,
            _ => LANES,
        }
    }

    pub(super) fn resident_bytes(&self) -> usize {
        size_of::<Self>()
            + match &self.edges {
                Edges::Narrow(edges) => size_of_val(&**edges),
                Edges::Wide(edges) => size_of_val(&**edges),
            }
    }

    /// The sum that a number belongs to that is not inside.
    pub(super) fn sum_of(&self, lane: usize, value: T) -> usize {
        // It is as far as there are bounds at or below it.
        self.sums_at[usize::from(self.column_of[lane])].iter().map(|&bound| usize::from(value >= bound)).sum()
    }

    /// The place of what is no ordinary number.
    pub(super) fn place_of_extreme(&self, lane: usize, value: T) -> usize {
        let column = usize::from(self.column_of[lane]);
        let kind = if value.is_missing() { 0 } else { 1 + usize::from(value > T::ZERO) };
        column * self.stride() + usize::from(self.extremes[column][kind])
    }

    /// Which values of each line are not inside.
    #[inline]
    pub(super) fn find_outside(&self, lines: &[[T; LANES]], outside: &mut [LaneFlags]) {
        let [first, last] = &self.inside;
        for (line, outside) in lines.iter().zip(outside) {
            let mut flags = [0_u8; LANES];
            for lane in 0..LANES {
                flags[lane] = u8::from(!((line[lane] >= first[lane]) & (line[lane] < last[lane])));
            }
            let (halves, _) = black_box(&flags).as_chunks::<8>();
            // The product's highest byte has a bit of each byte.
            let flags = |bytes: [u8; 8]| u64::from_le_bytes(bytes).wrapping_mul(0x0102_0408_1020_4080) >> 56;
            *outside = (flags(halves[0]) | flags(halves[1]) << 8) as LaneFlags & self.searched;
        }
    }

    /// Does something by the steps that are made for this tile. What is rarer than a full tile of plain columns is left to
    /// steps that find everything.
    #[inline(always)]
    pub(super) fn with_steps<K: Task<T>>(&self, task: K) -> K::Output {
        use Edges::{Narrow, Wide};
        match (&self.edges, self.width(), self.rows_in_line > 1, self.map, self.fullest) {
            (Narrow(edges), LANES, false, EVEN, 0 | 1) => task.run::<LANES, false, EVEN, 1, _>(self, edges),
            (Narrow(edges), LANES, false, EVEN, 2) => task.run::<LANES, false, EVEN, 2, _>(self, edges),
            (Narrow(edges), LANES, false, EVEN, 3 | 4) => task.run::<LANES, false, EVEN, 4, _>(self, edges),
            (Narrow(edges), LANES, false, OF_BITS, 0..=2) => task.run::<LANES, false, OF_BITS, 2, _>(self, edges),
            (Narrow(edges), LANES, false, OF_BITS, 3 | 4) => task.run::<LANES, false, OF_BITS, 4, _>(self, edges),
            (Narrow(edges), LANES, false, ..) => task.run::<LANES, false, OF_BOTH_ENDS, MOST_EDGES, _>(self, edges),
            (Narrow(edges), LANES, true, EVEN, 0..=2) => task.run::<LANES, true, EVEN, 2, _>(self, edges),
            (Narrow(edges), LANES, true, ..) => task.run::<LANES, true, OF_BOTH_ENDS, MOST_EDGES, _>(self, edges),
            (Narrow(edges), _, false, EVEN, 0..=2) => task.run::<HALF, false, EVEN, 2, _>(self, edges),
            (Narrow(edges), ..) => task.run::<HALF, true, OF_BOTH_ENDS, MOST_EDGES, _>(self, edges),
            (Wide(edges), ..) => task.run::<LANES, true, OF_BOTH_ENDS, MOST_EDGES, _>(self, edges),
        }
    }

    /// The cell of each value, in the lowest bits of a number; for what is no ordinary number any.
    #[inline(always)]
    pub(super) fn find_cells<const WIDTH: usize, const MAP: u8>(&self, line: &[T; LANES]) -> [u32; WIDTH] {
        let mut cells = [0; WIDTH];
        for lane in 0..WIDTH {
            cells[lane] = self.find_cell::<MAP>(lane, line[lane]);
        }
        black_box(cells)
    }

    #[inline(always)]
    fn find_cell<const MAP: u8>(&self, lane: usize, value: T) -> u32 {
        let [lower, upper] = &self.pieces;
        if MAP != OF_BOTH_ENDS {
            let mapped = if MAP == OF_BITS && self.of_bits[lane] > T::ZERO { value.bit_rank() } else { value };
            return mapped.even_cell(upper.origin[lane], upper.scale[lane], T::of_cell(LAST_CELL));
        }
        let is_lower = value < self.split[lane];
        let of = |of_lower: &[T; LANES], of_upper: &[T; LANES]| if is_lower { of_lower[lane] } else { of_upper[lane] };
        let distance = value - of(&lower.anchor, &upper.anchor);
        let mapped = if self.of_bits[lane] > T::ZERO { distance.bit_rank() } else { distance };
        let (origin, scale) = (of(&lower.origin, &upper.origin), of(&lower.scale, &upper.scale));
        let first = if is_lower { lower.first[lane] } else { upper.first[lane] };
        first + mapped.even_cell(origin, scale, of(&lower.more, &upper.more))
    }

    /// The first place of a lane's column among those of the tile.
    #[inline(always)]
    pub(super) fn first_place<const SHARED: bool, const ROOM: usize>(&self, lane: usize) -> usize {
        // Columns are lanes; the remainder tells the compiler.
        let column = if SHARED { usize::from(self.column_of[lane]) % LANES } else { lane };
        column * const { stride(ROOM) }
    }

    /// What lies at the places of a lane's column, of what lies at those of the tile.
    #[inline(always)]
    pub(super) fn of_lane<'a, const SHARED: bool, const ROOM: usize, C>(
        &self,
        lane: usize,
        of_tile: &'a [C; ROOM],
    ) -> &'a [C; REACH] {
        of_tile[self.first_place::<SHARED, ROOM>(lane)..].first_chunk().expect("there is room for every count")
    }

    /// The place of an ordinary number among those of its column, by its cell. Comparing with four edges one by one takes
    /// less than halving, where each step waits for the one before.
    #[inline(always)]
    pub(super) fn find_place<const SHARED: bool, const MOST: usize, const ROOM: usize>(
        &self,
        edges: &[T; ROOM],
        (lane, value): (usize, T),
        cell: u32,
    ) -> usize {
        let column = if SHARED { usize::from(self.column_of[lane]) % LANES } else { lane };
        let edges = self.of_lane::<SHARED, ROOM, T>(lane, edges);
        // What is above the lowest bits is the same for all cells of a line; see `even_cell`.
        let before = self.before[column][cell as usize % TABLE];
        if MOST < MOST_EDGES {
            let mut place = before;
            for step in 0..MOST {
                place = place.wrapping_add(u8::from(value >= edges[usize::from(before) + step]));
            }
            return usize::from(place);
        }
        let mut place = usize::from(before);
        place += usize::from(value >= edges[place + 3]) * 4;
        place += usize::from(value >= edges[place + 1]) * 2;
        place += usize::from(value >= edges[place]);
        place
    }

    /// The place of one ordinary number among those of the tile, by steps that find everything.
    pub(super) fn find_one(&self, lane: usize, value: T) -> usize {
        let cell = self.find_cell::<OF_BOTH_ENDS>(lane, value);
        let first = usize::from(self.column_of[lane]) * self.stride();
        first
            + match &self.edges {
                Edges::Narrow(edges) => self.find_place::<true, MOST_EDGES, _>(edges, (lane, value), cell),
                Edges::Wide(edges) => self.find_place::<true, MOST_EDGES, _>(edges, (lane, value), cell),
            }
    }
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
