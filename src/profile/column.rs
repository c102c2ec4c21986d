//! One column of a profile, and what recorders and detectors need of it.
//!
//! The layout for live values and the reference counters come from the same column by the same rule, so that they
//! cannot disagree on which slot is which.
//!
//! Invariant: [`Column::reference`] has as many counters as [`Column::layout`] has slots.

use super::edges::Grid;
use super::{Groups, ProfileError, ordered_groups, unordered_groups};
use crate::sketch::{BinLayout, CategoryLayout, ColumnLayout, FixedPoint, Reference, Slots};
use crate::tensor::DataType;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How a column's values are binned and compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Numbers on quantile bins, with an atom for each value that has more than 1 % of the mass.
    #[default]
    Numeric,
    /// Whole numbers, few of them: an atom each.
    Discrete,
    /// Zero and one.
    Boolean,
    /// Numbers that are codes, without an order: an atom each, everything else is unseen.
    Categorical,
    /// Byte strings.
    String,
}

/// What of a tensor that is too wide for a column per element a derived column holds, per row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Statistic {
    /// Euclidean norm of the finite elements.
    Norm,
    /// Mean of the finite elements.
    Mean,
    /// Share of elements that are zero.
    Zeros,
    /// Share of elements that are NaN or infinite.
    Nonfinite,
}

/// A string and how often it occurred.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Category {
    /// The string.
    pub value: String,
    /// Rows that had it.
    pub count: u64,
}

/// One column of the reference data. The null rate is `missing` over `rows`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// The tensor's name.
    pub tensor: String,
    /// Position of the value within a row of that tensor, from 0; 0 for a derived column.
    pub index: usize,
    /// The feature's name, unique among the inputs, or among the outputs.
    pub name: String,
    /// How values are binned and compared.
    pub kind: Kind,
    /// For a derived column of a wide tensor, what it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statistic: Option<Statistic>,
    /// Rows that the counters add up to.
    pub rows: u64,
    /// Rows without a value, or with NaN.
    pub missing: u64,
    /// Rows with negative infinity, or the lowest finite number of the tensor's type.
    pub negative_infinite: u64,
    /// Rows with positive infinity, or the highest finite number of the tensor's type.
    pub positive_infinite: u64,
    /// Lowest finite value; null if there is none, and for strings. This and the next three are estimates in a column
    /// that was learned from traffic, see [`learn`](super::learn).
    pub minimum: Option<f64>,
    /// Highest finite value; null likewise.
    pub maximum: Option<f64>,
    /// Mean of the finite values; null likewise.
    pub mean: Option<f64>,
    /// Population standard deviation of the finite values; null likewise.
    pub std: Option<f64>,
    /// How many distinct finite values or strings there were; null when there were more than 1,024, or when nobody
    /// counted. Not in format 1.
    #[serde(default)]
    pub distinct: Option<u64>,
    /// Edges of the bins, rising; the last is the next number after the maximum. Empty for strings and for columns
    /// without a finite value.
    pub edges: Vec<f64>,
    /// Finite values in each bin, one fewer than edges.
    pub counts: Vec<u64>,
    /// Means of the values in the first and in the last bin. Without them the Wasserstein distance takes values to lie
    /// evenly within those bins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outer_means: Option<[f64; 2]>,
    /// The strings, the most frequent first; strings only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub categories: Option<Vec<Category>>,
    /// Rows whose category is not listed because there are too many; categorical and string columns only.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub other: u64,
    /// Whether drift of this column alone is drift of the version.
    #[serde(default)]
    pub critical: bool,
    /// For each of the 168 hours of the week from Monday 00:00 UTC, the rows in each coarse group, in the order of
    /// [`Column::groups`]; only where the rows had times. Not in format 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hour_of_week: Option<Vec<Vec<u64>>>,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl fmt::Display for Statistic {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Norm => "norm",
            Self::Mean => "mean",
            Self::Zeros => "zeros",
            Self::Nonfinite => "nonfinite",
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Numeric => "numeric",
            Self::Discrete => "discrete",
            Self::Boolean => "boolean",
            Self::Categorical => "categorical",
            Self::String => "string",
        })
    }
}

impl Kind {
    /// Whether the values have an order, so that distances between them mean something.
    #[must_use]
    pub fn is_ordered(self) -> bool {
        !matches!(self, Self::Categorical | Self::String)
    }
}

