//! Rollouts for people: all in a table, one with its reasons.
//!
//! Invariant: everything that a view says of where a rollout stands and why is in what is shown of one.

use super::words::{ago, beginning, effect, metrics, missing, number, percent, phase, sentence, table, time};
use crate::rollout::{Judgement, RolloutView, ShadowView, TestView};
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
    missing(view).iter().for_each(|missing| line(&mut text, "to go on", missing));
    view.shadow.iter().for_each(|shadow| line(&mut text, "shadow", &of_shadow(shadow)));
    view.test.iter().for_each(|test| line(&mut text, "test", &of_test(test)));
    view.judgement.iter().for_each(|judgement| looked(&mut text, "last look", judgement));
    view.guards.iter().for_each(|guards| looked(&mut text, "guards", guards));
    text
}

fn line(text: &mut String, label: &str, said: &str) {
    let mut label = label;
    for said in said.lines() {
        let _ = writeln!(text, "{label:<LABELS$} {said}");
        label = "";
    }
}

/// A look at metrics: its verdict, the numbers, and each metric's sentence that is not a pass.
fn looked(text: &mut String, label: &str, judgement: &Judgement) {
    line(text, label, &judgement.verdict.name().replace('_', " "));
    if !judgement.metrics.is_empty() {
        line(text, "", &metrics(&judgement.metrics));
    }
    judgement.failed().for_each(|metric| line(text, "", &sentence(metric)));
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

fn of_test(test: &TestView) -> String {
    format!(
        "{}: {} at a confidence of {}, over {} requests of the version under test and {} of the stable one",
        test.question,
        effect(test.effect.as_ref()),
        number(test.confidence),
        test.canary,
        test.stable
    )
}
