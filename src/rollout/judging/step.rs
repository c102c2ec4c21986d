//! The look at a share: the canary against the stable version in the same moments.
//!
//! | metric | evidence | fails beyond |
//! |---|---|---|
//! | `errors`, `refusals`, `quality` | more of them in the canary ([`RateTest`]) | a difference of the rates |
//! | `latency` | more of the discounted durations beyond an edge, the mean over edges | any difference at the edge that shows most |
//! | `predictions/<column>` | the cells differ ([`TwoArmTest`]); columns have equal parts of the share | a PSI |
//! | `split` | the canary gets more or fewer events than its weight says: its odds are other by a tenth or more ([`TwoArmTest`] on one cell) | a twentieth of its share; a sensor error |
//!
//! Differences of rates are those within segments, weighted as Mantel and Haenszel do: where the share and the rate both
//! grow, rates of all segments together would differ between equal arms. PSI is that of all counts since the start that
//! shows most; a traffic that moves while shares do moves it too, and evidence does not, so it can only fail to fail.
//!
//! Invariant: counts at a weight that leaves no choice are not looked at.

use super::frozen::{beyond, defects, errors, output, refusals};
use super::metric::Found;
use super::plan::JudgingPlan;
use super::starts::{largest, ln_sum, ln_weight_of_share, since};
use crate::detect::Interval;
use crate::detect::two_arm::{ArmCounts, Effect, RateCounts, RateTest, TwoArmTest, rate_difference};
use crate::observe::trial::{ArmTally, TrialCounts, TrialSegment};
use crate::rollout::{Judgement, MetricJudgement, Verdict};

/// The rate that refusals and defects are expected at, where nothing is known.
const EXPECTED: f64 = 0.01;
/// The part of its share by which the canary may have more or fewer events than it should.
const SPLIT_TOLERANCE: f64 = 0.05;

/// What is counted of a tally: events among trials.
type Rate<'a> = &'a dyn Fn(&ArmTally) -> (u64, u64);

/// Everything that a look at a step reads.
struct Step<'a> {
    segments: Vec<&'a TrialSegment>,
    /// Where the segments of each share start.
    starts: Vec<usize>,
    counted: (u64, u64),
    is_enough: bool,
}

/// What the counts at all shares so far come to, one entry for each share, the last one's being the share that is judged.
/// It passes from `needed` events of the canary at that share on.
#[must_use]
pub fn judge_step(plan: &JudgingPlan, counts: &[TrialCounts], needed: u64) -> Judgement {
    let step = Step::of(counts, needed);
    let (budget, borne) = (&plan.budget, &plan.borne);
    let rate = |metric: &str, expected: f64, (share, tolerance): (f64, f64), rate: Rate<'_>| {
        let (ln_evidence, start) = step.rate_evidence(&RateTest::new(expected), rate);
        let effect = step.difference(start, rate);
        step.found(metric, (ln_evidence, share), (effect, tolerance)).judge(Verdict::Fail)
    };
    let mut metrics = vec![
        rate("errors", plan.layout.expected_errors, (budget.errors, borne.errors), &errors),
        rate("refusals", EXPECTED, (budget.refusals, borne.refusals), &refusals),
        rate("quality", EXPECTED, (budget.quality, borne.quality), &defects),
    ];
    if !plan.layout.latency_edges.is_empty() {
        metrics.push(step.latency(plan));
    }
    metrics.extend((0..plan.layout.outputs.len()).map(|column| step.predictions(plan, column)));
    metrics.push(step.split(plan));
    Judgement::of(metrics)
}

impl<'a> Step<'a> {
    fn of(counts: &'a [TrialCounts], needed: u64) -> Self {
        let (mut segments, mut starts) = (Vec::new(), Vec::new());
        for counts in counts {
            starts.push(segments.len());
            segments.extend(counts.segments.iter().filter(|segment| segment.weight > 0.0 && segment.weight < 1.0));
        }
        let sum = |segments: &[&TrialSegment], arm: fn(&TrialSegment) -> &ArmTally| {
            segments.iter().fold(0_u64, |sum, segment| sum.saturating_add(arm(segment).events))
        };
        let last = starts.last().and_then(|&start| segments.get(start..)).unwrap_or_default();
        let (canary, stable) = (sum(last, |segment| &segment.canary), sum(last, |segment| &segment.stable));
        let is_enough = canary >= needed.max(1) && stable > 0;
        let counted = (sum(&segments, |segment| &segment.canary), sum(&segments, |segment| &segment.stable));
        Self { segments, starts, counted, is_enough }
    }

    fn found(
        &self,
        metric: &str,
        (ln_evidence, share): (f64, f64),
        (effect, tolerance): (Option<Effect>, f64),
    ) -> Found {
        Found {
            metric: metric.to_owned(),
            ln_evidence,
            share,
            effect,
            tolerance,
            counted: self.counted,
            is_enough: self.is_enough,
            is_evidence_enough: false,
        }
    }

    /// ln of the evidence of a rate, and the start that shows most.
    fn rate_evidence(&self, test: &RateTest, rate: Rate<'_>) -> (f64, usize) {
        let rows: Vec<RateCounts> = self.segments.iter().map(|segment| rates_of(segment, rate)).collect();
        since(&self.starts, &rows, |rows| test.evidence(rows).ln_e)
    }

