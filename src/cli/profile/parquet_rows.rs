//! Rows of a Parquet file.
//!
//! Only the columns that are used are read, batch by batch, and cast to what the tensor holds by Arrow's own rules, so
//! that decimals, dictionaries and narrower types need nothing here. Nulls are missing values: NaN in a tensor of floats,
//! and absent in one of strings; integers and booleans have nothing to say so with, as in a CSV file.
//!
//! Invariant: a value is never cut to fit; an error names the row and the column.

use super::columns::{FileColumns, Use};
use super::rows::{BATCH_ROWS, Batch, open_file, wrong_value};
use super::text;
use super::times::{hour_of_seconds, hour_of_text};
use crate::tensor::{ByteStrings, Signature, TensorData};
use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{DataType, TimeUnit};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use std::fs::File;
use std::path::Path;

/// Reads a Parquet file from its beginning.
pub(super) struct ParquetRows<'a> {
    reader: ParquetRecordBatchReader,
    total: u64,
    done: u64,
    /// Name and use of each column that is read, in the file's order.
    used: Vec<(&'a str, Use)>,
    signature: &'a Signature,
}

/// Where an array's values go, and how to name it.
struct Place<'a> {
    column: &'a str,
    first_row: u64,
    position: usize,
    width: usize,
}

impl<'a> ParquetRows<'a> {
    pub(super) fn column_names(path: &Path) -> Result<Vec<String>, String> {
        let builder = builder(path)?;
        Ok(builder.schema().fields().iter().map(|field| field.name().clone()).collect())
    }

    pub(super) fn open(path: &Path, columns: &'a FileColumns, signature: &'a Signature) -> Result<Self, String> {
        let builder = builder(path)?;
        let is_used = |index: &usize| columns.uses[*index] != Use::Nothing;
        let indexes: Vec<usize> = (0..columns.uses.len()).filter(is_used).collect();
        let mask = ProjectionMask::roots(builder.parquet_schema(), indexes.iter().copied());
        let total = u64::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or(0);
        let reader = builder.with_projection(mask).with_batch_size(BATCH_ROWS).build().map_err(text)?;
        let used = indexes.into_iter().map(|index| (columns.names[index].as_str(), columns.uses[index])).collect();
        Ok(Self { reader, total, done: 0, used, signature })
    }

