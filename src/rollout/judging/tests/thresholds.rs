//! What others do: a check between intervals against fixed thresholds, and a number of failed checks that ends it.
//!
//! Flagger (`pkg/controller/scheduler.go`): a canary's analysis has `metrics` with `thresholdRange`; at each `interval` a
//! metric out of range makes the check a failed one, and when `failedChecks` reaches `threshold` the canary is rolled
//! back; failed checks add up over the analysis. Its documentation has 99 % of requests without 5xx, the 99th percentile
//! of durations, a minute, and a threshold of 5. Argo Rollouts: an `AnalysisRun` measures each metric at each `interval`
//! and fails when more than `failureLimit` measurements of one did; its documentation has 95 %, five minutes, and 3.

use super::world::{Checked, Traffic};

/// One such rule.
#[derive(Clone, Copy, Debug)]
pub(super) struct Thresholds {
    pub(super) name: &'static str,
    /// Requests of all arms between two checks.
    pub(super) interval: u64,
    /// Highest share of errors that is in range.
    pub(super) errors: f64,
    /// Whether failed checks of all metrics count together.
    pub(super) together: bool,
    /// Failed checks that end it.
    pub(super) failed: u64,
}

/// At 1,000 requests a minute.
pub(super) const RULES: [Thresholds; 3] = [
    Thresholds { name: "Flagger, 99 %, 1 min, 5 checks", interval: 1000, errors: 0.01, together: true, failed: 5 },
    Thresholds { name: "Argo, 99 %, 5 min, more than 3", interval: 5000, errors: 0.01, together: false, failed: 4 },
    Thresholds { name: "Argo, 95 %, 5 min, more than 3", interval: 5000, errors: 0.05, together: false, failed: 4 },
];

/// A rule at work on one rollout.
struct Watch {
    rule: Thresholds,
    last: Checked,
    by_errors: u64,
    by_latency: u64,
    checks: u64,
}

/// Requests of the canary at which each of the rules ends a rollout.
pub(super) fn until_failed(traffic: &mut Traffic<'_>, requests: u64) -> [Option<u64>; RULES.len()] {
    let mut watches =
        RULES.map(|rule| Watch { rule, last: Checked::default(), by_errors: 0, by_latency: 0, checks: 0 });
    let mut ended = [None; RULES.len()];
    for request in 1..=requests {
        traffic.request();
        for (watch, ended) in watches.iter_mut().zip(&mut ended) {
            if ended.is_none() && request.is_multiple_of(watch.rule.interval) && watch.fails(traffic.checked) {
                *ended = Some(traffic.canary);
            }
        }
        if ended.iter().all(Option::is_some) {
            break;
        }
    }
    ended
}

impl Watch {
    /// One check; whether it was one too many.
    fn fails(&mut self, seen: Checked) -> bool {
        let requests = seen.requests - self.last.requests;
        let (errors, far) = (seen.errors - self.last.errors, seen.far - self.last.far);
        self.last = seen;
        let is_bad = requests > 0 && errors as f64 > self.rule.errors * requests as f64;
        // The 99th percentile is beyond the limit when more than a hundredth is.
        let is_slow = requests > 0 && far * 100 > requests;
        self.by_errors += u64::from(is_bad);
        self.by_latency += u64::from(is_slow);
        self.checks += u64::from(is_bad || is_slow);
        let most = if self.rule.together { self.checks } else { self.by_errors.max(self.by_latency) };
        most >= self.rule.failed
    }
}
