//! Words of MLflow and what they are told as.

use super::answers::{KnownAs, Server};
use super::delivery::{Standing, events, is_wrong_secret, not_listed, not_written, standing, tested};
use super::finding::{Finding, Status};
use crate::registry::mlflow::{Failure, WantedWebhook, Webhook, WebhookTest};

fn server() -> Server {
    Server { url: "http://mlflow:5000".parse().unwrap(), known_as: KnownAs::Nobody }
}

fn failure(status: u16, message: &str) -> Failure {
    Failure { status, code: None, message: message.to_owned(), retry_after: None }
}

fn wanted() -> WantedWebhook {
    let url = "http://gateway:8002/hooks/mlflow".to_owned();
    WantedWebhook { name: "tidegate".to_owned(), url, events: events(), secret: "s3cr3t".to_owned() }
}

fn webhook(name: &str, url: &str) -> Webhook {
    let (name, url, status) = (name.to_owned(), url.to_owned(), "ACTIVE".to_owned());
    Webhook { id: format!("id of {name}"), name, url, events: events(), status }
}

fn test(status: Option<u16>, body: Option<&str>, error: Option<&str>) -> WebhookTest {
    let text = |text: Option<&str>| text.map(str::to_owned);
    WebhookTest { success: false, response_status: status, response_body: text(body), error_message: text(error) }
}

fn remedy(finding: &Finding) -> String {
    assert_eq!(finding.status, Status::Problem, "{finding:?}");
    finding.remedy.clone().unwrap()
}

#[test]
fn ours_is_found_by_its_address_before_its_name() {
    let others = || vec![webhook("tidegate", "http://other:8002/hooks/mlflow"), webhook("chat", "https://chat/secret")];
    let mut found = others();
    found.push(webhook("made by hand", "http://gateway:8002/hooks/mlflow"));
    let Standing::Right(ours) = standing(found, &wanted()) else { panic!() };
    assert_eq!(ours.name, "made by hand");
    let Standing::Differs(ours, differs) = standing(others(), &wanted()) else { panic!() };
    assert_eq!((ours.name.as_str(), differs), ("tidegate", vec!["it is sent to http://other:8002".to_owned()]));
    assert_eq!(standing(others().split_off(1), &wanted()), Standing::Absent);
}

#[test]
fn what_differs_is_told_and_more_events_than_needed_do_not() {
    let mut ours = webhook("tidegate", "http://gateway:8002/hooks/mlflow");
    ours.events.push(serde_json::from_str(r#"{"entity":"PROMPT","action":"CREATED"}"#).unwrap());
    assert!(matches!(standing(vec![ours.clone()], &wanted()), Standing::Right(_)));
    ours.events.retain(|event| event.entity != "MODEL_VERSION_ALIAS");
    ours.status = "DISABLED".to_owned();
    let Standing::Differs(_, differs) = standing(vec![ours], &wanted()) else { panic!() };
    let events = "it is not sent for model_version_alias.created, model_version_alias.deleted";
    assert_eq!(differs, [events, "it is DISABLED"]);
}

#[test]
fn secrets_that_cannot_be_read_name_the_key() {
    let key = "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY";
    assert!(remedy(&not_listed(&failure(500, "Internal Server Error"), Some("SqlStore"), &server())).contains(key));
    assert!(remedy(&not_written(&failure(500, ""), &"http://g".parse().unwrap(), &server())).contains(key));
    let files = not_listed(&failure(500, "Internal Server Error"), Some("FileStore"), &server());
    assert_eq!(files.status, Status::Warning);
    assert!(files.remedy.unwrap().contains("polling alone") && files.found.contains("FileStore"));
    let closed = not_listed(&failure(403, "Permission denied"), None, &server());
    assert!(closed.remedy.unwrap().contains("admin"));
}

#[test]
fn addresses_that_are_refused_name_their_variable() {
    let url = "http://10.0.0.7:8002/hooks/mlflow".parse().unwrap();
    for (said, named) in [
        (
            "Invalid webhook URL scheme: 'http'. Allowed schemes are: https.",
            "MLFLOW_WEBHOOK_ALLOWED_SCHEMES=http,https",
        ),
        (
            "Webhook URL must not resolve to a non-public IP address. '10.0.0.7' resolves to 10.0.0.7.",
            "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS=true",
        ),
        ("Cannot resolve Webhook URL hostname 'gateway': [Errno -2] Name or service not known", "a name that is known"),
    ] {
        assert!(remedy(&not_written(&failure(400, said), &url, &server())).contains(named), "{said}");
        let error = format!("Failed to test webhook: MlflowException({said:?})");
        assert!(remedy(&tested(&test(None, None, Some(&error)), &url)).contains(named), "{said}");
    }
    let blocked = "Failed to test webhook: SSRFProtectionError('Webhook connection blocked: 10.0.0.7 is not a public \
                   IP address. This may indicate a DNS rebinding attempt.')";
    assert!(remedy(&tested(&test(None, None, Some(blocked)), &url)).contains("MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS=true"));
}

#[test]
fn an_answer_to_a_test_tells_what_is_wrong() {
    let url = "http://gateway:8002/hooks/mlflow".parse().unwrap();
    let of = |status, body: &str| tested(&test(Some(status), Some(body), None), &url);
    assert_eq!(of(202, r#"{"accepted":true,"repeated":false,"woken":0}"#).status, Status::Ok);
    assert_eq!(of(200, "<html>").status, Status::Warning);
    let forged = r#"{"error":"the header X-MLflow-Signature does not fit the secret and the request"}"#;
    let stale = r#"{"error":"signed at 1, received at 900 (unix seconds): more than 300 s late"}"#;
    for (status, body, named) in [
        (401, forged, "--repair"),
        (401, stale, "NTP"),
        (404, r#"{"error":"no such path: /hooks/mlflow"}"#, "registry.mlflow.webhook_secret"),
        (502, "", "headers and body unchanged"),
    ] {
        assert!(remedy(&of(status, body)).contains(named), "{status} {body}");
    }
    assert!(is_wrong_secret(&test(Some(401), Some(forged), None)));
    assert!(!is_wrong_secret(&test(Some(401), Some(stale), None)) && !is_wrong_secret(&test(Some(202), None, None)));
}

#[test]
fn a_delivery_that_did_not_arrive_names_what_may_stand_between() {
    let url = "https://gateway/hooks/mlflow".parse().unwrap();
    for (said, named) in [
        ("ConnectionError(… [Errno 111] Connection refused)", "start the gateway"),
        ("ConnectTimeout('…')", "firewall"),
        ("ReadTimeout('… read timed out')", "firewall"),
        ("SSLError(… CERTIFICATE_VERIFY_FAILED)", "certificate"),
        ("RuntimeError()", "--webhook-url"),
    ] {
        assert!(remedy(&tested(&test(None, None, Some(said)), &url)).contains(named), "{said}");
    }
}
