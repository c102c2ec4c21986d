//! The alarm of one column: drift and data quality, from every start at once.
//!
//! A start pays seven tenths of its weight for the evidence against "no drift" and the rest for the evidence against each
//! kind of defect being no more frequent than in the reference. Drift and defects are decided on apart, each by its own
//! part, so that a column costs one share of the budget, whatever it finds, and what is found of one kind does not hide
//! what comes of the other: [`Asked`] says what may still be found.
//!
//! Most looks end with a few multiplications per start: evidence is computed only where a bound on it could matter.
//!
//! Where requests carry routing keys, one heavy user can look like drift. Evidence that passes its threshold then has to
//! be confirmed by rows that come after, counted by key group: with any one group left out, what is left must still speak
//! against the null. That can only take alarms away, and costs no memory until there is something to confirm.
//!
//! Invariant: an alarm is raised by evidence computed at that look for every start, never by a remembered value.

use super::asked::{Asked, Gained, MAX_GROUPS, Tally};
use super::budget::{AlarmPlan, RATE_TOLERANCE, SEASONS};
use super::dispersion::Dispersion;
use super::effect::excess_psi;
use super::finding::{Cause, Finding};
use super::null::{Null, ln_sum};
use super::numbers::Numbers;
use super::rate::{RateNull, lower_limit};
use super::schedule::{Schedule, Since};
use crate::sketch::{KEY_GROUPS, Reference};
use std::time::Duration;

/// Share of the mixture that drift gets; defects have the rest.
const DRIFT_SHARE: f64 = 0.7;
/// Share of the mixture of each kind of defect: missing, infinite, out of range, unseen.
const DEFECT_SHARES: [f64; 4] = [0.15, 0.05, 0.05, 0.05];
/// Chance that the lower limit of a defect's rate is above the rate.
const EFFECT_RISK: f64 = 0.05;

/// The alarm of a column.
#[derive(Clone, Debug)]
pub struct ColumnAlarm {
    null: Null,
    defects: [RateNull; 4],
    shape: CellShape,
    plan: AlarmPlan,
    schedule: Option<Schedule>,
    dispersion: Dispersion,
    /// What counts are divided by: the dispersion's factor at the latest look.
    thinning: f64,
    /// Cells by key group, and behind them all cells, as they stood when evidence passed its threshold.
    confirming: Option<Box<[u64]>>,
}

/// Which group each cell belongs to, and which groups are special.
#[derive(Clone, Debug)]
struct CellShape {
    /// The group of values below the first edge, and of those above the last.
    below: usize,
    above: usize,
    groups: usize,
    /// The groups of missing, infinite and unseen values; none where a column cannot have such.
    missing: Option<usize>,
    infinite: Option<usize>,
    unseen: Option<usize>,
    /// Categories that rows of the reference had, and those that one row had.
    categories: usize,
    single_categories: u64,
}

/// Evidence of what came after, any key group left out, that confirms: 20 to 1.
const LN_CONFIRMED: f64 = 2.995_732_273_553_991;
impl ColumnAlarm {
    /// The alarm of a column with this reference; none without rows.
    #[must_use]
    pub fn new(plan: &AlarmPlan, reference: &Reference) -> Option<Self> {
        let counts = crate::detect::group_counts(&reference.counts, &reference.groups, reference.group_count);
        let shape = CellShape::of(reference);
        if shape.groups > MAX_GROUPS {
            return None;
        }
        let (null, defects) = nulls(plan, reference, &shape, &counts)?;
        Some(Self {
            null,
            defects,
            shape,
            plan: *plan,
            schedule: None,
            dispersion: Dispersion::default(),
            thinning: 1.0,
            confirming: None,
        })
    }

    /// Looks at cumulative cells at a moment of monotonic unix time; a finding if evidence and effect suffice. The first
    /// look is where counting starts. `keyed` are the cells of requests with a routing key, those of each of the
    /// [`KEY_GROUPS`] after another; empty if there are none.
    pub fn look(&mut self, at: Duration, cells: &[u64], keyed: &[u64]) -> Option<Finding> {
        self.look_for(&Asked::default(), at, cells, keyed)
    }

