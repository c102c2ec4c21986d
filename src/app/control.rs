//! The control loop: the one task that drives the publisher.
//!
//! It lists the repository, orders loads one at a time on a thread in the background, and fulfils wishes from the admin
//! port. One load at a time, because two would compete for the cores that serve.
//!
//! Invariant: everything that may change what is live happens here, one thing after the other.

use super::background::Background;
use super::following::Found;
use super::{AppError, ConfigSource, learning};
use crate::admin::{Command, Desk, ReloadOutcome};
use crate::alert::webhook::{WebhookSender, WebhookTarget, webhook};
use crate::catalog::{
    Chosen, FreezeOrder, Listing, LoadFailure, LoadOrder, Model, PresentModel, Publisher, Quarantined, RetryError,
    RolloutHold, SplitError,
};
use crate::config::{AlertSettings, Config, ModelSettings};
use crate::registry::RegistryError;
use crate::registry::load::Loader;
use crate::registry::{directory, memory, quarantine};
use crate::store::{Job, Keeper, Store};
use std::collections::BTreeSet;
use std::fmt::Display;
use std::sync::{Arc, PoisonError};
use std::time::{Instant, SystemTime};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// Said when a reload cannot even be queued.
pub(super) const RELOAD_NOTE: &str = "the control loop is busy; the reload was not started";

/// Holds that may wait: a model has few at a time, and they are taken before everything else.
pub(super) const HOLD_QUEUE: usize = 256;

/// What rollouts want to be live.
#[derive(Debug)]
pub(super) enum HoldCommand {
    /// These weights.
    Hold { model: String, hold: RolloutHold },
    /// What is stable from now on.
    Release { model: String, chosen: Chosen },
}

/// How a load ended.
type LoadOutcome = (LoadOrder, Result<Arc<Model>, LoadFailure>);

/// What the control loop is made of.
pub(super) struct Parts {
    pub(super) config: Config,
    pub(super) source: ConfigSource,
    pub(super) publisher: Publisher,
    pub(super) loader: Loader,
    pub(super) desk: Arc<Desk>,
    pub(super) started: Instant,
    /// Where learned references come from and go to, if state can be kept.
    pub(super) state: Option<(Store, Keeper)>,
}

/// What the control loop owns.
pub(super) struct Control {
    config: Config,
    /// The configuration at the start, which a restart would replace.
    at_start: Config,
    source: ConfigSource,
    publisher: Publisher,
    loader: Loader,
    desk: Arc<Desk>,
    started: Instant,
    state: Option<(Store, Keeper)>,
    listing: Listing,
    /// What followers found of models that come from a registry.
    fetched: Listing,
    /// Models that come from a registry and of which nobody has said yet what the cache has.
    awaited: BTreeSet<String>,
    listed_once: bool,
    /// What was last said of the repository: whether it can be listed.
    is_listable: bool,
    list: Option<JoinHandle<Result<Listing, RegistryError>>>,
    /// Where versions are loaded.
    loading: Background,
    load: Option<oneshot::Receiver<LoadOutcome>>,
}

impl Control {
    /// The loop, with the configured alert sinks started.
    pub(super) fn new(parts: Parts) -> Result<Self, AppError> {
        let Parts { config, source, publisher, loader, desk, started, state } = parts;
        start_sinks(&desk, &config.alerts)?;
        let at_start = config.clone();
        let sourced = config.models.iter().filter(|(_, settings)| settings.source.is_some());
        let awaited = sourced.map(|(model, _)| model.clone()).collect();
        Ok(Self {
            config,
            at_start,
            source,
            publisher,
            loader,
            desk,
            started,
            state,
            listing: Listing::new(),
            fetched: Listing::new(),
            awaited,
            listed_once: false,
            is_listable: true,
            list: None,
            loading: Background::new("tidegate-loader")?,
            load: None,
        })
    }

