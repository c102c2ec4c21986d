//! A profile learned from traffic: log-linear counters frozen into a reference.
//!
//! A version without a profile counts its values in log-linear bins, which need no reference. After enough rows those
//! counters are a reference themselves: bins that are unions of log-linear bins, so that their counts are known exactly
//! although the values are gone. That a version agrees with its own first rows says nothing about its training data,
//! and the profile says so: `source` is `live` and `frozen_from_traffic` is true.
//!
//! Edges are the first number of the tensor's precision in each log-linear bin. A value is therefore counted in the
//! learned bin that covers its log-linear bin, in FP32 as in FP64, zeros, infinities and the largest numbers included.
//!
//! Minimum, maximum, mean and standard deviation are estimates from the bounds of the log-linear bins, which are 12.5 %
//! wide at most: values are taken to lie in the middle of their bin and, in the bins that reach to the end of the range,
//! at the end that is nearer to the others. The only atoms are zero, because its log-linear bin holds nothing else, and
//! true.
//!
//! Invariant: learned counts are sums of whole log-linear counters, and every learned bin has a value.

use super::edges::{Grid, atom_edges, is_atom};
use super::{Column, ColumnSpec, Kind, Profile, ProfileError, Side, Source};
use crate::sketch::Slots;
use crate::sketch::log_linear::floats;
use crate::tensor::DataType;

/// The most bins of a learned column.
pub const LEARNED_BINS: usize = 64;

/// Counters of a column that has no reference.
#[derive(Clone, Debug)]
pub struct LearnedColumn {
    /// Which column it is.
    pub spec: ColumnSpec,
    /// Its counters: [`floats::COUNT`] of a column of numbers, in the order of [`floats`]; of a column of strings those
    /// of a layout without categories.
    pub counts: Vec<u64>,
    /// Whether drift of this column alone is drift of the version.
    pub critical: bool,
}

/// Makes a profile of the counters that `rows` rows of traffic left. Columns may have a few rows more, as counters are
/// read one after the other while they grow.
///
/// # Errors
/// [`ProfileError::WrongCounters`] for counters of another layout, and what [`Profile::validate`] finds.
pub fn learn(columns: &[LearnedColumn], rows: u64) -> Result<Profile, ProfileError> {
    let mut profile = Profile { rows, source: Source::Live, frozen_from_traffic: true, ..Profile::default() };
    for learned in columns {
        let column = learn_column(learned)?;
        profile.rows = profile.rows.max(column.rows);
        match learned.spec.side {
            Side::Input => profile.inputs.push(column),
            Side::Output => profile.outputs.push(column),
        }
    }
    profile.validate()?;
    Ok(profile)
}

fn learn_column(learned: &LearnedColumn) -> Result<Column, ProfileError> {
    let LearnedColumn { spec, counts, critical } = learned;
    let is_text = spec.datatype == DataType::Bytes && spec.statistic.is_none();
    let texts = Slots::new(0, true);
    let expected = if is_text { texts.count() } else { floats::COUNT };
    if counts.len() != expected {
        let (column, found) = (spec.name.clone(), counts.len());
        return Err(ProfileError::WrongCounters { column, expected, found });
    }
    let rows = counts.iter().sum();
    let column = Column {
        tensor: spec.tensor.clone(),
        index: spec.index,
        name: spec.name.clone(),
        statistic: spec.statistic,
        rows,
        critical: *critical,
        ..Column::default()
    };
    if is_text {
        let missing = counts[texts.missing()];
        return Ok(Column {
            kind: Kind::String,
            missing,
            other: rows - missing,
            categories: Some(Vec::new()),
            ..column
        });
    }
    let column = Column {
        missing: counts[floats::MISSING],
        negative_infinite: counts[floats::NEGATIVE_INFINITE],
        positive_infinite: counts[floats::POSITIVE_INFINITE],
        ..column
    };
    let finite = &counts[..floats::FINITE];
    Ok(if spec.datatype == DataType::Bool && spec.statistic.is_none() {
        learn_flag(column, finite)
    } else {
        learn_numbers(column, finite, Grid::of(spec.datatype, spec.statistic.is_some()))
    })
}

