//! Which segment each slot of a feature is.
//!
//! Told apart are the values that the reference has, each of which has a slot of its own; of more than there is room for,
//! the most frequent.
//!
//! Invariant: a segment is one value; whatever shares a slot with another value is other.

use super::text::shown;
use super::{MAX_VALUE_BYTES, SegmentError, find_input};
use crate::config::SegmentSettings;
use crate::observe::columns::RecordPlan;
use crate::profile::{Category, Column, Kind, Profile};
use crate::sketch::ColumnLayout;
use crate::tensor::{Tensor, TensorData};

/// The segments of a feature's values.
#[derive(Debug)]
pub(super) struct SegmentTable {
    /// The feature's column.
    pub(super) column: usize,
    /// Its input.
    pub(super) tensor: usize,
    /// Its position in a row of that input.
    pub(super) position: usize,
    values: Vec<String>,
    of_slot: Box<[u8]>,
}

impl SegmentTable {
    pub(super) fn new(
        record: &RecordPlan,
        profile: &Profile,
        name: &str,
        settings: &SegmentSettings,
    ) -> Result<Self, SegmentError> {
        let unknown = || SegmentError::UnknownFeature { name: name.to_owned() };
        let (column, tensor, position) = find_input(record, name).ok_or_else(unknown)?;
        let known = profile.inputs.iter().find(|known| known.name == name).ok_or_else(unknown)?;
        if known.kind == Kind::Numeric {
            return Err(SegmentError::ManyValues { name: name.to_owned(), kind: known.kind });
        }
        let mut found = values_of(known);
        // The most frequent first; of equally frequent ones the one that the profile has first.
        found.sort_by_key(|found| (std::cmp::Reverse(found.count), found.bin));
        found.truncate(settings.max_values);
        let slots = known.slots();
        let mut of_slot = vec![found.len() as u8; slots.count()];
        for (segment, found) in found.iter().enumerate() {
            of_slot[slots.bin(found.bin)] = segment as u8;
        }
        let values = found.into_iter().map(|found| found.text).collect();
        Ok(Self { column, tensor, position, values, of_slot: of_slot.into() })
    }

    /// The values that are told apart, as text, in the order of their segments.
    pub(super) fn values(&self) -> &[String] {
        &self.values
    }

    /// The segment of the value at `position` of the feature's tensor.
    pub(super) fn segment_of(&self, tensor: &Tensor, layout: &ColumnLayout, position: usize) -> usize {
        let slot = match tensor.data() {
            TensorData::Bytes(values) => layout.slot_bytes(values.get(position).unwrap_or_default()),
            data => {
                let mut value = [f64::NAN];
                data.read_numbers(position, &mut value);
                layout.slot_f64(value[0])
            }
        };
        self.of_slot.get(slot).map_or(self.values.len(), |&segment| usize::from(segment))
    }
}

/// A value that has a bin of its own.
struct Found {
    bin: usize,
    count: u64,
    text: String,
}

fn values_of(column: &Column) -> Vec<Found> {
    if let (Kind::String, Some(categories)) = (column.kind, &column.categories) {
        let shown = |(bin, category): (usize, &Category)| {
            let is_short = (1..=MAX_VALUE_BYTES).contains(&category.value.len());
            is_short.then(|| Found { bin, count: category.count, text: shown(category.value.as_bytes()) })
        };
        return categories.iter().enumerate().filter_map(shown).collect();
    }
    let bins = column.counts.iter().enumerate().filter(|(bin, count)| **count > 0 && column.is_atom(*bin));
    bins.map(|(bin, &count)| Found { bin, count, text: number_text(column.edges[bin]) }).collect()
}

/// A number as people write it: the shortest that reads back as the same, in single precision where that is exact.
fn number_text(value: f64) -> String {
    let single = value as f32;
    if f64::from(single).total_cmp(&value).is_eq() { single.to_string() } else { value.to_string() }
}
