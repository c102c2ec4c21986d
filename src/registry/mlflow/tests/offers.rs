//! Which versions a source offers, and where it finds their files.

use super::super::{MlflowSource, RoleKind, default_roles};
use super::server::{Answer, Asked, Server, answer, unknown};
use super::{client, source};
use crate::registry::source::{Source, SourceError};
use std::collections::BTreeSet;

/// A registry of one model with four versions and these aliases.
async fn registry(aliases: &'static [(&'static str, u64)], status: &'static str) -> Server {
    Server::start(move |asked| one_model(asked, aliases, status)).await
}

fn one_model(asked: &Asked, aliases: &[(&str, u64)], status: &str) -> Answer {
    match asked.path.trim_start_matches("/api/2.0/mlflow/") {
        // Deleted, and still named by an alias.
        "model-versions/get" if asked.query.ends_with("version=404") => unknown(),
        "registered-models/get" => {
            let map: Vec<_> = aliases
                .iter()
                .map(|(alias, version)| format!(r#"{{"alias":"{alias}","version":"{version}"}}"#))
                .collect();
            answer(200, format!(r#"{{"registered_model":{{"name":"m","aliases":[{}]}}}}"#, map.join(",")))
        }
        "registered-models/alias" if asked.query.ends_with("alias=blue") => answer(200, version("4", status)),
        "model-versions/get" => answer(200, version(asked.query.rsplit('=').next().unwrap(), status)),
        "logged-models/m-0123456789abcdef0123456789abcdef" => answer(
            200,
            r#"{"model":{"info":{"artifact_uri":"mlflow-artifacts:/0/m","source_run_id":"r","tags":[{"key":"k","value":"v"}]}}}"#,
        ),
        _ => unknown(),
    }
}

fn version(number: &str, status: &str) -> String {
    format!(
        r#"{{"model_version":{{"name":"m","version":"{number}","source":"models:/m-{number}","run_id":"run{number}",
        "status":"{status}","creation_timestamp":170000000000{number},"aliases":["blue","a"],"tags":[{{"key":"git_commit","value":"abc"}},{{"key":"empty"}}]}}}}"#
    )
}

#[tokio::test]
async fn aliases_have_the_roles_of_the_map_and_versions_their_lineage() {
    let server = registry(&[("shadow", 3), ("champion", 2), ("challenger", 4), ("old", 1), ("blue", 2)], "READY").await;
    let offer = source(&server, "models:/m").offer().await.unwrap();
    assert_eq!((offer.roles.stable, &offer.roles.warm), (Some(2), &BTreeSet::from([3, 4])));
    assert_eq!(offer.versions.keys().copied().collect::<Vec<_>>(), [2, 3, 4]);
    let lineage = &offer.versions[&2];
    assert_eq!((lineage.source.as_str(), lineage.run_id.as_deref()), ("models:/m-2", Some("run2")));
    assert_eq!(lineage.aliases, ["blue", "champion"]);
    assert_eq!(lineage.registered_at, Some(1_700_000_000_002));
    assert_eq!(
        lineage.tags.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect::<Vec<_>>(),
        [("empty", ""), ("git_commit", "abc")]
    );
    // One question for the map and one for every version with a role.
    assert_eq!(server.asked().len(), 4);
}

#[tokio::test]
async fn what_serves_is_not_kept_warm_besides_and_a_model_without_aliases_offers_nothing() {
    let server = registry(&[("champion", 2), ("challenger", 2)], "READY").await;
    let offer = source(&server, "models:/m").offer().await.unwrap();
    assert_eq!((offer.roles.stable, offer.roles.warm.len(), offer.versions.len()), (Some(2), 0, 1));
    let server = registry(&[("old", 2)], "READY").await;
    let offer = source(&server, "models:/m").offer().await.unwrap();
    assert_eq!(offer, crate::registry::source::Offer::default());
}

#[tokio::test]
async fn two_stable_versions_are_one_too_many() {
    let server = registry(&[("champion", 2), ("blue", 2), ("green", 3)], "READY").await;
    let offer = async |more: &[&str]| {
        let stable = more.iter().map(|alias| ((*alias).to_owned(), RoleKind::Stable));
        let roles = default_roles().into_iter().chain(stable).collect();
        MlflowSource::new(client(&server), "models:/m".parse().unwrap(), roles).offer().await
    };
    assert_eq!(offer(&["blue"]).await.unwrap().roles.stable, Some(2));
    let error = offer(&["blue", "green"]).await.unwrap_err().to_string();
    assert!(error.contains("expected one stable version, found 2 (\"champion\") and 3 (\"green\")"), "{error}");
}

#[tokio::test]
async fn an_alias_a_version_or_a_logged_model_is_the_stable_one() {
    let server = registry(&[], "READY").await;
    for (uri, version, source_of) in [
        ("models:/m@blue", 4, "models:/m-4"),
        ("models:/m/3", 3, "models:/m-3"),
        ("models:/m-0123456789abcdef0123456789abcdef", 1, "mlflow-artifacts:/0/m"),
    ] {
        let offer = source(&server, uri).offer().await.unwrap();
        assert_eq!((offer.roles.stable, offer.roles.warm.len()), (Some(version), 0), "{uri}");
        assert_eq!(offer.versions[&version].source, source_of);
    }
    let error = source(&server, "models:/m@green").offer().await.unwrap_err();
    assert!(matches!(error, SourceError::Absent { .. }), "{error}");
}

#[tokio::test]
async fn a_version_that_is_not_ready_is_no_reason_to_unload_what_serves() {
    let server = registry(&[("champion", 2)], "PENDING_REGISTRATION").await;
    // Without a stable version that is wanted, the one before goes on.
    let offer = source(&server, "models:/m").offer().await.unwrap();
    assert_eq!(offer.roles.stable, None);
    assert!(offer.problems[0].contains("found 2 to be PENDING_REGISTRATION"), "{:?}", offer.problems);
}

#[tokio::test]
async fn a_prompt_is_no_model() {
    let server = Server::start(|_| {
        answer(200, r#"{"registered_model":{"name":"p","tags":[{"key":"mlflow.prompt.is_prompt","value":"true"}]}}"#)
    })
    .await;
    let error = source(&server, "models:/p").offer().await.unwrap_err().to_string();
    assert!(error.contains("models:/p is a prompt"), "{error}");
}

#[tokio::test]
async fn a_version_that_cannot_be_had_keeps_no_other_from_being_followed() {
    let server = registry(&[("champion", 2), ("challenger", 404)], "READY").await;
    let offer = source(&server, "models:/m").offer().await.unwrap();
    assert_eq!((offer.roles.stable, offer.roles.warm.len()), (Some(2), 0));
    assert!(
        offer.problems[0].starts_with("version 404: version 404 of model \"m\" is not there"),
        "{:?}",
        offer.problems
    );
    let server = registry(&[("champion", 404), ("challenger", 3)], "READY").await;
    let offer = source(&server, "models:/m").offer().await.unwrap();
    assert_eq!((offer.roles.stable, offer.roles.warm), (None, BTreeSet::from([3])));
}
