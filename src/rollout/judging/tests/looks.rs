//! A rollout at one share, looked at as often as a gateway might, by what judges it.

use super::super::{GuardHistory, JudgingPlan, judge_guards, judge_step};
use super::world::Traffic;
use crate::rollout::Judgement;

/// How often is looked, in requests of the canary.
#[derive(Clone, Copy, Debug)]
pub(super) struct Looks {
    pub(super) step: u64,
    pub(super) guards: u64,
}

/// Requests of the canary at the first look that fails, and the metric.
pub(super) fn until_failure(
    plan: &JudgingPlan,
    traffic: &mut Traffic<'_>,
    looks: Looks,
    requests: u64,
) -> Option<(u64, String)> {
    let mut history = GuardHistory::default();
    history.begin(traffic.counts.guards.weight);
    for _ in 0..requests {
        if !traffic.request() {
            continue;
        }
        if traffic.canary.is_multiple_of(looks.guards) {
            history.read(&traffic.counts.guards);
            let found = judge_guards(plan, &history.segments(), None);
            if let Some(failed) = first_failed(&found) {
                return Some((traffic.canary, failed));
            }
        }
        if traffic.canary.is_multiple_of(looks.step) {
            let found = judge_step(plan, std::slice::from_ref(&traffic.counts), 500);
            if let Some(failed) = first_failed(&found) {
                return Some((traffic.canary, failed));
            }
        }
    }
    None
}

pub(super) fn first_failed(judgement: &Judgement) -> Option<String> {
    judgement.failed().next().map(|metric| metric.metric.clone())
}
