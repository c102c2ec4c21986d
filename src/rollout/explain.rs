//! Why things were done: every entry of a rollout's journal in words, and each decision made again from its entry alone.
//!
//! What a decision was made of is in its entry: the counts, how many were needed, the frozen counts of the stable
//! version; how it is judged was written down when the rollout was armed. So anybody who has the journal can repeat it,
//! on another machine and without any of the traffic: [`explain_again`] does, from an explanation that was kept.
//!
//! Invariant: a decision counts as repeated only if the judgement is the same to the bit, its words left out, which an earlier
//! release may have chosen otherwise.

use super::journal::{Decision, Entry, JournalError, Record, Subject};
use super::judging::{JudgingPlan, judge_bake, judge_guards, judge_step};
use super::{ExplainedEntry, Explanation, Judgement, Order, RolloutView, judge_shadow};

/// A journal in words. Entries come with their numbers in the store.
#[must_use]
pub fn explain(rollout: RolloutView, records: &[(u64, Record)]) -> Explanation {
    let mut judging: Option<&JudgingPlan> = None;
    let mut entries = Vec::with_capacity(records.len());
    for (sequence, record) in records {
        if let Entry::Armed { judging: armed } = &record.entry {
            judging = Some(armed);
        }
        let again = match &record.entry {
            Entry::Decision(decision) => judging
                .and_then(|judging| judged_again(judging, decision))
                .map(|again| (again.is_same(&decision.judgement), again)),
            _ => None,
        };
        entries.push(ExplainedEntry {
            sequence: *sequence,
            at: record.at,
            summary: summary(&record.entry),
            entry: serde_json::to_value(&record.entry).unwrap_or_default(),
            replayed: again.as_ref().map(|(is_same, _)| *is_same),
            judged: again.filter(|(is_same, _)| !is_same).map(|(_, again)| again),
        });
    }
    Explanation { rollout, entries }
}

/// An explanation that was kept, its decisions made again here.
///
/// # Errors
/// When an entry is none that this release knows.
pub fn explain_again(kept: &Explanation) -> Result<Explanation, JournalError> {
    let record = |(place, kept): (u64, &ExplainedEntry)| {
        let entry = serde_json::from_value(kept.entry.clone())?;
        Ok((kept.sequence, Record { generation: place, at: kept.at, entry }))
    };
    let records: Result<Vec<_>, JournalError> = (1..).zip(&kept.entries).map(record).collect();
    Ok(explain(kept.rollout.clone(), &records?))
}

fn judged_again(judging: &JudgingPlan, decision: &Decision) -> Option<Judgement> {
    match decision.subject {
        Subject::Step => Some(judge_step(judging, &decision.counts, decision.needed)),
        Subject::Guards => Some(judge_guards(judging, &decision.guards, decision.frozen.as_ref())),
        Subject::Bake => decision.frozen.as_ref().map(|frozen| judge_bake(judging, frozen, &decision.counts)),
        Subject::Shadow => decision.copies.as_ref().map(|copies| judge_shadow(&copies.rule, &copies.counts)),
    }
}

fn summary(entry: &Entry) -> String {
    match entry {
        Entry::Started(beginning) => {
            let (target, stable, by) = (beginning.target, beginning.stable, &beginning.by);
            let steps: Vec<String> = beginning.plan.steps.iter().map(|step| percent(step.weight)).collect();
            let way = match (&beginning.test, beginning.fast) {
                (Some(test), _) => format!("a test at {} %: {}", test.weight, test.question),
                (None, true) => "at once, as it was stable lately".to_owned(),
                (None, false) => format!("in steps of {}", steps.join(", ")),
            };
            format!("started by {by}: from version {stable} to version {target}, {way}")
        }
        Entry::Armed { .. } => "what is counted and how it is judged is fixed".to_owned(),
        Entry::Moved { to, weight, reason, .. } => format!("{} at {}: {reason}", to.name(), percent(*weight)),
        Entry::Paused { reason, .. } => format!("waits: {reason}"),
        Entry::Continued { reason } => format!("goes on: {reason}"),
        Entry::Decision(decision) => decided(decision),
        Entry::Counted { .. } => "what was counted so far".to_owned(),
        Entry::Ordered { order, by } => format!("{by} said: {}", order_name(order)),
        Entry::Hook { name, yes, text, .. } => {
            format!("the hook {name} {}: {text}", if *yes { "agrees" } else { "does not agree" })
        }
        Entry::Newer { version, action, .. } => format!("version {version} is wanted now: {action:?}").to_lowercase(),
        Entry::Champion { version: Some(version) } => format!("the registry's stable version is {version}"),
        Entry::Champion { version: None } => "the registry has no stable version".to_owned(),
        Entry::WriteBack { what, failed: None } => format!("the registry was told: {what}"),
        Entry::WriteBack { what, failed: Some(cause) } => format!("the registry was not told ({what}): {cause}"),
        Entry::Problem { what } => format!("a problem: {what}"),
        Entry::Restarted => "the process began anew; counting goes on from what was written down".to_owned(),
        Entry::Ended { outcome, reason, .. } => format!("ended as {}: {reason}", outcome.name()),
    }
}

fn decided(decision: &Decision) -> String {
    let of = match decision.subject {
        Subject::Shadow => "copies",
        Subject::Step => "step",
        Subject::Guards => "guards",
        Subject::Bake => "bake",
    };
    let (phase, reason) = (decision.phase.name(), &decision.reason);
    format!("decided on the {of} in {phase}: {reason}{}", hours(decision))
}

/// The hours of the week that predictions were compared with besides.
fn hours(decision: &Decision) -> String {
    let known = decision.counts.iter().filter_map(|part| part.hour.as_ref());
    let mut hours: Vec<String> = known.map(|hour| hour.hour.to_string()).collect();
    hours.dedup();
    if hours.is_empty() { String::new() } else { format!(" (hours of the week: {})", hours.join(", ")) }
}

fn order_name(order: &Order) -> &'static str {
    match order {
        Order::Start { .. } => "start",
        Order::Pause => "pause",
        Order::Resume => "resume",
        Order::Promote => "promote",
        Order::Abort => "abort",
    }
}

fn percent(weight: u16) -> String {
    format!("{} %", f64::from(weight) / 100.0)
}
