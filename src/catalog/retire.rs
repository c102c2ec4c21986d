//! Frees what is no longer served, away from the workers.
//!
//! Dropping a model can take milliseconds: an engine returns its arena, an allocator its pages. The last reference must
//! therefore not die on a request thread. The publisher hands over what it takes out of service, and this thread waits
//! until it holds the only reference before it lets go.
//!
//! How much less memory the process has then is the allocators' business, see `registry/memory.rs`.
//!
//! Invariant: a model handed over is dropped here and nowhere else.

use super::{Model, Snapshot};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

/// How often waiting models are looked at. A request lasts milliseconds; memory can wait that long.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Something taken out of service.
#[derive(Debug)]
pub enum Retired {
    /// A version that is unloaded.
    Model(Arc<Model>),
    /// A value of a version that goes on as another.
    Value(Arc<Model>),
    /// A snapshot that was replaced.
    Snapshot(Arc<Snapshot>),
}

impl Retired {
    fn is_last_reference(&self) -> bool {
        match self {
            Self::Model(model) | Self::Value(model) => Arc::strong_count(model) == 1,
            Self::Snapshot(snapshot) => Arc::strong_count(snapshot) == 1,
        }
    }
}

/// Frees what arrives until every sender is gone; runs on a thread of its own.
pub fn retire_until_closed(retired: &Receiver<Retired>) {
    let mut waiting: Vec<Retired> = Vec::new();
    loop {
        match retired.recv_timeout(LOOK_INTERVAL) {
            Ok(item) => waiting.push(item),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        // Snapshots first: they hold references to models.
        waiting.retain(|item| !(matches!(item, Retired::Snapshot(_)) && item.is_last_reference()));
        waiting.retain(|item| match item {
            Retired::Model(model) if Arc::strong_count(model) == 1 => {
                tracing::info!(model = model.name, version = model.version, "version unloaded");
                false
            }
            Retired::Value(model) => Arc::strong_count(model) > 1,
            _ => true,
        });
    }
}
