//! The bytes of an object, as it was listed.
//!
//! `If-Match` on the tag of the list refuses what was written over since. An object of a store in the cloud cannot change
//! while it is read; a file can, so it is looked at once more at its end.
//!
//! Invariant: every byte comes from the object of that tag.

use super::store::Store;
use crate::registry::source::{Asked, RemoteBytes, RemoteFile, SourceError, checked_path};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectMeta};

/// Opens a file below a prefix from the byte `start` on.
pub(in crate::registry) async fn open(
    store: &Store,
    prefix: &Path,
    file: &RemoteFile,
    start: u64,
) -> Result<Box<dyn RemoteBytes>, SourceError> {
    let below = checked_path(&file.path)?;
    let whole = if prefix.is_root() { below.to_owned() } else { format!("{prefix}/{below}") };
    let path = Path::parse(&whole).map_err(|error| store.unexpected(error.to_string()))?;
    let what = store.name_of(&path);
    let range = (start > 0).then_some(GetRange::Offset(start));
    let options = GetOptions { if_match: file.e_tag.clone(), range, ..GetOptions::default() };
    let got = store.objects.get_opts(&path, options).await.map_err(|error| store.failed(&error, &what))?;
    if let Some(listed) = file.size.filter(|listed| *listed != got.meta.size) {
        let reason = format!("it has {} bytes, and {listed} when it was listed", got.meta.size);
        return Err(SourceError::NotWhole { what, reason });
    }
    let (position, meta) = (got.range.start, got.meta.clone());
    Ok(Box::new(ObjectBytes { store: store.clone(), what, position, meta, bytes: got.into_stream() }))
}

struct ObjectBytes {
    store: Store,
    what: String,
    position: u64,
    meta: ObjectMeta,
    bytes: BoxStream<'static, object_store::Result<Bytes>>,
}

impl ObjectBytes {
    /// Whether it is still what was opened. The stream beside it cannot be shared, so that all of it is borrowed alone.
    async fn look_again(&mut self) -> Result<(), SourceError> {
        let options = GetOptions { if_match: self.meta.e_tag.clone(), head: true, ..GetOptions::default() };
        let again = self.store.objects.get_opts(&self.meta.location, options).await;
        again.map(drop).map_err(|error| self.store.failed(&error, &self.what))
    }
}

impl RemoteBytes for ObjectBytes {
    fn position(&self) -> u64 {
        self.position
    }

    fn next(&mut self) -> Asked<'_, Option<Bytes>> {
        Box::pin(async {
            match self.bytes.next().await {
                Some(piece) => {
                    let piece = piece.map_err(|error| self.store.failed(&error, &self.what))?;
                    self.position += piece.len() as u64;
                    Ok(Some(piece))
                }
                None if self.store.changes_while_open => self.look_again().await.map(|()| None),
                None => Ok(None),
            }
        })
    }
}
