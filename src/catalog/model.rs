//! A loaded version: what runs it and what watches its traffic.
//!
//! What runs (the plan and an instance of it for every worker) is shared, what watches (a recorder on the edges of a
//! reference) is a value's own. A version that learned a reference from its traffic can so go on as a new value with
//! other edges, published like any other in one snapshot, without a second load and without a request noticing. Requests
//! that picked the old value are answered by it and counted in its recorder, which nobody judges any more.
//!
//! Invariant: a value never changes: edges, counters and reference of one value always belong together.

use super::legacy::{Counts, Legacy};
use super::runtime::{Place, Placement, Runtime};
use crate::engine::{EngineError, Instance, LoadedGraph};
use crate::observe::{Recorder, Totals};
use crate::profile::{Profile, ProfileError};
use crate::tensor::{Signature, Tensor};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

/// Tells versions apart that were loaded under the same number, one after the other.
static NEXT_IDENTITY: AtomicU64 = AtomicU64::new(1);

/// A version that is loaded and warm.
pub struct Model {
    /// Unique in this process: a version that is loaded anew, or gets a learned reference, gets a new one.
    pub identity: u64,
    /// The identity of the first value of this load, which is the same for all of them.
    pub lineage: u64,
    /// The model's name.
    pub name: String,
    /// The version, as the directory is named.
    pub version: u64,
    /// The version as text, as answers carry it.
    pub version_text: String,
    /// What records its traffic.
    pub recorder: Recorder,
    /// Its reference, or why it has none.
    pub profile: Result<Profile, String>,
    /// Why it has no profile of its own, if its reference was learned from its traffic.
    pub learned_because: Option<String>,
    /// How it came to be.
    pub facts: LoadFacts,
    runtime: Arc<Runtime>,
    /// What the values before it counted.
    legacy: Arc<Legacy>,
    /// Where its counts go, once there is a value after it.
    heir: OnceLock<Arc<Legacy>>,
}

impl std::fmt::Debug for Model {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Model")
            .field("name", &self.name)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// How a version came to be loaded.
#[derive(Clone, Debug)]
pub struct LoadFacts {
    /// Identifies the bytes that were loaded.
    pub fingerprint: u64,
    /// What the load is reckoned to hold in memory, bytes.
    pub memory: u64,
    /// From the first byte read to warm.
    pub load_time: Duration,
    /// When it was ready.
    pub loaded_at: SystemTime,
    /// The rows that it was warmed on, for people.
    pub warmed_on: &'static str,
    /// What is odd about its answers, for people.
    pub warnings: Vec<String>,
}

/// What a model is built from.
#[derive(Debug)]
pub struct ModelParts {
    /// The model's name.
    pub name: String,
    /// The version.
    pub version: u64,
    /// The plan.
    pub graph: LoadedGraph,
    /// A warm instance for every worker; none where no call is made on workers.
    pub instances: Vec<Box<dyn Instance>>,
    /// Where long calls are made; none to make every call on the worker.
    pub placement: Option<Placement>,
    /// What records its traffic.
    pub recorder: Recorder,
    /// Its reference, or why it has none.
    pub profile: Result<Profile, String>,
    /// How it came to be.
    pub facts: LoadFacts,
}

impl Model {
    /// A loaded version of these parts.
    #[must_use]
    pub fn new(parts: ModelParts) -> Self {
        let identity = next_identity();
        Self {
            identity,
            lineage: identity,
            version_text: parts.version.to_string(),
            name: parts.name,
            version: parts.version,
            recorder: parts.recorder,
            profile: parts.profile,
            learned_because: None,
            facts: parts.facts,
            runtime: Arc::new(Runtime::new(parts.graph, parts.instances, parts.placement)),
            legacy: Arc::default(),
            heir: OnceLock::new(),
        }
    }

    /// The same version with a reference that was learned from its traffic: a new value with a new identity and a
    /// recorder on the learned edges, which has counted nothing yet. It runs on the same instances, and takes over what
    /// this one has counted for export, see [`Self::counted`].
    ///
    /// # Errors
    /// What of the profile does not fit the signature.
    pub fn with_learned(&self, profile: Profile) -> Result<Self, ProfileError> {
        profile.check(self.signature())?;
        let legacy = Arc::clone(self.heir.get_or_init(Arc::default));
        self.hand_over();
        Ok(Self {
            identity: next_identity(),
            lineage: self.lineage,
            name: self.name.clone(),
            version: self.version,
            version_text: self.version_text.clone(),
            recorder: self.recorder.renewed(self.signature(), &profile),
            profile: Ok(profile),
            learned_because: self.learned_because.clone().or_else(|| self.profile.as_ref().err().cloned()),
            facts: self.facts.clone(),
            runtime: Arc::clone(&self.runtime),
            legacy,
            heir: OnceLock::new(),
        })
    }

