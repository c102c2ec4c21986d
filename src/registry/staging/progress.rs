//! How far a download is, for people who wait for it.
//!
//! Invariant: what is shown never goes back within one download, and nothing waits for who looks.

use serde::Serialize;
use std::sync::atomic::{AtomicU64, Ordering};

/// The state of a download that is under way.
#[derive(Debug, Default)]
pub struct Progress {
    is_under_way: AtomicU64,
    version: AtomicU64,
    files: AtomicU64,
    files_done: AtomicU64,
    bytes: AtomicU64,
    bytes_done: AtomicU64,
}

/// What is shown of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ProgressView {
    /// The version that is fetched.
    pub version: u64,
    /// Files of the version.
    pub files: u64,
    /// Files that are whole.
    pub files_done: u64,
    /// Bytes of those files whose size is known.
    pub bytes: u64,
    /// Bytes that are here, those of earlier attempts included.
    pub bytes_done: u64,
}

impl Progress {
    /// A version's download of so many bytes, as far as is known, in so many files. It is under way as long as what is
    /// answered lives.
    pub(super) fn begin(&self, version: u64, bytes: u64, files: usize) -> UnderWay<'_> {
        self.version.store(version, Ordering::Relaxed);
        self.bytes.store(bytes, Ordering::Relaxed);
        self.files.store(files as u64, Ordering::Relaxed);
        self.bytes_done.store(0, Ordering::Relaxed);
        self.files_done.store(0, Ordering::Relaxed);
        self.is_under_way.store(1, Ordering::Relaxed);
        UnderWay(self)
    }

    pub(super) fn add_bytes(&self, bytes: u64) {
        self.bytes_done.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn add_file(&self) {
        self.files_done.fetch_add(1, Ordering::Relaxed);
    }

    /// How far it is, if one is under way.
    #[must_use]
    pub fn view(&self) -> Option<ProgressView> {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (read(&self.is_under_way) == 1).then(|| ProgressView {
            version: read(&self.version),
            files: read(&self.files),
            files_done: read(&self.files_done),
            bytes: read(&self.bytes),
            bytes_done: read(&self.bytes_done),
        })
    }
}

/// A download that is under way, also one that is given up by dropping it.
pub(super) struct UnderWay<'a>(&'a Progress);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.is_under_way.store(0, Ordering::Relaxed);
    }
}
