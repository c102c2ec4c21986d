//! What a look at the counts comes to, metric by metric, with everything that it was made of.
//!
//! Invariant: a judgement follows from a plan and counts alone; the same ones give the same judgement, to the bit.

use super::Verdict;
use crate::detect::two_arm::Effect;
use serde::{Deserialize, Serialize};

/// What a look at everything comes to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Judgement {
    /// The worst of the metrics': fail before sensor error before not enough data before pass.
    pub verdict: Verdict,
    /// Each metric's.
    pub metrics: Vec<MetricJudgement>,
}

/// What a look at one metric comes to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricJudgement {
    /// Its name: `errors`, `refusals`, `latency`, `quality`, `predictions/<column>`, `split`, and for guards `guard/errors`,
    /// `guard/broken`, `guard/non_finite`, `guard/latency`.
    pub metric: String,
    /// What it comes to.
    pub verdict: Verdict,
    /// Natural logarithm of the evidence that the new version is worse, or other.
    pub ln_evidence: f64,
    /// It has to reach this: the logarithm of one over this metric's share of the false-abort rate.
    pub ln_threshold: f64,
    /// How far the arms are apart, with its interval; none while an arm has nothing.
    pub effect: Option<Effect>,
    /// The lower end of the interval has to be beyond this.
    pub tolerance: f64,
    /// Events of the new version.
    pub canary: u64,
    /// Events of the stable one, or of its frozen counts.
    pub stable: u64,
    /// All of that for people, in a sentence.
    pub summary: String,
}

impl Judgement {
    /// The judgement of these metrics.
    #[must_use]
    pub fn of(metrics: Vec<MetricJudgement>) -> Self {
        let rank = |verdict: Verdict| match verdict {
            Verdict::Fail => 3,
            Verdict::SensorError => 2,
            Verdict::NotEnoughData => 1,
            Verdict::Pass => 0,
        };
        let worst = metrics.iter().map(|metric| metric.verdict).max_by_key(|verdict| rank(*verdict));
        Self { verdict: worst.unwrap_or(Verdict::NotEnoughData), metrics }
    }

    /// The metrics that failed.
    pub fn failed(&self) -> impl Iterator<Item = &MetricJudgement> {
        self.metrics.iter().filter(|metric| metric.verdict == Verdict::Fail)
    }
}
