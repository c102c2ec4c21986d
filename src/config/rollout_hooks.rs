//! `[[models.<name>.rollout.hooks]]`: whom a rollout asks and tells.
//!
//! Names, meanings and defaults are Flagger's, so that what answers Flagger's webhooks answers these.
//!
//! Invariant: no problem repeats the address of a hook, which may carry a token.

use std::collections::BTreeMap;
use std::time::Duration;

use super::problem::ProblemKind;
use super::reader::Reader;
use super::rollout_settings::{HOOK_KINDS, RolloutHookSettings};
use super::tree::Value;
use super::values::{duration, name, one_of, refused, webhook_url, whole};

/// Most hooks of a model.
const MAX_HOOKS: usize = 16;
/// Most texts that are sent with a hook.
const MAX_METADATA: usize = 32;

const MILLISECOND: Duration = Duration::from_millis(1);
const MINUTE: Duration = Duration::from_secs(60);

/// All hooks of a rollout.
pub(super) fn hooks(reader: &mut Reader<'_, '_>) -> Vec<RolloutHookSettings> {
    let hooks: Vec<Option<RolloutHookSettings>> = reader.tables("hooks", hook);
    if hooks.len() > MAX_HOOKS {
        let reason = format!("there are {} hooks, at most {MAX_HOOKS} are allowed", hooks.len());
        reader.own_problem(ProblemKind::Conflict { reason });
    }
    hooks.into_iter().flatten().collect()
}

fn hook(reader: &mut Reader<'_, '_>) -> Option<RolloutHookSettings> {
    let kinds: Vec<&str> = HOOK_KINDS.iter().map(|(name, _)| *name).collect();
    let kinds = format!("type = \"…\", one of {}", kinds.join(", "));
    for (key, expected) in [("type", kinds.as_str()), ("url", "url = \"https://…\", who is asked")] {
        if !reader.has(key) {
            reader.own_problem(ProblemKind::Missing { expected: expected.to_owned() });
        }
    }
    let (kind, url) = (reader.value("type", one_of(HOOK_KINDS)), reader.value("url", webhook_url));
    let name = reader.value("name", name);
    let timeout = reader.value("timeout", duration(100 * MILLISECOND..=10 * MINUTE)).unwrap_or(10_000 * MILLISECOND);
    let retries = reader.value("retries", whole(0..=10)).unwrap_or(2);
    let metadata = reader.table("metadata", metadata);
    let kind = kind?;
    let name = name.unwrap_or_else(|| kind.as_str().to_owned());
    Some(RolloutHookSettings { kind, name, url: url?, timeout, retries, metadata })
}

fn metadata(reader: &mut Reader<'_, '_>) -> BTreeMap<String, String> {
    let mut metadata = BTreeMap::new();
    for (key, entry) in reader.drain() {
        match entry.value {
            Value::Text(text) => drop(metadata.insert(key, text)),
            other => reader.problem(entry.origin, &key, refused("a text", &other)),
        }
    }
    if metadata.len() > MAX_METADATA {
        let reason = format!("there are {} texts, at most {MAX_METADATA} are allowed", metadata.len());
        reader.own_problem(ProblemKind::Conflict { reason });
    }
    metadata
}
