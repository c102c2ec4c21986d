//! What the client makes of answers, and of none.

use super::super::client::LARGEST_ANSWER;
use super::super::{Credentials, MlflowClient};
use super::server::{Server, answer, answer_with, unknown};
use super::{access, client};
use crate::registry::source::SourceError;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

const MODEL: &str = r#"{"registered_model":{"name":"m","aliases":[{"alias":"champion","version":"3"}]}}"#;

#[tokio::test]
async fn every_refusal_is_told_apart() {
    for (status, body, expected) in [
        (404, r#"{"error_code":"RESOURCE_DOES_NOT_EXIST","message":"no m"}"#, "model \"m\" is not there: no m"),
        (401, "", "refuses us (401): no reason given"),
        (403, r#"{"error_code":"PERMISSION_DENIED","message":"Permission denied"}"#, "(403): Permission denied"),
        (403, "Invalid Host header - possible DNS rebinding attack detected", "MLFLOW_SERVER_ALLOWED_HOSTS"),
        (429, "slow down", "answered 429: slow down"),
        (500, "oops", "answered 500: oops"),
        (503, r#"{"error_code":"TEMPORARILY_UNAVAILABLE","message":"later"}"#, "answered 503: later"),
        (404, "<html>", "is the path of its URL right?"),
        (200, "<html>log in</html>", "expected the JSON of MLflow"),
        (200, "{}", "expected the JSON of MLflow"),
        (302, "", "redirects to another place"),
    ] {
        let server = Server::start(move |_| answer(status, body)).await;
        let error = client(&server).registered_model("m").await.unwrap_err();
        assert!(error.to_string().contains(expected), "{status} {body}: {error}");
        assert_eq!(error.may_pass(), matches!(status, 429 | 500..), "{error}");
    }
}

#[tokio::test]
async fn a_busy_server_says_when_to_come_again() {
    let server = Server::start(|_| answer_with(503, ("retry-after", "12"), "busy")).await;
    let error = client(&server).registered_model("m").await.unwrap_err();
    let SourceError::Failing { retry_after, .. } = error else { panic!("{error}") };
    assert_eq!(retry_after, Some(Duration::from_secs(12)));
}

#[tokio::test]
async fn an_unknown_alias_is_absent_and_another_bad_parameter_is_not() {
    let says = |message: &'static str| {
        Server::start(move |_| {
            answer(400, format!(r#"{{"error_code":"INVALID_PARAMETER_VALUE","message":"{message}"}}"#))
        })
    };
    let server = says("Registered model alias x not found.").await;
    let error = client(&server).version_of_alias("m", "x").await.unwrap_err();
    assert!(matches!(error, SourceError::Absent { .. }), "{error}");
    let server = says("Missing value for required parameter 'name'").await;
    let error = client(&server).version_of_alias("m", "x").await.unwrap_err();
    assert!(matches!(error, SourceError::Unexpected { .. }), "{error}");
}

#[tokio::test]
async fn names_are_quoted_and_the_path_of_the_url_is_kept() {
    let server = Server::start(|_| answer(200, MODEL)).await;
    for prefix in ["/mlflow", "/mlflow/"] {
        let client = MlflowClient::new(access(&format!("{}{prefix}", server.url))).unwrap();
        assert_eq!(client.registered_model("a b&c=\"d\"/é").await.unwrap().aliases[0].version, 3);
        let asked = server.asked().pop().unwrap();
        assert_eq!(asked.path, "/mlflow/api/2.0/mlflow/registered-models/get");
        assert_eq!(asked.query, "name=a+b%26c%3D%22d%22%2F%C3%A9");
        let url = client.file_url(None, "artifacts", "0/a b%/c#d?e").unwrap();
        assert_eq!(url.path(), "/mlflow/api/2.0/mlflow-artifacts/artifacts/0/a%20b%25/c%23d%3Fe");
    }
}

#[tokio::test]
async fn credentials_go_to_their_server_and_nowhere_else() {
    let elsewhere = Server::start(|_| answer(200, MODEL)).await;
    let target = format!("{}/stolen", elsewhere.url);
    let server = Server::start(move |asked| match asked.query.as_str() {
        "name=moved" => answer_with(302, ("location", &target), ""),
        "name=near" => answer_with(302, ("location", "/other?name=m"), ""),
        _ => answer(200, MODEL),
    })
    .await;
    for (credentials, expected) in [
        (Credentials::Basic { user: "ada".into(), password: "sesame".into() }, "Basic YWRhOnNlc2FtZQ=="),
        (Credentials::Bearer { token: "sesame".into() }, "Bearer sesame"),
    ] {
        let mut access = access(&server.url);
        access.credentials = Some(credentials);
        assert!(!format!("{access:?}").contains("sesame"));
        let client = MlflowClient::new(access).unwrap();
        assert!(!format!("{client:?}").contains("sesame"));
        client.registered_model("near").await.unwrap();
        let asked = server.asked().pop().unwrap();
        assert_eq!((asked.path.as_str(), asked.header("authorization")), ("/other", Some(expected)));
        let error = client.registered_model("moved").await.unwrap_err();
        assert!(matches!(&error, SourceError::Unexpected { reason, .. } if reason.contains("redirects")), "{error}");
        assert!(elsewhere.asked().is_empty());
    }
    let mut access = access(&server.url);
    access.credentials = Some(Credentials::Bearer { token: "sesame".into() });
    let client = MlflowClient::new(access).unwrap();
    let netloc = elsewhere.url.trim_start_matches("http://");
    client.list(Some(netloc), "0", "").await.unwrap();
    assert_eq!(elsewhere.asked()[0].header("authorization"), None);
}

#[tokio::test]
async fn an_answer_that_is_too_long_is_refused() {
    let server = Server::start(|_| answer(200, vec![b' '; LARGEST_ANSWER + 1])).await;
    let error = client(&server).registered_model("m").await.unwrap_err();
    assert!(error.to_string().contains("at most 8388608 bytes"), "{error}");
}

#[tokio::test]
async fn a_server_that_sends_a_byte_at_a_time_or_nothing_ends_with_an_error() {
    for head in [
        "HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n",
        "HTTP/1.1 500 Oops\r\ncontent-length: 100000\r\n\r\n",
        "",
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut access = access(&format!("http://{}", listener.local_addr().unwrap()));
        access.timeout = Duration::from_millis(300);
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let (mut socket, _peer) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let _ = socket.read(&mut request).await;
            socket.write_all(head.as_bytes()).await.unwrap();
            while head.is_empty() || socket.write_all(b" ").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        let error = MlflowClient::new(access).unwrap().registered_model("m").await.unwrap_err();
        assert!(error.may_pass(), "{error}");
    }
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let client = MlflowClient::new(access(&format!("http://127.0.0.1:{port}"))).unwrap();
    let error = client.registered_model("m").await.unwrap_err();
    assert!(matches!(error, SourceError::Unreachable { .. }) && error.to_string().contains("refused"), "{error}");
}

#[tokio::test]
async fn a_server_that_does_not_know_presigned_urls_offers_none() {
    for (status, body, expected) in [
        (200, r#"{"multipart_downloads_enabled":true}"#, true),
        (200, r#"{"store_type":"SqlStore"}"#, false),
        (200, "<html>", false),
        (404, "", false),
        (405, "", false),
    ] {
        let server = Server::start(move |_| answer(status, body)).await;
        assert_eq!(client(&server).offers_presigned().await, Ok(expected), "{status} {body}");
        assert_eq!(server.asked()[0].path, "/api/3.0/mlflow/server-info");
    }
    let server = Server::start(|_| answer(503, "")).await;
    assert!(client(&server).offers_presigned().await.unwrap_err().may_pass());
}

#[test]
fn what_is_no_address_of_a_server_is_refused_without_repeating_secrets() {
    for url in ["ftp://host", "http://user:sesame@host", "http://host/?token=sesame", "http://host/#sesame"] {
        let error = MlflowClient::new(access(url)).unwrap_err().to_string();
        assert!(!error.contains("sesame"), "{error}");
    }
    let mut without_time = access("http://host");
    without_time.timeout = Duration::ZERO;
    assert!(MlflowClient::new(without_time).is_err());
    for pem in ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let mut access = access("https://host");
        access.certificate_authority = Some(pem.as_bytes().to_vec());
        assert!(MlflowClient::new(access).is_err(), "{pem:?}");
    }
}

#[tokio::test]
async fn an_unknown_run_or_logged_model_is_absent() {
    let server = Server::start(|_| unknown()).await;
    let client = client(&server);
    assert!(matches!(client.run_artifacts("r").await, Err(SourceError::Absent { .. })));
    assert!(matches!(client.logged_model("m-1").await, Err(SourceError::Absent { .. })));
    assert!(matches!(client.download_uri("m", 1).await, Err(SourceError::Absent { .. })));
}
