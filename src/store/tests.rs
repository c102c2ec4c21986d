//! What is written is read back, by another process too; what is damaged is put aside; what cannot be opened says why.

use super::*;
use sqlx::Row;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const NOW: Duration = Duration::from_secs(1_790_000_000);

async fn open(directory: &Path) -> Store {
    Store::open(directory, NOW).await.unwrap()
}

fn key(model: &str, profile_hash: u64) -> SnapshotKey {
    SnapshotKey { model: model.to_owned(), version: 1, profile_hash, replica: "a".to_owned() }
}

fn row(key: SnapshotKey, at: Duration, blob: &[u8]) -> SnapshotRow {
    SnapshotRow { key, epoch: u64::MAX, at, blob: blob.to_vec() }
}

fn alert(id: &str, open: bool) -> AlertRow {
    AlertRow { id: id.to_owned(), open, body: format!("{{\"id\":{id:?}}}") }
}

fn names(directory: &Path) -> Vec<String> {
    let items = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = items.map(|item| item.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn an_empty_store_has_neither_snapshots_nor_alerts() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory.path().join("not/yet/there")).await;
    assert_eq!(store.snapshot(&key("churn", 1)).await.unwrap(), None);
    assert_eq!(store.alerts().await.unwrap(), []);
    store.save_snapshots(&[]).await.unwrap();
    store.save_alerts(&[]).await.unwrap();
}

#[tokio::test]
async fn the_latest_snapshot_of_a_key_is_read_back_after_the_store_was_opened_again() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    let (first, second) = (row(key("churn", u64::MAX), NOW, &[1]), row(key("churn", 2), NOW, &[]));
    store.save_snapshots(&[first.clone(), second.clone()]).await.unwrap();
    let later = row(key("churn", 2), NOW + Duration::from_millis(1), &[0, 255]);
    store.save_snapshots(std::slice::from_ref(&later)).await.unwrap();
    store.close().await;
    let store = open(directory.path()).await;
    assert_eq!(store.snapshot(&first.key).await.unwrap(), Some(first));
    assert_eq!(store.snapshot(&second.key).await.unwrap(), Some(later));
    assert_eq!(store.snapshot(&key("churn", 3)).await.unwrap(), None);
}

#[tokio::test]
async fn snapshots_of_versions_long_gone_are_deleted() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    let (old, new) = (row(key("old", 1), NOW, &[1]), row(key("new", 1), NOW + Duration::from_secs(61 * 86_400), &[2]));
    store.save_snapshots(std::slice::from_ref(&old)).await.unwrap();
    store.save_snapshots(std::slice::from_ref(&new)).await.unwrap();
    assert_eq!(store.snapshot(&old.key).await.unwrap(), None);
    assert_eq!(store.snapshot(&new.key).await.unwrap(), Some(new));
}

#[tokio::test]
async fn alerts_are_one_list_in_its_order() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    store.save_alerts(&[alert("b", true), alert("a", false)]).await.unwrap();
    let list = [alert("c", true), alert("b", false), alert("a", false)];
    store.save_alerts(&list).await.unwrap();
    assert_eq!(store.alerts().await.unwrap(), list);
}

#[tokio::test]
async fn a_damaged_file_is_put_aside_and_a_new_one_begun() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tidegate.db");
    fs::write(&file, b"this is no database, and long enough to be sure of it. ".repeat(40)).unwrap();
    let store = open(directory.path()).await;
    store.save_alerts(&[alert("a", true)]).await.unwrap();
    assert!(names(directory.path()).contains(&"tidegate.db.corrupt-1790000000".to_owned()), "{directory:?}");
    // A page in the middle that is overwritten is damage that only a check finds.
    let blob = vec![7; 200_000];
    store.save_snapshots(&[row(key("churn", 1), NOW, &blob)]).await.unwrap();
    store.close().await;
    // The last connection empties its log into the file on a thread of its own, and may still be at it.
    let is_open = || names(directory.path()).iter().any(|name| name.ends_with("-wal"));
    tokio::time::timeout(Duration::from_secs(30), async {
        while is_open() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("a closed database has no log");
    let mut bytes = fs::read(&file).unwrap();
    let page = 4_096;
    bytes[page..3 * page].fill(0xa5);
    fs::write(&file, bytes).unwrap();
    let later = NOW + Duration::from_secs(1);
    let store = Store::open(directory.path(), later).await.unwrap();
    assert_eq!(store.alerts().await.unwrap(), []);
    assert!(names(directory.path()).contains(&"tidegate.db.corrupt-1790000001".to_owned()), "{directory:?}");
}

#[tokio::test]
async fn examining_tells_what_opening_would_and_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    assert!(!Store::examine(&directory.path().join("absent")).await.unwrap());
    assert!(!Store::examine(directory.path()).await.unwrap());
    assert_eq!(names(directory.path()), [""; 0]);
    let open = open(directory.path()).await;
    assert!(Store::examine(directory.path()).await.unwrap(), "beside whoever has it open");
    open.close().await;
    assert!(Store::examine(directory.path()).await.unwrap());
    let damaged = tempfile::tempdir().unwrap();
    fs::write(
        damaged.path().join("tidegate.db"),
        "no database at all, though longer than a header of one hundred bytes".repeat(9),
    )
    .unwrap();
    assert!(matches!(Store::examine(damaged.path()).await, Err(StoreError::Database(_))));
    assert_eq!(names(damaged.path()), ["tidegate.db"]);
}

