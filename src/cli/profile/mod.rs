//! `tidegate profile`: rows of training data into a version's reference profile.
//!
//! The columns of a CSV or Parquet file are matched to the model's inputs by name, see [`columns`]. Outputs are profiled
//! by running the model on the rows, so that the reference of a prediction is what this model says of that data, and
//! nothing else. The file may be larger than memory: it is read a second time where one reading does not do.
//!
//! Invariant: `profile.json` appears whole or not at all, and only if it fits the model.

mod columns;
mod csv_rows;
mod parquet_rows;
mod progress;
mod rows;
mod tensors;
mod times;
mod values;

pub(super) use rows::Format;

use super::{ProfileArgs, say};
use crate::config::EngineChoice;
use crate::engine::{Engines, Instance, LoadOptions, LoadedGraph, RuntimeSearch};
use crate::profile::{HOURS, LEAST_HOUR_ROWS, Profile, ProfileBuilder, ProfileOptions, SCHEMA, Side, Source};
use crate::registry::{MODEL_FILE, PROFILE_FILE};
use crate::tensor::{Shape, Signature, Tensor, TensorSpec};
use columns::{FileColumns, Wanted, known_features};
use progress::Progress;
use rows::{Batch, Rows};
use std::path::Path;
use std::time::SystemTime;
use tensors::{ProfiledTensor, Reading, TensorRows};

/// Writes the profile of a version.
pub(super) fn run(args: &ProfileArgs) -> Result<(), String> {
    let (Some(model), Some(data)) = (&args.model, &args.data) else {
        say(SCHEMA.trim_end());
        return Ok(());
    };
    let file = model.join(MODEL_FILE);
    let engines = Engines::discover(&RuntimeSearch::from_environment(args.onnxruntime.clone()));
    let graph = engines
        .load(&file, EngineChoice::Auto, &LoadOptions::default())
        .map_err(|error| format!("cannot load {}: {error}", file.display()))?;
    let format = Format::of(data, args.format);
    let names = format.column_names(data)?;
    let columns = match_columns(args, &graph, &model.join(PROFILE_FILE), names)?;
    let open = || format.open(data, &columns, graph.signature());
    let mut profiling = Profiling::new(&graph, &columns, args, format)?;
    profiling.read(open()?, "reading")?;
    if profiling.needs_second_reading()? {
        profiling.read(open()?, "counting")?;
    }
    let profile = profiling.finish()?;
    profile.check(graph.signature()).map_err(text)?;
    let path = model.join(PROFILE_FILE);
    write_whole(&path, &profile)?;
    say(&format!(
        "{}: {} rows, {} features, {} outputs (run on {})",
        path.display(),
        profile.rows,
        profile.inputs.len(),
        profile.outputs.len(),
        graph.engine_name()
    ));
    warn_of_thin_hours(&profile);
    Ok(())
}

/// Hours of the week that are judged need rows of their own; better to hear of it here than to miss a verdict later.
fn warn_of_thin_hours(profile: &Profile) {
    let is_thin = |hour: &&Vec<u64>| hour.iter().sum::<u64>() < LEAST_HOUR_ROWS;
    let columns = profile.inputs.iter().chain(&profile.outputs);
    let of_column = columns.filter_map(|column| column.hour_of_week.as_ref()).map(|hours| hours.iter().filter(is_thin));
    let thin = of_column.map(Iterator::count).max().unwrap_or(0);
    if thin > 0 {
        say(&format!(
            "warning: {thin} of {HOURS} hours of the week have fewer than {LEAST_HOUR_ROWS} rows; drift is not judged in \
             those hours"
        ));
    }
}

/// A profile in the making.
struct Profiling<'a> {
    signature: &'a Signature,
    instance: Box<dyn Instance>,
    /// None only while one reading becomes the other.
    reading: Option<Reading>,
    tensors: Vec<ProfiledTensor>,
    rows: u64,
}

