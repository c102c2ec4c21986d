//! The alarm of one column: drift and data quality, from every start at once.
//!
//! The evidence of a start is a mixture of the evidence against "no drift" and of the evidence against each kind of
//! defect being no more frequent than in the reference. A mixture of e-processes is one when all those nulls hold, so a
//! column costs one share of the budget, whatever it finds.
//!
//! Most looks end with a few multiplications per start: evidence is computed only where a bound on it could matter.
//!
//! Where requests carry routing keys, one heavy user can look like drift. Evidence that passes its threshold then has to
//! be confirmed by rows that come after, counted by key group: with any one group left out, what is left must still speak
//! against the null. That can only take alarms away, and costs no memory until there is something to confirm.
//!
//! Invariant: an alarm is raised by evidence computed at that look for every start, never by a remembered value.

use super::budget::AlarmPlan;
use super::dispersion::Dispersion;
use super::effect::excess_psi;
use super::finding::{Cause, Finding};
use super::null::{Null, ln_sum};
use super::numbers::Numbers;
use super::rate::{RateNull, lower_limit};
use super::schedule::{Schedule, Since};
use crate::sketch::{KEY_GROUPS, Reference};
use std::time::Duration;

/// A defect may be this much more frequent than the reference can explain.
const RATE_TOLERANCE: f64 = 0.0005;
/// Share of the mixture that drift gets; defects have the rest.
const DRIFT_SHARE: f64 = 0.7;
/// Share of the mixture of each kind of defect: missing, infinite, out of range, unseen.
const DEFECT_SHARES: [f64; 4] = [0.15, 0.05, 0.05, 0.05];
const DEFECTS: [Cause; 4] = [Cause::Missing, Cause::Infinite, Cause::OutOfRange, Cause::UnseenCategory];
/// How a column's risk of an unlucky reference is shared: the region's radius hardly depends on it, limits of rates do,
/// and missing values are what goes wrong most.
const REGION_SHARE: f64 = 0.25;
const LIMIT_SHARES: [f64; 4] = [0.45, 0.1, 0.1, 0.1];
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
    /// Cells by key group as they stood when evidence passed its threshold.
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
/// The most groups that a column may have: profiles make at most 24.
const MAX_GROUPS: usize = 32;

/// What was counted since a start.
struct Gained {
    groups: [f64; MAX_GROUPS],
    count: usize,
    rows: f64,
    /// Below the first edge or above the last.
    outside: f64,
}

