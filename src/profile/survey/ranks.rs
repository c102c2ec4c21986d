//! Ranks of more numbers than fit into memory, with an error that is known and not a probability.
//!
//! A level holds numbers that each stand for 2^level of them. A full level is sorted and every other number of it moves
//! to the next one, the even and the odd positions in turn. Source: Manku, Rajagopalan and Lindsay, "Approximate Medians
//! and other Quantiles in One Pass and with Limited Memory" (1998); the turns halve its error.
//!
//! One such step moves any rank by at most the weight of the level, up or down by turns, so that of `m` steps on a level
//! at most `ceil(m/2)` weights remain. Over all levels that is about log2(n/3072)/6144 of the values: 0.15 % of a
//! million, 0.3 % of a billion.
//!
//! Invariant: the weights add up to the numbers that came, and [`RankSummary::error`] bounds the error of every rank.

/// Numbers in a full level; even, so that weights add up.
const LEVEL: usize = 3072;

/// Ranks of numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct RankSummary {
    levels: Vec<Level>,
}

#[derive(Clone, Debug, Default)]
struct Level {
    numbers: Vec<f64>,
    steps: u64,
}

impl RankSummary {
    /// Takes in a number that occurred `count` times.
    pub(super) fn insert(&mut self, number: f64, count: u64) {
        let mut rest = count;
        while rest > 0 {
            self.push(rest.trailing_zeros() as usize, number);
            rest &= rest - 1;
        }
    }

    /// The numbers kept, lowest first, and how many of all each stands for.
    pub(super) fn weighted(&self) -> Vec<(f64, u64)> {
        let of_level = |(level, Level { numbers, .. }): (usize, &Level)| {
            numbers.iter().map(move |&number| (number, 1_u64 << level)).collect::<Vec<_>>()
        };
        let mut weighted: Vec<(f64, u64)> = self.levels.iter().enumerate().flat_map(of_level).collect();
        weighted.sort_by(|a, b| a.0.total_cmp(&b.0));
        weighted.dedup_by(|next, kept| {
            let same = next.0 <= kept.0;
            if same {
                kept.1 += next.1;
            }
            same
        });
        weighted
    }

    /// How far any rank can be off, in numbers.
    pub(super) fn error(&self) -> u64 {
        let levels = self.levels.iter().enumerate();
        levels.map(|(level, Level { steps, .. })| steps.div_ceil(2) << level).sum()
    }

    /// What the summary takes now, bytes.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.levels.iter().map(|level| level.numbers.capacity() * size_of::<f64>()).sum()
    }

    fn push(&mut self, level: usize, number: f64) {
        while self.levels.len() <= level {
            self.levels.push(Level::default());
        }
        let full = &mut self.levels[level];
        if full.numbers.capacity() < LEVEL {
            full.numbers.reserve_exact(LEVEL);
        }
        full.numbers.push(number);
        if full.numbers.len() < LEVEL {
            return;
        }
        // A level is sorted from runs that came from the level below: this sort finds them.
        full.numbers.sort_by(f64::total_cmp);
        let first = usize::from(full.steps % 2 == 1);
        full.steps += 1;
        let promoted: Vec<f64> = full.numbers.iter().copied().skip(first).step_by(2).collect();
        full.numbers.clear();
        for number in promoted {
            self.push(level + 1, number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(numbers: &[f64]) {
        let mut summary = RankSummary::default();
        numbers.iter().for_each(|&number| summary.insert(number, 1));
        let mut sorted = numbers.to_vec();
        sorted.sort_by(f64::total_cmp);
        let weighted = summary.weighted();
        assert_eq!(weighted.iter().map(|(_, weight)| weight).sum::<u64>(), numbers.len() as u64);
        let mut found = 0;
        for (number, weight) in weighted {
            found += weight;
            let exact = sorted.partition_point(|&value| value <= number) as u64;
            assert!(found.abs_diff(exact) <= summary.error(), "{found} {exact} {}", summary.error());
        }
    }

    #[test]
    fn ranks_are_within_the_stated_error_whatever_the_order() {
        let count = 200_000;
        let rising: Vec<f64> = (0..count).map(f64::from).collect();
        let falling: Vec<f64> = rising.iter().rev().copied().collect();
        let scattered: Vec<f64> = (0..count).map(|index| (f64::from(index) * 0.618_033_988_749).fract()).collect();
        let alternating: Vec<f64> = (0..count).map(|index| f64::from(index % 2) * f64::from(index)).collect();
        for numbers in [rising, falling, scattered, alternating] {
            check(&numbers);
        }
        let mut summary = RankSummary::default();
        (0..1 << 20).for_each(|number| summary.insert(f64::from(number), 1));
        assert!(summary.error() * 10_000 < 16 << 20, "{}", summary.error());
    }

    #[test]
    fn a_number_that_comes_often_costs_no_more_than_one_that_comes_once() {
        let mut summary = RankSummary::default();
        summary.insert(1.0, 1 << 40);
        summary.insert(2.0, 3);
        assert_eq!((summary.weighted(), summary.error()), (vec![(1.0, 1 << 40), (2.0, 3)], 0));
    }

    proptest! {
        #[test]
        fn ranks_of_any_numbers_are_within_the_stated_error(
            numbers in prop::collection::vec((0_u16..2000, 1_u64..300), 0..200),
        ) {
            let all: Vec<f64> =
                numbers.iter().flat_map(|&(n, count)| std::iter::repeat_n(f64::from(n), count as usize)).collect();
            check(&all);
        }
    }
}
