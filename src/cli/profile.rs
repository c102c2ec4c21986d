//! `tidegate profile`: rows of training data into a version's reference profile.
//!
//! The header line names the features. A model with one input takes the columns in the file's order, as the input's
//! values; one with several takes a column per input, found by name. Outputs are profiled by running the model on the
//! rows, so that the reference of a prediction is what this model says of that data, and nothing else.
//!
//! Tensors wider than `--max-features` are profiled as the gateway records them: by four statistics of each row.
//!
//! Invariant: `profile.json` appears whole or not at all, and only if it fits the model.

use super::{ProfileArgs, say};
use crate::config::EngineChoice;
use crate::engine::{Engines, Instance, LoadOptions, LoadedGraph, RuntimeSearch};
use crate::observe::{RowStatistics, STATISTICS};
use crate::profile::{ColumnKey, ColumnSpec, Profile, ProfileBuilder, ProfileOptions, Side, Statistic};
use crate::registry::{MODEL_FILE, PROFILE_FILE};
use crate::tensor::{DataType, Shape, Signature, Tensor, TensorData, TensorSpec};
use std::path::Path;

/// Rows that go through the model at a time.
const BATCH_ROWS: usize = 1024;
/// Rows between two lines of progress.
const PROGRESS_ROWS: usize = 100_000;

/// Writes the profile of a version.
pub(super) fn run(args: &ProfileArgs) -> Result<(), String> {
    let model = args.model.join(MODEL_FILE);
    let engines = Engines::discover(&RuntimeSearch::from_environment(args.onnxruntime.clone()));
    let graph = engines
        .load(&model, EngineChoice::Auto, &LoadOptions::default())
        .map_err(|error| format!("cannot load {}: {error}", model.display()))?;
    let mut reader = csv::ReaderBuilder::new()
        .from_path(&args.data)
        .map_err(|error| format!("cannot read {}: {error}", args.data.display()))?;
    let header: Vec<String> = reader.headers().map_err(text)?.iter().map(str::to_owned).collect();
    let mut profiling = Profiling::new(&graph, &header, args)?;
    for (row, record) in reader.records().enumerate() {
        // The header is line 1.
        let line = row + 2;
        profiling.absorb(&record.map_err(|error| format!("line {line}: {error}"))?, line)?;
        if (row + 1) % PROGRESS_ROWS == 0 {
            say(&format!("{} rows", row + 1));
        }
    }
    let profile = profiling.finish()?;
    profile.check(graph.signature()).map_err(text)?;
    let path = args.model.join(PROFILE_FILE);
    write_whole(&path, &profile)?;
    say(&format!(
        "{}: {} rows, {} features, {} outputs (run on {})",
        path.display(),
        profile.rows,
        profile.inputs.len(),
        profile.outputs.len(),
        graph.engine_name()
    ));
    Ok(())
}

/// A profile in the making: rows wait in a batch until they go through the model together.
struct Profiling<'a> {
    signature: &'a Signature,
    instance: Box<dyn Instance>,
    header: &'a [String],
    /// For each column of the file: the input it belongs to.
    input_of_column: Vec<usize>,
    builder: ProfileBuilder,
    tensors: Vec<ProfiledTensor>,
    batch: Vec<TensorData>,
    batch_rows: usize,
}

/// The columns of one tensor: one per value of a row, or one per statistic of it.
struct ProfiledTensor {
    keys: Vec<ColumnKey>,
    reduced: bool,
}

