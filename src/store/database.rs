//! Opens the database, or a new one in place of a damaged one.
//!
//! Damage is looked for once, when the file is opened (`PRAGMA quick_check`): a database that is found damaged while it
//! is written to says so with every write, and the next start puts it aside.
//!
//! Invariant: a file that was put aside is never written to or deleted.

use super::{StoreError, migrations};
use futures_util::future::BoxFuture;
use sqlx::pool::PoolConnectionMetadata;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Row, SqliteConnection, SqlitePool};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The database's file in the state directory.
const FILE: &str = "tidegate.db";

/// How long a statement waits for another process that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// One for the writer, one for whoever reads meanwhile.
const CONNECTIONS: u32 = 2;

/// What each connection keeps of the database in memory, 256 KiB (a negative number is KiB,
/// <https://www.sqlite.org/pragma.html#pragma_cache_size>). Rows are written and read once, and looked up by their keys: the
/// pages that are used again are those of a few trees' upper levels. SQLite's own limit of 2 MB for each filled up, version by
/// version.
const PAGE_CACHE: &str = "-256";

/// SQLite's result codes of a damaged file and of one that is no database.
/// <https://www.sqlite.org/rescode.html>
const DAMAGED: [u8; 2] = [11, 26];

/// The open database.
#[derive(Clone, Debug)]
pub struct Store {
    pub(super) pool: SqlitePool,
}

impl Store {
    /// Opens the database in `directory`, which is made if it is not there. `unix` is the time now.
    ///
    /// # Errors
    /// When there is no place to write, and when the database is of a newer release. A damaged one is put aside.
    pub async fn open(directory: &Path, unix: Duration) -> Result<Self, StoreError> {
        let failed = |cause| StoreError::Directory { path: directory.to_owned(), cause };
        tokio::fs::create_dir_all(directory).await.map_err(failed)?;
        let path = directory.join(FILE);
        match Self::open_file(&path, unix).await {
            Err(StoreError::Database(error)) if is_damage(&error) => {
                let aside = put_aside(&path, unix).await?;
                tracing::error!(
                    cause = %error,
                    aside = %aside.display(),
                    "the state database is damaged; it is put aside and a new one is begun"
                );
                Self::open_file(&path, unix).await
            }
            outcome => outcome,
        }
    }

    /// Whether there is a database in `directory`, without making or changing one. One that another process has open can
    /// be looked at.
    ///
    /// # Errors
    /// When it is damaged, of a newer release, or cannot be read.
    pub async fn examine(directory: &Path) -> Result<bool, StoreError> {
        let path = directory.join(FILE);
        if !path.exists() {
            return Ok(false);
        }
        let options = SqliteConnectOptions::new().filename(&path).read_only(true).busy_timeout(BUSY_TIMEOUT);
        let options = options.disable_statement_logging();
        let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await?;
        let store = Self { pool };
        let examined = match store.check().await {
            Ok(()) => migrations::check(&store.pool).await,
            Err(error) => Err(error),
        };
        store.close().await;
        examined.map(|()| true)
    }

    async fn open_file(path: &Path, unix: Duration) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(BUSY_TIMEOUT)
            .pragma("cache_size", PAGE_CACHE)
            // Whoever waits says so; statements in the log help nobody.
            .disable_statement_logging();
        let pool = SqlitePoolOptions::new().max_connections(CONNECTIONS).after_release(is_done);
        let store = Self { pool: pool.connect_with(options).await? };
        match store.check_and_migrate(unix).await {
            Ok(()) => Ok(store),
            Err(error) => {
                store.close().await;
                Err(error)
            }
        }
    }

    async fn check_and_migrate(&self, unix: Duration) -> Result<(), StoreError> {
        self.check().await?;
        migrations::migrate(&self.pool, unix).await
    }

    async fn check(&self) -> Result<(), StoreError> {
        let found: String = sqlx::query("PRAGMA quick_check(1)").fetch_one(&self.pool).await?.try_get(0)?;
        if found != "ok" {
            return Err(StoreError::Database(sqlx::Error::Protocol(format!("{DAMAGE}: {found}"))));
        }
        Ok(())
    }

    /// Writes what is still in the log into the file and closes it.
    pub async fn close(self) {
        self.pool.close().await;
    }
}

/// Whether a connection can be used again, once what was sent to it is done. When the disk is full SQLite rolls back by itself
/// (<https://www.sqlite.org/lang_transaction.html>), and the ROLLBACK that follows fails: sqlx then takes the transaction for
/// open and the next one for a part of it, which nobody ends. Such a connection would see the past and lock everybody out.
fn is_done(
    connection: &mut SqliteConnection,
    _metadata: PoolConnectionMetadata,
) -> BoxFuture<'_, Result<bool, sqlx::Error>> {
    Box::pin(async move {
        connection.ping().await?;
        Ok(!connection.is_in_transaction())
    })
}

/// How the outcome of a check is told apart from other errors.
const DAMAGE: &str = "quick_check found damage";

fn is_damage(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Protocol(text) => text.starts_with(DAMAGE),
        // The low byte of an extended code is the primary one.
        sqlx::Error::Database(error) => {
            let code = error.code().and_then(|code| code.parse::<u32>().ok()).unwrap_or(0);
            DAMAGED.contains(&(code as u8))
        }
        _ => false,
    }
}

/// Renames a database and what belongs to it; answers its new name.
async fn put_aside(path: &Path, unix: Duration) -> Result<PathBuf, StoreError> {
    let aside = |ending: &str| {
        let name = format!("{FILE}.corrupt-{}{ending}", unix.as_secs());
        (path.with_file_name(format!("{FILE}{ending}")), path.with_file_name(name))
    };
    for ending in ["", "-wal", "-shm"] {
        let (from, to) = aside(ending);
        match tokio::fs::rename(&from, &to).await {
            Err(cause) if cause.kind() != ErrorKind::NotFound => {
                return Err(StoreError::PutAside { path: from, cause });
            }
            _ => {}
        }
    }
    Ok(aside("").1)
}
