//! Numbers on the edges of a reference.
//!
//! Every bin is the half-open interval from one edge to the next; a value with much of the mass ("atom") is the
//! interval from it to the next number of the tensor's precision, and the maximum is inside because the last edge is
//! the number after it. Equal-width bins were considered and left: one outlier in the reference would empty them.
//! Here a bin is found by halving, which is plain and good enough for a value now and then; rows are counted through
//! [`RowSearch`](super::RowSearch), which is held to give the same answers.
//!
//! Numbers as large as the type allows are where overflow saturates, and what some writers put for "absent"; they are
//! counted with the infinities, so that every edge has a next number.
//!
//! Invariant: the slot of an ordinary number is the count of edges at or below it, unless the column is categorical and
//! that interval is not an atom: then it is `unseen`.

use super::{FixedPoint, LayoutError, Precision, Slots};

/// The most bins that one column may have.
pub const MAX_BINS: usize = 256;

/// Where the numbers of one column are counted.
#[derive(Clone, Debug)]
pub struct BinLayout<T> {
    /// Sorted; none, or at least two.
    edges: Box<[T]>,
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
        Ok(Self { edges: exact.into_boxed_slice(), slots, redirected, first_is_atom, last_is_atom, fixed_point })
    }

    /// The counter of a value.
    #[inline]
    #[must_use]
    pub fn slot(&self, value: T) -> usize {
        if !value.is_ordinary() {
            return self.slot_of_extreme(value);
        }
        self.slot_of_interval(self.edges.partition_point(|edge| *edge <= value))
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

    /// The sum that a value is added to: that of its [slot](Self::sum_index), found without the slot.
    #[inline]
    #[must_use]
    pub fn sum_of(&self, value: T) -> Option<usize> {
        let bins = self.slots.bins();
        if !value.is_ordinary() || self.redirected.is_some() {
            None
        } else if bins == 0 || value < self.edges[0] {
            Some(0)
        } else if value >= self.edges[bins] {
            Some(3)
        } else if value < self.edges[1] {
            (!self.first_is_atom).then_some(1)
        } else {
            (value >= self.edges[bins - 1] && !self.last_is_atom).then_some(2)
        }
    }

    /// The sorted edges.
    #[must_use]
    pub(super) fn edges(&self) -> &[T] {
        &self.edges
    }

    /// Whether everything but the atoms is unseen.
    #[must_use]
    pub(super) fn is_categorical(&self) -> bool {
        self.redirected.is_some()
    }

    /// The counter of the values that as many edges are at or below.
    #[must_use]
    pub(super) fn slot_of_interval(&self, interval: usize) -> usize {
        match &self.redirected {
            None => interval,
            Some(slots) => slots.get(interval).map_or(interval, |&slot| usize::from(slot)),
        }
    }

    /// Ordinary numbers from the first on and below the second are all that belong to no sum.
    #[must_use]
    pub(super) fn inside(&self) -> (T, T) {
        let bins = self.slots.bins();
        if self.is_categorical() {
            (T::NEG_INFINITY, T::INFINITY)
        } else if bins == 0 {
            (T::INFINITY, T::INFINITY)
        } else {
            // The values of an outermost bin that is an atom are in no sum.
            (self.edges[usize::from(!self.first_is_atom)], self.edges[bins - usize::from(!self.last_is_atom)])
        }
    }

    /// How values become addends of sums.
    #[must_use]
    pub fn fixed_point(&self) -> &FixedPoint {
        &self.fixed_point
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