/// A boolean tensor holds zeros and ones alone.
fn learn_flag(column: Column, finite: &[u64]) -> Column {
    let rows = finite.iter().sum::<u64>();
    let zeros = finite[floats::ZERO];
    let edges = atom_edges([0.0, 1.0], Grid::Double);
    let mean = (rows - zeros) as f64 / rows.max(1) as f64;
    let known = |value: f64| (rows > 0).then_some(value);
    Column {
        kind: Kind::Boolean,
        minimum: known(if zeros > 0 { 0.0 } else { 1.0 }),
        maximum: known(if zeros < rows { 1.0 } else { 0.0 }),
        mean: known(mean),
        std: known((mean * (1.0 - mean)).sqrt()),
        distinct: Some(u64::from(zeros > 0) + u64::from(zeros < rows)),
        edges,
        counts: vec![zeros, 0, rows - zeros],
        ..column
    }
}

fn learn_numbers(column: Column, finite: &[u64], grid: Grid) -> Column {
    let bins = merge(finite);
    let Some(last) = bins.last() else { return column };
    let mut edges: Vec<f64> = bins.iter().map(|bin| first_number(bin.first, grid)).collect();
    edges.push(first_number(last.end, grid));
    let (minimum, maximum) = (edges[0], grid.next_down(edges[bins.len()]));
    let (mean, std) = estimate(finite, (minimum, maximum));
    Column {
        kind: Kind::Numeric,
        minimum: Some(minimum),
        maximum: Some(maximum),
        mean: Some(mean),
        std: Some(std),
        edges,
        counts: bins.iter().map(|bin| bin.count).collect(),
        ..column
    }
}

/// Neighbouring log-linear bins.
#[derive(Clone, Copy, Debug)]
struct Bin {
    first: usize,
    end: usize,
    count: u64,
    /// Whether it is the atom of zero, which takes in nothing.
    alone: bool,
}

/// Bins from the first to the last that has values. Of those with values the lightest neighbours are merged until there
/// are few enough; those without belong to the bin below them, or above where that is an atom.
fn merge(finite: &[u64]) -> Vec<Bin> {
    let total = finite.iter().sum();
    let mut bins: Vec<Bin> = Vec::new();
    for (slot, &count) in finite.iter().enumerate().filter(|(_, count)| **count > 0) {
        let alone = slot == floats::ZERO && is_atom(count, total);
        let first = match bins.last_mut() {
            Some(below) if below.alone => below.end,
            Some(below) => {
                below.end = slot;
                slot
            }
            None => slot,
        };
        bins.push(Bin { first, end: slot + 1, count, alone });
    }
    while bins.len() > LEARNED_BINS {
        let joint = |pair: usize| {
            if bins[pair].alone || bins[pair + 1].alone { u64::MAX } else { bins[pair].count + bins[pair + 1].count }
        };
        let Some(lightest) = (0..bins.len() - 1).min_by_key(|&pair| joint(pair)) else { break };
        let above = bins.remove(lightest + 1);
        bins[lightest].end = above.end;
        bins[lightest].count += above.count;
    }
    bins
}

/// The first number of a log-linear bin on the grid: the first above the last of the bin below.
fn first_number(slot: usize, grid: Grid) -> f64 {
    let bounds = slot.checked_sub(1).and_then(floats::bounds);
    match bounds {
        None => grid.next_up(-grid.limit()),
        Some((_, last)) if slot == floats::FINITE || last >= grid.limit() => grid.limit(),
        Some((_, last)) => first_above(last, grid),
    }
}

/// The first number on the grid above one that may not be on it.
fn first_above(value: f64, grid: Grid) -> f64 {
    let rounded = grid.round(value);
    // Adding zero makes the negative zero, which is below no number, the zero.
    (if rounded > value { rounded } else { grid.next_up(rounded) }) + 0.0
}

/// Mean and standard deviation, from the middle of each log-linear bin.
fn estimate(finite: &[u64], (minimum, maximum): (f64, f64)) -> (f64, f64) {
    let middle = |slot: usize| {
        let (lowest, highest) = floats::bounds(slot).unwrap_or((0.0, 0.0));
        match slot {
            0 => highest,
            _ if slot + 1 == floats::FINITE => lowest,
            _ => f64::midpoint(lowest, highest),
        }
    };
    let used: Vec<(f64, u64)> = finite.iter().enumerate().map(|(slot, &count)| (middle(slot), count)).collect();
    let moments = super::moments::Moments::of(&used);
    moments.finish((minimum, maximum), 1.0)
}
