//! Metrics and logs: every name, the registered series, and the page that Prometheus reads.
//!
//! Counting happens elsewhere, in integers that one worker owns. This room only turns totals into text, when somebody
//! asks: [`Telemetry::counter_total`] and [`Telemetry::gauge`] hand totals to the `metrics` facade, whose exporter
//! renders them. A recorder of our own instead of the global one lets several gateways live in one process, as tests do.
//!
//! A version that is loaded anew counts from zero again. [`Telemetry::counter_total`] therefore takes the identity of
//! the thing that counts and carries the old total over, so an exported counter never goes back.
//!
//! Invariant: a series that nobody has set for [`SERIES_IDLE`] disappears, so retired versions do not pile up.

pub mod bars;
#[cfg(test)]
pub(crate) mod captured;
pub mod histogram;
pub mod limit;
pub mod logs;
pub mod names;
pub mod present;

use metrics::{Key, KeyName, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use metrics_util::MetricKindMask;
use names::{Metric, MetricKind};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How long a series outlives its last update. Ten minutes: longer than any sane scrape interval.
pub const SERIES_IDLE: Duration = Duration::from_mins(10);

/// The most counter series whose totals are carried over; past it the carry starts anew, which Prometheus reads as a
/// restart.
const CARRIED_SERIES_LIMIT: usize = 100_000;

/// The registered series of one gateway.
pub struct Telemetry {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    carried: Mutex<HashMap<Key, Carried>>,
}

/// Labels of a series.
pub type Labels<'a> = [(&'static str, &'a str)];

#[derive(Default)]
struct Carried {
    source: u64,
    finished: u64,
    latest: u64,
}

const METADATA: Metadata<'static> = Metadata::new("tidegate", Level::INFO, None);

impl Telemetry {
    /// An empty registry with every metric described.
    #[must_use]
    pub fn new() -> Self {
        let recorder = PrometheusBuilder::new().idle_timeout(MetricKindMask::ALL, Some(SERIES_IDLE)).build_recorder();
        for metric in names::ALL {
            let (name, help) = (KeyName::from_const_str(metric.name), metric.help.into());
            match metric.kind {
                MetricKind::Counter => recorder.describe_counter(name, None, help),
                MetricKind::Gauge => recorder.describe_gauge(name, None, help),
                MetricKind::Histogram => {}
            }
        }
        let handle = recorder.handle();
        Self { recorder, handle, carried: Mutex::new(HashMap::new()) }
    }

    /// Sets a gauge.
    pub fn gauge(&self, metric: &Metric, labels: &Labels<'_>, value: f64) {
        self.recorder.register_gauge(&key(metric, labels), &METADATA).set(value);
    }

    /// Sets a counter to the total that `source` has counted; what earlier sources counted is added.
    pub fn counter_total(&self, metric: &Metric, labels: &Labels<'_>, source: u64, total: u64) {
        let key = key(metric, labels);
        let counter = self.recorder.register_counter(&key, &METADATA);
        let mut carried = self.carried.lock().unwrap_or_else(PoisonError::into_inner);
        if carried.len() >= CARRIED_SERIES_LIMIT {
            carried.clear();
        }
        let entry = carried.entry(key).or_insert_with(|| Carried { source, ..Carried::default() });
        if entry.source != source {
            entry.finished += entry.latest;
            entry.source = source;
        }
        entry.latest = total;
        counter.absolute(entry.finished + total);
    }

    /// The page in Prometheus' text format, without histograms (see [`histogram::write_family`]).
    #[must_use]
    pub fn render(&self) -> String {
        self.handle.render()
    }
}

impl Default for Telemetry {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Telemetry {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Telemetry").finish_non_exhaustive()
    }
}

fn key(metric: &Metric, labels: &Labels<'_>) -> Key {
    let labels: Vec<Label> = labels.iter().map(|(name, value)| Label::new(*name, (*value).to_owned())).collect();
    Key::from_parts(metric.name, labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_conventions_and_are_unique() {
        for (index, metric) in names::ALL.iter().enumerate() {
            assert!(metric.name.starts_with("tidegate_"), "{}", metric.name);
            assert_eq!(metric.name.ends_with("_total"), metric.kind == MetricKind::Counter, "{}", metric.name);
            assert!(names::ALL[..index].iter().all(|other| other.name != metric.name), "{}", metric.name);
        }
    }

    #[test]
    fn a_counter_goes_on_when_its_source_starts_anew() {
        let telemetry = Telemetry::new();
        telemetry.counter_total(&names::ROWS, &[("model", "m")], 1, 40);
        telemetry.counter_total(&names::ROWS, &[("model", "m")], 1, 50);
        telemetry.counter_total(&names::ROWS, &[("model", "m")], 2, 7);
        assert!(telemetry.render().contains("tidegate_rows_total{model=\"m\"} 57"), "{}", telemetry.render());
    }

    #[test]
    fn label_values_are_escaped() {
        let telemetry = Telemetry::new();
        telemetry.gauge(&names::BUILD_INFO, &[("version", "a\"b\nc")], 1.0);
        assert!(telemetry.render().contains("version=\"a\\\"b\\nc\""), "{}", telemetry.render());
    }
}
