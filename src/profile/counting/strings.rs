//! Strings, counted among those that are already chosen.
//!
//! Invariant: every value is counted once; what is not among the chosen strings is other.

use super::{SPECIALS, set_hours};
use crate::profile::builder::ProfileOptions;
use crate::profile::seasons::HourCounts;
use crate::profile::survey::StringSurvey;
use crate::profile::{Category, Column, Kind};
use crate::sketch::MAX_BINS;
use std::collections::HashMap;

/// Counts of strings.
#[derive(Debug)]
pub(in crate::profile) struct StringCounter {
    position: HashMap<String, usize>,
    counts: Vec<u64>,
    specials: [u64; SPECIALS],
    distinct: Option<u64>,
    hours: Option<HourCounts>,
}

impl StringCounter {
    /// A counter of the most frequent strings that were surveyed.
    pub(in crate::profile) fn new(survey: &StringSurvey, options: &ProfileOptions) -> Self {
        let strings = survey.most_frequent(MAX_BINS).into_iter().map(|(string, _)| string);
        let position: HashMap<String, usize> =
            strings.enumerate().map(|(position, string)| (string, position)).collect();
        let bins = position.len();
        Self {
            position,
            counts: vec![0; bins],
            specials: [0; SPECIALS],
            distinct: survey.distinct(),
            hours: options.hours.then(|| HourCounts::new(bins + SPECIALS)),
        }
    }

    /// Takes in all that an exact survey kept.
    pub(in crate::profile) fn replay(&mut self, survey: &StringSurvey) {
        for (string, count) in survey.most_frequent(MAX_BINS) {
            self.counts[self.position[&string]] = count;
        }
        self.specials[0] = survey.missing();
        self.specials[3] = survey.rows() - survey.missing() - self.counts.iter().sum::<u64>();
    }

    /// Takes in a string, or none, and, where these are kept, its hour of the week.
    pub(in crate::profile) fn push(&mut self, string: Option<&[u8]>, hour: Option<u8>) {
        let bins = self.counts.len();
        let listed = |string: &[u8]| self.position.get(std::str::from_utf8(string).ok()?).copied();
        let slot = string.map_or(bins, |string| listed(string).unwrap_or(bins + 3));
        match self.counts.get_mut(slot) {
            Some(count) => *count += 1,
            None => self.specials[slot - bins] += 1,
        }
        if let (Some(hours), Some(hour)) = (&mut self.hours, hour) {
            hours.add(hour, slot);
        }
    }

    /// Values that were taken in.
    pub(in crate::profile) fn rows(&self) -> u64 {
        self.counts.iter().chain(&self.specials).sum()
    }

    /// The column.
    pub(in crate::profile) fn finish(self, column: Column) -> Column {
        let [missing, _, _, other] = self.specials;
        let mut listed: Vec<(String, usize)> = self.position.into_iter().collect();
        listed.sort_by(|a, b| self.counts[b.1].cmp(&self.counts[a.1]).then_with(|| a.0.cmp(&b.0)));
        let mut bin_of = vec![0; self.counts.len()];
        listed.iter().enumerate().for_each(|(bin, (_, counted))| bin_of[*counted] = bin);
        let category = |(value, counted): (String, usize)| Category { value, count: self.counts[counted] };
        let categories = Some(listed.into_iter().map(category).collect());
        let mut column = Column { kind: Kind::String, missing, other, categories, distinct: self.distinct, ..column };
        set_hours(&mut column, self.hours.as_ref(), &bin_of);
        column
    }
}
