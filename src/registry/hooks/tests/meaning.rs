//! What bodies mean, and how hints add up.
//!
//! Invariant: bodies are those that the senders' documents and sources show, cut to what is read.

use crate::registry::hooks::event::{LONGEST_NAME, MOST_NAMES, models_of};
use crate::registry::hooks::{Hint, HookError, HookKind};

fn hint(kind: HookKind, body: &str) -> Hint {
    models_of(kind, body.as_bytes()).unwrap()
}

fn models(names: &[&str]) -> Hint {
    Hint::Models(names.iter().map(|&name| name.to_owned()).collect())
}

#[test]
fn mlflow_names_the_model_of_versions_tags_and_aliases() {
    for entity in ["registered_model", "model_version", "model_version_tag", "model_version_alias"] {
        let body =
            format!(r#"{{"entity": "{entity}", "action": "created", "data": {{"name": "fraud", "version": "7"}}}}"#);
        assert_eq!(hint(HookKind::Mlflow, &body), models(&["fraud"]));
    }
}

#[test]
fn prompts_and_budgets_of_mlflow_are_about_no_model() {
    for entity in ["prompt", "prompt_version", "prompt_tag", "prompt_version_tag", "prompt_alias", "budget_policy"] {
        let body = format!(r#"{{"entity": "{entity}", "action": "created", "data": {{"name": "greeting"}}}}"#);
        assert_eq!(hint(HookKind::Mlflow, &body), Hint::Nothing);
    }
}

#[test]
fn what_is_not_known_of_mlflow_may_be_about_any_model() {
    for body in [
        r#"{"entity": "gateway", "data": {"name": "fraud"}}"#,
        r#"{"entity": "model_version", "data": {"name": 7}}"#,
        r#"{"entity": "model_version", "data": {"name": ""}}"#,
        r#"{"entity": "model_version"}"#,
        r#"{"entity": ["model_version"], "data": {"name": "fraud"}}"#,
        "{}",
    ] {
        assert_eq!(hint(HookKind::Mlflow, body), Hint::Any, "{body}");
    }
    let long = "x".repeat(LONGEST_NAME + 1);
    assert_eq!(
        hint(HookKind::Mlflow, &format!(r#"{{"entity":"model_version","data":{{"name":"{long}"}}}}"#)),
        Hint::Any
    );
}

#[test]
fn standard_webhooks_may_name_a_model_and_github_does_not() {
    let body = r#"{"type": "model.promoted", "timestamp": "2026-01-01T00:00:00Z", "data": {"name": "fraud"}}"#;
    assert_eq!(hint(HookKind::StandardWebhooks, body), models(&["fraud"]));
    assert_eq!(hint(HookKind::StandardWebhooks, r#"{"type": "x", "name": "fraud"}"#), Hint::Any);
    assert_eq!(hint(HookKind::Github, body), Hint::Any);
}

#[test]
fn collections_of_weights_and_biases_are_found_wherever_the_template_puts_them() {
    let kind = HookKind::WeightsAndBiases;
    assert_eq!(hint(kind, r#"{"artifact_collection_name": "fraud", "alias": "production"}"#), models(&["fraud"]));
    let dispatch = r#"{"event_type": "LINK", "client_payload": {"artifact_version_string": "acme/registry/fraud:v3"}}"#;
    assert_eq!(hint(kind, dispatch), models(&["fraud"]));
    let both = r#"{"all": [{"artifact_collection_name": "fraud"}, {"artifact_collection_name": "churn"}],
                   "artifact_version_string": "acme/registry/fraud:v3"}"#;
    assert_eq!(hint(kind, both), models(&["churn", "fraud"]));
    for unknown in ["{}", r#"{"artifact_collection_name": "${artifact_collection_name}"}"#, r#"{"name": "fraud"}"#] {
        assert_eq!(hint(kind, unknown), Hint::Any, "{unknown}");
    }
    let many: Vec<_> = (0..=MOST_NAMES).map(|n| format!(r#"{{"artifact_collection_name": "{n}"}}"#)).collect();
    assert_eq!(hint(kind, &format!(r#"{{"all": [{}]}}"#, many.join(","))), Hint::Any);
}

#[test]
fn hugging_face_names_the_repository_of_a_model() {
    let kind = HookKind::HuggingFace;
    let body = |scope: &str, of: &str| {
        format!(
            r#"{{"event": {{"action": "update", "scope": "{scope}"}}, "repo": {{"type": "{of}", "name": "acme/fraud"}}}}"#
        )
    };
    for scope in ["repo", "repo.content", "repo.config", "repo.config.dois", "something.new"] {
        assert_eq!(hint(kind, &body(scope, "model")), models(&["acme/fraud"]), "{scope}");
    }
    for (scope, of) in
        [("discussion", "model"), ("discussion.comment", "model"), ("repo", "dataset"), ("repo", "space")]
    {
        assert_eq!(hint(kind, &body(scope, of)), Hint::Nothing, "{scope} {of}");
    }
    let moved = r#"{"event": {"action": "move", "scope": "repo"}, "repo": {"type": "model", "name": "acme/fraud"},
                    "movedTo": {"name": "acme/fraud-2"}}"#;
    assert_eq!(hint(kind, moved), models(&["acme/fraud", "acme/fraud-2"]));
    assert_eq!(hint(kind, "{}"), Hint::Any);
}

#[test]
fn a_body_that_is_no_json_object_is_refused_of_every_sender() {
    let deep = format!(r#"{{"a": {}{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    for kind in super::EVERY_KIND {
        for body in ["", "{", "[]", "7", "null", "payload=%7B%7D", "{} {}", &deep] {
            assert!(matches!(models_of(kind, body.as_bytes()), Err(HookError::BadBody { .. })), "{kind:?}");
        }
        assert!(models_of(kind, b"{\"a\": \"\xff\"}").is_err());
    }
}