impl<'a> Profiling<'a> {
    fn new(graph: &'a LoadedGraph, header: &'a [String], args: &ProfileArgs) -> Result<Self, String> {
        let signature: &Signature = graph.signature();
        let input_of_column = match_columns(signature, header)?;
        let mut builder = ProfileBuilder::new(ProfileOptions {
            bins: args.bins,
            categorical: args.categorical.iter().cloned().collect(),
            critical: args.critical.iter().cloned().collect(),
        });
        let mut tensors = Vec::new();
        for (input, spec) in signature.inputs.iter().enumerate() {
            let names = header.iter().zip(&input_of_column).filter(|(_, of)| **of == input);
            let names: Vec<String> = names.map(|(name, _)| name.clone()).collect();
            tensors.push(add_tensor(&mut builder, Side::Input, spec, names, args.max_features));
        }
        for spec in &signature.outputs {
            // Of an output without a fixed width only statistics can be kept.
            let width = spec.row_width().unwrap_or(usize::MAX);
            let names = match width {
                1 => vec![spec.name.clone()],
                _ if width > args.max_features => Vec::new(),
                _ => (0..width).map(|index| format!("{}_{index}", spec.name)).collect(),
            };
            let limit = if names.is_empty() { 0 } else { args.max_features };
            tensors.push(add_tensor(&mut builder, Side::Output, spec, names, limit));
        }
        let instance = graph.instance().map_err(text)?;
        let batch = empty_batch(signature);
        Ok(Self { signature, instance, header, input_of_column, builder, tensors, batch, batch_rows: 0 })
    }

    fn absorb(&mut self, record: &csv::StringRecord, line: usize) -> Result<(), String> {
        for ((field, name), &input) in record.iter().zip(self.header).zip(&self.input_of_column) {
            push_field(&mut self.batch[input], field.trim()).map_err(|expected| {
                format!("line {line}, column \"{name}\": expected {expected}, found \"{field}\"")
            })?;
        }
        self.batch_rows += 1;
        if self.batch_rows == BATCH_ROWS { self.run_batch() } else { Ok(()) }
    }

    fn run_batch(&mut self) -> Result<(), String> {
        let rows = std::mem::take(&mut self.batch_rows);
        if rows == 0 {
            return Ok(());
        }
        let batch = std::mem::replace(&mut self.batch, empty_batch(self.signature));
        let inputs = self
            .signature
            .inputs
            .iter()
            .zip(batch)
            .map(|(spec, data)| Tensor::try_new(shape_of(spec, rows)?, data).map_err(text))
            .collect::<Result<Vec<Tensor>, String>>()?;
        let mut outputs = Vec::new();
        self.instance.run(&inputs, &mut outputs).map_err(text)?;
        for (profiled, tensor) in self.tensors.iter().zip(inputs.iter().chain(&outputs)) {
            absorb_tensor(&mut self.builder, profiled, tensor.data(), rows)?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Profile, String> {
        self.run_batch()?;
        self.builder.finish().map_err(text)
    }
}

/// Which input each column of the file belongs to.
fn match_columns(signature: &Signature, header: &[String]) -> Result<Vec<usize>, String> {
    let width = |spec: &TensorSpec| {
        spec.row_width().filter(|_| spec.is_batched()).ok_or_else(|| {
            format!(
                "input \"{}\" {:?} has no rows of a fixed width and cannot be profiled",
                spec.name,
                spec.wire_shape()
            )
        })
    };
    if let [spec] = signature.inputs.as_slice() {
        let expected = width(spec)?;
        return if header.len() == expected {
            Ok(vec![0; expected])
        } else {
            Err(format!(
                "input \"{}\" takes {expected} values per row, the file has {} columns: {}",
                spec.name,
                header.len(),
                header.join(", ")
            ))
        };
    }
    for spec in &signature.inputs {
        if width(spec)? != 1 {
            return Err(format!("input \"{}\" has several values per row; only a single input may", spec.name));
        }
        if !header.contains(&spec.name) {
            return Err(format!("input \"{}\" has no column; the file has {}", spec.name, header.join(", ")));
        }
    }
    let input_named = |name: &String| {
        signature.inputs.iter().position(|spec| spec.name == *name).ok_or_else(|| {
            format!("column \"{name}\" is no input of the model, which takes {}", signature.describe_inputs())
        })
    };
    header.iter().map(input_named).collect()
}

fn column(side: Side, spec: &TensorSpec, index: usize, name: String) -> ColumnSpec {
    ColumnSpec { side, tensor: spec.name.clone(), index, name, datatype: spec.datatype, statistic: None }
}

fn empty_batch(signature: &Signature) -> Vec<TensorData> {
    signature.inputs.iter().map(|spec| TensorData::with_capacity(spec.datatype, BATCH_ROWS)).collect()
}

fn shape_of(spec: &TensorSpec, rows: usize) -> Result<Shape, String> {
    let inner = spec.wire_shape();
    let inner = inner.iter().skip(1).map(|&size| usize::try_from(size).map_err(text));
    let mut shape = Shape::vector(rows);
    for size in inner {
        shape.try_push(size?).map_err(text)?;
    }
    Ok(shape)
}

/// Appends a field's value, or says what was expected. An empty field is a missing value, where there can be one.
fn push_field(data: &mut TensorData, field: &str) -> Result<(), &'static str> {
    fn integer<T: std::str::FromStr>(values: &mut Vec<T>, field: &str) -> Result<(), &'static str> {
        values.push(field.parse().map_err(|_invalid| "a whole number in range")?);
        Ok(())
    }
    let number = || if field.is_empty() { Ok(f64::NAN) } else { field.parse().map_err(|_invalid| "a number") };
    match data {
        TensorData::Bool(values) => values.push(match field {
            "1" | "true" | "True" => true,
            "0" | "false" | "False" => false,
            _ => return Err("true or false"),
        }),
        TensorData::Uint8(values) => integer(values, field)?,
        TensorData::Uint16(values) => integer(values, field)?,
        TensorData::Uint32(values) => integer(values, field)?,
        TensorData::Uint64(values) => integer(values, field)?,
        TensorData::Int8(values) => integer(values, field)?,
        TensorData::Int16(values) => integer(values, field)?,
        TensorData::Int32(values) => integer(values, field)?,
        TensorData::Int64(values) => integer(values, field)?,
        TensorData::Fp16(values) => values.push(half::f16::from_f64(number()?)),
        TensorData::Bf16(values) => values.push(half::bf16::from_f64(number()?)),
        TensorData::Fp32(values) => {
            values.push(if field.is_empty() { f32::NAN } else { field.parse().map_err(|_invalid| "a number")? });
        }
        TensorData::Fp64(values) => values.push(number()?),
        TensorData::Bytes(values) => values.push(field.as_bytes()),
    }
    Ok(())
}

