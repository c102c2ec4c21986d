//! Every metric name, once, with its kind and help text.
//!
//! Names are promises to dashboards and alert rules, so they live in one table that a test compares with the README and
//! that every use must go through: a metric that is not here cannot be exported.
//!
//! Invariant: names start with `tidegate_`, end in their base unit, and counters end in `_total`.

/// What kind of series a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Bucketed durations.
    Histogram,
}

/// A metric: its name, kind and help text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// The exported name.
    pub name: &'static str,
    /// Its kind.
    pub kind: MetricKind,
    /// The help line.
    pub help: &'static str,
}

const fn counter(name: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: MetricKind::Counter, help }
}

const fn gauge(name: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: MetricKind::Gauge, help }
}

const fn histogram(name: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: MetricKind::Histogram, help }
}

/// Answers by model, version, arm, protocol and HTTP status code. Empty model and version: refused before either was known.
pub const REQUESTS: Metric =
    counter("tidegate_requests_total", "Answers by model, version, arm, protocol and HTTP status code.");
/// Durations by model, version and phase.
pub const REQUEST_DURATION: Metric = histogram(
    "tidegate_request_duration_seconds",
    "Time of predictions and of failures of ours, by phase: receive (request head to whole body, where that had to be waited for), total (whole body to answer), decode, queue, compute, encode, write, own (total without queue and compute). Total includes decode to encode, neither receive nor write.",
);
/// Requests being answered now.
pub const REQUESTS_IN_FLIGHT: Metric =
    gauge("tidegate_requests_in_flight", "Requests being read or answered on the data port.");
/// Requests answered by another worker than the one with their connection.
pub const REQUESTS_HANDED_ON: Metric = counter(
    "tidegate_requests_handed_on_total",
    "Requests on HTTP/2 connections that another worker answered than the one that has the connection.",
);
/// Requests that wait for their call.
pub const QUEUE_LENGTH: Metric =
    gauge("tidegate_queue_length", "Requests that were read and wait for their call, by model and version.");
/// Open connections on the data port.
pub const CONNECTIONS: Metric = gauge("tidegate_connections", "Open connections on the data port.");
/// Rows predicted.
pub const ROWS: Metric = counter("tidegate_rows_total", "Rows predicted, a batch of 64 counting 64.");
/// A version's share of its model's traffic.
pub const SPLIT_WEIGHT: Metric =
    gauge("tidegate_split_weight", "Share of the model's unpinned traffic that the version gets, 0 to 1.");
/// Constant 1 with what is loaded as labels.
pub const MODEL_INFO: Metric =
    gauge("tidegate_model_info", "1 for every loaded version, with its engine and role as labels.");
/// How long the load took.
pub const REGISTRY_SYNC_AGE: Metric =
    gauge("tidegate_registry_sync_age_seconds", "Time since the model's registry last said what is wanted of it.");
/// Webhooks by sender and what became of them.
pub const HOOK_DELIVERIES: Metric = counter(
    "tidegate_hook_deliveries_total",
    "Webhooks that came to a configured sender, by outcome: accepted, repeated, refused; of refused ones with the reason: header, signature, time, body, origin.",
);
/// Loading time.
pub const MODEL_LOAD: Metric =
    gauge("tidegate_model_load_seconds", "Time to read, plan and warm the version, until it could serve.");
/// Swaps of the stable version.
pub const SWAPS: Metric = counter("tidegate_swaps_total", "Changes of the version that is stable.");
/// PSI over the window.
pub const DRIFT_PSI: Metric =
    gauge("tidegate_drift_psi", "Population stability index against the reference, over the window.");
/// Jensen-Shannon distance over the window.
pub const DRIFT_JS: Metric =
    gauge("tidegate_drift_js", "Jensen-Shannon distance (nats) against the reference, over the window.");
/// Kolmogorov-Smirnov statistic over the window.
pub const DRIFT_KS: Metric =
    gauge("tidegate_drift_ks", "Largest difference of the binned cumulative distributions, over the window.");
/// Wasserstein distance over the window.
pub const DRIFT_WASSERSTEIN: Metric = gauge(
    "tidegate_drift_wasserstein",
    "First Wasserstein distance in standard deviations of the reference, over the window.",
);
/// Weighted evidence of drift.
pub const DRIFT_EVIDENCE: Metric = gauge(
    "tidegate_drift_evidence",
    "Weighted evidence of drift or of defects since the best start, natural logarithm, as a share of the alarm's threshold: 1 raises the alarm. Refreshed in turns, every 16 s.",
);
/// PSI over the window, by segment.
pub const SEGMENT_DRIFT_PSI: Metric = gauge(
    "tidegate_segment_drift_psi",
    "Population stability index of a segment against the reference of all rows, over the window: of the features named in drift.bins_exported, and under an empty feature the largest of all columns with enough samples.",
);
/// Values that are not ordinary and requests that do not fit, by kind.
pub const DATA_QUALITY: Metric = counter(
    "tidegate_data_quality_total",
    "Values by kind of defect: missing, infinite, below_range, above_range, unseen_category; under an empty feature requests refused because they do not fit the model: wrong_shape, wrong_type, malformed.",
);
/// Columns that no longer vary.
pub const FEATURE_CONSTANT: Metric = gauge(
    "tidegate_feature_constant",
    "1 while all values of the window lie in one bin, which of the reference cannot be by chance, 0 while they do not; of columns with at least drift.min_samples values in the window.",
);
/// Rows of chosen features by coarse group.
pub const FEATURE_BIN: Metric = counter(
    "tidegate_feature_bin_total",
    "Values of the features in drift.bins_exported, by coarse group of their reference: 0, 1 and so on, rare, missing, infinite, unseen.",
);
/// The reference's share of each of these groups.
pub const FEATURE_BIN_REFERENCE: Metric =
    gauge("tidegate_feature_bin_reference", "Share of the reference's rows in the same group, 0 to 1.");
