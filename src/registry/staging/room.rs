//! Room in the cache for a download that is under way: taken before its first byte is written, given back with its end.
//!
//! Several models are fetched at a time, and each must leave the others what they were promised. A file whose length is not
//! known takes from what is left piece by piece; a version with such a file is promised all that there is, since nobody
//! knows what it needs, and the next one waits.
//!
//! Invariant: the promises of all downloads and what the cache holds besides fit into its limit.

use super::Digest;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What all downloads that are under way were promised.
#[derive(Debug, Default)]
pub(super) struct Promises {
    /// Bytes.
    pub(super) bytes: u64,
    /// Names of their unfinished files, which nobody may remove.
    pub(super) partials: BTreeSet<Digest>,
}

/// What one download was promised.
#[derive(Debug)]
pub(super) struct Room {
    promises: Arc<Mutex<Promises>>,
    bytes: u64,
    /// Of these, for files whose length is not known.
    left: AtomicU64,
    partials: Vec<Digest>,
}

impl Room {
    /// Promises `bytes`, `known` of them to files whose length is known.
    pub(super) fn promised(promises: &Arc<Mutex<Promises>>, (bytes, known): (u64, u64), partials: Vec<Digest>) -> Self {
        let mut all = promises.lock().unwrap_or_else(PoisonError::into_inner);
        all.bytes = all.bytes.saturating_add(bytes);
        all.partials.extend(partials.iter().cloned());
        let left = AtomicU64::new(bytes.saturating_sub(known));
        Self { promises: Arc::clone(promises), bytes, left, partials }
    }

    /// Takes so many bytes for a file whose length is not known, if there are as many left.
    pub(super) fn take(&self, bytes: u64) -> bool {
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes)).is_ok()
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut all = self.promises.lock().unwrap_or_else(PoisonError::into_inner);
        all.bytes = all.bytes.saturating_sub(self.bytes);
        for partial in &self.partials {
            all.partials.remove(partial);
        }
    }
}