    pub(super) fn next_batch(&mut self) -> Result<Option<Batch>, String> {
        for records in self.reader.by_ref() {
            let records = records.map_err(text)?;
            if records.num_rows() > 0 {
                let batch = self.batch_of(&records)?;
                self.done += batch.rows as u64;
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }

    pub(super) fn share(&self) -> f64 {
        self.done as f64 / self.total.max(1) as f64
    }

    fn batch_of(&self, records: &RecordBatch) -> Result<Batch, String> {
        let mut batch = Batch { rows: records.num_rows(), ..Batch::empty(self.signature) };
        let mut strings: Vec<Vec<ArrayRef>> = vec![Vec::new(); batch.inputs.len()];
        for (array, &(column, used)) in records.columns().iter().zip(&self.used) {
            let place = |position, width| Place { column, first_row: self.done + 1, position, width };
            match used {
                Use::Nothing => {}
                Use::Time => batch.hours = hours(array, &place(0, 1))?,
                Use::Value { input, position } => match &mut batch.inputs[input] {
                    // Strings cannot be put at a place: they wait until those of all columns are there.
                    TensorData::Bytes(_) => strings[input].push(as_bytes(array, &place(0, 1))?),
                    data => {
                        let width = self.signature.inputs[input].row_width().unwrap_or(1);
                        fill(data, array, &place(position, width))?;
                    }
                },
            }
        }
        for (input, columns) in strings.iter().enumerate() {
            if let TensorData::Bytes(values) = &mut batch.inputs[input] {
                batch.absent[input] = interleave(values, columns, records.num_rows());
            }
        }
        Ok(batch)
    }
}

impl Place<'_> {
    fn wrong(&self, row: usize, expected: &str, found: &str) -> String {
        wrong_value(&format!("row {}", self.first_row + row as u64), self.column, expected, found)
    }

    fn cast(&self, array: &ArrayRef, wanted: &DataType) -> Result<ArrayRef, String> {
        let options = CastOptions { safe: false, ..CastOptions::default() };
        cast_with_options(array, wanted, &options).map_err(|error| {
            let last = self.first_row + array.len() as u64 - 1;
            format!("rows {} to {last}, column \"{}\": {error}", self.first_row, self.column)
        })
    }
}

/// Puts a column's values into the rows of a tensor of numbers.
fn fill(data: &mut TensorData, array: &ArrayRef, place: &Place<'_>) -> Result<(), String> {
    match data {
        TensorData::Bool(values) => {
            let cast = place.cast(array, &DataType::Boolean)?;
            put(values, cast.as_boolean().iter(), |value| value, Err("true or false"), place)
        }
        TensorData::Uint8(values) => whole::<UInt8Type>(values, array, place),
        TensorData::Uint16(values) => whole::<UInt16Type>(values, array, place),
        TensorData::Uint32(values) => whole::<UInt32Type>(values, array, place),
        TensorData::Uint64(values) => whole::<UInt64Type>(values, array, place),
        TensorData::Int8(values) => whole::<Int8Type>(values, array, place),
        TensorData::Int16(values) => whole::<Int16Type>(values, array, place),
        TensorData::Int32(values) => whole::<Int32Type>(values, array, place),
        TensorData::Int64(values) => whole::<Int64Type>(values, array, place),
        TensorData::Fp16(values) => doubles(values, array, half::f16::from_f64, place),
        TensorData::Bf16(values) => doubles(values, array, half::bf16::from_f64, place),
        TensorData::Fp32(values) => {
            let cast = place.cast(array, &DataType::Float32)?;
            put(values, cast.as_primitive::<Float32Type>().iter(), |value| value, Ok(f32::NAN), place)
        }
        TensorData::Fp64(values) => doubles(values, array, |value| value, place),
        TensorData::Bytes(_) => Ok(()),
    }
}

fn doubles<T: Copy>(
    values: &mut Vec<T>,
    array: &ArrayRef,
    narrow: impl Fn(f64) -> T,
    place: &Place<'_>,
) -> Result<(), String> {
    let cast = place.cast(array, &DataType::Float64)?;
    let missing = narrow(f64::NAN);
    put(values, cast.as_primitive::<Float64Type>().iter(), narrow, Ok(missing), place)
}

/// Whole numbers. Writers that know no missing integers store them as floats; a fraction is refused.
fn whole<T: ArrowPrimitiveType>(
    values: &mut Vec<T::Native>,
    array: &ArrayRef,
    place: &Place<'_>,
) -> Result<(), String> {
    const EXPECTED: &str = "a whole number in range";
    let kind = array.data_type();
    if kind.is_floating() || kind.is_decimal() {
        let cast = place.cast(array, &DataType::Float64)?;
        let numbers = cast.as_primitive::<Float64Type>();
        let broken = numbers.iter().position(|number| {
            number.is_some_and(|number| number.trunc() < number || number.trunc() > number || number.is_nan())
        });
        if let Some(row) = broken {
            return Err(place.wrong(row, EXPECTED, &numbers.value(row).to_string()));
        }
    }
    let cast = place.cast(array, &T::DATA_TYPE)?;
    put(values, cast.as_primitive::<T>().iter(), |value| value, Err(EXPECTED), place)
}

/// Puts values at their places; a null is `missing`, or wrong where that is an error.
fn put<S, T: Copy>(
    values: &mut Vec<T>,
    column: impl ExactSizeIterator<Item = Option<S>>,
    convert: impl Fn(S) -> T,
    missing: Result<T, &str>,
    place: &Place<'_>,
) -> Result<(), String> {
    let size = column.len() * place.width;
    for (row, value) in column.enumerate() {
        let value = match (value, missing) {
            (Some(value), _) => convert(value),
            (None, Ok(missing)) => missing,
            (None, Err(expected)) => return Err(place.wrong(row, expected, "null")),
        };
        if values.len() < size {
            values.resize(size, value);
        }
        values[row * place.width + place.position] = value;
    }
    Ok(())
}

fn as_bytes(array: &ArrayRef, place: &Place<'_>) -> Result<ArrayRef, String> {
    let is_bytes = matches!(
        array.data_type(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_)
    );
    let text = if is_bytes { ArrayRef::clone(array) } else { place.cast(array, &DataType::Utf8)? };
    place.cast(&text, &DataType::Binary)
}

/// Strings of all columns, row by row; answers the positions of those that are null.
fn interleave(values: &mut ByteStrings, columns: &[ArrayRef], rows: usize) -> Vec<usize> {
    let mut absent = Vec::new();
    for row in 0..rows {
        for (index, column) in columns.iter().enumerate() {
            let column = column.as_binary::<i32>();
            if column.is_null(row) {
                absent.push(row * columns.len() + index);
                values.push(b"");
            } else {
                values.push(column.value(row));
            }
        }
    }
    absent
}

/// The hour of the week of each row.
fn hours(array: &ArrayRef, place: &Place<'_>) -> Result<Vec<u8>, String> {
    let seconds: Vec<Option<Result<u8, &'static str>>> = match array.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Dictionary(..) => {
            let cast = place.cast(array, &DataType::Utf8)?;
            cast.as_string::<i32>().iter().map(|text| text.map(hour_of_text)).collect()
        }
        kind => {
            let stamp = kind.is_temporal().then_some(DataType::Timestamp(TimeUnit::Microsecond, None));
            let cast = match (kind, stamp) {
                // With a zone the number is already that of UTC.
                (DataType::Timestamp(_, zone), _) => {
                    place.cast(array, &DataType::Timestamp(TimeUnit::Microsecond, zone.clone()))?
                }
                (_, Some(stamp)) => place.cast(array, &stamp)?,
                (_, None) => ArrayRef::clone(array),
            };
            let unit = if kind.is_temporal() { 1e6 } else { 1.0 };
            let whole = if kind.is_temporal() { place.cast(&cast, &DataType::Int64)? } else { cast };
            let numbers = place.cast(&whole, &DataType::Float64)?;
            let of_number = |number: Option<f64>| number.map(|number| hour_of_seconds(number / unit));
            numbers.as_primitive::<Float64Type>().iter().map(of_number).collect()
        }
    };
    let hour_of = |(row, hour)| match hour {
        Some(Ok(hour)) => Ok(hour),
        Some(Err(expected)) => Err(place.wrong(row, expected, "another value")),
        None => Err(place.wrong(row, "a time", "null")),
    };
    seconds.into_iter().enumerate().map(hour_of).collect()
}

fn builder(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<File>, String> {
    ParquetRecordBatchReaderBuilder::try_new(open_file(path)?)
        .map_err(|error| format!("cannot read {} as Parquet: {error}", path.display()))
}
