//! Snapshots of what monitoring has counted, the latest of each version.
//!
//! The key holds the profile's hash, because counters of other edges mean nothing; and the replica, so that several may
//! one day share a database and be added up. The epoch says which start of a process a snapshot is of: the same
//! (replica, epoch) twice is the same traffic twice.
//!
//! Invariant: at most one snapshot per key, and none older than [`KEPT_FOR`].

use super::{Store, StoreError};
use sqlx::Row;
use std::time::Duration;

/// How long the snapshot of a version that is no longer loaded is kept: the longest window, several times.
const KEPT_FOR: Duration = Duration::from_secs(60 * 86_400);

/// Of what a snapshot is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SnapshotKey {
    /// The model.
    pub model: String,
    /// The version.
    pub version: u64,
    /// Identifies the edges that were counted on.
    pub profile_hash: u64,
    /// Who counted.
    pub replica: String,
}

/// A snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotRow {
    /// Of what.
    pub key: SnapshotKey,
    /// The start of the process that counted, unix milliseconds.
    pub epoch: u64,
    /// When it was taken, unix time; kept to the millisecond.
    pub at: Duration,
    /// The bytes.
    pub blob: Vec<u8>,
}

impl Store {
    /// Writes snapshots in place of those of the same keys, all or none.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn save_snapshots(&self, rows: &[SnapshotRow]) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin().await?;
        let mut newest = 0;
        for row in rows {
            let at = milliseconds(row.at);
            newest = newest.max(at);
            sqlx::query(
                "INSERT OR REPLACE INTO monitor_snapshots (model, version, profile_hash, replica, epoch, at, blob)
                 VALUES (?, ?, ?, ?, ?, ?, ?)",
            )
            .bind(&row.key.model)
            .bind(row.key.version.cast_signed())
            .bind(row.key.profile_hash.cast_signed())
            .bind(&row.key.replica)
            .bind(row.epoch.cast_signed())
            .bind(at)
            .bind(&row.blob)
            .execute(&mut *transaction)
            .await?;
        }
        sqlx::query("DELETE FROM monitor_snapshots WHERE at < ?")
            .bind(newest - milliseconds(KEPT_FOR))
            .execute(&mut *transaction)
            .await?;
        Ok(transaction.commit().await?)
    }

    /// The latest snapshot of a key.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn snapshot(&self, key: &SnapshotKey) -> Result<Option<SnapshotRow>, StoreError> {
        let found = sqlx::query(
            "SELECT epoch, at, blob FROM monitor_snapshots
             WHERE model = ? AND version = ? AND profile_hash = ? AND replica = ?",
        )
        .bind(&key.model)
        .bind(key.version.cast_signed())
        .bind(key.profile_hash.cast_signed())
        .bind(&key.replica)
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = found else { return Ok(None) };
        let (epoch, at): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
        let at = Duration::from_millis(u64::try_from(at).unwrap_or(0));
        Ok(Some(SnapshotRow { key: key.clone(), epoch: epoch.cast_unsigned(), at, blob: row.try_get(2)? }))
    }
}

fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
