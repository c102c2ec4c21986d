//! Rows of a CSV file.
//!
//! Invariant: an error names the line and the column.

use super::columns::{FileColumns, Use};
use super::rows::{BATCH_ROWS, Batch, open_file, wrong_value};
use super::text;
use super::times::hour_of_text;
use super::values::push_field;
use crate::tensor::Signature;
use std::fs::File;
use std::path::Path;

/// Bytes that are read at a time.
const BUFFER_BYTES: usize = 1 << 18;

/// Reads a CSV file from its beginning.
pub(super) struct CsvRows<'a> {
    reader: csv::Reader<File>,
    bytes: u64,
    columns: &'a FileColumns,
    signature: &'a Signature,
    record: csv::StringRecord,
}

impl<'a> CsvRows<'a> {
    pub(super) fn column_names(path: &Path) -> Result<Vec<String>, String> {
        let mut reader = reader(path)?.0;
        let header = reader.headers().map_err(text)?;
        Ok(header.iter().map(str::to_owned).collect())
    }

    pub(super) fn open(path: &Path, columns: &'a FileColumns, signature: &'a Signature) -> Result<Self, String> {
        let (reader, bytes) = reader(path)?;
        Ok(Self { reader, bytes, columns, signature, record: csv::StringRecord::new() })
    }

    pub(super) fn next_batch(&mut self) -> Result<Option<Batch>, String> {
        let mut batch = Batch::empty(self.signature);
        while batch.rows < BATCH_ROWS && self.reader.read_record(&mut self.record).map_err(text)? {
            self.push_record(&mut batch)?;
        }
        Ok((batch.rows > 0).then_some(batch))
    }

    pub(super) fn share(&self) -> f64 {
        self.reader.position().byte() as f64 / self.bytes.max(1) as f64
    }

    fn push_record(&self, batch: &mut Batch) -> Result<(), String> {
        for (index, (field, used)) in self.record.iter().zip(&self.columns.uses).enumerate() {
            let value = field.trim();
            let pushed = match *used {
                Use::Nothing => Ok(()),
                Use::Time => hour_of_text(value).map(|hour| batch.hours.push(hour)),
                Use::Value { input, .. } => push_field(&mut batch.inputs[input], value),
            };
            pushed.map_err(|expected| {
                let line = self.record.position().map_or(0, csv::Position::line);
                wrong_value(&format!("line {line}"), &self.columns.names[index], expected, &format!("\"{field}\""))
            })?;
        }
        batch.rows += 1;
        Ok(())
    }
}

fn reader(path: &Path) -> Result<(csv::Reader<File>, u64), String> {
    let file = open_file(path)?;
    let bytes = file.metadata().map_err(text)?.len();
    Ok((csv::ReaderBuilder::new().buffer_capacity(BUFFER_BYTES).from_reader(file), bytes))
}
