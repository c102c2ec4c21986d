//! A look at one version: counters to windows, distances, verdicts and report; and its snapshot.
//!
//! 100 features of 64 bins and 13 groups with the default windows, a day of traffic behind them and a thousand rows since
//! the last look, once a second. The counters are made up, because how rows become counters is measured elsewhere; the
//! rest is what the judge does for a version, but for summing the workers' shards and posting the report.
//!
//! Run with `cargo bench --bench judge`.
//!
//! Invariant: every look sees counts that it has not seen before.

use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;
use tidegate::config::Config;
use tidegate::judge::VersionWatch;
use tidegate::observe::{RecordedColumn, Side, Totals};
use tidegate::sketch::Reference;

const FEATURES: usize = 100;
const BINS: usize = 64;
/// Below, bins, above, missing, two infinities.
const SLOTS: usize = BINS + 5;
/// Ten of bins, rare, missing, infinite.
const GROUPS: usize = 13;
/// One per group, below, above.
const CELLS: usize = GROUPS + 2;
/// Rows of a second.
const ROWS: u64 = 1_000;

/// A version's counters while it serves.
struct Traffic {
    columns: Vec<RecordedColumn>,
    totals: Totals,
    at: Duration,
    state: u64,
}

impl Traffic {
    fn new() -> Self {
        let totals = Totals {
            slots: vec![0; FEATURES * SLOTS],
            sums: vec![0; FEATURES * 4],
            cells: vec![0; FEATURES * CELLS],
            ..Totals::default()
        };
        let at = Duration::from_secs(1_790_000_000);
        Self { columns: (0..FEATURES).map(column).collect(), totals, at, state: 0x9e37_79b9_7f4a_7c15 }
    }

    /// Rows of `seconds`: spread over the bins, a little differently every time.
    fn pass(&mut self, seconds: u64) {
        self.at += Duration::from_secs(seconds);
        for (slot, count) in self.totals.slots.iter_mut().enumerate() {
            // xorshift64, Marsaglia (2003)
            self.state ^= self.state << 13;
            self.state ^= self.state >> 7;
            self.state ^= self.state << 17;
            let is_bin = (1..=BINS).contains(&(slot % SLOTS));
            let more = if is_bin { seconds * (ROWS / BINS as u64 - 3 + self.state % 7) } else { self.state % 2 };
            *count += more;
            if is_bin {
                self.totals.cells[slot / SLOTS * CELLS + (slot % SLOTS - 1) * 10 / BINS] += more;
            }
        }
        for sum in &mut self.totals.sums {
            *sum = sum.wrapping_add(self.state % 1_000_000);
        }
        self.totals.rows += seconds * ROWS;
    }
}

fn column(index: usize) -> RecordedColumn {
    let mut counts = vec![156; SLOTS];
    counts[0] = 0;
    counts[BINS + 1..].fill(0);
    let group = |slot: usize| match slot {
        0..=BINS => slot.saturating_sub(1) * 10 / BINS,
        slot => [9, 11, 12, 12][slot - BINS - 1],
    };
    let reference = Reference {
        counts,
        groups: (0..SLOTS).map(|slot| u8::try_from(group(slot)).expect("there are few groups")).collect(),
        group_count: GROUPS,
        ordered: Some(0..BINS + 2),
        positions: (0..=BINS).map(|edge| edge as f64 / 16.0 - 2.0).collect(),
        sums: Some([0, -300_000_000, 300_000_000, 0]),
        ..Reference::default()
    };
    RecordedColumn {
        name: format!("feature_{index}"),
        side: Side::Input,
        slots: index * SLOTS..(index + 1) * SLOTS,
        sums: index * 4..(index + 1) * 4,
        cells: index * CELLS..(index + 1) * CELLS,
        reference: Some(reference),
        order: None,
        critical: false,
    }
}

#[expect(clippy::print_stdout, reason = "sizes are results of a bench like times")]
fn judge(criterion: &mut Criterion) {
    let settings = Arc::new(Config::default().model("m"));
    let mut traffic = Traffic::new();
    let mut watch = VersionWatch::new(&traffic.columns, &settings);
    for _ in 0..2_000 {
        traffic.pass(60);
        watch.look(traffic.at, &traffic.columns, &traffic.totals);
    }
    for _ in 0..400 {
        traffic.pass(1);
        watch.look(traffic.at, &traffic.columns, &traffic.totals);
    }
    println!("{} bytes of windows and alarms per feature", watch.resident_bytes() / FEATURES);
    let bytes = watch.encode();
    println!("{} bytes of snapshot per feature", bytes.len() / FEATURES);
    let mut group = criterion.benchmark_group("100 features");
    group.bench_function("look", |bencher| {
        bencher.iter(|| {
            traffic.pass(1);
            black_box(watch.look(traffic.at, &traffic.columns, &traffic.totals))
        });
    });
    group.bench_function("glance", |bencher| {
        bencher.iter(|| {
            traffic.pass(1);
            let counted = (&traffic.totals.cells[..], &traffic.totals.keyed[..]);
            black_box(watch.glance(traffic.at, &traffic.columns, counted))
        });
    });
    group.bench_function("encode", |bencher| bencher.iter(|| black_box(watch.encode())));
    group.bench_function("restore", |bencher| {
        bencher.iter(|| {
            let mut anew = VersionWatch::new(&traffic.columns, &settings);
            anew.restore(black_box(&bytes), traffic.at).expect("it was just written");
            anew
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(50).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_millis(1500));
    targets = judge
}
criterion_main!(benches);
