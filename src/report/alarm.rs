//! What set an alarm off, in words.
//!
//! Invariant: the words hold no value of a feature.

use super::parts::{Alarm, Evidence};
use super::text::{count, moment, number, rfc3339, rounded};
use crate::detect::alarm::{Cause, Finding};
use crate::judge;
use std::time::Duration;

/// Beyond this one in so many is no number that anybody can picture.
const LARGEST_ODDS: f64 = 1e12;

/// An alarm on a measured number that passed its threshold.
pub(super) fn of_threshold(finding: &judge::Finding, what: &str) -> Alarm {
    Alarm {
        since: rfc3339(finding.at),
        text: format!(
            "Alarm since {}: {what} was {}, more than the {} that is allowed.",
            moment(finding.at),
            number(finding.value),
            number(finding.threshold),
        ),
        evidence: None,
    }
}

/// An alarm on evidence that a sequential test gathered; `at` is when it went off.
#[must_use]
pub fn of_evidence(at: Duration, finding: &Finding) -> Alarm {
    let effect = |value: f64| match finding.cause {
        Cause::Drift => number(value),
        _ => format!("{} %", number(value * 100.0)),
    };
    let what = match finding.cause {
        Cause::Drift => "PSI beyond chance",
        Cause::Missing => "missing values",
        Cause::Infinite => "infinite values",
        Cause::OutOfRange => "values outside the reference's range",
        Cause::UnseenCategory => "categories that the reference does not have",
        Cause::Exceedance => "the rate",
    };
    let text = format!(
        "Alarm since {}: {what} {} in {} rows, at least {} with 95 % confidence (floor {}); without a change so much \
         evidence is seen once in {} cases (limit {}).",
        moment(at),
        effect(finding.effect),
        count(finding.samples),
        effect(finding.effect_lower),
        effect(finding.floor),
        odds(finding.ln_evidence),
        odds(finding.ln_threshold),
    );
    let evidence = Evidence {
        cause: finding.cause.name().to_owned(),
        ln_evidence: rounded(finding.ln_evidence),
        ln_threshold: rounded(finding.ln_threshold),
        effect: rounded(finding.effect),
        effect_lower: rounded(finding.effect_lower),
        floor: rounded(finding.floor),
        samples: finding.samples,
    };
    Alarm { since: rfc3339(at), text, evidence: Some(evidence) }
}

/// The number whose logarithm it is, with two digits.
#[expect(clippy::cast_sign_loss, reason = "an exponential is positive")]
fn odds(ln: f64) -> String {
    let odds = ln.exp().max(1.0);
    if odds >= LARGEST_ODDS {
        return "a million million".to_owned();
    }
    let unit = 10_f64.powi((odds.log10().floor() as i32 - 1).max(0));
    count(((odds / unit).round() * unit) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(cause: Cause) -> Finding {
        Finding {
            cause,
            ln_evidence: 14.2,
            ln_threshold: 9.9,
            effect: 0.314,
            effect_lower: 0.12,
            floor: 0.02,
            samples: 1_312,
            since: Duration::from_secs(1_790_000_000),
            counts: vec![1, 2],
        }
    }

    #[test]
    fn evidence_is_told_with_its_effect_its_rows_and_its_odds() {
        let alarm = of_evidence(Duration::from_secs(1_790_000_060), &finding(Cause::Drift));
        assert_eq!(alarm.since, "2026-09-21T14:14:20.000Z");
        for words in ["1,312 rows", "14:14:20", "PSI beyond chance 0.314", "at least 0.120", "once in 1,500,000 cases"]
        {
            assert!(alarm.text.contains(words), "{words} in {}", alarm.text);
        }
        assert!(alarm.evidence.is_some_and(|evidence| evidence.cause == "drift" && evidence.samples == 1_312));
        let alarm = of_evidence(Duration::ZERO, &Finding { ln_evidence: 900.0, ..finding(Cause::Missing) });
        assert!(alarm.text.contains("missing values 31 %") && alarm.text.contains("a million million"), "{alarm:?}");
    }

    #[test]
    fn a_threshold_is_told_with_what_passed_it() {
        let finding = judge::Finding { at: Duration::from_secs(1_790_000_000), value: 0.31, threshold: 0.1 };
        let alarm = of_threshold(&finding, "PSI beyond chance");
        assert!(alarm.text.contains("PSI beyond chance was 0.310, more than the 0.100"), "{}", alarm.text);
    }
}