/// State of alerts.
pub const ALERT_STATE: Metric = gauge("tidegate_alert_state", "State of an alert: 0 resolved, 1 pending, 2 firing.");
/// Where each model's latest rollout stands.
pub const ROLLOUT_STATE: Metric =
    gauge("tidegate_rollout_state", "1 for the phase that the model's latest rollout is in, 0 for every other one.");
/// The share of the version that is rolled out.
pub const ROLLOUT_WEIGHT: Metric =
    gauge("tidegate_rollout_weight", "Share of the version that is rolled out, 0 to 1, as the rollout set it.");
/// Why a rollout waits.
pub const ROLLOUT_PAUSED: Metric = gauge(
    "tidegate_rollout_paused",
    "1 while a rollout waits where it stands, by reason: operator, gate, hook, inconclusive, blackout, sensor.",
);
/// Rollouts by what became of them.
pub const ROLLOUTS: Metric = counter(
    "tidegate_rollouts_total",
    "Rollouts that ended since the journal began, by outcome: promoted, rolled_back, failed (before it had a share), superseded.",
);
/// From the registration of a version to its promotion, summed.
pub const ROLLOUT_LEAD: Metric = counter(
    "tidegate_rollout_lead_seconds_total",
    "Time from the registration (or else the sighting) of a version until it had all traffic, summed over promotions.",
);
/// From the deciding reply to no share at all, summed.
pub const ROLLOUT_RESTORE: Metric = counter(
    "tidegate_rollout_restore_seconds_total",
    "Time from the reply that decided to no share at all, summed over rollouts that were rolled back.",
);
/// What a bounded queue had to drop.
pub const DROPPED: Metric = counter("tidegate_dropped_total", "Items dropped because a bounded queue was full.");
/// Copies of requests that were answered and compared.
pub const SHADOW_COMPARED: Metric = counter(
    "tidegate_shadow_compared_total",
    "Copies of requests that a version without a share has answered, and whose answers were compared with the stable version's.",
);
/// Copies of requests that failed.
pub const SHADOW_FAILED: Metric = counter(
    "tidegate_shadow_failed_total",
    "Copies of requests that could not be compared: the call failed or panicked, or answered another shape. No client saw it.",
);
/// Whether both versions say the same.
pub const SHADOW_AGREEMENT: Metric = gauge(
    "tidegate_shadow_agreement",
    "Share of compared rows whose label is the stable version's, 0 to 1; absent where outputs have no label.",
);
/// Whether state outlives the process.
pub const STATE_PERSISTENT: Metric = gauge(
    "tidegate_state_persistent",
    "1 while windows and alerts are written to the state database, 0 while they are not.",
);
/// Constant 1 with the build as labels.
pub const BUILD_INFO: Metric = gauge("tidegate_build_info", "1, with the version of tidegate as a label.");

/// All metrics.
pub const ALL: &[Metric] = &[
    REQUESTS,
    REQUEST_DURATION,
    REQUESTS_IN_FLIGHT,
    REQUESTS_HANDED_ON,
    QUEUE_LENGTH,
    CONNECTIONS,
    ROWS,
    SPLIT_WEIGHT,
    MODEL_INFO,
    REGISTRY_SYNC_AGE,
    HOOK_DELIVERIES,
    MODEL_LOAD,
    SWAPS,
    DRIFT_PSI,
    DRIFT_JS,
    DRIFT_KS,
    DRIFT_WASSERSTEIN,
    DRIFT_EVIDENCE,
    SEGMENT_DRIFT_PSI,
    DATA_QUALITY,
    FEATURE_CONSTANT,
    FEATURE_BIN,
    FEATURE_BIN_REFERENCE,
    ALERT_STATE,
    ROLLOUT_STATE,
    ROLLOUT_WEIGHT,
    ROLLOUT_PAUSED,
    ROLLOUTS,
    ROLLOUT_LEAD,
    ROLLOUT_RESTORE,
    DROPPED,
    SHADOW_COMPARED,
    SHADOW_FAILED,
    SHADOW_AGREEMENT,
    STATE_PERSISTENT,
    BUILD_INFO,
];
