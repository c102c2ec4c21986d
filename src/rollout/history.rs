//! The rollouts of a model that were: what must not be tried again, what can be gone back to at once, and figures.
//!
//! What has to be known of all of them, and not of the latest alone, is in the ledger.
//!
//! Invariant: of a model the latest [`KEPT_ROLLOUTS`] are known, the oldest first; the one that runs is the last.

use super::journal::{Beginning, Entry};
use super::ledger::Ledger;
use super::state::State;
use super::{DeliveryFigures, Phase};
use std::collections::BTreeMap;

/// How many rollouts of a model are kept, as in the store.
pub const KEPT_ROLLOUTS: usize = crate::store::KEPT_ROLLOUTS as usize;

/// One of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Past {
    /// What it began with.
    pub beginning: Beginning,
    /// As what it ended, if it has.
    pub outcome: Option<Phase>,
}

/// The rollouts of a model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    past: Vec<Past>,
    ledger: Ledger,
}

impl History {
    /// Takes in an entry that begins or ends a rollout; others say nothing here.
    pub fn take(&mut self, id: &str, entry: &Entry) {
        match entry {
            Entry::Started(beginning) => {
                let beginning = (**beginning).clone();
                self.past.push(Past { beginning, outcome: None });
                if self.past.len() > KEPT_ROLLOUTS {
                    self.past.remove(0);
                }
            }
            Entry::Ended { outcome, .. } => {
                let ended = self.past.iter_mut().rev().find(|past| past.beginning.id == id);
                if let Some(past) = ended {
                    past.outcome = Some(*outcome);
                    self.ledger.end(&past.beginning, entry);
                }
            }
            _ => {}
        }
    }

    /// Takes in one that begins.
    pub fn begin(&mut self, state: &State) {
        self.take(&state.beginning.id, &Entry::Started(Box::new(state.beginning.clone())));
    }

    /// Takes in one that ended.
    pub fn end(&mut self, state: &State) {
        if let Some(ended) = &state.ended {
            self.take(&state.beginning.id, ended);
            self.reject(state);
        }
    }

    /// Takes in the versions that the last one turned away, if it has ended.
    pub fn reject(&mut self, state: &State) {
        if state.phase.is_ended() {
            self.ledger.reject(&state.rejected);
        }
    }

    /// What is known of all of them that ended.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Takes in the ledger that was written down, in place of what follows from the latest rollouts.
    pub fn read(&mut self, ledger: Ledger) {
        self.ledger = ledger;
    }

    /// All of them.
    #[must_use]
    pub fn past(&self) -> &[Past] {
        &self.past
    }

    /// Whether a rollout of this id, or another try of it, was there, and how the last one ended.
    #[must_use]
    pub fn outcome_of(&self, id: &str) -> Option<Option<Phase>> {
        self.past.iter().rev().find(|past| is_try_of(&past.beginning.id, id)).map(|past| past.outcome)
    }

    /// The id of another try.
    #[must_use]
    pub fn next_id(&self, id: &str) -> String {
        let tries = self.past.iter().filter_map(|past| number_of_try(&past.beginning.id, id)).max();
        tries.map_or_else(|| id.to_owned(), |last| format!("{id}-{}", last + 1))
    }

    /// Versions that were stable lately, with their digests, the latest first: at most `most`, and not the one that is.
    #[must_use]
    pub fn recently_stable(&self, most: usize, stable: (u64, &str)) -> Vec<(u64, String)> {
        let mut recent: Vec<(u64, String)> = Vec::new();
        let done = self.past.iter().rev().filter(|past| past.outcome == Some(Phase::Done));
        for Past { beginning, .. } in done {
            for (version, digest) in
                [(beginning.target, &beginning.digest), (beginning.stable, &beginning.stable_digest)]
            {
                let is_new = !recent.iter().any(|(known, _)| *known == version);
                if is_new && (version, digest.as_str()) != stable && recent.len() < most {
                    recent.push((version, digest.clone()));
                }
            }
        }
        recent
    }

    /// What is stable after all of this, where no registry says so; none without a rollout that got so far. `running` is
    /// the state of the last one, if it runs.
    #[must_use]
    pub fn stable(&self, running: Option<&State>) -> Option<u64> {
        match running.filter(|state| !state.phase.is_ended()) {
            Some(state) if state.weight == super::state::ALL => Some(state.beginning.target),
            Some(state) => Some(state.beginning.stable),
            None => self.past.last().map(|past| match past.outcome {
                Some(Phase::Done) => past.beginning.target,
                _ => past.beginning.stable,
            }),
        }
    }

    /// Versions that lost their share, by their digests, unless a later rollout of them was fine.
    #[must_use]
    pub fn refused(&self) -> BTreeMap<u64, String> {
        self.ledger.refused()
    }

    /// Sums over all that ever ended.
    #[must_use]
    pub fn figures(&self) -> DeliveryFigures {
        self.ledger.figures()
    }

    /// Whether these bytes were stable until a rollout ended in favour of others.
    #[must_use]
    pub fn gave_way(&self, version: u64, digest: &str) -> bool {
        let done = self.past.iter().filter(|past| past.outcome == Some(Phase::Done));
        done.map(|past| &past.beginning).any(|gone| gone.stable == version && gone.stable_digest == digest)
    }

    /// Whether no rollout of these bytes begins by itself, be they usable now or not.
    #[must_use]
    pub fn is_left_alone(&self, version: u64, digest: &str, is_usable: bool) -> bool {
        self.ledger.is_left_alone(version, digest, is_usable)
    }
}

fn is_try_of(found: &str, id: &str) -> bool {
    number_of_try(found, id).is_some()
}

/// Which try an id is of another: the first has the id itself.
fn number_of_try(found: &str, id: &str) -> Option<u64> {
    match found.strip_prefix(id)? {
        "" => Some(1),
        rest => rest.strip_prefix('-')?.parse().ok(),
    }
}
