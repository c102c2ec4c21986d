//! The numbers of a column, surveyed: exact while the distinct ones fit, else by their ranks.
//!
//! Numbers wait in a buffer and are merged into the sorted distinct ones together, so that each costs a sort of the
//! buffer and a fraction of a walk over the rest. The buffer grows with what it is merged into: then the walks stay few.
//!
//! Invariant: counts, missing values, infinities and the range are exact in both states.

use super::ranks::RankSummary;
use super::small;
use crate::profile::edges::{Grid, is_atom, total};
use std::borrow::Cow;

/// Numbers that wait at least until they are merged.
const LEAST_BUFFER: usize = 4096;
/// The buffer holds one part in so many of the distinct numbers it is merged into.
const BUFFER_PART: usize = 4;
/// Bytes for each distinct number: itself and its count, its share of the buffer, and of what is new in it.
const BYTES_PER_DISTINCT: usize = 24;
/// The most that a survey hands on for a second reading.
const MAX_CANDIDATES: usize = 512;

/// What is known of a column of numbers after a first reading.
#[derive(Debug)]
pub(in crate::profile) struct NumberSurvey {
    grid: Grid,
    buffer: Vec<f64>,
    state: State,
    /// Values that came, whatever they were.
    rows: u64,
    missing: u64,
    negative_infinite: u64,
    positive_infinite: u64,
    range: Option<(f64, f64)>,
}

#[derive(Debug)]
enum State {
    /// Distinct numbers, lowest first, with their counts.
    Exact(Vec<(f64, u64)>),
    Ranked(RankSummary),
}

impl NumberSurvey {
    pub(in crate::profile) fn new(grid: Grid) -> Self {
        Self {
            grid,
            buffer: Vec::new(),
            state: State::Exact(Vec::new()),
            rows: 0,
            missing: 0,
            negative_infinite: 0,
            positive_infinite: 0,
            range: None,
        }
    }

    /// Takes in a number; the survey may then take `budget` bytes.
    pub(in crate::profile) fn push(&mut self, number: f64, budget: usize) {
        self.rows += 1;
        let number = self.grid.round(number);
        if number.is_nan() {
            self.missing += 1;
        } else if number <= -self.grid.limit() {
            self.negative_infinite += 1;
        } else if number >= self.grid.limit() {
            self.positive_infinite += 1;
        } else {
            let (lowest, highest) = self.range.unwrap_or((number, number));
            self.range = Some((lowest.min(number), highest.max(number)));
            self.buffer.push(number);
            let waits = match &self.state {
                State::Exact(distinct) => LEAST_BUFFER.max(distinct.len() / BUFFER_PART),
                State::Ranked(_) => LEAST_BUFFER,
            };
            if self.buffer.len() >= waits {
                self.flush(budget);
            }
        }
    }

    /// Puts away what waits.
    pub(in crate::profile) fn flush(&mut self, budget: usize) {
        match &mut self.state {
            State::Exact(distinct) => {
                self.buffer.sort_unstable_by(f64::total_cmp);
                merge_sorted(distinct, &self.buffer);
                if distinct.len() > budget / BYTES_PER_DISTINCT {
                    let mut ranks = RankSummary::default();
                    distinct.iter().for_each(|&(number, count)| ranks.insert(number, count));
                    self.state = State::Ranked(ranks);
                    self.buffer = Vec::new();
                }
            }
            State::Ranked(ranks) => self.buffer.iter().for_each(|&number| ranks.insert(number, 1)),
        }
        self.buffer.clear();
    }

    /// Whether the distinct values are all there, so that no second reading is needed.
    pub(in crate::profile) fn is_exact(&self) -> bool {
        matches!(self.state, State::Exact(_))
    }

    pub(in crate::profile) fn grid(&self) -> Grid {
        self.grid
    }

    pub(in crate::profile) fn rows(&self) -> u64 {
        self.rows
    }

    /// What the survey takes now, bytes.
    #[cfg(test)]
    pub(in crate::profile) fn bytes(&self) -> usize {
        let state = match &self.state {
            State::Exact(distinct) => distinct.capacity() * size_of::<(f64, u64)>(),
            State::Ranked(ranks) => ranks.bytes(),
        };
        state + self.buffer.capacity() * size_of::<f64>()
    }

    /// Lowest and highest finite number.
    pub(in crate::profile) fn range(&self) -> Option<(f64, f64)> {
        self.range
    }

    /// Missing values, negative and positive infinities.
    pub(in crate::profile) fn specials(&self) -> [u64; 3] {
        [self.missing, self.negative_infinite, self.positive_infinite]
    }

    /// Numbers, lowest first, and how many each stands for: the distinct ones if the survey is exact.
    pub(in crate::profile) fn weighted(&self) -> Cow<'_, [(f64, u64)]> {
        match &self.state {
            State::Exact(distinct) => Cow::Borrowed(distinct),
            State::Ranked(ranks) => Cow::Owned(ranks.weighted()),
        }
    }

    /// How many distinct finite numbers there are, if not too many.
    pub(in crate::profile) fn distinct(&self) -> Option<u64> {
        match &self.state {
            State::Exact(distinct) => small(distinct.len()),
            State::Ranked(_) => None,
        }
    }

    /// Every number that may have more than 1 % of the mass. Of a summary also some that have less: those have to be
    /// counted. A number's weight is the difference of two ranks, so it can be off by twice their error.
    pub(in crate::profile) fn atoms(&self, weighted: &[(f64, u64)]) -> Vec<f64> {
        let error = match &self.state {
            State::Exact(_) => 0,
            State::Ranked(ranks) => 2 * ranks.error(),
        };
        let total = total(weighted);
        let mut atoms: Vec<(f64, u64)> =
            weighted.iter().copied().filter(|(_, count)| is_atom(count + error, total)).collect();
        atoms.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        atoms.into_iter().take(MAX_CANDIDATES).map(|(number, _)| number).collect()
    }
}

/// Merges sorted numbers into sorted distinct ones, in place: first counts of what is known, then the new ones from the
/// back.
fn merge_sorted(distinct: &mut Vec<(f64, u64)>, sorted: &[f64]) {
    let (mut at, mut new) = (0, Vec::<(f64, u64)>::new());
    for &number in sorted {
        while distinct.get(at).is_some_and(|&(known, _)| known < number) {
            at += 1;
        }
        match (distinct.get_mut(at), new.last_mut()) {
            (Some((known, count)), _) if *known <= number => *count += 1,
            (_, Some((known, count))) if *known >= number => *count += 1,
            _ => new.push((number, 1)),
        }
    }
    let mut old = distinct.len();
    distinct.reserve_exact(new.len());
    distinct.resize(old + new.len(), (0.0, 0));
    let mut end = distinct.len();
    while let Some(&(number, count)) = new.last() {
        end -= 1;
        if old > 0 && distinct[old - 1].0 > number {
            old -= 1;
            distinct[end] = distinct[old];
        } else {
            distinct[end] = (number, count);
            new.pop();
        }
    }
}
