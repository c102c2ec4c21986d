//! How far a rollout is where it stands: what was counted of what is needed, and what is missing for its next move.
//!
//! It says nothing that the machine does not go by: the same requests, the same times since the same moment, and the same
//! obstacles. Why it waits, if it does, is the view's pause and reason; here is what is missing besides.
//!
//! Invariant: pure; where nothing is missing the next look moves it.

use super::gates::{next, obstacle};
use super::state::{ALL, State};
use super::{Pause, Phase, Verdict};
use crate::config::OnTimeout;
use crate::observe::trial::TrialCounts;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How far a rollout is, and what is missing for its next move.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Where it goes next, if nothing is found.
    pub next: Phase,
    /// The target's share there, percent.
    pub next_weight: f64,
    /// Requests of the new version at this share that count: those without a routing key, and the first of each key. While
    /// copies of requests are answered, the copies that were compared. After a restart it is those since.
    pub requests: u64,
    /// So many there have to be before the step passes; 0 where time alone counts.
    pub min_requests: u64,
    /// For how long it has stood there, seconds; after a restart since then.
    pub seconds: f64,
    /// So long it has to, seconds.
    pub min_seconds: f64,
    /// After so long without a verdict `on_timeout` is done, seconds; none where it waits for no verdict.
    pub max_seconds: Option<f64>,
    /// What is done then.
    pub on_timeout: Option<OnTimeout>,
    /// What is missing for the next move, for people, beside what it is paused for; nothing if the next look moves it.
    pub missing: Vec<String>,
}

/// What was seen of the part that is being counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The part, as the state names it.
    pub part: u64,
    /// Requests of the new version that count, or copies that were compared.
    pub requests: u64,
    /// What the last look at them came to.
    pub verdict: Option<Verdict>,
}

impl Seen {
    /// What a look saw of the part that is being counted, the last one of the counts.
    #[must_use]
    pub fn of(part: u64, counts: &[TrialCounts], verdict: Option<Verdict>) -> Self {
        let segments = counts.last().map(|counts| counts.segments.as_slice()).unwrap_or_default();
        let requests = segments.iter().fold(0_u64, |sum, segment| sum.saturating_add(segment.canary.events));
        Self { part, requests, verdict }
    }
}

/// How far a rollout is at a time, unix milliseconds; none in phases that no request and no time moves on.
#[must_use]
pub fn progress(state: &State, seen: Seen, now: u64) -> Option<Progress> {
    let (to, weight) = match state.phase {
        Phase::Shadow | Phase::Canary { .. } => next(state),
        Phase::Baking => (Phase::Done, ALL),
        _ => return None,
    };
    // Of another part nothing is known of this one.
    let seen = if seen.part == state.part { seen } else { Seen { part: state.part, ..Seen::default() } };
    let step = state.step();
    let standing = Standing {
        seen,
        needed: step.map_or(0, |step| step.min_samples.max(1)),
        elapsed_ms: now.saturating_sub(state.since),
        min_ms: step.map_or(state.beginning.plan.bake_ms, |step| step.min_ms),
    };
    let seconds = |milliseconds: u64| milliseconds as f64 / 1000.0;
    Some(Progress {
        next: to,
        next_weight: f64::from(weight) / 100.0,
        requests: seen.requests,
        min_requests: standing.needed,
        seconds: seconds(standing.elapsed_ms),
        min_seconds: seconds(standing.min_ms),
        max_seconds: step.map(|step| seconds(step.max_ms)),
        on_timeout: step.map(|step| step.on_timeout),
        missing: standing.missing(state, to, now),
    })
}

/// What is there of what is needed.
struct Standing {
    seen: Seen,
    needed: u64,
    elapsed_ms: u64,
    min_ms: u64,
}

impl Standing {
    fn missing(&self, state: &State, to: Phase, now: u64) -> Vec<String> {
        // Whoever said that it may go on without a verdict is not asked to wait for one.
        let mut missing = if state.go_on { Vec::new() } else { self.of_a_verdict(state) };
        let is_asked = matches!(state.pause, None | Some(Pause::Inconclusive | Pause::Sensor));
        if to != Phase::Done && is_asked {
            missing.extend(obstacle(state, to, now).map(|(_, reason)| reason));
        }
        missing
    }

    /// Requests and time.
    fn of_a_verdict(&self, state: &State) -> Vec<String> {
        let (target, stable) = (state.beginning.target, state.beginning.stable);
        let Seen { requests, verdict, .. } = self.seen;
        let what = if state.phase == Phase::Shadow { "copies that are compared" } else { "requests" };
        let mut missing = Vec::new();
        if let Some(more @ 1..) = self.needed.checked_sub(requests) {
            missing.push(format!("{more} more {what} of version {target} ({requests} of {})", self.needed));
        } else if verdict == Some(Verdict::NotEnoughData) && state.phase != Phase::Baking {
            missing.push(format!("requests of version {stable} to compare with"));
        }
        if let Some(more @ 1..) = self.min_ms.checked_sub(self.elapsed_ms) {
            let (more, elapsed, min) = (whole_seconds(more), self.elapsed_ms / 1000, whole_seconds(self.min_ms));
            missing.push(format!("{} more ({} of at least {})", short(more), short(elapsed), short(min)));
        }
        missing
    }
}

fn whole_seconds(milliseconds: u64) -> u64 {
    milliseconds.div_ceil(1000)
}

/// A time in words, whole seconds.
fn short(seconds: u64) -> String {
    humantime::format_duration(Duration::from_secs(seconds)).to_string()
}
