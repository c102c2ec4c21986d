//! A look at one version: counters to windows, distances, verdicts and report; and its snapshot.
//!
//! 100 features of 64 bins and 13 groups with the default windows, two days of traffic behind them, and a thousand rows a
//! second, each a request of its own. References are samples, by the real builder, of the law that rows are drawn from:
//! evidence is then what chance makes of it, and alarms have to compute it as often as they do while serving. With counts
//! that are smoother than chance, bounds on it would always do. Half of the features have missing values.
//!
//! | group | requests | rows |
//! |---|---|---|
//! | `100 features` | without routing keys | of the references' law |
//! | `100 features, keys` | with routing keys | of the references' law |
//! | `100 features, moved` | without routing keys | a tenth of a standard deviation higher: much evidence, too little effect to alarm |
//!
//! Measured is what the judge does for a version, but for summing the workers' shards and posting the report. Run with
//! `cargo bench --bench judge`.
//!
//! Invariant: every look sees counts that it has not seen before, and they are drawn outside of what is measured.

use criterion::measurement::WallTime;
use criterion::{BatchSize, BenchmarkGroup, Criterion, criterion_group, criterion_main};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use rand_distr::{Binomial, Distribution, StandardNormal};
use statrs::distribution::{ContinuousCDF, Normal};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;
use tidegate::config::Config;
use tidegate::detect::Verdict;
use tidegate::judge::VersionWatch;
use tidegate::observe::{self, RecordedColumn, Totals};
use tidegate::profile::{Column, ColumnSpec, ProfileBuilder, ProfileOptions, Side};
use tidegate::sketch::{KEY_GROUPS, SUMS};
use tidegate::tensor::DataType;

const FEATURES: usize = 100;
const REFERENCE_ROWS: usize = 10_000;
/// Share of missing values where there are any.
const MISSING: f64 = 0.01;
/// Between two looks at the alarms.
const GLANCE: Duration = Duration::from_millis(250);
const ROWS_PER_GLANCE: u64 = 250;
/// Glances of a second and of a minute.
const SECOND: u32 = 4;
const MINUTE: u32 = 240;

/// A version's counters while it serves.
struct Traffic {
    columns: Vec<RecordedColumn>,
    /// The chance of each slot, by column.
    chances: Vec<Vec<f64>>,
    totals: Totals,
    at: Duration,
    random: SmallRng,
}

impl Traffic {
    /// Nothing is served yet. Rows will be so many deviations higher than the references.
    fn new(shift: f64, has_keys: bool) -> Self {
        let mut random = SmallRng::seed_from_u64(7);
        let (mut columns, mut chances, mut totals) = (Vec::new(), Vec::new(), Totals::default());
        for index in 0..FEATURES {
            let missing = if index % 2 == 0 { 0.0 } else { MISSING };
            let column = sample(missing, &mut random);
            columns.push(recorded(format!("feature_{index}"), &column, &mut totals));
            chances.push(chances_of(&column, shift, missing));
        }
        if has_keys {
            totals.keyed.resize(totals.cells.len() * KEY_GROUPS, 0);
        }
        Self { columns, chances, totals, at: Duration::from_secs(1_790_000_000), random }
    }

    /// The counters after the rows of so many glances more.
    fn pass(&mut self, glances: u32) -> &Totals {
        self.at += GLANCE * glances;
        let rows = u64::from(glances) * ROWS_PER_GLANCE;
        for (column, chances) in self.columns.iter().zip(&self.chances) {
            let drawn = draw(rows, chances, &mut self.random);
            add(&mut self.totals, column, &drawn, &mut self.random);
        }
        self.totals.rows += rows;
        self.totals.evidence_rows += rows;
        &self.totals
    }
}

/// A column of the profile of so many draws from the law.
fn sample(missing: f64, random: &mut SmallRng) -> Column {
    let mut builder = ProfileBuilder::new(ProfileOptions::default());
    let key = builder.add_column(ColumnSpec {
        side: Side::Input,
        tensor: "x".into(),
        index: 0,
        name: "x".into(),
        datatype: DataType::Fp64,
        statistic: None,
    });
    let gaps = (REFERENCE_ROWS as f64 * missing) as usize;
    let values: Vec<f64> = (gaps..REFERENCE_ROWS).map(|_| StandardNormal.sample(random)).collect();
    let values = values.into_iter().chain(std::iter::repeat_n(f64::NAN, gaps));
    builder.absorb_numbers(key, values).expect("the column is of numbers");
    builder.finish().expect("one reading is enough").inputs.remove(0)
}

/// The column as a recorder has it, with room among the totals.
fn recorded(name: String, column: &Column, totals: &mut Totals) -> RecordedColumn {
    let (reference, order) = (column.reference(), column.slots());
    let room = |counters: &mut Vec<u64>, count: usize| {
        counters.resize(counters.len() + count, 0);
        counters.len() - count..counters.len()
    };
    RecordedColumn {
        name,
        side: observe::Side::Input,
        slots: room(&mut totals.slots, order.count()),
        sums: room(&mut totals.sums, SUMS),
        cells: room(&mut totals.cells, reference.cells()),
        reference: Some(reference),
        order: Some(order),
        critical: false,
    }
}