    /// As [`Self::look`], for what is asked for alone.
    pub fn look_for(&mut self, asked: &Asked, at: Duration, cells: &[u64], keyed: &[u64]) -> Option<Finding> {
        if cells.len() != self.shape.groups + 2 {
            return None;
        }
        let Some(mut schedule) = self.schedule.take() else {
            self.schedule = Some(Schedule::new(at, cells));
            self.dispersion = Dispersion::new(cells);
            return None;
        };
        let mut finding = None;
        if schedule.advance(at, cells) {
            self.dispersion.observe(cells);
            self.thinning = self.dispersion.factor();
            if self.confirming.is_some() || self.is_near(asked, &schedule, cells) {
                finding = self.decide(asked, at, &schedule, cells);
                let is_held_back = finding.is_some() && !self.confirm(asked, cells, keyed);
                if is_held_back {
                    finding = None;
                } else {
                    self.confirming = None;
                }
            }
            schedule.conclude(at, cells);
        }
        self.schedule = Some(schedule);
        finding
    }

    /// Whether any start that is due has enough evidence for all of them to have it.
    fn is_near(&self, asked: &Asked, schedule: &Schedule, cells: &[u64]) -> bool {
        // Of some forty starts, one has at least a fortieth of what all have together.
        let margin = self.ln_threshold() - (schedule.count().max(1) as f64).ln();
        schedule.due().any(|start| {
            let (gained, least) = (self.gained(&start, cells), margin - start.ln_weight());
            self.bound(asked, &gained) >= least && ln_sum(&self.parts(asked, &gained, least)) >= least
        })
    }

    /// Forgets all evidence and starts from here.
    pub fn restart(&mut self, at: Duration, cells: &[u64]) {
        self.confirming = None;
        if let Some(schedule) = &mut self.schedule {
            schedule.restart(at, cells);
        }
    }

    /// Compares with other reference counts from here on, by group: those of another hour of the week. Evidence against
    /// the former reference says nothing about this one and is forgotten. Each of a week's hours is a sample of its own
    /// that may be unlucky, so each gets that part of the column's risk.
    pub fn season(&mut self, at: Duration, reference: &[u64], cells: &[u64]) {
        if reference.len() == self.shape.groups
            && let Some((null, defects)) =
                nulls_of_counts(&self.plan, reference, &self.shape, (self.null.order.clone(), 1.0 / SEASONS))
        {
            (self.null, self.defects) = (null, defects);
            self.restart(at, cells);
        }
    }

    /// What survives a restart, as numbers: everything but what follows from the reference and the plan. Empty before
    /// the first look.
    #[must_use]
    pub fn state(&self) -> Vec<u64> {
        let mut numbers = Vec::new();
        if let Some(schedule) = &self.schedule {
            schedule.to_numbers(&mut numbers);
            self.dispersion.to_numbers(&mut numbers);
        }
        numbers
    }

    /// Goes on where another left off, whose cells went on as well. Numbers that are not the state of such an alarm are
    /// not taken: it then starts with the next look.
    pub fn resume(&mut self, state: &[u64]) {
        let mut numbers = Numbers::new(state);
        let schedule =
            Schedule::from_numbers(&mut numbers).filter(|schedule| schedule.width() == self.shape.groups + 2);
        let dispersion = Dispersion::from_numbers(&mut numbers);
        if let (Some(schedule), Some(dispersion)) = (schedule, dispersion) {
            self.thinning = dispersion.factor();
            (self.schedule, self.dispersion) = (Some(schedule), dispersion);
        }
    }

