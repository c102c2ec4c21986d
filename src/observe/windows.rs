//! Every window over a version's columns, from one set of counters.
//!
//! ```text
//!  Totals ─▶ reading ─▶ gained since the last ─┬─▶ primary: fine slices (every counter, 8 parts)
//!           (live only grows)                  ├─▶ since deploy: a running total of every counter
//!                                              └─▶ by group ─┬─▶ sliding: 8 parts each, 1 s at least
//!                                                            ├─▶ tumbling: the block that is open, the one before
//!                                                            ├─▶ decayed by half-life
//!                                                            └─▶ by hour of the week (an option)
//! ```
//! What a reading has more than the last is handed to each window; none of them reads a counter of its own. Only the
//! primary window is fine, since its distances along the number line are what people look at; the others answer "since
//! when", for which groups will do.
//!
//! | window | covers | resolution |
//! |---|---|---|
//! | primary, length L | L to L + L/8 | L/8, at least 1 s |
//! | sliding, length L | L to L + L/8 | L/8, at least 1 s |
//! | tumbling, length L | exactly L, aligned to unix time | L |
//! | since deploy | all since the version was first loaded, restarts included | |
//! | decayed | all, each row halved every half-life | |
//!
//! A feature of 64 bins and 14 groups takes less than 5 KB with the default windows, whatever the traffic; a test holds it.
//!
//! Times are unix time, made monotonic by the caller, so that windows can be written down and go on after a restart. The
//! recorder then counts from zero again, and the total goes on.
//!
//! Invariant: since deploy, every counter is what was restored plus what was read, in wrapping arithmetic.

use super::blocks::Blocks;
use super::decay::Decayed;
use super::reading::ReadingPlan;
use super::recorder::Totals;
use super::ring::Ring;
use super::seasons::{Seasons, hours_between};
use std::time::Duration;

/// Slices of a window, which covers an eighth more than its length at most. All that is kept of a feature is to fit 10 KiB,
/// and each slice of the default windows takes 340 bytes of them.
const SLICES: u32 = 8;

/// Which windows there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowSettings {
    /// Length of the window that is judged.
    pub primary: Duration,
    /// Lengths of the sliding and of the tumbling windows; the primary's need not be among them.
    pub lengths: Vec<Duration>,
    /// After how long a row weighs half in the decayed counts.
    pub half_life: Duration,
    /// After how many weeks hours of the week are a reference, and how many bytes they may take; none without.
    pub seasons: Option<(u32, u64)>,
}

/// All windows of one version.
#[derive(Debug)]
pub struct Windows {
    pub(super) plan: ReadingPlan,
    pub(super) settings: WindowSettings,
    /// Since deploy.
    pub(super) total: Vec<u64>,
    pub(super) total_sums: Vec<u64>,
    /// Rows since deploy that entered the alarms.
    pub(super) total_evidence: u64,
    /// When the counters since deploy began, unix time; zero before the first reading.
    pub(super) began: Duration,
    last_evidence: u64,
    /// The last reading: of counters the low half, which is enough for a difference.
    last: Vec<u32>,
    last_sums: Vec<u64>,
    /// The time of the last reading.
    pub(super) at: Duration,
    pub(super) primary: Ring<u16>,
    pub(super) sliding: Vec<Ring<u32>>,
    pub(super) blocks: Vec<Blocks>,
    pub(super) decayed: Decayed,
    pub(super) seasons: Option<Seasons>,
}

/// The counters of a window, fine or by group, in the order of the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowCounts {
    /// Length as it was asked for.
    pub length: Duration,
    /// By how much more the window may cover.
    pub resolution: Duration,
    /// The counters.
    pub counts: Vec<u64>,
    /// The wrapping sums; empty by group.
    pub sums: Vec<u64>,
}

/// A block of time, aligned to its length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockCounts {
    /// Length.
    pub length: Duration,
    /// Start, unix time.
    pub start: Duration,
    /// Counters by group.
    pub counts: Vec<u64>,
}

impl Windows {
    /// Empty windows over the counters of a plan, which stand at zero.
    #[must_use]
    pub fn new(plan: ReadingPlan, settings: WindowSettings) -> Self {
        let (counters, groups, sums) = (plan.counters(), plan.groups(), plan.sums());
        let sliding = settings.lengths.iter().filter(|length| **length != settings.primary);
        Self {
            total: vec![0; counters],
            total_sums: vec![0; sums],
            total_evidence: 0,
            began: Duration::ZERO,
            last_evidence: 0,
            last: vec![0; counters],
            last_sums: vec![0; sums],
            at: Duration::ZERO,
            primary: Ring::new(settings.primary, SLICES, counters, sums),
            sliding: sliding.map(|&length| Ring::new(length, SLICES, groups, 0)).collect(),
            blocks: settings.lengths.iter().map(|&length| Blocks::new(length, groups)).collect(),
            decayed: Decayed::new(settings.half_life, groups),
            seasons: seasons(&settings, groups),
            plan,
            settings,
        }
    }

