//! The journal of rollouts: entries that are written once and read after a restart, or by whoever asks why.
//!
//! An entry's place in its rollout is part of its key, so that writing it again, because nobody knows whether a late write
//! happened, changes nothing. Of entries that say no more than what was counted so far, the latest of a rollout is kept.
//!
//! What has to be known of all rollouts of a model, however many there were, is one row, its ledger. It is written in one
//! piece with the entry that changes it.
//!
//! Invariant: entries are never changed; of a model the newest [`KEPT_ROLLOUTS`] rollouts are kept, and the one that was
//! written to last is always among them.

use super::{Store, StoreError};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use std::collections::BTreeMap;

/// How many rollouts of a model are kept, with all that was counted in them.
pub const KEPT_ROLLOUTS: i64 = 50;

/// An entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolloutRow {
    /// The rollout.
    pub rollout: String,
    /// Its place in the rollout, from 1.
    pub generation: u64,
    /// The model.
    pub model: String,
    /// Unix milliseconds.
    pub at: u64,
    /// What kind of entry it is.
    pub kind: String,
    /// Whether it says no more than a later one of its kind does.
    pub is_replaced: bool,
    /// The entry, as JSON.
    pub body: String,
    /// What is known of all rollouts of the model from then on, as JSON, if the entry changes that.
    pub ledger: Option<String>,
}

/// An entry under the number that it has here: later ones have higher ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptRolloutRow {
    /// The number.
    pub sequence: u64,
    /// The entry.
    pub row: RolloutRow,
}

const COLUMNS: &str = "sequence, rollout, generation, model, at, kind, body";

impl Store {
    /// Appends entries of one rollout, all or none; those that are there already are left as they are.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn append_rollout(&self, rows: &[RolloutRow]) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin().await?;
        for row in rows {
            if row.is_replaced {
                sqlx::query("DELETE FROM rollout_journal WHERE rollout = ? AND kind = ? AND generation < ?")
                    .bind(&row.rollout)
                    .bind(&row.kind)
                    .bind(row.generation.cast_signed())
                    .execute(&mut *transaction)
                    .await?;
            }
            sqlx::query(
                "INSERT OR IGNORE INTO rollout_journal (rollout, generation, model, at, kind, body)
                 VALUES (?, ?, ?, ?, ?, ?)",
            )
            .bind(&row.rollout)
            .bind(row.generation.cast_signed())
            .bind(&row.model)
            .bind(row.at.cast_signed())
            .bind(&row.kind)
            .bind(&row.body)
            .execute(&mut *transaction)
            .await?;
            if let Some(ledger) = &row.ledger {
                sqlx::query("INSERT OR REPLACE INTO rollout_ledgers (model, body) VALUES (?, ?)")
                    .bind(&row.model)
                    .bind(ledger)
                    .execute(&mut *transaction)
                    .await?;
            }
        }
        // Only a rollout that begins can be one too many.
        if let Some(first) = rows.iter().find(|row| row.generation == 1) {
            sqlx::query(
                "DELETE FROM rollout_journal WHERE model = ?1 AND rollout NOT IN
                 (SELECT rollout FROM rollout_journal WHERE model = ?1
                  GROUP BY rollout ORDER BY MAX(sequence) DESC LIMIT ?2)",
            )
            .bind(&first.model)
            .bind(KEPT_ROLLOUTS)
            .execute(&mut *transaction)
            .await?;
        }
        Ok(transaction.commit().await?)
    }

    /// All entries of one of these kinds, of all models, the oldest first.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn rollout_rows_of_kinds(&self, kinds: [&str; 2]) -> Result<Vec<KeptRolloutRow>, StoreError> {
        let query = format!("SELECT {COLUMNS} FROM rollout_journal WHERE kind IN (?, ?) ORDER BY sequence");
        let found = sqlx::query(sqlx::AssertSqlSafe(query)).bind(kinds[0]).bind(kinds[1]).fetch_all(&self.pool).await?;
        read(found)
    }

    /// The ledger of every model that has one.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn rollout_ledgers(&self) -> Result<BTreeMap<String, String>, StoreError> {
        let found = sqlx::query("SELECT model, body FROM rollout_ledgers").fetch_all(&self.pool).await?;
        let ledger = |row: &SqliteRow| Ok((row.try_get(0)?, row.try_get(1)?));
        found.iter().map(ledger).collect::<Result<_, sqlx::Error>>().map_err(StoreError::Database)
    }

    /// The whole journal of one rollout, the oldest entry first.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn rollout_rows(&self, rollout: &str) -> Result<Vec<KeptRolloutRow>, StoreError> {
        let query = format!("SELECT {COLUMNS} FROM rollout_journal WHERE rollout = ? ORDER BY generation");
        read(sqlx::query(sqlx::AssertSqlSafe(query)).bind(rollout).fetch_all(&self.pool).await?)
    }
}

