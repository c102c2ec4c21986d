//! The look at a version that has all of the traffic: against what the stable version did before.
//!
//! There is no arm beside it, so what it is compared with is a region: the rates and distributions that stable's finite
//! counts leave possible but for a chance of half of the metric's share, and the borne difference beyond. Evidence has to
//! reach one over the other half against all of the region.
//!
//! Predictions follow the hour where traffic does. Where an hour of the week has a reference, what was counted in that hour
//! has to be outside of its region as well ([`Hours`]), so that a Monday morning is not taken for the version's fault.
//! Failures and durations have no reference by the hour.
//!
//! Durations are discounted when they are counted, and have no tolerance of their own; each edge has an equal part of the
//! half that pays for the region.
//!
//! Invariant: without counts of stable nothing fails here.

use super::frozen::{Frozen, beyond, defects, errors, output};
use super::metric::Found;
use super::plan::JudgingPlan;
use super::seasonal::Hours;
use super::starts::{largest, ln_sum, since};
use crate::detect::alarm::RateCeiling;
use crate::detect::two_arm::{Effect, rate_difference};
use crate::detect::{psi, psi_interval};
use crate::observe::trial::{ArmTally, HourReference, TrialCounts};
use crate::rollout::{Judgement, MetricJudgement, Verdict};

/// What a look at a version that bakes reads.
struct Bake<'a> {
    frozen: &'a Frozen,
    /// The version's tallies, and the references of the hours in which they were counted.
    canary: Vec<&'a ArmTally>,
    hours: Vec<Option<&'a HourReference>>,
    starts: Vec<usize>,
    counted: (u64, u64),
}

/// What the counts since promotion come to, against what stable did before; at weights below 1 they are not looked at. It
/// passes as soon as anything was counted of both: for how long a version bakes is not a matter of statistics.
#[must_use]
pub fn judge_bake(plan: &JudgingPlan, frozen: &Frozen, counts: &[TrialCounts]) -> Judgement {
    let bake = Bake::of(frozen, counts);
    let (budget, borne) = (&plan.budget, &plan.borne);
    let mut metrics = vec![
        bake.rate("errors", (budget.bake_errors, borne.errors), &errors),
        bake.rate("quality", (budget.bake_quality, borne.quality), &defects),
    ];
    if !plan.layout.latency_edges.is_empty() {
        metrics.push(bake.latency(plan));
    }
    metrics.extend((0..plan.layout.outputs.len()).map(|column| bake.predictions(plan, column)));
    Judgement::of(metrics)
}

impl<'a> Bake<'a> {
    fn of(frozen: &'a Frozen, counts: &'a [TrialCounts]) -> Self {
        let (mut canary, mut hours, mut starts) = (Vec::new(), Vec::new(), Vec::new());
        for counts in counts {
            starts.push(canary.len());
            let alone = counts.segments.iter().filter(|segment| segment.weight >= 1.0);
            canary.extend(alone.map(|segment| &segment.canary));
            hours.resize(canary.len(), counts.hour.as_ref());
        }
        let events = canary.iter().fold(0_u64, |sum, tally| sum.saturating_add(tally.events));
        Self { frozen, canary, hours, starts, counted: (events, frozen.stable.events) }
    }

    fn found(
        &self,
        metric: String,
        (ln_evidence, share): (f64, f64),
        (effect, tolerance): (Option<Effect>, f64),
    ) -> Found {
        Found {
            metric,
            ln_evidence,
            // The other half is the chance that the region misses.
            share: share / 2.0,
            effect,
            tolerance,
            counted: self.counted,
            is_enough: self.counted.0 > 0 && self.counted.1 > 0,
            is_evidence_enough: false,
        }
    }

    /// ln of the evidence against all that a rate can be, and the start that shows most.
    fn rate_evidence(&self, (risk, tolerance): (f64, f64), rate: &dyn Fn(&ArmTally) -> (u64, u64)) -> (f64, usize) {
        let rows: Vec<(u64, u64)> = self.canary.iter().map(|tally| rate(tally)).collect();
        let ceiling = RateCeiling::of_counts(rate(&self.frozen.stable), risk, tolerance);
        since(&self.starts, &rows, |rows| {
            let (events, trials) = sum(rows);
            ceiling.ln_evidence(events, trials)
        })
    }

    fn difference(&self, start: usize, rate: &dyn Fn(&ArmTally) -> (u64, u64)) -> Option<Effect> {
        let rows: Vec<(u64, u64)> = self.since(start).iter().map(|tally| rate(tally)).collect();
        rate_difference(sum(&rows), rate(&self.frozen.stable))
    }

    fn since(&self, start: usize) -> &[&'a ArmTally] {
        self.starts.get(start).and_then(|&start| self.canary.get(start..)).unwrap_or_default()
    }

    fn rate(
        &self,
        metric: &str,
        (share, tolerance): (f64, f64),
        rate: &dyn Fn(&ArmTally) -> (u64, u64),
    ) -> MetricJudgement {
        let (ln_evidence, start) = self.rate_evidence((share / 2.0, tolerance), rate);
        let effect = self.difference(start, rate);
        self.found(metric.to_owned(), (ln_evidence, share), (effect, tolerance)).judge(Verdict::Fail)
    }

    fn latency(&self, plan: &JudgingPlan) -> MetricJudgement {
        let (edges, share) = (plan.layout.latency_edges.len(), plan.budget.bake_latency);
        let risk = share / 2.0 / edges as f64;
        let (logs, starts): (Vec<f64>, Vec<usize>) =
            (0..edges).map(|edge| self.rate_evidence((risk, 0.0), &|tally| beyond(tally, edge))).unzip();
        let edge = largest(&logs);
        let effect = self.difference(starts[edge], &|tally| beyond(tally, edge));
        let ln_evidence = ln_sum(&logs) - (edges as f64).ln();
        self.found("latency".to_owned(), (ln_evidence, share), (effect, 0.0)).judge(Verdict::Fail)
    }

    fn predictions(&self, plan: &JudgingPlan, column: usize) -> MetricJudgement {
        let (cells, tolerance) = (&plan.layout.outputs[column], plan.borne.predictions);
        let share = plan.column_share(plan.budget.bake_predictions);
        let before = output(&self.frozen.stable, column);
        let rows = self.canary.iter().zip(&self.hours);
        let rows: Vec<(&[u64], &[u64])> = rows
            .map(|(tally, hour)| (output(tally, column), hour.map_or(&[][..], |hour| hour.output(column))))
            .collect();
        let hours = Hours::new((before, cells.ordered), &rows, (share / 2.0, tolerance));
        let (ln_evidence, start) = since(&self.starts, hours.rows(), |rows| hours.ln_evidence(rows));
        let after = cells_of(self.since(start), column, before.len());
        let effect = psi(before, &after).zip(psi_interval(before, &after));
        let effect = effect.map(|(value, interval)| Effect { value, interval });
        self.found(format!("predictions/{}", cells.name), (ln_evidence, share), (effect, tolerance))
            .judge(Verdict::Fail)
    }
}

fn sum(rows: &[(u64, u64)]) -> (u64, u64) {
    rows.iter().fold((0, 0), |sum, row| (sum.0.saturating_add(row.0), sum.1.saturating_add(row.1)))
}

/// Cells of a column over several tallies, as many as asked for.
fn cells_of(tallies: &[&ArmTally], column: usize, cells: usize) -> Vec<u64> {
    let mut sums = vec![0_u64; cells];
    for tally in tallies {
        sums.iter_mut().zip(output(tally, column)).for_each(|(sum, count)| *sum = sum.saturating_add(*count));
    }
    sums
}
