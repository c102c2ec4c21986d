//! Scale, confidence limits, medians, tables.

use rand::SeedableRng;
use rand::rngs::SmallRng;
use statrs::distribution::{ChiSquared, ContinuousCDF};
use std::io::Write;

/// Whether to draw as much as published figures need.
pub(crate) fn is_long() -> bool {
    std::env::var_os("TIDEGATE_LONG").is_some_and(|value| value == "1")
}

/// `short` in the ordinary run, `long` in the long one.
pub(crate) fn scale<T>(short: T, long: T) -> T {
    if is_long() { long } else { short }
}

pub(crate) fn generator(seed: u64) -> SmallRng {
    SmallRng::seed_from_u64(seed)
}

/// Upper 95 % confidence limit of a Poisson mean of which `count` events were seen (Garwood 1936).
pub(crate) fn upper_limit(count: u64) -> f64 {
    ChiSquared::new(2.0 * (count as f64 + 1.0)).unwrap().inverse_cdf(0.95) / 2.0
}

/// The value in the middle.
pub(crate) fn median(values: &mut [u64]) -> u64 {
    values.sort_unstable();
    values[values.len() / 2]
}

/// Prints a line of a table straight to standard error, so that the long run shows it while it runs; nothing in the
/// ordinary run.
pub(crate) fn say(line: &str) {
    if is_long() {
        let _ = writeln!(std::io::stderr(), "{line}");
    }
}

/// Runs `work` on every index, on all cores, and gives the results in order.
pub(crate) fn in_parallel<T: Send>(count: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut results: Vec<(usize, T)> = std::thread::scope(|scope| {
        let worker = || {
            let mut mine = Vec::new();
            loop {
                let index = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                if index >= count {
                    return mine;
                }
                mine.push((index, work(index)));
            }
        };
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(worker)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

#[test]
fn limits_are_the_textbooks() {
    assert!((upper_limit(0) - 2.9957).abs() < 1e-4 && (upper_limit(1) - 4.7439).abs() < 1e-4);
}
