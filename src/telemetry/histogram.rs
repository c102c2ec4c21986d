//! Bucketed durations as Prometheus text.
//!
//! The exporter of the `metrics` facade keeps every raw sample until it is scraped; our durations are bucketed already,
//! in the workers' shards. So the histogram families are written here, beside what the exporter renders.
//!
//! Invariant: buckets are cumulative, end in `+Inf`, and the `+Inf` bucket equals the count.

use super::names::Metric;
use std::fmt::Write;

/// Upper bounds of the exported buckets, in nanoseconds: 1-2.5-5 from 10 µs to 10 s. Fine enough for the microseconds
/// that a tabular model takes and coarse enough to stay cheap at 21 series a phase.
pub const BUCKET_BOUNDS_NS: &[u64] = &[
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
];

/// One labelled histogram: fine counts with the upper bound of each fine bin, and the sum.
#[derive(Debug, Clone)]
pub struct Buckets<'a> {
    /// Label names and values.
    pub labels: Vec<(&'static str, &'a str)>,
    /// (upper bound in nanoseconds, count) of each fine bin that holds anything, in ascending order.
    pub bins: Vec<(u64, u64)>,
    /// Sum of all durations, nanoseconds.
    pub sum_ns: u64,
}

/// Writes a histogram family in Prometheus' text format, version 0.0.4.
///
/// A fine bin is counted in the first bucket whose bound is not below the bin's upper bound, so a bucket may miss the
/// part of one fine bin (6 % of its value) that straddles its bound: never the other way round.
pub fn write_family(out: &mut String, metric: &Metric, families: &[Buckets<'_>]) {
    if families.is_empty() {
        return;
    }
    // Writing to a String cannot fail, here and below.
    let _ = writeln!(out, "# HELP {} {}\n# TYPE {} histogram", metric.name, metric.help, metric.name);
    for family in families {
        let labels = label_text(&family.labels);
        let mut bins = family.bins.iter().peekable();
        let mut cumulative = 0;
        for &bound in BUCKET_BOUNDS_NS {
            while let Some((_, count)) = bins.next_if(|(upper, _)| *upper <= bound) {
                cumulative += count;
            }
            let _ = writeln!(out, "{}_bucket{{{labels}le=\"{}\"}} {cumulative}", metric.name, seconds(bound));
        }
        cumulative += bins.map(|(_, count)| count).sum::<u64>();
        let _ = writeln!(out, "{}_bucket{{{labels}le=\"+Inf\"}} {cumulative}", metric.name);
        let bare = labels.trim_end_matches(',');
        let _ = writeln!(out, "{}_sum{{{bare}}} {}", metric.name, seconds(family.sum_ns));
        let _ = writeln!(out, "{}_count{{{bare}}} {cumulative}", metric.name);
    }
}

/// `name="value",` of each label, escaped.
pub(super) fn label_text(labels: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, value) in labels {
        let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let _ = write!(text, "{name}=\"{escaped}\",");
    }
    text
}

#[expect(clippy::cast_precision_loss, reason = "a sum of nanoseconds past 2^53 (104 days) may lose its last digits")]
fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::names::REQUEST_DURATION;

    #[test]
    fn no_family_writes_nothing() {
        let mut out = String::new();
        write_family(&mut out, &REQUEST_DURATION, &[]);
        assert!(out.is_empty());
    }

    #[test]
    fn buckets_are_cumulative_and_infinity_equals_the_count() {
        let mut out = String::new();
        let bins = vec![(9_000, 2), (26_000, 3), (20_000_000_000, 1)];
        let family = Buckets { labels: vec![("model", "a\"b")], bins, sum_ns: 1_500_000_000 };
        write_family(&mut out, &REQUEST_DURATION, &[family]);
        let name = REQUEST_DURATION.name;
        assert!(out.contains(&format!("{name}_bucket{{model=\"a\\\"b\",le=\"0.00001\"}} 2\n")), "{out}");
        assert!(out.contains(&format!("{name}_bucket{{model=\"a\\\"b\",le=\"0.000025\"}} 2\n")));
        assert!(out.contains(&format!("{name}_bucket{{model=\"a\\\"b\",le=\"0.00005\"}} 5\n")));
        assert!(out.contains(&format!("{name}_bucket{{model=\"a\\\"b\",le=\"+Inf\"}} 6\n")));
        assert!(out.contains(&format!("{name}_sum{{model=\"a\\\"b\"}} 1.5\n")));
        assert!(out.contains(&format!("{name}_count{{model=\"a\\\"b\"}} 6\n")));
    }
}
