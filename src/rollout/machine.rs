//! What becomes of a rollout when something happens: entries for its journal, and nothing else.
//!
//! ```text
//!  state + event ─▶ advance ─▶ entries ─▶ state (apply)
//! ```
//! What must be done about them (publish a share, ask a hook, tell the registry) follows from the state, so that a
//! restart in between changes nothing.
//!
//! # Rules
//! - A failure ends it in every state, and so does an abort. What is ending or has ended is moved by nothing.
//! - A share grows when its step has passed and had its time; then gates, hours and hooks are asked, and the decision is
//!   made with the evidence of that moment, in one piece with the move: one decision per step, never one without a move.
//! - Without a verdict after the longest time the step does what the plan says. That is written down as what it is: no
//!   pass.
//! - Evidence that contradicts itself holds the share.
//! - Where the version before cannot be had any more, that is said, and what serves goes on serving: a share is only taken
//!   away for another version to have it.
//! - A newer version is left to wait once the target has all traffic: what bakes is nearly done, and going back would
//!   take away a version of which nothing bad is known.
//! - Going back to a version that was stable lately asks neither steps nor hours: it is a repair. It is baked all the
//!   same.
//!
//! Invariant: no clock, no I/O; the same state, event and time give the same entries.

use super::gates::{hook_answered, raise};
use super::journal::{Copies, Decision, Entry, Subject};
use super::judging::JudgingPlan;
use super::state::{ALL, State};
use super::wishes::{champion, newer};
use super::{Judgement, MetricJudgement, Pause, Phase, Verdict};
use crate::config::{OnTimeout, RolloutHookKind};
use crate::observe::trial::{GuardSegment, TrialCounts};

/// Something that may change where a rollout stands.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Time passed.
    Tick,
    /// How far the target is before it is loaded.
    Preparing(Phase),
    /// The target is loaded, and what is counted is fixed.
    Ready(Box<JudgingPlan>),
    /// The target cannot be loaded, or is gone.
    Unusable(String),
    /// What the state wants is live.
    Live,
    /// Somebody looked at what was counted.
    Judged(Box<Look>),
    /// No copies of requests can be made, and why.
    Unmirrored(String),
    /// The version before cannot be had.
    Bereft {
        /// Why.
        reason: String,
        /// Whether it was missing for so long that nobody waits for it any more.
        for_good: bool,
    },
    /// Another version is wanted: its number and digest.
    Newer(u64, String),
    /// The registry's stable version is another.
    Champion(Option<u64>),
    /// A hook answered.
    Hook {
        /// The moment.
        hook: RolloutHookKind,
        /// Its name.
        name: String,
        /// Whether it agreed.
        yes: bool,
        /// What it said.
        text: String,
    },
}

/// A look at what was counted.
#[derive(Clone, Debug, PartialEq)]
pub struct Look {
    /// What was looked at.
    pub subject: Subject,
    /// All parts of this phase.
    pub counts: Vec<TrialCounts>,
    /// What the guards read, if they were looked at.
    pub guards: Vec<GuardSegment>,
    /// Copies of requests, if they were looked at.
    pub copies: Option<Box<Copies>>,
    /// What it came to.
    pub judgement: Judgement,
}

/// The entries that an event makes. `now` is unix milliseconds.
#[must_use]
pub fn advance(state: &State, event: &Event, now: u64) -> Vec<Entry> {
    if state.phase.is_ended() {
        return Vec::new();
    }
    if state.phase == Phase::Aborting {
        return match event {
            Event::Live => vec![ended_after_abort(state, now)],
            Event::Bereft { reason, for_good: true } => vec![ended_bereft(state, reason)],
            Event::Bereft { reason, for_good: false } => bereft(state, reason),
            _ => Vec::new(),
        };
    }
    match event {
        Event::Tick => tick(state, now),
        Event::Preparing(to) => preparing(state, *to),
        Event::Ready(judging) => ready(state, judging),
        Event::Unusable(reason) => unusable(state, reason),
        Event::Live => live(state),
        Event::Judged(look) => judged(state, look, now),
        Event::Unmirrored(reason) if state.phase == Phase::Shadow => unmirrored(state, reason, now),
        Event::Unmirrored(_) => Vec::new(),
        Event::Bereft { reason, .. } => bereft(state, reason),
        Event::Newer(version, digest) => newer(state, *version, digest),
        Event::Champion(version) => champion(state, *version),
        Event::Hook { hook, name, yes, text } => hook_answered(state, (*hook, name), *yes, text),
    }
}

