//! The far end of a mirror: runs the version that is tried on copies, and compares.
//!
//! It looks into the queue and sleeps when there is nothing, a millisecond at first and up to sixteen, which is what a
//! sleeping thread costs nobody; a queue of hundreds does not fill in that time but where it is full anyway.
//!
//! Counts are built here alone and posted whole, ten times a second and before every sleep: a lock would make whoever reads
//! them wait for a thread that has lost its processor.
//!
//! Invariant: whatever a call does, an error, a panic, an answer of another shape, costs that copy and nothing else.

use super::{Copied, Shared};
use crate::detect::kolmogorov_smirnov;
use crate::engine::{EngineError, Instance};
use crate::observe::shadow::{ShadowPlan, ShadowTally};
use crate::telemetry::limit::{LineLimit, uptime_seconds};
use crate::tensor::Tensor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The first sleep after a copy.
const SHORTEST_SLEEP: Duration = Duration::from_millis(1);
/// The longest sleep.
const LONGEST_SLEEP: Duration = Duration::from_millis(16);
/// How often counts are posted while copies come without a pause.
const POST_INTERVAL: Duration = Duration::from_millis(100);

/// Opens an instance of the version that is tried.
pub type OpenInstance = Box<dyn Fn() -> Result<Box<dyn Instance>, EngineError> + Send>;

/// The far end of a mirror.
pub struct MirrorRunner {
    shared: Arc<Shared>,
    tally: ShadowTally,
    model: String,
    version: u64,
    open: OpenInstance,
    instance: Option<Box<dyn Instance>>,
    outputs: Vec<Tensor>,
    /// Copies that were taken so far.
    taken: usize,
    /// Of these, the ones that what is shown tells of.
    posted: usize,
}

impl std::fmt::Debug for MirrorRunner {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("MirrorRunner")
            .field("model", &self.model)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

impl MirrorRunner {
    pub(super) fn new(
        shared: Arc<Shared>,
        plan: ShadowPlan,
        (model, version): (String, u64),
        open: OpenInstance,
    ) -> Self {
        let (tally, outputs) = (ShadowTally::new(plan), Vec::new());
        Self { shared, tally, model, version, open, instance: None, outputs, taken: 0, posted: 0 }
    }

    /// Answers copies until the near end is gone; blocks the thread for as long. The instance is opened here, so that
    /// threads which an engine starts for it have this one's priority.
    pub fn run(mut self) {
        let (mut pause, mut posted) = (SHORTEST_SLEEP, Instant::now());
        while !self.shared.is_over.load(Ordering::Acquire) {
            if self.step() {
                pause = SHORTEST_SLEEP;
                if posted.elapsed() >= POST_INTERVAL {
                    self.post();
                    posted = Instant::now();
                }
            } else {
                self.post();
                posted = Instant::now();
                sleep(pause);
                pause = (pause * 2).min(LONGEST_SLEEP);
            }
        }
    }

    /// Answers the next copy, and says whether there was one.
    pub(in crate::catalog) fn step(&mut self) -> bool {
        let Some(Copied { draw, inputs, outputs }) = self.shared.ring.take(&mut self.taken) else { return false };
        let inputs = self.tally.plan().in_order(inputs);
        let answer = AssertUnwindSafe(|| -> Result<(), EngineError> {
            self.call(&inputs)?;
            self.tally.compare(draw, &outputs, &self.outputs);
            Ok(())
        });
        match catch_unwind(answer) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                self.tally.fail(matches!(error, EngineError::Panicked { .. }));
                self.say(&error.to_string());
            }
            Err(_panic) => {
                // Said by the hook for panics. What it left behind is not to be trusted.
                self.instance = None;
                self.tally.fail(true);
            }
        }
        true
    }

    /// Shows what was counted.
    pub(in crate::catalog) fn post(&mut self) {
        if self.posted != self.taken {
            self.posted = self.taken;
            self.shared.counts.store(Arc::new(self.tally.counts(kolmogorov_smirnov)));
        }
    }

    fn call(&mut self, inputs: &[Tensor]) -> Result<(), EngineError> {
        let mut instance = match self.instance.take() {
            Some(instance) => instance,
            None => (self.open)()?,
        };
        let result = instance.run(inputs, &mut self.outputs);
        self.instance = Some(instance);
        result
    }

    fn say(&self, cause: &str) {
        static LIMIT: LineLimit = LineLimit::new(1);
        if let Some(suppressed) = LIMIT.admit(uptime_seconds()) {
            let (model, version) = (&self.model, self.version);
            tracing::warn!(model, version, cause, suppressed, "a copy of a request failed; no client saw it");
        }
    }
}
