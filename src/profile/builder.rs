//! Builds a profile from values.
//!
//! Values are given column by column in any number of pieces; what a column holds in between is private, so that a
//! builder that does not keep all numbers can replace this one behind the same three calls. For now it keeps them:
//! exact quantiles need all values, and reference data of a tabular model fits into memory.
//!
//! Invariant: values are put on the tensor's grid before anything is derived from them, so that a reference value and
//! the same live value are in the same bin.

use super::edges::{Grid, atom_edges, counts_between, distinct, quantile_edges};
use super::moments::moments;
use super::{Category, Column, FORMAT, Kind, Profile, ProfileError, Statistic};
use crate::sketch::MAX_BINS;
use crate::tensor::DataType;
use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

/// A column of whole numbers is discrete up to this many distinct ones.
const MAX_DISCRETE: usize = 64;
/// A categorical column lists this many codes: each takes a bin, and so does each gap.
const MAX_CODES: usize = MAX_BINS / 2;

/// How to build.
#[derive(Clone, Debug)]
pub struct ProfileOptions {
    /// Bins of a numeric column: atoms and quantile bins; 64 unless set, at most 256.
    pub bins: usize,
    /// Names of numeric columns whose values are codes without an order.
    pub categorical: BTreeSet<String>,
    /// Names of columns whose drift alone is drift of the version.
    pub critical: BTreeSet<String>,
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

/// A column of the builder that handed it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColumnKey(usize);

/// Collects values and makes a [`Profile`] of them.
#[derive(Debug, Default)]
pub struct ProfileBuilder {
    options: ProfileOptions,
    columns: Vec<(ColumnSpec, Values)>,
}

#[derive(Debug)]
enum Values {
    Numbers(Vec<f64>),
    Strings { counts: HashMap<Vec<u8>, u64>, missing: u64 },
}

/// Numbers of one column, sorted out.
struct Numbers {
    sorted: Vec<f64>,
    missing: u64,
    negative_infinite: u64,
    positive_infinite: u64,
    grid: Grid,
}

impl Default for ProfileOptions {
    fn default() -> Self {
        Self { bins: 64, categorical: BTreeSet::new(), critical: BTreeSet::new() }
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
        let values = if spec.datatype == DataType::Bytes && spec.statistic.is_none() {
            Values::Strings { counts: HashMap::new(), missing: 0 }
        } else {
            Values::Numbers(Vec::new())
        };
        self.columns.push((spec, values));
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
        match &mut self.columns[column.0] {
            (_, Values::Numbers(values)) => values.extend(numbers),
            (spec, Values::Strings { .. }) => return Err(wrong_values(spec, "strings", "numbers")),
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
        let (counts, missing) = match &mut self.columns[column.0] {
            (_, Values::Strings { counts, missing }) => (counts, missing),
            (spec, Values::Numbers(_)) => return Err(wrong_values(spec, "numbers", "strings")),
        };
        for string in strings {
            match string {
                None => *missing += 1,
                Some(string) => match counts.get_mut(string) {
                    Some(count) => *count += 1,
                    None => _ = counts.insert(string.to_vec(), 1),
                },
            }
        }
        Ok(())
    }

    /// Makes the profile.
    ///
    /// # Errors
    /// [`ProfileError`] for options out of range or that name no column, columns of unequal length and equal names.
    pub fn finish(self) -> Result<Profile, ProfileError> {
        self.check_options()?;
        let Self { options, columns } = self;
        let mut profile = Profile { format: FORMAT, rows: 0, inputs: Vec::new(), outputs: Vec::new() };
        for (position, (spec, values)) in columns.into_iter().enumerate() {
            let rows = values.rows();
            if position == 0 {
                profile.rows = rows;
            } else if rows != profile.rows {
                return Err(ProfileError::UnequalColumns { column: spec.name, expected: profile.rows, found: rows });
            }
            let side = match spec.side {
                Side::Input => &mut profile.inputs,
                Side::Output => &mut profile.outputs,
            };
            side.push(finish_column(spec, values, &options));
        }
        profile.validate()?;
        Ok(profile)
    }

    fn check_options(&self) -> Result<(), ProfileError> {
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
}

impl Values {
    fn rows(&self) -> u64 {
        match self {
            Self::Numbers(values) => values.len() as u64,
            Self::Strings { counts, missing } => counts.values().sum::<u64>() + missing,
        }
    }
}

impl Numbers {
    fn new(values: Vec<f64>, grid: Grid) -> Self {
        let mut numbers = Self { sorted: values, missing: 0, negative_infinite: 0, positive_infinite: 0, grid };
        let Self { sorted, missing, negative_infinite, positive_infinite, .. } = &mut numbers;
        sorted.iter_mut().for_each(|value| *value = grid.round(*value));
        sorted.retain(|&value| {
            let counter = if value.is_nan() {
                &mut *missing
            } else if value <= -grid.limit() {
                &mut *negative_infinite
            } else if value >= grid.limit() {
                &mut *positive_infinite
            } else {
                return true;
            };
            *counter += 1;
            false
        });
        sorted.sort_by(f64::total_cmp);
        numbers
    }

    /// Kind and edges, and how many values are in none of the listed categories.
    fn edges(&self, spec: &ColumnSpec, options: &ProfileOptions) -> (Kind, Vec<f64>) {
        let mut distinct = distinct(&self.sorted);
        let within_01 =
            distinct.iter().all(|&(value, _)| value.total_cmp(&0.0).is_eq() || value.total_cmp(&1.0).is_eq());
        if options.categorical.contains(&spec.name) {
            distinct.sort_by_key(|&(_, count)| Reverse(count));
            let codes = distinct.into_iter().take(MAX_CODES).map(|(value, _)| value);
            (Kind::Categorical, atom_edges(codes, self.grid))
        } else if spec.datatype == DataType::Bool || within_01 && !distinct.is_empty() {
            (Kind::Boolean, atom_edges([0.0, 1.0], self.grid))
        } else if !distinct.is_empty()
            && distinct.len() <= MAX_DISCRETE
            && distinct.iter().all(|(value, _)| value.trunc().total_cmp(value).is_eq())
        {
            (Kind::Discrete, atom_edges(distinct.into_iter().map(|(value, _)| value), self.grid))
        } else {
            (Kind::Numeric, quantile_edges(&self.sorted, options.bins, self.grid))
        }
    }

    fn outer_means(&self, edges: &[f64]) -> Option<[f64; 2]> {
        let [_, second, ..] = *edges else { return None };
        let before_last = edges[edges.len() - 2];
        let first = &self.sorted[..self.sorted.partition_point(|&value| value < second)];
        let last = &self.sorted[self.sorted.partition_point(|&value| value < before_last)..];
        Some([moments(first)?.mean, moments(last)?.mean])
    }
}

fn finish_column(spec: ColumnSpec, values: Values, options: &ProfileOptions) -> Column {
    let rows = values.rows();
    match values {
        Values::Numbers(values) => finish_numbers(spec, values, options),
        Values::Strings { counts, missing } => {
            let (categories, other) = most_frequent(counts);
            let column = empty_column(spec, rows, options);
            Column { kind: Kind::String, missing, categories: Some(categories), other, ..column }
        }
    }
}

fn finish_numbers(spec: ColumnSpec, values: Vec<f64>, options: &ProfileOptions) -> Column {
    let single = matches!(spec.datatype, DataType::Fp32 | DataType::Fp16 | DataType::Bf16);
    let grid = if single && spec.statistic.is_none() { Grid::Single } else { Grid::Double };
    let rows = values.len() as u64;
    let numbers = Numbers::new(values, grid);
    let (kind, edges) = numbers.edges(&spec, options);
    let mut counts = counts_between(&edges, &numbers.sorted);
    if kind == Kind::Categorical {
        // Codes that were too many to list lie in the gaps, where live values are unseen.
        let gaps = (0..counts.len()).filter(|&bin| edges[bin + 1] > grid.next_up(edges[bin]));
        gaps.for_each(|bin| counts[bin] = 0);
    }
    let moments = moments(&numbers.sorted);
    Column {
        kind,
        missing: numbers.missing,
        negative_infinite: numbers.negative_infinite,
        positive_infinite: numbers.positive_infinite,
        minimum: moments.map(|moments| moments.minimum),
        maximum: moments.map(|moments| moments.maximum),
        mean: moments.map(|moments| moments.mean),
        std: moments.map(|moments| moments.std),
        outer_means: if kind == Kind::Numeric { numbers.outer_means(&edges) } else { None },
        other: numbers.sorted.len() as u64 - counts.iter().sum::<u64>(),
        edges,
        counts,
        ..empty_column(spec, rows, options)
    }
}

fn empty_column(spec: ColumnSpec, rows: u64, options: &ProfileOptions) -> Column {
    Column {
        critical: options.critical.contains(&spec.name),
        tensor: spec.tensor,
        index: spec.index,
        name: spec.name,
        kind: Kind::Numeric,
        statistic: spec.statistic,
        rows,
        missing: 0,
        negative_infinite: 0,
        positive_infinite: 0,
        minimum: None,
        maximum: None,
        mean: None,
        std: None,
        edges: Vec::new(),
        counts: Vec::new(),
        outer_means: None,
        categories: None,
        other: 0,
    }
}

/// The categories that are listed, the most frequent first, and how many values are none of them. What is not UTF-8
/// cannot be written to a profile and is none of them, as it will be when it is seen live.
fn most_frequent(counts: HashMap<Vec<u8>, u64>) -> (Vec<Category>, u64) {
    let mut other = 0;
    let mut categories = Vec::new();
    for (value, count) in counts {
        match String::from_utf8(value) {
            Ok(value) => categories.push(Category { value, count }),
            Err(_) => other += count,
        }
    }
    categories.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.value.cmp(&b.value)));
    let unlisted = categories.split_off(categories.len().min(MAX_BINS));
    other += unlisted.iter().map(|category| category.count).sum::<u64>();
    (categories, other)
}

fn wrong_values(spec: &ColumnSpec, expected: &'static str, found: &'static str) -> ProfileError {
    ProfileError::WrongValues { column: spec.name.clone(), expected, found }
}
