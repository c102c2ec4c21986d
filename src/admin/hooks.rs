//! Webhooks of registries, at `/hooks/{source}`.
//!
//! They come from other hosts, so that neither the admin token nor the Host header is asked for: the signature decides, and
//! a source without a configured secret is not there. No browser sends one, so that a request with an Origin header is
//! refused. A delivery is acknowledged as soon as it is verified; what it says only tells which models to look at now, so
//! that many, old or swapped ones end as one does. Models that nobody follows here, and test deliveries, are acknowledged
//! as well: the sender can do nothing about them. What was taken is handed to the inbox, which the answer does not wait for.
//!
//! Invariant: nothing is believed of a delivery but that something changed, and nothing at all of one that is forged.

use super::api::{only, unknown_path};
use super::hook_counts::{HookCounts, Outcome};
use super::{AdminError, Desk};
use crate::registry::hooks::event::LONGEST_BODY;
use crate::registry::hooks::{Delivery, Followers, Hint, HookKey, HookKind, ReplayGuard, models_of, verify};
use crate::serve::respond::{self, Answer};
use crate::store::{DeliveryRow, KEPT_BODY, Keeper, Store};
use crate::telemetry::limit::{LineLimit, uptime_seconds};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::ORIGIN;
use hyper::{Method, Request, StatusCode};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// The longest wait for a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Who may send webhooks, and what they wake.
#[derive(Debug, Default)]
pub struct Hooks {
    /// By name, as in the path.
    pub senders: BTreeMap<String, Sender>,
    /// Whom they wake.
    pub followers: Followers,
    /// What came before.
    pub seen: Mutex<ReplayGuard>,
    /// Where deliveries are kept; nowhere if state is not.
    pub inbox: Option<Inbox>,
}

/// Who may send webhooks.
#[derive(Debug)]
pub struct Sender {
    pub(super) kind: HookKind,
    key: HookKey,
    /// The only models that are woken.
    pub(super) models: Option<BTreeSet<String>>,
    pub(super) counts: HookCounts,
}

/// Where deliveries are kept.
#[derive(Clone, Debug)]
pub struct Inbox {
    /// Where they are read.
    pub store: Store,
    /// Who writes them.
    pub keeper: Keeper,
}

/// A delivery that is the sender's.
struct Taken {
    delivery: Delivery,
    hint: Hint,
    body: Bytes,
    /// When it came, unix time.
    received: Duration,
}

/// Answers a delivery.
pub(super) async fn answer(
    desk: &Desk,
    (source, path): (&str, &str),
    request: Request<Incoming>,
) -> Result<Answer, AdminError> {
    only(request.method(), &Method::POST, path, "POST")?;
    let unknown = || unknown_path(path);
    let sender = desk.hooks.senders.get(source).ok_or_else(unknown)?;
    let Taken { delivery, hint, body, received } =
        sender.take(request).await.inspect_err(|error| sender.refused(source, error))?;
    let mut seen = desk.hooks.seen.lock().unwrap_or_else(PoisonError::into_inner);
    let is_new = seen.first_time(source, &delivery.id, received.as_secs());
    drop(seen);
    sender.counts.note(if is_new { Outcome::Accepted } else { Outcome::Repeated });
    let woken = if is_new { desk.hooks.wake(sender, &hint) } else { 0 };
    tracing::info!(source, id = delivery.id, is_new, woken, "webhook received");
    if let (true, Some(inbox)) = (is_new, &desk.hooks.inbox) {
        inbox.keeper.hand_in_delivery(DeliveryRow {
            source: source.to_owned(),
            kind: sender.kind.as_str().to_owned(),
            delivery_id: delivery.id,
            received,
            models: serde_json::json!(hint.names()).to_string(),
            woken,
            body_bytes: body.len(),
            body: body[..body.len().min(KEPT_BODY)].to_vec(),
            replay_of: None,
        });
    }
    let mut answer = respond::value(&serde_json::json!({ "accepted": true, "repeated": !is_new, "woken": woken }));
    *answer.status_mut() = StatusCode::ACCEPTED;
    Ok(answer)
}

impl Hooks {
    /// Has everybody look at the registry now whom a delivery of the sender may concern; how many.
    pub(super) fn wake(&self, sender: &Sender, hint: &Hint) -> usize {
        self.followers.wake(sender.kind, sender.models.as_ref(), hint)
    }
}

impl Sender {
    /// Who sends as `kind` does with `key`, and wakes `models` alone if there are any.
    #[must_use]
    pub fn new(kind: HookKind, key: HookKey, models: Option<BTreeSet<String>>) -> Self {
        Self { kind, key, models, counts: HookCounts::default() }
    }

    /// Reads and verifies a delivery.
    async fn take(&self, request: Request<Incoming>) -> Result<Taken, AdminError> {
        if request.headers().contains_key(ORIGIN) {
            let reason = "webhooks are not sent by pages, and this request has the header Origin".to_owned();
            return Err(AdminError::Forbidden { reason });
        }
        let (head, body) = request.into_parts();
        let bad = |reason: String| AdminError::BadBody { reason };
        let body = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, LONGEST_BODY).collect())
            .await
            .map_err(|_elapsed| bad(format!("the body did not arrive within {BODY_TIMEOUT:?}")))?
            .map_err(|error| match error.is::<LengthLimitError>() {
                true => AdminError::LongBody { most: LONGEST_BODY },
                false => bad(format!("the body could not be read: {error}")),
            })?
            .to_bytes();
        let received = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let delivery = verify(self.kind, &self.key, &head.headers, &body, received.as_secs())?;
        let hint = models_of(self.kind, &body)?;
        Ok(Taken { delivery, hint, body, received })
    }

    /// Counts a delivery that is not taken, and says so at most once a second: anybody can send such ones.
    fn refused(&self, source: &str, error: &AdminError) {
        static LIMIT: LineLimit = LineLimit::new(1);
        self.counts.note(Outcome::of(error));
        if let Some(suppressed) = LIMIT.admit(uptime_seconds()) {
            tracing::warn!(source, cause = %error, suppressed, "a webhook is refused");
        }
    }
}
