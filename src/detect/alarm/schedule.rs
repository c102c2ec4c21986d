//! Where evidence starts to be counted, and how much of the budget each start has.
//!
//! One test that runs from the first row answers "has this always been different?", and after a quiet month it takes
//! almost as many changed rows as there were unchanged ones. So evidence is counted from many starts at once, and each
//! is a test of its own that shares the budget. Starts are numbered; one whose number ends in `z` zero bits is of level
//! `z` and stays for [`RETAINED`]·2^z further starts, so that at any age there is a start not much older, and about
//! thirty of them live.
//!
//! Weights are paid out as time passes: each level accrues its share of one unit per thirty days, and a new start takes
//! what the levels up to its own have accrued. A stream that is slow makes few starts, each with much weight; one that
//! is fast makes many with little. The first start gets half a unit at once, and the first thirty days accrue half as
//! fast: a version that is wrong from the beginning should be found from the beginning.
//!
//! Invariant: the weights of all starts made by time `t` after the first look add up to at most max(1, t / 30 days), and
//! each is known when its start is made.

use super::numbers::{Numbers, push_counts};
use std::time::Duration;

/// Levels of starts. The oldest are 2^17 starts apart and stay twice as long: a day and a half at a hundred rows a
/// second, twenty weeks at one.
pub(super) const LEVELS: usize = 18;
/// How many of its own spacings a start stays, and those of the upper half of the levels, which are for changes so small
/// that a little more dilution does not matter.
pub(super) const RETAINED: u32 = 3;
const RETAINED_OLD: u32 = 2;
/// Rows between two starts: fewer would pay for starts that no change can tell apart.
pub(super) const ROWS_PER_START: u32 = 48;
/// A unit of weight is paid out in this time.
pub(super) const PERIOD: Duration = Duration::from_hours(30 * 24);
/// What the first start gets at once, and what the first period pays out besides.
const FIRST_SHARE: f64 = 0.5;
/// A start is looked at 2^3 to 2^4 times while its age doubles: evidence of old starts changes slowly.
const LOOKS_PER_DOUBLING: u32 = 3;
/// What a schedule can have at most; more is not one of ours.
const MOST_COUNTERS: usize = 64;
const MOST_STARTS: usize = 256;
/// A thousand years of weight.
const MOST_WEIGHT: f64 = 12_000.0;
/// Room is made for so many starts at a time.
const ROOM: usize = 4;
/// Counters are kept modulo 2^32; a start with more rows than this is given up before they could wrap.
const ROWS_LIMIT: u32 = 1 << 31;

/// The starts of one stream of counted rows.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Schedule {
    /// Accrued weight that no start has taken yet, by level.
    pools: Vec<f64>,
    /// When accrual began.
    born: Duration,
    /// Until when weight has accrued.
    accrued_until: Duration,
    /// The number of the next start, modulo 2^32.
    next: u32,
    /// How often the starts were looked at, modulo 2^32.
    looks: u32,
    /// Rows of the stream at the latest start, modulo 2^32.
    rows_at_latest: u32,
    /// Rows of the stream at the latest look, modulo 2^32.
    rows_at_look: u32,
    /// How many counters each start keeps.
    width: usize,
    starts: Vec<Start>,
    /// The counters as they stood at each start, modulo 2^32, one start after the other: in one piece, because a column
    /// has some forty starts and a version some hundred columns.
    counts: Vec<u32>,
}

/// One start.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Start {
    /// Its number, modulo 2^32.
    number: u32,
    /// Unix time in seconds, which a u32 holds until 2106.
    at: u32,
    /// The number of the look after which it was made, modulo 2^32.
    look: u32,
    ln_weight: f32,
}

/// A start as evidence is computed from it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Since<'a> {
    start: &'a Start,
    counts: &'a [u32],
}

impl Since<'_> {
    /// Natural logarithm of its weight.
    pub(super) fn ln_weight(&self) -> f64 {
        f64::from(self.start.ln_weight)
    }

    /// When it was made, unix time.
    pub(super) fn at(&self) -> Duration {
        Duration::from_secs(u64::from(self.start.at))
    }

    /// What each counter has gained since.
    pub(super) fn gained(&self, counts: &[u64]) -> impl Iterator<Item = u32> {
        self.counts.iter().zip(counts).map(|(&start, &now)| (now as u32).wrapping_sub(start))
    }
}

