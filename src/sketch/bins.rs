//! Numbers on the edges of a reference.
//!
//! Every bin is the half-open interval from one edge to the next; a value with much of the mass ("atom") is the
//! interval from it to the next number of the tensor's precision, and the maximum is inside because the last edge is
//! the number after it. Equal-width bins were considered and left: one outlier in the reference would empty them.
//! Finding a bin is two rounds of counting among at most 16 sorted edges: a plain binary search mispredicts, a scan
//! over all 65 edges costs five times as much, and a table over the value range needs even spacing.
//!
//! Numbers as large as the type allows are where overflow saturates, and what some writers put for "absent"; they are
//! counted with the infinities, so that every edge has a next number.
//!
//! Invariant: the slot of an ordinary number is the count of edges at or below it, unless the column is categorical and
//! that interval is not an atom: then it is `unseen`.

use super::{FixedPoint, LayoutError, Precision, Slots};

/// The most bins that one column may have.
pub const MAX_BINS: usize = 256;

const PIVOTS: usize = 16;
const BLOCKS: usize = PIVOTS + 1;
/// Edges per block while all edges fit into 17 blocks of them, and otherwise.
const NARROW: usize = 8;
const WIDE: usize = 16;

/// Where the numbers of one column are counted.
#[derive(Clone, Debug)]
pub struct BinLayout<T> {
    /// First edge of every block but the first.
    pivots: [T; PIVOTS],
    /// Sorted edges, padded with infinity to whole blocks.
    edges: Box<[T]>,
    wide: bool,
    slots: Slots,
    /// For a categorical column, the slot of each interval from `below` to `above`.
    redirected: Option<Box<[u16]>>,
    first_is_atom: bool,
    last_is_atom: bool,
    fixed_point: FixedPoint,
}

impl<T: Precision> BinLayout<T> {
    /// A layout on `edges`, which rise strictly and are values of `T`. No edges at all is a column of which the
    /// reference has no finite value. In a `categorical` column everything but its atoms is unseen.
    ///
    /// # Errors
    /// [`LayoutError`] when the edges are not such.
    pub fn try_new(edges: &[f64], categorical: bool, fixed_point: FixedPoint) -> Result<Self, LayoutError> {
        let exact = exact_edges::<T>(edges)?;
        let bins = exact.len().saturating_sub(1);
        let slots = Slots::new(bins, categorical);
        let is_atom = |bin: usize| exact.get(bin + 1).is_some_and(|upper| exact[bin].next_up() >= *upper);
        let redirected = slots.unseen().map(|unseen| {
            let slot_of = |interval: usize| {
                let atom = interval > 0 && is_atom(interval - 1);
                if atom { interval as u16 } else { unseen as u16 }
            };
            slots.finite().map(slot_of).collect()
        });
        let (first_is_atom, last_is_atom) = (is_atom(0), bins > 0 && is_atom(bins - 1));
        let wide = exact.len() > BLOCKS * NARROW;
        let width = if wide { WIDE } else { NARROW };
        let mut padded = exact;
        padded.resize(BLOCKS * width, T::INFINITY);
        let pivots = std::array::from_fn(|pivot| padded[(pivot + 1) * width]);
        let edges = padded.into_boxed_slice();
        Ok(Self { pivots, edges, wide, slots, redirected, first_is_atom, last_is_atom, fixed_point })
    }

    /// The counter of a value.
    #[inline]
    #[must_use]
    pub fn slot(&self, value: T) -> usize {
        if !value.is_ordinary() {
            return self.slot_of_extreme(value);
        }
        let interval = if self.wide { self.interval::<WIDE>(value) } else { self.interval::<NARROW>(value) };
        match &self.redirected {
            None => interval,
            Some(slots) => slots.get(interval).map_or(interval, |&slot| usize::from(slot)),
        }
    }

    /// The order of the counters.
    #[must_use]
    pub fn slots(&self) -> Slots {
        self.slots
    }

    /// Which of the [`SUMS`](super::SUMS) the value of a slot is added to: 0 below, 1 in the first bin, 2 in the last,
    /// 3 above. None for slots in between, for atoms (their values are all the same) and for categorical columns.
    #[inline]
    #[must_use]
    pub fn sum_index(&self, slot: usize) -> Option<usize> {
        let bins = self.slots.bins();
        if slot > 1 && slot < bins || slot > bins + 1 || self.redirected.is_some() {
            None
        } else if slot == 0 {
            Some(0)
        } else if slot == bins + 1 {
            Some(3)
        } else if slot == 1 {
            (!self.first_is_atom).then_some(1)
        } else {
            (!self.last_is_atom).then_some(2)
        }
    }

    /// How values become addends of sums.
    #[must_use]
    pub fn fixed_point(&self) -> &FixedPoint {
        &self.fixed_point
    }

    #[inline(always)]
    fn interval<const WIDTH: usize>(&self, value: T) -> usize {
        let start = T::count_at_or_below(&self.pivots, value) * WIDTH;
        match self.edges.get(start..).and_then(<[T]>::first_chunk::<WIDTH>) {
            Some(block) => start + T::count_at_or_below(block, value),
            None => start,
        }
    }

    #[cold]
    fn slot_of_extreme(&self, value: T) -> usize {
        if value.is_missing() {
            self.slots.missing()
        } else if value.to_f64() < 0.0 {
            self.slots.negative_infinite()
        } else {
            self.slots.positive_infinite()
        }
    }
}

fn exact_edges<T: Precision>(edges: &[f64]) -> Result<Vec<T>, LayoutError> {
    let bins = edges.len().saturating_sub(1);
    if bins > MAX_BINS {
        return Err(LayoutError::TooManyBins { found: bins });
    }
    if edges.len() == 1 {
        return Err(LayoutError::SingleEdge);
    }
    let mut exact = Vec::with_capacity(edges.len());
    for (index, &found) in edges.iter().enumerate() {
        let edge = T::from_f64(found).ok_or(LayoutError::InexactEdge { index, found, precision: T::NAME })?;
        if index > 0 && edges[index - 1] >= found {
            return Err(LayoutError::UnsortedEdges { index, previous: edges[index - 1], found });
        }
        exact.push(edge);
    }
    Ok(exact)
}
