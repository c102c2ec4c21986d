//! One model at its registry: what is wanted, compared with what is here, and fetched.
//!
//! A look asks the registry for what is wanted and fetches what is not in the cache, or is in it as it was before somebody
//! wrote over it at its source: what is there serves until all of the new bytes are here. Whatever goes wrong costs what it
//! concerns: without an answer what was wanted last stays wanted, and a version that cannot be had leaves the others, and
//! the stable one before it, where they are. A start begins with what the cache has, so that a registry that is down
//! keeps nobody from serving.
//!
//! Invariant: a version is reported as present only if all of its bytes are here and are what they were when they came.

use super::board::{SourceBoard, SourceState};
use super::directory::fingerprint;
use super::source::{LONGEST_ANSWER, Offer, Source, SourceError, in_time};
use super::staging::{self, Cache, Digest, Progress, StageError};
use crate::catalog::{Present, PresentModel, Roles};
use crate::config::SourceSettings;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::Notify;

/// Waits between looks grow to so many intervals while the registry does not answer.
const LONGEST_BACK_OFF: u32 = 8;
/// The longest pause that a registry may ask for (Retry-After): an alias that is moved back must be seen.
const LONGEST_PAUSE_ASKED_FOR: Duration = Duration::from_secs(300);
/// The most looks that are passed over before a version that was refused is tried again.
const MOST_PASSED_OVER: u32 = 63;

/// Follows one model.
#[derive(Debug)]
pub struct Follower {
    model: String,
    /// Where it comes from, as configured.
    uri: String,
    source: Arc<dyn Source>,
    /// Tags that a version must have.
    require_tags: Vec<String>,
    cache: Cache,
    board: Arc<SourceBoard>,
    progress: Arc<Progress>,
    /// What is wanted, of that which is here.
    roles: Roles,
    /// Versions that were refused for what they are.
    refused: BTreeMap<u64, Refusal>,
    state: SourceState,
    /// Looks in a row that failed.
    failures: u32,
    /// How long the registry wants to be left alone.
    asked_for: Duration,
    /// Whether the cache has nothing of the model from elsewhere.
    is_claimed: bool,
    /// When the source wants to be asked again, if sooner than usual.
    again: Option<Duration>,
}

/// Why a version was refused or given up, and when it is tried again. A registry calls a version ready before its files are
/// all there, so that what is wrong with it may mend; and it may be large, so that it is not fetched at every look.
#[derive(Debug)]
struct Refusal {
    reason: String,
    /// Looks that are passed over from refusal to refusal: 1, 3, 7, …
    pause: u32,
    /// Those that are left of it.
    left: u32,
}

/// When a registry is asked whether what is being fetched is still wanted.
#[derive(Debug)]
pub struct Watch {
    /// Says that something changed.
    pub wake: Arc<Notify>,
    /// Asked so often also without that.
    pub interval: Duration,
}

/// What the registry wants instead of what was being fetched.
struct Superseded(Box<Offer>);

impl Follower {
    /// A follower of `model`, as it is configured.
    #[must_use]
    pub fn new(
        model: &str,
        settings: &SourceSettings,
        source: Arc<dyn Source>,
        cache: Cache,
        board: Arc<SourceBoard>,
    ) -> Self {
        let (model, uri, require_tags) = (model.to_owned(), settings.uri.clone(), settings.require_tags.clone());
        let state = SourceState { source: uri.clone(), ..SourceState::default() };
        board.say(&model, state.clone());
        let progress = board.progress(&model);
        let (roles, refused) = (Roles::default(), BTreeMap::new());
        Self {
            model,
            uri,
            source,
            require_tags,
            cache,
            board,
            progress,
            roles,
            refused,
            state,
            failures: 0,
            again: None,
            is_claimed: false,
            asked_for: Duration::ZERO,
        }
    }

