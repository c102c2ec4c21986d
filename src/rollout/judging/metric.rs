//! From evidence and effect to the verdict of a metric, and to the sentence that says so.
//!
//! Invariant: a metric fails only if its evidence has reached its threshold.

use super::starts::LOWEST;
use crate::detect::two_arm::Effect;
use crate::rollout::{MetricJudgement, Verdict};

/// The highest that evidence is called, ln.
const HIGHEST: f64 = 1e9;

/// What a metric's verdict is made from.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) metric: String,
    /// ln of the evidence.
    pub(super) ln_evidence: f64,
    /// The probability that pays for it.
    pub(super) share: f64,
    /// How far the arms are apart.
    pub(super) effect: Option<Effect>,
    /// What is borne.
    pub(super) tolerance: f64,
    /// Events of the canary and of stable.
    pub(super) counted: (u64, u64),
    /// Whether there are enough of them to call it good.
    pub(super) is_enough: bool,
    /// Whether evidence decides alone where there is no effect, because one side has nothing.
    pub(super) is_evidence_enough: bool,
}

impl Found {
    /// The verdict, with `fails` as the one for what is found to differ.
    pub(super) fn judge(self, fails: Verdict) -> MetricJudgement {
        let ln_threshold = -self.share.ln();
        let ln_evidence = if self.ln_evidence.is_nan() { LOWEST } else { self.ln_evidence.clamp(LOWEST, HIGHEST) };
        let is_beyond = self.effect.map_or(self.is_evidence_enough, |Effect { interval, .. }| {
            interval.low > self.tolerance || (fails == Verdict::SensorError && interval.high < -self.tolerance)
        });
        let verdict = if ln_evidence >= ln_threshold && is_beyond {
            fails
        } else if self.is_enough {
            Verdict::Pass
        } else {
            Verdict::NotEnoughData
        };
        let (canary, stable) = self.counted;
        let summary = self.summary(verdict, ln_evidence, ln_threshold);
        MetricJudgement {
            metric: self.metric,
            verdict,
            ln_evidence,
            ln_threshold,
            effect: self.effect,
            tolerance: self.tolerance,
            canary,
            stable,
            summary,
        }
    }

    fn summary(&self, verdict: Verdict, ln_evidence: f64, ln_threshold: f64) -> String {
        let (canary, stable) = self.counted;
        let head = match verdict {
            Verdict::Pass => "no difference that counts",
            Verdict::Fail => "worse, or other, than the stable version",
            Verdict::NotEnoughData => "too few events to say",
            Verdict::SensorError => "the arms do not get the shares that were set",
        };
        let far = self.effect.map_or_else(
            || "nothing to compare with".to_owned(),
            |Effect { value, interval }| {
                let [value, low, high] = [value, interval.low, interval.high].map(short);
                let borne = if self.tolerance > 0.0 { short(self.tolerance) } else { "none".to_owned() };
                format!("a difference of {value} ({low} to {high}), {borne} is borne")
            },
        );
        format!(
            "{head}; {far}; evidence e^{ln_evidence:.2}, e^{ln_threshold:.2} decides; {canary} events against {stable}"
        )
    }
}

/// A number with at most five places behind the point.
fn short(number: f64) -> String {
    let text = format!("{number:.5}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::Interval;

    #[test]
    fn a_summary_says_how_far_the_arms_are_apart_and_leaves_the_name_to_others() {
        let found = Found {
            metric: "latency".to_owned(),
            ln_evidence: 6.812,
            share: 0.0014,
            effect: Some(Effect { value: 0.364, interval: Interval { low: 0.2710004, high: 0.38 } }),
            tolerance: 0.0,
            counted: (38, 3_649),
            is_enough: false,
            is_evidence_enough: false,
        };
        let expected = "worse, or other, than the stable version; a difference of 0.364 (0.271 to 0.38), none is borne; \
                        evidence e^6.81, e^6.57 decides; 38 events against 3649";
        assert_eq!(found.judge(Verdict::Fail).summary, expected);
        assert_eq!([-0.000_001, 0.0, 100.0, -0.5].map(short), ["0", "0", "100", "-0.5"]);
    }
}
