//! How much less a row says than an independent one would.
//!
//! Retries, sessions and runs of one user repeat themselves: the shares of successive blocks of rows then differ by more
//! than chance, by a factor that survey statistics call the design effect (Kish 1965; for multinomial counts Rao and
//! Scott 1981). Counts are divided by it before evidence is computed.
//!
//! It is estimated from blocks that follow each other: Pearson's statistic of a pair over its degrees of freedom is 1 on
//! average for independent rows, whatever their distribution. A change of distribution makes one pair differ, not all, and
//! is capped. What varies more slowly than a block of [`BLOCK`] rows is not seen: that is drift, be it short-lived.
//!
//! Invariant: the factor is at least 1 and at most [`CAP`], and 1 before anything is known.

use super::numbers::{Numbers, push_counts};

/// Rows of a block at least.
const BLOCK: u64 = 256;
/// A pair counts at most this much above independence.
const CAP: f64 = 8.0;
/// Pairs that the estimate remembers.
const MEMORY: f64 = 512.0;
/// Degrees of freedom that the assumption of independence is worth.
const PRIOR: f64 = 30.0;
/// Excess that is put down to chance: twice the estimate's own deviation for ten groups.
const ALLOWANCE: f64 = 0.04;

/// The estimate, and the block in the making.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Dispersion {
    /// Counters at the end of the latest block, modulo 2^32.
    boundary: Box<[u32]>,
    /// What the latest block counted.
    latest: Box<[u32]>,
    statistic: f64,
    freedom: f64,
}

impl Dispersion {
    /// An estimate that begins at these counters.
    pub(super) fn new(counts: &[u64]) -> Self {
        Self { boundary: counts.iter().map(|&count| count as u32).collect(), ..Self::default() }
    }

    /// Takes in cumulative counters.
    pub(super) fn observe(&mut self, counts: &[u64]) {
        if self.boundary.len() != counts.len() {
            *self = Self::new(counts);
        }
        let gained = |(&now, &before): (&u64, &u32)| (now as u32).wrapping_sub(before);
        let rows: u64 = counts.iter().zip(&self.boundary).map(gained).map(u64::from).sum();
        if rows < BLOCK {
            return;
        }
        let block: Box<[u32]> = counts.iter().zip(&self.boundary).map(gained).collect();
        if self.latest.len() == block.len() {
            let (statistic, freedom) = homogeneity(&self.latest, &block);
            let keep = 1.0 - 1.0 / MEMORY;
            self.statistic = self.statistic * keep + statistic.min(CAP * freedom);
            self.freedom = self.freedom * keep + freedom;
        }
        for (boundary, &count) in self.boundary.iter_mut().zip(counts) {
            *boundary = count as u32;
        }
        self.latest = block;
    }

    /// What counts are divided by.
    pub(super) fn factor(&self) -> f64 {
        let estimate = (self.statistic + PRIOR) / (self.freedom + PRIOR);
        if estimate > 1.0 + ALLOWANCE { estimate.min(CAP) } else { 1.0 }
    }

    /// The estimate as numbers.
    pub(super) fn to_numbers(&self, into: &mut Vec<u64>) {
        into.extend([self.statistic.to_bits(), self.freedom.to_bits()]);
        push_counts(&self.boundary, into);
        push_counts(&self.latest, into);
    }

    /// The estimate that numbers stand for.
    pub(super) fn from_numbers(numbers: &mut Numbers<'_>) -> Option<Self> {
        let [statistic, freedom] = [numbers.next()?, numbers.next()?].map(f64::from_bits);
        let [boundary, latest] = [numbers.counts()?, numbers.counts()?].map(Vec::into_boxed_slice);
        let is_sound = [statistic, freedom].iter().all(|value| (0.0..1e9).contains(value));
        is_sound.then_some(Self { boundary, latest, statistic, freedom })
    }

    /// Bytes that it holds beside itself.
    pub(super) fn resident_bytes(&self) -> usize {
        size_of_val(&*self.boundary) + size_of_val(&*self.latest)
    }
}

/// Pearson's statistic of the homogeneity of two rows of counts, and its degrees of freedom. Cells with fewer than ten
/// rows in both together are taken as one.
fn homogeneity(first: &[u32], second: &[u32]) -> (f64, f64) {
    let total = |counts: &[u32]| counts.iter().map(|&count| f64::from(count)).sum::<f64>();
    let (first_rows, second_rows) = (total(first), total(second));
    let share = first_rows / (first_rows + second_rows);
    let (mut statistic, mut cells, mut small) = (0.0, 0.0, (0.0, 0.0));
    let mut add = |counted: f64, both: f64| {
        let difference = counted - both * share;
        statistic += difference * difference / (both * share * (1.0 - share));
        cells += 1.0;
    };
    for (&a, &b) in first.iter().zip(second) {
        let (a, both) = (f64::from(a), f64::from(a) + f64::from(b));
        if both < 10.0 {
            small = (small.0 + a, small.1 + both);
        } else {
            add(a, both);
        }
    }
    if small.1 >= 10.0 {
        add(small.0, small.1);
    }
    (statistic, f64::max(cells - 1.0, 0.0))
}
