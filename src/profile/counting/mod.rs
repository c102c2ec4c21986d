//! The second reading: counts on edges that are already chosen.
//!
//! The same counters take in the values of a second reading and the distinct values that a first reading kept, so that a
//! profile is the same whichever way it was made.
//!
//! Invariant: every column counted as many values as the first reading had.

mod numbers;
mod strings;

pub(super) use numbers::NumberCounter;
pub(super) use strings::StringCounter;

use super::builder::{ColumnKey, ColumnSpec, ProfileOptions, Side, wrong_values};
use super::seasons::HourCounts;
use super::{Column, Profile, ProfileError};

/// Counters after those of the bins or categories: missing, negative and positive infinite, other.
const SPECIALS: usize = 4;
/// Takes in the same values again and makes a [`Profile`] of them.
#[derive(Debug)]
pub struct ProfileCounter {
    options: ProfileOptions,
    rows: u64,
    columns: Vec<(ColumnSpec, Counter)>,
}

#[derive(Debug)]
pub(super) enum Counter {
    Numbers(NumberCounter),
    Strings(StringCounter),
}

impl ProfileCounter {
    /// A counter for what `rows` rows of the first reading left to count.
    pub(super) fn new(options: ProfileOptions, rows: u64, columns: Vec<(ColumnSpec, Counter)>) -> Self {
        Self { options, rows, columns }
    }

    /// Takes in more numbers of a column, as in the first reading. `hours` are their hours of the week, as
    /// [`hour_of_week`](super::hour_of_week) has them, one for each; none where times are not known.
    ///
    /// # Errors
    /// [`ProfileError::WrongValues`] for a column of strings.
    pub fn absorb_numbers(
        &mut self,
        column: ColumnKey,
        numbers: impl IntoIterator<Item = f64>,
        hours: &[u8],
    ) -> Result<(), ProfileError> {
        match &mut self.columns[column.0] {
            (_, Counter::Numbers(counter)) => {
                for (row, number) in numbers.into_iter().enumerate() {
                    counter.push(number, hours.get(row).copied());
                }
                Ok(())
            }
            (spec, Counter::Strings(_)) => Err(wrong_values(spec, "strings", "numbers")),
        }
    }

    /// Takes in more strings of a column, as in the first reading; `hours` as for numbers.
    ///
    /// # Errors
    /// [`ProfileError::WrongValues`] for a column of numbers.
    pub fn absorb_strings<'a>(
        &mut self,
        column: ColumnKey,
        strings: impl IntoIterator<Item = Option<&'a [u8]>>,
        hours: &[u8],
    ) -> Result<(), ProfileError> {
        match &mut self.columns[column.0] {
            (_, Counter::Strings(counter)) => {
                for (row, string) in strings.into_iter().enumerate() {
                    counter.push(string, hours.get(row).copied());
                }
                Ok(())
            }
            (spec, Counter::Numbers(_)) => Err(wrong_values(spec, "numbers", "strings")),
        }
    }

    /// Makes the profile.
    ///
    /// # Errors
    /// [`ProfileError::DataChanged`] when the second reading had other values than the first, and equal names.
    pub fn finish(self) -> Result<Profile, ProfileError> {
        let Self { options, rows, columns } = self;
        let mut profile =
            Profile { rows, source: options.source, created: options.created.clone(), ..Profile::default() };
        for (spec, counter) in columns {
            let found = match &counter {
                Counter::Numbers(counter) => counter.rows(),
                Counter::Strings(counter) => counter.rows(),
            };
            if found != rows {
                let (expected, found) = (format!("{rows} values"), format!("{found} values"));
                return Err(ProfileError::DataChanged { column: spec.name, expected, found });
            }
            let side = match spec.side {
                Side::Input => &mut profile.inputs,
                Side::Output => &mut profile.outputs,
            };
            let column = empty_column(spec, rows, &options);
            side.push(match counter {
                Counter::Numbers(counter) => counter.finish(column)?,
                Counter::Strings(counter) => counter.finish(column),
            });
        }
        profile.validate()?;
        Ok(profile)
    }
}

fn empty_column(spec: ColumnSpec, rows: u64, options: &ProfileOptions) -> Column {
    Column {
        critical: options.critical.contains(&spec.name),
        tensor: spec.tensor,
        index: spec.index,
        name: spec.name,
        statistic: spec.statistic,
        rows,
        ..Column::default()
    }
}

/// Puts counters by hour into the column, whose other counters are final.
fn set_hours(column: &mut Column, hours: Option<&HourCounts>, bin_of: &[usize]) {
    let Some(hours) = hours else { return };
    let (groups, slots) = (column.groups(), column.slots());
    let specials = [slots.missing(), slots.negative_infinite(), slots.positive_infinite()];
    let group_of = |counted: usize| {
        let slot = match counted.checked_sub(bin_of.len()) {
            None => slots.bin(bin_of[counted]),
            // Only columns without an order have other values, and those have a slot for the unseen.
            Some(special) => specials.get(special).copied().or(slots.unseen()).unwrap_or(slots.missing()),
        };
        usize::from(groups.of_slot[slot])
    };
    column.hour_of_week = Some(hours.by_group(group_of, groups.count));
}