/// Takes the target's share away, whatever it was.
pub(super) fn abort(reason: String, ends: Phase) -> Entry {
    Entry::Moved { to: Phase::Aborting, weight: 0, reason, ends: Some(ends) }
}

/// Comes to stand somewhere else.
pub(super) fn moved(to: Phase, weight: u16, reason: impl Into<String>) -> Entry {
    Entry::Moved { to, weight, reason: reason.into(), ends: None }
}

fn ended_after_abort(state: &State, now: u64) -> Entry {
    let outcome = state.ends.unwrap_or(Phase::RolledBack);
    let restore_ms = (outcome == Phase::RolledBack && state.had_share).then(|| now.saturating_sub(state.since));
    Entry::Ended { outcome, reason: state.reason.clone(), lead_ms: None, restore_ms }
}

/// It is the last one left, and goes on serving until another takes its place: a rollout that waits for what never comes
/// would keep out the one that mends it.
fn ended_bereft(state: &State, reason: &str) -> Entry {
    let outcome = state.ends.unwrap_or(Phase::RolledBack);
    let reason = format!("{}; it serves until another version does, because {reason}", state.reason);
    Entry::Ended { outcome, reason, lead_ms: None, restore_ms: None }
}

/// Whether it is not loaded yet.
pub(super) fn is_before_loading(phase: Phase) -> bool {
    matches!(phase, Phase::Pulling | Phase::Verifying | Phase::Loading)
}

fn preparing(state: &State, to: Phase) -> Vec<Entry> {
    if is_before_loading(state.phase) && is_before_loading(to) && to != state.phase {
        vec![moved(to, 0, "the version is being made ready")]
    } else {
        Vec::new()
    }
}

fn ready(state: &State, judging: &JudgingPlan) -> Vec<Entry> {
    let armed = Entry::Armed { judging: Box::new(judging.clone()) };
    if is_before_loading(state.phase) {
        vec![armed, moved(Phase::Warming, 0, "the version is loaded and warm")]
    } else {
        Vec::new()
    }
}

fn unusable(state: &State, reason: &str) -> Vec<Entry> {
    let reason = format!("the version cannot be used: {reason}");
    if is_before_loading(state.phase) || state.phase == Phase::Warming {
        vec![Entry::Ended { outcome: Phase::Failed, reason, lead_ms: None, restore_ms: None }]
    } else {
        vec![abort(reason, Phase::RolledBack)]
    }
}

fn tick(state: &State, now: u64) -> Vec<Entry> {
    match state.phase {
        Phase::Warming => raise(state, Vec::new(), "the version is loaded and warm", now),
        _ => Vec::new(),
    }
}

fn live(state: &State) -> Vec<Entry> {
    if state.phase == Phase::Promoting {
        let reason = "all traffic goes to the version; the one before is kept in case it has to come back";
        vec![moved(Phase::Baking, ALL, reason)]
    } else {
        Vec::new()
    }
}

fn judged(state: &State, look: &Look, now: u64) -> Vec<Entry> {
    if look.judgement.verdict == Verdict::Fail && look.subject != Subject::Shadow || is_failed_shadow(state, look) {
        let reason = failure(&look.judgement);
        return vec![decision(state, look, reason.clone()), abort(reason, Phase::RolledBack)];
    }
    match (look.subject, state.phase) {
        (Subject::Shadow, Phase::Shadow) | (Subject::Step, Phase::Canary { .. }) => at_step(state, look, now),
        (Subject::Bake, Phase::Baking) => at_bake(state, look, now),
        _ => Vec::new(),
    }
}

fn is_failed_shadow(state: &State, look: &Look) -> bool {
    look.judgement.verdict == Verdict::Fail && state.phase == Phase::Shadow
}

/// What failed, for people.
fn failure(judgement: &Judgement) -> String {
    let failed: Vec<String> = judgement.failed().map(MetricJudgement::sentence).collect();
    if failed.is_empty() { "the version is worse".to_owned() } else { failed.join("; ") }
}

fn at_step(state: &State, look: &Look, now: u64) -> Vec<Entry> {
    let Some(step) = state.step() else { return Vec::new() };
    let elapsed = now.saturating_sub(state.since);
    let verdict = look.judgement.verdict;
    let is_over = elapsed >= step.max_ms;
    match verdict {
        Verdict::SensorError if is_over && step.on_timeout == OnTimeout::Abort => give_up(state, look),
        Verdict::SensorError => pause(state, Pause::Sensor, &failure_of_sensors(&look.judgement)),
        Verdict::Pass if elapsed >= step.min_ms => on(state, look, "the step passed", now),
        _ if state.go_on => on(state, look, "somebody said that it may go on without a verdict", now),
        Verdict::NotEnoughData if is_over => match step.on_timeout {
            OnTimeout::Advance => on(state, look, "the step had its time and found nothing, which is no pass", now),
            OnTimeout::Abort => give_up(state, look),
            OnTimeout::Hold => pause(state, Pause::Inconclusive, "the step had its time and there is no verdict"),
        },
        _ => trusted_again(state),
    }
}

