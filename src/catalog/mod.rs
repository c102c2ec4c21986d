//! What is live: the immutable snapshot, its one swap cell, and the publisher that alone may write it.
//!
//! ```text
//!  directory listing ─┐                               ┌─▶ request: find ▶ pick ▶ Arc<Model>
//!  load finished     ─┼─▶ Publisher ─▶ Catalog (cell) ┼─▶ judge, metrics, admin: snapshot
//!  PUT …/split       ─┤        │                      │
//!  rollout's hold    ─┘        │                      │
//!                              └─▶ retirer: frees what is no longer served, on its own thread
//! ```
//! Invariant: requests only read; a published snapshot never changes.

mod holds;
mod legacy;
mod mirror;
mod model;
mod policy;
mod publisher;
mod retire;
mod runtime;
mod snapshot;
mod stand_in;
mod state;
#[cfg(test)]
mod tests;
mod wishes;

pub use holds::{Chosen, MOST_REFUSED, RolloutHold};
pub use mirror::{Mirror, MirrorError, MirrorRunner, OpenInstance};
pub use model::{LoadFacts, Model, ModelParts};
pub use policy::{TritonConfig, TritonExecution, VersionPolicy};
pub use publisher::Publisher;
pub use retire::{Retired, retire_until_closed};
pub use runtime::{Place, Placement, Waits};
pub use snapshot::{ArmLabel, Catalog, CatalogError, Entry, Picked, Serving, Snapshot, VersionStatus};
pub use state::{Listing, Present, PresentConfig, PresentModel, Roles};
pub use wishes::{
    FreezeError, FreezeOrder, LoadFailure, LoadOrder, Predecessor, Quarantined, RetryError, SplitError, SplitReply,
    SplitView,
};
