//! Bytes that were refused, with the reason, so that a restart does not load them again.
//!
//! Invariant: at most one row per model and digest, and [`KEPT_ROWS`] per model.

use super::{Store, StoreError};
use sqlx::Row;
use std::time::Duration;

/// How many rows are kept of a model, the latest.
const KEPT_ROWS: i64 = 64;

/// Bytes of a model that were refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuarantineRow {
    /// The model.
    pub model: String,
    /// SHA-256 of the version's files and their names.
    pub digest: String,
    /// What refused them: the release, the engines, what was set; or the version that they cannot stand in for.
    pub engine: String,
    /// The version that had them.
    pub version: u64,
    /// Why they were refused, for people.
    pub reason: String,
    /// When, unix time; kept to the second.
    pub at: Duration,
    /// The version whose place they cannot take, if that is why.
    pub instead_of: Option<u64>,
}

impl Store {
    /// Writes a row in place of the one of the same bytes.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn save_quarantine(&self, row: &QuarantineRow) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin().await?;
        sqlx::query(
            "INSERT OR REPLACE INTO quarantine (model, digest, engine, version, reason, at, instead_of)
             VALUES (?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(&row.model)
        .bind(&row.digest)
        .bind(&row.engine)
        .bind(row.version.cast_signed())
        .bind(&row.reason)
        .bind(i64::try_from(row.at.as_secs()).unwrap_or(i64::MAX))
        .bind(row.instead_of.map(u64::cast_signed))
        .execute(&mut *transaction)
        .await?;
        sqlx::query(
            "DELETE FROM quarantine WHERE model = ?1 AND digest NOT IN
             (SELECT digest FROM quarantine WHERE model = ?1 ORDER BY at DESC, digest LIMIT ?2)",
        )
        .bind(&row.model)
        .bind(KEPT_ROWS)
        .execute(&mut *transaction)
        .await?;
        Ok(transaction.commit().await?)
    }

    /// Forgets that bytes of a model were refused.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn delete_quarantine(&self, model: &str, digest: &str) -> Result<(), StoreError> {
        let delete = sqlx::query("DELETE FROM quarantine WHERE model = ? AND digest = ?");
        delete.bind(model).bind(digest).execute(&self.pool).await?;
        Ok(())
    }

    /// All that was refused, the oldest first.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn quarantine(&self) -> Result<Vec<QuarantineRow>, StoreError> {
        let query = "SELECT model, digest, engine, version, reason, at, instead_of
                     FROM quarantine ORDER BY at, model, digest";
        let rows = sqlx::query(query).fetch_all(&self.pool).await?;
        let row = |row: sqlx::sqlite::SqliteRow| {
            let (version, at): (i64, i64) = (row.try_get(3)?, row.try_get(5)?);
            let instead_of: Option<i64> = row.try_get(6)?;
            Ok(QuarantineRow {
                model: row.try_get(0)?,
                digest: row.try_get(1)?,
                engine: row.try_get(2)?,
                version: version.cast_unsigned(),
                reason: row.try_get(4)?,
                at: Duration::from_secs(u64::try_from(at).unwrap_or(0)),
                instead_of: instead_of.map(i64::cast_unsigned),
            })
        };
        rows.into_iter().map(row).collect::<Result<_, sqlx::Error>>().map_err(StoreError::Database)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(model: &str, digest: u64, second: u64) -> QuarantineRow {
        QuarantineRow {
            model: model.into(),
            digest: format!("{digest:064x}"),
            engine: "tidegate 1".into(),
            version: u64::MAX,
            reason: "no graph".into(),
            at: Duration::from_secs(second),
            instead_of: digest.is_multiple_of(2).then_some(u64::MAX),
        }
    }

    #[tokio::test]
    async fn what_was_refused_is_known_to_another_process_until_it_is_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), Duration::ZERO).await.unwrap();
        assert_eq!(store.quarantine().await.unwrap(), []);
        store.save_quarantine(&row("churn", 1, 7)).await.unwrap();
        store.save_quarantine(&row("churn", 2, 5)).await.unwrap();
        let again = QuarantineRow { reason: "it fails".into(), ..row("churn", 1, 9) };
        store.save_quarantine(&again).await.unwrap();
        store.close().await;
        let store = Store::open(directory.path(), Duration::ZERO).await.unwrap();
        assert_eq!(store.quarantine().await.unwrap(), [row("churn", 2, 5), again.clone()]);
        store.delete_quarantine("churn", &row("churn", 2, 0).digest).await.unwrap();
        store.delete_quarantine("digits", &again.digest).await.unwrap();
        assert_eq!(store.quarantine().await.unwrap(), [again]);
    }

    #[tokio::test]
    async fn of_many_the_latest_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), Duration::ZERO).await.unwrap();
        store.save_quarantine(&row("digits", 0, 0)).await.unwrap();
        let last = KEPT_ROWS.cast_unsigned() + 1;
        for number in 1..=last {
            store.save_quarantine(&row("churn", number, number)).await.unwrap();
        }
        let kept = store.quarantine().await.unwrap();
        assert_eq!(kept.len() as u64, last);
        assert!(kept.contains(&row("digits", 0, 0)) && !kept.contains(&row("churn", 1, 1)));
    }
}