/// The chance of each slot under the law.
fn chances_of(column: &Column, shift: f64, missing: f64) -> Vec<f64> {
    let (law, order) = (Normal::standard(), column.slots());
    let mut chances = vec![0.0; order.count()];
    let mut below = 0.0;
    for (slot, up_to) in column.edges.iter().map(|edge| law.cdf(edge - shift)).chain([1.0]).enumerate() {
        chances[slot] = (up_to - below) * (1.0 - missing);
        below = up_to;
    }
    chances[order.missing()] = missing;
    chances
}

/// How many of the rows are in each class: multinomial, drawn as a chain of binomials.
fn draw(rows: u64, chances: &[f64], random: &mut SmallRng) -> Vec<u64> {
    let (mut left, mut mass) = (rows, 1.0_f64);
    let mut drawn = vec![0; chances.len()];
    for (drawn, &chance) in drawn.iter_mut().zip(chances) {
        let share = (chance / mass).clamp(0.0, 1.0);
        // What is left of the mass after the last class is only rounding.
        if left > 0 && share > 0.0 {
            *drawn = Binomial::new(left, share).expect("the share is one").sample(random);
            left -= *drawn;
        }
        mass -= chance;
    }
    drawn
}

/// Counts a column's rows, each the only one of its request.
fn add(totals: &mut Totals, column: &RecordedColumn, drawn: &[u64], random: &mut SmallRng) {
    let (Some(reference), Some(order)) = (&column.reference, column.order) else { return };
    let mut cells = vec![0; reference.cells()];
    for (slot, &count) in drawn.iter().enumerate() {
        totals.slots[column.slots.start + slot] += count;
        cells[reference.cell_of_slot(slot)] += count;
    }
    for (cell, &count) in cells.iter().enumerate() {
        totals.cells[column.cells.start + cell] += count;
    }
    // Values in the outermost bins have the mean that the reference's have, and so have the few beyond.
    let of_reference = reference.sums.expect("the column is of numbers");
    let outermost = [order.bin(0), order.bin(order.bins() - 1)];
    let slots = [order.below(), outermost[0], outermost[1], order.above()];
    for (index, (sum, slot)) in totals.sums[column.sums.clone()].iter_mut().zip(slots).enumerate() {
        let bin = index / 2;
        let mean = of_reference[1 + bin] / reference.counts[outermost[bin]].max(1).cast_signed();
        *sum = sum.wrapping_add((mean * drawn[slot].cast_signed()).cast_unsigned());
    }
    if let Some(keyed) = totals.keyed.get_mut(column.keyed()) {
        for (cell, &count) in cells.iter().enumerate() {
            let by_group = draw(count, &[1.0 / KEY_GROUPS as f64; KEY_GROUPS], random);
            by_group.iter().enumerate().for_each(|(group, &count)| keyed[group * cells.len() + cell] += count);
        }
    }
}

/// The watch after two days, of which it has looked at the last quarter of an hour second by second.
fn watch(traffic: &mut Traffic) -> VersionWatch {
    let settings = Arc::new(Config::default().model("m"));
    let mut watch = VersionWatch::new(&traffic.columns, &settings);
    for glances in std::iter::repeat_n(MINUTE, 2_880).chain(std::iter::repeat_n(SECOND, 900)) {
        traffic.pass(glances);
        watch.look(traffic.at, &traffic.columns, &traffic.totals);
    }
    watch
}

fn looks(group: &mut BenchmarkGroup<'_, WallTime>, traffic: &mut Traffic) -> VersionWatch {
    let mut watch = watch(traffic);
    let columns = traffic.columns.clone();
    group.bench_function("look", |bencher| {
        bencher.iter_batched_ref(
            || (traffic.pass(SECOND).clone(), traffic.at),
            |(totals, at)| black_box(watch.look(*at, &columns, totals)),
            BatchSize::PerIteration,
        );
    });
    group.bench_function("glance", |bencher| {
        bencher.iter_batched_ref(
            || (traffic.pass(1).clone(), traffic.at),
            |(totals, at)| black_box(watch.glance(*at, &columns, (&totals.cells, &totals.keyed))),
            BatchSize::PerIteration,
        );
    });
    // A raised alarm looks at nothing any more: that would not be what is to be measured.
    let look = watch.look(traffic.at, &traffic.columns, &traffic.totals);
    assert!(look.columns.iter().all(|column| column.verdict == Verdict::Ok), "an alarm was raised");
    watch
}

#[expect(clippy::print_stdout, reason = "sizes are results of a bench like times")]
fn judge(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("100 features");
    let mut traffic = Traffic::new(0.0, false);
    let watch = looks(&mut group, &mut traffic);
    println!("{} bytes of windows and alarms per feature", watch.resident_bytes() / FEATURES);
    let bytes = watch.encode();
    println!("{} bytes of snapshot per feature", bytes.len() / FEATURES);
    group.bench_function("encode", |bencher| bencher.iter(|| black_box(watch.encode())));
    let settings = Arc::new(Config::default().model("m"));
    group.bench_function("restore", |bencher| {
        bencher.iter(|| {
            let mut anew = VersionWatch::new(&traffic.columns, &settings);
            anew.restore(black_box(&bytes), traffic.at).expect("it was just written");
            anew
        });
    });
    group.finish();
    for (name, shift, has_keys) in [("100 features, keys", 0.0, true), ("100 features, moved", 0.1, false)] {
        let mut group = criterion.benchmark_group(name);
        looks(&mut group, &mut Traffic::new(shift, has_keys));
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(50).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_millis(1500));
    targets = judge
}
criterion_main!(benches);
