//! The settings of what is judged: drift, latency, errors. Plain data with a default for everything.
//!
//! They are read for all models and again for each model above that, so every field is one that a model can have for
//! itself.
//!
//! Invariant: as in [the settings of the process](super::settings), limits are kept by [`Config::load`](super::Config).

use std::collections::BTreeSet;
use std::time::Duration;

/// When a version drifts.
#[derive(Clone, Debug, PartialEq)]
pub struct DriftSettings {
    /// Which rule makes a verdict of the numbers. Default [`DriftPreset::Default`].
    pub preset: DriftPreset,
    /// Length of the sliding window that is compared with the reference. Default 5 minutes.
    pub window: Duration,
    /// Samples in the window below which the verdict is "not enough data". Default 200.
    pub min_samples: u64,
    /// A feature drifts when its PSI exceeds what is expected without drift by more than this. Default 0.1.
    pub threshold: f64,
    /// A firing alert can resolve once that excess is below this. Default half of `threshold`.
    pub resolve_threshold: f64,
    /// How long the verdict must hold before an alert fires. Default 2 s.
    pub pending_for: Duration,
    /// How long it must be gone before an alert resolves. Default 10 s.
    pub resolve_after: Duration,
    /// Inputs with more elements than this get aggregate statistics instead of one sketch per element. Default 512.
    pub max_features: usize,
    /// Pages without a cause that are accepted per version and 30 days, over all its features together. Default 0.1.
    pub false_pages_per_month: f64,
    /// PSI by which traffic may differ from the reference for good without ever being evidence. Default 0.01.
    pub tolerance: f64,
    /// Least PSI that is worth an alarm, however sure it is. Default 0.02.
    pub effect_floor: f64,
    /// Lengths of the further windows. Default 1 m, 5 m, 1 h and 24 h.
    pub windows: Vec<Duration>,
    /// After how long a row weighs half in the decayed counts. Default 1 h.
    pub half_life: Duration,
    /// Whether traffic is compared with the same hour of the week. Default no.
    pub seasonal: bool,
    /// Weeks of traffic after which hours of the week are a reference. Default 2.
    pub seasonal_weeks: u32,
    /// Bytes that hours of the week may take per version; beyond that there are none. Default 16 MiB.
    pub seasonal_memory: u64,
    /// Rows after which a version without a profile is frozen into a reference of its own; 0 is never. Default 10,000.
    pub learn_rows: u64,
    /// Features whose counters are exported bin by bin, at most 64. Default none.
    pub bins_exported: Vec<String>,
    /// What drift is split by; counters are laid out when a version is loaded, so that a change takes effect with its
    /// next load. Default nothing.
    pub segment: Option<SegmentSettings>,
    /// Features whose drift alone makes the version drift; given per model. Default none.
    pub critical: BTreeSet<String>,
}

/// Which rule makes a verdict of the numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DriftPreset {
    /// The anytime-valid alarm with a budget of false pages.
    #[default]
    Default,
    /// PSI above 0.2 and a Kolmogorov-Smirnov p-value below 0.05.
    Classic,
    /// The test and threshold that Evidently 0.7 chooses for each column.
    Evidently,
}

/// What drift is split by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentSettings {
    /// Where a row's segment comes from.
    pub by: SegmentSource,
    /// Segments that are told apart at most; what comes after them is one more, "other". Default 16, at most 64.
    pub max_values: usize,
}

/// Where a row's segment comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SegmentSource {
    /// The value of a feature.
    Feature(String),
    /// The value of a header of the request.
    Header(String),
}

/// When a version is too slow.
#[derive(Clone, Debug, PartialEq)]
pub struct LatencySettings {
    /// The 99th percentile over the window may not exceed this. Default 1 s.
    pub p99_limit: Duration,
    /// Which rule makes a verdict of the durations. Default [`LatencyRuleChoice::Sequential`].
    pub rule: LatencyRuleChoice,
    /// Share of requests that may take longer than `p99_limit`. Default 0.01.
    pub allowed_rate: f64,
    /// Length of the sliding window. Default 5 minutes.
    pub window: Duration,
    /// Requests in the window below which nothing is said. Default 1,000.
    pub min_requests: u64,
    /// How long the limit must be exceeded before an alert fires. Default 2 s.
    pub pending_for: Duration,
    /// How long it must be kept before an alert resolves. Default 10 s.
    pub resolve_after: Duration,
}

/// Which rule makes a verdict of durations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LatencyRuleChoice {
    /// Requests beyond the limit against the allowed rate, whenever one looks.
    #[default]
    Sequential,
    /// The 99th percentile of the window against the limit.
    P99,
}

/// When a version fails too often.
#[derive(Clone, Debug, PartialEq)]
pub struct ErrorSettings {
    /// Share of answers that may be failures of the server (5xx). Default 0.01.
    pub allowed_rate: f64,
}

impl Default for DriftSettings {
    fn default() -> Self {
        Self {
            preset: DriftPreset::Default,
            window: Duration::from_secs(300),
            min_samples: 200,
            threshold: 0.1,
            resolve_threshold: 0.05,
            pending_for: Duration::from_secs(2),
            resolve_after: Duration::from_secs(10),
            max_features: 512,
            false_pages_per_month: 0.1,
            tolerance: 0.01,
            effect_floor: 0.02,
            windows: [60, 300, 3_600, 86_400].map(Duration::from_secs).into(),
            half_life: Duration::from_secs(3_600),
            seasonal: false,
            seasonal_weeks: 2,
            seasonal_memory: 16 << 20,
            learn_rows: 10_000,
            bins_exported: Vec::new(),
            segment: None,
            critical: BTreeSet::new(),
        }
    }
}

impl Default for LatencySettings {
    fn default() -> Self {
        Self {
            p99_limit: Duration::from_secs(1),
            rule: LatencyRuleChoice::Sequential,
            allowed_rate: 0.01,
            window: Duration::from_secs(300),
            min_requests: 1_000,
            pending_for: Duration::from_secs(2),
            resolve_after: Duration::from_secs(10),
        }
    }
}

impl Default for ErrorSettings {
    fn default() -> Self {
        Self { allowed_rate: 0.01 }
    }
}