    /// The difference of a rate within segments since a start.
    fn difference(&self, start: usize, rate: Rate<'_>) -> Option<Effect> {
        let segments = self.starts.get(start).and_then(|&start| self.segments.get(start..)).unwrap_or_default();
        let strata = segments.iter().filter_map(|segment| {
            let (canary, stable) = (rate(&segment.canary), rate(&segment.stable));
            let (n, m) = (canary.1 as f64, stable.1 as f64);
            rate_difference(canary, stable).map(|effect| (n * m / (n + m), effect))
        });
        stratified(&strata.collect::<Vec<_>>())
    }

    fn latency(&self, plan: &JudgingPlan) -> MetricJudgement {
        let edges = 0..plan.layout.latency_edges.len();
        let expected = |edge: usize| plan.layout.latency_beyond.get(edge).copied().unwrap_or(EXPECTED);
        let (logs, starts): (Vec<f64>, Vec<usize>) = edges
            .clone()
            .map(|edge| self.rate_evidence(&RateTest::new(expected(edge)), &|tally| beyond(tally, edge)))
            .unzip();
        let edge = largest(&logs);
        let effect = self.difference(starts[edge], &|tally| beyond(tally, edge));
        let ln_evidence = ln_sum(&logs) - (edges.len() as f64).ln();
        self.found("latency", (ln_evidence, plan.budget.latency), (effect, 0.0)).judge(Verdict::Fail)
    }

    fn predictions(&self, plan: &JudgingPlan, column: usize) -> MetricJudgement {
        let cells = &plan.layout.outputs[column];
        let test = TwoArmTest::new(&cells.expected, cells.ordered);
        let arms = |segment: &&TrialSegment| ArmCounts {
            group: 0,
            weight: segment.weight,
            canary: output(&segment.canary, column).to_vec(),
            stable: output(&segment.stable, column).to_vec(),
        };
        let rows: Vec<ArmCounts> = self.segments.iter().map(arms).collect();
        let found: Vec<_> = self.starts.iter().map(|&start| test.evidence(&rows[start..])).collect();
        let terms: Vec<f64> =
            found.iter().enumerate().map(|(place, found)| ln_weight_of_share(place) + found.ln_e).collect();
        let effect = found.get(largest(&terms)).and_then(|found| found.effect);
        let share = plan.column_share(plan.budget.predictions);
        let metric = format!("predictions/{}", cells.name);
        self.found(&metric, (ln_sum(&terms), share), (effect, plan.borne.predictions)).judge(Verdict::Fail)
    }

    fn split(&self, plan: &JudgingPlan) -> MetricJudgement {
        let rows: Vec<ArmCounts> = self
            .segments
            .iter()
            .map(|segment| ArmCounts {
                group: 0,
                weight: segment.weight,
                canary: vec![segment.canary.events],
                stable: vec![segment.stable.events],
            })
            .collect();
        let test = TwoArmTest::new(&[1], 0);
        let (ln_evidence, start) = since(&self.starts, &rows, |rows| test.evidence(rows).ln_e);
        let from = self.starts.get(start).and_then(|&start| rows.get(start..)).unwrap_or_default();
        let (effect, expected) = share_effect(from);
        self.found("split", (ln_evidence, plan.budget.split), (effect, SPLIT_TOLERANCE * expected))
            .judge(Verdict::SensorError)
    }
}

fn rates_of(segment: &TrialSegment, rate: Rate<'_>) -> RateCounts {
    let ((canary_events, canary_trials), (stable_events, stable_trials)) =
        (rate(&segment.canary), rate(&segment.stable));
    RateCounts { group: 0, weight: segment.weight, canary_events, canary_trials, stable_events, stable_trials }
}

/// The weighted mean of effects, whose reaches add up as errors that are independent do; none of none.
fn stratified(strata: &[(f64, Effect)]) -> Option<Effect> {
    let total: f64 = strata.iter().map(|(weight, _)| weight).sum();
    (total > 0.0).then(|| {
        let mean =
            |part: &dyn Fn(&Effect) -> f64| strata.iter().map(|(weight, effect)| weight / total * part(effect)).sum();
        let reach = |part: &dyn Fn(&Effect) -> f64| {
            let squares = strata.iter().map(|(weight, effect)| (weight / total * part(effect)).powi(2));
            squares.sum::<f64>().sqrt()
        };
        let value: f64 = mean(&|effect| effect.value);
        let low = value - reach(&|effect| effect.value - effect.interval.low);
        let high = value + reach(&|effect| effect.interval.high - effect.value);
        Effect { value, interval: Interval { low, high } }
    })
}

/// By how much the canary's share of the events is above what it should be, and what it should be.
fn share_effect(rows: &[ArmCounts]) -> (Option<Effect>, f64) {
    let (mut canary, mut expected, mut variance, mut events) = (0.0, 0.0, 0.0, 0.0);
    for arms in rows {
        let (here, all) = (arms.canary[0] as f64, arms.canary[0] as f64 + arms.stable[0] as f64);
        canary += here;
        events += all;
        expected += arms.weight * all;
        variance += arms.weight * (1.0 - arms.weight) * all;
    }
    if events <= 0.0 {
        return (None, 0.0);
    }
    let value = (canary - expected) / events;
    let reach = 2.0 * variance.sqrt() / events;
    (Some(Effect { value, interval: Interval { low: value - reach, high: value + reach } }), expected / events)
}