    /// The order of the counters.
    #[must_use]
    pub fn plan(&self) -> &ReadingPlan {
        &self.plan
    }

    /// Which windows there are.
    #[must_use]
    pub fn settings(&self) -> &WindowSettings {
        &self.settings
    }

    /// Goes on with other settings: a window that was there before stays as it is, one of a new length starts anew, from
    /// what has been counted so far.
    pub fn follow(&mut self, settings: &WindowSettings) {
        if self.settings == *settings {
            return;
        }
        let mut new = Self::new(self.plan.clone(), settings.clone());
        if self.primary.length() == new.primary.length() {
            std::mem::swap(&mut self.primary, &mut new.primary);
        }
        for ring in &mut new.sliding {
            if let Some(old) = self.sliding.iter_mut().find(|old| old.length() == ring.length()) {
                std::mem::swap(ring, old);
            }
        }
        for blocks in &mut new.blocks {
            if let Some(old) = self.blocks.iter_mut().find(|old| old.length() == blocks.length()) {
                std::mem::swap(blocks, old);
            }
        }
        if self.decayed.half_life() == new.decayed.half_life() {
            std::mem::swap(&mut self.decayed, &mut new.decayed);
        }
        if self.seasons.as_ref().map(Seasons::weeks) == new.seasons.as_ref().map(Seasons::weeks) {
            std::mem::swap(&mut self.seasons, &mut new.seasons);
        }
        std::mem::swap(&mut self.total, &mut new.total);
        std::mem::swap(&mut self.total_sums, &mut new.total_sums);
        std::mem::swap(&mut self.last, &mut new.last);
        std::mem::swap(&mut self.last_sums, &mut new.last_sums);
        (new.total_evidence, new.last_evidence) = (self.total_evidence, self.last_evidence);
        (new.at, new.began) = (self.at, self.began);
        *self = new;
    }

    /// Takes in the recorder's totals as of `at`. Times before the last count as the last.
    pub fn roll(&mut self, at: Duration, totals: &Totals) {
        let at = at.max(self.at);
        self.at = at;
        if self.began.is_zero() {
            self.began = at;
        }
        let (gained, sums) = self.gained(totals);
        if gained.iter().any(|&gained| gained > 0) {
            self.primary.add(at, &gained, &sums);
            let groups = self.plan.group(&gained);
            self.sliding.iter_mut().for_each(|ring| ring.add(at, &groups, &[]));
            self.blocks.iter_mut().for_each(|blocks| blocks.add(at, &groups));
            self.decayed.add(at, &groups);
            if let Some(seasons) = &mut self.seasons {
                seasons.add(at, &groups);
            }
        }
        self.age(at);
    }

    /// Forgets what is too old at `at`.
    pub(super) fn age(&mut self, at: Duration) {
        self.primary.forget(at);
        self.sliding.iter_mut().for_each(|ring| ring.forget(at));
        self.blocks.iter_mut().for_each(|blocks| blocks.advance(at));
        self.decayed.advance(at);
    }

    /// The window that is judged: every counter.
    #[must_use]
    pub fn primary(&self) -> WindowCounts {
        WindowCounts {
            length: self.primary.length(),
            resolution: self.primary.resolution(),
            counts: self.primary.counts(),
            sums: self.primary.sums(),
        }
    }

    /// The other sliding windows, by group.
    pub fn sliding(&self) -> impl Iterator<Item = WindowCounts> {
        self.sliding.iter().map(|ring| WindowCounts {
            length: ring.length(),
            resolution: ring.resolution(),
            counts: ring.counts(),
            sums: Vec::new(),
        })
    }

    /// Length and resolution of each of these.
    pub fn sliding_lengths(&self) -> impl Iterator<Item = (Duration, Duration)> {
        self.sliding.iter().map(|ring| (ring.length(), ring.resolution()))
    }

    /// The last complete block of each length, by group.
    pub fn blocks(&self) -> impl Iterator<Item = BlockCounts> {
        self.blocks.iter().map(|blocks| {
            let (start, counts) = blocks.last_complete(self.at);
            BlockCounts { length: blocks.length(), start, counts }
        })
    }

