//! Where files are found and how their bytes come.

use super::super::{Credentials, MlflowClient, MlflowSource, default_roles};
use super::server::{Answer, Asked, Server, answer, answer_with, unknown};
use super::{access, download, source};
use crate::registry::source::{RemoteFile, Source, SourceError};
use std::sync::Arc;

const WEIGHTS: &str = "0123456789";

/// A registry whose version 1 is at `uri`, with more routes.
async fn registry(uri: &'static str, more: impl Fn(&Asked) -> Option<Answer> + Send + Sync + 'static) -> Server {
    Server::start(move |asked| {
        more(asked).unwrap_or_else(|| match (asked.path.as_str(), asked.query.as_str()) {
            ("/api/2.0/mlflow/model-versions/get-download-uri", _) => {
                answer(200, format!(r#"{{"artifact_uri":"{uri}"}}"#))
            }
            ("/api/2.0/mlflow/runs/get", "run_id=r") => {
                answer(200, r#"{"run":{"info":{"artifact_uri":"mlflow-artifacts:/0/r/artifacts"}}}"#)
            }
            ("/api/2.0/mlflow-artifacts/artifacts", _) => answer(200, listing(&asked.query)),
            (path, _) if path.ends_with("/a.data") => answer(200, WEIGHTS),
            _ => unknown(),
        })
    })
    .await
}

fn listing(query: &str) -> &'static str {
    match query {
        "path=0%2Fr%2Fartifacts%2Fmodel" | "path=0%2Fm" => {
            r#"{"files":[{"path":"MLmodel","is_dir":false,"file_size":9},{"path":"a.data","file_size":10},
            {"path":"conda.yaml","file_size":1},{"path":"requirements.txt","file_size":1},
            {"path":"input_example.json","file_size":1},{"path":"code","is_dir":true}]}"#
        }
        "path=0%2Fr%2Fartifacts%2Fmodel%2Fcode" | "path=0%2Fm%2Fcode" => {
            r#"{"files":[{"path":"conda.yaml","file_size":"3"}],"next_page_token":"two words"}"#
        }
        query if query.ends_with("%2Fcode&page_token=two+words") => r#"{"files":[{"path":"b"}]}"#,
        _ => "{}",
    }
}

#[tokio::test]
async fn directories_and_pages_are_followed_and_what_is_pythons_is_left_out() {
    for uri in ["mlflow-artifacts:/0/m", "runs:/r/model"] {
        let server = registry(uri, |_| None).await;
        let files = source(&server, "models:/m").files(1).await.unwrap();
        let file = |path: &str, size| RemoteFile { path: path.to_owned(), size, ..RemoteFile::default() };
        let expected = [
            file("MLmodel", Some(9)),
            file("a.data", Some(10)),
            file("code/b", None),
            file("code/conda.yaml", Some(3)),
            file("input_example.json", Some(1)),
        ];
        assert_eq!(files, expected, "{uri}");
    }
}

#[tokio::test]
async fn places_without_an_end_or_without_files_are_errors() {
    for (uri, expected) in [
        ("models:/m/1", "places that name another"),
        ("models:/m@champion", "which may move"),
        ("s3://bucket/../m", "expected s3://bucket/prefix"),
        ("mlflow-artifacts:/none", "empty or not there"),
        ("runs:/unknown/model", "run unknown is not there"),
        ("/no/such/directory", "without an MLmodel is not read"),
        ("mlflow-artifacts:/0/../secret", "expected paths within the version"),
    ] {
        let server = registry(uri, |_| None).await;
        let error = source(&server, "models:/m").files(1).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{uri}: {error}");
    }
}

#[tokio::test]
async fn names_that_leave_the_directory_and_directories_without_an_end_are_refused() {
    for list in [
        r#"{"files":[{"path":"..","file_size":1}]}"#,
        r#"{"files":[{"path":"a\\b","file_size":1}]}"#,
        r#"{"files":[{"path":"x/","file_size":1}]}"#,
        r#"{"files":[{"path":"deeper","is_dir":true}]}"#,
        r#"{"files":[{"path":"a"},{"path":"a"}]}"#,
        r#"{"files":[],"next_page_token":"again"}"#,
    ] {
        let listed = move |asked: &Asked| asked.path.ends_with("mlflow-artifacts/artifacts").then(|| answer(200, list));
        let server = registry("mlflow-artifacts:/0/m", listed).await;
        let error = source(&server, "models:/m").files(1).await.unwrap_err();
        assert!(matches!(error, SourceError::Unexpected { .. }), "{list}: {error}");
    }
}

#[tokio::test]
async fn a_file_begins_where_the_server_says_that_it_does() {
    // What the server answers to a part: the rest, another part, a part of another file, the whole, or nothing.
    for (status, range, body, expected) in [
        (206, "bytes 4-9/10", "456789", (4, "456789")),
        (206, "bytes 2-9/10", "23456789", (0, WEIGHTS)),
        (206, "bytes 4-9/11", "456789x", (0, WEIGHTS)),
        (206, "", "456789", (0, WEIGHTS)),
        (200, "", WEIGHTS, (0, WEIGHTS)),
        (416, "bytes */10", "", (0, WEIGHTS)),
    ] {
        let server = registry("mlflow-artifacts:/0/m", move |asked| {
            asked.header("range").map(|asked| {
                assert_eq!(asked, "bytes=4-");
                answer_with(status, ("content-range", range), body)
            })
        })
        .await;
        let (position, bytes) = download(&source(&server, "models:/m"), "a.data", 4).await.unwrap();
        assert_eq!((position, bytes.as_slice()), (expected.0, expected.1.as_bytes()), "{status} {range}");
        let last = server.asked().pop().unwrap();
        assert_eq!(last.path, "/api/2.0/mlflow-artifacts/artifacts/0/m/a.data");
    }
}

