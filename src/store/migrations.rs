//! The schema, one step after the other.
//!
//! Steps are never changed once released, only added: a database of any release can then be brought to this one's.
//!
//! Invariant: a step and the row that says it was applied are one transaction.

use super::StoreError;
use sqlx::{Row, SqlitePool};
use std::time::Duration;

/// The steps, from schema 1 on; each is a list of statements.
const STEPS: &[&[&str]] = &[
    &[
        "CREATE TABLE monitor_snapshots (
        model TEXT NOT NULL,
        version INTEGER NOT NULL,
        profile_hash INTEGER NOT NULL,
        replica TEXT NOT NULL,
        epoch INTEGER NOT NULL,
        at INTEGER NOT NULL,
        blob BLOB NOT NULL,
        PRIMARY KEY (model, version, profile_hash, replica)
    ) STRICT",
        "CREATE TABLE alerts (
        id TEXT PRIMARY KEY,
        open INTEGER NOT NULL,
        place INTEGER NOT NULL,
        body TEXT NOT NULL
    ) STRICT",
    ],
    &["CREATE TABLE learned_profiles (
        model TEXT NOT NULL,
        version INTEGER NOT NULL,
        fingerprint INTEGER NOT NULL,
        layout_hash INTEGER NOT NULL,
        at INTEGER NOT NULL,
        profile TEXT NOT NULL,
        PRIMARY KEY (model, version)
    ) STRICT"],
    &["CREATE TABLE hook_deliveries (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        source TEXT NOT NULL,
        kind TEXT NOT NULL,
        delivery_id TEXT NOT NULL,
        received INTEGER NOT NULL,
        models TEXT NOT NULL,
        woken INTEGER NOT NULL,
        body_bytes INTEGER NOT NULL,
        replay_of INTEGER,
        body BLOB NOT NULL
    ) STRICT"],
    &["CREATE TABLE quarantine (
        model TEXT NOT NULL,
        digest TEXT NOT NULL,
        engine TEXT NOT NULL,
        version INTEGER NOT NULL,
        reason TEXT NOT NULL,
        at INTEGER NOT NULL,
        PRIMARY KEY (model, digest)
    ) STRICT"],
    &[
        "CREATE TABLE rollout_journal (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        rollout TEXT NOT NULL,
        generation INTEGER NOT NULL,
        model TEXT NOT NULL,
        at INTEGER NOT NULL,
        kind TEXT NOT NULL,
        body TEXT NOT NULL,
        UNIQUE (rollout, generation)
    ) STRICT",
        "CREATE INDEX rollout_journal_of_model ON rollout_journal (model, rollout)",
    ],
    &["CREATE TABLE rollout_ledgers (
        model TEXT PRIMARY KEY,
        body TEXT NOT NULL
    ) STRICT"],
    // Old snapshots are looked for with every write: without an index that reads all of them, each of some kilobytes.
    &["CREATE INDEX monitor_snapshots_by_time ON monitor_snapshots (at)"],
    // Which version's place the refused bytes cannot take; null if they are refused for themselves.
    &["ALTER TABLE quarantine ADD COLUMN instead_of INTEGER"],
];

/// The schema of this release.
pub(super) fn newest() -> i64 {
    i64::try_from(STEPS.len()).unwrap_or(i64::MAX)
}

/// Refuses a database of a newer release; one that was never written to has no schema yet.
pub(super) async fn check(pool: &SqlitePool) -> Result<(), StoreError> {
    let table = "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = 'schema_version'";
    let tables: i64 = sqlx::query(table).fetch_one(pool).await?.try_get(0)?;
    if tables > 0 { applied(pool).await.map(drop) } else { Ok(()) }
}

/// The schema of a database that has one.
async fn applied(pool: &SqlitePool) -> Result<i64, StoreError> {
    let found: i64 =
        sqlx::query("SELECT COALESCE(MAX(version), 0) FROM schema_version").fetch_one(pool).await?.try_get(0)?;
    if found > newest() {
        return Err(StoreError::NewerSchema { found, known: newest() });
    }
    Ok(found)
}

/// Brings a database to the schema of this release. `unix` is the time now.
pub(super) async fn migrate(pool: &SqlitePool, unix: Duration) -> Result<(), StoreError> {
    let table =
        "CREATE TABLE IF NOT EXISTS schema_version (version INTEGER PRIMARY KEY, applied_at INTEGER NOT NULL) STRICT";
    sqlx::query(table).execute(pool).await?;
    let found = applied(pool).await?;
    for (version, statements) in (1_i64..).zip(STEPS).filter(|(version, _)| *version > found) {
        let mut transaction = pool.begin().await?;
        for statement in *statements {
            sqlx::query(*statement).execute(&mut *transaction).await?;
        }
        sqlx::query("INSERT INTO schema_version (version, applied_at) VALUES (?, ?)")
            .bind(version)
            .bind(i64::try_from(unix.as_secs()).unwrap_or(i64::MAX))
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
    }
    Ok(())
}