    /// Weighted evidence of all starts now, ln, of drift or of defects, whichever each has more of: for people who want to
    /// see it coming.
    #[must_use]
    pub fn ln_evidence_now(&self, cells: &[u64]) -> f64 {
        let starts = self.schedule.iter().flat_map(Schedule::all);
        let weighted = |start: Since<'_>| {
            let parts = self.parts(&Asked::default(), &self.gained(&start, cells), f64::NEG_INFINITY);
            start.ln_weight() + parts[0].max(ln_sum(&parts[1..]))
        };
        ln_sum(&starts.map(weighted).collect::<Vec<f64>>())
    }

    /// What the alarm compares with, in a line.
    #[must_use]
    pub fn explain(&self) -> String {
        let of = |index: usize| self.defects[index].limit * 100.0;
        let mut line = format!(
            "{} reference rows; no drift within KL {:.4} (PSI about {:.3}); at most {:.2} % missing, {:.2} % infinite",
            self.null.rows,
            self.null.radius,
            2.0 * self.null.radius,
            of(0),
            of(1)
        );
        if self.shape.unseen.is_some() {
            line.push_str(&format!(", {:.2} % unseen", of(3)));
        } else {
            line.push_str(&format!(", {:.2} % out of range", of(2)));
        }
        line
    }

    /// How many rows say as much as one that is independent.
    #[must_use]
    pub fn design_effect(&self) -> f64 {
        self.thinning
    }

    /// The threshold that the weighted evidence has to pass, ln.
    #[must_use]
    pub fn ln_threshold(&self) -> f64 {
        self.plan.ln_threshold()
    }

    /// Bytes that the alarm holds.
    #[must_use]
    pub fn resident_bytes(&self) -> usize {
        size_of::<Self>()
            + self.null.resident_bytes()
            + self.dispersion.resident_bytes()
            + self.schedule.as_ref().map_or(0, Schedule::resident_bytes)
    }

    fn gained(&self, start: &Since<'_>, cells: &[u64]) -> Gained {
        self.gather(start.gained(cells))
    }

    fn gather(&self, counts: impl Iterator<Item = u32>) -> Gained {
        let mut gained = Gained { groups: [0.0; MAX_GROUPS], count: self.shape.groups, rows: 0.0, outside: [0.0; 2] };
        for (cell, count) in counts.enumerate() {
            let count = f64::from(count) / self.thinning;
            gained.rows += count;
            let group = if cell < self.shape.groups {
                cell
            } else {
                gained.outside[(cell - self.shape.groups).min(1)] += count;
                if cell == self.shape.groups { self.shape.below } else { self.shape.above }
            };
            gained.groups[group] += count;
        }
        gained
    }

    fn events(&self, gained: &Gained) -> [f64; 4] {
        let of = |group: Option<usize>| group.map_or(0.0, |group| gained.groups[group]);
        let outside = gained.outside.iter().sum();
        [of(self.shape.missing), of(self.shape.infinite), outside, of(self.shape.unseen)]
    }

    /// At least the evidence of what is asked for.
    fn bound(&self, asked: &Asked, gained: &Gained) -> f64 {
        let mut bound = f64::NEG_INFINITY;
        // Beside a defect drift is nearly always near, and its effect without the defect's values nearly always small.
        if asked.drift
            && (asked.beside.is_none() || self.drift_effect(asked, gained).1 > self.plan.settings.effect_floor)
        {
            bound = self.null.bound(gained.groups());
        }
        for (index, (null, events)) in self.defects.iter().zip(self.events(gained)).enumerate() {
            if asked.defects[index] {
                bound = bound.max(null.bound(events, gained.rows));
            }
        }
        bound
    }

    /// ln of the parts of a start's evidence, each with its share: of drift, then of each kind of defect. −∞ where it is
    /// not asked for; parts may be left out that could not bring the sum to `least`.
    fn parts(&self, asked: &Asked, gained: &Gained, least: f64) -> [f64; 5] {
        let mut parts = [f64::NEG_INFINITY; 5];
        if asked.drift {
            // Five parts: one of them has at least a fifth.
            parts[0] = DRIFT_SHARE.ln() + self.null.ln_evidence(gained.groups(), least - 5_f64.ln());
        }
        let events = self.events(gained);
        for (index, null) in self.defects.iter().enumerate().filter(|(index, _)| asked.defects[*index]) {
            parts[index + 1] = DEFECT_SHARES[index].ln() + null.ln_evidence(events[index], gained.rows);
        }
        parts
    }

    /// Computes the evidence of every start and decides. Of two findings the one with more evidence is answered.
    fn decide(&self, asked: &Asked, at: Duration, schedule: &Schedule, cells: &[u64]) -> Option<Finding> {
        let (mut drift, mut defects) = (Tally::default(), Tally::default());
        for start in schedule.all() {
            let parts = self.parts(asked, &self.gained(&start, cells), f64::NEG_INFINITY);
            drift.add(start.ln_weight(), &parts[..1], start);
            defects.add(start.ln_weight(), &parts[1..], start);
        }
        let finding = |tally: &Tally<'_>, is_drift: bool| {
            let (ln_evidence, (part, start)) = (tally.ln_evidence(), tally.best()?);
            let cause = if is_drift { Cause::Drift } else { Cause::DEFECTS[part] };
            (ln_evidence >= self.ln_threshold())
                .then(|| self.finding(asked, cause, (at, ln_evidence), (&start, &self.gained(&start, cells))))?
        };
        let found = [finding(&drift, true), finding(&defects, false)];
        found.into_iter().flatten().max_by(|a, b| a.ln_evidence.total_cmp(&b.ln_evidence))
    }

    /// The finding that evidence since a start comes to, if its effect suffices.
    fn finding(
        &self,
        asked: &Asked,
        cause: Cause,
        (at, ln_evidence): (Duration, f64),
        (start, gained): (&Since<'_>, &Gained),
    ) -> Option<Finding> {
        let (effect, effect_lower, floor) = self.effect(asked, cause, gained);
        (effect_lower > floor).then(|| Finding {
            cause,
            at,
            ln_evidence,
            ln_threshold: self.ln_threshold(),
            effect,
            effect_lower,
            floor,
            samples: (gained.rows * self.thinning).round() as u64,
            since: start.at(),
            counts: gained.groups().iter().map(|&count| (count * self.thinning).round() as u32).collect(),
        })
    }

    /// Whether what passed its threshold is not the doing of one key group. Requests without a key are in no group and
    /// stay in.
    fn confirm(&mut self, asked: &Asked, cells: &[u64], keyed: &[u64]) -> bool {
        if keyed.len() != cells.len() * KEY_GROUPS || keyed.iter().all(|&count| count == 0) {
            return true;
        }
        let Some(base) = &self.confirming else {
            self.confirming = Some(keyed.iter().chain(cells).copied().collect());
            return false;
        };
        let now = keyed.iter().chain(cells);
        let gained: Vec<u64> = now.zip(base).map(|(now, base)| now.saturating_sub(*base)).collect();
        let (by_group, all) = gained.split_at(keyed.len());
        by_group.chunks_exact(cells.len()).all(|left_out| {
            let rest = all.iter().zip(left_out).map(|(all, out)| u32::try_from(all.saturating_sub(*out)));
            let rest = self.gather(rest.map(|count| count.unwrap_or(u32::MAX)));
            ln_sum(&self.parts(asked, &rest, f64::NEG_INFINITY)) >= LN_CONFIRMED
        })
    }

    /// The excess of PSI and its lower limit, without the values of a defect that is known.
    fn drift_effect(&self, asked: &Asked, gained: &Gained) -> (f64, f64) {
        let rows = self.null.rows as f64;
        let Some(known) = asked.beside else { return excess_psi(self.null.shares(), rows, gained.groups()) };
        let (mut shares, mut live) = (self.null.shares().to_vec(), gained.groups().to_vec());
        let group = match known {
            Cause::Missing => self.shape.missing,
            Cause::Infinite => self.shape.infinite,
            Cause::UnseenCategory => self.shape.unseen,
            Cause::OutOfRange | Cause::Drift | Cause::Exceedance => None,
        };
        if let Some(group) = group {
            (shares[group], live[group]) = (0.0, 0.0);
        }
        if known == Cause::OutOfRange {
            live[self.shape.below] -= gained.outside[0];
            live[self.shape.above] -= gained.outside[1];
        }
        let left: f64 = shares.iter().sum();
        shares.iter_mut().for_each(|share| *share /= left);
        if left > 0.0 { excess_psi(&shares, rows * left, &live) } else { (0.0, 0.0) }
    }

    fn effect(&self, asked: &Asked, cause: Cause, gained: &Gained) -> (f64, f64, f64) {
        match Cause::DEFECTS.iter().position(|defect| *defect == cause) {
            None => {
                let (effect, lower) = self.drift_effect(asked, gained);
                (effect, lower, self.plan.settings.effect_floor)
            }
            Some(index) => {
                let (events, rows) = (self.events(gained)[index], gained.rows);
                (events / rows, lower_limit(events as u64, rows as u64, EFFECT_RISK), self.defects[index].limit)
            }
        }
    }
}