#[tokio::test]
async fn the_whole_of_a_file_is_asked_for_without_a_range_and_a_second_file_without_asking_where_it_is() {
    let server = registry("mlflow-artifacts:/0/m", |_| None).await;
    let source = source(&server, "models:/m");
    assert_eq!(download(&source, "a.data", 0).await.unwrap(), (0, WEIGHTS.as_bytes().to_vec()));
    let before = server.asked().len();
    assert_eq!(server.asked()[before - 1].header("range"), None);
    let file = RemoteFile { path: "a.data".to_owned(), ..RemoteFile::default() };
    source.open(1, &file, 0).await.unwrap();
    assert_eq!(server.asked().len(), before + 1);
}

#[tokio::test]
async fn a_file_that_is_gone_or_of_another_length_is_told_apart() {
    let server = registry("mlflow-artifacts:/0/m", |_| None).await;
    let source = source(&server, "models:/m");
    let open = async |path: &str, size| {
        let file = RemoteFile { path: path.to_owned(), size: Some(size), ..RemoteFile::default() };
        source.open(1, &file, 0).await.err()
    };
    assert!(matches!(open("gone", 1).await, Some(SourceError::Absent { .. })));
    assert!(open("a.data", 11).await.unwrap().to_string().contains("expected 11 bytes"));
    assert!(matches!(open("../a.data", 10).await, Some(SourceError::Unexpected { .. })));
    assert_eq!(open("a.data", 10).await, None);
}

#[tokio::test]
async fn bytes_come_from_the_store_where_it_is_offered_and_from_the_proxy_where_not() {
    let store = Server::start(|asked| match asked.header("range") {
        Some("bytes=4-") => answer_with(206, ("content-range", "bytes 4-9/10"), &WEIGHTS.as_bytes()[4..]),
        _ => answer(200, WEIGHTS),
    })
    .await;
    let url = format!("{}/bucket/a.data?X-Amz-Signature=sesame", store.url);
    for status in [200, 501, 404] {
        let presigned = format!(r#"{{"url":"{url}","headers":{{"x-amz-part":"1"}},"file_size":10}}"#);
        let server = registry("mlflow-artifacts:/0/m", move |asked| match asked.path.as_str() {
            "/api/3.0/mlflow/server-info" => Some(answer(200, r#"{"multipart_downloads_enabled":true}"#)),
            "/api/2.0/mlflow-artifacts/presigned/0/m/a.data" => Some(answer(status, presigned.clone())),
            _ => None,
        })
        .await;
        for start in [0, 4] {
            let (position, bytes) = download(&source(&server, "models:/m"), "a.data", start).await.unwrap();
            // The proxy of this server knows no parts.
            let expected = if status == 200 { start } else { 0 };
            assert_eq!((position, bytes.as_slice()), (expected, &WEIGHTS.as_bytes()[expected as usize..]));
        }
    }
    let asked = store.asked();
    assert_eq!((asked.len(), asked[0].header("x-amz-part"), asked[0].header("authorization")), (2, Some("1"), None));
}

#[tokio::test]
async fn a_presigned_url_of_the_registrys_own_host_gets_no_credentials() {
    let server = registry("mlflow-artifacts:/0/m", |asked| match asked.path.as_str() {
        "/api/3.0/mlflow/server-info" => Some(answer(200, r#"{"multipart_downloads_enabled":true}"#)),
        "/api/2.0/mlflow-artifacts/presigned/0/m/a.data" => {
            let host = asked.header("host").unwrap();
            Some(answer(200, format!(r#"{{"url":"http://{host}/bucket/a.data?X-Amz-Signature=s"}}"#)))
        }
        _ => None,
    })
    .await;
    let mut access = access(&server.url);
    access.credentials = Some(Credentials::Bearer { token: "sesame".to_owned() });
    let client = Arc::new(MlflowClient::new(access).unwrap());
    let source = MlflowSource::new(client, "models:/m".parse().unwrap(), default_roles());
    assert_eq!(download(&source, "a.data", 0).await.unwrap(), (0, WEIGHTS.as_bytes().to_vec()));
    let asked = server.asked();
    let (last, before) = asked.split_last().unwrap();
    assert_eq!((last.path.as_str(), last.header("authorization")), ("/bucket/a.data", None));
    assert!(before.iter().all(|asked| asked.header("authorization") == Some("Bearer sesame")));
}

#[tokio::test]
async fn a_store_that_refuses_is_named_without_the_signature() {
    let store = Server::start(|_| answer(403, "<Error><Code>AccessDenied</Code></Error>")).await;
    let url = format!("{}/bucket/a.data?X-Amz-Signature=sesame", store.url);
    let server = registry("mlflow-artifacts:/0/m", move |asked| match asked.path.as_str() {
        "/api/3.0/mlflow/server-info" => Some(answer(200, r#"{"artifacts_presigned_only":true}"#)),
        "/api/2.0/mlflow-artifacts/presigned/0/m/a.data" => Some(answer(200, format!(r#"{{"url":"{url}"}}"#))),
        _ => None,
    })
    .await;
    let error = download(&source(&server, "models:/m"), "a.data", 0).await.unwrap_err().to_string();
    assert!(error.contains(&store.url) && error.contains("AccessDenied") && !error.contains("sesame"), "{error}");
}
