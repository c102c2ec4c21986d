//! What it takes to decide which version answers: the hash of the routing key or a random number, the point, the arm.
//!
//! As the server does it, in the same order. Keys are what callers have at hand: short ones, such as a user's number, and
//! UUIDs; they change from one decision to the next, so that neither the hash nor the arm is known beforehand. Splits are
//! the usual canary and the largest there may be.
//!
//! A decision shall take less than 100 ns. On one thread of an AMD EPYC (Zen 4) of 2.6 GHz it takes 2 ns without a key, 11 ns
//! with a short one and 20 ns with a UUID between two versions; 19, 31 and 41 ns among 64.
//!
//! Run with `cargo bench --bench split`.
//!
//! Invariant: every decision that is measured begins with a key or a draw and ends with an arm.

use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main, measurement::WallTime};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::hint::black_box;
use std::time::Duration;
use tidegate::route::{FULL_WEIGHT, MAX_ARMS, Split, hash_of_key, point_of_draw};

const MODEL: &str = "breast-cancer";

/// Keys that the iterations go through: more than a branch predictor remembers the arms of.
const KEYS: usize = 4096;

/// A canary of 5 %.
fn canary() -> Split {
    Split::try_new(&[(1, 9_500), (2, 500)]).expect("the weights add up")
}

/// As many versions as a split may have, all of about the same weight.
fn largest() -> Split {
    let share = FULL_WEIGHT / MAX_ARMS as u16;
    let rest = FULL_WEIGHT - share * MAX_ARMS as u16;
    let weight = |version: u64| (version, if version == 1 { share + rest } else { share });
    Split::try_new(&(1..=MAX_ARMS as u64).map(weight).collect::<Vec<_>>()).expect("the weights add up")
}

fn with_keys(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, split: &Split, keys: &[String]) {
    let mut turn = 0;
    group.bench_function(name, |bencher| {
        bencher.iter(|| {
            turn = (turn + 1) % KEYS;
            let hash = hash_of_key(black_box(MODEL), black_box(keys[turn].as_bytes()));
            split.pick(point_of_draw(hash))
        });
    });
}

fn decisions(criterion: &mut Criterion) {
    let mut random = SmallRng::seed_from_u64(1);
    let short: Vec<String> = (0..KEYS).map(|_| format!("user-{}", random.random_range(0..10_000_000))).collect();
    let mut uuid = || {
        let (high, low): (u64, u64) = (random.random(), random.random());
        format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            high >> 32,
            high as u16,
            high >> 52,
            low >> 48,
            low & ((1 << 48) - 1)
        )
    };
    let long: Vec<String> = (0..KEYS).map(|_| uuid()).collect();
    for (name, split) in [("2 versions", canary()), ("64 versions", largest())] {
        let mut group = criterion.benchmark_group(name);
        with_keys(&mut group, "short key", &split, &short);
        with_keys(&mut group, "uuid", &split, &long);
        // The draw is taken either way: it also chooses the row of evidence.
        let mut random = SmallRng::seed_from_u64(2);
        group.bench_function("no key", |bencher| {
            bencher.iter(|| split.pick(point_of_draw(black_box(random.random()))));
        });
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(100).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_millis(1000));
    targets = decisions
}
criterion_main!(benches);