impl Schedule {
    /// A schedule whose first start is at these counters.
    pub(super) fn new(at: Duration, counts: &[u64]) -> Self {
        let mut pools: Vec<f64> = vec![0.0; LEVELS];
        pools[0] = FIRST_SHARE;
        let mut schedule = Self {
            pools,
            born: at,
            accrued_until: at,
            next: 0,
            looks: 0,
            rows_at_latest: rows(counts),
            rows_at_look: rows(counts),
            width: counts.len(),
            starts: Vec::new(),
            counts: Vec::new(),
        };
        schedule.start(at, counts);
        schedule
    }

    /// Forgets all evidence and starts from here; what has accrued stays, what was paid out is gone.
    pub(super) fn restart(&mut self, at: Duration, counts: &[u64]) {
        self.accrue(at);
        self.starts.clear();
        self.counts.clear();
        self.start(at, counts);
    }

    /// Lets weight accrue; whether any row has come since the latest look, so that there is something to look at.
    pub(super) fn advance(&mut self, at: Duration, counts: &[u64]) -> bool {
        self.accrue(at);
        let rows = rows(counts);
        if rows == self.rows_at_look {
            return false;
        }
        self.rows_at_look = rows;
        self.looks = self.looks.wrapping_add(1);
        true
    }

    /// Makes a start if enough rows have come since the latest; after the starts were looked at, so that a start never
    /// counts a row that had been seen when it was made.
    pub(super) fn conclude(&mut self, at: Duration, counts: &[u64]) {
        if rows(counts).wrapping_sub(self.rows_at_latest) >= ROWS_PER_START {
            self.start(at, counts);
        }
        // The oldest is first, and the only one that can be near the limit.
        let oldest = self
            .counts
            .get(..self.width)
            .map(|counts| counts.iter().fold(0_u32, |sum, &count| sum.wrapping_add(count)));
        if oldest.is_some_and(|oldest| rows(counts).wrapping_sub(oldest) >= ROWS_LIMIT) {
            self.starts.remove(0);
            self.counts.drain(..self.width);
        }
    }