impl Gained {
    fn groups(&self) -> &[f64] {
        &self.groups[..self.count]
    }
}

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
            // Of some forty starts, one has at least a fortieth of what all have together.
            let margin = self.ln_threshold() - (schedule.count().max(1) as f64).ln();
            let is_near = schedule.due().any(|start| {
                let gained = self.gained(&start, cells);
                let least = margin - start.ln_weight();
                self.bound(&gained) >= least && self.ln_evidence(&gained, least).0 >= least
            });
            if is_near || self.confirming.is_some() {
                finding = self.decide(at, &schedule, cells);
                if finding.is_none() {
                    self.confirming = None;
                } else if !self.confirm(cells, keyed) {
                    finding = None;
                }
            }
            schedule.conclude(at, cells);
        }
        self.schedule = Some(schedule);
        finding
    }

    /// Forgets all evidence and starts from here.
    pub fn restart(&mut self, at: Duration, cells: &[u64]) {
        self.confirming = None;
        if let Some(schedule) = &mut self.schedule {
            schedule.restart(at, cells);
        }
    }

    /// Compares with other reference counts from here on, by group: those of another hour of the week. Evidence against
    /// the former reference says nothing about this one and is forgotten.
    pub fn season(&mut self, at: Duration, reference: &[u64], cells: &[u64]) {
        if reference.len() == self.shape.groups
            && let Some((null, defects)) = nulls_of_counts(&self.plan, reference, &self.shape, self.null.order.clone())
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

    /// Weighted evidence of all starts now, ln: for people who want to see it coming.
    #[must_use]
    pub fn ln_evidence_now(&self, cells: &[u64]) -> f64 {
        let starts = self.schedule.iter().flat_map(Schedule::all);
        let weighted =
            |start: Since<'_>| start.ln_weight() + self.ln_evidence(&self.gained(&start, cells), f64::NEG_INFINITY).0;
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
        let mut gained = Gained { groups: [0.0; MAX_GROUPS], count: self.shape.groups, rows: 0.0, outside: 0.0 };
        for (cell, count) in counts.enumerate() {
            let count = f64::from(count) / self.thinning;
            gained.rows += count;
            let group = if cell < self.shape.groups {
                cell
            } else {
                gained.outside += count;
                if cell == self.shape.groups { self.shape.below } else { self.shape.above }
            };
            gained.groups[group] += count;
        }
        gained
    }

    fn events(&self, gained: &Gained) -> [f64; 4] {
        let of = |group: Option<usize>| group.map_or(0.0, |group| gained.groups[group]);
        [of(self.shape.missing), of(self.shape.infinite), gained.outside, of(self.shape.unseen)]
    }

    /// At least the evidence.
    fn bound(&self, gained: &Gained) -> f64 {
        let mut bound = self.null.bound(gained.groups());
        for (null, events) in self.defects.iter().zip(self.events(gained)) {
            let excess = events - null.limit * gained.rows;
            if excess > 0.0 {
                // KL(k/n ‖ p) ≤ χ²: Pearson's statistic again.
                bound = bound.max(excess * excess / (gained.rows * null.limit * (1.0 - null.limit)));
            }
        }
        bound
    }

    /// ln of the mixture, and the part that has most of it; parts may be left out that could not bring it to `least`.
    fn ln_evidence(&self, gained: &Gained, least: f64) -> (f64, Cause) {
        // Five parts: one of them has at least a fifth.
        let mut terms = [DRIFT_SHARE.ln() + self.null.ln_evidence(gained.groups(), least - 5_f64.ln()); 5];
        let events = self.events(gained);
        for (index, null) in self.defects.iter().enumerate() {
            terms[index + 1] = DEFECT_SHARES[index].ln() + null.ln_evidence(events[index], gained.rows);
        }
        let most = (0..DEFECTS.len()).max_by(|a, b| terms[a + 1].total_cmp(&terms[b + 1])).unwrap_or(0);
        let cause = if terms[most + 1] > terms[0] { DEFECTS[most] } else { Cause::Drift };
        (ln_sum(&terms), cause)
    }

    /// Computes the evidence of every start and decides.
    fn decide(&self, at: Duration, schedule: &Schedule, cells: &[u64]) -> Option<Finding> {
        let mut terms = Vec::with_capacity(schedule.count());
        let mut best: Option<(f64, Cause, Since<'_>)> = None;
        for start in schedule.all() {
            let (evidence, cause) = self.ln_evidence(&self.gained(&start, cells), f64::NEG_INFINITY);
            let weighted = start.ln_weight() + evidence;
            terms.push(weighted);
            if best.is_none_or(|(most, ..)| weighted > most) {
                best = Some((weighted, cause, start));
            }
        }
        let (ln_evidence, (_, cause, start)) = (ln_sum(&terms), best?);
        if ln_evidence < self.ln_threshold() {
            return None;
        }
        let gained = self.gained(&start, cells);
        let (effect, effect_lower, floor) = self.effect(cause, &gained);
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

    /// Whether what passed its threshold is not the doing of one key group.
    fn confirm(&mut self, cells: &[u64], keyed: &[u64]) -> bool {
        let (all, with_key): (u64, u64) = (cells.iter().sum(), keyed.iter().sum());
        if keyed.len() != cells.len() * KEY_GROUPS || with_key * 2 < all {
            return true;
        }
        let Some(base) = &self.confirming else {
            self.confirming = Some(keyed.into());
            return false;
        };
        let gained: Vec<u64> = keyed.iter().zip(base).map(|(now, base)| now.saturating_sub(*base)).collect();
        let by_group: Vec<&[u64]> = gained.chunks_exact(cells.len()).collect();
        (0..KEY_GROUPS).all(|left_out| {
            let mut rest = vec![0_u32; cells.len()];
            for group in by_group.iter().enumerate().filter(|(index, _)| *index != left_out).map(|(_, group)| group) {
                for (sum, &count) in rest.iter_mut().zip(*group) {
                    *sum = sum.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
                }
            }
            self.ln_evidence(&self.gather(rest.into_iter()), f64::NEG_INFINITY).0 >= LN_CONFIRMED
        })
    }

    fn effect(&self, cause: Cause, gained: &Gained) -> (f64, f64, f64) {
        match DEFECTS.iter().position(|defect| *defect == cause) {
            None => {
                let (effect, lower) = excess_psi(self.null.shares(), self.null.rows as f64, gained.groups());
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
    nulls_of_counts(plan, counts, shape, order)
}

fn nulls_of_counts(
    plan: &AlarmPlan,
    counts: &[u64],
    shape: &CellShape,
    order: std::ops::Range<usize>,
) -> Option<Nulls> {
    let risk = plan.reference_risk();
    let null = Null::new(counts, order, shape.categories, risk * REGION_SHARE, plan.tolerance())?;
    // The range is the sample's own: of a new row's chance to fall outside it two rows' worth are certain, not none.
    let of_group = |group: Option<usize>| group.map_or(0, |group| counts[group]);
    // Likewise for categories: as many rows are of unseen ones as were the only row of theirs (Good and Turing 1953).
    let unseen = of_group(shape.unseen) + shape.single_categories;
    let events = [of_group(shape.missing), of_group(shape.infinite), 1, unseen];
    let defects = std::array::from_fn(|index| {
        let rows = null.rows.max(events[index] + 1);
        RateNull::of_reference(events[index], rows, risk * LIMIT_SHARES[index], RATE_TOLERANCE)
    });
    Some((null, defects))
}
