//! What `/drift` shows: distances and verdicts of every version, over every window.
//!
//! Shapes are promises: fields are added, never renamed or removed.
//!
//! | of a column | over | what |
//! |---|---|---|
//! | `psi`, `js`, `tv`, `psi_excess` | every window, the last tumbling ones, the season | by coarse group |
//! | `ks`, `wasserstein` | the primary window, since deploy | along the number line; `wasserstein` over σ |
//! | `l_infinity`, `hellinger`, `chi_square` | the primary window | by coarse group; chi-square per row, which is its effect |
//! | `wasserstein_error` | the primary window | how far binning can have moved `wasserstein` |
//! | `intervals` | the primary window | 95 % intervals of the distances by their names, `{"low", "high"}` or null; none of `psi_excess` |
//!
//! What the primary window alone has stands in the column itself. Intervals are of the distance of the populations, so
//! that of the samples, which noise makes larger, can lie above its own. They are computed when somebody asks.
//!
//! Invariant: nothing that is not finite is written; a distance that does not exist is null.

use crate::alert::rules::{alarm_view, rfc3339};
use crate::catalog::Entry;
use crate::detect::Distances;
use crate::judge::{
    BlockReport, ColumnQuality, ColumnReport, Measure, RateReport, SegmentColumn, SegmentReport, VersionReport,
    WindowInfo,
};
use crate::observe::{DEFECTS, RecordedColumn, Side};
use crate::report::length_name;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// `GET /api/v1/models/{m}/drift`.
pub(super) fn drift(entry: &Entry, reports: &[VersionReport], segment: Option<&str>) -> Value {
    let of_model = reports.iter().filter(|report| report.model == entry.name);
    let recorded = |report: &VersionReport| entry.loaded.get(&report.version).map(|model| model.recorder.columns());
    let versions: Vec<Value> =
        of_model.map(|report| version(report, recorded(report).unwrap_or_default(), segment)).collect();
    json!({ "model": entry.name, "versions": versions })
}

/// The segment that a query asks for: `segment=…`, as in a URL. The texts of segments have `%` of their own, which a
/// client that builds its query properly encodes again.
pub(super) fn segment_of_query(query: Option<&str>) -> Option<String> {
    let value = query?.split('&').find_map(|pair| pair.strip_prefix("segment="))?.replace('+', " ");
    Some(percent_decode_str(&value).decode_utf8_lossy().into_owned())
}

fn version(report: &VersionReport, recorded: &[RecordedColumn], segment: Option<&str>) -> Value {
    let of_side = |side: Side| -> Vec<Value> {
        let columns = report.columns.iter().enumerate().filter(|(_, column)| column.side == side);
        columns.map(|(index, shown)| column(report, index, shown, recorded)).collect()
    };
    let mut view = json!({
        "version": report.version.to_string(),
        "arm": report.arm,
        "window": humantime::format_duration(report.window).to_string().replace(' ', ""),
        "samples": report.samples,
        "verdict": report.verdict,
        "reference": report.reference.as_ref().map(|reference| if reference.is_learned { "learned" } else { "profile" }),
        "reference_note": report.reference.as_ref().and_then(|reference| reference.note.as_deref()),
        "reason": report.no_reference,
        "windows": windows(report),
        "slow": rate(&report.answers.slow),
        "failed": rate(&report.answers.failed),
        "refused": rate(&report.answers.refused),
        "features": of_side(Side::Input),
        "outputs": of_side(Side::Output),
    });
    if !report.segments.is_empty() {
        view["segments"] = segments(report, segment);
    }
    view
}

/// Every segment, or the one of this text.
fn segments(report: &VersionReport, wanted: Option<&str>) -> Value {
    let column = |found: &SegmentColumn| {
        let mut view = measure(&found.measure);
        view["name"] = json!(report.columns.get(found.column).map(|column| &column.name));
        view["verdict"] = json!(found.verdict);
        view
    };
    let of_side = |segment: &SegmentReport, side: Side| -> Vec<Value> {
        let is_of_side =
            |found: &&SegmentColumn| report.columns.get(found.column).is_some_and(|column| column.side == side);
        segment.columns.iter().filter(is_of_side).map(column).collect()
    };
    let shown = report.segments.iter().filter(|segment| wanted.is_none_or(|wanted| wanted == segment.value));
    shown
        .map(|segment| {
            json!({
                "value": segment.value,
                "samples": segment.samples,
                "features": of_side(segment, Side::Input),
                "outputs": of_side(segment, Side::Output),
            })
        })
        .collect()
}

/// What each window covers, by the name that columns use for it.
fn windows(report: &VersionReport) -> Value {
    let sliding = |length: Duration, resolution: Duration| json!({ "length_seconds": length.as_secs_f64(), "resolution_seconds": resolution.as_secs_f64() });
    let mut shown = Map::new();
    shown.insert(length_name(report.window), sliding(report.window, report.resolution));
    for window in &report.windows {
        let view = match *window {
            WindowInfo::Sliding { length, resolution } => sliding(length, resolution),
            WindowInfo::SinceDeploy => json!({}),
            WindowInfo::Decayed { half_life } => json!({ "half_life_seconds": half_life.as_secs_f64() }),
        };
        shown.insert(name(window), view);
    }
    Value::Object(shown)
}