    /// What it takes and gives.
    #[must_use]
    pub fn signature(&self) -> &Signature {
        self.runtime.graph.signature()
    }

    /// What all of its instances share.
    #[must_use]
    pub fn graph(&self) -> &LoadedGraph {
        &self.runtime.graph
    }

    /// The engine that runs it.
    #[must_use]
    pub fn engine_name(&self) -> &'static str {
        self.runtime.graph.engine_name()
    }

    /// The platform as the Open Inference Protocol names it.
    #[must_use]
    pub fn platform(&self) -> &str {
        self.runtime.graph.platform()
    }

    /// Whether its reference was learned from traffic, here or by whoever made its profile.
    #[must_use]
    pub fn is_learned(&self) -> bool {
        self.profile.as_ref().is_ok_and(|profile| profile.frozen_from_traffic)
    }

    /// Where its calls are made; nothing if all of them are made at once.
    #[must_use]
    pub fn placement(&self) -> Option<&Placement> {
        self.runtime.placement.as_ref()
    }

    /// Where a call on so many values is made.
    #[must_use]
    pub fn place(&self, values: usize) -> Place<'_> {
        match &self.runtime.placement {
            Some(placement) if values >= placement.from_values => Place::Lane(placement),
            Some(placement) if values >= placement.in_turn_from => Place::InTurn(placement),
            _ => Place::AtOnce,
        }
    }

    /// Whether its calls are so short that an answer may wait for others that come at the same time.
    #[must_use]
    pub fn is_brief(&self) -> bool {
        matches!(self.place(0), Place::AtOnce)
    }

    /// Runs `inputs`, which must fit the signature, on the instance of `worker`; `outputs` are replaced.
    ///
    /// # Errors
    /// What the engine says of inputs that it cannot run, or why a lost instance could not be made anew.
    ///
    /// # Panics
    /// When an engine does, in which case the instance is given up; and on a worker that the model was not made for.
    pub fn run(&self, worker: usize, inputs: &[Tensor], outputs: &mut Vec<Tensor>) -> Result<(), EngineError> {
        self.runtime.run(worker, inputs, outputs)
    }

    /// What the version has counted since it was loaded, for export: of columns what this value's recorder counted, of
    /// requests what the values before it did as well.
    #[must_use]
    pub fn counted(&self) -> Totals {
        let mut totals = self.recorder.totals();
        totals.add_requests(&self.legacy.get().totals);
        totals
    }

    /// How many values of each feature or output were no ordinary numbers, by kind, since the version was loaded. `totals` are
    /// from [`Self::counted`].
    #[must_use]
    pub fn defects(&self, totals: &Totals) -> Vec<(String, &'static str, u64)> {
        let mut defects = self.legacy.get().defects;
        for column in self.recorder.columns() {
            for (kind, count) in column.defects(&totals.slots) {
                match defects.iter_mut().find(|(name, known, _)| *name == column.name && *known == kind) {
                    Some((_, _, total)) => *total += count,
                    None => defects.push((column.name.clone(), kind, count)),
                }
            }
        }
        defects
    }

    /// Tells the value after this one, if there is one, what was counted so far.
    pub(super) fn hand_over(&self) {
        if let Some(heir) = self.heir.get() {
            let counted = self.counted();
            let defects = self.defects(&counted);
            heir.set(Counts {
                totals: Totals {
                    slots: Vec::new(),
                    sums: Vec::new(),
                    cells: Vec::new(),
                    keyed: Vec::new(),
                    segments: Default::default(),
                    ..counted
                },
                defects,
            });
        }
    }
}

impl Drop for Model {
    /// The last request has let go: what it counted is final.
    fn drop(&mut self) {
        self.hand_over();
    }
}

pub(super) fn next_identity() -> u64 {
    NEXT_IDENTITY.fetch_add(1, Ordering::Relaxed)
}
