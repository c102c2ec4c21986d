//! One file from its source into the cache.
//!
//! A download that broke off is a file under a name that says what it is of; the next attempt asks the source for what
//! follows, and hashes what is there already from the disk. Where the source begins anew, so does the file.
//!
//! Invariant: what is answered is whole and on disk, and stays where it is until the version is kept, so that an attempt that
//! follows finds it.

use super::pace::Pace;
use super::room::Room;
use super::{Cache, Digest, Progress, StageError, StoredFile, WrongDigest};
use crate::registry::source::{LONGEST_ANSWER, RemoteBytes, RemoteFile, Source, SourceError, in_time};
use sha2::{Digest as _, Sha256};
use std::path::{Path, PathBuf};
use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};

/// Bytes that are read from the disk at a time.
const PIECE: usize = 1 << 20;

/// Fetches a file of a version into the `room` that there is for it; `key` names what is there of an earlier attempt.
pub(super) async fn fetch(
    cache: &Cache,
    source: &dyn Source,
    (version, file): (u64, &RemoteFile),
    (room, key): (&Room, Digest),
    progress: &Progress,
) -> Result<(StoredFile, PathBuf), StageError> {
    let partial = cache.partial(&key);
    let mut target = Target::open(&partial, progress).await?;
    if file.size.is_some_and(|size| target.length > size) {
        target.restart(progress).await?;
    }
    if file.size != Some(target.length) {
        let opened = in_time(LONGEST_ANSWER, &file.path, source.open(version, file, target.length)).await;
        if let Err(SourceError::NotWhole { .. }) = opened {
            // What is there is of a file that is no more.
            discard(&partial).await;
        }
        let mut bytes = opened?;
        if bytes.position() != target.length {
            target.restart(progress).await?;
        }
        let pace = Pace::new(cache.least);
        target.fill((&mut *bytes, pace), file, room, progress).await?;
    }
    let (sha256, size) = target.finish().await?;
    if let Some(expected) = file.size.filter(|expected| *expected != size) {
        return Err(StageError::WrongSize { path: file.path.clone(), expected, found: size });
    }
    if let Some(expected) = file.sha256.clone().filter(|expected| *expected != sha256) {
        // Whatever spoiled it, it must not be what the next attempt goes on from.
        discard(&partial).await;
        return Err(WrongDigest { path: file.path.clone(), expected, found: sha256 }.into());
    }
    progress.add_file();
    Ok((StoredFile { path: file.path.clone(), sha256, size }, partial))
}

/// Removes what is there of a download.
async fn discard(partial: &Path) {
    if let Err(cause) = tokio::fs::remove_file(partial).await {
        tracing::warn!(path = %partial.display(), %cause, "a download that is of no use cannot be removed");
    }
}

/// A file that is being filled.
struct Target {
    path: PathBuf,
    file: File,
    hasher: Sha256,
    length: u64,
}

impl Target {
    /// Opens what is there of an earlier attempt, or nothing.
    async fn open(path: &Path, progress: &Progress) -> Result<Self, StageError> {
        let failed = |cause| StageError::Disk { path: path.to_owned(), cause };
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).to_owned();
        let mut file = options.open(path).await.map_err(failed)?;
        let (mut hasher, mut length, mut piece) = (Sha256::new(), 0, vec![0; PIECE]);
        loop {
            let count = file.read(&mut piece).await.map_err(failed)?;
            if count == 0 {
                break;
            }
            hasher.update(&piece[..count]);
            length += count as u64;
        }
        progress.add_bytes(length);
        Ok(Self { path: path.to_owned(), file, hasher, length })
    }

    /// Forgets what is there.
    async fn restart(&mut self, progress: &Progress) -> Result<(), StageError> {
        let emptied = async {
            self.file.set_len(0).await?;
            self.file.rewind().await
        };
        emptied.await.map_err(|cause| StageError::Disk { path: self.path.clone(), cause })?;
        progress.add_bytes(0_u64.wrapping_sub(self.length));
        (self.hasher, self.length) = (Sha256::new(), 0);
        Ok(())
    }

    /// Takes all that comes, up to what the file may have.
    async fn fill(
        &mut self,
        (bytes, mut pace): (&mut dyn RemoteBytes, Pace),
        file: &RemoteFile,
        room: &Room,
        progress: &Progress,
    ) -> Result<(), StageError> {
        // What is there of an earlier attempt takes room as well.
        let mut taken = self.length;
        let mut fits = file.size.is_some() || room.take(taken);
        while let Some(piece) = pace.next(bytes, &file.path).await? {
            let length = self.length.saturating_add(piece.len() as u64);
            if let Some(expected) = file.size.filter(|expected| length > *expected) {
                return Err(StageError::WrongSize { path: file.path.clone(), expected, found: length });
            }
            fits = fits && (file.size.is_some() || room.take(length - taken));
            taken = length;
            if !fits {
                let reason = format!("{} has {length} bytes or more, and there is no room for them", file.path);
                return Err(SourceError::Unexpected { place: "a file".to_owned(), reason }.into());
            }
            self.hasher.update(&piece);
            let written = self.file.write_all(&piece).await;
            written.map_err(|cause| StageError::Disk { path: self.path.clone(), cause })?;
            self.length = length;
            progress.add_bytes(piece.len() as u64);
        }
        Ok(())
    }

    /// Sees to it that all of it is on disk.
    async fn finish(mut self) -> Result<(Digest, u64), StageError> {
        let synced = async {
            self.file.flush().await?;
            self.file.sync_all().await
        };
        synced.await.map_err(|cause| StageError::Disk { path: self.path.clone(), cause })?;
        Ok((Digest::finished(self.hasher), self.length))
    }
}
