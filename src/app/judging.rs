//! The judge's loop: once a second, look, apply the rules, tell whoever wants to know.
//!
//! Invariant: a slow tick delays the next one and never overlaps it.

use crate::admin::Desk;
use crate::alert::{Alert, AlertPhase, rules};
use crate::judge::Judge;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// How often the judge looks.
const TICK: Duration = Duration::from_secs(1);

pub(super) async fn run(mut judge: Judge, desk: Arc<Desk>, started: Instant, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        // The time a tick was due, not the time it came: durations that rules wait for are then whole ticks, and a
        // tick that is a millisecond early does not cost an alert another second.
        let now = tokio::select! {
            due = ticks.tick() => due.into_std().saturating_duration_since(started),
            () = stop.cancelled() => return,
        };
        let reports = judge.tick(now);
        let round: Vec<_> = reports.iter().flat_map(rules::observe).collect();
        let changed = desk.alerts.lock().unwrap_or_else(PoisonError::into_inner).absorb(&round, now, SystemTime::now());
        for alert in changed {
            announce(&desk, alert);
        }
    }
}

fn announce(desk: &Desk, alert: Alert) {
    let feature = alert.feature.as_deref().unwrap_or_default();
    let (rule, model, version) = (alert.rule.name(), &alert.model, &alert.version);
    match alert.state {
        AlertPhase::Firing => {
            tracing::warn!(rule, model, version, feature, summary = alert.summary, id = alert.id, "alert firing");
        }
        AlertPhase::Resolved => tracing::info!(rule, model, version, feature, id = alert.id, "alert resolved"),
        AlertPhase::Pending => {}
    }
    let alert = Arc::new(alert);
    for sink in desk.sinks() {
        sink.send(&alert);
    }
}
