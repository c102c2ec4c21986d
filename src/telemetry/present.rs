//! Series of what is there now, written at once: a state that has ended leaves no series behind.
//!
//! What the exporter of the `metrics` facade was told it shows until it has been idle for minutes, which is right for
//! counts and wrong for "this is so now". Sums that are no whole numbers are written here as well, because its counters
//! are whole.
//!
//! Invariant: a family without samples writes nothing.

use super::histogram::label_text;
use super::names::{Metric, MetricKind};
use std::fmt::Write;

/// One series.
#[derive(Debug, Clone)]
pub struct Sample<'a> {
    /// Label names and values.
    pub labels: Vec<(&'static str, &'a str)>,
    /// What it is now.
    pub value: f64,
}

/// Writes a family of gauges or counters in Prometheus' text format, version 0.0.4.
pub fn write_present(out: &mut String, metric: &Metric, samples: &[Sample<'_>]) {
    if samples.is_empty() {
        return;
    }
    let kind = if metric.kind == MetricKind::Counter { "counter" } else { "gauge" };
    // Writing to a String cannot fail, here and below.
    let _ = writeln!(out, "# HELP {} {}\n# TYPE {} {kind}", metric.name, metric.help, metric.name);
    for sample in samples {
        let labels = label_text(&sample.labels);
        let _ = writeln!(out, "{}{{{}}} {}", metric.name, labels.trim_end_matches(','), sample.value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::names::{ROLLOUT_LEAD, ROLLOUT_STATE};

    #[test]
    fn a_family_is_described_once_and_only_if_there_is_anything() {
        let mut out = String::new();
        write_present(&mut out, &ROLLOUT_STATE, &[]);
        assert!(out.is_empty());
        let sample = |model, value| Sample { labels: vec![("model", model), ("phase", "canary")], value };
        write_present(&mut out, &ROLLOUT_STATE, &[sample("a\"b", 1.0), sample("c", 0.0)]);
        let lines: Vec<&str> = out.lines().collect();
        assert_eq!(lines.len(), 4, "{out}");
        assert_eq!(lines[1], "# TYPE tidegate_rollout_state gauge");
        assert_eq!(lines[2], "tidegate_rollout_state{model=\"a\\\"b\",phase=\"canary\"} 1");
        write_present(&mut out, &ROLLOUT_LEAD, &[Sample { labels: vec![("model", "m")], value: 0.25 }]);
        assert!(out.ends_with("counter\ntidegate_rollout_lead_seconds_total{model=\"m\"} 0.25\n"), "{out}");
    }
}
