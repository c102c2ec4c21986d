//! `[registry.hooks.<name>]`: who else may send webhooks to the admin port, at `/hooks/<name>`.
//!
//! Which models a sender is for is a list of models configured here and not of its own names: a forge names repositories
//! and a hub its own models, neither of which is what is served. The list is compared with the models once all are read.
//!
//! Invariant: a name is plain in an address, in a label and in a log line, and at most [`MAX_HOOKS`] are accepted.

use std::collections::{BTreeMap, BTreeSet};

use super::models::{MAX_NAME, check_plain};
use super::problem::{Origin, Problem, ProblemKind};
use super::reader::Reader;
use super::secret::Secret;
use super::secret_source::secret;
use super::settings::ModelSettings;
use super::values::{names, one_of};

/// Most senders besides the MLflow server.
const MAX_HOOKS: usize = 16;

/// The name of the sender that `registry.mlflow.webhook_secret` makes.
pub const MLFLOW_HOOK: &str = "mlflow";

/// Who sends webhooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HookKind {
    /// MLflow since 3.3: id, time and body are signed with the secret as it is written.
    Mlflow,
    /// Standard Webhooks, `v1`: id, time and body are signed with the key that the secret is the base64 of.
    StandardWebhooks,
    /// GitHub: the body is signed; the id is not.
    Github,
    /// Weights & Biases: the body is signed; there is no id and no time.
    WeightsAndBiases,
    /// Hugging Face: the secret itself is sent; nothing is signed.
    HuggingFace,
}

/// Every kind by its name in settings.
const KINDS: &[(&str, HookKind)] = &[
    ("mlflow", HookKind::Mlflow),
    ("standard", HookKind::StandardWebhooks),
    ("github", HookKind::Github),
    ("wandb", HookKind::WeightsAndBiases),
    ("huggingface", HookKind::HuggingFace),
];

impl HookKind {
    /// Its name in settings.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        KINDS.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }
}

/// One sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookSettings {
    /// What it speaks.
    pub kind: HookKind,
    /// What it signs with.
    pub secret: Secret,
    /// The only models that its deliveries wake. Default `None`: whichever they name, or all where they name none.
    pub models: Option<BTreeSet<String>>,
}

/// A list of models in a sender's table, to be looked at when all models are read.
pub(super) struct NamedModels {
    origin: Origin,
    path: String,
    models: BTreeSet<String>,
}

/// All senders that have a table. What their tables say of models is added to `named`.
pub(super) fn hooks(reader: &mut Reader<'_, '_>, named: &mut Vec<NamedModels>) -> BTreeMap<String, HookSettings> {
    let all = reader.named_tables(|name| check_plain("a sender's name", name), hook);
    if all.len() > MAX_HOOKS {
        let reason = format!("{} senders are configured, at most {MAX_HOOKS} are allowed", all.len());
        reader.own_problem(ProblemKind::Conflict { reason });
    }
    let mut hooks = BTreeMap::new();
    for (name, (settings, list)) in all {
        named.extend(list);
        hooks.extend(settings.map(|settings| (name, settings)));
    }
    hooks
}

fn hook(reader: &mut Reader<'_, '_>) -> (Option<HookSettings>, Option<NamedModels>) {
    let kinds: Vec<&str> = KINDS.iter().map(|(name, _)| *name).collect();
    let kinds = format!("kind = \"…\", one of {}", kinds.join(", "));
    for (key, expected) in [("kind", kinds.as_str()), ("secret", "secret = { env = \"NAME\" } or { file = \"PATH\" }")]
    {
        if !reader.has(key) {
            reader.own_problem(ProblemKind::Missing { expected: expected.to_owned() });
        }
    }
    let (kind, secret) = (reader.value("kind", one_of(KINDS)), secret(reader, "secret"));
    let listed = reader.located("models", names).map(|models| NamedModels {
        origin: models.origin,
        path: reader.path_of("models"),
        models: models.value.into_iter().collect(),
    });
    let models = listed.as_ref().map(|list| list.models.clone());
    let settings = kind.zip(secret).map(|(kind, secret)| HookSettings { kind, secret, models });
    (settings, listed)
}

/// Two senders cannot have one path.
pub(super) fn check_mlflow(reader: &mut Reader<'_, '_>, is_taken: bool, hooks: &BTreeMap<String, HookSettings>) {
    if is_taken && hooks.contains_key(MLFLOW_HOOK) {
        let reason = format!(
            "registry.mlflow.webhook_secret and [registry.hooks.{MLFLOW_HOOK}] both say who sends to \
             /hooks/{MLFLOW_HOOK}; leave one out or give the other sender another name"
        );
        reader.own_problem(ProblemKind::Conflict { reason });
    }
}

/// Writes down every model that a sender is for and that comes from no registry here: nothing could be woken.
pub(super) fn check_models(
    reader: &mut Reader<'_, '_>,
    named: Vec<NamedModels>,
    models: &BTreeMap<String, ModelSettings>,
) {
    let sourced = |name: &String| models.get(name).is_some_and(|model| model.source.is_some());
    for list in named {
        let unknown: Vec<String> =
            list.models.iter().filter(|name| !sourced(name)).map(|name| format!("{name:?}")).collect();
        if list.models.is_empty() || !unknown.is_empty() {
            let expected = format!("names of models that have a source, of at most {MAX_NAME} bytes");
            let found = if unknown.is_empty() { "none".to_owned() } else { unknown.join(", ") };
            let kind = ProblemKind::Invalid { expected, found };
            reader.ledger.problems.push(Problem { origin: list.origin, path: list.path, kind });
        }
    }
}
