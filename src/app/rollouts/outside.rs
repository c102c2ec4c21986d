//! Whom a rollout asks and tells: hooks, and the registry.
//!
//! What is due follows from where the rollout stands and what was answered and told so far, so that nothing is lost by a
//! restart: a hook is asked again, and the registry is told what it was not told. Every question is a task of its own, and
//! its answer is an event like any other.
//!
//! Invariant: a hook of a rollout is asked once at a time, the registry is told one thing at a time, and nobody waits for
//! either.

use super::driven::Driven;
use crate::app::AppError;
use crate::app::mlflow;
use crate::app::rollout_hooks::RolloutHooks;
use crate::catalog::Entry;
use crate::config::{Config, RolloutHookKind, SourceSettings};
use crate::registry::mlflow::{MlflowClient, ModelUri};
use crate::rollout::hooks::{HookAnswer, HookPayload};
use crate::rollout::write_back::{Told, due, stable_alias, wanted};
use crate::rollout::{Phase, waits_for};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// How often a hook that does not agree, or is asked at every look, is asked.
const ASK_AGAIN: Duration = Duration::from_secs(10);
/// The least time between two things that the registry is told.
const TELL_AGAIN: Duration = Duration::from_secs(1);
/// The longest wait after a registry that was not told.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// How long what ended waits for the registry before another rollout of the model begins.
const TELL_FIRST: Duration = Duration::from_secs(10);
/// Questions under way at a time, of all rollouts.
const MOST_ASKED: usize = 256;

/// Who is asked and told.
pub(in crate::app) struct Outside {
    hooks: Arc<RolloutHooks>,
    mlflow: Option<Arc<MlflowClient>>,
    pub(super) asking: JoinSet<Heard>,
}

/// An answer.
pub(super) struct Heard {
    pub(super) model: String,
    pub(super) id: String,
    pub(super) answer: Answer,
}

/// Whose.
pub(super) enum Answer {
    /// A hook's.
    Hook { hook: RolloutHookKind, name: String, answer: HookAnswer },
    /// The registry's: what it was told, or why not.
    Told { told: Told, failed: Option<String> },
}

/// What one rollout has asked and told.
#[derive(Default)]
pub(super) struct Asked {
    /// When each hook was asked last; none while it is being asked.
    hooks: BTreeMap<(RolloutHookKind, String), Option<Instant>>,
    /// The change that was told last to those who want to know of every one.
    event: Option<u64>,
    /// Whether it was seen under way.
    was_under_way: bool,
    /// What the registry was told last.
    told: Option<Told>,
    is_telling: bool,
    /// When the registry may be told something, and how long the wait was.
    tell_after: Option<(Instant, Duration)>,
}

/// Where a model is registered.
struct Registered {
    name: String,
    alias: Option<String>,
}

impl Outside {
    /// Nobody is asked yet.
    pub(in crate::app) fn new(config: &Config) -> Result<Self, AppError> {
        let is_of_mlflow = |source: &SourceSettings| source.is_of_mlflow();
        let any = config.models.values().any(|model| model.source.as_ref().is_some_and(is_of_mlflow));
        // A client of its own: the one that follows models lives on another runtime.
        let mlflow = any.then(|| mlflow::open(config)).transpose()?.map(|mlflow| mlflow.shared());
        Ok(Self { hooks: Arc::new(RolloutHooks::new()?), mlflow, asking: JoinSet::new() })
    }

    /// Asks and tells what is due of a rollout.
    pub(super) fn ask(&mut self, driven: &mut Driven, entry: &Entry) {
        if self.asking.len() < MOST_ASKED {
            self.ask_hooks(driven);
            self.tell_registry(driven, entry);
        }
    }

