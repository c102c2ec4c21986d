//! Deliveries are read back newest first, and the oldest go when there are too many or they are too large.

use super::*;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const NOW: Duration = Duration::from_millis(1_790_000_000_123);

async fn open(directory: &Path) -> Store {
    Store::open(directory, NOW).await.unwrap()
}

fn delivery(n: u64, body: Vec<u8>) -> DeliveryRow {
    DeliveryRow {
        source: "mlflow".to_owned(),
        kind: "mlflow".to_owned(),
        delivery_id: format!("id-{n}"),
        received: NOW + Duration::from_secs(n),
        models: "[\"churn\"]".to_owned(),
        woken: 1,
        body_bytes: body.len(),
        body,
        replay_of: None,
    }
}

fn numbers(deliveries: &[KeptDelivery]) -> Vec<u64> {
    deliveries.iter().map(|delivery| delivery.number).collect()
}

#[tokio::test]
async fn deliveries_are_read_back_by_a_later_process() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    assert_eq!((store.deliveries(10).await.unwrap(), store.delivery(1).await.unwrap()), (vec![], None));
    let first = delivery(0, b"{}".to_vec());
    let again = DeliveryRow { replay_of: Some(1), models: "null".to_owned(), ..delivery(9, b"{\"a\":1}".to_vec()) };
    store.save_deliveries(&[first.clone(), again.clone()]).await.unwrap();
    store.close().await;
    let store = open(directory.path()).await;
    let kept = store.deliveries(10).await.unwrap();
    assert_eq!(numbers(&kept), [2, 1]);
    assert_eq!(kept[0].row, DeliveryRow { body: Vec::new(), ..again.clone() }, "a list has no bodies");
    assert_eq!(store.delivery(1).await.unwrap().unwrap().row, first);
    assert_eq!(store.delivery(2).await.unwrap().unwrap().row, again);
    assert_eq!(store.delivery(u64::MAX).await.unwrap(), None);
    assert_eq!(numbers(&store.deliveries(1).await.unwrap()), [2]);
}

#[tokio::test]
async fn what_came_lately_is_told_without_what_an_operator_had_taken_again() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    let rows: Vec<DeliveryRow> = (0..4).map(|n| delivery(n, Vec::new())).collect();
    store.save_deliveries(&rows).await.unwrap();
    store.save_deliveries(&[DeliveryRow { replay_of: Some(1), ..delivery(5, Vec::new()) }]).await.unwrap();
    let lately = store.deliveries_since(NOW + Duration::from_secs(2)).await.unwrap();
    let expected = [2, 3].map(|n| ("mlflow".to_owned(), format!("id-{n}"), NOW + Duration::from_secs(n)));
    assert_eq!(lately, expected);
}

#[tokio::test]
async fn the_oldest_go_when_there_are_too_many() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    let rows: Vec<DeliveryRow> = (0..KEPT_DELIVERIES as u64 + 5).map(|n| delivery(n, Vec::new())).collect();
    for rows in rows.chunks(300) {
        store.save_deliveries(rows).await.unwrap();
    }
    let kept = numbers(&store.deliveries(usize::MAX).await.unwrap());
    assert_eq!((kept.len(), kept[0], kept[KEPT_DELIVERIES - 1]), (KEPT_DELIVERIES, 1_005, 6));
}

#[tokio::test]
async fn bodies_are_cut_and_the_oldest_go_when_all_take_too_much() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    let rows: Vec<DeliveryRow> = (0..300).map(|n| delivery(n, vec![b'x'; KEPT_BODY + 1])).collect();
    store.save_deliveries(&rows).await.unwrap();
    let kept = store.deliveries(usize::MAX).await.unwrap();
    assert_eq!((kept.len(), kept[0].number), (KEPT_BYTES / KEPT_BODY, 300));
    let newest = store.delivery(300).await.unwrap().unwrap().row;
    assert_eq!((newest.body.len(), newest.body_bytes), (KEPT_BODY, KEPT_BODY + 1));
    sqlx::query("DELETE FROM hook_deliveries").execute(&store.pool).await.unwrap();
    store.save_deliveries(&[delivery(0, Vec::new())]).await.unwrap();
    assert_eq!(numbers(&store.deliveries(9).await.unwrap()), [301], "a number is given once");
}

#[tokio::test]
async fn a_flood_of_deliveries_pushes_out_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let health = Arc::new(StateHealth::default());
    let (keeper, write) = keep(open(directory.path()).await, Arc::clone(&health));
    (0..300).for_each(|n| keeper.hand_in_delivery(delivery(n, b"{}".to_vec())));
    let alert = AlertRow { id: "a".to_owned(), open: true, body: "{}".to_owned() };
    keeper.hand_in(Job::Alerts(vec![alert.clone()]));
    assert_eq!((health.dropped(), health.dropped_deliveries()), (0, 44), "256 may wait");
    drop(keeper);
    write.await;
    assert_eq!(health.trouble(), None);
    let store = open(directory.path()).await;
    assert_eq!(store.alerts().await.unwrap(), [alert]);
    assert_eq!(store.deliveries(usize::MAX).await.unwrap().len(), 256);
}
