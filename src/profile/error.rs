//! What is wrong with a profile.
//!
//! Every variant names the column, because a profile has hundreds of them and is usually written by a program that
//! someone now has to correct.
//!
//! Invariant: the fault is always that of whoever wrote the profile or named it for a model.

use super::{FORMAT, Kind};
use crate::error::{Blamed, Fault};
use crate::sketch::LayoutError;
use crate::tensor::DataType;

/// Why a profile cannot be read, written, built or used with a model.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// Not JSON, cut short, or not the fields of a profile.
    #[error("not a profile: {0}")]
    Json(#[source] serde_json::Error),
    /// Written by a newer release.
    #[error("profile format {found} is newer than {FORMAT}, the newest that is read here")]
    NewerFormat {
        /// The format that came.
        found: u32,
    },
    /// Two columns of one side share a name, or a tensor's column is there twice.
    #[error("column \"{column}\" is there twice")]
    DuplicateColumn {
        /// The column.
        column: String,
    },
    /// A column without a name.
    #[error("column {index} of tensor \"{tensor}\" has no name")]
    UnnamedColumn {
        /// The tensor.
        tensor: String,
        /// The column's index in a row.
        index: usize,
    },
    /// Edges or categories that make no layout.
    #[error("column \"{column}\": {source}")]
    Layout {
        /// The column.
        column: String,
        /// What is wrong with them.
        source: LayoutError,
    },
    /// As many edges as bins plus one are needed.
    #[error("column \"{column}\" has {edges} edges and {counts} counts; expected one edge more than counts, or none")]
    CountsDoNotFitEdges {
        /// The column.
        column: String,
        /// Edges that came.
        edges: usize,
        /// Counts that came.
        counts: usize,
    },
    /// A numeric column needs at least one row per bin.
    #[error("column \"{column}\" has {found} finite values for {bins} bins; expected at least one per bin")]
    TooFewRows {
        /// The column.
        column: String,
        /// Its bins.
        bins: usize,
        /// Its finite values.
        found: u64,
    },
    /// Counts, missing and infinite values do not add up to the rows.
    #[error("the counters of column \"{column}\" add up to {found}, expected its {expected} rows")]
    RowsDoNotAddUp {
        /// The column.
        column: String,
        /// The column's rows.
        expected: u64,
        /// The sum.
        found: u128,
    },
    /// A field contradicts another one.
    #[error("column \"{column}\": {field} is {found}, expected {expected}")]
    Inconsistent {
        /// The column.
        column: String,
        /// The field.
        field: &'static str,
        /// What was expected of it.
        expected: String,
        /// What came.
        found: String,
    },
    /// The model has no such tensor.
    #[error("column \"{column}\" is of tensor \"{tensor}\"; the model has {expected}")]
    UnknownTensor {
        /// The column.
        column: String,
        /// The tensor it names.
        tensor: String,
        /// The model's tensors, as text.
        expected: String,
    },
    /// The column lies outside a row of its tensor.
    #[error("column \"{column}\" has index {found} in tensor \"{tensor}\"; expected less than {expected}")]
    IndexOutOfRow {
        /// The column.
        column: String,
        /// The tensor.
        tensor: String,
        /// How many values a row has.
        expected: usize,
        /// The index that came.
        found: usize,
    },
    /// Strings for a tensor of numbers, or the other way round.
    #[error("column \"{column}\" is {kind} but tensor \"{tensor}\" has datatype {datatype}")]
    KindMismatch {
        /// The column.
        column: String,
        /// Its kind.
        kind: Kind,
        /// The tensor.
        tensor: String,
        /// The tensor's datatype.
        datatype: DataType,
    },
    /// An option names a column that was not added.
    #[error("there is no column \"{column}\" to mark as {role}; the columns are {expected}")]
    UnknownColumn {
        /// The name that came.
        column: String,
        /// `categorical` or `critical`.
        role: &'static str,
        /// The names that there are.
        expected: String,
    },
    /// Numbers were given to a column of strings, or strings to a column of numbers.
    #[error("column \"{column}\" takes {expected}, {found} came")]
    WrongValues {
        /// The column.
        column: String,
        /// `numbers` or `strings`.
        expected: &'static str,
        /// `numbers` or `strings`.
        found: &'static str,
    },
    /// The columns did not get the same number of values.
    #[error("column \"{column}\" has {found} values, expected {expected} as in the first column")]
    UnequalColumns {
        /// The column.
        column: String,
        /// Values of the first column.
        expected: u64,
        /// Values of this one.
        found: u64,
    },
    /// More distinct values than fit into memory, or counts by hour, which one reading cannot give.
    #[error("the values have to be read a second time")]
    SecondReadingNeeded,
    /// The second reading differs from the first.
    #[error("column \"{column}\" changed between two readings: {expected}, then {found}")]
    DataChanged {
        /// The column.
        column: String,
        /// What the first reading had.
        expected: String,
        /// What the second one had.
        found: String,
    },
    /// A tensor needs a column for each value of a row, or one for each statistic of it.
    #[error("{side} \"{tensor}\" has {found} columns in the profile; expected {expected}")]
    IncompleteTensor {
        /// `input` or `output`.
        side: &'static str,
        /// The tensor.
        tensor: String,
        /// What was expected, as text.
        expected: String,
        /// Columns that came.
        found: usize,
    },
    /// Counters to learn from that are not those of a column without a reference.
    #[error("column \"{column}\" has {found} counters; expected {expected}")]
    WrongCounters {
        /// The column.
        column: String,
        /// Counters of a column without a reference.
        expected: usize,
        /// Counters that came.
        found: usize,
    },
    /// A profile's own field contradicts another one.
    #[error("{field} is {found}, expected {expected}")]
    InconsistentProfile {
        /// The field.
        field: &'static str,
        /// What was expected of it.
        expected: String,
        /// What came.
        found: String,
    },
    /// Profiles that are not parts of one.
    #[error("these profiles cannot be merged: {field} is {found} in one and {expected} in another")]
    UnmergeableProfiles {
        /// The field.
        field: &'static str,
        /// What one of them has.
        expected: String,
        /// What another one has.
        found: String,
    },
    /// A column that differs between profiles.
    #[error("column \"{column}\" cannot be merged: {field} is {found} in one profile and {expected} in another")]
    Unmergeable {
        /// The column.
        column: String,
        /// The field.
        field: &'static str,
        /// What one profile has.
        expected: String,
        /// What another one has.
        found: String,
    },
    /// The same profile among those to be merged.
    #[error("the same profile is there twice; its rows cannot be counted twice")]
    SameProfileTwice,
    /// Nothing to merge.
    #[error("there is no profile to merge")]
    NothingToMerge,
    /// An option outside its range.
    #[error("{found} fine bins were asked for; expected 2 to {limit}")]
    BinsOutOfRange {
        /// The number that came.
        found: usize,
        /// The most that are allowed.
        limit: usize,
    },
}

impl Blamed for ProfileError {
    fn fault(&self) -> Fault {
        Fault::InvalidRequest
    }
}
