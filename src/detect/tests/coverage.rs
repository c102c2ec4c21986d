//! Intervals hold what they are of as often as they say.
//!
//! Reference and window are drawn again and again from known laws, on fixed bins, and it is counted how often the distance
//! of the laws themselves is within the interval. `TIDEGATE_LONG=1` makes it 2,000 draws of every case and the promised
//! band, 94 to 97 %; without it a few hundred of some, and a band that is wider by their own noise and still fails for a
//! wrong formula.
//!
//! The band holds, for all eight distances, where laws differ by more than chance makes samples differ, all groups have
//! five expected rows on either side, and no two groups (for L∞) or directions (for KS) differ by nearly as much: shifts
//! and stretches of a normal law, stretches of an exponential one, 1,000 rows or 10,000. It does not hold
//!
//! - at and near equality, where more is held than promised: checked from below alone;
//! - for the maxima where two candidates are close, for small groups, for TV where most groups do not differ, for KS where
//!   the difference has a plateau or a sharp peak, for W1 beyond the reference's range. Those tests say how much is held
//!   there. The documentation of the intervals says why.
//!
//! All of it is for independent rows: no interval knows of dependence.

use super::{is_long, normals};
use crate::detect::{Intervals, chi_square_effect, hellinger, jensen_shannon, psi};
use crate::sketch::{FixedPoint, Live, Reference, SUMS};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use statrs::distribution::{ContinuousCDF, Normal};
use std::ops::RangeInclusive;

const BINS: usize = 64;
const GROUPS: usize = 10;
const NAMES: [&str; 8] = ["PSI", "JS", "Hellinger", "chi-square", "TV", "L-infinity", "KS", "W1/sigma"];

/// A shift of the mean and a factor of the deviation.
type Change = (f64, f64);
/// Rows of the reference and of the window.
type Rows = (usize, usize);
type Case = (Law, Change, Rows);

/// What the reference is drawn from, of standard deviation 1. Windows are drawn from the same, stretched and moved.
#[derive(Clone, Copy, Debug)]
enum Law {
    Normal,
    Exponential,
    Uniform,
}

impl Law {
    /// Where nearly all values are.
    fn range(self) -> (f64, f64) {
        match self {
            Self::Normal => (-9.0, 9.0),
            Self::Exponential => (0.0, 30.0),
            Self::Uniform => (-3_f64.sqrt(), 3_f64.sqrt()),
        }
    }

    fn cdf(self, x: f64) -> f64 {
        let (low, high) = self.range();
        match self {
            Self::Normal => Normal::standard().cdf(x),
            Self::Exponential => 1.0 - (-x.max(0.0)).exp(),
            Self::Uniform => ((x - low) / (high - low)).clamp(0.0, 1.0),
        }
    }

    fn quantile(self, share: f64) -> f64 {
        let (low, high) = self.range();
        match self {
            Self::Normal => Normal::standard().inverse_cdf(share),
            Self::Exponential => -(1.0 - share).ln(),
            Self::Uniform => low + share * (high - low),
        }
    }

    fn sample(self, random: &mut StdRng, count: usize) -> Vec<f64> {
        match self {
            Self::Normal => normals(random, count),
            _ => (0..count).map(|_| self.quantile(random.random::<f64>())).collect(),
        }
    }
}

/// Bins of equal mass under the reference's law, with outer edges that nothing reaches.
struct Bins {
    law: Law,
    edges: Vec<f64>,
    groups: Vec<u8>,
}

