//! From what the judge and the catalog know to a report.
//!
//! Invariant: columns are sorted by how much they drifted; the order is the same for the same numbers.

use super::alarm::alarm;
use super::columns::{column, window};
use super::parts::{Answers, ColumnPart, DriftOverTime, FORMAT, Rate, ReferencePart, Report, VersionPart};
use super::text::rounded;
use crate::alert::rules::rfc3339;
use crate::detect::Verdict;
use crate::judge::{RateReport, VersionReport, WindowInfo};
use crate::observe::{REFUSAL_KINDS, RecordedColumn};
use crate::profile::Profile;
use std::time::Duration;

/// Columns that a summary names.
const NAMED: usize = 5;

/// What a report may show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Names of categories, which are values of the training data. Default no.
    pub names: bool,
}

/// A version that is reported on.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// What the judge found.
    pub judged: &'a VersionReport,
    /// Its columns, in the order of the judge's.
    pub columns: &'a [RecordedColumn],
    /// What it is compared with, if there is such a profile.
    pub profile: Option<&'a Profile>,
    /// Its share of the traffic, percent.
    pub weight: f64,
    /// Requests that did not fit its signature, in the order of [`RefusalKind::ALL`](crate::observe::RefusalKind::ALL).
    pub refusals: [u64; REFUSAL_KINDS],
}

/// The report on versions of a model, as of `now`, unix time.
#[must_use]
pub fn report(model: &str, subjects: &[Subject<'_>], now: Duration, options: &Options) -> Report {
    Report {
        format: FORMAT,
        model: model.to_owned(),
        generated_at: rfc3339(now),
        versions: subjects.iter().map(|subject| version(subject, options)).collect(),
    }
}

fn version(subject: &Subject<'_>, options: &Options) -> VersionPart {
    let judged = subject.judged;
    let shown = judged.columns.iter().enumerate();
    let mut columns: Vec<ColumnPart> = shown.map(|(index, shown)| column(subject, index, shown, options)).collect();
    columns.sort_by(|left, right| severity(right).partial_cmp(&severity(left)).unwrap_or(std::cmp::Ordering::Equal));
    let history = &judged.history;
    let primary = window(&WindowInfo::Sliding { length: judged.window, resolution: judged.resolution });
    VersionPart {
        version: judged.version.to_string(),
        arm: judged.arm.to_owned(),
        weight: rounded(subject.weight),
        verdict: judged.verdict,
        summary: summary(judged, &columns),
        windows: std::iter::once(primary).chain(judged.windows.iter().map(window)).collect(),
        samples: judged.samples,
        reference: subject.profile.map(|profile| ReferencePart {
            rows: profile.rows,
            source: profile.source,
            created: profile.created.clone(),
            learned_from_traffic: profile.frozen_from_traffic,
        }),
        answers: answers(subject),
        drift: DriftOverTime {
            start: (!history.is_empty()).then(|| rfc3339(history.start())),
            step_seconds: rounded(history.step().as_secs_f64()),
            points: history.len(),
        },
        columns,
    }
}

/// What columns are sorted by: a verdict of drift first, then PSI beyond chance; what has none comes last.
fn severity(column: &ColumnPart) -> (bool, f64) {
    (column.verdict == Verdict::Drift, column.psi_excess.unwrap_or(f64::NEG_INFINITY))
}

/// The verdict in words.
fn summary(judged: &VersionReport, columns: &[ColumnPart]) -> String {
    let drifted: Vec<&str> =
        columns.iter().filter(|column| column.verdict == Verdict::Drift).map(|column| column.name.as_str()).collect();
    let more = if drifted.len() > NAMED { ", …" } else { "" };
    let names = drifted[..drifted.len().min(NAMED)].join(", ") + more;
    let number = match drifted.len() {
        0 => return without_drift(judged, columns),
        1 => format!("1 of {} columns drifts", columns.len()),
        many => format!("{many} of {} columns drift", columns.len()),
    };
    let whole = if judged.verdict == Verdict::Drift {
        "that is drift of the version"
    } else {
        "too few for a verdict of drift on the version"
    };
    format!("{number} ({names}); {whole}.")
}

fn without_drift(judged: &VersionReport, columns: &[ColumnPart]) -> String {
    match judged.verdict {
        Verdict::NoReference => {
            "There is no reference profile that fits this version, so drift is not judged; /drift gives the reason."
                .to_owned()
        }
        Verdict::NotEnoughData => format!(
            "Not enough data: a verdict needs {} values of at least half of the features within the window.",
            judged.settings.drift.min_samples
        ),
        Verdict::Ok | Verdict::Drift => format!("No drift in {} columns.", columns.len()),
    }
}

fn answers(subject: &Subject<'_>) -> Answers {
    let found = &subject.judged.answers;
    let seconds = |nanoseconds: u64| rounded(Duration::from_nanos(nanoseconds).as_secs_f64());
    Answers {
        window_seconds: rounded(subject.judged.settings.latency.window.as_secs_f64()),
        verdict: found.latency.verdict,
        requests: found.latency.requests,
        p50_seconds: found.latency.p50_ns.map(seconds),
        p99_seconds: found.latency.p99_ns.map(seconds),
        p99_limit_seconds: seconds(found.latency.p99_limit_ns),
        slow: rate(&found.slow),
        failed: rate(&found.failed),
        refused: rate(&found.refused),
        unfit: subject.refusals,
    }
}

fn rate(found: &RateReport) -> Rate {
    Rate {
        events: found.events,
        trials: found.trials,
        allowed: found.allowed,
        alarm: found.finding.as_ref().map(alarm),
    }
}
