//! What a look at the counts comes to, metric by metric, with everything that it was made of.
//!
//! Invariant: a judgement follows from a plan and counts alone; the same ones give the same judgement, to the bit, but for
//! its words, which may be others in another release.

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
    /// All of that for people, without the name; earlier releases wrote it with the name before it.
    pub summary: String,
}

impl MetricJudgement {
    /// All of it for people, with the name before it.
    #[must_use]
    pub fn sentence(&self) -> String {
        let named = format!("{}: ", self.metric);
        if self.summary.starts_with(&named) { self.summary.clone() } else { named + &self.summary }
    }
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

    /// Whether another one is the same to the bit, however it is put into words.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let without_words = |judgement: &Self| {
            let mut judgement = judgement.clone();
            judgement.metrics.iter_mut().for_each(|metric| metric.summary.clear());
            judgement
        };
        without_words(self) == without_words(other)
    }

    /// The metrics that failed.
    pub fn failed(&self) -> impl Iterator<Item = &MetricJudgement> {
        self.metrics.iter().filter(|metric| metric.verdict == Verdict::Fail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metric(ln_evidence: f64, summary: &str) -> MetricJudgement {
        MetricJudgement {
            metric: "errors".to_owned(),
            verdict: Verdict::Fail,
            ln_evidence,
            ln_threshold: 6.5,
            effect: None,
            tolerance: 0.001,
            canary: 10,
            stable: 90,
            summary: summary.to_owned(),
        }
    }

    #[test]
    fn a_judgement_is_the_same_in_other_words_and_not_with_another_number() {
        let judgement = |ln_evidence, summary| Judgement::of(vec![metric(ln_evidence, summary)]);
        assert!(judgement(7.0, "errors: worse").is_same(&judgement(7.0, "worse")));
        assert!(!judgement(7.0, "worse").is_same(&judgement(7.0_f64.next_up(), "worse")));
    }

    #[test]
    fn a_sentence_names_its_metric_once() {
        for summary in ["worse", "errors: worse"] {
            assert_eq!(metric(7.0, summary).sentence(), "errors: worse");
        }
        assert_eq!(metric(7.0, "errors are more").sentence(), "errors: errors are more");
    }
}