    /// Every counter since deploy, and the wrapping sums.
    #[must_use]
    pub fn since_deploy(&self) -> (&[u64], &[u64]) {
        (&self.total, &self.total_sums)
    }

    /// Rows since deploy that entered the alarms.
    #[must_use]
    pub fn evidence_since_deploy(&self) -> u64 {
        self.total_evidence
    }

    /// When the counters since deploy began, unix time: at the first reading, of the first start if they go on from a
    /// snapshot.
    #[must_use]
    pub fn began(&self) -> Duration {
        self.began
    }

    /// The time of the last reading, unix time.
    #[must_use]
    pub fn read_at(&self) -> Duration {
        self.at
    }

    /// Half-life, and decayed counts by group.
    #[must_use]
    pub fn decayed(&self) -> (Duration, &[f64]) {
        (self.decayed.half_life(), self.decayed.weights())
    }

    /// What traffic of the primary window's hours of the week looks like, by group, once that is learned: the hours'
    /// counts, each by the share of the window that lies in it.
    #[must_use]
    pub fn season(&self) -> Option<Vec<u64>> {
        let seasons = self.seasons.as_ref().filter(|seasons| seasons.is_learned(self.at))?;
        let mut season = vec![0.0; self.plan.groups()];
        for (hour, share) in self.hours() {
            for (mixed, count) in season.iter_mut().zip(seasons.hour(hour)) {
                *mixed += share * count as f64;
            }
        }
        Some(season.into_iter().map(|count| count.round() as u64).collect())
    }

    /// What traffic of one hour of the week looks like, by group, once that is learned.
    #[must_use]
    pub fn season_of_hour(&self, hour: usize) -> Option<Vec<u64>> {
        self.seasons.as_ref().filter(|seasons| seasons.is_learned(self.at)).map(|seasons| seasons.hour(hour))
    }

    /// The hours of the week that the primary window lies in, and the share of it that lies in each; shares add up to 1.
    #[must_use]
    pub fn hours(&self) -> Vec<(usize, f64)> {
        hours_between(self.at.saturating_sub(self.primary.length()), self.at)
    }

    /// Whether hours of the week were asked for but would take more memory than they may.
    #[must_use]
    pub fn lacks_seasons(&self) -> bool {
        self.settings.seasons.is_some() && self.seasons.is_none()
    }

    /// Bytes that the windows hold, without hours of the week, which have a budget of their own.
    #[must_use]
    pub fn resident_bytes(&self) -> usize {
        let readings = size_of_val(&*self.total) + size_of_val(&*self.last);
        let sums = size_of_val(&*self.total_sums) + size_of_val(&*self.last_sums);
        size_of::<Self>()
            + self.plan.resident_bytes()
            + readings
            + sums
            + self.primary.resident_bytes()
            + self.sliding.iter().map(Ring::resident_bytes).sum::<usize>()
            + self.blocks.iter().map(Blocks::resident_bytes).sum::<usize>()
            + self.decayed.resident_bytes()
    }

    /// Bytes that hours of the week hold.
    #[must_use]
    pub fn seasonal_bytes(&self) -> usize {
        self.seasons.as_ref().map_or(0, Seasons::resident_bytes)
    }

    /// What the totals have more than at the last reading; also takes them in.
    fn gained(&mut self, totals: &Totals) -> (Vec<u64>, Vec<u64>) {
        let mut counts = self.plan.read(totals);
        for ((count, last), total) in counts.iter_mut().zip(&mut self.last).zip(&mut self.total) {
            let newest = *count as u32;
            *count = u64::from(newest.wrapping_sub(*last));
            *total = total.wrapping_add(*count);
            *last = newest;
        }
        let evidence = totals.evidence_rows.wrapping_sub(self.last_evidence);
        self.total_evidence = self.total_evidence.wrapping_add(evidence);
        self.last_evidence = totals.evidence_rows;
        let mut sums = totals.sums.clone();
        for ((sum, last), total) in sums.iter_mut().zip(&mut self.last_sums).zip(&mut self.total_sums) {
            let gained = sum.wrapping_sub(*last);
            *total = total.wrapping_add(gained);
            *last = *sum;
            *sum = gained;
        }
        (counts, sums)
    }
}

fn seasons(settings: &WindowSettings, groups: usize) -> Option<Seasons> {
    let (weeks, budget) = settings.seasons?;
    (Seasons::bytes_for(groups) <= budget).then(|| Seasons::new(weeks, groups))
}