impl Column {
    /// Where live values of this column are counted, in a tensor of this datatype. FP32 and narrower floats are
    /// searched in FP32; wider floats, integers, booleans and derived columns in FP64.
    ///
    /// # Errors
    /// [`ProfileError::Layout`] when the edges or categories make no layout in that precision.
    pub fn layout(&self, datatype: DataType) -> Result<ColumnLayout, ProfileError> {
        let categorical = self.kind == Kind::Categorical;
        let layout = if self.kind == Kind::String {
            let categories = self.categories.iter().flatten().map(|category| category.value.as_bytes());
            CategoryLayout::try_new(categories).map(ColumnLayout::Strings)
        } else if Grid::of(datatype, self.statistic.is_some()) == Grid::Single {
            BinLayout::try_new(&self.edges, categorical, self.fixed_point()).map(ColumnLayout::F32)
        } else {
            BinLayout::try_new(&self.edges, categorical, self.fixed_point()).map(ColumnLayout::F64)
        };
        layout.map_err(|source| ProfileError::Layout { column: self.name.clone(), source })
    }

    /// The order of the column's counters.
    #[must_use]
    pub fn slots(&self) -> Slots {
        Slots::new(self.bin_counts().len(), !self.kind.is_ordered())
    }

    /// The reference's side of a comparison: its counters in the order of the layout's slots, and the coarse groups.
    #[must_use]
    pub fn reference(&self) -> Reference {
        let slots = self.slots();
        let mut counts = vec![0; slots.count()];
        for (index, count) in self.bin_counts().into_iter().enumerate() {
            counts[slots.bin(index)] = count;
        }
        counts[slots.missing()] = self.missing;
        counts[slots.negative_infinite()] = self.negative_infinite;
        counts[slots.positive_infinite()] = self.positive_infinite;
        if let Some(unseen) = slots.unseen() {
            counts[unseen] = self.other;
        }
        let Groups { of_slot, count } = self.groups();
        Reference {
            counts,
            groups: of_slot,
            group_count: count,
            ordered: self.kind.is_ordered().then(|| slots.finite()),
            positions: self.positions(),
            sums: self.reference_sums(),
            seasons: self.hour_of_week.clone(),
            distinct: self.distinct_values(),
            rows: self.rows,
            categorical: !self.kind.is_ordered(),
            std: self.std,
        }
    }

    /// Missing values among the rows, 0 to 1; 0 without rows.
    #[must_use]
    pub fn null_rate(&self) -> f64 {
        if self.rows == 0 { 0.0 } else { self.missing as f64 / self.rows as f64 }
    }

    /// How many distinct finite values or strings the column has, as far as it says so: by `distinct`, or because every
    /// bin with values holds a single one, as it may be in a profile of format 1. None for many and for unknown.
    #[must_use]
    pub fn distinct_values(&self) -> Option<u64> {
        let counts = self.bin_counts();
        let used = || (0..counts.len()).filter(|&bin| counts[bin] > 0);
        let single = |bin: usize| self.kind == Kind::String || self.is_atom(bin);
        let told = || (self.other == 0 && used().all(single)).then(|| used().count() as u64);
        self.distinct.or_else(told)
    }

    /// The coarse group of every slot.
    #[must_use]
    pub fn groups(&self) -> Groups {
        let counts = self.bin_counts();
        if self.kind.is_ordered() {
            ordered_groups(&counts, |bin| self.is_atom(bin))
        } else {
            unordered_groups(&counts, |bin| self.kind == Kind::String || self.is_atom(bin))
        }
    }

    /// How values become addends of fixed-point sums.
    #[must_use]
    pub fn fixed_point(&self) -> FixedPoint {
        FixedPoint::new(self.mean.unwrap_or(0.0), self.std.unwrap_or(0.0))
    }

    fn bin_counts(&self) -> Vec<u64> {
        match (&self.categories, self.kind) {
            (Some(categories), Kind::String) => categories.iter().map(|category| category.count).collect(),
            _ => self.counts.clone(),
        }
    }

    /// Whether a bin is one number wide, in FP32 or in FP64.
    #[must_use]
    pub fn is_atom(&self, bin: usize) -> bool {
        let (Some(&lower), Some(&upper)) = (self.edges.get(bin), self.edges.get(bin + 1)) else { return false };
        let single = lower as f32;
        let is_single = f64::from(single).total_cmp(&lower).is_eq();
        upper <= lower.next_up() || is_single && upper <= f64::from(single.next_up())
    }

    fn positions(&self) -> Vec<f64> {
        if !self.kind.is_ordered() || !self.std.is_some_and(|std| std > 0.0) {
            return Vec::new();
        }
        let fixed_point = self.fixed_point();
        let positions: Vec<f64> = self.edges.iter().map(|&edge| fixed_point.standardize(edge)).collect();
        if positions.iter().all(|position| position.is_finite()) { positions } else { Vec::new() }
    }

    fn reference_sums(&self) -> Option<[i64; 4]> {
        let [first, last] = self.outer_means?;
        let fixed_point = self.fixed_point();
        let sum = |mean: f64, count: u64| {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            fixed_point.quantize(mean).saturating_mul(count)
        };
        let (first_count, last_count) = (*self.counts.first()?, *self.counts.last()?);
        Some([0, sum(first, first_count), sum(last, last_count), 0])
    }
}