/// Goes on with a decision, if nothing else is in the way.
fn on(state: &State, look: &Look, reason: &str, now: u64) -> Vec<Entry> {
    raise(state, vec![decision(state, look, reason.to_owned())], reason, now)
}

/// A phase that somebody asked for is not passed over in silence: it is a step without a verdict, at once, so that somebody
/// says that it may go on without, or what the plan says is done when it has had its time.
fn unmirrored(state: &State, reason: &str, now: u64) -> Vec<Entry> {
    let Some(step) = state.step() else { return Vec::new() };
    let is_over = now.saturating_sub(state.since) >= step.max_ms;
    match step.on_timeout {
        _ if state.go_on => raise(state, Vec::new(), &format!("somebody said that it may go on; {reason}"), now),
        OnTimeout::Advance if is_over => {
            raise(state, Vec::new(), &format!("the phase had its time without a copy; {reason}"), now)
        }
        OnTimeout::Abort if is_over => {
            vec![abort(format!("the phase had its time without a copy; {reason}"), Phase::RolledBack)]
        }
        _ => pause(state, Pause::Inconclusive, reason),
    }
}

/// There is nothing to go back to, and nothing that takes the target's place. It is said once; what serves goes on
/// serving.
fn bereft(state: &State, reason: &str) -> Vec<Entry> {
    let is_said = state.problem.as_deref() == Some(reason);
    (!is_said).then(|| Entry::Problem { what: reason.to_owned() }).into_iter().collect()
}

fn give_up(state: &State, look: &Look) -> Vec<Entry> {
    let reason = "the step had its time and there is no verdict";
    vec![decision(state, look, reason.to_owned()), abort(reason.to_owned(), Phase::RolledBack)]
}

fn at_bake(state: &State, look: &Look, now: u64) -> Vec<Entry> {
    if look.judgement.verdict == Verdict::SensorError {
        return pause(state, Pause::Sensor, &failure_of_sensors(&look.judgement));
    }
    if now.saturating_sub(state.since) < state.beginning.plan.bake_ms {
        return trusted_again(state);
    }
    if state.pause == Some(Pause::Operator) {
        return Vec::new();
    }
    let reason = "it had all traffic for long enough and nothing was found";
    let reason = state.problem.iter().fold(reason.to_owned(), |reason, problem| format!("{reason}; {problem}"));
    let lead_ms = state.all_at.map(|at| at.saturating_sub(state.beginning.known_since()));
    let ended = Entry::Ended { outcome: Phase::Done, reason: reason.clone(), lead_ms, restore_ms: None };
    vec![decision(state, look, reason), ended]
}

fn failure_of_sensors(judgement: &Judgement) -> String {
    let broken = judgement.metrics.iter().filter(|metric| metric.verdict == Verdict::SensorError);
    let broken: Vec<String> = broken.map(MetricJudgement::sentence).collect();
    format!("what was counted cannot be trusted: {}", broken.join("; "))
}

fn trusted_again(state: &State) -> Vec<Entry> {
    let is_sensor = state.pause == Some(Pause::Sensor);
    let reason = || "what is counted can be trusted again".to_owned();
    is_sensor.then(|| Entry::Continued { reason: reason() }).into_iter().collect()
}

/// Waits, unless it does so already or somebody said that it is to wait.
pub(super) fn pause(state: &State, pause: Pause, reason: &str) -> Vec<Entry> {
    let waits = state.pause == Some(pause) || state.pause == Some(Pause::Operator);
    let reason = || reason.to_owned();
    (!waits).then(|| Entry::Paused { pause, reason: reason() }).into_iter().collect()
}

fn decision(state: &State, look: &Look, reason: String) -> Entry {
    Entry::Decision(Box::new(Decision {
        subject: look.subject,
        phase: state.phase,
        needed: state.step().map_or(0, |step| step.min_samples),
        counts: look.counts.clone(),
        guards: look.guards.clone(),
        frozen: state.frozen.clone(),
        copies: look.copies.clone(),
        judgement: look.judgement.clone(),
        reason,
    }))
}
