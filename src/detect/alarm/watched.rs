//! The alarm of a watched rate: slow requests, errors, refusals.
//!
//! The same starts and the same kind of evidence as a column's, against a rate that somebody allowed instead of one that
//! a reference had. Durations and errors come in bursts, which no test on single requests can know; so a finding needs,
//! besides its evidence, at least so many requests, and its caller compares the rate over a whole window as well.
//!
//! Invariant: no finding before `min_samples` requests since the start that has the evidence.

use super::budget::{AlarmPlan, WatchedRate};
use super::finding::{Cause, Finding};
use super::null::ln_sum;
use super::numbers::Numbers;
use super::rate::{RateNull, lower_limit};
use super::schedule::{Schedule, Since};
use std::time::Duration;

/// Chance that the lower limit of the rate is above the rate.
const EFFECT_RISK: f64 = 0.05;

/// What may happen how often.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateRule {
    /// What is counted.
    pub rate: WatchedRate,
    /// Share of requests that may be such, 0 to 1.
    pub allowed: f64,
    /// Requests that a finding needs at least.
    pub min_samples: u64,
}

/// The alarm of a rate.
#[derive(Clone, Debug)]
pub struct RateAlarm {
    rule: RateRule,
    null: RateNull,
    ln_threshold: f64,
    schedule: Option<Schedule>,
}

impl RateAlarm {
    /// The alarm of this rule.
    #[must_use]
    pub fn new(plan: &AlarmPlan, rule: RateRule) -> Self {
        Self {
            rule,
            null: RateNull::new(rule.allowed),
            ln_threshold: plan.ln_rate_threshold(rule.rate),
            schedule: None,
        }
    }

    /// Looks at cumulative counts at a moment of monotonic unix time. The first look is where counting starts.
    pub fn look(&mut self, at: Duration, events: u64, trials: u64) -> Option<Finding> {
        let counts = [events, trials.saturating_sub(events)];
        let Some(mut schedule) = self.schedule.take() else {
            self.schedule = Some(Schedule::new(at, &counts));
            return None;
        };
        let mut finding = None;
        if schedule.advance(at, &counts) {
            if self.is_near(&schedule, &counts) {
                finding = self.decide(at, &schedule, &counts);
            }
            schedule.conclude(at, &counts);
        }
        self.schedule = Some(schedule);
        finding
    }

    /// Forgets all evidence and starts from here.
    pub fn restart(&mut self, at: Duration, events: u64, trials: u64) {
        if let Some(schedule) = &mut self.schedule {
            schedule.restart(at, &[events, trials.saturating_sub(events)]);
        }
    }

    /// The rule.
    #[must_use]
    pub fn rule(&self) -> RateRule {
        self.rule
    }

    /// What survives a restart, as numbers; empty before the first look.
    #[must_use]
    pub fn state(&self) -> Vec<u64> {
        let mut numbers = Vec::new();
        if let Some(schedule) = &self.schedule {
            schedule.to_numbers(&mut numbers);
        }
        numbers
    }

    /// Goes on where another left off, whose counts went on as well; numbers that are not its state are not taken.
    pub fn resume(&mut self, state: &[u64]) {
        let schedule = Schedule::from_numbers(&mut Numbers::new(state)).filter(|schedule| schedule.width() == 2);
        self.schedule = schedule.or(self.schedule.take());
    }

    /// Whether any start that is due could have enough evidence for all of them to have it.
    fn is_near(&self, schedule: &Schedule, counts: &[u64; 2]) -> bool {
        // Of some forty starts, one has at least a fortieth of what all have together.
        let margin = self.ln_threshold - (schedule.count().max(1) as f64).ln();
        schedule.due().any(|start| {
            let [events, trials] = gained(&start, counts);
            self.null.bound(events as f64, trials as f64) >= margin - start.ln_weight()
        })
    }

    fn decide(&self, at: Duration, schedule: &Schedule, counts: &[u64; 2]) -> Option<Finding> {
        let mut terms = Vec::with_capacity(schedule.count());
        let mut best: Option<(f64, [u64; 2], Since<'_>)> = None;
        for start in schedule.all() {
            let [events, trials] = gained(&start, counts);
            let weighted = start.ln_weight() + self.null.ln_evidence(events as f64, trials as f64);
            terms.push(weighted);
            if best.is_none_or(|(most, ..)| weighted > most) {
                best = Some((weighted, [events, trials], start));
            }
        }
        let (ln_evidence, (_, [events, samples], start)) = (ln_sum(&terms), best?);
        if ln_evidence < self.ln_threshold || samples < self.rule.min_samples {
            return None;
        }
        Some(Finding {
            cause: Cause::Exceedance,
            at,
            ln_evidence,
            ln_threshold: self.ln_threshold,
            effect: events as f64 / samples as f64,
            effect_lower: lower_limit(events, samples, EFFECT_RISK),
            floor: self.rule.allowed,
            samples,
            since: start.at(),
            counts: [events, samples - events].map(|count| u32::try_from(count).unwrap_or(u32::MAX)).into(),
        })
    }
}

/// Events and trials since a start.
fn gained(start: &Since<'_>, counts: &[u64; 2]) -> [u64; 2] {
    let mut gained = start.gained(counts).map(u64::from);
    let [events, others] = std::array::from_fn(|_| gained.next().unwrap_or(0));
    [events, events + others]
}
