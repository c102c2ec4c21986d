//! References that were learned from traffic, the latest of each version, so that a restart does not learn again.
//!
//! A reference belongs to the files that served while it was learned and to the layout that was counted on: both are
//! kept beside it, and whoever asks for it compares them. The reference of files that were replaced is not asked for
//! again and is overwritten by the next one.
//!
//! Invariant: at most one reference per version and [`KEPT_VERSIONS`] per model.

use super::{Store, StoreError};
use sqlx::Row;
use std::time::Duration;

/// How many references are kept of a model, the latest: versions come and go for years.
const KEPT_VERSIONS: i64 = 64;

/// A learned reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LearnedRow {
    /// The model.
    pub model: String,
    /// The version.
    pub version: u64,
    /// Identifies the version's files.
    pub fingerprint: u64,
    /// Identifies what was counted: tensors, columns, statistics.
    pub layout_hash: u64,
    /// When it was frozen, unix time; kept to the second.
    pub at: Duration,
    /// The reference as `profile.json` has it.
    pub profile: String,
}

impl Store {
    /// Writes a reference in place of the one of the same version.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn save_learned(&self, row: &LearnedRow) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin().await?;
        sqlx::query(
            "INSERT OR REPLACE INTO learned_profiles (model, version, fingerprint, layout_hash, at, profile)
             VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(&row.model)
        .bind(row.version.cast_signed())
        .bind(row.fingerprint.cast_signed())
        .bind(row.layout_hash.cast_signed())
        .bind(i64::try_from(row.at.as_secs()).unwrap_or(i64::MAX))
        .bind(&row.profile)
        .execute(&mut *transaction)
        .await?;
        sqlx::query(
            "DELETE FROM learned_profiles WHERE model = ?1 AND version NOT IN
             (SELECT version FROM learned_profiles WHERE model = ?1 ORDER BY at DESC, version DESC LIMIT ?2)",
        )
        .bind(&row.model)
        .bind(KEPT_VERSIONS)
        .execute(&mut *transaction)
        .await?;
        Ok(transaction.commit().await?)
    }

    /// The reference that a version learned, whatever its files and layout were.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn learned(&self, model: &str, version: u64) -> Result<Option<LearnedRow>, StoreError> {
        let found = sqlx::query(
            "SELECT fingerprint, layout_hash, at, profile FROM learned_profiles WHERE model = ? AND version = ?",
        )
        .bind(model)
        .bind(version.cast_signed())
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = found else { return Ok(None) };
        let (fingerprint, layout_hash, at): (i64, i64, i64) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        Ok(Some(LearnedRow {
            model: model.to_owned(),
            version,
            fingerprint: fingerprint.cast_unsigned(),
            layout_hash: layout_hash.cast_unsigned(),
            at: Duration::from_secs(u64::try_from(at).unwrap_or(0)),
            profile: row.try_get(3)?,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(version: u64, fingerprint: u64, second: u64) -> LearnedRow {
        let at = Duration::from_secs(second);
        LearnedRow { model: "churn".into(), version, fingerprint, layout_hash: u64::MAX, at, profile: "{}".into() }
    }

    #[tokio::test]
    async fn the_latest_reference_of_a_version_is_read_back_by_another_process() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), Duration::ZERO).await.unwrap();
        assert_eq!(store.learned("churn", 1).await.unwrap(), None);
        store.save_learned(&row(1, 7, 100)).await.unwrap();
        store.save_learned(&row(1, u64::MAX, 50)).await.unwrap();
        store.close().await;
        let store = Store::open(directory.path(), Duration::ZERO).await.unwrap();
        assert_eq!(store.learned("churn", 1).await.unwrap(), Some(row(1, u64::MAX, 50)));
        assert_eq!(store.learned("churn", 2).await.unwrap(), None);
        assert_eq!(store.learned("digits", 1).await.unwrap(), None);
    }

    #[tokio::test]
    async fn of_many_versions_the_latest_references_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), Duration::ZERO).await.unwrap();
        let other = LearnedRow { model: "digits".into(), ..row(1, 0, 0) };
        store.save_learned(&other).await.unwrap();
        let last = KEPT_VERSIONS.cast_unsigned() + 1;
        for version in 1..=last {
            store.save_learned(&row(version, 0, version)).await.unwrap();
        }
        assert_eq!(store.learned("churn", 1).await.unwrap(), None);
        for version in 2..=last {
            assert!(store.learned("churn", version).await.unwrap().is_some(), "{version}");
        }
        assert_eq!(store.learned("digits", 1).await.unwrap(), Some(other));
    }
}
