//! Which models a delivery is about.
//!
//! A delivery says that something happened; what is true now only the registry knows. So of its body only names are
//! read, and leniently: a body that is no JSON object is refused, but one of an unknown shape is still the sender's and
//! means that something happened somewhere, [`Hint::Any`]. What surely touches no model is [`Hint::Nothing`].
//!
//! Invariant: nothing but names comes out, each of at most [`LONGEST_NAME`] bytes and never empty.

use super::{HookError, HookKind};
use serde_json::Value;
use std::collections::BTreeSet;

/// The longest body that a caller should read, bytes. The largest known ones (a prompt's template, a pull request) have
/// some ten thousand.
pub const LONGEST_BODY: usize = 1 << 20;
/// The longest name of a model, bytes. MLflow's store takes 256 characters, the Hub 96 and an owner.
pub const LONGEST_NAME: usize = 1_024;
/// The most models that one event names; one with more is about any.
pub const MOST_NAMES: usize = 256;

/// What to look at again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// Models of these names; some may not be known here (MLflow's test sends `example_model`).
    Models(Vec<String>),
    /// All: it cannot be told which.
    Any,
    /// No model.
    Nothing,
}

impl Hint {
    /// The names; none if it cannot be told which models it is about.
    #[must_use]
    pub fn names(&self) -> Option<&[String]> {
        match self {
            Self::Models(names) => Some(names),
            Self::Nothing => Some(&[]),
            Self::Any => None,
        }
    }

    /// The hint that has these [`names`](Self::names).
    #[must_use]
    pub fn of_names(names: Option<Vec<String>>) -> Self {
        match names {
            None => Self::Any,
            Some(names) if names.is_empty() => Self::Nothing,
            Some(names) => Self::Models(names),
        }
    }
}

/// The models that a delivery of the sender `kind` is about. `body` is at most [`LONGEST_BODY`] long.
///
/// - MLflow: `data.name` of models, versions, their tags and aliases; prompts and budgets are nothing.
/// - Standard Webhooks: `data.name`, else any.
/// - GitHub: any, since a repository's name is no model's.
/// - Weights & Biases: the collection, wherever the automation's own template puts `artifact_collection_name` or
///   `artifact_version_string`, else any.
/// - Hugging Face: `repo.name` of models, with the new name where one moved; discussions, datasets and spaces are nothing.
///
/// # Errors
/// [`HookError::BadBody`] if it is no JSON object.
pub fn models_of(kind: HookKind, body: &[u8]) -> Result<Hint, HookError> {
    let bad = |found: String| HookError::BadBody { found };
    let body: Value = serde_json::from_slice(body).map_err(|cause| bad(cause.to_string()))?;
    if !body.is_object() {
        return Err(bad("it is JSON, but no object".to_owned()));
    }
    Ok(match kind {
        HookKind::Mlflow => mlflow(&body),
        HookKind::StandardWebhooks => named(text(&body, "/data/name")),
        HookKind::Github => Hint::Any,
        HookKind::WeightsAndBiases => weights_and_biases(&body),
        HookKind::HuggingFace => hugging_face(&body),
    })
}

/// The entities of `mlflow/entities/webhook.py`.
fn mlflow(body: &Value) -> Hint {
    match text(body, "/entity") {
        Some("prompt" | "prompt_version" | "prompt_tag" | "prompt_version_tag" | "prompt_alias" | "budget_policy") => {
            Hint::Nothing
        }
        Some(entity) if entity == "registered_model" || entity.starts_with("model_version") => {
            named(text(body, "/data/name"))
        }
        _ => Hint::Any,
    }
}

/// The Hub: a scope may get narrower ones, to be read as the wider one (`docs/hub/webhooks.md`).
fn hugging_face(body: &Value) -> Hint {
    let scope = text(body, "/event/scope").unwrap_or_default();
    let is_talk = scope.split('.').next() == Some("discussion");
    if is_talk || matches!(text(body, "/repo/type"), Some("dataset" | "space")) {
        return Hint::Nothing;
    }
    named(text(body, "/repo/name").into_iter().chain(text(body, "/movedTo/name")))
}

fn weights_and_biases(body: &Value) -> Hint {
    let mut names = Vec::new();
    collect_collections(body, &mut names);
    // A variable that the event does not have is left as it was written.
    named(names.into_iter().filter(|name| !name.contains("${")))
}

/// As deep as the JSON reader lets nest (128).
fn collect_collections<'a>(value: &'a Value, names: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                match (key.as_str(), value) {
                    ("artifact_collection_name", Value::String(name)) => names.push(name),
                    ("artifact_version_string", Value::String(version)) => names.push(collection_of(version)),
                    _ => collect_collections(value, names),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect_collections(item, names)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The collection in `entity/project/collection:version`.
fn collection_of(version: &str) -> &str {
    let collection = version.rsplit('/').next().unwrap_or(version);
    collection.split(':').next().unwrap_or(collection)
}

/// The names that can be some model's, each once; if there are none, or too many to tell apart, any model.
fn named<'a>(names: impl IntoIterator<Item = &'a str>) -> Hint {
    let is_name = |name: &&str| !name.is_empty() && name.len() <= LONGEST_NAME;
    let names: BTreeSet<&str> = names.into_iter().filter(is_name).collect();
    if names.is_empty() || names.len() > MOST_NAMES {
        return Hint::Any;
    }
    Hint::Models(names.into_iter().map(str::to_owned).collect())
}

fn text<'a>(body: &'a Value, pointer: &str) -> Option<&'a str> {
    body.pointer(pointer).and_then(Value::as_str)
}