impl Bins {
    fn new(law: Law) -> Self {
        let (low, high) = law.range();
        let inner = (1..BINS).map(|bin| law.quantile(bin as f64 / BINS as f64));
        let edges = std::iter::once(low).chain(inner).chain([high]).collect();
        let group = |bin: usize| (bin * GROUPS / BINS) as u8;
        let mut groups: Vec<u8> = (0..BINS).map(group).collect();
        groups.insert(0, 0);
        groups.push(GROUPS as u8 - 1);
        Self { law, edges, groups }
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
        let below = |group: usize| {
            let bin = (0..BINS).find(|bin| bin * GROUPS / BINS >= group).unwrap_or(BINS);
            if group == 0 {
                0.0
            } else if bin == BINS {
                1.0
            } else {
                self.law.cdf((self.edges[bin] - shift) / factor)
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
    let grid = (-40_000..160_000).map(|step| f64::from(step) / 4_000.0);
    let difference = |x: f64| bins.law.cdf(x) - bins.law.cdf((x - change.0) / change.1);
    let areas: Vec<f64> = grid.map(|x| difference(x).abs()).collect();
    [
        psi(&p, &q).unwrap(),
        jensen_shannon(&p, &q).unwrap(),
        hellinger(&p, &q).unwrap(),
        chi_square_effect(&p, &q).unwrap(),
        differences.iter().sum::<f64>() / 2.0,
        differences.iter().copied().fold(0.0, f64::max),
        areas.iter().copied().fold(0.0, f64::max),
        areas.iter().sum::<f64>() / 4_000.0,
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
fn coverage(law: Law, change: Change, (reference_rows, live_rows): Rows, draws: u64) -> [f64; 8] {
    let bins = Bins::new(law);
    let truth = truth(&bins, change);
    let mut held = [0.0; 8];
    for draw in 0..draws {
        let mut random = StdRng::seed_from_u64(9_000_000 + draw);
        let reference = law.sample(&mut random, reference_rows);
        let live: Vec<f64> =
            law.sample(&mut random, live_rows).iter().map(|value| value * change.1 + change.0).collect();
        let found = intervals(&bins, &reference, &live);
        let Intervals { psi, js, hellinger, chi_square, tv, l_infinity, ks, wasserstein } = found;
        let all = [psi, js, hellinger, chi_square, tv, l_infinity, ks.unwrap(), wasserstein.unwrap()];
        for ((held, interval), truth) in held.iter_mut().zip(all).zip(truth) {
            *held += f64::from(u8::from(interval.low <= truth + 1e-12 && truth <= interval.high)) / draws as f64;
        }
    }
    held
}

fn print_line((law, change, rows): Case, coverage: &[f64; 8]) {
    let cells: Vec<String> =
        NAMES.iter().zip(coverage).map(|(name, held)| format!("{name} {:.1} %", 100.0 * held)).collect();
    let (shift, factor) = change;
    println!(
        "coverage, {law:?}, N = {}, n = {}, moved by {shift} sd, x {factor}: {}",
        rows.0,
        rows.1,
        cells.join(", ")
    );
}

/// Counts how often each interval of each case holds the truth, and hands it to `check` with the case and the name.
fn check_all(cases: &[Case], draws: u64, check: impl Fn(&str, f64, Case)) {
    for &case in cases {
        let (law, change, rows) = case;
        let found = coverage(law, change, rows, draws);
        print_line(case, &found);
        NAMES.iter().zip(found).for_each(|(name, held)| check(name, held, case));
    }
}

#[test]
fn intervals_hold_the_truth_as_often_as_they_say_where_laws_differ() {
    const USUAL: Rows = (10_000, 1000);
    let cases = [
        // The ordinary run has these two.
        (Law::Normal, (0.25, 1.0), USUAL),
        (Law::Exponential, (0.0, 1.3), USUAL),
        (Law::Normal, (0.5, 1.0), USUAL),
        (Law::Normal, (0.75, 1.0), USUAL),
        (Law::Normal, (1.0, 1.0), USUAL),
        (Law::Normal, (0.0, 0.7), USUAL),
        (Law::Normal, (0.0, 0.85), USUAL),
        (Law::Normal, (0.0, 1.15), USUAL),
        (Law::Exponential, (0.0, 0.7), USUAL),
        (Law::Exponential, (0.0, 0.85), USUAL),
        (Law::Exponential, (0.0, 1.15), USUAL),
        (Law::Exponential, (0.0, 1.5), USUAL),
        (Law::Exponential, (0.0, 2.0), USUAL),
        (Law::Normal, (0.05, 1.0), (10_000, 10_000)),
        (Law::Normal, (0.1, 1.0), (10_000, 10_000)),
        (Law::Normal, (0.25, 1.0), (10_000, 10_000)),
        (Law::Normal, (0.5, 1.0), (10_000, 10_000)),
        (Law::Normal, (1.0, 1.0), (10_000, 10_000)),
        (Law::Normal, (0.0, 0.7), (10_000, 10_000)),
        (Law::Exponential, (0.0, 1.3), (10_000, 10_000)),
        (Law::Normal, (0.25, 1.0), (3000, 3000)),
        (Law::Normal, (0.5, 1.0), (3000, 3000)),
        (Law::Exponential, (0.0, 1.5), (3000, 3000)),
        (Law::Normal, (0.25, 1.0), (1000, 1000)),
        (Law::Exponential, (0.0, 1.5), (1000, 1000)),
    ];
    let (cases, draws, band) =
        if is_long() { (&cases[..], 2000, 0.94..=0.97) } else { (&cases[..2], 300, 0.915..=0.99) };
    check_all(cases, draws, |name, held, case| {
        assert!(band.contains(&held), "{name} of {case:?}: {held}");
    });
}

#[test]
fn two_groups_or_edges_that_differ_alike_concern_the_maxima_alone() {
    // Which maximum is not exact, and where it lies.
    let cases = [
        ((Law::Normal, (0.35, 1.0), (10_000, 1000)), "L-infinity", 0.89..=0.94),
        ((Law::Exponential, (0.0, 0.5), (10_000, 1000)), "L-infinity", 0.79..=0.86),
        ((Law::Normal, (0.15, 1.0), (10_000, 1000)), "L-infinity", 0.955..=0.985),
        ((Law::Normal, (0.0, 1.5), (10_000, 1000)), "KS", 0.96..=0.985),
        ((Law::Normal, (0.0, 2.0), (10_000, 10_000)), "KS", 0.965..=0.99),
    ];
    for (case, exception, range) in &cases[..if is_long() { cases.len() } else { 0 }] {
        check_all(&[*case], 2000, |name, held, case| {
            let band = if name == *exception { range } else { &(0.935..=0.97) };
            assert!(band.contains(&held), "{name} of {case:?}: {held}");
        });
    }
}

#[test]
fn intervals_hold_the_truth_at_and_near_equality_at_least_as_often_as_they_say() {
    let (draws, least) = if is_long() { (2000, 0.935) } else { (200, 0.90) };
    let cases = [
        (Law::Normal, (0.0, 1.0), (10_000, 1000)),
        (Law::Normal, (0.1, 1.0), (10_000, 1000)),
        (Law::Normal, (0.05, 1.0), (10_000, 1000)),
        (Law::Exponential, (0.0, 1.0), (1000, 1000)),
        (Law::Uniform, (0.0, 1.0), (3000, 3000)),
    ];
    check_all(&cases[..if is_long() { cases.len() } else { 2 }], draws, |name, held, case| {
        assert!(held >= least, "{name} of {case:?}: {held}");
        let is_equal = case.1 == (0.0, 1.0);
        assert!(!is_equal || held >= least + 0.02, "{name} where nothing differs: {held}");
    });
}

/// What the documentation of [`Intervals`] says does not hold, so that it is taken back there when it is mended here.
#[test]
fn intervals_hold_less_where_the_documentation_says_so() {
    if !is_long() {
        return;
    }
    let (narrow, wide, moved) = ((0.0, 0.5), (0.0, 1.3), (0.25, 1.0));
    // Groups of less than five expected live rows.
    let small: &[(&str, RangeInclusive<f64>)] =
        &[("PSI", 0.55..=0.70), ("JS", 0.88..=0.94), ("Hellinger", 0.78..=0.87)];
    // A group that empties, and with it the largest difference of the cumulative shares, which then falls steeply.
    let emptied = &[("PSI", 0.0..=0.02), ("Hellinger", 0.88..=0.94), ("KS", 0.05..=0.20)];
    // Eight groups of ten do not differ, and the cumulative shares differ as much along most of the line.
    let flat = &[("TV", 0.80..=0.86), ("KS", 0.90..=0.94)];
    // The largest difference is at the outermost edge, and values lie beyond that do not fall off as they are taken to.
    let (beyond, more_beyond) =
        (&[("KS", 0.70..=0.80), ("W1/sigma", 0.62..=0.74)], &[("KS", 0.0..=0.05), ("W1/sigma", 0.0..=0.02)]);
    let cases = [
        ((Law::Normal, narrow, (10_000, 300)), small),
        ((Law::Exponential, moved, (10_000, 10_000)), emptied),
        ((Law::Uniform, moved, (10_000, 1000)), flat),
        ((Law::Uniform, wide, (10_000, 1000)), beyond),
        ((Law::Uniform, wide, (10_000, 10_000)), more_beyond),
    ];
    for (case, exceptions) in cases {
        check_all(&[case], 2000, |name, held, case| {
            let range = exceptions.iter().find(|(exception, _)| *exception == name).map(|(_, range)| range);
            assert!(range.is_none_or(|range| range.contains(&held)), "{name} of {case:?}: {held}");
        });
    }
}
