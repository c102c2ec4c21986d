//! The judge's loop: glance at the alarms, look at everything, apply the rules, tell whoever wants to know, write down.
//!
//! Invariant: a slow tick delays the next one and never overlaps it; a disk that is slow, full or gone delays none.

use super::clock::UnixClock;
use super::learning::Learner;
use crate::admin::{Command, Desk};
use crate::alert::{Alert, AlertPhase, rules};
use crate::catalog::FreezeOrder;
use crate::judge::Judge;
use crate::store::{Job, Keeper, Store};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// How often the judge glances at the alarms.
const GLANCE: Duration = Duration::from_millis(250);

/// How often it looks at everything.
const LOOK: Duration = Duration::from_secs(1);

/// How long a version that was just loaded waits for its snapshot.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the judge's loop is made of.
pub(super) struct Judging {
    pub(super) judge: Judge,
    pub(super) desk: Arc<Desk>,
    pub(super) clock: UnixClock,
    /// Where snapshots come from and go to, if state can be kept.
    pub(super) state: Option<(Store, Keeper)>,
    pub(super) snapshot_interval: Duration,
    pub(super) learner: Learner,
}

impl Judging {
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(GLANCE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let (mut looked, mut saved, mut at) = (None, None, Duration::ZERO);
        loop {
            // The time a tick was due, not the time it came: durations that rules wait for are then whole ticks, and a
            // tick that is a millisecond early does not cost an alert another second.
            let due = tokio::select! {
                due = ticks.tick() => due.into_std(),
                () = stop.cancelled() => break,
            };
            at = self.clock.at(due, (Instant::now(), SystemTime::now()));
            self.watch_newcomers(at).await;
            if self.judge.glance(at) || is_due(looked, at, LOOK) {
                looked = Some(at);
                self.look(at);
            }
            self.learn().await;
            if is_due(saved, at, self.snapshot_interval) {
                self.save(at, saved.is_some());
                saved = Some(at);
            }
        }
        // What was served since the last look belongs to the version as well.
        at = self.clock.at(Instant::now(), (Instant::now(), SystemTime::now())).max(at);
        self.look(at);
        self.save_last(at).await;
    }

    /// Versions that were just loaded go on where their last snapshot left off.
    async fn watch_newcomers(&mut self, at: Duration) {
        for newcomer in self.judge.newcomers() {
            let stored = match &self.state {
                Some((store, _)) => tokio::time::timeout(PATIENCE, store.snapshot(&newcomer.key)).await,
                None => Ok(Ok(None)),
            };
            let snapshot = match stored {
                Ok(Ok(snapshot)) => snapshot,
                Ok(Err(error)) => {
                    tracing::warn!(cause = %error, "a snapshot cannot be fetched; the version starts anew");
                    None
                }
                Err(_late) => {
                    tracing::warn!(timeout = ?PATIENCE, "a snapshot was not there in time; the version starts anew");
                    None
                }
            };
            self.judge.watch(newcomer, snapshot.as_ref().map(|snapshot| &snapshot.blob[..]), at);
        }
    }

    /// Hands on a reference that was learned, and begins with the next.
    async fn learn(&mut self) {
        match self.learner.finished().await {
            Some((model, Ok(profile))) => {
                let (name, version, identity) = (model.name.clone(), model.version, model.identity);
                let order = Box::new(FreezeOrder { model: name, version, identity, profile });
                if self.desk.commands.try_send(Command::Freeze(order)).is_err() {
                    self.judge.not_learned(identity, None);
                }
            }
            Some((model, Err(cause))) => {
                tracing::warn!(model = model.name, version = model.version, cause, "no reference can be learned");
                self.judge.not_learned(model.identity, Some(cause));
            }
            None => {}
        }
        if self.learner.is_idle()
            && let Some(model) = self.judge.take_ripe()
        {
            self.learner.start(model);
        }
    }

    fn look(&mut self, at: Duration) {
        let reports = self.judge.look(at);
        let round: Vec<_> = reports.iter().flat_map(rules::observe).collect();
        let is_complete = self.desk.gate.catalog.snapshot().settled;
        let changed = {
            let mut book = self.desk.alerts.lock().unwrap_or_else(PoisonError::into_inner);
            let wall = SystemTime::now();
            if is_complete { book.absorb(&round, at, wall) } else { book.absorb_part(&round, at, wall) }
        };
        let departed = self.judge.take_departed();
        if let Some((_, keeper)) = &self.state {
            if !departed.is_empty() {
                keeper.hand_in(Job::Snapshots(departed));
            }
            if !changed.is_empty() {
                keeper.hand_in(self.alerts());
            }
        }
        for alert in changed {
            announce(&self.desk, alert);
        }
    }

    /// Writes everything down; nothing when there is nothing worth it yet.
    fn save(&self, at: Duration, is_worth_it: bool) {
        if let Some((_, keeper)) = self.state.as_ref().filter(|_| is_worth_it) {
            keeper.hand_in(Job::Snapshots(self.judge.snapshots(at)));
            keeper.hand_in(self.alerts());
        }
    }

    async fn save_last(&self, at: Duration) {
        if let Some((_, keeper)) = &self.state {
            keeper.hand_in_last(Job::Snapshots(self.judge.snapshots(at))).await;
            keeper.hand_in_last(self.alerts()).await;
        }
    }

    fn alerts(&self) -> Job {
        Job::Alerts(self.desk.alerts.lock().unwrap_or_else(PoisonError::into_inner).rows())
    }
}

fn is_due(last: Option<Duration>, at: Duration, interval: Duration) -> bool {
    last.is_none_or(|last| at.saturating_sub(last) >= interval)
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