    fn ask_hooks(&mut self, driven: &mut Driven) {
        let state = driven.state();
        let waited_for = waits_for(state);
        let is_looked_at =
            matches!(state.phase, Phase::Canary { .. } | Phase::Shadow | Phase::Promoting | Phase::Baking);
        let (changed, has_ended, reason) = (state.changed, state.phase.is_ended(), state.reason.clone());
        let view = driven.view();
        driven.asked.was_under_way |= !has_ended;
        let is_news = driven.asked.was_under_way && driven.asked.event != Some(changed);
        for hook in driven.settings.hooks.clone() {
            let key = (hook.kind, hook.name.clone());
            let last = driven.asked.hooks.get(&key);
            let is_asked = last == Some(&None);
            let is_early = matches!(last, Some(Some(at)) if at.elapsed() < ASK_AGAIN);
            let is_due = match hook.kind {
                RolloutHookKind::Rollout | RolloutHookKind::Rollback => is_looked_at && !is_early,
                RolloutHookKind::Event => is_news,
                // Once, and not again by a process that finds it ended.
                RolloutHookKind::PostRollout => has_ended && driven.asked.was_under_way && last.is_none(),
                _ => waited_for.contains(&key) && !is_early,
            };
            if !is_due || is_asked {
                continue;
            }
            let payload = match hook.kind {
                RolloutHookKind::Event => HookPayload::event(&view, &hook, &reason, view.since),
                _ => HookPayload::of(&view, &hook),
            };
            driven.asked.hooks.insert(key, None);
            if hook.kind == RolloutHookKind::Event {
                driven.asked.event = Some(changed);
            }
            let (hooks, model, id) = (Arc::clone(&self.hooks), view.model.clone(), view.id.clone());
            self.asking.spawn(async move {
                let answer = hooks.ask(&hook, &payload).await;
                Heard { model, id, answer: Answer::Hook { hook: hook.kind, name: hook.name, answer } }
            });
        }
    }

    fn tell_registry(&mut self, driven: &mut Driven, entry: &Entry) {
        let (Some(client), Some(registered)) = (&self.mlflow, registered(driven, entry)) else { return };
        let is_early = driven.asked.tell_after.is_some_and(|(at, _)| Instant::now() < at);
        if driven.asked.is_telling || is_early {
            return;
        }
        driven.asked.recall(driven.course.state().told.as_deref());
        let view = driven.view();
        let all = wanted(&view, registered.alias.as_deref());
        let Some(told) = due(&all, driven.asked.told.as_ref()) else { return };
        driven.asked.is_telling = true;
        let (client, name) = (Arc::clone(client), registered.name);
        self.asking.spawn(async move {
            let outcome = async {
                client.write(&name, told.version, &told.tags).await?;
                match &told.alias {
                    Some(alias) => client.set_alias(&name, alias, told.version).await,
                    None => Ok(()),
                }
            };
            let failed = outcome.await.err().map(|error| error.to_string());
            Heard { model: view.model, id: view.id, answer: Answer::Told { told: all, failed } }
        });
    }
}

impl Asked {
    /// What the registry was told by an earlier process.
    fn recall(&mut self, told: Option<&str>) {
        if self.told.is_none() {
            self.told = told.and_then(|told| serde_json::from_str(told).ok());
        }
    }

    /// A hook answered.
    pub(super) fn hook_answered(&mut self, key: (RolloutHookKind, String)) {
        self.hooks.insert(key, Some(Instant::now()));
    }

    /// The registry was told, or was not; what is to be written down of it, if that is news.
    pub(super) fn was_told(&mut self, told: Told, failed: Option<&String>) -> Option<String> {
        self.is_telling = false;
        let what = serde_json::to_string(&told).ok()?;
        let (waited, is_first) = match (failed, self.tell_after) {
            (Some(_), Some((_, waited))) if waited > TELL_AGAIN => (waited * 2, false),
            (Some(_), _) => (TELL_AGAIN * 2, true),
            (None, _) => (TELL_AGAIN, true),
        };
        let wait = waited.min(LONGEST_WAIT);
        self.tell_after = Some((Instant::now() + wait, wait));
        if failed.is_none() {
            self.told = Some(told);
        }
        is_first.then_some(what)
    }

    /// Whether the registry is told what became of the rollout, or had its time.
    pub(super) fn is_told(&self, driven: &Driven, entry: &Entry, now: u64) -> bool {
        let Some(registered) = registered(driven, entry) else { return true };
        let all = wanted(&driven.view(), registered.alias.as_deref());
        let ended = driven.state().ended_at.unwrap_or(now);
        due(&all, self.told.as_ref()).is_none() || now.saturating_sub(ended) > TELL_FIRST.as_millis() as u64
    }
}

/// Where the registry is to be told of a rollout, if it is.
fn registered(driven: &Driven, entry: &Entry) -> Option<Registered> {
    let source = entry.settings.source.as_ref().filter(|source| source.is_of_mlflow())?;
    if !driven.state().beginning.plan.write_back {
        return None;
    }
    let name = match source.uri.parse().ok()? {
        ModelUri::Model { name } | ModelUri::Alias { name, .. } | ModelUri::Version { name, .. } => name,
        ModelUri::Logged { .. } => return None,
    };
    let is_test = driven.state().beginning.test.is_some();
    Some(Registered { name, alias: stable_alias(source).filter(|_| !is_test).map(str::to_owned) })
}