    /// The starts that are due to be looked at now.
    pub(super) fn due(&self) -> impl Iterator<Item = Since<'_>> {
        self.all().filter(|since| {
            let age = self.looks.wrapping_sub(since.start.look);
            let interval = 1_u32 << age.max(1).ilog2().saturating_sub(LOOKS_PER_DOUBLING);
            age.is_multiple_of(interval)
        })
    }

    /// All starts that live.
    pub(super) fn all(&self) -> impl Iterator<Item = Since<'_>> {
        let counts = self.counts.chunks_exact(self.width.max(1));
        self.starts.iter().zip(counts).map(|(start, counts)| Since { start, counts })
    }

    /// How many starts live.
    pub(super) fn count(&self) -> usize {
        self.starts.len()
    }

    /// How many counters each start keeps.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// The schedule as numbers.
    pub(super) fn to_numbers(&self, into: &mut Vec<u64>) {
        into.extend([self.width as u64, u64::from(self.next), u64::from(self.looks), u64::from(self.rows_at_latest)]);
        into.extend([u64::from(self.rows_at_look), milliseconds(self.born), milliseconds(self.accrued_until)]);
        into.extend(self.pools.iter().map(|pool| pool.to_bits()));
        into.push(self.starts.len() as u64);
        for start in &self.starts {
            into.extend([start.number, start.at, start.look, start.ln_weight.to_bits()].map(u64::from));
        }
        push_counts(&self.counts, into);
    }

    /// The schedule that numbers stand for; none if they stand for none, as those of a broken file may.
    pub(super) fn from_numbers(numbers: &mut Numbers<'_>) -> Option<Self> {
        let width = usize::try_from(numbers.next()?).ok().filter(|width| (1..=MOST_COUNTERS).contains(width))?;
        let next = numbers.small()?;
        let (looks, rows_at_latest, rows_at_look) = (numbers.small()?, numbers.small()?, numbers.small()?);
        let [born, accrued_until] = [numbers.next()?, numbers.next()?].map(Duration::from_millis);
        let pools: Vec<f64> = (0..LEVELS).map(|_| numbers.next().map(f64::from_bits)).collect::<Option<_>>()?;
        let count = usize::try_from(numbers.next()?).ok().filter(|count| *count <= MOST_STARTS)?;
        let mut starts = Vec::with_capacity(count);
        for _ in 0..count {
            let (number, at, look) = (numbers.small()?, numbers.small()?, numbers.small()?);
            starts.push(Start { number, at, look, ln_weight: f32::from_bits(numbers.small()?) });
        }
        let counts = numbers.counts()?;
        let is_sound = counts.len() == count * width
            && pools.iter().all(|pool| (0.0..=MOST_WEIGHT).contains(pool))
            && starts.iter().all(|start| f64::from(start.ln_weight) <= MOST_WEIGHT.ln());
        let schedule =
            Self { pools, born, accrued_until, next, looks, rows_at_latest, rows_at_look, width, starts, counts };
        is_sound.then_some(schedule)
    }

    /// Bytes that the schedule holds beside itself.
    pub(super) fn resident_bytes(&self) -> usize {
        self.pools.capacity() * size_of::<f64>()
            + self.starts.capacity() * size_of::<Start>()
            + self.counts.capacity() * size_of::<u32>()
    }

    fn accrue(&mut self, at: Duration) {
        let Some(elapsed) = at.checked_sub(self.accrued_until).filter(|elapsed| !elapsed.is_zero()) else { return };
        let first_period_end = self.born + PERIOD;
        let slow = first_period_end.saturating_sub(self.accrued_until).min(elapsed);
        let units = (slow.as_secs_f64() * (1.0 - FIRST_SHARE) + (elapsed - slow).as_secs_f64()) / PERIOD.as_secs_f64();
        for (level, pool) in self.pools.iter_mut().enumerate() {
            *pool += units * share_of_level(level);
        }
        self.accrued_until = at;
    }

    fn start(&mut self, at: Duration, counts: &[u64]) {
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        self.rows_at_latest = rows(counts);
        let levels = level(number) as usize + 1;
        let weight: f64 = self.pools.iter_mut().take(levels).map(std::mem::take).sum();
        self.let_go(number);
        if weight > 0.0 {
            if self.starts.len() == self.starts.capacity() {
                self.starts.reserve_exact(ROOM);
                self.counts.reserve_exact(ROOM * self.width);
            }
            let at = u32::try_from(at.as_secs()).unwrap_or(u32::MAX);
            self.starts.push(Start { number, at, look: self.looks, ln_weight: weight.ln() as f32 });
            self.counts.extend(counts.iter().map(|&count| count as u32));
        }
    }

    /// Lets go of starts that have stayed their time, and closes the gaps.
    fn let_go(&mut self, number: u32) {
        let mut kept = 0;
        for index in 0..self.starts.len() {
            let start = self.starts[index];
            let level = level(start.number);
            let spacings = if level < LEVELS as u32 / 2 { RETAINED } else { RETAINED_OLD };
            if number.wrapping_sub(start.number) <= spacings << level {
                self.starts[kept] = start;
                self.counts.copy_within(index * self.width..(index + 1) * self.width, kept * self.width);
                kept += 1;
            }
        }
        self.starts.truncate(kept);
        self.counts.truncate(kept * self.width);
    }
}

/// Share of the accrued weight that a level gets: falling slowly, because changes that are found by young starts are the
/// ones that cannot wait.
pub(super) fn share_of_level(level: usize) -> f64 {
    let share = |level: usize| 1.0 / (level + 2) as f64;
    share(level) / (0..LEVELS).map(share).sum::<f64>()
}

fn level(number: u32) -> u32 {
    if number == 0 { LEVELS as u32 - 1 } else { number.trailing_zeros().min(LEVELS as u32 - 1) }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// All rows, modulo 2^32.
fn rows(counts: &[u64]) -> u32 {
    counts.iter().fold(0_u32, |sum, &count| sum.wrapping_add(count as u32))
}
