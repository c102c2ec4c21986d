//! The values of a round's requests, until they are counted.
//!
//! A worker's requests come in rounds, see [`outbox`](super::outbox): small ones of the same version are counted together,
//! because what they need of the caches is then fetched once, see [`Notes`].
//!
//! Invariant: a version is held no longer than there is something of it to be counted.

use crate::catalog::Model;
use crate::observe::{Evidence, Notes};
use crate::tensor::Tensor;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Versions whose values are noted at a time. A round has few: a canary is the second of its model.
const VERSIONS: usize = 4;

/// What is to be counted of a worker's round.
#[derive(Debug, Default)]
pub(super) struct RoundNotes {
    versions: RefCell<[VersionNotes; VERSIONS]>,
    is_filled: Cell<bool>,
}

#[derive(Debug, Default)]
struct VersionNotes {
    /// The version, and the worker that answered.
    of: Option<(Arc<Model>, usize)>,
    notes: Notes,
}

impl RoundNotes {
    /// Whether there is nothing to be counted.
    pub(super) fn is_empty(&self) -> bool {
        !self.is_filled.get()
    }

    /// Notes the inputs and outputs of a request that a worker answered, and says whether it did: what is not noted is to
    /// be counted as it comes, see [`Recorder::note`](crate::observe::Recorder::note).
    pub(super) fn note(
        &self,
        (model, worker): (&Arc<Model>, usize),
        evidence: Evidence,
        (inputs, outputs): (&[Tensor], &[Tensor]),
    ) -> bool {
        let mut versions = self.versions.borrow_mut();
        let is_of = |version: &VersionNotes| version.of.as_ref().is_some_and(|(other, _)| Arc::ptr_eq(other, model));
        let index =
            versions.iter().position(is_of).or_else(|| versions.iter().position(|version| version.of.is_none()));
        let Some(VersionNotes { of, notes }) = index.map(|index| &mut versions[index]) else { return false };
        let is_noted = model.recorder.note((worker, notes), evidence, inputs, outputs);
        if is_noted {
            of.get_or_insert_with(|| (Arc::clone(model), worker));
            self.is_filled.set(true);
        }
        is_noted
    }

    /// Counts all of it.
    pub(super) fn settle(&self) {
        if self.is_filled.replace(false) {
            for VersionNotes { of, notes } in &mut *self.versions.borrow_mut() {
                let Some((model, worker)) = of.take() else { continue };
                // A bug in counting costs these counts: the answers of the round are made, and are to leave.
                if catch_unwind(AssertUnwindSafe(|| model.recorder.settle(worker, notes))).is_err() {
                    tracing::error!(model = model.name, version = model.version, "a bug ended the counting of a round");
                    *notes = Notes::default();
                }
            }
        }
    }
}
