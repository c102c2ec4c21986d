//! Tensors into columns of a profile.
//!
//! Tensors wider than `--max-features` are profiled as the gateway records them: by four statistics of each row.
//!
//! Invariant: first and second reading take tensors apart in the same way.

use super::text;
use crate::observe::{RowStatistics, STATISTICS};
use crate::profile::{ColumnKey, ColumnSpec, ProfileBuilder, ProfileCounter, ProfileError, Side, Statistic};
use crate::tensor::{DataType, TensorData, TensorSpec};

/// The columns of one tensor: one per value of a row, or one per statistic of it.
#[derive(Debug)]
pub(super) struct ProfiledTensor {
    keys: Vec<ColumnKey>,
    reduced: bool,
}

/// What takes in the values.
#[derive(Debug)]
pub(super) enum Reading {
    First(ProfileBuilder),
    Second(ProfileCounter),
}

/// Values of a tensor, with what the tensor cannot say itself.
#[derive(Debug)]
pub(super) struct TensorRows<'a> {
    pub(super) data: &'a TensorData,
    pub(super) rows: usize,
    /// Positions of strings that are missing, rising.
    pub(super) absent: &'a [usize],
    pub(super) hours: &'a [u8],
}

impl Reading {
    fn numbers(&mut self, key: ColumnKey, values: Vec<f64>, hours: &[u8]) -> Result<(), ProfileError> {
        match self {
            Self::First(builder) => builder.absorb_numbers(key, values),
            Self::Second(counter) => counter.absorb_numbers(key, values, hours),
        }
    }

    fn strings<'a>(
        &mut self,
        key: ColumnKey,
        values: impl Iterator<Item = Option<&'a [u8]>>,
        hours: &[u8],
    ) -> Result<(), ProfileError> {
        match self {
            Self::First(builder) => builder.absorb_strings(key, values),
            Self::Second(counter) => counter.absorb_strings(key, values, hours),
        }
    }
}

impl ProfiledTensor {
    /// Adds the columns of a tensor: one per name, or its statistics when there are more names than `max_features`.
    pub(super) fn add(
        builder: &mut ProfileBuilder,
        side: Side,
        spec: &TensorSpec,
        names: Vec<String>,
        max_features: usize,
    ) -> Self {
        let is_text = spec.datatype == DataType::Bytes;
        let reduced = names.len() > max_features || max_features == 0;
        let keys = if reduced && is_text {
            Vec::new()
        } else if reduced {
            let of_statistic = |statistic: &Statistic| {
                let name = format!("{}.{statistic}", spec.name);
                builder.add_column(ColumnSpec { statistic: Some(*statistic), ..column(side, spec, 0, name) })
            };
            STATISTICS.iter().map(of_statistic).collect()
        } else {
            let of_name = |(index, name)| builder.add_column(column(side, spec, index, name));
            names.into_iter().enumerate().map(of_name).collect()
        };
        Self { keys, reduced }
    }

    /// Adds the columns of an output, which has no names but its own.
    pub(super) fn add_output(builder: &mut ProfileBuilder, spec: &TensorSpec, max_features: usize) -> Self {
        // Of an output without a fixed width only statistics can be kept.
        let width = spec.row_width().unwrap_or(usize::MAX);
        let names = match width {
            1 => vec![spec.name.clone()],
            _ if width > max_features => Vec::new(),
            _ => (0..width).map(|index| format!("{}_{index}", spec.name)).collect(),
        };
        let limit = if names.is_empty() { 0 } else { max_features };
        Self::add(builder, Side::Output, spec, names, limit)
    }

    /// Hands the rows of the tensor on.
    pub(super) fn absorb(&self, reading: &mut Reading, tensor: &TensorRows<'_>) -> Result<(), String> {
        let columns = self.keys.len().max(1);
        let hours = tensor.hours;
        if let TensorData::Bytes(values) = tensor.data {
            for (index, &key) in self.keys.iter().enumerate() {
                let of_column = (index..values.len()).step_by(columns).map(|position| {
                    if tensor.absent.binary_search(&position).is_ok() { None } else { values.get(position) }
                });
                reading.strings(key, of_column, hours).map_err(text)?;
            }
            return Ok(());
        }
        let numbers = self.numbers(tensor, columns);
        for (&key, column) in self.keys.iter().zip(numbers) {
            reading.numbers(key, column, hours).map_err(text)?;
        }
        Ok(())
    }

    /// The numbers of each column.
    fn numbers(&self, tensor: &TensorRows<'_>, columns: usize) -> Vec<Vec<f64>> {
        let mut numbers = vec![Vec::with_capacity(tensor.rows); columns];
        let width = tensor.data.len().checked_div(tensor.rows).unwrap_or(0);
        let mut row = RowStatistics::default();
        tensor.data.visit_numbers(|position, value| {
            if !self.reduced {
                numbers[position % columns].push(value);
                return;
            }
            row.add(value);
            if (position + 1) % width == 0 {
                let statistics = std::mem::take(&mut row).finish();
                numbers.iter_mut().zip(statistics).for_each(|(column, statistic)| column.push(statistic));
            }
        });
        numbers
    }
}

fn column(side: Side, spec: &TensorSpec, index: usize, name: String) -> ColumnSpec {
    ColumnSpec { side, tensor: spec.name.clone(), index, name, datatype: spec.datatype, statistic: None }
}
