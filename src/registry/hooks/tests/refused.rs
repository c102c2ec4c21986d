//! What is refused: every changed byte, every header that is not as it should be.
//!
//! Invariant: no text made of an error or a key has a secret or a signature in it.

use super::*;
use crate::error::{Blamed, Fault};
use proptest::prelude::*;

/// Kinds that sign the body.
fn signing() -> impl Strategy<Value = HookKind> {
    prop::sample::select(EVERY_KIND[..4].to_vec())
}

/// Kinds that sign id and time.
fn signing_time() -> impl Strategy<Value = HookKind> {
    prop::sample::select(EVERY_KIND[..2].to_vec())
}

/// Whether the request with one byte of a header changed is refused, or cannot be sent.
fn is_refused_changed(mut request: Request, header: &str, (place, by): (usize, u8)) -> bool {
    let value = request.headers[header].clone();
    changed(&value, place, by).is_none_or(|value| {
        request.headers.insert(hyper::header::HeaderName::from_bytes(header.as_bytes()).unwrap(), value);
        request.verify(NOW).is_err()
    })
}

proptest! {
    #![proptest_config(seeded(512))]

    #[test]
    fn a_body_with_a_changed_byte_is_refused(
        kind in signing(), body in prop::collection::vec(any::<u8>(), 1..200), place in any::<usize>(), by in 1..=255_u8,
    ) {
        let mut request = delivery(kind, (ID, NOW), &body);
        prop_assert!(request.verify(NOW).is_ok());
        let place = place % body.len();
        request.body[place] ^= by;
        prop_assert_eq!(request.verify(NOW), Err(HookError::Forged { header: proof(kind) }));
    }

    #[test]
    fn a_body_that_is_cut_or_continued_is_refused(
        kind in signing(), body in prop::collection::vec(any::<u8>(), 1..200), kept in any::<usize>(), more in any::<u8>(),
    ) {
        let mut request = delivery(kind, (ID, NOW), &body);
        request.body.push(more);
        prop_assert!(request.verify(NOW).is_err());
        request.body.truncate(kept % body.len());
        prop_assert!(request.verify(NOW).is_err());
    }

    #[test]
    fn a_signature_or_secret_with_a_changed_byte_is_refused(
        kind in prop::sample::select(EVERY_KIND.to_vec()), place in any::<usize>(), by in 1..=255_u8,
    ) {
        let is_refused = is_refused_changed(delivery(kind, (ID, NOW), b"{}"), proof(kind), (place, by));
        prop_assert!(is_refused);
    }

    #[test]
    fn a_signed_id_or_time_with_a_changed_byte_is_refused(
        kind in signing_time(), id in "[a-zA-Z0-9_-]{1,40}", place in any::<usize>(), by in 1..=255_u8,
    ) {
        for header in [id_header(kind), time_header(kind)].into_iter().flatten() {
            let is_refused = is_refused_changed(delivery(kind, (&id, NOW), b"{}"), header, (place, by));
            prop_assert!(is_refused, "{}", header);
        }
    }

    #[test]
    fn what_is_signed_cannot_be_cut_elsewhere(kind in signing_time(), rest in "(\\.[0-9]{1,9}){1,3}") {
        // One text, "id.time.body", cut at every other two of its full stops. The body begins with a time that is good.
        let body = format!("{NOW}{rest}");
        let request = delivery(kind, (ID, NOW), body.as_bytes());
        let text = format!("{ID}.{NOW}.{body}");
        let stops: Vec<usize> = text.match_indices('.').map(|(place, _)| place).collect();
        for (first, second) in stops.iter().flat_map(|a| stops.iter().map(move |b| (*a, *b))).filter(|(a, b)| a < b) {
            let (id, time) = (&text[..first], &text[first + 1..second]);
            let mut cut = Request { body: text[second + 1..].into(), ..request.clone() };
            cut.headers.insert(id_header(kind).unwrap(), id.parse().unwrap());
            cut.headers.insert(time_header(kind).unwrap(), time.parse().unwrap());
            prop_assert_eq!(cut.verify(NOW).is_ok(), (id, time) == (ID, NOW.to_string().as_str()));
        }
    }

    #[test]
    fn no_error_repeats_a_secret_or_what_proves(
        kind in prop::sample::select(EVERY_KIND.to_vec()), place in any::<usize>(), by in 1..=255_u8, body in "[a-z]{0,9}",
    ) {
        let mut request = delivery(kind, (ID, NOW), b"{}");
        let right = request.headers[proof(kind)].to_str().unwrap().to_owned();
        request.body = body.into();
        let mut errors = vec![request.verify(NOW), request.verify(NOW + 9_999)];
        if let Some(value) = changed(&request.headers[proof(kind)].clone(), place, by) {
            request.headers.insert(proof(kind), value);
            errors.push(request.verify(NOW));
        }
        request.headers.append(proof(kind), right.parse().unwrap());
        errors.push(request.verify(NOW));
        let given: Vec<_> = request.headers.get_all(proof(kind)).iter().cloned().collect();
        for error in errors.into_iter().filter_map(Result::err) {
            let texts = format!("{error} {error:?} {}", error.public_text());
            prop_assert!(!texts.contains(secret(kind)) && !texts.contains(&right), "{}", texts);
            prop_assert!(given.iter().filter_map(|value| value.to_str().ok()).all(|value| !texts.contains(value)));
        }
    }
}

