//! Builds a profile from values, which are read once or twice.
//!
//! Reference data can be larger than memory. The first reading surveys every column in bounded memory; while the
//! distinct values fit, that is all there is to know, and [`ProfileBuilder::finish`] makes the profile. Otherwise
//! [`ProfileBuilder::into_counter`] fixes the edges, and a second reading of the same rows counts on them. Values are
//! given column by column in any number of pieces, and what a column holds in between is private.
//!
//! What is exact whatever the size: every count on the final edges, rows, missing and infinite values, minimum and
//! maximum, atoms, and mean and standard deviation up to rounding. What is not, past 27,000 distinct numbers with 100
//! columns and 700,000 with four: the edges between quantile bins are at ranks that are off by up to 0.3 % of a billion
//! rows, and of strings that do not fit only those with more than one row in about 1,600 are certain to be listed.
//!
//! Invariant: values are put on the tensor's grid before anything is derived from them, so that a reference value and
//! the same live value are in the same bin.

use super::counting::{Counter, NumberCounter, ProfileCounter, StringCounter};
use super::edges::Grid;
use super::survey::{NumberSurvey, StringSurvey, column_budget};
use super::{Profile, ProfileError, Source, Statistic};
use crate::sketch::MAX_BINS;
use crate::tensor::DataType;
use std::collections::BTreeSet;

/// A column of whole numbers is discrete up to this many distinct ones.
pub(super) const MAX_DISCRETE: usize = 64;
/// A categorical column lists this many codes: each takes a bin, and so does each gap.
pub(super) const MAX_CODES: usize = MAX_BINS / 2;

/// How to build.
#[derive(Clone, Debug)]
pub struct ProfileOptions {
    /// Bins of a numeric column: atoms and quantile bins; 64 unless set, at most 256.
    pub bins: usize,
    /// Names of numeric columns whose values are codes without an order.
    pub categorical: BTreeSet<String>,
    /// Names of columns whose drift alone is drift of the version.
    pub critical: BTreeSet<String>,
    /// Whether counts are also kept by hour of the week, which takes a second reading.
    pub hours: bool,
    /// Where the values come from.
    pub source: Source,
    /// When the profile is made, in RFC 3339.
    pub created: Option<String>,
}

/// Whether a column is of an input or of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Of an input tensor.
    Input,
    /// Of an output tensor.
    Output,
}

/// A column to come.
#[derive(Clone, Debug)]
pub struct ColumnSpec {
    /// Of an input or of an output.
    pub side: Side,
    /// The tensor's name.
    pub tensor: String,
    /// Position within a row of the tensor, from 0.
    pub index: usize,
    /// The feature's name.
    pub name: String,
    /// The tensor's datatype.
    pub datatype: DataType,
    /// For a derived column, what it holds.
    pub statistic: Option<Statistic>,
}

/// A column of the builder that handed it out, and of the counter that the builder became.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColumnKey(pub(super) usize);

/// Takes in the values of the first reading, and makes a [`Profile`] of them if they fit into memory.
#[derive(Debug, Default)]
pub struct ProfileBuilder {
    options: ProfileOptions,
    columns: Vec<(ColumnSpec, Survey)>,
}

#[derive(Debug)]
enum Survey {
    Numbers(NumberSurvey),
    Strings(StringSurvey),
}

impl Default for ProfileOptions {
    fn default() -> Self {
        Self {
            bins: 64,
            categorical: BTreeSet::new(),
            critical: BTreeSet::new(),
            hours: false,
            source: Source::Csv,
            created: None,
        }
    }
}

impl ProfileBuilder {
    /// A builder without columns.
    #[must_use]
    pub fn new(options: ProfileOptions) -> Self {
        Self { options, columns: Vec::new() }
    }

    /// Adds a column; columns keep this order.
    pub fn add_column(&mut self, spec: ColumnSpec) -> ColumnKey {
        let survey = if spec.datatype == DataType::Bytes && spec.statistic.is_none() {
            Survey::Strings(StringSurvey::default())
        } else {
            Survey::Numbers(NumberSurvey::new(Grid::of(spec.datatype, spec.statistic.is_some())))
        };
        self.columns.push((spec, survey));
        ColumnKey(self.columns.len() - 1)
    }

    /// Takes in more numbers of a column, one per row; NaN is a missing value, a boolean is 0 or 1.
    ///
    /// # Errors
    /// [`ProfileError::WrongValues`] for a column of strings.
    pub fn absorb_numbers(
        &mut self,
        column: ColumnKey,
        numbers: impl IntoIterator<Item = f64>,
    ) -> Result<(), ProfileError> {
        let budget = column_budget(self.columns.len());
        match &mut self.columns[column.0] {
            (_, Survey::Numbers(survey)) => numbers.into_iter().for_each(|number| survey.push(number, budget)),
            (spec, Survey::Strings(_)) => return Err(wrong_values(spec, "strings", "numbers")),
        }
        Ok(())
    }

