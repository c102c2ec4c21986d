//! Rollouts for people: all in a table, one with its reasons.
//!
//! Invariant: everything that a view says of where a rollout stands and why is in what is shown of one.

use super::words::{ago, beginning, effect, far, metrics, missing, number, percent, phase, table, time};
use crate::rollout::{Judgement, MetricJudgement, RolloutView, ShadowView, TestArm, TestView};
use std::fmt::Write;

/// The width of what stands before each line.
const LABELS: usize = 10;

/// The most characters of a reason in a table.
const REASON: usize = 60;

/// The latest rollout of every model.
pub(super) fn list(rollouts: &[RolloutView], now: u64) -> String {
    if rollouts.is_empty() {
        return "no model has had a rollout\n".to_owned();
    }
    let row = |view: &RolloutView| {
        let waits = view.pause.map_or(String::new(), |pause| format!(", waits: {}", pause.name()));
        vec![
            view.model.clone(),
            format!("{} -> {}", view.stable, view.target),
            phase(view.phase) + &waits,
            percent(view.weight),
            ago(now, view.since),
            view.id.clone(),
            beginning(&view.reason, REASON),
        ]
    };
    let head = ["MODEL", "VERSIONS", "PHASE", "SHARE", "SINCE", "ROLLOUT", "WHY"];
    table(&head, &rollouts.iter().map(row).collect::<Vec<_>>())
}

/// One rollout.
pub(super) fn rollout(view: &RolloutView, now: u64) -> String {
    let mut text = String::new();
    // Writing to a text cannot fail, here and below.
    let _ = writeln!(
        text,
        "{}: version {} after version {}, rollout {}, generation {}",
        view.model, view.target, view.stable, view.id, view.generation
    );
    let since = format!("{} since {} ({})", phase(view.phase), time(view.since), ago(now, view.since));
    line(&mut text, "phase", &since);
    line(&mut text, "share", &percent(view.weight));
    line(&mut text, "why", &view.reason);
    line(&mut text, "began", &format!("{} ({} ago)", time(view.started_at), ago(now, view.started_at)));
    view.ended_at.iter().for_each(|ended| line(&mut text, "ended", &time(*ended)));
    view.digest.iter().for_each(|digest| line(&mut text, "digest", digest));
    view.problem.iter().for_each(|problem| line(&mut text, "problem", problem));
    view.progress.iter().for_each(|progress| line(&mut text, "progress", &far(progress, view.phase)));
    missing(view).iter().for_each(|missing| line(&mut text, "to go on", missing));
    view.shadow.iter().for_each(|shadow| line(&mut text, "shadow", &of_shadow(shadow)));
    view.test.iter().for_each(|test| line(&mut text, "test", &of_test(test, view)));
    view.judgement.iter().for_each(|judgement| looked(&mut text, "last look", (judgement, view)));
    // What the guards decided was the last look.
    let guards = view.guards.iter().filter(|guards| view.judgement.as_ref() != Some(*guards));
    guards.for_each(|guards| looked(&mut text, "guards", (guards, view)));
    text
}

fn line(text: &mut String, label: &str, said: &str) {
    let mut label = label;
    for said in said.lines() {
        let _ = writeln!(text, "{label:<LABELS$} {said}");
        label = "";
    }
}

/// A look at metrics: its verdict, the numbers, and the sentences of those that failed, unless they are the reason why the
/// rollout stands where it does, which is shown.
fn looked(text: &mut String, label: &str, (judgement, view): (&Judgement, &RolloutView)) {
    line(text, label, &judgement.verdict.name().replace('_', " "));
    if !judgement.metrics.is_empty() {
        line(text, "", &metrics(&judgement.metrics));
    }
    let sentences = judgement.failed().map(MetricJudgement::sentence);
    sentences.filter(|sentence| !view.reason.contains(sentence)).for_each(|sentence| line(text, "", &sentence));
}

fn of_shadow(shadow: &ShadowView) -> String {
    let known = |value: Option<f64>| value.map_or("unknown".to_owned(), number);
    format!(
        "{} compared, {} failed, {} dropped; labels agree {}, numbers differ by {} at most and {} on average, \
         distributions by {}",
        shadow.compared,
        shadow.failed,
        shadow.dropped,
        known(shadow.label_agreement),
        number(shadow.largest_difference),
        number(shadow.mean_difference),
        known(shadow.score_distance)
    )
}

fn of_test(test: &TestView, view: &RolloutView) -> String {
    let unit = if test.unit.is_empty() { &test.question } else { &test.unit };
    let arm = |version: u64, arm: Option<TestArm>, requests: u64| {
        let TestArm { mean, values } = arm?;
        let mean = mean.map_or("unknown".to_owned(), number);
        Some(format!("\nversion {version}: {mean}, of {values} values in {requests} requests"))
    };
    let arms = [arm(view.target, test.canary_arm, test.canary), arm(view.stable, test.stable_arm, test.stable)];
    let difference = match &test.effect {
        Some(found) => {
            format!("{}, with an interval that holds at all times at {}", effect(Some(found)), number(test.confidence))
        }
        None => "not to be said yet".to_owned(),
    };
    let of = format!("{unit}: difference {difference}");
    std::iter::once(of).chain(arms.into_iter().flatten()).collect()
}
