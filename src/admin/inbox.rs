//! The webhooks that were taken, at `/api/v1/hooks`: to see what came, and to take one again.
//!
//! A delivery that is taken again wakes whom it would wake if it came now: its signature was checked when it came, and
//! that it is a repetition is what the operator wants. It is kept like any other, with the number of the first.
//!
//! Invariant: what is shown of a delivery is what its sender signed, never what it was signed with.

use super::api::{only, unknown_path};
use super::hooks::Inbox;
use super::{AdminError, Desk};
use crate::registry::hooks::Hint;
use crate::serve::respond::{self, Answer};
use crate::store::{DeliveryRow, KEPT_DELIVERIES, KeptDelivery, StoreError};
use hyper::{Method, Request, StatusCode};
use serde_json::{Value, json};
use std::time::{Duration, SystemTime};

/// How many are listed if the query does not say.
const LISTED: usize = 50;
/// How long reading may take: a disk that hangs is told and not waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// What came is quoted in errors up to this many characters.
const QUOTED: usize = 100;

/// Answers what is asked of the deliveries; `rest` is what follows `/api/v1/hooks` in the path.
pub(super) async fn answer<B>(
    desk: &Desk,
    (rest, path): (&[&str], &str),
    request: &Request<B>,
) -> Result<Answer, AdminError> {
    let method = request.method();
    match rest {
        [] => {
            only(method, &Method::GET, path, "GET")?;
            let limit = limit_of(request.uri().query())?;
            let kept = patiently(inbox(desk)?.store.deliveries(limit)).await?;
            Ok(respond::value(&json!({ "deliveries": kept.iter().map(view).collect::<Vec<_>>() })))
        }
        [id] => {
            only(method, &Method::GET, path, "GET")?;
            let kept = find(desk, id).await?;
            let mut view = view(&kept);
            view["body"] = json!(String::from_utf8_lossy(&kept.row.body));
            view["body_is_whole"] = json!(kept.row.body.len() == kept.row.body_bytes);
            Ok(respond::value(&view))
        }
        [id, "replay"] => {
            only(method, &Method::POST, path, "POST")?;
            replay(desk, find(desk, id).await?)
        }
        _ => Err(unknown_path(path)),
    }
}

fn inbox(desk: &Desk) -> Result<&Inbox, AdminError> {
    let reason = || desk.state.health.trouble().unwrap_or_else(|| "it could not be opened".to_owned());
    desk.hooks.inbox.as_ref().ok_or_else(|| AdminError::NoInbox { reason: reason() })
}

async fn find(desk: &Desk, id: &str) -> Result<KeptDelivery, AdminError> {
    let inbox = inbox(desk)?;
    let unknown = || AdminError::UnknownDelivery { id: id.chars().take(QUOTED).collect() };
    // "01" would be a second name for 1.
    let number = id.parse().ok().filter(|number: &u64| number.to_string() == id).ok_or_else(unknown)?;
    patiently(inbox.store.delivery(number)).await?.ok_or_else(unknown)
}

/// Acts as if the delivery came now.
fn replay(desk: &Desk, kept: KeptDelivery) -> Result<Answer, AdminError> {
    let KeptDelivery { number, row } = kept;
    let gone = || AdminError::SenderGone { id: number, source_name: row.source.clone() };
    let sender = desk.hooks.senders.get(&row.source).ok_or_else(gone)?;
    let woken = desk.hooks.wake(sender, &Hint::of_names(names(&row)));
    tracing::info!(source = row.source, id = row.delivery_id, number, woken, "a webhook is taken again");
    let received = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let again = DeliveryRow { received, woken, replay_of: Some(number), ..row };
    inbox(desk)?.keeper.hand_in_delivery(again);
    let mut answer = respond::value(&json!({ "accepted": true, "replay_of": number, "woken": woken }));
    *answer.status_mut() = StatusCode::ACCEPTED;
    Ok(answer)
}

fn view(kept: &KeptDelivery) -> Value {
    let row = &kept.row;
    json!({
        "id": kept.number,
        "source": row.source,
        "kind": row.kind,
        "delivery_id": row.delivery_id,
        "received_at": humantime::format_rfc3339_millis(SystemTime::UNIX_EPOCH + row.received).to_string(),
        "models": names(row),
        "woken": row.woken,
        "body_bytes": row.body_bytes,
        "replay_of": row.replay_of,
    })
}

/// The models that it is about; none if it cannot be told, which is also what a row stands for that is not understood.
fn names(row: &DeliveryRow) -> Option<Vec<String>> {
    serde_json::from_str(&row.models).unwrap_or_default()
}

async fn patiently<T>(read: impl Future<Output = Result<T, StoreError>>) -> Result<T, AdminError> {
    let outcome = tokio::time::timeout(PATIENCE, read).await;
    outcome.unwrap_or(Err(StoreError::Late(PATIENCE))).map_err(AdminError::Inbox)
}

fn limit_of(query: Option<&str>) -> Result<usize, AdminError> {
    let Some(query) = query.filter(|query| !query.is_empty()) else { return Ok(LISTED) };
    let limit = query.strip_prefix("limit=").and_then(|limit| limit.parse().ok());
    limit.filter(|limit| (1..=KEPT_DELIVERIES).contains(limit)).ok_or_else(|| {
        let quoted: String = query.chars().take(QUOTED).collect();
        AdminError::BadQuery {
            reason: format!("the query \"{quoted}\" is not known; expected none, or limit=<1 to {KEPT_DELIVERIES}>"),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_fifty_unless_the_query_says_how_many() {
        assert_eq!([None, Some("")].map(|query| limit_of(query).ok()), [Some(LISTED); 2]);
        assert_eq!(limit_of(Some("limit=1000")).ok(), Some(1_000));
        for query in ["limit=0", "limit=1001", "limit=", "limit=x", "limit=1&limit=2", "most=3"] {
            let refused = limit_of(Some(query)).unwrap_err().to_string();
            assert!(refused.contains("limit=<1 to 1000>"), "{refused}");
        }
    }

    #[test]
    fn names_are_read_back_as_they_were_written() {
        for hint in [Hint::Any, Hint::Nothing, Hint::Models(vec!["a \"b\"".to_owned(), "c".to_owned()])] {
            let row = DeliveryRow {
                source: String::new(),
                kind: String::new(),
                delivery_id: String::new(),
                received: Duration::ZERO,
                models: json!(hint.names()).to_string(),
                woken: 0,
                body_bytes: 0,
                body: Vec::new(),
                replay_of: None,
            };
            assert_eq!(Hint::of_names(names(&row)), hint);
        }
    }
}
