//! Intervals hold what they are of as often as they say.
//!
//! Reference and window are drawn again and again from known normal laws, on fixed bins, and it is counted how often the
//! distance of the laws themselves is within the interval. `TIDEGATE_LONG=1` makes it 2,000 draws and the promised band;
//! without it a few hundred, and a band that is wider by their own noise and still fails for a wrong formula.

use super::{is_long, normals};
use crate::detect::{Intervals, chi_square_effect, hellinger, jensen_shannon, psi};
use crate::sketch::{FixedPoint, Live, Reference, SUMS};
use rand::{SeedableRng, rngs::StdRng};
use statrs::distribution::{ContinuousCDF, Normal};

const BINS: usize = 64;
const GROUPS: usize = 10;
const NAMES: [&str; 8] = ["PSI", "JS", "Hellinger", "chi-square", "TV", "L-infinity", "KS", "W1/sigma"];

/// A shift of the mean and a factor of the deviation.
type Change = (f64, f64);

/// Bins of equal mass under the reference's law, with outer edges that nothing reaches.
struct Bins {
    edges: Vec<f64>,
    groups: Vec<u8>,
}

impl Bins {
    fn new() -> Self {
        let law = Normal::standard();
        let inner = (1..BINS).map(|bin| law.inverse_cdf(bin as f64 / BINS as f64));
        let edges = std::iter::once(-9.0).chain(inner).chain([9.0]).collect();
        let group = |bin: usize| (bin * GROUPS / BINS) as u8;
        let mut groups: Vec<u8> = (0..BINS).map(group).collect();
        groups.insert(0, 0);
        groups.push(GROUPS as u8 - 1);
        Self { edges, groups }
    }

    /// Counters and raw values of a sample.
    fn count(&self, values: &[f64]) -> Vec<u64> {
        let mut counts = vec![0; BINS + 2];
        values.iter().for_each(|&value| counts[self.slot(value)] += 1);
        counts
    }

    fn slot(&self, value: f64) -> usize {
        self.edges.partition_point(|&edge| edge <= value)
    }

    fn sums(&self, values: &[f64], fixed_point: &FixedPoint) -> [i64; SUMS] {
        let mut sums = [0; SUMS];
        for &value in values {
            match self.slot(value) {
                1 => sums[1] += fixed_point.quantize(value),
                BINS => sums[2] += fixed_point.quantize(value),
                _ => {}
            }
        }
        sums
    }

    /// Proportions of the groups under a normal law, as counters of very many rows.
    fn shares(&self, (shift, factor): Change) -> Vec<u64> {
        let law = Normal::new(shift, factor).unwrap();
        let below = |group: usize| {
            let bin = (0..BINS).find(|bin| bin * GROUPS / BINS >= group).unwrap_or(BINS);
            if group == 0 {
                0.0
            } else if bin == BINS {
                1.0
            } else {
                law.cdf(self.edges[bin])
            }
        };
        (0..GROUPS).map(|group| ((below(group + 1) - below(group)) * 1e15).round() as u64).collect()
    }
}

/// The distances of the laws, in the order of the names.
fn truth(bins: &Bins, change: Change) -> [f64; 8] {
    let (p, q) = (bins.shares((0.0, 1.0)), bins.shares(change));
    let share = |counts: &[u64], group: usize| counts[group] as f64 / counts.iter().sum::<u64>() as f64;
    let differences: Vec<f64> = (0..GROUPS).map(|group| (share(&p, group) - share(&q, group)).abs()).collect();
    let (reference, live) = (Normal::standard(), Normal::new(change.0, change.1).unwrap());
    let grid = (-90_000..90_000).map(|step| f64::from(step) / 10_000.0);
    let areas: Vec<f64> = grid.map(|x| (reference.cdf(x) - live.cdf(x)).abs()).collect();
    [
        psi(&p, &q).unwrap(),
        jensen_shannon(&p, &q).unwrap(),
        hellinger(&p, &q).unwrap(),
        chi_square_effect(&p, &q).unwrap(),
        differences.iter().sum::<f64>() / 2.0,
        differences.iter().copied().fold(0.0, f64::max),
        areas.iter().copied().fold(0.0, f64::max),
        areas.iter().sum::<f64>() / 10_000.0,
    ]
}

fn intervals(bins: &Bins, reference: &[f64], live: &[f64]) -> Intervals {
    let mean = reference.iter().sum::<f64>() / reference.len() as f64;
    let variance = reference.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / reference.len() as f64;
    let fixed_point = FixedPoint::new(mean, variance.sqrt());
    let reference = Reference {
        counts: bins.count(reference),
        groups: bins.groups.clone(),
        group_count: GROUPS,
        ordered: Some(0..BINS + 2),
        positions: bins.edges.iter().map(|&edge| fixed_point.standardize(edge)).collect(),
        sums: Some(bins.sums(reference, &fixed_point)),
        ..Reference::default()
    };
    let counts = bins.count(live);
    Intervals::between(&reference, &Live { counts: &counts, sums: bins.sums(live, &fixed_point) }).unwrap()
}

/// Share of draws in which the truth is within each interval.
fn coverage(change: Change, (reference_rows, live_rows): (usize, usize), draws: u64) -> [f64; 8] {
    let bins = Bins::new();
    let truth = truth(&bins, change);
    let mut held = [0.0; 8];
    for draw in 0..draws {
        let mut random = StdRng::seed_from_u64(9_000_000 + draw);
        let reference = normals(&mut random, reference_rows);
        let live: Vec<f64> = normals(&mut random, live_rows).iter().map(|value| value * change.1 + change.0).collect();
        let found = intervals(&bins, &reference, &live);
        let Intervals { psi, js, hellinger, chi_square, tv, l_infinity, ks, wasserstein } = found;
        let all = [psi, js, hellinger, chi_square, tv, l_infinity, ks.unwrap(), wasserstein.unwrap()];
        for ((held, interval), truth) in held.iter_mut().zip(all).zip(truth) {
            *held += f64::from(u8::from(interval.low <= truth + 1e-12 && truth <= interval.high)) / draws as f64;
        }
    }
    held
}

fn print_line(change: Change, rows: (usize, usize), coverage: &[f64; 8]) {
    let cells: Vec<String> =
        NAMES.iter().zip(coverage).map(|(name, held)| format!("{name} {:.1} %", 100.0 * held)).collect();
    println!("coverage, N = {}, n = {}, shift {} sd x {}: {}", rows.0, rows.1, change.0, change.1, cells.join(", "));
}

#[test]
fn intervals_hold_the_truth_away_from_equality_as_often_as_they_say() {
    let (draws, band) = if is_long() { (2000, 0.94..=0.97) } else { (300, 0.915..=0.99) };
    for shift in [0.25, 0.5] {
        let (change, rows) = ((shift, 1.0), (10_000, 1000));
        let found = coverage(change, rows, draws);
        print_line(change, rows, &found);
        for (name, held) in NAMES.iter().zip(found) {
            assert!(band.contains(&held), "{name} at a shift of {shift}: {held}");
        }
    }
}

#[test]
fn intervals_hold_the_truth_at_and_near_equality_at_least_as_often_as_they_say() {
    let (draws, least) = if is_long() { (2000, 0.935) } else { (200, 0.90) };
    for (change, rows) in [((0.0, 1.0), (10_000, 1000)), ((0.1, 1.0), (10_000, 1000)), ((0.0, 1.3), (3000, 3000))] {
        let found = coverage(change, rows, draws);
        print_line(change, rows, &found);
        for (name, held) in NAMES.iter().zip(found) {
            assert!(held >= least, "{name} at {change:?}: {held}");
        }
    }
}