impl<'a> Profiling<'a> {
    fn new(graph: &'a LoadedGraph, columns: &FileColumns, args: &ProfileArgs, format: Format) -> Result<Self, String> {
        let signature: &Signature = graph.signature();
        let mut builder = ProfileBuilder::new(ProfileOptions {
            bins: args.bins,
            categorical: args.categorical.iter().cloned().collect(),
            critical: args.critical.iter().cloned().collect(),
            hours: args.time.is_some(),
            source: if format == Format::Parquet { Source::Parquet } else { Source::Csv },
            created: Some(humantime::format_rfc3339_seconds(SystemTime::now()).to_string()),
        });
        let mut tensors = Vec::new();
        for (input, spec) in signature.inputs.iter().enumerate() {
            let names = columns.names_of(input);
            tensors.push(ProfiledTensor::add(&mut builder, Side::Input, spec, names, args.max_features));
        }
        for spec in &signature.outputs {
            tensors.push(ProfiledTensor::add_output(&mut builder, spec, args.max_features));
        }
        // Before the first row: a misspelt name should not cost an hour.
        builder.check_options().map_err(text)?;
        let instance = graph.instance().map_err(text)?;
        Ok(Self { signature, instance, reading: Some(Reading::First(builder)), tensors, rows: 0 })
    }

    /// Takes in all rows of the file.
    fn read(&mut self, mut rows: Rows<'_>, what: &'static str) -> Result<(), String> {
        let mut progress = Progress::new(what);
        self.rows = 0;
        while let Some(batch) = rows.next_batch()? {
            self.rows += batch.rows as u64;
            self.run_batch(batch)?;
            progress.at(self.rows, rows.share());
        }
        if self.rows == 0 { Err("the file has no rows".to_owned()) } else { Ok(()) }
    }

    fn run_batch(&mut self, batch: Batch) -> Result<(), String> {
        let Batch { rows, inputs, absent, hours } = batch;
        let inputs = self
            .signature
            .inputs
            .iter()
            .zip(inputs)
            .map(|(spec, data)| Tensor::try_new(shape_of(spec, rows)?, data).map_err(text))
            .collect::<Result<Vec<Tensor>, String>>()?;
        let mut outputs = Vec::new();
        self.instance.run(&inputs, &mut outputs).map_err(text)?;
        let Some(reading) = &mut self.reading else { return Ok(()) };
        for (index, (profiled, tensor)) in self.tensors.iter().zip(inputs.iter().chain(&outputs)).enumerate() {
            let absent = absent.get(index).map(Vec::as_slice).unwrap_or_default();
            profiled.absorb(reading, &TensorRows { data: tensor.data(), rows, absent, hours: &hours })?;
        }
        Ok(())
    }

    /// Gets ready for a second reading, if one is needed.
    fn needs_second_reading(&mut self) -> Result<bool, String> {
        let reading = self.reading.take();
        let Some(Reading::First(mut builder)) = reading else {
            self.reading = reading;
            return Ok(false);
        };
        let needed = builder.needs_second_reading();
        self.reading =
            Some(if needed { Reading::Second(builder.into_counter().map_err(text)?) } else { Reading::First(builder) });
        Ok(needed)
    }

    fn finish(self) -> Result<Profile, String> {
        match self.reading {
            Some(Reading::First(builder)) => builder.finish().map_err(text),
            Some(Reading::Second(counter)) => counter.finish().map_err(text),
            None => Err("nothing was read".to_owned()),
        }
    }
}

/// Matches the file's columns to what is known of the features: what the caller says, else the profile that is there.
fn match_columns(
    args: &ProfileArgs,
    graph: &LoadedGraph,
    earlier: &Path,
    names: Vec<String>,
) -> Result<FileColumns, String> {
    let signature = graph.signature();
    let known = match std::fs::read(earlier) {
        Ok(json) if args.features.is_empty() => known_features(&json, signature).unwrap_or_else(|reason| {
            say(&format!("the features are not known: {} cannot be used: {reason}", earlier.display()));
            None
        }),
        _ => None,
    };
    let features = match &known {
        _ if !args.features.is_empty() => Some((args.features.as_slice(), "--features")),
        Some(known) => Some((known.as_slice(), "the version's profile.json")),
        None => None,
    };
    FileColumns::new(signature, names, &Wanted { features, ignored: &args.ignore, time: args.time.as_deref() })
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
