//! Rows of a file in batches, whatever its format.
//!
//! The data are read twice where they do not fit into memory, so the file has to be one that can be: a pipe is refused
//! at the beginning and not after an hour.
//!
//! Invariant: all inputs of a batch have the same rows, and as many hours if the file has times.

use super::columns::FileColumns;
use super::csv_rows::CsvRows;
use super::parquet_rows::ParquetRows;
use crate::tensor::{Signature, TensorData};
use clap::ValueEnum;
use std::fs::File;
use std::path::Path;

/// Rows that go through the model at a time.
pub(super) const BATCH_ROWS: usize = 1024;

/// What a file of rows is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Format {
    /// Text with a header line.
    Csv,
    /// Apache Parquet.
    Parquet,
}

/// Rows, input by input.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) rows: usize,
    /// The values of each input, row-major.
    pub(super) inputs: Vec<TensorData>,
    /// For each input of strings the positions that hold none: a tensor cannot say so.
    pub(super) absent: Vec<Vec<usize>>,
    /// The hour of the week of each row, if the file has times.
    pub(super) hours: Vec<u8>,
}

/// Reads a file from its beginning.
pub(super) enum Rows<'a> {
    Csv(CsvRows<'a>),
    Parquet(ParquetRows<'a>),
}

impl Format {
    /// The format that was asked for, else what the name ends with.
    pub(super) fn of(path: &Path, asked: Option<Self>) -> Self {
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        let parquet = ["parquet", "parq", "pq"].iter().any(|known| ending.eq_ignore_ascii_case(known));
        asked.unwrap_or(if parquet { Self::Parquet } else { Self::Csv })
    }

    /// Names of the columns.
    pub(super) fn column_names(self, path: &Path) -> Result<Vec<String>, String> {
        match self {
            Self::Csv => CsvRows::column_names(path),
            Self::Parquet => ParquetRows::column_names(path),
        }
    }

    /// The rows, from the first.
    pub(super) fn open<'a>(
        self,
        path: &Path,
        columns: &'a FileColumns,
        signature: &'a Signature,
    ) -> Result<Rows<'a>, String> {
        match self {
            Self::Csv => CsvRows::open(path, columns, signature).map(Rows::Csv),
            Self::Parquet => ParquetRows::open(path, columns, signature).map(Rows::Parquet),
        }
    }
}

impl Rows<'_> {
    /// The next rows; none at the end.
    pub(super) fn next_batch(&mut self) -> Result<Option<Batch>, String> {
        match self {
            Self::Csv(rows) => rows.next_batch(),
            Self::Parquet(rows) => rows.next_batch(),
        }
    }

    /// How much of the file is read, 0 to 1.
    pub(super) fn share(&self) -> f64 {
        match self {
            Self::Csv(rows) => rows.share(),
            Self::Parquet(rows) => rows.share(),
        }
    }
}

impl Batch {
    /// A batch without rows, with room.
    pub(super) fn empty(signature: &Signature) -> Self {
        let buffer = |spec: &crate::tensor::TensorSpec| {
            TensorData::with_capacity(spec.datatype, BATCH_ROWS * spec.row_width().unwrap_or(1))
        };
        let inputs: Vec<TensorData> = signature.inputs.iter().map(buffer).collect();
        Self { rows: 0, absent: vec![Vec::new(); inputs.len()], inputs, hours: Vec::new() }
    }
}

/// Opens a file that can be read twice.
pub(super) fn open_file(path: &Path) -> Result<File, String> {
    let cannot = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
    let twice = "the data may have to be read twice, which standard input and pipes cannot be; write them to a file";
    if path == Path::new("-") {
        return Err(twice.to_owned());
    }
    let kind = std::fs::metadata(path).map_err(cannot)?;
    if kind.is_dir() {
        return Err(format!("{} is a directory", path.display()));
    }
    if !kind.is_file() {
        return Err(format!("{} is no regular file: {twice}", path.display()));
    }
    File::open(path).map_err(cannot)
}

/// What is wrong with one value.
pub(super) fn wrong_value(place: &str, column: &str, expected: &str, found: &str) -> String {
    format!("{place}, column \"{column}\": expected {expected}, found {found}")
}