/// Known and borne: see the table of `verify.rs`.
#[test]
fn the_id_that_github_sends_is_not_proved() {
    let mut request = delivery(HookKind::Github, (ID, NOW), b"{}");
    request.headers.insert("x-github-delivery", "another".parse().unwrap());
    assert_eq!(request.verify(NOW).unwrap().id, "another");
}

#[test]
fn a_header_that_is_missing_repeated_or_too_long_is_named() {
    for (kind, header) in EVERY_KIND.into_iter().flat_map(|kind| every_header(kind).into_iter().map(move |h| (kind, h)))
    {
        let whole = delivery(kind, (ID, NOW), b"{}");
        let mut request = whole.clone();
        request.headers.remove(header);
        assert_eq!(request.verify(NOW), Err(HookError::Missing { header }));
        let mut request = whole.clone();
        request.headers.append(header, whole.headers[header].clone());
        assert_eq!(request.verify(NOW), Err(HookError::Repeated { header, found: 2 }));
        let mut request = whole;
        request.headers.insert(header, "1".repeat(1_025).parse().unwrap());
        assert_eq!(request.verify(NOW), Err(HookError::TooLong { header, found: 1_025 }));
    }
}

#[test]
fn a_header_that_is_not_of_its_form_is_named_with_its_form() {
    let hexadecimal = "a".repeat(64);
    let capitals = format!("sha256={}", "A".repeat(64));
    let stray_bits = format!("v1,{}B=", "A".repeat(42));
    let cases: [(HookKind, &'static str, &[&str]); 7] = [
        (HookKind::Mlflow, "X-MLflow-Delivery-Id", &["", "a b", "a.b"]),
        (HookKind::Mlflow, "X-MLflow-Timestamp", &["", "+1767225600", "-1", "1767225600.0", "99999999999999999999"]),
        (HookKind::Mlflow, "X-MLflow-Signature", &["", "v1,", "v1,AAAA", "v2,AAAA", &hexadecimal, &stray_bits]),
        (HookKind::StandardWebhooks, "webhook-id", &["msg.1"]),
        (HookKind::StandardWebhooks, "webhook-signature", &["", " ", "v1, ", "v1a,AAAA", &stray_bits]),
        (HookKind::Github, "X-Hub-Signature-256", &[&hexadecimal, "sha256=", "sha1=aa", &capitals]),
        (HookKind::WeightsAndBiases, "X-Wandb-Signature", &["", "sha256=", "AAAA", &capitals]),
    ];
    for (kind, header, values) in cases {
        for value in values {
            let mut request = delivery(kind, (ID, NOW), b"{}");
            request.headers.insert(header, value.parse().unwrap());
            let error = request.verify(NOW).unwrap_err();
            assert!(
                matches!(error, HookError::Malformed { header: named, found, .. } if named == header && found == value.len()),
                "{header}: {value:?}: {error}"
            );
            assert_eq!(error.fault(), Fault::InvalidRequest);
        }
    }
    let mut request = delivery(HookKind::HuggingFace, (ID, NOW), b"{}");
    request.headers.insert("x-webhook-secret", HeaderValue::from_bytes(b"hugging-\xff").unwrap());
    assert!(matches!(request.verify(NOW), Err(HookError::Malformed { .. })));
}

#[test]
fn a_stale_delivery_that_is_forged_too_is_called_forged() {
    let mut request = delivery(HookKind::Mlflow, (ID, NOW), b"{}");
    request.body.push(b' ');
    assert!(matches!(request.verify(NOW + 9_999), Err(HookError::Forged { .. })));
}

#[test]
fn a_secret_that_cannot_be_a_key_is_found_when_the_key_is_made() {
    for kind in EVERY_KIND {
        let error = HookKey::try_new(kind, "").unwrap_err();
        assert!(matches!(error, HookError::BadSecret { .. }) && error.fault() == Fault::Internal);
    }
    for text in ["whsec_", "whsec_not-base64", "not base64"] {
        let error = HookKey::try_new(HookKind::StandardWebhooks, text).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("not-base64"));
    }
}

#[test]
fn a_key_does_not_show_its_secret() {
    for kind in EVERY_KIND {
        assert_eq!(format!("{:?}", key(kind)), "HookKey(redacted)");
    }
}
