//! What stands between a rollout and a larger share: gates, hours in which nothing grows, hooks that have to agree.
//!
//! They are asked when a step has passed and not before, in this order: somebody who has to say so first, since hooks are
//! asked again and again until they agree.
//!
//! Invariant: no share grows but through [`raise`], an order to promote, or the registry's word.

use super::journal::Entry;
use super::machine::{abort, moved, pause};
use super::plan::Step;
use super::state::{ALL, State};
use super::{Pause, Phase};
use crate::config::RolloutHookKind;

/// The entries and the move to the next share; or why it waits instead.
pub(super) fn raise(state: &State, mut entries: Vec<Entry>, reason: &str, now: u64) -> Vec<Entry> {
    if state.pause == Some(Pause::Operator) {
        return Vec::new();
    }
    let (to, weight) = next(state);
    if let Some((obstacle, reason)) = obstacle(state, to, now) {
        return pause(state, obstacle, &reason);
    }
    entries.push(moved(to, weight, reason));
    entries
}

/// Where it goes on to, with which share.
pub(super) fn next(state: &State) -> (Phase, u16) {
    let plan = &state.beginning.plan;
    let step = |step: usize| match plan.steps.get(step) {
        Some(Step { weight, .. }) => (Phase::Canary { step }, *weight),
        None => (Phase::Promoting, ALL),
    };
    match state.phase {
        Phase::Warming if state.beginning.fast => (Phase::Promoting, ALL),
        Phase::Warming => match &state.beginning.test {
            Some(test) => (Phase::Testing, hundredths(test.weight)),
            None if plan.shadow.is_some() => (Phase::Shadow, 0),
            None => step(0),
        },
        Phase::Canary { step: at } => step(at + 1),
        _ => step(0),
    }
}

/// A share in percent as hundredths of one.
pub(super) fn hundredths(percent: f64) -> u16 {
    (percent * 100.0).round().clamp(0.0, f64::from(ALL)) as u16
}

/// What is in the way of a larger share.
pub(super) fn obstacle(state: &State, to: Phase, now: u64) -> Option<(Pause, String)> {
    let (plan, is_fast) = (&state.beginning.plan, state.beginning.fast);
    let is_gate = state.step().is_some_and(|step| step.gate) || to == Phase::Promoting && plan.gate;
    if is_gate && !state.go_on && !is_fast {
        return Some((Pause::Gate, "the plan wants somebody to say that it may go on".to_owned()));
    }
    if plan.is_blackout(now) && !is_fast {
        return Some((Pause::Blackout, "no share grows in these hours".to_owned()));
    }
    if let Some(name) = state.disagreed.first() {
        return Some((Pause::Hook, format!("the hook {name} does not agree")));
    }
    let missing: Vec<&str> = needed_hooks(state, to).filter(|name| !agreed(state, to, name)).collect();
    let reason = || format!("waiting for {} to agree", missing.join(", "));
    (!missing.is_empty()).then(|| (Pause::Hook, reason()))
}

/// The moments at which hooks are asked before a move.
#[must_use]
fn moments(state: &State, to: Phase) -> &'static [RolloutHookKind] {
    match (state.phase, to) {
        (Phase::Warming, Phase::Promoting) => {
            &[RolloutHookKind::ConfirmRollout, RolloutHookKind::PreRollout, RolloutHookKind::ConfirmPromotion]
        }
        (Phase::Warming, _) => &[RolloutHookKind::ConfirmRollout, RolloutHookKind::PreRollout],
        (_, Phase::Promoting) => &[RolloutHookKind::ConfirmPromotion],
        _ => &[RolloutHookKind::ConfirmTrafficIncrease],
    }
}

fn needed_hooks(state: &State, to: Phase) -> impl Iterator<Item = &str> {
    let moments = moments(state, to);
    let hooks = state.beginning.plan.hooks.iter().filter(|hook| moments.contains(&hook.kind));
    hooks.map(|hook| hook.name.as_str())
}

fn agreed(state: &State, to: Phase, name: &str) -> bool {
    moments(state, to).iter().any(|kind| state.confirmed.contains(&(*kind, name.to_owned())))
}

/// The hooks that are in the way now, to be asked.
#[must_use]
pub fn waits_for(state: &State) -> Vec<(RolloutHookKind, String)> {
    if state.pause != Some(Pause::Hook) {
        return Vec::new();
    }
    let to = next(state).0;
    let hooks = state.beginning.plan.hooks.iter().filter(|hook| moments(state, to).contains(&hook.kind));
    let all = hooks.map(|hook| (hook.kind, hook.name.clone()));
    all.filter(|asked| !state.confirmed.contains(asked)).collect()
}

pub(super) fn hook_answered(state: &State, (hook, name): (RolloutHookKind, &str), yes: bool, text: &str) -> Vec<Entry> {
    let answered = Entry::Hook { hook, name: name.to_owned(), yes, text: text.to_owned() };
    match hook {
        RolloutHookKind::Rollback if yes => {
            let reason = format!("the hook {name} wants it rolled back: {text}");
            vec![answered, abort(reason, Phase::RolledBack)]
        }
        RolloutHookKind::Rollout => disagreed(state, answered, (name, yes), text),
        RolloutHookKind::ConfirmRollout
        | RolloutHookKind::PreRollout
        | RolloutHookKind::ConfirmTrafficIncrease
        | RolloutHookKind::ConfirmPromotion
            if yes && !state.confirmed.contains(&(hook, name.to_owned())) =>
        {
            vec![answered]
        }
        _ => Vec::new(),
    }
}

/// A hook that is asked at every look: it holds the share from its no to its yes.
fn disagreed(state: &State, answered: Entry, (name, yes): (&str, bool), text: &str) -> Vec<Entry> {
    let has_disagreed = state.disagreed.contains(name);
    if yes != has_disagreed {
        return Vec::new();
    }
    let mut entries = vec![answered];
    if !yes {
        entries.extend(pause(state, Pause::Hook, &format!("the hook {name} does not agree: {text}")));
    } else if state.pause == Some(Pause::Hook) && state.disagreed.len() == 1 {
        entries.push(Entry::Continued { reason: format!("the hook {name} agrees") });
    }
    entries
}
