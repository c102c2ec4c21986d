//! What judging promises, by whole rollouts that are simulated on counts: how often it is wrong, how soon it is right.
//!
//! Small in the ordinary run, where a test can still fail; as large as published figures need with `TIDEGATE_LONG=1`, by
//! `loadtest/rollout_statistics.sh`, which keeps the tables that these print.

mod false_aborts;
mod guards;
mod looks;
mod replay;
mod season;
mod soon;
mod thresholds;
mod world;

/// Whether the tests that take minutes were asked for.
fn is_long() -> bool {
    std::env::var("TIDEGATE_LONG").is_ok_and(|value| value == "1")
}

/// `short` in the ordinary run, `long` in the long one.
fn scale<T>(short: T, long: T) -> T {
    if is_long() { long } else { short }
}

/// Runs `work` on every index on all cores and gives the results in order.
fn in_parallel<T: Send>(count: usize, work: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let share = |core: usize| (core..count).step_by(cores).map(|index| (index, work(index as u64))).collect::<Vec<_>>();
    let share = &share;
    let mut results: Vec<(usize, T)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|core| scope.spawn(move || share(core))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

/// The value in the middle; none where it is not reached.
fn median(mut found: Vec<Option<u64>>) -> Option<u64> {
    found.sort_unstable_by_key(|found| found.unwrap_or(u64::MAX));
    found[found.len() / 2]
}

/// The middle of what was found, or a dash.
fn shown(found: Option<u64>) -> String {
    found.map_or_else(|| "–".to_owned(), |found| found.to_string())
}

/// Upper 95 % confidence limit of a share, one-sided (Clopper and Pearson 1934).
fn upper_limit(count: usize, runs: usize) -> f64 {
    if count >= runs {
        return 1.0;
    }
    statrs::function::beta::inv_beta_reg(count as f64 + 1.0, (runs - count) as f64, 0.95)
}
