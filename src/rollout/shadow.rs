//! Whether a version that answers copies of requests may answer clients.
//!
//! Each rate has a limit: copies whose label is another (if the plan has one), and as for guards calls that fail, that
//! panic or answer another shape, and answers with a NaN or an infinity where the primary has a number. A rate fails when
//!
//! - the evidence that it is above its limit reaches one over its share of the rate `false_abort`, which is divided equally
//!   among the rates that are judged: a mixture of likelihood ratios, each a supermartingale under every rate up to the
//!   limit, so that one may look at any time (`detect::alarm`), and
//! - the lower end of its exact 95 % interval is above the limit.
//!
//! # What is promised
//! If each copy, given those before it, shows an event with a chance of at most the limit, the probability that any of the
//! rates is ever said to fail is at most `false_abort`. A version that is as good as the stable one because it computes the
//! same differs nowhere, so that it fails only by calls that fail here and did not there, those of the machine. One odd
//! client who sends most of the traffic makes its rows most of the copies: the share is one of copies, not of clients.
//!
//! Copies that were dropped are no evidence of anything. A version that is so slow that nearly all are dropped, or that
//! hangs, has too little data, which is never a pass.
//!
//! Invariant: a judgement follows from the rule and the counts alone.

use super::plan::Plan;
use super::{Judgement, MetricJudgement, ShadowView, Verdict};
use crate::config::{GuardSettings, ShadowSettings};
use crate::detect::alarm::RateCeiling;
use crate::detect::share_interval;
use crate::detect::two_arm::Effect;
use crate::observe::shadow::ShadowCounts;
use serde::{Deserialize, Serialize};

/// The shadow phase's part of a rollout's rate of false aborts: what its budget sets aside for the check of shares, which
/// aborts nothing.
pub const SHADOW_SHARE: f64 = 0.01;

/// Chance that an end of the interval that is shown misses the rate.
const INTERVAL_RISK: f64 = 0.025;

/// What copies are judged by: fixed when a rollout begins, and written down with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShadowRule {
    /// Copies that have to be compared.
    pub min_samples: u64,
    /// Share of copies whose label may be another; none if any may.
    pub max_disagreement: Option<f64>,
    /// Share of calls that may fail.
    pub errors: f64,
    /// Share of calls that may panic or answer another shape.
    pub broken: f64,
    /// Share of answers that may have a NaN or an infinity where the primary has a number.
    pub non_finite: f64,
    /// Probability that a version within all of these limits is ever said to fail.
    pub false_abort: f64,
}

/// A rate and its limit.
struct Limited {
    metric: &'static str,
    /// What happened, for people.
    what: &'static str,
    events: u64,
    trials: u64,
    limit: f64,
}

impl ShadowRule {
    /// The rule of these settings. `false_abort` is the phase's part of the rollout's rate.
    #[must_use]
    pub fn new(shadow: &ShadowSettings, guards: &GuardSettings, false_abort: f64) -> Self {
        Self {
            min_samples: shadow.min_samples,
            max_disagreement: shadow.max_disagreement,
            errors: guards.errors,
            broken: guards.broken,
            non_finite: guards.non_finite,
            false_abort,
        }
    }

    /// The rule of a plan, if it has copies of requests.
    #[must_use]
    pub fn of(plan: &Plan) -> Option<Self> {
        let (shadow, usual) = (plan.shadow.as_ref()?, GuardSettings::default());
        let limit = |name: &str, usual: f64| plan.limits.get(name).copied().unwrap_or(usual);
        Some(Self {
            min_samples: shadow.step.min_samples,
            max_disagreement: shadow.max_disagreement,
            errors: limit("guards.errors", usual.errors),
            broken: limit("guards.broken", usual.broken),
            non_finite: limit("guards.non_finite", usual.non_finite),
            false_abort: SHADOW_SHARE * plan.false_abort_rate,
        })
    }

    fn rates(&self, counts: &ShadowCounts) -> Vec<Limited> {
        let calls = counts.calls();
        let rate = |metric, what, (events, trials), limit| Limited { metric, what, events, trials, limit };
        let mut rates = vec![
            rate("shadow/errors", "calls that failed", (counts.failed, calls), self.errors),
            rate("shadow/broken", "calls that panicked or answered another shape", (counts.broken, calls), self.broken),
            rate(
                "shadow/non_finite",
                "answers with a NaN or an infinity where the primary has a number",
                (counts.non_finite, counts.compared),
                self.non_finite,
            ),
        ];
        if let Some(limit) = self.max_disagreement {
            let events = (counts.disagreed, counts.labelled);
            rates.push(rate("shadow/labels", "copies whose label is another", events, limit));
        }
        rates
    }
}

/// What a look at copies comes to; to be taken at any time, and as often as one likes.
#[must_use]
pub fn judge_shadow(rule: &ShadowRule, counts: &ShadowCounts) -> Judgement {
    let rates = rule.rates(counts);
    let ln_threshold = -(rule.false_abort / rates.len() as f64).clamp(f64::MIN_POSITIVE, 1.0).ln();
    Judgement::of(rates.iter().map(|rate| rate.judged(rule, counts, ln_threshold)).collect())
}