impl CellShape {
    fn of(reference: &Reference) -> Self {
        let group_of = |slot: usize| reference.groups.get(slot).map_or(0, |&group| usize::from(group));
        let slots = reference.counts.len();
        // The slots end with missing, the two infinities and, without an order, unseen.
        let specials = if reference.ordered.is_some() { 3 } else { 4 };
        let finite = slots.saturating_sub(specials);
        let missing = group_of(finite);
        let categories = |is_such: &dyn Fn(u64) -> bool| match &reference.ordered {
            Some(_) => 0,
            None => reference.counts.iter().take(finite).filter(|&&count| is_such(count)).count(),
        };
        Self {
            below: group_of(0),
            above: group_of(finite.saturating_sub(1)),
            groups: reference.group_count,
            missing: Some(missing),
            infinite: (reference.group_count > missing + 1).then_some(missing + 1),
            unseen: (reference.ordered.is_none()).then(|| group_of(slots.saturating_sub(1))),
            categories: categories(&|count| count > 0),
            single_categories: categories(&|count| count == 1) as u64,
        }
    }
}

type Nulls = (Null, [RateNull; 4]);

fn nulls(plan: &AlarmPlan, reference: &Reference, shape: &CellShape, counts: &[u64]) -> Option<Nulls> {
    // Ordinary groups come first, in the order of their values, then `rare` and the special ones.
    let ordinary = shape.missing.unwrap_or(counts.len()).saturating_sub(1);
    let order = if reference.ordered.is_some() { 0..ordinary } else { 0..0 };
    nulls_of_counts(plan, counts, shape, (order, 1.0))
}

fn nulls_of_counts(
    plan: &AlarmPlan,
    counts: &[u64],
    shape: &CellShape,
    (order, part_of_risk): (std::ops::Range<usize>, f64),
) -> Option<Nulls> {
    let null = Null::new(counts, order, shape.categories, plan.region_risk() * part_of_risk, plan.tolerance())?;
    // The range is the sample's own: of a new row's chance to fall outside it two rows' worth are certain, not none.
    let of_group = |group: Option<usize>| group.map_or(0, |group| counts[group]);
    // Likewise for categories: as many rows are of unseen ones as were the only row of theirs (Good and Turing 1953).
    let unseen = of_group(shape.unseen) + shape.single_categories;
    let events = [of_group(shape.missing), of_group(shape.infinite), 1, unseen];
    let defects = std::array::from_fn(|index| {
        let rows = null.rows.max(events[index] + 1);
        RateNull::of_reference(events[index], rows, plan.limit_risk(index) * part_of_risk, RATE_TOLERANCE)
    });
    Some((null, defects))
}
