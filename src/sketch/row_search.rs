//! Finds the counters of whole rows at once, each the one that [`BinLayout::slot`] says of the value alone.
//!
//! The range of a column's edges is cut into even cells, and a table says how many edges lie in the cells before each.
//! Left to search are the edges within the value's own cell: with 64 bins one or two, seldom more than three. Where
//! single edges lie far out the cells cover the range without them, and where edges crowd cells are even in bits, see
//! [`CellMap`](super::cell_map::CellMap); whatever leaves least to search is taken, once, when a version is loaded. No
//! branch depends on where in the reference a value lies, so that none is mispredicted.
//!
//! A tile of neighbouring columns is searched line by line, and not a column value by value: finding the cells is then
//! arithmetic on vectors of what lies side by side in memory, and increments that follow each other never hit the same
//! counter, for which the processor would wait. A line is a row's part of a tile; of a tensor with few columns it is
//! several rows side by side. Lanes that no column has, and columns that are not on edges, have places that nobody reads.
//!
//! Counters lie where the search leads to and not slot by slot, which [`BinLayout::slot_of_interval`] undoes when they are
//! read: what a value is worth is looked at once a second and not once a request. What belongs to a sum, and what is no
//! ordinary number, is found beforehand, in a pass of its own; most lines are then counted without looking again.
//!
//! Invariant: rounding is monotone, so that a number in a later cell is above every edge of an earlier one; therefore the
//! place is exactly the one that [`BinLayout::slot`] says, however uneven the edges are.

use super::tile::{Task, Tile};
use super::{BinLayout, Precision};

/// Columns of a tile. Their tables, edges and counters fit the first-level cache while a batch goes through.
pub const LANES: usize = 16;

/// Lanes of a line, a bit each.
pub type LaneFlags = u16;

/// Lanes that are searched one by one, because all of them at once would take longer.
const ONE_BY_ONE: usize = 4;

/// Where the counters of a tensor's columns are.
#[derive(Clone, Debug)]
pub struct RowSearch<T> {
    tiles: Box<[(usize, Tile<T>)]>,
    first_places: Box<[usize]>,
    places: usize,
    rows_in_line: usize,
}

impl<T: Precision> RowSearch<T> {
    /// A search among columns: of each, how many counters it has and, if it is on edges of this precision, its layout.
    #[must_use]
    pub fn new(columns: &[(usize, Option<&BinLayout<T>>)]) -> Self {
        let rows_in_line =
            if (1..=LANES / 2).contains(&columns.len()) { 1 << (LANES / columns.len()).ilog2() } else { 1 };
        let (mut tiles, mut end, mut places) = (Vec::new(), 0, 0);
        for columns in columns.chunks(LANES) {
            let tile = Tile::new(&columns.iter().map(|&(_, bins)| bins).collect::<Vec<_>>(), rows_in_line);
            // What the next tile has begins where nothing of this one is ever counted.
            places = end + tile.room();
            let next = end + tile.places();
            tiles.push((end, tile));
            end = next;
        }
        let mut first_places = Vec::new();
        for (index, &(slots, _)) in columns.iter().enumerate() {
            let (start, tile) = &tiles[index / LANES];
            if (tile.searched >> (index % LANES)) & 1 == 1 {
                first_places.push(start + index % LANES * tile.stride());
            } else {
                first_places.push(end);
                end += slots;
            }
        }
        Self { tiles: tiles.into(), first_places: first_places.into(), places: places.max(end), rows_in_line }
    }

    /// How many rows are side by side in a line, of each tile's if there are several; a power of two.
    #[must_use]
    pub fn rows_in_line(&self) -> usize {
        self.rows_in_line
    }

    /// How many counters there are to be.
    #[must_use]
    pub fn places(&self) -> usize {
        self.places
    }

    /// The place of a column's first counter; the others are behind it, interval by interval.
    #[must_use]
    pub fn first_place(&self, column: usize) -> usize {
        self.first_places[column]
    }

    /// Which lanes of a tile are searched. Columns that are not on edges are not, nor are those of more than
    /// 254 bins and those whose edges crowd so much that no cells tell them apart.
    #[must_use]
    pub fn searched(&self, tile: usize) -> LaneFlags {
        self.tiles[tile].1.searched
    }

    /// Flags, line by line, what is no ordinary number and what belongs to a [sum](Self::sum_of).
    #[inline]
    pub fn find_outside(&self, tile: usize, lines: &[[T; LANES]], outside: &mut [LaneFlags]) {
        self.tiles[tile].1.find_outside(lines, outside);
    }