    /// The model's name here.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.model
    }

    /// What the cache has of the model, without asking the registry; all bytes are read, which blocks.
    pub fn recall(&mut self) -> Option<PresentModel> {
        self.claim().ok()?;
        let mut wanted = self.cache.roles(&self.model)?;
        self.state.versions = self.cache.lineage(&self.model);
        for (version, manifest) in self.cache.versions(&self.model) {
            if let Err(error) = self.cache.prove(&self.model, &manifest) {
                let model = &self.model;
                tracing::error!(model, version, cause = %error, "a cached version is not what it was; it is fetched anew");
                let forgotten = self.cache.forget(&self.model, version);
                forgotten.unwrap_or_else(|cause| tracing::error!(model, version, %cause, "it cannot be removed"));
            }
        }
        wanted.stable = wanted.stable.map(|version| self.at_hand(version, &wanted));
        self.take_over(&wanted);
        self.board.say(&self.model, self.state.clone());
        (self.roles != Roles::default()).then(|| {
            tracing::info!(model = self.model, source = self.uri, "serving from the cache until the registry answers");
            self.present()
        })
    }

    /// Asks the registry, and fetches what is wanted and not here. What the catalog is to know comes back, also if something
    /// went wrong: that is on the board.
    ///
    /// A download may take hours, and what it is for may be taken back meanwhile: `watch` says when to ask again.
    pub async fn look(&mut self, now: SystemTime, watch: &Watch) -> PresentModel {
        if let Err(problem) = self.claim() {
            self.state.problems = vec![problem];
            self.board.say(&self.model, self.state.clone());
            return PresentModel { roles: Some(Roles::default()), ..PresentModel::default() };
        }
        let offer = self.ask().await;
        let problems = match offer {
            Ok(offer) => {
                self.state.synced = Some(now);
                (self.failures, self.asked_for) = (0, Duration::ZERO);
                let mut followed = self.follow(offer, watch).await;
                loop {
                    match followed {
                        Ok(problems) => break problems,
                        Err(Superseded(offer)) => followed = self.follow(*offer, watch).await,
                    }
                }
            }
            Err(error) => self.unanswered(error),
        };
        self.state.problems = problems;
        self.board.say(&self.model, self.state.clone());
        self.present()
    }

    /// What the registry wants.
    async fn ask(&self) -> Result<Offer, SourceError> {
        in_time(LONGEST_ANSWER, "what the registry wants", self.source.offer()).await
    }

    /// Sees to it that the cache has nothing of the model that comes from elsewhere.
    fn claim(&mut self) -> Result<(), String> {
        if !self.is_claimed {
            self.cache.claim(&self.model, &self.source.place()).map_err(|cause| {
                tracing::error!(model = self.model, %cause, "what the cache has of a model cannot be used");
                format!("what the cache has of it cannot be used: {cause}")
            })?;
            self.is_claimed = true;
        }
        Ok(())
    }

    /// How long to wait for the next look: the interval, longer while the registry does not answer, and a part of it that
    /// is drawn (`jitter`, 0 to 1), so that replicas do not ask in step.
    #[must_use]
    pub fn pause(&self, interval: Duration, jitter: f64) -> Duration {
        let factor = 2_u32.saturating_pow(self.failures.saturating_sub(1)).min(LONGEST_BACK_OFF);
        let usual = (interval * factor).mul_f64(0.9 + 0.1 * jitter.clamp(0.0, 1.0)).max(self.asked_for);
        self.again.map_or(usual, |again| again.min(usual))
    }

    fn unanswered(&mut self, error: SourceError) -> Vec<String> {
        self.failures = self.failures.saturating_add(1);
        self.again = None;
        if let SourceError::Failing { retry_after: Some(pause), .. } = error {
            self.asked_for = pause.min(LONGEST_PAUSE_ASKED_FOR);
        }
        if self.failures == 1 {
            let model = &self.model;
            tracing::error!(model, cause = %error, "the registry does not say what is wanted; what was wanted last stays");
        }
        vec![error.to_string()]
    }

    /// Compares what is wanted with what is here, and fetches one version that is not: what came is reported before the next
    /// one is fetched, so that a version that serves waits for none that is only kept warm.
    async fn follow(&mut self, offer: Offer, watch: &Watch) -> Result<Vec<String>, Superseded> {
        let Offer { versions, roles: wanted, mut problems, again } = offer;
        self.again = again;
        if versions != self.state.versions {
            // Whoever moves an alias, or writes on a version, wants it tried again.
            self.refused.clear();
            if let Err(error) = self.cache.save_lineage(&self.model, &versions) {
                problems.push(error.to_string());
            }
        }
        self.state.versions = versions;
        let (mut lacking, mut is_fetched) = (BTreeSet::new(), false);
        for version in wanted.named() {
            if let Some(reason) = self.lacks_tags(version) {
                problems.push(reason);
                lacking.insert(version);
            } else if self.has(version) {
                self.cache.touch(&self.model, version);
            } else if let Some(refusal) = self.refused.get_mut(&version).filter(|refusal| refusal.left > 0) {
                refusal.left -= 1;
                problems.push(refusal.reason.clone());
            } else if is_fetched {
                self.again = Some(Duration::ZERO);
            } else {
                match self.fetch(version, &wanted, watch).await? {
                    Ok(()) => is_fetched = true,
                    Err(error) => problems.push(self.refuse(version, &error)),
                }
            }
        }
        // Also one that is here from before: a tag that was taken away takes the version out of what is to come.
        self.take_over(&wanted.only(|version| !lacking.contains(&version)));
        if let Err(error) = self.cache.save_roles(&self.model, &self.roles) {
            problems.push(error.to_string());
        }
        Ok(problems)
    }

    /// Notes that a version could not be had; what is to be said of it.
    fn refuse(&mut self, version: u64, error: &StageError) -> String {
        let reason = format!("version {version}: {error}");
        self.say_why_not(version, error);
        if error.wants_pauses() {
            let pause = self.refused.get(&version).map_or(1, |refusal| 2 * refusal.pause + 1);
            let pause = pause.min(MOST_PASSED_OVER);
            self.refused.insert(version, Refusal { reason: reason.clone(), pause, left: pause });
        }
        reason
    }

    /// Whether a version is here as it is at its source now, as far as that can be told.
    fn has(&self, version: u64) -> bool {
        let now = self.identity(version);
        let kept = self.cache.manifest(&self.model, version);
        kept.is_some_and(|kept| now.is_none() || kept.identity == now)
    }

    /// When what is here of a version was registered, if what is here is what the registry speaks of.
    fn registered_at(&self, version: u64) -> Option<u64> {
        let registered = self.state.versions.get(&version)?.registered_at;
        registered.filter(|_| self.has(version))
    }

    fn identity(&self, version: u64) -> Option<Digest> {
        self.state.versions.get(&version).and_then(|lineage| lineage.identity.clone())
    }

    fn say_why_not(&self, version: u64, error: &StageError) {
        let model = &self.model;
        match error {
            // Somebody is at it.
            StageError::Source(SourceError::NotWhole { .. }) => {
                tracing::info!(model, version, cause = %error, "a version is not fetched yet");
            }
            _ => tracing::error!(model, version, cause = %error, "a version cannot be fetched"),
        }
    }

    /// What is to be said of a version without the tags that it must have.
    fn lacks_tags(&self, version: u64) -> Option<String> {
        let tags = self.state.versions.get(&version).map(|lineage| &lineage.tags);
        let lacking = |tag: &&String| tags.is_none_or(|tags| !tags.contains_key(*tag));
        let lacking: Vec<&str> = self.require_tags.iter().filter(lacking).map(String::as_str).collect();
        (!lacking.is_empty()).then(|| format!("version {version}: it lacks the tags {}", lacking.join(", ")))
    }

    /// Fetches a version, unless it is no longer wanted before it is here.
    async fn fetch(&self, version: u64, wanted: &Roles, watch: &Watch) -> Result<Result<(), StageError>, Superseded> {
        self.cache.hold(&self.model, self.roles.named().chain(wanted.named()).collect());
        let started = std::time::Instant::now();
        let of = (self.model.as_str(), version);
        let staged = tokio::select! {
            staged = staging::stage(&self.cache, &*self.source, of, self.identity(version), &self.progress) => staged,
            superseded = self.superseded(wanted, watch) => {
                tracing::info!(model = self.model, version, "something else is wanted; the download is put off");
                return Err(superseded);
            }
        };
        Ok(staged.map(|manifest| {
            let (bytes, milliseconds) = (manifest.size(), started.elapsed().as_millis());
            tracing::info!(model = self.model, version, bytes, digest = %manifest.digest, milliseconds, "version fetched");
        }))
    }

    /// Waits until the registry says something else than it did before the download.
    async fn superseded(&self, wanted: &Roles, watch: &Watch) -> Superseded {
        loop {
            tokio::select! {
                () = tokio::time::sleep(watch.interval) => {}
                () = watch.wake.notified() => {}
            }
            match self.ask().await {
                Ok(offer) => {
                    self.board.answered(&self.model, SystemTime::now());
                    if offer.roles != *wanted || offer.versions != self.state.versions {
                        return Superseded(Box::new(offer));
                    }
                }
                Err(error) => tracing::debug!(model = self.model, cause = %error, "the registry does not answer"),
            }
        }
    }

    /// What is wanted becomes what is asked of the catalog, as far as it is here. A stable version that is not leaves the
    /// one before it.
    fn take_over(&mut self, wanted: &Roles) {
        let is_here = |version: u64| self.is_here(version);
        let (roles, before) = (wanted.only(is_here), self.roles.stable.filter(|version| is_here(*version)));
        self.roles = Roles { stable: roles.stable.or(before), ..roles };
        self.cache.hold(&self.model, self.roles.named().collect());
    }

    fn is_here(&self, version: u64) -> bool {
        self.cache.manifest(&self.model, version).is_some()
    }

    /// A stable version, or what can serve in its place if the cache does not have it: of the versions that are whole and that
    /// nobody wants as something else (these have not proved themselves), the one that was in use last.
    fn at_hand(&mut self, stable: u64, wanted: &Roles) -> u64 {
        if self.is_here(stable) {
            return stable;
        }
        let mut kept = self.cache.by_last_use(&self.model).into_iter();
        let may_serve = |version: &u64| !wanted.warm.contains(version) && self.lacks_tags(*version).is_none();
        let Some(version) = kept.find(may_serve) else { return stable };
        let reason =
            format!("version {stable} is not whole in the cache; version {version} serves until it is fetched");
        tracing::warn!(model = self.model, reason, "what is wanted is not here");
        self.state.problems.push(reason);
        version
    }

    fn present(&self) -> PresentModel {
        let seen = |version: u64| {
            let (fingerprint, _) = fingerprint(&self.cache.directory(&self.model, version)).ok()??;
            Some((version, Present { fingerprint, settled: true, registered_at: self.registered_at(version) }))
        };
        // A split may name whatever is here, but for versions that may not serve. One that serves is not taken away.
        let named: BTreeSet<u64> = self.roles.named().collect();
        let may_serve = |version: &u64| named.contains(version) || self.lacks_tags(*version).is_none();
        let versions = self.cache.versions(&self.model).into_keys().filter(may_serve).filter_map(seen).collect();
        PresentModel { versions, roles: Some(self.roles.clone()), ..PresentModel::default() }
    }
}
