//! What is written: which requests are made, and what a refusal is.

use super::server::{Server, answer, unknown};
use super::*;

fn tags() -> std::collections::BTreeMap<String, String> {
    [("tidegate.rollout.state", "canary"), ("tidegate.rollout.weight", "5")]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

#[tokio::test]
async fn tags_are_set_one_by_one_and_the_alias_by_its_own_route() {
    let server = Server::start(|_| answer(200, "{}")).await;
    let client = client(&server);
    client.write("a b", 7, &tags()).await.unwrap();
    client.set_alias("a b", "champion", 7).await.unwrap();
    let asked: Vec<(String, String)> = server.asked().into_iter().map(|one| (one.path, one.body)).collect();
    let tag = |key: &str, value: &str| {
        let body = serde_json::json!({ "name": "a b", "version": "7", "key": key, "value": value });
        ("/api/2.0/mlflow/model-versions/set-tag".to_owned(), body.to_string())
    };
    let alias = serde_json::json!({ "name": "a b", "alias": "champion", "version": "7" });
    let alias = ("/api/2.0/mlflow/registered-models/alias".to_owned(), alias.to_string());
    assert_eq!(asked, [tag("tidegate.rollout.state", "canary"), tag("tidegate.rollout.weight", "5"), alias]);
}

#[tokio::test]
async fn a_refusal_says_what_it_was_about_and_ends_the_writing() {
    let server = Server::start(|_| unknown()).await;
    let error = client(&server).write("m", 7, &tags()).await.unwrap_err();
    assert!(matches!(&error, SourceError::Absent { what, .. } if what.contains("tidegate.rollout.state")), "{error}");
    assert_eq!(server.asked().len(), 1);
    let server =
        Server::start(|_| answer(403, r#"{"error_code":"PERMISSION_DENIED","message":"Permission denied"}"#)).await;
    let error = client(&server).set_alias("m", "champion", 7).await.unwrap_err();
    assert!(matches!(error, SourceError::Refused { status: 403, .. }) && !error.may_pass(), "{error}");
    let server = Server::start(|_| answer(503, "busy")).await;
    assert!(client(&server).set_alias("m", "champion", 7).await.unwrap_err().may_pass());
}