impl Limited {
    fn judged(&self, rule: &ShadowRule, counts: &ShadowCounts, ln_threshold: f64) -> MetricJudgement {
        let Self { metric, what, events, trials, limit } = *self;
        // What speaks for it is not told apart: minus infinity cannot be written down.
        let ln_evidence = RateCeiling::new(limit).ln_evidence(events, trials).max(0.0);
        let interval = share_interval(events, trials, INTERVAL_RISK);
        let effect = (trials > 0).then(|| Effect { value: events as f64 / trials as f64, interval });
        let is_enough = counts.compared >= rule.min_samples;
        let verdict = if ln_evidence >= ln_threshold && interval.low > limit {
            Verdict::Fail
        } else if !is_enough {
            Verdict::NotEnoughData
        } else if trials == 0 {
            // Enough was compared, and nothing of it has what is to be judged.
            Verdict::SensorError
        } else {
            Verdict::Pass
        };
        let share = if trials > 0 { format!("{:.3} %", 100.0 * events as f64 / trials as f64) } else { "none".into() };
        let summary = format!(
            "{what}: {events} of {trials} ({share}, 95 % interval {:.3} to {:.3} %), {:.3} % allowed; evidence \
             e^{ln_evidence:.2} of e^{ln_threshold:.2}; {} of {} copies compared, {} dropped",
            100.0 * interval.low,
            100.0 * interval.high,
            100.0 * limit,
            counts.compared,
            rule.min_samples,
            counts.dropped,
        );
        MetricJudgement {
            metric: metric.to_owned(),
            verdict,
            ln_evidence,
            ln_threshold,
            effect,
            tolerance: limit,
            canary: trials,
            // Every copy has its pair.
            stable: trials,
            summary,
        }
    }
}