    pub(super) async fn run(
        mut self,
        (mut holds, mut wishes): (mpsc::Receiver<HoldCommand>, mpsc::Receiver<Command>),
        mut found: mpsc::Receiver<Found>,
        stop: CancellationToken,
    ) {
        let mut poll = tokio::time::interval(self.config.repository.poll_interval);
        poll.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                // What takes a share away from a version that fails waits for nothing else.
                biased;
                () = stop.cancelled() => return,
                Some(command) = holds.recv() => self.hold(command),
                _ = poll.tick() => self.start_listing(),
                listed = finished(&mut self.list) => self.listing_finished(listed),
                Some(Found { model, present }) = found.recv() => self.fetched_is(model, present),
                outcome = finished(&mut self.load) => self.load_finished(outcome),
                wish = wishes.recv() => match wish {
                    Some(Command::Reload { reply }) => {
                        let outcome = self.reload();
                        poll = tokio::time::interval(self.config.repository.poll_interval);
                        poll.set_missed_tick_behavior(MissedTickBehavior::Skip);
                        let _ = reply.send(outcome);
                    }
                    Some(Command::SetSplit { model, weights, reply }) => {
                        self.publisher.set_split(&model, weights, reply, self.started.elapsed());
                    }
                    Some(Command::ClearSplit { model, reply }) => {
                        self.publisher.clear_split(&model, reply, self.started.elapsed());
                    }
                    Some(Command::Freeze(order)) => self.freeze(*order),
                    Some(Command::Retry { model, version, reply }) => {
                        let _ = reply.send(self.retry(&model, version));
                    }
                    None => return,
                },
            }
            self.order_next_load();
        }
    }

    fn hold(&mut self, command: HoldCommand) {
        let now = self.started.elapsed();
        match command {
            HoldCommand::Hold { model, hold } => {
                let name = model.clone();
                let reply = move |outcome: Result<_, SplitError>| {
                    // Whoever drives the rollout sees what is live, and what cannot be loaded.
                    if let Err(cause) = outcome {
                        tracing::debug!(model = name, %cause, "a rollout's weights are not live");
                    }
                };
                self.publisher.hold(&model, hold, Box::new(reply), now);
            }
            HoldCommand::Release { model, chosen } => self.publisher.release(&model, Some(chosen), now),
        }
    }

    /// On a thread of its own, because a disk may hang; one at a time, because then the next would hang too.
    fn start_listing(&mut self) {
        if self.list.is_none() {
            let (repository, previous) = (self.loader.repository.clone(), self.listing.clone());
            self.list =
                Some(tokio::task::spawn_blocking(move || directory::list(&repository, &previous, SystemTime::now())));
        }
    }

    fn listing_finished(&mut self, listed: Option<Result<Listing, RegistryError>>) {
        self.list = None;
        match listed {
            Some(Ok(listing)) => {
                if !self.is_listable {
                    tracing::info!("the repository can be listed again");
                }
                self.is_listable = true;
                self.listing = listing;
                self.observe();
                if !self.listed_once {
                    self.warn_of_absent_models();
                }
            }
            // Said when it begins, not every second: a network mount may be away for hours.
            Some(Err(error)) if self.is_listable => {
                tracing::error!(cause = %error, "the repository cannot be listed; what is loaded serves on");
                self.is_listable = false;
            }
            Some(Err(_)) | None => {}
        }
        self.listed_once = true;
    }

    /// Takes in what a follower found of a model.
    fn fetched_is(&mut self, model: String, present: Option<PresentModel>) {
        self.awaited.remove(&model);
        let Some(present) = present else { return };
        if self.fetched.get(&model) != Some(&present) {
            self.fetched.insert(model, present);
            self.observe();
        }
    }

    /// Shows the publisher what there is. A model that comes from a registry comes from there alone, also where a directory
    /// has its name.
    fn observe(&mut self) {
        let is_fetched = |name: &str| self.config.models.get(name).is_some_and(|model| model.source.is_some());
        let of_directory = self.listing.iter().filter(|(name, _)| !is_fetched(name));
        let all = of_directory.chain(&self.fetched).map(|(name, model)| (name.clone(), model.clone())).collect();
        self.publisher.observe(&all, settings_of(&self.config), self.started.elapsed());
    }

    fn warn_of_absent_models(&self) {
        let of_directory = self.config.models.iter().filter(|(_, settings)| settings.source.is_none());
        for name in of_directory.map(|(name, _)| name).filter(|name| !self.listing.contains_key(*name)) {
            tracing::warn!(model = name, "a configured model is not in the repository");
        }
    }

    fn order_next_load(&mut self) {
        let now = self.started.elapsed();
        if self.load.is_none()
            && let Some(order) = self.publisher.next_load(now)
        {
            let loader = self.loader.clone();
            // Whoever wants nothing learned wants nothing that was.
            let learns = order.settings.drift.learn_rows > 0;
            let store = self.state.as_ref().filter(|_| learns).map(|(store, _)| store.clone());
            let runtime = Handle::current();
            let load = move || {
                let recall = |model| match &store {
                    Some(store) => learning::recall(model, store, &runtime),
                    None => model,
                };
                let outcome = loader.load(&order).map(recall);
                (order, outcome)
            };
            self.load = Some(self.loading.run(load));
        }
        if self.listed_once
            && self.awaited.is_empty()
            && self.publisher.is_idle()
            && !self.publisher.catalog().snapshot().settled
        {
            self.publisher.first_pass_done(now);
        }
    }

    fn load_finished(&mut self, outcome: Option<LoadOutcome>) {
        self.load = None;
        match outcome {
            Some((order, outcome)) => {
                let refused = outcome.as_ref().err().and_then(|failure| quarantine::row(&order, failure));
                refused.into_iter().for_each(|row| self.keep(Job::Quarantine(row)));
                self.publisher.load_finished(&order, outcome, self.started.elapsed());
            }
            None => self.publisher.load_lost(self.started.elapsed()),
        }
    }

    /// Publishes a learned reference and writes it down. A version that was unloaded meanwhile, or loaded anew, has no use
    /// for it.
    fn freeze(&mut self, order: FreezeOrder) {
        let model = match self.publisher.freeze(order, self.started.elapsed()) {
            Ok(model) => model,
            Err(error) => return tracing::warn!(cause = %error, "a learned reference is not frozen"),
        };
        tracing::info!(
            model = model.name,
            version = model.version,
            rows = model.profile.as_ref().map_or(0, |profile| profile.rows),
            "the reference is learned from traffic and frozen"
        );
        learning::row(&model, SystemTime::now()).into_iter().for_each(|row| self.keep(Job::Learned(row)));
    }

    /// Lets a version that was refused be loaded again.
    fn retry(&mut self, model: &str, version: u64) -> Result<(), RetryError> {
        if let Some(Quarantined { digest, .. }) = self.publisher.retry(model, version, self.started.elapsed())? {
            self.loader.quarantine.release(model, &digest);
            self.keep(Job::Release { model: model.to_owned(), digest });
        }
        tracing::info!(model, version, "a version that was refused is to be tried again");
        Ok(())
    }

    /// Hands something in that is to outlive the process, if anything can.
    fn keep(&self, job: Job) {
        if let Some((_, keeper)) = &self.state {
            keeper.hand_in(job);
        }
    }

    fn reload(&mut self) -> Result<ReloadOutcome, String> {
        let new = (self.source)().inspect_err(|problems| {
            tracing::error!(problems, "the new configuration has problems; the old one stays");
        })?;
        let needs_restart: Vec<String> =
            self.at_start.diff_needing_restart(&new).into_iter().map(str::to_owned).collect();
        let refused = self.publisher.refused_splits(settings_of(&new));
        if !refused.is_empty() {
            let problems = refused.join("\n");
            tracing::error!(problems, "the new configuration has splits that cannot be live; the old one stays");
            return Err(problems);
        }
        if new.alerts != self.config.alerts {
            start_sinks(&self.desk, &new.alerts).map_err(|error| error.to_string())?;
        }
        self.loader.memory_budget = new.repository.memory_budget.unwrap_or_else(memory::default_budget);
        self.config = new.with_sources_of(&self.at_start);
        self.publisher.configure(settings_of(&self.config), self.config.repository.bake, self.started.elapsed());
        self.warn_of_absent_models();
        tracing::info!(?needs_restart, "configuration reloaded");
        Ok(ReloadOutcome { needs_restart })
    }
}

/// Waits for what runs; forever when nothing does. Nothing if it panicked.
async fn finished<T, E: Display>(task: &mut Option<impl Future<Output = Result<T, E>> + Unpin>) -> Option<T> {
    match task {
        Some(task) => task.await.inspect_err(|error| tracing::error!(cause = %error, "a blocking task failed")).ok(),
        None => std::future::pending().await,
    }
}

fn settings_of(config: &Config) -> impl Fn(&str) -> Arc<ModelSettings> + '_ {
    |name| Arc::new(config.model(name))
}

/// Starts the configured sinks in place of those that ran before, which deliver what they hold and end.
fn start_sinks(desk: &Desk, alerts: &AlertSettings) -> Result<(), AppError> {
    let mut senders: Vec<WebhookSender> = Vec::new();
    for sink in &alerts.sinks {
        let target =
            WebhookTarget { url: sink.url.clone(), timeout: sink.timeout, retries: sink.retries, queue: sink.queue };
        let (sender, deliver) = webhook(target)?;
        // Ends by itself when its senders are gone.
        drop(super::spawn(deliver));
        senders.push(sender);
    }
    *desk.sinks.lock().unwrap_or_else(PoisonError::into_inner) = senders;
    Ok(())
}
