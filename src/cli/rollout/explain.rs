//! A journal for people: each entry in words, each decision with its numbers and whether it follows again from them.
//!
//! Invariant: no entry is left out, and a decision that does not follow again is never shown as one that does.

use super::words::{metrics, phase, time};
use crate::rollout::{ExplainedEntry, Explanation, Judgement, MetricJudgement, Verdict};
use serde_json::Value;
use std::fmt::Write;

/// How deep in an entry judgements are looked for.
const DEPTH: usize = 8;

/// The whole journal.
pub(super) fn text(explanation: &Explanation) -> String {
    let view = &explanation.rollout;
    let mut text = String::new();
    // Writing to a text cannot fail, here and below.
    let _ = writeln!(
        text,
        "{}: version {} after version {}, rollout {}: {}",
        view.model,
        view.target,
        view.stable,
        view.id,
        phase(view.phase)
    );
    explanation.entries.iter().for_each(|entry| write_entry(&mut text, entry));
    text
}

/// How many decisions do not follow again from what the journal says of them.
pub(super) fn not_identical(explanation: &Explanation) -> usize {
    explanation.entries.iter().filter(|entry| entry.replayed == Some(false)).count()
}

fn write_entry(text: &mut String, entry: &ExplainedEntry) {
    let _ = writeln!(text, "\n#{} {}  {}", entry.sequence, time(entry.at), entry.summary);
    let mut found = Vec::new();
    judgements(&entry.entry, DEPTH, &mut found);
    found.iter().for_each(|judgement| write_judgement(text, judgement, &entry.summary));
    match entry.replayed {
        Some(true) => text.push_str("    made again from these counts: identical\n"),
        Some(false) => text.push_str("    made again from these counts: NOT IDENTICAL\n"),
        None => {}
    }
    entry.judged.iter().for_each(|judgement| write_judgement(text, judgement, &entry.summary));
}

fn write_judgement(text: &mut String, judgement: &Judgement, summary: &str) {
    for line in metrics(&judgement.metrics).lines() {
        let _ = writeln!(text, "    {line}");
    }
    // The numbers are in the table; a summary that says the rest already need not be followed by the same.
    let is_told = |metric: &&MetricJudgement| matches!(metric.verdict, Verdict::Fail | Verdict::SensorError);
    let sentences = judgement.metrics.iter().filter(is_told).map(MetricJudgement::sentence);
    for sentence in sentences.filter(|sentence| !summary.contains(sentence)) {
        let _ = writeln!(text, "    {sentence}");
    }
}

/// Every judgement in an entry, wherever it is: entries differ in their form, a judgement does not.
fn judgements(value: &Value, depth: usize, found: &mut Vec<Judgement>) {
    if let Ok(judgement) = serde_json::from_value::<Judgement>(value.clone()) {
        return found.push(judgement);
    }
    let Some(depth) = depth.checked_sub(1) else { return };
    match value {
        Value::Object(members) => members.values().for_each(|member| judgements(member, depth, found)),
        Value::Array(items) => items.iter().for_each(|item| judgements(item, depth, found)),
        _ => {}
    }
}