fn read(rows: Vec<SqliteRow>) -> Result<Vec<KeptRolloutRow>, StoreError> {
    rows.into_iter().map(kept).collect::<Result<_, sqlx::Error>>().map_err(StoreError::Database)
}

fn kept(row: SqliteRow) -> Result<KeptRolloutRow, sqlx::Error> {
    let (sequence, generation, at): (i64, i64, i64) = (row.try_get(0)?, row.try_get(2)?, row.try_get(4)?);
    let row = RolloutRow {
        rollout: row.try_get(1)?,
        generation: generation.cast_unsigned(),
        model: row.try_get(3)?,
        at: at.cast_unsigned(),
        kind: row.try_get(5)?,
        is_replaced: false,
        body: row.try_get(6)?,
        ledger: None,
    };
    Ok(KeptRolloutRow { sequence: sequence.cast_unsigned(), row })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn row(rollout: &str, generation: u64, kind: &str) -> RolloutRow {
        RolloutRow {
            rollout: rollout.into(),
            generation,
            model: "churn".into(),
            at: 1_790_000_000_000 + generation,
            kind: kind.into(),
            is_replaced: kind == "counted",
            body: format!("{{\"at\":{generation}}}"),
            ledger: None,
        }
    }

    async fn generations(store: &Store, rollout: &str) -> Vec<u64> {
        let rows = store.rollout_rows(rollout).await.unwrap();
        rows.iter().map(|kept| kept.row.generation).collect()
    }

    #[tokio::test]
    async fn entries_are_read_back_in_order_by_another_process_and_written_once() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), Duration::ZERO).await.unwrap();
        let rows = [row("a", 1, "started"), row("a", 2, "moved")];
        store.append_rollout(&rows).await.unwrap();
        let late = [RolloutRow { body: "another".into(), ..row("a", 2, "moved") }, row("a", 3, "ended")];
        store.append_rollout(&late).await.unwrap();
        store.close().await;
        let store = Store::open(directory.path(), Duration::ZERO).await.unwrap();
        let kept = store.rollout_rows("a").await.unwrap();
        assert_eq!(kept.iter().map(|kept| kept.row.clone()).collect::<Vec<_>>(), [&rows[..], &late[1..]].concat());
        assert!(kept.windows(2).all(|pair| pair[0].sequence < pair[1].sequence));
        let ends = store.rollout_rows_of_kinds(["started", "ended"]).await.unwrap();
        assert_eq!(ends.iter().map(|kept| kept.row.generation).collect::<Vec<_>>(), [1, 3]);
        assert_eq!(store.rollout_rows("b").await.unwrap(), []);
    }

    #[tokio::test]
    async fn a_ledger_is_written_with_its_entry_or_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), Duration::ZERO).await.unwrap();
        let with = |generation, text: &str| RolloutRow { ledger: Some(text.into()), ..row("a", generation, "ended") };
        store.append_rollout(&[row("a", 1, "started")]).await.unwrap();
        assert_eq!(store.rollout_ledgers().await.unwrap(), [].into());
        store.append_rollout(&[with(2, "one")]).await.unwrap();
        sqlx::query("CREATE TRIGGER full BEFORE DELETE ON rollout_journal BEGIN SELECT RAISE(ABORT, 'full'); END")
            .execute(&store.pool)
            .await
            .unwrap();
        store.append_rollout(&[row("a", 3, "counted")]).await.unwrap();
        store.append_rollout(&[with(4, "two"), row("a", 5, "counted")]).await.unwrap_err();
        assert_eq!(generations(&store, "a").await, [1, 2, 3]);
        assert_eq!(store.rollout_ledgers().await.unwrap(), [("churn".into(), "one".into())].into());
        store.append_rollout(&[with(4, "two")]).await.unwrap();
        assert_eq!(store.rollout_ledgers().await.unwrap(), [("churn".into(), "two".into())].into());
    }

    #[tokio::test]
    async fn of_counts_the_latest_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), Duration::ZERO).await.unwrap();
        store.append_rollout(&[row("a", 1, "started"), row("a", 2, "counted")]).await.unwrap();
        store.append_rollout(&[row("b", 1, "started"), row("b", 2, "counted")]).await.unwrap();
        store.append_rollout(&[row("a", 3, "paused"), row("a", 4, "counted")]).await.unwrap();
        assert_eq!(generations(&store, "a").await, [1, 3, 4]);
        assert_eq!(generations(&store, "b").await, [1, 2]);
    }

    #[tokio::test]
    async fn of_many_rollouts_the_newest_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), Duration::ZERO).await.unwrap();
        let other = RolloutRow { model: "digits".into(), ..row("other", 1, "started") };
        store.append_rollout(&[other]).await.unwrap();
        for number in 0..=KEPT_ROLLOUTS {
            store.append_rollout(&[row(&number.to_string(), 1, "started")]).await.unwrap();
        }
        assert_eq!(generations(&store, "0").await, [0; 0]);
        assert_eq!(generations(&store, "1").await, [1]);
        assert_eq!(generations(&store, "other").await, [1]);
    }
}