fn column(report: &VersionReport, index: usize, column: &ColumnReport, recorded: &[RecordedColumn]) -> Value {
    let distances = column.distances;
    let detail = report.detail(index, recorded);
    json!({
        "name": column.name,
        "samples": column.samples,
        "psi": distances.map(|distances| distances.psi),
        "ks": distances.and_then(|distances| distances.ks),
        "js": distances.map(|distances| distances.js),
        "wasserstein": distances.and_then(|distances| distances.wasserstein),
        "wasserstein_error": distances.and_then(|distances| distances.wasserstein_error),
        "tv": distances.map(|distances| distances.tv),
        "l_infinity": distances.map(|distances| distances.l_infinity),
        "hellinger": distances.map(|distances| distances.hellinger),
        "chi_square": detail.chi_square,
        "intervals": detail.intervals,
        "psi_excess": column.excess,
        "verdict": column.verdict,
        "alarm_since": column.raised().next().map(|finding| rfc3339(finding.at)),
        "alarm": column.raised().next().map(alarm_view),
        "alarms": column.raised().map(alarm_view).collect::<Vec<Value>>(),
        "evidence": column.evidence.map(|(ln_evidence, _)| ln_evidence),
        "evidence_threshold": column.evidence.map(|(_, ln_threshold)| ln_threshold),
        "test": column.outcome,
        "season": column.season.as_ref().map(measure),
        "quality": column.quality.as_ref().map(quality),
        "windows": column_windows(report, column),
        "tumbling": tumbling(&report.blocks, index),
    })
}

/// Shares of defects over the primary window and their counts; null for what a column of its kind cannot have.
fn quality(quality: &ColumnQuality) -> Value {
    let mut view = json!({ "constant": quality.constant, "samples": quality.samples });
    let mut counts = Map::new();
    for kind in DEFECTS {
        let count = quality.defects.iter().find(|(found, _)| *found == kind).map(|(_, count)| *count);
        view[kind] = json!(count.map(|count| share(count, quality.samples)));
        counts.insert(kind.to_owned(), json!(count));
    }
    view["counts"] = Value::Object(counts);
    view
}

#[expect(clippy::cast_precision_loss, reason = "counts in a window are far below 2^53, and a share needs no more")]
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn column_windows(report: &VersionReport, column: &ColumnReport) -> Value {
    let mut shown = Map::new();
    for (window, measured) in report.windows.iter().zip(&column.windows) {
        let mut view = measure(measured);
        if *window == WindowInfo::SinceDeploy {
            along_the_line(&mut view, column.since_deploy.as_ref());
        }
        shown.insert(name(window), view);
    }
    let mut primary = json!({
        "samples": column.samples,
        "psi": column.distances.map(|distances| distances.psi),
        "js": column.distances.map(|distances| distances.js),
        "tv": column.distances.map(|distances| distances.tv),
        "psi_excess": column.excess,
    });
    along_the_line(&mut primary, column.distances.as_ref());
    shown.insert(length_name(report.window), primary);
    Value::Object(shown)
}

/// The distances that need fine bins.
fn along_the_line(view: &mut Value, distances: Option<&Distances>) {
    view["ks"] = json!(distances.and_then(|distances| distances.ks));
    view["wasserstein"] = json!(distances.and_then(|distances| distances.wasserstein));
}

fn tumbling(blocks: &[std::sync::Arc<BlockReport>], index: usize) -> Value {
    let mut shown = Map::new();
    for block in blocks {
        if let Some(measured) = block.columns.get(index) {
            let mut view = measure(measured);
            view["start"] = json!(rfc3339(block.start));
            shown.insert(length_name(block.length), view);
        }
    }
    Value::Object(shown)
}

fn measure(measured: &Measure) -> Value {
    let distances = measured.distances;
    json!({
        "samples": measured.samples,
        "psi": distances.map(|distances| distances.psi),
        "js": distances.map(|distances| distances.js),
        "tv": distances.map(|distances| distances.tv),
        "psi_excess": distances.map(|distances| distances.excess),
    })
}

fn rate(rate: &RateReport) -> Value {
    json!({
        "events": rate.events,
        "trials": rate.trials,
        "allowed": rate.allowed,
        "alarm_since": rate.finding.as_ref().map(|finding| rfc3339(finding.at)),
        "alarm": rate.finding.as_ref().map(alarm_view),
    })
}

fn name(window: &WindowInfo) -> String {
    match window {
        WindowInfo::Sliding { length, .. } => length_name(*length),
        WindowInfo::SinceDeploy => "since_deploy".to_owned(),
        WindowInfo::Decayed { .. } => "decayed".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_asks_for_a_segment_by_its_text() {
        let asked = |query: &str| segment_of_query(Some(query));
        assert_eq!((segment_of_query(None), asked(""), asked("segments=a")), (None, None, None));
        assert_eq!(asked("x=1&segment=acme+EU%20a&segment=b"), Some("acme EU a".into()));
        assert_eq!(asked("segment=100%2525"), Some("100%25".into()));
        assert_eq!(asked("segment=%FF%"), Some("\u{fffd}%".into()));
    }
}
