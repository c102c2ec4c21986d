//! Deliveries of webhooks that were taken, the newest, to be looked at and taken again.
//!
//! Senders keep no history that can be asked for, and MLflow not even one that cannot. Only what was verified is written
//! down, so that nobody else can fill the disk or push out what is here. What was signed with is not.
//!
//! Invariant: at most [`KEPT_DELIVERIES`] with at most [`KEPT_BYTES`] of bodies together, each of at most [`KEPT_BODY`];
//! numbers are never given twice.

use super::{Store, StoreError};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use std::time::Duration;

/// How many deliveries are kept.
pub const KEPT_DELIVERIES: usize = 1_000;
/// How much of a body is kept, bytes. Events of models have some hundred; a pull request has some ten thousand.
pub const KEPT_BODY: usize = 64 << 10;
/// What all bodies may take, bytes: a thousand events of models by far, and some hundred of the largest.
pub const KEPT_BYTES: usize = 16 << 20;

/// A delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryRow {
    /// Who sent it, as in the path.
    pub source: String,
    /// What the sender speaks.
    pub kind: String,
    /// Its id, as the sender gave it.
    pub delivery_id: String,
    /// When it came, unix time; kept to the millisecond.
    pub received: Duration,
    /// The models that it is about, as JSON: names, or null where it cannot be told which.
    pub models: String,
    /// How many followers it woke.
    pub woken: usize,
    /// How long its body was, bytes.
    pub body_bytes: usize,
    /// The body, at most its first [`KEPT_BODY`] bytes.
    pub body: Vec<u8>,
    /// The number of the delivery that it repeats, if an operator had that taken again.
    pub replay_of: Option<u64>,
}

/// A delivery that is kept, under the number that it has here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptDelivery {
    /// Its number: later ones have higher ones.
    pub number: u64,
    /// What it is; the body only where a single one was asked for.
    pub row: DeliveryRow,
}

impl Store {
    /// Writes deliveries, in their order, and forgets the oldest beyond the limits.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn save_deliveries(&self, rows: &[DeliveryRow]) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin().await?;
        for row in rows {
            sqlx::query(
                "INSERT INTO hook_deliveries
                 (source, kind, delivery_id, received, models, woken, body_bytes, replay_of, body)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )
            .bind(&row.source)
            .bind(&row.kind)
            .bind(&row.delivery_id)
            .bind(i64::try_from(row.received.as_millis()).unwrap_or(i64::MAX))
            .bind(&row.models)
            .bind(signed(row.woken))
            .bind(signed(row.body_bytes))
            .bind(row.replay_of.map(u64::cast_signed))
            .bind(&row.body[..row.body.len().min(KEPT_BODY)])
            .execute(&mut *transaction)
            .await?;
        }
        // The length of a blob is known without reading it.
        sqlx::query(
            "DELETE FROM hook_deliveries WHERE number IN (
             SELECT number FROM (
               SELECT number, ROW_NUMBER() OVER newest AS place, SUM(LENGTH(body)) OVER newest AS bytes
               FROM hook_deliveries WINDOW newest AS (ORDER BY number DESC)
             ) WHERE place > ? OR bytes > ?)",
        )
        .bind(signed(KEPT_DELIVERIES))
        .bind(signed(KEPT_BYTES))
        .execute(&mut *transaction)
        .await?;
        Ok(transaction.commit().await?)
    }

    /// The newest deliveries, the latest first, without their bodies; at most `most`.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn deliveries(&self, most: usize) -> Result<Vec<KeptDelivery>, StoreError> {
        let rows = sqlx::query(
            "SELECT number, source, kind, delivery_id, received, models, woken, body_bytes, replay_of, X''
             FROM hook_deliveries ORDER BY number DESC LIMIT ?",
        )
        .bind(signed(most))
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.iter().map(kept).collect::<Result<_, sqlx::Error>>()?)
    }

    /// One delivery with its body.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn delivery(&self, number: u64) -> Result<Option<KeptDelivery>, StoreError> {
        let Ok(number) = i64::try_from(number) else { return Ok(None) };
        let row = sqlx::query(
            "SELECT number, source, kind, delivery_id, received, models, woken, body_bytes, replay_of, body
             FROM hook_deliveries WHERE number = ?",
        )
        .bind(number)
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.as_ref().map(kept).transpose()?)
    }

    /// Source, id and time of the deliveries that came since `unix`, the oldest first; not of those that an operator had
    /// taken again.
    ///
    /// # Errors
    /// What SQLite says.
    pub async fn deliveries_since(&self, unix: Duration) -> Result<Vec<(String, String, Duration)>, StoreError> {
        let rows = sqlx::query(
            "SELECT source, delivery_id, received FROM hook_deliveries
             WHERE received >= ? AND replay_of IS NULL ORDER BY received, number",
        )
        .bind(i64::try_from(unix.as_millis()).unwrap_or(i64::MAX))
        .fetch_all(&self.pool)
        .await?;
        let row = |row: &SqliteRow| Ok((row.try_get(0)?, row.try_get(1)?, milliseconds(row.try_get(2)?)));
        Ok(rows.iter().map(row).collect::<Result<_, sqlx::Error>>()?)
    }
}

/// A row of the columns that are asked for above, in their order.
fn kept(row: &SqliteRow) -> Result<KeptDelivery, sqlx::Error> {
    let (number, replay_of): (i64, Option<i64>) = (row.try_get(0)?, row.try_get(8)?);
    let whole = |value: i64| usize::try_from(value).unwrap_or(0);
    Ok(KeptDelivery {
        number: number.cast_unsigned(),
        row: DeliveryRow {
            source: row.try_get(1)?,
            kind: row.try_get(2)?,
            delivery_id: row.try_get(3)?,
            received: milliseconds(row.try_get(4)?),
            models: row.try_get(5)?,
            woken: whole(row.try_get(6)?),
            body_bytes: whole(row.try_get(7)?),
            body: row.try_get(9)?,
            replay_of: replay_of.map(i64::cast_unsigned),
        },
    })
}

fn milliseconds(value: i64) -> Duration {
    Duration::from_millis(u64::try_from(value).unwrap_or(0))
}

fn signed(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
