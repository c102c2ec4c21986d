//! Whether requests take longer than they may.
//!
//! The limit is on the 99th percentile of a window, which needs about a thousand requests to mean anything: below that
//! it is decided by a handful of them.
//!
//! Invariant: the quantiles are within 4 % of those of the durations themselves, between 128 ns and 137 s.

use crate::sketch::log_linear::nanoseconds;
use serde::{Deserialize, Serialize};

/// When a model is too slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LatencyRule {
    /// Highest 99th percentile that is allowed, in nanoseconds.
    pub p99_limit_ns: u64,
    /// Requests needed for a verdict; 1,000 where nothing else is said.
    pub min_requests: u64,
}

/// The answer on a window of durations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LatencyVerdict {
    /// Enough requests, and the 99th percentile is within the limit.
    Ok,
    /// The 99th percentile is above the limit.
    Slow,
    /// Too few requests to tell.
    NotEnoughData,
}

/// The verdict on a window, with its evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LatencyJudgement {
    /// The verdict.
    pub verdict: LatencyVerdict,
    /// Requests in the window.
    pub requests: u64,
    /// Median in nanoseconds; none without requests.
    pub p50_ns: Option<u64>,
    /// 99th percentile in nanoseconds; none without requests.
    pub p99_ns: Option<u64>,
    /// The limit that it was compared with, in nanoseconds.
    pub p99_limit_ns: u64,
}

impl LatencyRule {
    /// Requests that a verdict needs unless something else is said.
    pub const MIN_REQUESTS: u64 = 1000;

    /// A limit on the 99th percentile, with the usual number of requests.
    #[must_use]
    pub fn new(p99_limit_ns: u64) -> Self {
        Self { p99_limit_ns, min_requests: Self::MIN_REQUESTS }
    }
}

/// Judges counters of the [`nanoseconds`] bins.
#[must_use]
pub fn judge_latency(counts: &[u64], rule: &LatencyRule) -> LatencyJudgement {
    let histogram = nanoseconds::merged_histogram(counts);
    let requests = histogram.len();
    let quantile = |quantile: f64| (requests > 0).then(|| histogram.value_at_quantile(quantile));
    let (p50_ns, p99_ns) = (quantile(0.5), quantile(0.99));
    let verdict = match p99_ns {
        Some(p99) if requests >= rule.min_requests => {
            if p99 > rule.p99_limit_ns {
                LatencyVerdict::Slow
            } else {
                LatencyVerdict::Ok
            }
        }
        _ => LatencyVerdict::NotEnoughData,
    };
    LatencyJudgement { verdict, requests, p50_ns, p99_ns, p99_limit_ns: rule.p99_limit_ns }
}