#[tokio::test]
async fn a_database_of_a_newer_release_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    sqlx::query("INSERT INTO schema_version (version, applied_at) VALUES (99, 0)").execute(&store.pool).await.unwrap();
    store.close().await;
    let error = Store::open(directory.path(), NOW).await.unwrap_err();
    let newest = migrations::newest();
    assert!(matches!(error, StoreError::NewerSchema { found: 99, known } if known == newest), "{error}");
    let error = Store::examine(directory.path()).await.unwrap_err();
    assert!(matches!(error, StoreError::NewerSchema { found: 99, known } if known == newest), "{error}");
    assert!(names(directory.path()).iter().all(|name| !name.contains("corrupt")));
}

#[tokio::test]
async fn a_directory_that_cannot_be_made_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Store::open(&file.join("state"), NOW).await.unwrap_err();
    assert!(matches!(error, StoreError::Directory { .. }) && error.to_string().contains("file/state"), "{error}");
}

#[tokio::test]
async fn the_keeper_writes_what_was_handed_in_before_it_ends() {
    let directory = tempfile::tempdir().unwrap();
    let health = Arc::new(StateHealth::default());
    let (keeper, write) = keep(open(directory.path()).await, Arc::clone(&health));
    let rows: Vec<Vec<AlertRow>> = (0..20).map(|round| vec![alert(&round.to_string(), true)]).collect();
    rows.iter().for_each(|rows| keeper.hand_in(Job::Alerts(rows.clone())));
    assert_eq!(health.dropped(), 12, "nothing has been written yet, and eight may wait");
    drop(keeper);
    write.await;
    assert_eq!(health.trouble(), None);
    assert_eq!(open(directory.path()).await.alerts().await.unwrap(), rows[7]);
}

#[tokio::test]
async fn a_write_that_fails_is_told_and_the_next_one_is_tried() {
    let directory = tempfile::tempdir().unwrap();
    let health = Arc::new(StateHealth::default());
    let store = open(directory.path()).await;
    sqlx::query("ALTER TABLE alerts RENAME TO elsewhere").execute(&store.pool).await.unwrap();
    let (keeper, write) = keep(store, Arc::clone(&health));
    keeper.hand_in(Job::Alerts(vec![alert("a", true)]));
    drop(keeper);
    write.await;
    assert!(health.trouble().is_some_and(|trouble| trouble.contains("alerts")), "{:?}", health.trouble());
}

#[tokio::test]
async fn a_snapshot_of_100_features_is_read_back_whole() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    let blob: Vec<u8> = (0..500_000_u32).map(|place| (place.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let row = row(key("wide", 1), NOW, &blob);
    let started = Instant::now();
    store.save_snapshots(std::slice::from_ref(&row)).await.unwrap();
    println!("500 kB written in {:?}", started.elapsed());
    assert_eq!(store.snapshot(&row.key).await.unwrap(), Some(row));
}

#[tokio::test]
async fn old_snapshots_are_found_without_reading_all_and_little_is_kept_in_memory() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), Duration::ZERO).await.unwrap();
    let plan = "EXPLAIN QUERY PLAN DELETE FROM monitor_snapshots WHERE at < 7";
    let detail: String = sqlx::query(plan).fetch_one(&store.pool).await.unwrap().try_get(3).unwrap();
    assert!(detail.starts_with("SEARCH") && detail.contains("monitor_snapshots_by_time"), "{detail}");
    let kibibytes: i64 = sqlx::query("PRAGMA cache_size").fetch_one(&store.pool).await.unwrap().try_get(0).unwrap();
    assert_eq!(kibibytes, -256);
}

/// What SQLite does by itself when the disk is full, and then an ordinary failure.
#[tokio::test]
async fn a_write_that_was_rolled_back_by_sqlite_leaves_no_transaction_open() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    for (id, action) in [("full", "ROLLBACK"), ("wrong", "ABORT")] {
        let trigger = format!(
            "CREATE TRIGGER of_{id} BEFORE INSERT ON alerts WHEN NEW.id = '{id}' BEGIN SELECT RAISE({action}, '{id}'); END"
        );
        sqlx::query(sqlx::AssertSqlSafe(trigger)).execute(&store.pool).await.unwrap();
    }
    // One of the two connections, so that all writes go by the other.
    let mut reader = store.pool.acquire().await.unwrap();
    for id in ["full", "wrong"] {
        assert!(store.save_alerts(&[alert(id, true)]).await.unwrap_err().to_string().contains(id));
    }
    store.save_alerts(&[alert("fine", true)]).await.unwrap();
    let seen: i64 = sqlx::query("SELECT count(*) FROM alerts").fetch_one(&mut *reader).await.unwrap().get(0);
    assert_eq!(seen, 1);
}
