//! Who may send webhooks, as configured, and what is known of their deliveries from before.
//!
//! Invariant: a secret that cannot be a key is found at the start, and named by its setting.

use super::AppError;
use super::state::Kept;
use crate::admin::hooks::{Hooks, Inbox, Sender};
use crate::config::{Config, HookKind, MLFLOW_HOOK, Secret};
use crate::registry::hooks::HookKey;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;
use std::time::Duration;

/// Everybody who may send, by the name in the path.
pub(super) fn senders(config: &Config) -> Result<BTreeMap<String, Sender>, AppError> {
    let registry = &config.registry;
    let secret = registry.mlflow.as_ref().and_then(|mlflow| mlflow.webhook_secret.as_ref());
    let mlflow = secret.map(|secret| {
        let sender = sender("registry.mlflow.webhook_secret".to_owned(), (HookKind::Mlflow, secret), None)?;
        Ok((MLFLOW_HOOK.to_owned(), sender))
    });
    let others = registry.hooks.iter().map(|(name, hook)| {
        let setting = format!("registry.hooks.{name}.secret");
        Ok((name.clone(), sender(setting, (hook.kind, &hook.secret), hook.models.clone())?))
    });
    mlflow.into_iter().chain(others).collect()
}

fn sender(
    setting: String,
    (kind, secret): (HookKind, &Secret),
    models: Option<BTreeSet<String>>,
) -> Result<Sender, AppError> {
    let key = HookKey::try_new(kind, secret.expose()).map_err(|cause| AppError::Hook { setting, cause })?;
    Ok(Sender::new(kind, key, models))
}

/// Gives deliveries a place where they are kept, and has those remembered that came before this process, the oldest
/// first: source, id and time.
pub(super) fn with_inbox(mut hooks: Hooks, kept: Option<&Kept>, came: Vec<(String, String, Duration)>) -> Hooks {
    hooks.inbox = kept.map(|kept| Inbox { store: kept.store.clone(), keeper: kept.keeper.clone() });
    let seen = hooks.seen.get_mut().unwrap_or_else(PoisonError::into_inner);
    for (source, id, received) in came {
        seen.first_time(&source, &id, received.as_secs());
    }
    hooks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_before_is_known() {
        let came = |id: &str, at: u64| ("forge".to_owned(), id.to_owned(), Duration::from_millis(at * 1_000 + 999));
        let mut hooks = with_inbox(Hooks::default(), None, vec![came("a", 1_000), came("b", 1_010)]);
        let seen = hooks.seen.get_mut().unwrap();
        assert!(!seen.first_time("forge", "a", 1_100) && !seen.first_time("forge", "b", 1_100));
        assert!(seen.first_time("hub", "a", 1_100) && seen.first_time("forge", "c", 1_100));
        assert!(hooks.inbox.is_none(), "without state deliveries are taken and not kept");
    }
}
