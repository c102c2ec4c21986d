//! What people and the registry want of a rollout: orders, another target, another stable version.
//!
//! Invariant: an abort is refused only where there is nothing left to take away.

use super::gates::hundredths;
use super::journal::Entry;
use super::machine::{abort, is_before_loading, moved};
use super::state::{ALL, State};
use super::{Order, OrderError, Phase, TestPlan};
use crate::config::Newer;

/// The entries that carry an order out; who gives it is `by`. Beginning a rollout is none of them.
///
/// # Errors
/// [`OrderError::Refused`] where it cannot be carried out.
pub fn carry_out(state: &State, order: &Order, by: &str) -> Result<Vec<Entry>, OrderError> {
    let ordered = Entry::Ordered { order: order.clone(), by: by.to_owned() };
    let refused = |why: &str| Err(OrderError::Refused(format!("the rollout {why}")));
    if state.phase.is_ended() {
        return refused("has ended; start another one");
    }
    match (order, state.phase) {
        (Order::Abort, Phase::Aborting) => refused("is being aborted already"),
        (Order::Abort, _) => Ok(vec![ordered, abort(format!("aborted by {by}"), Phase::RolledBack)]),
        (_, Phase::Aborting) => refused("is being aborted; an abort always wins"),
        (Order::Start { .. }, _) => refused("is under way; abort it first"),
        (Order::Pause, _) => Ok(vec![ordered]),
        (Order::Resume, _) if state.pause.is_none() => refused("does not wait for anything"),
        (Order::Resume, _) => Ok(vec![ordered]),
        (Order::Promote, Phase::Promoting | Phase::Baking) => refused("gives the version all traffic already"),
        (Order::Promote, phase) if is_before_loading(phase) => refused("is not there yet: the version is not loaded"),
        (Order::Promote, _) => Ok(vec![ordered, moved(Phase::Promoting, ALL, format!("promoted by {by}"))]),
    }
}

/// Whether a test's share is one.
///
/// # Errors
/// [`OrderError::Invalid`] when it is not.
pub fn check_test(test: &TestPlan) -> Result<(), OrderError> {
    let weight = hundredths(test.weight);
    if test.weight.is_finite() && weight > 0 && weight < ALL {
        return Ok(());
    }
    Err(OrderError::Invalid(format!("expected a share above 0 and below 100 percent, found {}", test.weight)))
}

/// Another version is wanted.
pub(super) fn newer(state: &State, version: u64, digest: &str) -> Vec<Entry> {
    let (is_same, plan) = (version == state.beginning.target, &state.beginning.plan);
    // The version that it began from may be the highest one, and be wanted again as soon as another has most of the traffic.
    let is_before = version == state.beginning.stable && digest == state.beginning.stable_digest;
    if is_before || state.wanted == Some((version, digest.to_owned())) || is_same && digest == state.beginning.digest {
        return Vec::new();
    }
    // What is loaded under the target's number is not what was looked at: none of it may keep its share.
    if is_same {
        let action = Newer::Supersede;
        let reason = format!("the files of version {version} were replaced");
        return vec![Entry::Newer { version, digest: digest.to_owned(), action }, abort(reason, Phase::Superseded)];
    }
    let action = if state.is_promoted() && plan.newer == Newer::Supersede { Newer::Queue } else { plan.newer };
    let mut entries = vec![Entry::Newer { version, digest: digest.to_owned(), action }];
    if action == Newer::Supersede {
        entries.push(abort(format!("version {version} is to be rolled out instead"), Phase::Superseded));
    }
    entries
}

/// The registry says that another version is stable.
pub(super) fn champion(state: &State, version: Option<u64>) -> Vec<Entry> {
    if version == state.champion {
        return Vec::new();
    }
    let mut entries = vec![Entry::Champion { version }];
    let (target, stable) = (state.beginning.target, state.beginning.stable);
    let is_settled = version == Some(target) && state.is_promoted() || version == Some(stable) || version.is_none();
    if is_settled {
        return entries;
    }
    let can_promote = version == Some(target) && !is_before_loading(state.phase);
    entries.push(if can_promote {
        moved(Phase::Promoting, ALL, "the registry made it the stable version")
    } else {
        let named = version.map(|version| version.to_string()).unwrap_or_default();
        abort(format!("the registry made version {named} the stable one"), Phase::Superseded)
    });
    entries
}
