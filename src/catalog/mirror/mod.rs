//! Copies of requests for a version that answers no client.
//!
//! ```text
//!  worker: answer is made ─▶ Mirror: drawn? room? ─▶ Ring (items, bytes) ─▶ MirrorRunner: run, compare ─▶ ShadowCounts
//!                                       └▶ dropped, counted                 (a thread on leftover time)
//! ```
//! The near end belongs to the published snapshot: a request of the stable version finds it beside the version that it
//! picked. Once its answer is made, its inputs are of no more use to it and its outputs neither, so that both are given
//! away instead of copied; what is not drawn, or finds no room, costs a draw and a comparison. Nothing at the near end
//! waits, locks, or depends on what the far end does.
//!
//! A mirror has a thread of its own, started in `app`, and an instance of its own: one thread for all mirrors would let
//! one version that hangs starve the others, and an instance of a worker or of the lane would let it starve clients. A
//! thread that hangs cannot be ended; it holds its instance and one copy, and the mirror's queue fills and drops.
//!
//! Invariant: the far end ends with the near one, at its next look; what it counted can be read without a lock.

mod ring;
mod runner;

pub use runner::{MirrorRunner, OpenInstance};

use super::Model;
use super::model::next_identity;
use crate::config::ShadowSettings;
use crate::observe::shadow::{ShadowCounts, ShadowPlan};
use crate::route::point_of_draw;
use crate::tensor::Tensor;
use arc_swap::ArcSwap;
use ring::Ring;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The near end: where copies are handed over.
#[derive(Debug)]
pub struct Mirror {
    /// Unique in this process.
    pub identity: u64,
    /// The version that answers copies.
    pub version: u64,
    /// The same as text, as labels carry it.
    pub version_text: String,
    share: u16,
    shared: Arc<Shared>,
}

/// What both ends have.
#[derive(Debug)]
struct Shared {
    ring: Ring<Copied>,
    dropped: AtomicU64,
    is_over: AtomicBool,
    /// What was compared when the far end last said so.
    counts: ArcSwap<ShadowCounts>,
}

/// A request and what it was answered.
#[derive(Debug)]
struct Copied {
    draw: u64,
    inputs: Vec<Tensor>,
    outputs: Vec<Tensor>,
}

/// Why a version cannot answer copies of another's requests.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("version {shadow} cannot answer copies of what version {primary} is asked: {reason}")]
pub struct MirrorError {
    /// The version that serves.
    pub primary: u64,
    /// The one that was to answer copies.
    pub shadow: u64,
    /// What does not fit.
    pub reason: String,
}

impl Mirror {
    /// A mirror of what `primary` is asked in `shadow`, and its far end, which is to be given a thread.
    ///
    /// # Errors
    /// [`MirrorError`] when the one cannot stand in for the other.
    pub fn new(
        primary: &Model,
        shadow: &Model,
        settings: &ShadowSettings,
    ) -> Result<(Arc<Self>, MirrorRunner), MirrorError> {
        let graph = shadow.graph().clone();
        Self::with_instances(primary, shadow, settings, Box::new(move || graph.instance()))
    }

    /// The same, on instances that `open` opens on the thread of the far end, one at a time.
    ///
    /// # Errors
    /// As of [`Self::new`].
    pub fn with_instances(
        primary: &Model,
        shadow: &Model,
        settings: &ShadowSettings,
        open: OpenInstance,
    ) -> Result<(Arc<Self>, MirrorRunner), MirrorError> {
        let plan = ShadowPlan::new(&primary.recorder, primary.signature(), shadow.signature());
        let plan = plan.map_err(|reason| MirrorError { primary: primary.version, shadow: shadow.version, reason })?;
        let shared = Arc::new(Shared {
            ring: Ring::new(settings.queue, settings.memory),
            dropped: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
            counts: ArcSwap::default(),
        });
        let (name, version) = (shadow.name.clone(), shadow.version);
        let runner = MirrorRunner::new(Arc::clone(&shared), plan, (name, version), open);
        let version_text = shadow.version_text.clone();
        let mirror = Self { identity: next_identity(), version, version_text, share: settings.share, shared };
        Ok((Arc::new(mirror), runner))
    }

    /// Whether the request of this draw, 64 uniform random bits, is one of those that are copied. The upper bits say so.
    #[must_use]
    pub fn wants(&self, draw: u64) -> bool {
        point_of_draw(draw) < self.share
    }

    /// Hands over what was answered: inputs and outputs in the order of the primary's signature. The outputs are taken
    /// if there is room, and left where they are if not, which is counted. Says whether they were.
    pub fn offer(&self, draw: u64, inputs: Vec<Tensor>, outputs: &mut Vec<Tensor>) -> bool {
        let bytes = inputs.iter().chain(&*outputs).map(Tensor::bytes).fold(0, usize::saturating_add);
        // Given that it is copied, the lower bits are as random as before.
        let draw = draw.rotate_left(32);
        let is_taken = self.shared.ring.put(bytes, || Copied { draw, inputs, outputs: std::mem::take(outputs) });
        if !is_taken {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
        is_taken
    }

    /// What was compared so far, late by some tens of milliseconds or by the call that is being made, and what was
    /// dropped until now.
    #[must_use]
    pub fn counts(&self) -> ShadowCounts {
        let counts = ShadowCounts::clone(&self.shared.counts.load());
        ShadowCounts { dropped: self.dropped(), ..counts }
    }

    /// Copies that were dropped.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Copies that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.shared.ring.len()
    }
}

impl Drop for Mirror {
    /// Nobody can hand over any more: what waits is of no use, and is freed here, because the far end may hang.
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Release);
        self.shared.ring.clear();
    }
}