    /// Takes in more strings of a column, one per row; none is a missing value.
    ///
    /// # Errors
    /// [`ProfileError::WrongValues`] for a column of numbers.
    pub fn absorb_strings<'a>(
        &mut self,
        column: ColumnKey,
        strings: impl IntoIterator<Item = Option<&'a [u8]>>,
    ) -> Result<(), ProfileError> {
        let budget = column_budget(self.columns.len());
        match &mut self.columns[column.0] {
            (_, Survey::Strings(survey)) => strings.into_iter().for_each(|string| survey.push(string, budget)),
            (spec, Survey::Numbers(_)) => return Err(wrong_values(spec, "numbers", "strings")),
        }
        Ok(())
    }

    /// Whether the options are within their ranges and name columns that were added: what can be known before any value
    /// has come.
    ///
    /// # Errors
    /// [`ProfileError::BinsOutOfRange`] and [`ProfileError::UnknownColumn`].
    pub fn check_options(&self) -> Result<(), ProfileError> {
        if !(2..=MAX_BINS).contains(&self.options.bins) {
            return Err(ProfileError::BinsOutOfRange { found: self.options.bins, limit: MAX_BINS });
        }
        let names: BTreeSet<&str> = self.columns.iter().map(|(spec, _)| spec.name.as_str()).collect();
        let roles = [("categorical", &self.options.categorical), ("critical", &self.options.critical)];
        for (role, marked) in roles {
            if let Some(column) = marked.iter().find(|name| !names.contains(name.as_str())) {
                let expected = names.into_iter().collect::<Vec<_>>().join(", ");
                return Err(ProfileError::UnknownColumn { column: column.clone(), role, expected });
            }
        }
        Ok(())
    }

    /// Whether the values have to be read a second time.
    pub fn needs_second_reading(&mut self) -> bool {
        let budget = column_budget(self.columns.len());
        let mut exact = true;
        for (_, survey) in &mut self.columns {
            exact &= match survey {
                Survey::Numbers(survey) => {
                    survey.flush(budget);
                    survey.is_exact()
                }
                Survey::Strings(survey) => survey.is_exact(),
            };
        }
        !exact || self.options.hours
    }

    /// Makes the profile from one reading.
    ///
    /// # Errors
    /// [`ProfileError`] for options out of range or that name no column, columns of unequal length and equal names;
    /// [`ProfileError::SecondReadingNeeded`] when one reading does not do.
    pub fn finish(mut self) -> Result<Profile, ProfileError> {
        self.check_options()?;
        if self.needs_second_reading() {
            return Err(ProfileError::SecondReadingNeeded);
        }
        self.counter(true)?.finish()
    }

    /// Chooses the edges and goes on to the second reading.
    ///
    /// # Errors
    /// As [`finish`](Self::finish), but for the need of a second reading.
    pub fn into_counter(mut self) -> Result<ProfileCounter, ProfileError> {
        self.check_options()?;
        self.needs_second_reading();
        self.counter(false)
    }

    /// Counters for all columns; each survey is given up when its counter is there.
    fn counter(self, replayed: bool) -> Result<ProfileCounter, ProfileError> {
        let Self { options, columns } = self;
        let rows = columns.first().map_or(0, |(_, survey)| survey.rows());
        let mut counters = Vec::with_capacity(columns.len());
        for (spec, survey) in columns {
            check_rows(&spec, rows, survey.rows())?;
            let counter = match survey {
                Survey::Numbers(survey) => {
                    let mut counter = NumberCounter::new(&survey, &spec, &options);
                    if replayed {
                        counter.replay(&survey);
                    }
                    Counter::Numbers(counter)
                }
                Survey::Strings(survey) => {
                    let mut counter = StringCounter::new(&survey, &options);
                    if replayed {
                        counter.replay(&survey);
                    }
                    Counter::Strings(counter)
                }
            };
            counters.push((spec, counter));
        }
        Ok(ProfileCounter::new(options, rows, counters))
    }
}

impl Survey {
    fn rows(&self) -> u64 {
        match self {
            Self::Numbers(survey) => survey.rows(),
            Self::Strings(survey) => survey.rows(),
        }
    }
}

fn check_rows(spec: &ColumnSpec, expected: u64, found: u64) -> Result<(), ProfileError> {
    let unequal = || ProfileError::UnequalColumns { column: spec.name.clone(), expected, found };
    if expected == found { Ok(()) } else { Err(unequal()) }
}

pub(super) fn wrong_values(spec: &ColumnSpec, expected: &'static str, found: &'static str) -> ProfileError {
    ProfileError::WrongValues { column: spec.name.clone(), expected, found }
}
