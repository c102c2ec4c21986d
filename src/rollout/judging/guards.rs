//! The look that ends what is plainly broken: every 50 ms, in every state.
//!
//! A guard fails when two kinds of evidence, each of which nobody but a version that is worse should make, have both
//! reached one over its share: (a) against the rate that is allowed, of the canary's answers alone, so that what is borne
//! is borne however good the stable version is, and (b) of the two arms, so that what hits both is nobody's fault. With all
//! of the traffic there is no second arm, and the limit is the larger one of the allowed rate and what stable's frozen
//! counts leave possible. Each is the smallest that is left when any one group of routing keys is left out.
//!
//! Evidence is a mean over starts at the beginnings of segments, weighted by how many answers came before
//! ([`super::starts`]): a version that goes wrong after an hour of good answers is found as well, a few answers later. A
//! segment may begin at any moment that does not look ahead, [`GuardHistory`](super::GuardHistory) makes them.
//!
//! Invariant: a canary without a failure never fails; nothing is decided by one group of keys where there are several.

use super::budget::GUARDS;
use super::frozen::{Frozen, add_guards, stable_guards};
use super::metric::Found;
use super::plan::{AllowedRates, JudgingPlan};
use super::starts::{LOWEST, largest, ln_sum, ln_weight_after};
use crate::detect::alarm::RateCeiling;
use crate::detect::two_arm::{Effect, RateCounts, RateTest, UNGROUPED, rate_difference};
use crate::observe::trial::{GUARD_GROUPS, GuardSegment, GuardTally};
use crate::rollout::{Judgement, MetricJudgement, Verdict};

/// One guard.
struct Guard {
    metric: &'static str,
    allowed: fn(&AllowedRates) -> f64,
    failures: fn(&GuardTally) -> u64,
}

const ALL: [Guard; GUARDS] = [
    Guard { metric: "guard/errors", allowed: |rates| rates.errors, failures: |tally| tally.errors },
    Guard { metric: "guard/broken", allowed: |rates| rates.broken, failures: |tally| tally.broken },
    Guard { metric: "guard/non_finite", allowed: |rates| rates.non_finite, failures: |tally| tally.non_finite },
    Guard { metric: "guard/latency", allowed: |rates| rates.slow, failures: |tally| tally.slow },
];

type Groups = [GuardTally; GUARD_GROUPS];

/// Both arms at one weight.
struct Part {
    weight: f64,
    canary: Groups,
    stable: Groups,
}

/// What the guards' counts so far come to. The last segment is the present one: below a share of 1 the arms are compared,
/// at 1 the canary with `frozen`, or without it with what the segments before say of stable.
///
/// Answers of the canary, all of them failures, that decide, where stable's are all good and the plan is the default one
/// (the least and the most of many orders of arrival; a test holds them):
///
/// | guard | at 1 % | at 10 % | at 50 % | with all traffic, after 10,000 of stable's | at 10 % after 10,000 good ones |
/// |---|---|---|---|---|---|
/// | a NaN or an infinity | 2 to 3 | 2 to 5 | 4 to 13 | 2 | 4 to 6 |
/// | panics, wrong shapes | 2 to 3 | 2 to 5 | 4 to 13 | 2 | 5 |
/// | failures, slow answers | 4 | 4 to 5 | 4 to 13 | 5 | 9 to 10 |
#[must_use]
pub fn judge_guards(plan: &JudgingPlan, guards: &[GuardSegment], frozen: Option<&Frozen>) -> Judgement {
    let is_alone = guards.last().is_some_and(|last| last.weight >= 1.0);
    let counted = |segment: &&GuardSegment| {
        let weight = segment.weight;
        if is_alone { weight >= 1.0 } else { weight > 0.0 && weight < 1.0 }
    };
    let segments: Vec<&GuardSegment> = guards.iter().filter(counted).collect();
    let stable = match frozen {
        _ if !is_alone => stable_guards(segments.iter().copied()),
        Some(frozen) => frozen.guards,
        None => stable_guards(guards.iter()),
    };
    let look = Look { plan, segments, stable, is_alone };
    Judgement::of(ALL.iter().map(|guard| look.judge(guard)).collect())
}

struct Look<'a> {
    plan: &'a JudgingPlan,
    segments: Vec<&'a GuardSegment>,
    /// Stable's counts in the same moments, or those that are frozen.
    stable: Groups,
    is_alone: bool,
}

