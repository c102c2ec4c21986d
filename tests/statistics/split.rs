//! The split of traffic over ten million keys: every share as it was set, and nobody moved who need not be.
//!
//! Keys are numbers behind a word, as callers have them, and they follow one another: the least random keys there are.

use super::support::{in_parallel, say, scale};
use tidegate::detect::chi_square_p_value;
use tidegate::route::{FULL_WEIGHT, Split, point_of_key};

const MODEL: &str = "churn";
/// Keys of one task.
const BLOCK: u64 = 100_000;
/// Shares on the way up, hundredths of a percent.
const STEPS: [u16; 9] = [0, 1, 100, 500, 2_500, 5_000, 9_900, 9_999, 10_000];
/// The version that gains, and the one that loses: both orders of their numbers.
const PAIRS: [(u64, u64); 2] = [(2, 1), (1, 2)];

fn splits((gaining, losing): (u64, u64)) -> Vec<Split> {
    let split = |weight: u16| Split::try_new(&[(gaining, weight), (losing, FULL_WEIGHT - weight)]).unwrap();
    STEPS.map(split).into()
}

/// Of a block of keys: how many met each point, and how many left the gaining version at a larger share.
fn block(index: usize, all: &[Vec<Split>]) -> (Vec<u64>, u64) {
    let (mut points, mut moved_back) = (vec![0; usize::from(FULL_WEIGHT)], 0);
    for key in index as u64 * BLOCK..(index as u64 + 1) * BLOCK {
        let point = point_of_key(MODEL, format!("user-{key}").as_bytes());
        points[usize::from(point)] += 1;
        for (splits, (gaining, _)) in all.iter().zip(PAIRS) {
            let is_in = |split: &Split| split.arms()[split.pick(point)].version == gaining;
            moved_back += splits.windows(2).filter(|pair| is_in(&pair[0]) && !is_in(&pair[1])).count() as u64;
        }
    }
    (points, moved_back)
}

/// Pearson's statistic of counts against expected ones.
fn chi_square(pairs: impl Iterator<Item = (f64, f64)>) -> f64 {
    pairs.map(|(found, expected)| (found - expected).powi(2) / expected).sum()
}

#[test]
fn shares_are_exact_over_many_keys_and_no_key_is_moved_back() {
    let (blocks, all) = (scale(10, 100), PAIRS.map(splits));
    let total = (blocks as u64 * BLOCK) as f64;
    let (mut points, mut moved_back) = (vec![0_u64; usize::from(FULL_WEIGHT)], 0);
    for (counts, moved) in in_parallel(blocks, |index| block(index, &all)) {
        points.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        moved_back += moved;
    }
    assert_eq!(moved_back, 0, "keys that left the version that gained");
    let expected = total / f64::from(FULL_WEIGHT);
    let by_point = chi_square(points.iter().map(|&count| (count as f64, expected)));
    let p_by_point = chi_square_p_value(by_point, u64::from(FULL_WEIGHT) - 1);
    say(&format!("| split | {total} keys, 10,000 points | chi-square {by_point:.0} | p {p_by_point:.3} |"));
    // Neither too uneven nor, as made-up numbers are, too even.
    assert!((0.0005..0.9995).contains(&p_by_point), "chi-square {by_point} over {total} keys: p = {p_by_point}");
    for (splits, (gaining, _)) in all.iter().zip(PAIRS) {
        for (split, weight) in splits.iter().zip(STEPS) {
            let owned = (0..FULL_WEIGHT).filter(|&point| split.arms()[split.pick(point)].version == gaining);
            let found = owned.map(|point| points[usize::from(point)]).sum::<u64>() as f64;
            let share = f64::from(weight) / f64::from(FULL_WEIGHT);
            if weight == 0 || weight == FULL_WEIGHT {
                assert!((found - share * total).abs() < 0.5, "{gaining} at {weight}: {found}");
                continue;
            }
            let pairs = [(found, share * total), (total - found, (1.0 - share) * total)];
            let p = chi_square_p_value(chi_square(pairs.into_iter()), 1);
            say(&format!("| split | version {gaining} at {} % | {found} of {total} | p {p:.3} |", share * 100.0));
            assert!(p > 0.0005, "version {gaining} at {weight}: {found} of {total}, p = {p}");
        }
    }
}
