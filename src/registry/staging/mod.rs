//! The files of fetched versions: downloaded whole, proved, and laid out as the repository's directory is.
//!
//! ```text
//!  <cache>/blobs/<sha256>                     bytes, by what they are; each there once, however many versions have it
//!  <cache>/partial/<key>                      downloads that are under way, or broke off and go on
//!  <cache>/versions/<model>/<version>.json    what a version is made of: its manifest, written last
//!  <cache>/view/<model>/<version>/…           the same as links to blobs, in the repository's layout
//!  <cache>/roles/<model>.json                 what was last wanted, for a start without the registry
//!  <cache>/places/<model>.json                where all of that comes from: elsewhere, the same numbers are other versions
//!  <cache>/lineage/<model>.json               where the versions with a role come from, likewise
//! ```
//! Everything comes into being under another name and is renamed when it is whole and on disk, so that at whatever point
//! the process ends there is either all of it or a rest that the next start goes on with or removes. What is opened is
//! what was hashed: the view has links to the very bytes.
//!
//! Invariant: a version with a manifest is whole, and its files have the digests that the manifest says.

mod cache;
mod contents;
mod disk;
mod download;
mod manifest;
mod pace;
mod progress;
mod room;
#[cfg(test)]
mod tests;

pub use super::manifest::{Digest, StoredFile, WrongDigest};
pub use cache::Cache;
pub use contents::digest_of;
pub use disk::free_bytes;
pub use manifest::Manifest;
pub use progress::{Progress, ProgressView};

use super::source::{LONGEST_ANSWER, RemoteFile, Source, SourceError, checked_path, identity, in_time};
use futures_util::{StreamExt, TryStreamExt, stream};
use std::path::PathBuf;
use std::time::Duration;

/// Why a version's files could not be had.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The source did not give them.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// They cannot be kept.
    #[error("cannot keep {path}: {cause}")]
    Disk {
        /// What was written or read.
        path: PathBuf,
        /// What the system says.
        cause: std::io::Error,
    },
    /// They would take more than there is room for.
    #[error("its files take {needed} bytes; registry.cache.max_bytes is {limit}, of which {kept} are versions in use")]
    OverBudget {
        /// Bytes of the version.
        needed: u64,
        /// What the cache may take.
        limit: u64,
        /// What versions in use take of it.
        kept: u64,
    },
    /// The disk has no room for them.
    #[error("its files take {needed} bytes, and where {path} is {free} are free")]
    DiskFull {
        /// Bytes of the version.
        needed: u64,
        /// Bytes that are free.
        free: u64,
        /// The cache's directory.
        path: PathBuf,
    },
    /// The source sends, and so slowly that it would never be done.
    #[error(
        "{path}: {bytes} bytes came in {} s, expected at least {least}; it is given up, and goes on from there later",
        span.as_secs()
    )]
    TooSlow {
        /// The file.
        path: String,
        /// What came in the last span.
        bytes: u64,
        /// What should have, bytes.
        least: u64,
        /// How long the source was waited for.
        span: Duration,
    },
    /// A file is not as long as the source said.
    #[error("{path} has {found} bytes, the registry said {expected}")]
    WrongSize {
        /// The file.
        path: String,
        /// What the source said.
        expected: u64,
        /// What came.
        found: u64,
    },
    /// A file is not the one that its manifest names.
    #[error(transparent)]
    WrongDigest(#[from] WrongDigest),
    /// The version has no file that could be served.
    #[error("there is no {expected} among its files: {found}")]
    NoModel {
        /// What was looked for.
        expected: &'static str,
        /// What there is.
        found: String,
    },
    /// A file in the cache is not what it was.
    #[error("{path} was changed in the cache: its digest is {found}, expected {expected}")]
    Changed {
        /// The file.
        path: String,
        /// The manifest's digest.
        expected: Digest,
        /// The digest of what is there.
        found: Digest,
    },
}

impl StageError {
    /// Whether asking again later may help without anybody's doing anything.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Source(error) => error.may_pass(),
            Self::Disk { .. } | Self::DiskFull { .. } | Self::WrongSize { .. } | Self::Changed { .. } => true,
            Self::TooSlow { .. } => true,
            Self::WrongDigest(_) | Self::OverBudget { .. } | Self::NoModel { .. } => false,
        }
    }

    /// Whether another attempt at every look would be a waste: it would end as this one did, or take as long to.
    #[must_use]
    pub fn wants_pauses(&self) -> bool {
        !self.may_pass() || matches!(self, Self::TooSlow { .. })
    }
}

/// Fetches a version that is not there yet, and answers its manifest, with what its source [`expected`](super::source::Lineage::identity) it to be. Versions that are not [in use](Cache::hold) may be
/// removed to make room.
///
/// # Errors
/// [`StageError`]; what was fetched until then is kept, so that the next attempt goes on from there.
pub async fn stage(
    cache: &Cache,
    source: &dyn Source,
    (model, version): (&str, u64),
    expected: Option<Digest>,
    progress: &Progress,
) -> Result<Manifest, StageError> {
    let files = in_time(LONGEST_ANSWER, "the list of files", source.files(version)).await?;
    for file in &files {
        checked_path(&file.path)?;
    }
    manifest::check_names(&files)?;
    // What it was when it was offered: if its files are others by now, the next offer says so, and they are fetched again.
    let identity = expected.or_else(|| identity(&files));
    let known: u64 = files.iter().filter_map(|file| file.size).fold(0, u64::saturating_add);
    let keys = files.iter().map(|file| files_key(model, version, file)).collect();
    let room = cache.make_room((known, files.iter().any(|file| file.size.is_none())), keys)?;
    let room = &room;
    let _shown = progress.begin(version, known, files.len());
    let fetch = |file: RemoteFile| async move {
        let budget = (room, files_key(model, version, &file));
        download::fetch(cache, source, (version, &file), budget, progress).await
    };
    let stored = stream::iter(files).map(fetch).buffer_unordered(cache.parallel()).try_collect().await;
    let (stored, partials): (Vec<StoredFile>, Vec<PathBuf>) = stored.map(|found: Vec<_>| found.into_iter().unzip())?;
    let downloads = stored.iter().map(|file| file.sha256.clone()).zip(partials).collect();
    cache.keep(model, Manifest::new(version, stored, identity), downloads)
}

/// A version's place among downloads that broke off.
fn files_key(model: &str, version: u64, file: &RemoteFile) -> Digest {
    Digest::of(format!("{model}\0{version}\0{}\0{:?}\0{:?}", file.path, file.size, file.e_tag).as_bytes())
}
