//! How rollouts begin: by themselves, when a model that is managed has another version to go to, or because somebody says
//! so.
//!
//! What ended once is not begun again by itself: the same bytes by the same plan would come to the same. Nor is what was
//! rolled back or turned away, by whichever plan and however many rollouts ago. Whoever wants that says so, and that is
//! another try with an id of its own. One that could not be used is begun again once it can. What was stable before and gave
//! way to another is gone back to by itself only where a registry names it.
//!
//! A version whose bytes were refused before anybody saw it coming has a rollout all the same, which ends at once: a
//! version that nobody hears of again would look as if it had never been there.
//!
//! Invariant: a model has one rollout at a time.

use super::driven::Driven;
use super::journal::digest;
use super::{NO_JOURNAL, Rollouts};
use crate::catalog::{Entry, Roles, Snapshot, VersionStatus};
use crate::rollout::course::Course;
use crate::rollout::history::History;
use crate::rollout::journal::Beginning;
use crate::rollout::plan::Plan;
use crate::rollout::{OrderError, Phase, RolloutView, TestPlan, check_test};
use std::sync::Arc;

/// Who begins what nobody asked for.
const ITSELF: &str = "the rollout of the model's settings";

/// What is to be begun.
struct Wish<'a> {
    target: u64,
    test: Option<TestPlan>,
    by: &'a str,
    now: u64,
}

impl Rollouts {
    /// Begins what is wanted and was not tried.
    pub(super) fn begin_wanted(&mut self, snapshot: &Snapshot, now: u64) {
        for (model, entry) in &snapshot.models {
            let Some(settings) = &entry.settings.rollout else { continue };
            let rolled = self.models.get(model);
            let is_over = |last: &Driven| last.is_settled() && last.asked.is_told(last, entry, now);
            let is_free =
                rolled.is_none_or(|rolled| rolled.recalled.is_none() && rolled.last.as_ref().is_none_or(is_over));
            if !is_free || entry.explicit || entry.hold.is_some() {
                continue;
            }
            // Of a directory the highest version is wanted, also where somebody went back to a lower one.
            let is_named = entry.roles.is_some();
            let is_wanted = |target: &u64| {
                let Some(fingerprint) = entry.fingerprints.get(target) else { return false };
                let (found, is_usable) = (digest(*fingerprint), is_usable(entry, *target));
                let id = Plan::of(settings).id(model, &found);
                let is_new = |history: &History| {
                    let tried = history.outcome_of(&id);
                    tried.is_none_or(|outcome| outcome == Some(Phase::Failed) && is_usable)
                        && !history.is_left_alone(*target, &found, is_usable)
                        && (is_named || !history.gave_way(*target, &found))
                };
                rolled.is_none_or(|rolled| is_new(&rolled.history))
            };
            let Some(target) = quarantined(entry).into_iter().chain(entry.target).find(is_wanted) else { continue };
            if let Err(error) = self.begin(model, entry, Wish { target, test: None, by: ITSELF, now }) {
                tracing::warn!(model, target, cause = %error, "a rollout is not begun");
            }
        }
    }

    /// Begins what somebody asked for.
    pub(super) fn begin_ordered(
        &mut self,
        model: &str,
        (target, test): (Option<u64>, Option<TestPlan>),
        by: &str,
        now: u64,
    ) -> Result<RolloutView, OrderError> {
        if self.journal.is_none() {
            return Err(OrderError::Unavailable(NO_JOURNAL.to_owned()));
        }
        let snapshot = self.catalog.snapshot();
        let entry = snapshot.models.get(model).ok_or_else(|| OrderError::UnknownModel(model.to_owned()))?;
        let rolled = self.models.get(model);
        let is_running = rolled.is_some_and(|rolled| {
            rolled.recalled.is_some() || rolled.last.as_ref().is_some_and(|last| !last.is_settled())
        });
        if is_running || entry.hold.is_some() {
            return Err(OrderError::Refused("a rollout of the model is under way; abort it first".to_owned()));
        }
        if let Some(test) = &test {
            check_test(test)?;
        }
        let nothing = || OrderError::Refused("there is no other version to roll out; name one".to_owned());
        let target = target.or(entry.target).ok_or_else(nothing)?;
        self.begin(model, entry, Wish { target, test, by, now })
    }

