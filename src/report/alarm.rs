//! What set an alarm off, in words.
//!
//! Invariant: the words hold no value of a feature.

use super::parts::Alarm;
use super::text::{count, moment, number, rounded};
use crate::alert::rules::rfc3339;
use crate::detect::alarm::{Cause, Finding};

/// A number beyond this says nothing more.
const LARGEST_ODDS: f64 = 1e12;

/// An alarm on evidence that a sequential test gathered.
pub(super) fn alarm(finding: &Finding) -> Alarm {
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
        "Alarm since {}: {what} {} in {} rows, at least {} (95 %, floor {}). Without a change, so much evidence comes \
         at most once in {} cases (limit {}).",
        moment(finding.at),
        effect(finding.effect),
        count(finding.samples),
        effect(finding.effect_lower),
        effect(finding.floor),
        odds(finding.ln_evidence),
        odds(finding.ln_threshold),
    );
    Alarm {
        cause: finding.cause.name().to_owned(),
        at: rfc3339(finding.at),
        since: rfc3339(finding.since),
        samples: finding.samples,
        evidence: rounded(finding.ln_evidence),
        threshold: rounded(finding.ln_threshold),
        effect: rounded(finding.effect),
        effect_lower: rounded(finding.effect_lower),
        effect_floor: rounded(finding.floor),
        text,
    }
}

/// The number whose logarithm it is, with two digits.
#[expect(clippy::cast_sign_loss, reason = "an exponential is positive")]
fn odds(ln: f64) -> String {
    let odds = ln.exp().max(1.0);
    if odds >= LARGEST_ODDS {
        return "over 10¹²".to_owned();
    }
    let unit = 10_f64.powi((odds.log10().floor() as i32 - 1).max(0));
    count(((odds / unit).round() * unit) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn finding(cause: Cause) -> Finding {
        Finding {
            cause,
            at: Duration::from_secs(1_790_000_060),
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
        let found = alarm(&finding(Cause::Drift));
        assert_eq!(found.at, "2026-09-21T14:14:20.000Z");
        for words in
            ["1,312 rows", "14:14:20", "PSI beyond chance 0.314", "at least 0.120", "at most once in 1,500,000 cases"]
        {
            assert!(found.text.contains(words), "{words} in {}", found.text);
        }
        assert_eq!((found.cause.as_str(), found.samples), ("drift", 1_312));
        let found = alarm(&Finding { ln_evidence: 900.0, ..finding(Cause::Missing) });
        assert!(found.text.contains("missing values 31 %") && found.text.contains("over 10¹²"), "{found:?}");
    }
}
