//! Numbers, times and tables as people read them.
//!
//! Invariant: columns of a table stand below each other, and no line ends in a blank.

use crate::detect::two_arm::Effect;
use crate::rollout::{MetricJudgement, Phase, Progress, RolloutView};
use std::time::{Duration, SystemTime};

/// Digits of a number that say something.
const SIGNIFICANT: i32 = 3;

/// Where a rollout stands.
pub(super) fn phase(phase: Phase) -> String {
    match phase {
        Phase::Canary { step } => format!("canary, step {}", step + 1),
        other => other.name().replace('_', " "),
    }
}

/// A rollout's share.
pub(super) fn percent(weight: f64) -> String {
    format!("{weight} %")
}

/// A time of the journal.
pub(super) fn time(unix_milliseconds: u64) -> String {
    // What is beyond any calendar is a broken answer, and is told as the beginning of time.
    let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(unix_milliseconds));
    let is_told = |at: &SystemTime| *at < SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_800);
    humantime::format_rfc3339_seconds(at.filter(is_told).unwrap_or(SystemTime::UNIX_EPOCH)).to_string()
}

/// How long ago something was, in its two largest units.
pub(super) fn ago(now: u64, then: u64) -> String {
    let seconds = Duration::from_secs(now.saturating_sub(then) / 1_000);
    let text = humantime::format_duration(seconds).to_string();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// A number with three digits that say something.
pub(super) fn number(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    let digits = SIGNIFICANT - 1 - value.abs().log10().floor() as i32;
    let text = format!("{value:.*}", usize::try_from(digits.clamp(0, 12)).unwrap_or(0));
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// A difference with its interval.
pub(super) fn effect(effect: Option<&Effect>) -> String {
    effect.map_or("-".to_owned(), |effect| {
        let Effect { value, interval } = effect;
        format!("{} [{}, {}]", number(*value), number(interval.low), number(interval.high))
    })
}

/// The looks at metrics as a table.
pub(super) fn metrics(metrics: &[MetricJudgement]) -> String {
    let head = ["METRIC", "VERDICT", "EVIDENCE", "NEEDED", "CANARY", "STABLE", "DIFFERENCE, 95 %", "TOLERATED"];
    let row = |metric: &MetricJudgement| {
        vec![
            metric.metric.clone(),
            metric.verdict.name().replace('_', " "),
            format!("e^{}", number(metric.ln_evidence)),
            format!("e^{}", number(metric.ln_threshold)),
            metric.canary.to_string(),
            metric.stable.to_string(),
            effect(metric.effect.as_ref()),
            number(metric.tolerance),
        ]
    };
    table(&head, &metrics.iter().map(row).collect::<Vec<_>>())
}

/// A head and rows below each other.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let head: Vec<String> = head.iter().map(|word| (*word).to_owned()).collect();
    let all = || std::iter::once(&head).chain(rows);
    let width = |column: usize| all().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let line = |row: &Vec<String>| {
        let cells = row.iter().enumerate().map(|(column, cell)| format!("{cell:<0$}", width(column).unwrap_or(0)));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    all().map(|row| line(row) + "\n").collect()
}

/// What a rollout needs before it goes on.
pub(super) fn missing(view: &RolloutView) -> Vec<String> {
    use crate::rollout::{Pause, Verdict};
    if view.phase.is_ended() {
        return Vec::new();
    }
    let model = &view.model;
    let said = match view.pause {
        None => None,
        Some(Pause::Operator) => Some(format!("somebody paused it; `tidegate rollout resume {model}` goes on")),
        Some(Pause::Gate) => Some(format!("its plan wants somebody's word: `tidegate rollout resume {model}` goes on")),
        Some(Pause::Hook) => Some("a hook has to agree; it is asked again and again".to_owned()),
        Some(Pause::Inconclusive) => Some(format!(
            "the step had its time and there is no verdict; more requests may give one, `tidegate rollout resume {model}` \
             goes on without"
        )),
        Some(Pause::Blackout) => {
            Some("these are hours in which no share grows; it goes on by itself after them".to_owned())
        }
        Some(Pause::Sensor) => {
            Some("what is judged cannot be trusted, or what is decided cannot be written down".to_owned())
        }
    };
    let metrics = view.judgement.iter().flat_map(|judgement| &judgement.metrics);
    let broken = metrics.filter(|metric| metric.verdict == Verdict::SensorError).map(MetricJudgement::sentence);
    let broken = broken.filter(|sentence| !view.reason.contains(sentence));
    let more = view.progress.iter().flat_map(|progress| progress.missing.clone());
    said.into_iter().chain(more).chain(broken).collect()
}

/// How far it is where it stands.
pub(super) fn far(progress: &Progress, at: Phase) -> String {
    let Progress { next, next_weight, requests, min_requests, seconds, min_seconds, max_seconds, .. } = progress;
    let lasting = |seconds: f64| humantime::format_duration(Duration::from_secs(seconds.max(0.0) as u64)).to_string();
    let what = if at == Phase::Shadow { "copies" } else { "requests" };
    let counted = match min_requests {
        0 => format!("{requests} {what}"),
        needed => format!("{requests} of {needed} {what} needed"),
    };
    let timeout = progress.on_timeout.and_then(|action| serde_json::to_value(action).ok());
    let timeout = timeout.as_ref().and_then(|action| action.as_str()).unwrap_or_default();
    let longest = max_seconds
        .map_or(String::new(), |longest| format!("; without a verdict after {}: {timeout}", lasting(longest)));
    format!(
        "{counted}, {} of at least {}; next is {} at {}{longest}",
        lasting(*seconds),
        lasting(*min_seconds),
        phase(*next),
        percent(*next_weight)
    )
}

/// The beginning of a text, where there is no room for more.
pub(super) fn beginning(text: &str, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        Some((end, _)) => format!("{}…", text[..end].trim_end()),
        None => text.to_owned(),
    }
}
