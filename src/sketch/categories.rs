//! String categories of a reference.
//!
//! A hash table from the bytes to the slot. The standard library's randomly keyed hasher stays, although a fixed one
//! would be faster: the strings looked up come from callers, and with a fixed hasher a caller could choose strings
//! that collide. Sorting and searching was considered and left: long common prefixes make every comparison long.
//!
//! Invariant: category `i` of the list that made the layout has slot `1 + i`, as bin `i` of numbers has.

use super::{LayoutError, MAX_BINS, Slots};
use std::collections::HashMap;

/// Where the strings of one column are counted.
#[derive(Clone, Debug)]
pub struct CategoryLayout {
    slot_of: HashMap<Box<[u8]>, u16>,
    slots: Slots,
}

impl CategoryLayout {
    /// A layout of these categories, in this order.
    ///
    /// # Errors
    /// [`LayoutError::TooManyBins`] and [`LayoutError::DuplicateCategory`].
    pub fn try_new<'a>(categories: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, LayoutError> {
        let mut slot_of = HashMap::new();
        for category in categories {
            let slot = slot_of.len() + 1;
            if slot_of.insert(category.into(), slot as u16).is_some() {
                return Err(LayoutError::DuplicateCategory { name: String::from_utf8_lossy(category).into_owned() });
            }
            if slot > MAX_BINS {
                return Err(LayoutError::TooManyBins { found: slot });
            }
        }
        let slots = Slots::new(slot_of.len(), true);
        Ok(Self { slot_of, slots })
    }

    /// The counter of a value.
    #[inline]
    #[must_use]
    pub fn slot(&self, value: &[u8]) -> usize {
        match self.slot_of.get(value) {
            Some(&slot) => usize::from(slot),
            None => self.slots.bins() + 5,
        }
    }

    /// The order of the counters; `below`, `above` and the infinities stay zero.
    #[must_use]
    pub fn slots(&self) -> Slots {
        self.slots
    }
}