/// Adds the columns of a tensor: one per name, or its statistics when there are more names than `max_features`.
fn add_tensor(
    builder: &mut ProfileBuilder,
    side: Side,
    spec: &TensorSpec,
    names: Vec<String>,
    max_features: usize,
) -> ProfiledTensor {
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
    ProfiledTensor { keys, reduced }
}

/// Hands the rows of a tensor to the builder.
fn absorb_tensor(
    builder: &mut ProfileBuilder,
    tensor: &ProfiledTensor,
    data: &TensorData,
    rows: usize,
) -> Result<(), String> {
    let columns = tensor.keys.len().max(1);
    if let TensorData::Bytes(values) = data {
        for (index, &key) in tensor.keys.iter().enumerate() {
            let column = (index..values.len()).step_by(columns).map(|position| values.get(position));
            builder.absorb_strings(key, column).map_err(text)?;
        }
        return Ok(());
    }
    let mut numbers = vec![Vec::with_capacity(rows); columns];
    let width = data.len().checked_div(rows).unwrap_or(0);
    let mut row = RowStatistics::default();
    data.visit_numbers(|position, value| {
        if !tensor.reduced {
            numbers[position % columns].push(value);
            return;
        }
        row.add(value);
        if (position + 1) % width == 0 {
            let statistics = std::mem::take(&mut row).finish();
            numbers.iter_mut().zip(statistics).for_each(|(column, statistic)| column.push(statistic));
        }
    });
    for (&key, column) in tensor.keys.iter().zip(numbers) {
        builder.absorb_numbers(key, column).map_err(text)?;
    }
    Ok(())
}

/// Writes beside the target and renames, so that a gateway that polls the directory never reads half a profile.
fn write_whole(path: &Path, profile: &Profile) -> Result<(), String> {
    let json = profile.to_json().map_err(text)?;
    let draft = path.with_extension("json.draft");
    let written = std::fs::write(&draft, json).and_then(|()| std::fs::rename(&draft, path));
    written.map_err(|error| format!("cannot write {}: {error}", path.display()))
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
