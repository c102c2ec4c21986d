//! A request's part in the rollout of its model, from the choice of a version to its end.
//!
//! A visit is opened when a version was picked and counted when it is closed. One that is dropped before, because whoever
//! sent the request has gone, is counted as an event without an outcome: else a version that makes people give up would
//! have fewer events than its share.
//!
//! Invariant: every visit is counted once.

use crate::catalog::Picked;
use crate::observe::Evidence;
use crate::observe::trial::{Entrant, Findings, Outcome, Trial};
use crate::tensor::{Signature, Tensor};
use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

/// A request that a rollout counts.
#[derive(Debug)]
pub(super) struct Visit {
    trial: Arc<Trial>,
    worker: usize,
    entrant: Entrant,
    /// What its predictions look like, once there are any.
    findings: Cell<Findings>,
    /// How it ended and how many nanoseconds it took.
    end: Cell<(Outcome, u64)>,
}

impl Visit {
    /// The visit of a request that a version was picked for, if a rollout counts it.
    pub(super) fn open(worker: usize, picked: &Picked, evidence: Evidence) -> Option<Self> {
        let trial = picked.trial.as_ref()?;
        let entrant = trial.enter(picked.model.version, evidence)?;
        let (findings, end) = (Cell::default(), Cell::new((Outcome::Unanswered, 0)));
        Some(Self { trial: Arc::clone(trial), worker, entrant, findings, end })
    }

    /// Looks at the outputs of the version's call.
    pub(super) fn look(&self, of: (&Signature, &[Tensor]), outputs: &[Tensor]) {
        self.findings.set(self.trial.look(self.worker, &self.entrant, of, outputs));
    }

    /// Counts it: how it ended, how much longer it would have taken, and how many nanoseconds it took.
    pub(super) fn close(self, (outcome, longer): (Outcome, Duration), nanoseconds: u64) {
        let longer = u64::try_from(longer.as_nanos()).unwrap_or(u64::MAX);
        self.end.set((outcome, nanoseconds.saturating_add(longer)));
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let (outcome, nanoseconds) = self.end.get();
        self.trial.count(self.worker, &self.entrant, (outcome, self.findings.get()), nanoseconds);
    }
}