    fn begin(&mut self, model: &str, entry: &Arc<Entry>, wish: Wish<'_>) -> Result<RolloutView, OrderError> {
        let settings = entry.settings.rollout.clone().unwrap_or_default();
        let rolled = self.models.entry(model.to_owned()).or_default();
        let beginning = beginning(model, entry, &rolled.history, (Plan::of(&settings), wish.test), wish.target)?;
        let (target, stable) = (beginning.target, beginning.stable);
        let mut beginning = Beginning { sighted_at: wish.now, by: wish.by.to_owned(), ..beginning };
        if let Some(ahead_ms) = beginning.registered(entry.registered_at.get(&target).copied()) {
            tracing::warn!(
                model,
                target,
                ahead_ms,
                "the registry's clock is ahead; its version counts as registered now"
            );
        }
        tracing::info!(model, id = beginning.id, target, stable, by = wish.by, "a rollout begins");
        let ledger = rolled.history.ledger().clone();
        let driven = Driven::new(model.to_owned(), Course::begin(beginning, wish.now), settings, ledger);
        rolled.history.begin(driven.state());
        rolled.released = None;
        Ok(rolled.last.insert(driven).view())
    }
}

/// Whether a version that could not be loaded, or not stand in, can after all.
fn is_usable(entry: &Entry, version: u64) -> bool {
    entry.loaded.contains_key(&version) && entry.can_stand_in(version).is_ok()
}

/// The version that would be the target if its bytes had not been refused: of a registry its canary, of a directory the
/// highest above all that can be had. Whoever put it there is to read of it where rollouts are told of.
fn quarantined(entry: &Entry) -> Option<u64> {
    let stable = entry.stable()?.version;
    let is_refused =
        |version: &u64| matches!(entry.versions.get(version), Some(VersionStatus::Failed { quarantined: Some(_), .. }));
    let highest = || {
        let known = entry.fingerprints.keys().rev().find(|version| entry.config.version_policy.allows(**version));
        known.copied().filter(|version| *version > stable.max(entry.target.unwrap_or(0)))
    };
    let named = |roles: &Roles| roles.canary.filter(|version| *version != stable);
    entry.roles.as_ref().map_or_else(highest, named).filter(is_refused)
}

/// What a rollout begins with, but for when and who.
fn beginning(
    model: &str,
    entry: &Entry,
    history: &History,
    (plan, test): (Plan, Option<TestPlan>),
    target: u64,
) -> Result<Beginning, OrderError> {
    let refused = |why: String| Err(OrderError::Refused(why));
    let Some(stable) = entry.stable() else {
        return refused(format!("no version of model \"{model}\" serves yet"));
    };
    let (stable, stable_digest) = (stable.version, digest(stable.facts.fingerprint));
    if target == stable {
        return refused(format!("version {target} is the stable one already"));
    }
    let of_version = |version: u64| {
        let loaded = entry.loaded.get(&version).map(|model| model.facts.fingerprint);
        entry.fingerprints.get(&version).copied().or(loaded).map(digest)
    };
    let Some(found) = of_version(target) else {
        let known: Vec<String> = entry.fingerprints.keys().map(u64::to_string).collect();
        let known = known.join(", ");
        return Err(OrderError::Invalid(format!("version {target} does not exist; on disk: {known}")));
    };
    let recent = history.recently_stable(plan.fast_return, (stable, &stable_digest));
    Ok(Beginning {
        id: history.next_id(&plan.id(model, &found)),
        model: model.to_owned(),
        target,
        stable,
        champion: entry.roles.as_ref().and_then(|roles| roles.stable),
        wanted: entry.target.and_then(|wanted| Some((wanted, of_version(wanted)?))),
        fast: test.is_none() && recent.contains(&(target, found.clone())),
        digest: found,
        stable_digest,
        test,
        registered_at: None,
        sighted_at: 0,
        by: String::new(),
        plan,
    })
}