impl Look<'_> {
    fn judge(&self, guard: &Guard) -> MetricJudgement {
        let answers = |groups: &Groups| total(groups, |tally| tally.answers);
        let mut canary = Groups::default();
        self.segments.iter().for_each(|segment| add_guards(&mut canary, &segment.canary));
        let budget = &self.plan.budget;
        let share = if self.is_alone { budget.bake_guard / 2.0 } else { budget.guard };
        let (ln_evidence, effect) = if total(&canary, guard.failures) == 0 {
            (LOWEST, rate_difference(rate_of(&canary, guard), rate_of(&self.stable, guard)))
        } else {
            self.evidence(guard, share)
        };
        let found = Found {
            metric: guard.metric.to_owned(),
            ln_evidence,
            share,
            effect,
            tolerance: 0.0,
            counted: (answers(&canary), answers(&self.stable)),
            is_enough: answers(&canary) > 0,
            is_evidence_enough: self.is_alone,
        };
        found.judge(Verdict::Fail)
    }

    /// ln of the evidence, and the effect since the start that shows most.
    fn evidence(&self, guard: &Guard, risk: f64) -> (f64, Option<Effect>) {
        let allowed = (guard.allowed)(&self.plan.allowed);
        let limit = if self.is_alone { allowed.max(highest_rate(&self.stable, guard, risk)) } else { allowed };
        let (ceiling, test) = (RateCeiling::new(limit), RateTest::of_failures(allowed));
        let (mut alone, mut beside, mut effects) = (Vec::new(), Vec::new(), Vec::new());
        self.since_each_start(|ln_weight, parts| {
            let mut canary = Groups::default();
            parts.iter().for_each(|part| add_guards(&mut canary, &part.canary));
            alone.push(ln_weight + least_evidence(&ceiling, &canary, guard));
            if self.is_alone {
                effects.push(rate_difference(rate_of(&canary, guard), rate_of(&self.stable, guard)));
            } else {
                let mut stable = Groups::default();
                parts.iter().for_each(|part| add_guards(&mut stable, &part.stable));
                beside.push(ln_weight + test.evidence(&arms_of(parts, guard)).ln_e);
                effects.push(rate_difference(rate_of(&canary, guard), rate_of(&stable, guard)));
            }
        });
        let best = effects.get(largest(&alone)).copied().flatten();
        let alone = ln_sum(&alone);
        (if self.is_alone { alone } else { alone.min(ln_sum(&beside)) }, best)
    }

    /// Calls with the weight of each start and the counts since then, those of one share put together; the latest first.
    fn since_each_start(&self, mut call: impl FnMut(f64, &[Part])) {
        let answers = |groups: &Groups| total(groups, |tally| tally.answers);
        let mut before: u64 = self.segments.iter().fold(0, |sum, segment| sum.saturating_add(answers(&segment.canary)));
        let mut parts: Vec<Part> = Vec::new();
        for (place, segment) in self.segments.iter().enumerate().rev() {
            before = before.saturating_sub(answers(&segment.canary));
            match parts.last_mut().filter(|part| part.weight.to_bits() == segment.weight.to_bits()) {
                Some(part) => {
                    add_guards(&mut part.canary, &segment.canary);
                    add_guards(&mut part.stable, &segment.stable);
                }
                None => {
                    parts.push(Part { weight: segment.weight, canary: segment.canary, stable: segment.stable });
                }
            }
            // Starts with as many answers before are one start.
            let previous = place.checked_sub(1).and_then(|place| self.segments.get(place));
            if previous.is_none_or(|previous| answers(&previous.canary) > 0) {
                call(ln_weight_after(before), &parts);
            }
        }
    }
}

/// The arms by group, groups in which nothing happened left out.
fn arms_of(parts: &[Part], guard: &Guard) -> Vec<RateCounts> {
    let mut arms = Vec::with_capacity(parts.len() * GUARD_GROUPS);
    for part in parts {
        for (group, (canary, stable)) in part.canary.iter().zip(&part.stable).enumerate() {
            if canary.answers > 0 || stable.answers > 0 {
                arms.push(RateCounts {
                    group: if group == 0 { UNGROUPED } else { group as u64 },
                    weight: part.weight,
                    canary_events: (guard.failures)(canary),
                    canary_trials: canary.answers,
                    stable_events: (guard.failures)(stable),
                    stable_trials: stable.answers,
                });
            }
        }
    }
    arms
}

/// ln of the evidence that is left when any one group of keys is left out; that of all where there is but one group.
fn least_evidence(ceiling: &RateCeiling, canary: &Groups, guard: &Guard) -> f64 {
    let of = |(failures, answers): (u64, u64)| ceiling.ln_evidence(failures, answers);
    without_each_group(canary, guard).map(of).fold(of(rate_of(canary, guard)), f64::min)
}

/// The highest rate that counts leave possible, with any one group of keys left out; 0 of none, which leaves what is
/// allowed.
fn highest_rate(stable: &Groups, guard: &Guard, risk: f64) -> f64 {
    let of = |(failures, answers): (u64, u64)| {
        if answers > 0 { RateCeiling::of_counts((failures, answers), risk, 0.0).limit() } else { 0.0 }
    };
    without_each_group(stable, guard).map(of).fold(of(rate_of(stable, guard)), f64::max)
}

/// Failures among answers without each group of keys in turn that has answers; nothing where there is but one group.
fn without_each_group<'a>(groups: &'a Groups, guard: &'a Guard) -> impl Iterator<Item = (u64, u64)> + 'a {
    let (failures, answers) = rate_of(groups, guard);
    let used = groups.iter().filter(|tally| tally.answers > 0).count();
    let keyed = groups.iter().skip(1).filter(move |tally| used > 1 && tally.answers > 0);
    keyed.map(move |tally| (failures.saturating_sub((guard.failures)(tally)), answers.saturating_sub(tally.answers)))
}

/// Failures among answers.
fn rate_of(groups: &Groups, guard: &Guard) -> (u64, u64) {
    (total(groups, guard.failures), total(groups, |tally| tally.answers))
}

fn total(groups: &Groups, count: impl Fn(&GuardTally) -> u64) -> u64 {
    groups.iter().fold(0, |sum, tally| sum.saturating_add(count(tally)))
}
