//! Who is woken by a delivery: the followers of the models that it is about.
//!
//! A sender that knows our registry's names (MLflow, Standard Webhooks) is taken at its word. Others name what is theirs: a
//! repository, a collection, a model of the hub. If such a sender has a list of models, then the list says what it is
//! about and its names say nothing; without a list, a name that is by chance one of ours is all there is to go by.
//!
//! Invariant: waking is idempotent, a follower that is woken twice before it looks looks once.

use super::{Hint, HookKind};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::Notify;

/// Those who follow models at their registries.
#[derive(Debug, Default)]
pub struct Followers(Vec<Follower>);

#[derive(Debug)]
struct Follower {
    /// The model's name here.
    model: String,
    /// Its registry's name of it, where it has one.
    registered: Option<String>,
    wake: Arc<Notify>,
}

impl Followers {
    /// Adds who follows `model`, which its registry calls `registered`, if it has a name there.
    pub fn add(&mut self, model: &str, registered: Option<String>, wake: Arc<Notify>) {
        self.0.push(Follower { model: model.to_owned(), registered, wake });
    }

    /// Has everybody look at the registry now whom a delivery may concern; how many. `only` are the models that the sender
    /// is for, if it is not for all.
    #[must_use]
    pub fn wake(&self, kind: HookKind, only: Option<&BTreeSet<String>>, hint: &Hint) -> usize {
        let is_about = |follower: &&Follower| match hint {
            Hint::Nothing => false,
            Hint::Any => true,
            Hint::Models(_) if only.is_some() && !knows_our_names(kind) => true,
            Hint::Models(names) => follower.is_one_of(names),
        };
        let is_allowed = |follower: &&Follower| only.is_none_or(|only| only.contains(&follower.model));
        let woken = self.0.iter().filter(is_allowed).filter(is_about);
        woken.inspect(|follower| follower.wake.notify_one()).count()
    }
}

impl Follower {
    fn is_one_of(&self, names: &[String]) -> bool {
        names.iter().any(|name| *name == self.model || Some(name) == self.registered.as_ref())
    }
}

/// Whether the names that a sender sends are those of a registry that models are followed at.
fn knows_our_names(kind: HookKind) -> bool {
    match kind {
        HookKind::Mlflow | HookKind::StandardWebhooks => true,
        HookKind::Github | HookKind::WeightsAndBiases | HookKind::HuggingFace => false,
    }
}