impl From<&ShadowCounts> for ShadowView {
    fn from(counts: &ShadowCounts) -> Self {
        Self {
            compared: counts.compared,
            failed: counts.failed,
            dropped: counts.dropped,
            label_agreement: counts.label_agreement(),
            largest_difference: counts.largest_difference,
            mean_difference: counts.mean_difference(),
            score_distance: counts.score_distance(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RolloutSettings;
    use proptest::prelude::*;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    fn rule() -> ShadowRule {
        let shadow = ShadowSettings { max_disagreement: Some(0.05), ..ShadowSettings::default() };
        ShadowRule::new(&shadow, &GuardSettings::default(), 0.01)
    }

    fn verdict_of(judgement: &Judgement, metric: &str) -> Verdict {
        let found = judgement.metrics.iter().find(|judged| judged.metric == metric);
        found.unwrap_or_else(|| panic!("no {metric} in {judgement:?}")).verdict
    }

    /// So many copies without anything wrong.
    fn good(copies: u64) -> ShadowCounts {
        ShadowCounts { compared: copies, labelled: copies, rows: copies, ..ShadowCounts::default() }
    }

    /// How many copies it takes until a metric fails of which every `every`-th has what `spoil` counts.
    fn copies_until(metric: &str, every: u64, spoil: impl Fn(&mut ShadowCounts)) -> u64 {
        let mut counts = good(0);
        for copy in 1..=100_000 {
            counts = ShadowCounts { compared: copy - counts.failed, labelled: copy, ..counts };
            if copy % every == 0 {
                spoil(&mut counts);
            }
            if verdict_of(&judge_shadow(&rule(), &counts), metric) == Verdict::Fail {
                return copy;
            }
        }
        panic!("{metric} never failed");
    }

    #[test]
    fn a_version_that_says_the_same_passes_once_enough_was_compared() {
        for (copies, verdict) in
            [(0, Verdict::NotEnoughData), (499, Verdict::NotEnoughData), (500, Verdict::Pass), (1 << 40, Verdict::Pass)]
        {
            assert_eq!(judge_shadow(&rule(), &good(copies)).verdict, verdict, "{copies}");
        }
    }

    #[test]
    fn dropped_copies_are_no_pass() {
        let counts = ShadowCounts { dropped: 1 << 40, ..good(3) };
        let judgement = judge_shadow(&rule(), &counts);
        assert_eq!(judgement.verdict, Verdict::NotEnoughData);
        assert!(judgement.metrics[0].summary.contains("dropped"), "{}", judgement.metrics[0].summary);
    }

    #[test]
    fn what_is_far_above_its_limit_is_found_in_few_copies() {
        let broken = |counts: &mut ShadowCounts| {
            (counts.broken, counts.failed, counts.compared) =
                (counts.broken + 1, counts.failed + 1, counts.compared - 1);
        };
        let failed =
            |counts: &mut ShadowCounts| (counts.failed, counts.compared) = (counts.failed + 1, counts.compared - 1);
        let non_finite = |counts: &mut ShadowCounts| counts.non_finite += 1;
        let disagreed = |counts: &mut ShadowCounts| counts.disagreed += 1;
        let found = [
            copies_until("shadow/broken", 1, broken),
            copies_until("shadow/non_finite", 1, non_finite),
            copies_until("shadow/errors", 1, failed),
            copies_until("shadow/non_finite", 50, non_finite),
            copies_until("shadow/errors", 5, failed),
            copies_until("shadow/labels", 5, disagreed),
        ];
        assert_eq!(found, [2, 2, 3, 250, 55, 55], "all panic, NaN, fail; 2 % NaN; 20 % fail; 20 % disagree");
    }

    #[test]
    fn a_limit_on_labels_of_a_model_without_any_is_a_sensor_that_sees_nothing() {
        let counts = ShadowCounts { compared: 10_000, ..ShadowCounts::default() };
        assert_eq!(judge_shadow(&rule(), &counts).verdict, Verdict::SensorError);
        let without = ShadowRule { max_disagreement: None, ..rule() };
        assert_eq!(judge_shadow(&without, &counts).verdict, Verdict::Pass);
    }

    #[test]
    fn rates_at_their_limits_are_failed_no_more_often_than_promised_however_often_one_looks() {
        let (mut random, mut failed) = (StdRng::seed_from_u64(23), 0);
        // All four rates at once at their limits.
        let rule = ShadowRule { errors: 0.05, broken: 0.02, non_finite: 0.01, false_abort: 0.1, ..rule() };
        for _ in 0..400 {
            let mut counts = good(0);
            let fails = (0..1_200).any(|copy| {
                let is_broken = random.random_bool(0.02);
                let has_failed = is_broken || random.random_bool(0.03 / 0.98);
                if has_failed {
                    (counts.failed, counts.broken) = (counts.failed + 1, counts.broken + u64::from(is_broken));
                } else {
                    (counts.compared, counts.labelled) = (counts.compared + 1, counts.labelled + 1);
                    counts.disagreed += u64::from(random.random_bool(0.05));
                    counts.non_finite += u64::from(random.random_bool(0.01));
                }
                copy % 15 == 0 && judge_shadow(&rule, &counts).verdict == Verdict::Fail
            });
            failed += u64::from(fails);
        }
        // 40 of 400 are promised at most; what would be seen of a rule that ignores looks is several times that.
        assert!(failed <= 40, "{failed} of 400");
    }

    #[test]
    fn a_plan_says_what_copies_are_judged_by() {
        let settings = RolloutSettings { shadow: Some(ShadowSettings::default()), ..RolloutSettings::default() };
        let guards = GuardSettings { errors: 0.2, broken: 0.3, non_finite: 0.4, ..GuardSettings::default() };
        let settings = RolloutSettings { guards: guards.clone(), ..settings };
        let rule = ShadowRule::of(&Plan::of(&settings)).unwrap();
        assert_eq!(rule, ShadowRule::new(&ShadowSettings::default(), &guards, 0.01 * settings.false_abort_rate));
        assert_eq!(ShadowRule::of(&Plan::of(&RolloutSettings::default())), None);
    }

    #[test]
    fn a_view_has_what_was_counted() {
        let counts = ShadowCounts {
            rows: 200,
            rows_disagreed: 3,
            numbers: 4,
            difference_sum: 1.0,
            largest_difference: 0.5,
            dropped: 7,
            failed: 2,
            ..good(100)
        };
        let view = ShadowView::from(&counts);
        assert_eq!((view.compared, view.failed, view.dropped), (100, 2, 7));
        assert_eq!((view.label_agreement, view.mean_difference, view.score_distance), (Some(0.985), 0.25, None));
    }

    proptest! {
        #[test]
        fn a_judgement_made_again_from_what_was_written_down_is_the_same_to_the_bit(
            compared in 0_u64..2_000, failed in 0_u64..50, broken in 0_u64..50, bad in 0_u64..100,
            limit in prop::option::of(0.0_f64..=1.0), false_abort in 0.0001_f64..0.2,
        ) {
            let rule = ShadowRule { max_disagreement: limit, false_abort, ..rule() };
            let counts = ShadowCounts {
                failed: failed.max(broken), broken, disagreed: bad.min(compared), non_finite: bad.min(compared), ..good(compared)
            };
            let judgement = judge_shadow(&rule, &counts);
            let text = serde_json::to_string(&(&rule, &counts, &judgement)).unwrap();
            let (rule, counts, written): (ShadowRule, ShadowCounts, Judgement) = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(&judge_shadow(&rule, &counts), &written);
            prop_assert_eq!(written, judgement);
        }

        #[test]
        fn nothing_that_was_counted_makes_a_judgement_of_no_number(counts in prop::array::uniform5(any::<u64>())) {
            let [compared, failed, broken, non_finite, disagreed] = counts;
            let counts = ShadowCounts { compared, failed, broken, non_finite, disagreed, labelled: compared, ..ShadowCounts::default() };
            for judged in judge_shadow(&rule(), &counts).metrics {
                prop_assert!(judged.ln_evidence.is_finite() && judged.ln_threshold.is_finite(), "{:?}", judged);
                let effect = judged.effect.map_or([0.0; 3], |effect| [effect.value, effect.interval.low, effect.interval.high]);
                prop_assert!(effect.iter().all(|value| value.is_finite()), "{:?}", judged);
            }
        }
    }
}
