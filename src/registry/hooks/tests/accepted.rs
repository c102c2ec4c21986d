//! What is taken: vectors computed elsewhere, and each sender's spellings.
//!
//! Invariant: every expected signature that is written out here was not computed by this crate.

use super::*;
use crate::registry::hooks::verify::{SKEW_AHEAD_SECONDS, SKEW_BACK_SECONDS};

/// Computed with Python's `hmac` from what `mlflow/webhooks/delivery.py` of 3.18 does.
const MLFLOW_BODY: &[u8] = br#"{"entity": "model_version_alias", "action": "created", "timestamp": "2026-01-01T00:00:00.123456+00:00", "data": {"name": "fraud", "alias": "champion", "version": "7"}}"#;

#[test]
fn mlflow_is_heard_as_it_signs() {
    let headers = headers(&[
        ("X-MLflow-Delivery-Id", ID),
        ("X-MLflow-Timestamp", "1767225600"),
        ("X-MLflow-Signature", "v1,nqI515dsD2vMBSso0tcLOjcFuXTyaLZmV+eiAnA60SI="),
    ]);
    let heard = verify(HookKind::Mlflow, &key(HookKind::Mlflow), &headers, MLFLOW_BODY, NOW + 2);
    assert_eq!(heard, Ok(Delivery { id: ID.to_owned(), at: Some(1_767_225_600) }));
}

/// The vector of the libraries of Standard Webhooks.
#[test]
fn standard_webhooks_are_heard_as_their_libraries_sign() {
    let headers = headers(&[
        ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
        ("webhook-timestamp", "1614265330"),
        ("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
    ]);
    let kind = HookKind::StandardWebhooks;
    let body = br#"{"test": 2432232314}"#;
    let heard = verify(kind, &key(kind), &headers, body, 1_614_265_330).unwrap();
    assert_eq!(heard, Delivery { id: "msg_p5jXN8AQM9LWM0D4loKWxJek".to_owned(), at: Some(1_614_265_330) });
    let bare = HookKey::try_new(kind, "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    assert!(verify(kind, &bare, &headers, body, 1_614_265_330).is_ok(), "the prefix of a secret may be left out");
}

/// The vector of GitHub's documents, "Validating webhook deliveries".
#[test]
fn github_is_heard_as_its_documents_sign() {
    let headers = headers(&[
        ("X-GitHub-Delivery", ID),
        ("X-Hub-Signature-256", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"),
    ]);
    let heard = verify(HookKind::Github, &key(HookKind::Github), &headers, b"Hello, World!", NOW);
    assert_eq!(heard, Ok(Delivery { id: ID.to_owned(), at: None }));
}

#[test]
fn weights_and_biases_may_write_its_signature_in_four_ways() {
    let kind = HookKind::WeightsAndBiases;
    let signature = sign(&key(kind), &[b"{}"]);
    for text in [hexadecimal(&signature), STANDARD.encode(signature)] {
        for prefix in ["", "sha256="] {
            let headers = headers(&[("X-Wandb-Signature", &format!("{prefix}{text}"))]);
            let heard = verify(kind, &key(kind), &headers, b"{}", NOW).unwrap();
            // sha256 of "{}".
            let id = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
            assert_eq!(heard, Delivery { id: id.to_owned(), at: None });
        }
    }
}

#[test]
fn hugging_face_is_heard_with_the_secret_itself_whatever_the_body() {
    let request = delivery(HookKind::HuggingFace, (ID, NOW), b"{}");
    let first = request.verify(NOW).unwrap();
    let other = Request { body: b"{ }".to_vec(), ..request }.verify(NOW).unwrap();
    assert_ne!(first.id, other.id, "the id is of the body");
    assert_eq!((first.at, other.at), (None, None));
}

#[test]
fn every_kind_is_heard_with_its_own_key_only() {
    for kind in EVERY_KIND {
        let request = delivery(kind, (ID, NOW), br#"{"data": {"name": "fraud"}}"#);
        assert!(request.verify(NOW).is_ok(), "{kind:?}");
        let other = HookKey::try_new(kind, "whsec_AAAA").unwrap();
        let refused = verify(kind, &other, &request.headers, &request.body, NOW);
        assert_eq!(refused, Err(HookError::Forged { header: proof(kind) }));
    }
}

#[test]
fn one_right_signature_among_several_is_enough_while_a_secret_is_replaced() {
    let kind = HookKind::StandardWebhooks;
    let right = proof_value(kind, (ID, NOW), b"{}");
    let wrong = format!("v1,{}", STANDARD.encode([7; 32]));
    let asymmetric = format!("v1a,{}", STANDARD.encode([7; 64]));
    let with = |text: String| {
        let mut request = delivery(kind, (ID, NOW), b"{}");
        request.headers.insert("webhook-signature", text.parse().unwrap());
        request.verify(NOW)
    };
    for text in [format!("{right} {wrong}"), format!("{wrong} {right}"), format!("{asymmetric} {wrong} {right}")] {
        assert!(with(text).is_ok());
    }
    assert!(matches!(with(format!("{wrong} {wrong}")), Err(HookError::Forged { .. })));
    assert!(matches!(with(asymmetric), Err(HookError::Malformed { .. })), "there is no key for it");
    let mut request = delivery(HookKind::Mlflow, (ID, NOW), b"{}");
    let right = proof_value(HookKind::Mlflow, (ID, NOW), b"{}");
    request.headers.insert("x-mlflow-signature", format!("{wrong} {right}").parse().unwrap());
    assert!(matches!(request.verify(NOW), Err(HookError::Malformed { .. })), "MLflow sends one");
}

#[test]
fn a_signed_time_is_good_for_five_minutes_and_one_ahead_to_the_second() {
    for kind in [HookKind::Mlflow, HookKind::StandardWebhooks] {
        let request = delivery(kind, (ID, NOW), b"{}");
        let (last, first) = (NOW + SKEW_BACK_SECONDS, NOW - SKEW_AHEAD_SECONDS);
        assert!(request.verify(last).is_ok() && request.verify(first).is_ok());
        assert_eq!(request.verify(last + 1), Err(HookError::Stale { at: NOW, now: last + 1 }));
        assert_eq!(request.verify(first - 1), Err(HookError::Ahead { at: NOW, now: first - 1 }));
    }
    let end = delivery(HookKind::Mlflow, (ID, u64::MAX), b"{}");
    assert!(end.verify(u64::MAX).is_ok());
    assert!(matches!(end.verify(NOW), Err(HookError::Ahead { .. })));
}
