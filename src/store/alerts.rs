//! Alerts as they were last: the open ones, so that an incident keeps its id, and the latest ended ones for the record.
//!
//! They are few and change seldom, so they are written whole: what is in the table is one list, never a mixture of two.
//!
//! Invariant: reading answers the list in the order in which it was written.

use super::{Store, StoreError};
use sqlx::Row;

/// An alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertRow {
    /// Its id.
    pub id: String,
    /// Whether it is pending or firing.
    pub open: bool,
    /// The rest, as JSON.
    pub body: String,
}

impl Store {
    /// Writes the list in place of the one before.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn save_alerts(&self, rows: &[AlertRow]) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin().await?;
        sqlx::query("DELETE FROM alerts").execute(&mut *transaction).await?;
        for (place, row) in (0_i64..).zip(rows) {
            sqlx::query("INSERT OR REPLACE INTO alerts (id, open, place, body) VALUES (?, ?, ?, ?)")
                .bind(&row.id)
                .bind(row.open)
                .bind(place)
                .bind(&row.body)
                .execute(&mut *transaction)
                .await?;
        }
        Ok(transaction.commit().await?)
    }

    /// The list that was written last.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn alerts(&self) -> Result<Vec<AlertRow>, StoreError> {
        let rows = sqlx::query("SELECT id, open, body FROM alerts ORDER BY place").fetch_all(&self.pool).await?;
        let row = |row: sqlx::sqlite::SqliteRow| {
            Ok(AlertRow { id: row.try_get(0)?, open: row.try_get(1)?, body: row.try_get(2)? })
        };
        rows.into_iter().map(row).collect::<Result<_, sqlx::Error>>().map_err(StoreError::Database)
    }
}