    /// The sum that an ordinary number belongs to, if it was flagged: below the edges, in the first bin, in the last,
    /// above them.
    #[inline]
    #[must_use]
    pub fn sum_of(&self, (tile, lane): (usize, usize), value: T) -> usize {
        self.tiles[tile].1.sum_of(lane, value)
    }

    /// Counts lines of ordinary numbers: `add` is shown the counter of each value, among those of the tensor.
    ///
    /// # Panics
    /// For a tile that there is not, and if there are fewer counters than [places](Self::places).
    #[inline]
    pub fn count<C>(&self, tile: usize, lines: &[[T; LANES]], counters: &[C], add: impl Fn(&C)) {
        let (start, tile) = &self.tiles[tile];
        tile.with_steps(Counting { lines, counters: &counters[*start..], add });
    }

    /// The places of a line's values, whatever they are, of the first `lanes` of it.
    ///
    /// # Panics
    /// For a tile that there is not.
    #[must_use]
    pub fn find(&self, tile: usize, line: &[T; LANES], lanes: usize) -> [usize; LANES] {
        let (start, tile) = &self.tiles[tile];
        let mut places = if lanes <= ONE_BY_ONE {
            std::array::from_fn(|lane| if lane < lanes { tile.find_one(lane, line[lane]) } else { 0 })
        } else {
            tile.with_steps(Finding { line })
        };
        for (lane, (place, &value)) in places.iter_mut().zip(line).enumerate().take(lanes) {
            if !value.is_ordinary() {
                *place = tile.place_of_extreme(lane, value);
            }
            *place += start;
        }
        places
    }

    /// Bytes that the tables take.
    #[must_use]
    pub fn resident_bytes(&self) -> usize {
        self.tiles.iter().map(|(_, tile)| tile.resident_bytes()).sum::<usize>() + size_of_val(&*self.first_places)
    }
}

struct Counting<'a, T, C, A> {
    lines: &'a [[T; LANES]],
    counters: &'a [C],
    add: A,
}

impl<T: Precision, C, A: Fn(&C)> Task<T> for Counting<'_, T, C, A> {
    type Output = ();

    #[inline(always)]
    fn run<const WIDTH: usize, const SHARED: bool, const MAP: u8, const MOST: usize, const ROOM: usize>(
        self,
        tile: &Tile<T>,
        edges: &[T; ROOM],
    ) {
        let counters = self.counters.first_chunk().expect("there are as many counters as places");
        for line in self.lines {
            let line = (line, &tile.find_cells::<WIDTH, MAP>(line));
            self.count_some::<0, WIDTH, SHARED, MOST, ROOM>(tile, (edges, counters), line);
            self.count_some::<4, WIDTH, SHARED, MOST, ROOM>(tile, (edges, counters), line);
            self.count_some::<8, WIDTH, SHARED, MOST, ROOM>(tile, (edges, counters), line);
            self.count_some::<12, WIDTH, SHARED, MOST, ROOM>(tile, (edges, counters), line);
        }
    }
}

impl<T: Precision, C, A: Fn(&C)> Counting<'_, T, C, A> {
    /// Counts four values of a line. A loop over all of them is too long for the compiler to unroll, and would compute
    /// from the lane where its table, edges and counters are.
    #[inline(always)]
    fn count_some<const FROM: usize, const WIDTH: usize, const SHARED: bool, const MOST: usize, const ROOM: usize>(
        &self,
        tile: &Tile<T>,
        (edges, counters): (&[T; ROOM], &[C; ROOM]),
        (line, cells): (&[T; LANES], &[u32; WIDTH]),
    ) {
        if FROM < WIDTH {
            for lane in FROM..FROM + 4 {
                let place = tile.find_place::<SHARED, MOST, ROOM>(edges, (lane, line[lane]), cells[lane]);
                (self.add)(&tile.of_lane::<SHARED, ROOM, C>(lane, counters)[place]);
            }
        }
    }
}

struct Finding<'a, T> {
    line: &'a [T; LANES],
}

impl<T: Precision> Task<T> for Finding<'_, T> {
    type Output = [usize; LANES];

    #[inline(always)]
    fn run<const WIDTH: usize, const SHARED: bool, const MAP: u8, const MOST: usize, const ROOM: usize>(
        self,
        tile: &Tile<T>,
        edges: &[T; ROOM],
    ) -> [usize; LANES] {
        let (cells, mut places) = (tile.find_cells::<WIDTH, MAP>(self.line), [0; LANES]);
        for lane in 0..WIDTH {
            let place = tile.find_place::<SHARED, MOST, ROOM>(edges, (lane, self.line[lane]), cells[lane]);
            places[lane] = tile.first_place::<SHARED, ROOM>(lane) + place;
        }
        places
    }
}
