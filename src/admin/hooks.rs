//! Webhooks of registries, at `/hooks/{source}`.
//!
//! They come from other hosts, so that neither the admin token nor the Host header is asked for: the signature decides, and
//! a source without a configured secret is not there. A delivery is acknowledged as soon as it is verified; what it says
//! only tells which models to look at now, so that many, old or swapped ones end as one does. Models that nobody follows
//! here, and test deliveries, are acknowledged as well: the sender can do nothing about them.
//!
//! Invariant: nothing is believed of a delivery but that something changed, and nothing at all of one that is forged.

use super::api::only;
use super::{AdminError, Desk};
use crate::registry::hooks::event::LONGEST_BODY;
use crate::registry::hooks::{Hint, HookKey, HookKind, ReplayGuard, models_of, verify};
use crate::serve::respond::{self, Answer};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::Notify;

/// The longest wait for a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Who may send webhooks, and what they wake.
#[derive(Debug, Default)]
pub struct Hooks {
    /// By name, as in the path.
    pub senders: BTreeMap<String, (HookKind, HookKey)>,
    /// For each registered model, by its registry's name, what wakes those who follow it.
    pub followers: BTreeMap<String, Vec<Arc<Notify>>>,
    /// What came before.
    pub seen: Mutex<ReplayGuard>,
}

/// Answers a delivery.
pub(super) async fn answer(
    desk: &Desk,
    (source, path): (&str, &str),
    request: Request<Incoming>,
) -> Result<Answer, AdminError> {
    only(request.method(), &Method::POST, path, "POST")?;
    let unknown = || AdminError::UnknownPath { path: path.chars().take(super::api::QUOTED_PATH).collect() };
    let (kind, key) = desk.hooks.senders.get(source).ok_or_else(unknown)?;
    let (head, body) = request.into_parts();
    let bad = |reason: String| AdminError::BadBody { reason };
    let body = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, LONGEST_BODY).collect())
        .await
        .map_err(|_elapsed| bad(format!("the body did not arrive within {BODY_TIMEOUT:?}")))?
        .map_err(|error| bad(format!("the body could not be read, or is over {LONGEST_BODY} bytes: {error}")))?
        .to_bytes();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let refused = |error| {
        tracing::warn!(source, cause = %error, "a webhook is refused");
        AdminError::Hook(error)
    };
    let delivery = verify(*kind, key, &head.headers, &body, now).map_err(refused)?;
    let hint = models_of(*kind, &body).map_err(refused)?;
    let mut seen = desk.hooks.seen.lock().unwrap_or_else(PoisonError::into_inner);
    let is_new = seen.first_time(source, &delivery.id, now);
    drop(seen);
    let woken = if is_new { desk.hooks.wake(&hint) } else { 0 };
    tracing::info!(source, id = delivery.id, is_new, woken, "webhook received");
    let mut answer = respond::value(&serde_json::json!({ "accepted": true, "repeated": !is_new, "woken": woken }));
    *answer.status_mut() = StatusCode::ACCEPTED;
    Ok(answer)
}

impl Hooks {
    /// Has every follower that a delivery may be about look at its registry now; how many.
    fn wake(&self, hint: &Hint) -> usize {
        let woken: Vec<&Arc<Notify>> = match hint {
            Hint::Nothing => Vec::new(),
            Hint::Any => self.followers.values().flatten().collect(),
            Hint::Models(names) => names.iter().filter_map(|name| self.followers.get(name)).flatten().collect(),
        };
        woken.iter().for_each(|follower| follower.notify_one());
        woken.len()
    }
}
